"""Texts -> unit vectors. The only module that knows sentence-transformers.

What was measured on two Zen 3 cores (AVX2), Chinese passages of 176 tokens on average, cosine and best hit against float32:

========================================  ============  ===========  ==================  ==============
precision                                 passages/s    question     cosine mean / min   same best hit
========================================  ============  ===========  ==================  ==============
float32                                   14.0          35 ms        1 / 1               1
int8, torch's quantize_dynamic            about 20      -            0.974 / 0.965       0.993
int8, ingest.models.int8                         19-21         15-19 ms     0.9989 / 0.9984     0.9975
bfloat16 (emulated here, so not timed)    -             -            0.99997 / 0.99997   1
========================================  ============  ===========  ==================  ==============

Small batches stay in the cache: 500 tokens gave 11.7 passages/s a core, 1,000 gave 10.2, 2,000 gave 9.2. Cores are used by
computing several batches at once, one core each: two threads inside one batch wait for each other after every layer.
"""

import hashlib
import importlib
import json
import logging
import os
import re
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ingest.errors import MianpuError, UsageError
from ingest.models import token_codes
from ingest.models.model_files import EMBEDDING_MODEL, embedding_model_folder, manifest_fingerprint
from ingest.models.token_codes import Codes, TokenCodebook
from ingest.progress import Progress, no_progress
from ingest.storage.vectors import Vectors
from ingest.variants import simplified

PRECISIONS = ("float32", "bfloat16", "int8")
_BATCH_TOKENS = 512


class Embedder(Protocol):
    """What the rest of the program needs of an embedding model.

    ``fingerprint`` names the weights: equal fingerprints mean vectors that may be compared. Both methods give float32 rows (n, d)
    of unit length, in the order of the texts.
    """

    @property
    def fingerprint(self) -> str:
        """The identity of the weights."""

    @property
    def dimension(self) -> int:
        """The length d of a vector."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages."""

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The vectors of questions."""


@runtime_checkable
class TokenEmbedder(Protocol):
    """An embedding model that also gives what late interaction compares; without tokens where it has no codebook."""

    def encode_passages_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Codes]]:
        """The vectors (n, d) of passages, and the codes (tokens, WIDTH) of each one's tokens."""

    def encode_questions_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Vectors]]:
        """The vectors (n, d) of questions, and each one's token vectors (tokens, d), centred, unit length."""


class SentenceEmbedder:
    """A sentence-transformers model in a local folder. Threads may share it.

    ``precision`` is one of ``PRECISIONS`` (by default the fastest whose loss was measured to be negligible, see
    ``choose_precision``), ``batch_size`` the most texts computed at once on a core, ``threads`` the number of cores used.
    Raises MianpuError when the folder holds no such model.
    """

    def __init__(
        self, folder: Path, *, precision: str | None = None, batch_size: int | None = None, threads: int | None = None
    ) -> None:
        if precision not in (None, *PRECISIONS):
            raise UsageError(f"{precision!r} is not a precision: choose one of {', '.join(PRECISIONS)}")
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder: give --embedding-model a sentence-transformers folder or name")
        self.fingerprint = model_fingerprint(folder)
        self._codebook: TokenCodebook | None = token_codes.shipped_codebook() if manifest_fingerprint(folder) else None
        self.precision = precision or choose_precision(_processor_flags(), _int8_available, self.fingerprint)
        self._model = _load(folder, self.precision)
        self._question_prefix, self._passage_prefix = _prefixes(self._model.prompts, str(folder))
        self._batch_size = max(1, batch_size or 32)
        self._threads = max(1, threads or _cores())
        self._tokenizer_lock = threading.Lock()  # padding and truncation are state of the tokenizer: two threads may not set it
        self._prefix_tokens = {p: self.token_count(p.strip()) for p in ("", self._question_prefix, self._passage_prefix)}
        self._pool: ThreadPoolExecutor | None = None
        self._telling: npt.NDArray[np.bool_] | None = None
        self.dimension = int(self._model.get_embedding_dimension() or self._compute([""], "", False)[0].shape[1])

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """The vectors (n, d) of passages; a text longer than the model reads is cut at its end."""
        return self._encode(texts, self._passage_prefix)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The vectors (n, d) of questions."""
        return self._encode(texts, self._question_prefix)

    def encode_passages_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Codes]]:
        """The vectors of passages, and the codes of their tokens (none where the model has no codebook)."""
        tokens: list[Vectors] = [np.zeros((0, self.dimension), dtype=np.float32)] * len(texts)
        vectors = self._encode(texts, self._passage_prefix, tokens)
        book = self._codebook
        return vectors, [book.encode(rows) if book else np.zeros((0, token_codes.WIDTH), dtype=np.uint8) for rows in tokens]

    def encode_questions_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Vectors]]:
        """The vectors of questions, and their tokens' (none where the model has no codebook)."""
        tokens: list[Vectors] = [np.zeros((0, self.dimension), dtype=np.float32)] * len(texts)
        vectors = self._encode(texts, self._question_prefix, tokens)
        return vectors, [self._codebook.question(rows) if self._codebook else rows for rows in tokens]

    def token_vectors(self, texts: Sequence[str], *, question: bool) -> list[Vectors]:
        """The raw vectors (tokens, d) of each text's tokens that hold a letter or digit; what a codebook is made from."""
        tokens: list[Vectors] = [np.zeros((0, self.dimension), dtype=np.float32)] * len(texts)
        self._encode(texts, self._question_prefix if question else self._passage_prefix, tokens)
        return tokens

    def token_count(self, text: str) -> int:
        """The model's tokens of a text, without prefix and special tokens."""
        with self._tokenizer_lock:
            return len(self._model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def _encode(self, texts: Sequence[str], prefix: str, tokens_out: list[Vectors] | None = None) -> Vectors:
        """The vectors of the texts; their tokens' go to ``tokens_out``, where given."""
        result = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return result
        texts = [simplified(text) for text in texts]
        with self._tokenizer_lock:
            tokens = [len(ids) for ids in self._model.tokenizer(list(texts), verbose=False)["input_ids"]]
        groups = batches(tokens, self._batch_size, min(_BATCH_TOKENS, -(-sum(tokens) // self._threads)))
        parts = [[texts[i] for i in group] for group in groups]
        wanted = tokens_out is not None
        if len(parts) == 1 or self._threads == 1:
            computed: Iterator[tuple[Vectors, list[Vectors]]] = (self._compute(part, prefix, wanted) for part in parts)
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="embedding")
            computed = self._pool.map(self._compute, parts, [prefix] * len(parts), [wanted] * len(parts))
        for group, (rows, token_rows) in zip(groups, computed, strict=True):
            result[group] = rows
            if tokens_out is not None:
                for i, row in zip(group, token_rows, strict=False):
                    tokens_out[i] = row
        return result

    def _compute(self, texts: list[str], prefix: str, wanted: bool) -> tuple[Vectors, list[Vectors]]:
        """One batch, on this thread's core, with its token vectors where they are wanted."""
        import torch  # already loaded by the constructor

        torch.set_num_threads(1)
        with self._tokenizer_lock:
            features = self._model.preprocess(texts, prompt=prefix or None)
        with torch.inference_mode():
            out = self._model(features)
            rows = torch.nn.functional.normalize(out["sentence_embedding"].float(), dim=1)
        vectors: Vectors = rows.cpu().numpy()
        return vectors, self._tokens(out, prefix) if wanted else []

    def _tokens(self, out: Any, prefix: str) -> list[Vectors]:
        """The vectors of the tokens that hold a letter or digit, without prefix and special tokens."""
        telling = self._telling_pieces()
        first = 1 + self._prefix_tokens[prefix]
        ids, mask = out["input_ids"].cpu().numpy(), out["attention_mask"].cpu().numpy().astype(bool)
        values = out["token_embeddings"].float().cpu().numpy()
        mask[:, :first] = False
        mask &= telling[ids]
        return [row[kept] for row, kept in zip(values, mask, strict=True)]

    def _telling_pieces(self) -> npt.NDArray[np.bool_]:
        """For each number of the vocabulary, whether its piece holds a letter or digit; special tokens do not count."""
        with self._tokenizer_lock:
            if self._telling is None:
                tokenizer = self._model.tokenizer
                pieces = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
                self._telling = np.array([any(map(str.isalnum, piece)) for piece in pieces])
                self._telling[tokenizer.all_special_ids] = False
            return self._telling


def load_embedder(given: str | None = None, progress: Progress = no_progress) -> SentenceEmbedder:
    """The embedding model, fetched first if it is not there.

    ``given`` is a folder or a sentence-transformers name; None means the program's own model.
    """
    return SentenceEmbedder(embedding_model_folder(given, progress))


def embed_texts(model: Embedder, texts: Sequence[str], *, questions: bool) -> tuple[Vectors, list[Codes]]:
    """The vectors (n, d) of passages or questions, and the codes of the passages' tokens where the model gives them."""
    if questions:
        return model.encode_questions(texts), []
    return model.encode_passages_and_tokens(texts) if isinstance(model, TokenEmbedder) else (model.encode_passages(texts), [])


def batches(tokens: Sequence[int], most_texts: int, most_tokens: int) -> list[list[int]]:
    """Group texts of like length so that little is padded; gives lists of indices, longest texts first.

    A group has at most ``most_texts`` texts and, padded to its longest, ``most_tokens`` tokens (one text alone may have more).

    >>> batches([5, 100, 6, 90], 8, 200)
    [[1, 3], [2, 0]]
    """
    groups: list[list[int]] = []
    for i in sorted(range(len(tokens)), key=lambda i: -tokens[i]):
        last = groups[-1] if groups else []
        similar = bool(last) and 2 * tokens[i] >= tokens[last[0]]
        if similar and len(last) < most_texts and (len(last) + 1) * tokens[last[0]] <= most_tokens:
            last.append(i)
        else:
            groups.append([i])
    return groups


def choose_precision(flags: frozenset[str], int8_available: Any, fingerprint: str) -> str:
    """The precision for a processor with these ``/proc/cpuinfo`` flags.

    bfloat16 where the processor multiplies it; else int8, for the one model it was measured on; else float32.
    """
    if flags & {"avx512_bf16", "amx_bf16"}:
        return "bfloat16"
    if "avx2" in flags and fingerprint.startswith(EMBEDDING_MODEL.name + "@") and int8_available():
        return "int8"
    return "float32"


def model_fingerprint(folder: Path) -> str:
    """The identity of the model in a folder, and of the codes of its tokens: vectors of another may not be compared."""
    own = manifest_fingerprint(folder)
    return f"{own}+{token_codes.VERSION}" if own else folder_fingerprint(folder)


def folder_fingerprint(folder: Path) -> str:
    """The identity of a model we did not build: the hash of every file that its vectors depend on."""
    digest = hashlib.sha256()
    kinds = {".json", ".safetensors", ".bin", ".model", ".txt"}
    files = [p for p in folder.rglob("*") if p.suffix in kinds and p.is_file() and not {"onnx", "openvino"} & set(p.parts)]
    for path in sorted(files):
        with open(path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return f"{folder.name}@{digest.hexdigest()[:16]}"


def _prefixes(prompts: dict[str, str], name: str) -> tuple[str, str]:
    """The prefixes of questions and passages: what the model's own files say, else what E5 models were trained with."""
    question = prompts.get("query") or ""
    passage = prompts.get("document") or prompts.get("passage") or ""
    if not question and not passage and re.search(r"(^|[-_/])e5[-_](?!.*instruct)", name.lower()):
        return "query: ", "passage: "
    return question, passage


def _load(folder: Path, precision: str) -> Any:
    # Explicit, or the Rust library prints a warning when a process is started later; our batches use the cores already.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Imported here because it takes seconds: commands that embed nothing start without it.
    with _quick_import():
        import sentence_transformers
        import torch
        import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # every thread that starts later takes this over
    arguments: dict[str, Any] = {"attn_implementation": "sdpa"}
    if precision == "bfloat16":
        arguments["dtype"] = torch.bfloat16
    if _is_bert(folder):
        arguments["add_pooling_layer"] = False  # a layer that sentence embeddings do not use and our weights do not have
    try:
        model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs=arguments)
    except Exception as error:  # a damaged file surfaces as whatever its parser raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MianpuError(
            f"the embedding model in {folder} cannot be loaded ({reason}): remove the folder to have it built again,"
            " or give another with --embedding-model"
        ) from None
    model.eval()
    if precision == "int8":
        from ingest.models import int8  # imports torch

        int8.quantise(model)
    return model


def _is_bert(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") == "bert"


@contextmanager
def _quick_import() -> Iterator[None]:
    """Import sentence-transformers without scikit-learn.

    It imports one function of it for a measure we never use, and with that scipy.stats and pandas: 1 to 3 s of 6 to 9. For the
    time of the import that function is one that imports scikit-learn when it is first called; any other name imports it at once.
    """
    if "sklearn" in sys.modules:
        yield
        return

    def real(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # inspect looks at every module for a __file__; that is no use of it
        for module in ("sklearn", "sklearn.metrics"):
            if sys.modules.get(module) is stand_ins[module]:
                del sys.modules[module]
        return getattr(importlib.import_module("sklearn.metrics"), name)

    def pairwise_distances(*arguments: Any, **options: Any) -> Any:
        return real("pairwise_distances")(*arguments, **options)

    stand_ins = {name: types.ModuleType(name) for name in ("sklearn", "sklearn.metrics")}
    for name, module in stand_ins.items():
        module.__spec__ = ModuleSpec(name, None, is_package=name == "sklearn")
    stand_ins["sklearn"].__path__ = []
    stand_ins["sklearn.metrics"].__dict__.update(pairwise_distances=pairwise_distances, __getattr__=real)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _processor_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return frozenset(found.group(1).split()) if found else frozenset()


def _int8_available() -> bool:
    from ingest.models import int8  # imports torch

    return int8.available()


def _cores() -> int:
    """The cores this process may use; two threads of one core share its arithmetic, so physical ones."""
    import psutil

    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return min(physical, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else physical
