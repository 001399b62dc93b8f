"""What a faster precision of the embedding model gives, and what it costs: speed and retrieval, beside float32 in the same run."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

import numpy as np

from assistant.measures.evaluation import measures, retrieve
from assistant.measures.labels import LabelledQuestion, SpanFinder
from ingest.models.embedding import SentenceEmbedder
from ingest.pipeline import ingest
from ingest.progress import Progress
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from kg.concepts import Glossary
from kg.graph import ConceptGraph

ROUNDS = 5
TOKENS = 180  # of the passages that are timed, about
TEXTS = 64


def compare_precisions(
    questions: Sequence[LabelledQuestion], documents: Path, model: Path, glossary: Glossary, progress: Progress
) -> dict[str, object]:
    """Embed the documents and answer the questions by search with float32 and with the precision this processor is given.

    ``passages_per_s`` is the median of ``ROUNDS`` rounds that take turns, over the ``TEXTS`` passages nearest to ``TOKENS`` tokens
    (with their headings); ``loss`` is float32's recall minus the other's, ``cosine`` compares the two vectors of each passage.
    """
    fast = SentenceEmbedder(model)
    embedders = {"float32": SentenceEmbedder(model, precision="float32"), fast.precision: fast}
    report: dict[str, object] = {"precision": fast.precision}
    recalls: dict[str, dict[str, float]] = {}
    vectors: dict[str, Vectors] = {}
    texts: list[str] = []
    for name, embedder in embedders.items():
        with tempfile.TemporaryDirectory() as folder, Library.open(Path(folder), create=True) as library:
            ingest(library, [documents], lambda embedder=embedder: embedder, progress)  # type: ignore[misc]
            finder = SpanFinder({d.name: library.document(d.name).text for d in library.documents()})
            rows = retrieve(questions, library, embedder, ConceptGraph.build(library, glossary), progress)
            answerable = [row for row in rows if row.question.answerable]
            recalls[name] = {k: v for k, v in measures(answerable, "fused", finder).items() if k in ("recall@1", "recall@5", "mrr")}
            passages = library.all_passages()
            vectors[name] = np.asarray(library.vectors_of([p.id for p in passages]), dtype=np.float32)
            texts = [passage.embedding_text for passage in passages]
    sizes = {text: fast.token_count(text) for text in texts}
    timed = sorted(sizes, key=lambda text: abs(sizes[text] - TOKENS))[:TEXTS]
    speeds: dict[str, list[float]] = {name: [] for name in embedders}
    for turn in range(ROUNDS):
        for n, (name, embedder) in enumerate(embedders.items()):
            progress("timing", turn * len(embedders) + n, ROUNDS * len(embedders))
            began = time.perf_counter()
            embedder.encode_passages(timed)
            speeds[name].append(len(timed) / (time.perf_counter() - began))
    progress("timing", 1, 1)
    report["tokens_per_passage"] = round(mean(sizes[text] for text in timed), 1)
    for name in embedders:
        report[name] = {"passages_per_s": round(median(speeds[name]), 2), **recalls[name]}
    if len(embedders) > 1:
        cosines = (vectors["float32"] * vectors[fast.precision]).sum(axis=1)
        report["loss"] = {key: round(recalls["float32"][key] - recalls[fast.precision][key], 4) for key in recalls["float32"]}
        report["cosine"] = {"mean": round(float(cosines.mean()), 5), "min": round(float(cosines.min()), 5)}
        ratio = median(a / b for a, b in zip(speeds[fast.precision], speeds["float32"], strict=True))
        report["times_as_fast"] = round(ratio, 2)
    return report
