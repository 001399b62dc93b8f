"""Text -> vectors. (First version so that others can go on; the owner of this module replaces it.)"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ingest.progress import Progress, no_progress
from ingest.vectors import Vectors


class Embedder(Protocol):
    """What turns texts into unit vectors."""

    @property
    def fingerprint(self) -> str:
        """Names the weights: vectors of different fingerprints must never be compared."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of passages, unit length."""

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of questions, unit length."""


class SentenceEmbedder:
    """multilingual-e5-small through sentence-transformers."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        self.fingerprint = str(folder)
        self.dimension = 384

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of passages."""
        return self._encode("passage: ", texts)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of questions."""
        return self._encode("query: ", texts)

    def _encode(self, prefix: str, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        vectors = self._model.encode([prefix + t for t in texts], batch_size=16, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)


def load_embedder(given: str | None = None, progress: Progress = no_progress) -> SentenceEmbedder:
    """The embedding model."""
    return SentenceEmbedder(Path(given or "/tmp/w/e5st"))
