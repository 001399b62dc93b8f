"""The embedding model in a process of its own.

Importing torch and sentence-transformers takes four seconds of one core, Gradio takes three of another: in one process Python does
one after the other, in two the page is there when the model is. A crash of the model's libraries does not take the page along.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ingest.errors import MianpuError
from ingest.models.embedding import SentenceEmbedder, model_fingerprint
from ingest.models.model_files import embedding_model_folder
from ingest.models.token_codes import Codes
from ingest.progress import Progress, no_progress
from ingest.storage.vectors import Vectors

_T = TypeVar("_T")


class EmbedderProcess:
    """An embedder whose model a child process loads, from the moment this object is made. Threads may share it.

    What goes wrong with the model is raised (as MianpuError) by whatever needs it first.
    """

    def __init__(self, folder: Path) -> None:
        self.fingerprint = model_fingerprint(folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = self._start()
        self._dimension: Future[int] = self._pool.submit(_dimension, folder)

    @property
    def dimension(self) -> int:
        """The length d of a vector."""
        return _result(self._dimension)

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """The vectors (n, d) of passages."""
        vectors: Vectors = self._encode("encode_passages", texts)
        return vectors

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """The vectors (n, d) of questions."""
        vectors: Vectors = self._encode("encode_questions", texts)
        return vectors

    def encode_passages_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Codes]]:
        """The vectors of passages and the codes of their tokens."""
        both: tuple[Vectors, list[Codes]] = self._encode("encode_passages_and_tokens", texts)
        return both

    def encode_questions_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Vectors]]:
        """The vectors of questions and of their tokens."""
        both: tuple[Vectors, list[Vectors]] = self._encode("encode_questions_and_tokens", texts)
        return both

    def close(self) -> None:
        """End the process; what is being computed is waited for."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _encode(self, method: str, texts: Sequence[str]) -> Any:
        with self._lock:
            if self._pool is None:
                raise MianpuError("the embedding model is closed: start the program again")
            try:
                future = self._pool.submit(_encode, self._folder, method, list(texts))
            except BrokenProcessPool:  # it was killed, for lack of memory perhaps: a new one serves whoever asks next
                self._pool = self._start()
                future = self._pool.submit(_encode, self._folder, method, list(texts))
        return _result(future)

    def _start(self) -> ProcessPoolExecutor:
        # Not forked: the threads of this process would leave their locks behind in the child.
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def start_embedder(given: str | None = None, progress: Progress = no_progress) -> EmbedderProcess:
    """The embedding model, fetched first if it is not there, loading in its own process; see ``embedding.load_embedder``."""
    return EmbedderProcess(embedding_model_folder(given, progress))


def _result(future: Future[_T]) -> _T:
    try:
        return future.result()
    except BrokenProcessPool:
        raise MianpuError("the process of the embedding model ended: ask again, and close other programs if it recurs") from None


# --- in the child ---------------------------------------------------------------------------------------------------


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when this process ends
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@lru_cache(maxsize=1)
def _model(folder: Path) -> SentenceEmbedder:
    return SentenceEmbedder(folder)


def _dimension(folder: Path) -> int:
    return _model(folder).dimension


def _encode(folder: Path, method: str, texts: list[str]) -> Any:
    return getattr(_model(folder), method)(texts)
