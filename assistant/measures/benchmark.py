"""How fast it is, on this machine: the figures `mianpu bench` prints. Times are wall-clock; repeated ones give their median."""

import os
import platform
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

import psutil

from assistant.answers.answering import Assistant, Done, Quote, Sentence, Token, answer
from assistant.engine.llama import LlamaChat
from assistant.retrieval.search import search
from ingest.models.embedding import SentenceEmbedder, load_embedder
from ingest.models.model_files import chat_model_path
from ingest.pipeline import ingest
from ingest.progress import Progress
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph

SEARCHES = 60
ANSWERS = 5


def measure(
    folder: Path, documents: Path, embedding_model: str | None, chat_model: str | None, progress: Progress
) -> dict[str, object]:
    """Load the models, ingest the documents into a new library in ``folder``, ingest them again unchanged, search, and answer."""
    began = time.perf_counter()
    embedder = load_embedder(embedding_model, progress)
    embedder.encode_questions(["warm"])
    loaded = time.perf_counter() - began
    with Library.open(folder, create=True) as library:
        report: dict[str, object] = {
            "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count() or 1},
            "ingest": _ingest(library, documents, embedder, progress),
            "again": _again(library, documents, progress),
        }
        graph_began = time.perf_counter()
        graph = ConceptGraph.build(library, Glossary.load())
        report["graph"] = {"seconds": _round(time.perf_counter() - graph_began), "concepts": len(graph.concepts_in_use())}
        questions = [pair.question for pair in library.all_pairs()]
        report["search"] = _search(questions[:SEARCHES], library, embedder, graph)
        chat_began = time.perf_counter()
        chat = LlamaChat(chat_model_path(chat_model, progress))
        report["load"] = {"embedding_s": _round(loaded), "chat_s": _round(time.perf_counter() - chat_began)}
        try:
            report["answer"] = _answers(spread(questions, ANSWERS), Assistant(library, embedder, graph, chat), chat, progress)
        finally:
            chat.close()
        report["memory"] = {"peak_mb": round(psutil.Process().memory_info().rss / 2**20)}
    return report


def _ingest(library: Library, documents: Path, embedder: SentenceEmbedder, progress: Progress) -> dict[str, float]:
    summary = ingest(library, [documents], lambda: embedder, progress)
    embedding = summary.seconds["embed"]
    tokens = sum(embedder.token_count(passage.embedding_text) for passage in library.all_passages())
    return {
        "documents": len(library.documents()),
        "passages": library.passage_count(),
        "pairs": len(library.all_pairs()),
        "tokens_per_passage": _round(tokens / max(1, library.passage_count())),
        "embedded_per_s": _round(summary.embedded / embedding) if embedding else 0.0,
        "passages_per_s": _round(library.passage_count() / summary.seconds["total"]),
        **{f"{stage}_s": _round(seconds) for stage, seconds in summary.seconds.items()},
    }


def _again(library: Library, documents: Path, progress: Progress) -> dict[str, float]:
    def never() -> SentenceEmbedder:
        raise AssertionError("nothing changed, yet something is embedded")

    return {"seconds": _round(_seconds(lambda: ingest(library, [documents], never, progress)))}


def _search(questions: list[str], library: Library, embedder: SentenceEmbedder, graph: ConceptGraph) -> dict[str, float]:
    def one(question: str) -> Callable[[], object]:
        return lambda: search(question, library, embedder, graph)

    times = sorted(_seconds(one(question)) for question in questions)
    return {"n": len(times), "p50_s": _round(median(times)), "p95_s": _round(quantiles(times, n=20)[-1])} if len(times) > 1 else {}


def _answers(questions: list[str], assistant: Assistant, chat: LlamaChat, progress: Progress) -> dict[str, float]:
    quotes, firsts, wholes, speeds, prompts = [], [], [], [], []
    for number, question in enumerate(questions, start=1):
        began = time.perf_counter()
        marks: dict[type, float] = {}
        for event in answer(question, (), assistant, threading.Event()):
            marks.setdefault(type(event), time.perf_counter() - began)
        if Token in marks and Done in marks and chat.last_timings is not None:
            timings = chat.last_timings
            firsts.append(marks[Token])
            wholes.append(marks[Done])
            quotes.append(marks.get(Quote, marks.get(Sentence, marks[Done])))
            speeds.append(timings.generated_tokens / max(1e-9, timings.total_s - timings.first_token_s))
            prompts.append((timings.prompt_tokens - timings.reused_tokens) / max(1e-9, timings.first_token_s))
        progress("answers", number, len(questions))
    if not firsts:
        return {"n": 0}
    return {
        "n": len(firsts),
        "quote_s": _round(median(quotes)),
        "first_token_s": _round(median(firsts)),
        "whole_s": _round(median(wholes)),
        "prompt_tokens_per_s": _round(median(prompts)),
        "tokens_per_s": _round(median(speeds)),
    }


def spread(questions: Sequence[str], count: int) -> list[str]:
    """So many of the questions, evenly spread over all of them."""
    return list(questions[:: max(1, len(questions) // count)][:count])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _round(value: float) -> float:
    return round(value, 3)
