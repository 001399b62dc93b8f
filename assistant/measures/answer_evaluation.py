"""The measures over answers: what `mianpu eval --answers` adds to the report of retrieval.

Key points are counted in three texts side by side: the passages that were given to the model (what an answer could have said at
best), the quotation that is shown at once, and the generated answer; ``key_points`` is the answer as it is shown, both together.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median, quantiles

from assistant.answers import prompts
from assistant.answers.answering import Answer, Assistant, Done, Event, NotFound, Passages, Quote, Token, answer
from assistant.engine.llama import LlamaChat
from assistant.measures.labels import LabelledQuestion, key_point_share
from ingest.models.embedding import Embedder
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library
from kg.graph import ConceptGraph


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """One question with its answer; times in seconds from asking, None where the event did not come."""

    question: LabelledQuestion
    answer: Answer | None
    passages: str
    quote: str
    quote_s: float | None
    first_token_s: float | None
    whole_s: float
    tokens: int


def _one(question: LabelledQuestion, assistant: Assistant) -> AnsweredQuestion:
    began = time.perf_counter()
    done: Answer | None = None
    passages = quote = ""
    quote_s = first_token_s = None
    tokens = 0
    event: Event
    for event in answer(question.question, (), assistant, threading.Event()):
        now = time.perf_counter() - began
        if isinstance(event, Passages):
            passages = "\n".join(hit.passage.text for hit in event.hits)
        elif isinstance(event, Quote):
            quote, quote_s = "\n".join(sentence.text for sentence in event.sentences), now
        elif isinstance(event, Token):
            first_token_s, tokens = first_token_s or now, tokens + 1
        elif isinstance(event, Done):
            done = event.answer
        elif isinstance(event, NotFound):
            done = None
    return AnsweredQuestion(question, done, passages, quote, quote_s, first_token_s, time.perf_counter() - began, tokens)


def measure_answers(
    questions: Sequence[LabelledQuestion],
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    chat: LlamaChat,
    progress: Progress = no_progress,
) -> dict[str, object]:
    """The report, with the names DESIGN.md fixes.

    Every question is answered twice from the same passages: under ``read_whole`` the model reads its whole prompt; in the figures
    above, what the model reuses (the first passage; all with ``join``) comes from attention states made before the question.
    """
    assistant = Assistant(library, embedder, graph, chat)
    states, joined, whole = chat.states, [], []
    for number, question in enumerate(questions, start=1):
        progress("answers", 2 * number - 1, 2 * len(questions))
        chat.states = None
        chat.forget()
        whole.append(_one(question, assistant))
        chat.states = states
        answered = whole[-1].answer
        if answered is not None:
            lang = prompts.language(question.question)
            chat.prepare([prompts.passage_prompt(hit.passage, lang) for hit in answered.hits])
        chat.forget()
        joined.append(_one(question, assistant))
        progress("answers", 2 * number, 2 * len(questions))
    return {**summary(joined), "read_whole": summary(whole)}


def summary(rows: Sequence[AnsweredQuestion]) -> dict[str, object]:
    """The figures over answered questions; a refused answerable question counts as covering nothing."""
    answerable = [row for row in rows if row.question.answerable and row.question.key_points]
    generated = [row for row in rows if row.first_token_s is not None and row.answer is not None]
    sentences = [s for row in generated if row.answer is not None for s in row.answer.sentences]
    return {
        "questions": len(rows),
        "generated_answers": len(generated),
        "key_points": _share(answerable, lambda row: f"{row.quote}\n{_text(row)}"),
        "quote.key_points": _share(answerable, lambda row: row.quote),
        "generated.key_points": _share(answerable, _text),
        "passages.key_points": _share(answerable, lambda row: row.passages),
        "supported_sentences": _round(mean(float(s.supported) for s in sentences)) if sentences else None,
        "quote_s": _spread([row.quote_s for row in rows if row.quote_s is not None]),
        "first_token_s": _spread([row.first_token_s for row in generated if row.first_token_s is not None]),
        "whole_s": _spread([row.whole_s for row in generated]),
        "tokens_per_s": _round(
            median(row.tokens / max(1e-9, row.whole_s - (row.first_token_s or 0.0)) for row in generated) if generated else 0.0
        ),
    }


def _text(row: AnsweredQuestion) -> str:
    return row.answer.text if row.answer is not None and row.answer.answered else ""


def _share(rows: Sequence[AnsweredQuestion], text: Callable[[AnsweredQuestion], str]) -> float:
    shares = [key_point_share(text(row), row.question.key_points) or 0.0 for row in rows]
    return _round(mean(shares)) if shares else 0.0


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    p95 = quantiles(ordered, n=20)[-1] if len(ordered) > 1 else ordered[0]
    return {"p50": _round(median(ordered)), "p95": _round(p95)}


def _round(value: float) -> float:
    return round(value, 4)
