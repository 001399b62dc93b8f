"""Labelled questions with what may be quoted for each: what fitting and measuring quotations share."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from assistant.answers.answering import Assistant, _rough_tokens
from assistant.answers.quoting import Material, gather
from assistant.measures.labels import LabelledQuestion, SpanFinder
from assistant.retrieval.search import search
from assistant.retrieval.selection import select
from assistant.retrieval.values import Hit, SearchResult
from ingest.models.embedding import Embedder, load_embedder
from ingest.pipeline import ingest
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph

ROOT = Path(__file__).resolve().parents[2]
PASSAGE_TOKENS = 900


@dataclass(frozen=True, slots=True)
class Searched:
    """A question with what its search found, the hits that are shown, and what may be quoted of them; seconds of searching and of
    gathering."""

    question: LabelledQuestion
    result: SearchResult
    hits: tuple[Hit, ...]
    material: Material
    search_s: float
    gather_s: float


@contextmanager
def assistant_over(folder: Path, library: Path | None = None) -> Iterator[Assistant]:
    """An assistant without a chat model over the documents of a folder, in a library that lies in ``library`` or is thrown away."""
    with tempfile.TemporaryDirectory() as scratch:
        embedder: Embedder = load_embedder()
        with Library.open(library or Path(scratch), create=True) as opened:
            ingest(opened, [folder], lambda: embedder)
            glossary = Glossary.load()
            assistant = Assistant(opened, embedder, ConceptGraph.build(opened, glossary))
            assistant.warm()
            yield assistant


def searched(questions: Sequence[LabelledQuestion], assistant: Assistant) -> Iterator[Searched]:
    """Search for each question and gather what may be quoted."""
    for question in questions:
        began = time.perf_counter()
        result = search(question.question, assistant.library, assistant.embedder, assistant.graph, centres=assistant.centres)
        hits = select(result, _rough_tokens, PASSAGE_TOKENS) or result.hits[:1]
        found = time.perf_counter()
        material = gather(result, hits, assistant.library, assistant.embedder)
        yield Searched(question, result, hits, material, found - began, time.perf_counter() - found)


def finder_for(library: Library) -> SpanFinder:
    """Finds quotes in the documents of a library."""
    return SpanFinder({info.name: library.document(info.name).text for info in library.documents()})
