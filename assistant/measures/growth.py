"""How an ingest grows: a generated corpus of ever more passages into one library, the time of each further passage, and the memory.

The embedding model is left out (a stand-in gives every text a vector of its own): its time is the same for every passage, and it is
measured by `mianpu bench` beside this. What is looked for here is whatever is not.
"""

import hashlib
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from ingest.pipeline import ingest
from ingest.progress import Progress
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors

SIZES = (1_000, 2_000, 5_000, 10_000, 20_000)
_STAGES = ("read", "clean", "split", "embed", "write")
_PER_DOCUMENT = 10
_CHARACTERS = 260  # about 180 tokens of the embedding model


class StandIn:
    """A unit vector for every text, from its hash, of the real model's 384 dimensions."""

    fingerprint = "stand-in"
    dimension = 384

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, 384)."""
        rows = [np.random.default_rng(list(hashlib.sha256(text.encode()).digest())).normal(size=self.dimension) for text in texts]
        values = np.asarray(rows, dtype=np.float32).reshape(len(texts), self.dimension)
        return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, 384)."""
        return self.encode_passages(texts)


def write_corpus(folder: Path, passages: int, first: int = 0, seed: int = 0) -> None:
    """Write documents of ten questions with answers each into ``folder``, until there are so many passages; ``first`` numbers them.

    The words are those of the starter notes, in any order: they have the field's frequencies, and no two passages say the same.
    """
    notes = [path.read_text(encoding="utf-8") for path in Path(str(files("ingest").joinpath("samples"))).glob("*.md")]
    vocabulary = [word for note in sorted(notes) for word in words(note) if len(word) > 1]
    folder.mkdir(parents=True, exist_ok=True)
    for document in range(passages // _PER_DOCUMENT):
        number = first + document
        chance = random.Random(f"{seed}-{number}")
        parts = [f"# {chance.choice(vocabulary)}与{chance.choice(vocabulary)}（{number}）"]
        for _ in range(_PER_DOCUMENT):
            body = ""
            while len(body) < _CHARACTERS:
                body += "".join(chance.choices(vocabulary, k=chance.randint(4, 9))) + chance.choice("，，。；")
            parts.append(f"## {chance.choice(vocabulary)}和{chance.choice(vocabulary)}有什么不同？\n\n{body}。")
        (folder / f"{number:05}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def measure_growth(progress: Progress, sizes: Sequence[int] = SIZES) -> dict[str, object]:
    """For every size of the library: milliseconds a passage of the last step and of its stages, memory, bytes on disk.

    Whether it is linear is judged by the processor's time, which other programs on the machine disturb less.
    """
    report: dict[str, object] = {}
    per_passage: list[float] = []
    with tempfile.TemporaryDirectory() as temporary:
        notes, folder = Path(temporary) / "notes", Path(temporary) / "library"
        with Library.open(folder, create=True) as library:
            for before, size in zip((0, *sizes), sizes, strict=False):
                write_corpus(notes, size - before, before // _PER_DOCUMENT)
                processor = time.process_time()
                summary = ingest(library, [notes], StandIn, progress)
                processor = time.process_time() - processor
                again = time.perf_counter()
                ingest(library, [notes], StandIn)
                again = time.perf_counter() - again
                made = max(1, summary.passages)
                per_passage.append(1000 * processor / made)
                report[f"{library.passage_count()} passages"] = {
                    "ms_per_passage": round(1000 * summary.seconds["total"] / made, 3),
                    "processor_ms": round(per_passage[-1], 3),
                    **{f"{stage}_ms": round(1000 * summary.seconds[stage] / made, 3) for stage in _STAGES},
                    "again_s": round(again, 3),
                    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
                    "disk_mb": round(sum(path.stat().st_size for path in folder.iterdir()) / 2**20),
                }
    report["linear"] = {"last_over_first_processor_ms": round(per_passage[-1] / per_passage[0], 2)}
    return report
