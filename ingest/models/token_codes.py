"""The token vectors of passages, small enough to keep: what late interaction compares a question's tokens with.

The embedding model computes a vector for every token and then only keeps their mean. Comparing token with token finds what the mean
blurs (late interaction, Khattab & Zaharia 2020, ColBERT): over questions in people's own words it had recall@5 .95 where the mean
had .82 (README). Tokens are kept as 64 bytes each, by product quantisation (Jégou et al. 2011): the vector, less the mean of all
tokens and of unit length, is cut into 64 parts of six numbers, and each part becomes the number of the nearest of 256 centroids.
Pieces without a letter or digit are left out: they are a fifth of the tokens and only add noise.

The means and centroids (``token_codes.npz``) belong to one model, like its vocabulary; they were made from the starter notes by
``python tests/bench/fit_token_codes.py``. Other models have none, and are searched without late interaction.
"""

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import faiss as _faiss
import numpy as np
import numpy.typing as npt

from ingest.storage.vectors import Vectors

faiss: Any = _faiss  # its stubs are made from the C++ side and contradict the Python functions
Codes = npt.NDArray[np.uint8]
VERSION = "t1"
"""Part of the model's fingerprint: codes of another version may not be compared."""
WIDTH = 64
"""Bytes a token."""


@dataclass(frozen=True, slots=True)
class TokenCodebook:
    """Token vectors <-> codes. ``passage_mean`` and ``question_mean`` (d,), ``centroids`` (WIDTH, 256, d / WIDTH)."""

    passage_mean: Vectors
    question_mean: Vectors
    centroids: Vectors
    quantiser: Any

    @classmethod
    def of(cls, passage_mean: Vectors, question_mean: Vectors, centroids: Vectors) -> "TokenCodebook":
        """A codebook with these means and centroids."""
        quantiser = faiss.ProductQuantizer(len(passage_mean), WIDTH, 8)
        faiss.copy_array_to_vector(np.ascontiguousarray(centroids, dtype=np.float32).ravel(), quantiser.centroids)
        return cls(passage_mean, question_mean, centroids, quantiser)

    def encode(self, tokens: Vectors) -> Codes:
        """The codes (n, WIDTH) of a passage's token vectors (n, d)."""
        if not len(tokens):
            return np.zeros((0, WIDTH), dtype=np.uint8)
        codes: Codes = self.quantiser.compute_codes(np.ascontiguousarray(unit(tokens - self.passage_mean), dtype=np.float32))
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """The vectors (n, d) that the codes (n, WIDTH) stand for; about unit length."""
        vectors: Vectors = self.quantiser.decode(np.ascontiguousarray(codes))
        return vectors

    def question(self, tokens: Vectors) -> Vectors:
        """A question's token vectors (n, d) as they are compared: less their mean, unit length."""
        return unit(tokens - self.question_mean)


@lru_cache(maxsize=1)
def shipped_codebook() -> TokenCodebook:
    """The codebook of the program's own embedding model."""
    with files("ingest.models").joinpath("token_codes.npz").open("rb") as file, np.load(file) as arrays:
        return TokenCodebook.of(*(arrays[name].astype(np.float32) for name in ("passage_mean", "question_mean", "centroids")))


def fit_codebook(passages: Vectors, questions: Vectors) -> TokenCodebook:
    """A codebook from token vectors (n, d) of many passages and (m, d) of many questions; k-means, deterministic."""
    passage_mean, question_mean = passages.mean(axis=0), questions.mean(axis=0)
    quantiser = faiss.ProductQuantizer(passages.shape[1], WIDTH, 8)
    quantiser.train(np.ascontiguousarray(unit(passages - passage_mean), dtype=np.float32))
    centroids = faiss.vector_to_array(quantiser.centroids).reshape(WIDTH, 256, -1)
    return TokenCodebook.of(passage_mean, question_mean, centroids)


def unit(vectors: Vectors) -> Vectors:
    """Rows (n, d) brought to length one; a row of zeros stays."""
    rows: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    return rows
