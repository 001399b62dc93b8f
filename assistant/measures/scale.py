"""How searching grows with the library: `mianpu bench --search-at N…`, over libraries of generated passages (synthetic.py).

Times are of warm searches, in milliseconds, one at a time. ``vectors`` and ``words`` are the storage's two searches of a question;
the baselines beside them are what they replace: a scan of all vectors in float32, and FTS5 over the same words.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from assistant.measures.synthetic import Stock, fill
from assistant.retrieval.search import search
from ingest.models.embedding import Embedder
from ingest.progress import Progress
from ingest.storage import vectors
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from kg.concepts import Glossary
from kg.graph import ConceptGraph

_T = TypeVar("_T")
SIZES = (2_500, 100_000, 1_000_000)
_QUESTIONS, _K, _CLAUSES = 60, 60, 30_000
_BASELINE = 200_000
"""Passages up to which the baselines are measured: a million vectors and their FTS5 table take minutes to build."""


def measure_scale(
    folder: Path, sizes: Sequence[int], embedder: Embedder, glossary: Glossary, progress: Progress, questions: int = _QUESTIONS
) -> dict[str, object]:
    """For every size a library in ``folder``, left there: a second run finds it filled. Returns a row of figures a size."""
    stock: Stock | None = None
    report: dict[str, object] = {}
    for size in sizes:
        with Library.open(folder / str(size), create=True) as library:
            began = time.perf_counter()
            if library.passage_count() < size:
                stock = stock or Stock.of_starter_notes(embedder, glossary, _CLAUSES)
                fill(library, stock, size, embedder, glossary, progress)
            filled = time.perf_counter() - began
            report[f"{size} passages"] = _row(library, embedder, glossary, questions) | {"fill": {"seconds": round(filled, 1)}}
    return report


def _row(library: Library, embedder: Embedder, glossary: Glossary, count: int) -> dict[str, object]:
    asked = [str(q) for (q,) in library.read("SELECT question FROM pairs ORDER BY id LIMIT ?", (count,))]
    values = list(embedder.encode_questions(asked))
    terms = [dict.fromkeys(words(question), 1.0) for question in asked]
    before = _memory()
    opening = _milliseconds(lambda: library.nearest_passages(values[0], _K)) + _milliseconds(
        lambda: library.match_fields(terms[0], _K)
    )
    began = time.perf_counter()
    graph = ConceptGraph.build(library, glossary)
    built = time.perf_counter() - began
    row: dict[str, object] = {
        "first": {"vectors_and_words_ms": round(opening), "graph_s": round(built, 1)},
        "vectors": _spread(lambda v: library.nearest_passages(v, _K), values),
        "questions": _spread(lambda v: library.nearest_questions(v, _K // 2), values),
        "words": _spread(lambda t: library.match_fields(t, _K), terms),
    }
    search(asked[0], library, embedder, graph)
    row["search"] = _spread(lambda q: search(q, library, embedder, graph), asked)
    row["memory"] = {"mb": _memory(), "of_the_library_mb": _memory() - before}
    row["disk"] = {"mb": round(sum(path.stat().st_size for path in library.folder.iterdir()) / 2**20)}
    if library.passage_count() <= _BASELINE:
        row |= _baselines(library, values, terms)
    return row


def _baselines(library: Library, values: Sequence[Vectors], terms: Sequence[dict[str, float]]) -> dict[str, object]:
    """A scan in float32, with the share of its best ten that the library's own search finds; FTS5, as the library had it before."""
    ids, every = library.vector_contents()
    flat = vectors.empty(library.dimension)
    vectors.change(flat, [], ids.tolist(), every)
    del every
    found = [
        len({i for i, _ in vectors.search(flat, v, 10, pairs=False)} & {i for i, _ in library.nearest_passages(v, 10)}) / 10
        for v in values
    ]
    row: dict[str, object] = {
        "flat": _spread(lambda v: vectors.search(flat, v, _K, pairs=False), values) | {"recall@10": _mean(found)}
    }
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5 (body, tokenize = \"unicode61 remove_diacritics 0 tokenchars '_'\")")
        cut: dict[str, str] = {}
        for i, text in library.read(
            'SELECT p.id, substr(d.text, p.start + 1, p."end" - p.start) FROM passages p JOIN documents d ON d.id = p.document_id'
        ):
            clauses = text.replace("？\n", "，").split("，")
            connection.execute(
                "INSERT INTO t (rowid, body) VALUES (?, ?)", (i, " ".join(cut.setdefault(c, " ".join(words(c))) for c in clauses))
            )
        sql = "SELECT rowid FROM t WHERE t MATCH ? ORDER BY bm25(t) LIMIT ?"
        asked = [(" OR ".join(f'"{term}"' for term in chosen), _K) for chosen in terms]
        row["fts5"] = _spread(lambda a: connection.execute(sql, a).fetchall(), asked)
    return row


def _spread(call: Callable[[_T], object], items: Sequence[_T]) -> dict[str, float]:
    for item in items:  # warm: what a search reads is in the system's memory
        call(item)
    times = [_milliseconds(partial(call, item)) for item in items]
    return {"p50_ms": round(float(np.median(times)), 1), "p95_ms": round(float(np.quantile(times, 0.95)), 1)}


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4)


def _memory() -> int:
    return int(psutil.Process().memory_info().rss) >> 20
