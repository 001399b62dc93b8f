"""The measures over answers: what `mianpu eval --answers` adds to the report of retrieval.

Key points are counted in three texts side by side: the passages that were given to the model (what an answer could have said at
best), the quotation that is shown at once, and the generated answer; ``key_points`` is the answer as it is shown, both together.
Beside them stands the naive pipeline (``assistant.measures.naive``) with the same model and the same passages.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, quantiles

from assistant.answers import prompts
from assistant.answers.answering import Answer, Assistant, Done, Event, Passages, Quote, Token, answer, evidence_of
from assistant.answers.support import CheckedSentence
from assistant.engine.llama import LlamaChat
from assistant.measures.citations import CitedSentence, citation_right, precision
from assistant.measures.labels import LabelledQuestion, key_point_share
from assistant.measures.naive import NaiveAnswer, naive_answer
from assistant.retrieval.values import Hit
from ingest.models.embedding import Embedder
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library
from kg.graph import ConceptGraph


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """One question with its answer; times in seconds from asking, None where the event did not come.

    ``cited`` are the sentences of the answer that carry citations, with the texts of the places; ``known`` the texts whose names
    need no citation. ``naive`` is what the naive pipeline made of the same passages; None where the library holds no answer.
    """

    question: LabelledQuestion
    answer: Answer | None
    passages: str
    quote: str
    quote_s: float | None
    first_token_s: float | None
    whole_s: float
    tokens: int
    cited: tuple[CitedSentence, ...] = ()
    known: tuple[str, ...] = ()
    naive: NaiveAnswer | None = None


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
            done = event.answer if event.answer.answered else None
    whole_s = time.perf_counter() - began
    if done is None:
        return AnsweredQuestion(question, None, passages, quote, quote_s, first_token_s, whole_s, tokens)
    texts = {hit.passage.document: assistant.library.document(hit.passage.document).text for hit in done.hits}
    cited = tuple(_cited(sentence, texts) for sentence in done.sentences if sentence.citations)
    known = (question.question, *_names_of_concepts(question.question, done.hits, assistant))
    return AnsweredQuestion(question, done, passages, quote, quote_s, first_token_s, whole_s, tokens, cited, known)


def _cited(sentence: CheckedSentence, texts: dict[str, str]) -> CitedSentence:
    return CitedSentence(sentence.text, tuple(texts[c.document][c.start : c.end] for c in sentence.citations))


def _names_of_concepts(question: str, hits: Sequence[Hit], assistant: Assistant) -> list[str]:
    """The names of the concepts that a question and its passages speak of, and the headings above the passages."""
    glossary = assistant.graph.glossary
    texts = [question, *(" ".join((*hit.passage.headings, hit.passage.text)) for hit in hits)]
    found = {mention.concept for text in texts for mention in glossary.find(text)}
    names = [" ".join((c.name, c.en, *c.aliases)) for c in (glossary.concepts[key] for key in sorted(found))]
    return [*names, *(" ".join(hit.passage.headings) for hit in hits)]


def measure_answers(
    questions: Sequence[LabelledQuestion],
    library: Library,
    embedder: Embedder,
    graph: ConceptGraph,
    chat: LlamaChat,
    progress: Progress = no_progress,
) -> dict[str, object]:
    """The report, with the names DESIGN.md fixes.

    Every question is answered three times from the same passages: by the naive pipeline; ``cold``, with nothing of its passages
    computed before (the fixed system text is, as after every start); and warm, with their attention states made before.
    """
    assistant = Assistant(library, embedder, graph, chat)
    assistant.warm()
    states, warm, cold = chat.states, [], []
    for number, question in enumerate(questions):
        progress("answers", 3 * number + 1, 3 * len(questions))
        lang = prompts.language(question.question)
        chat.states = None
        chat.forget()
        chat.warm(prompts.system_text(lang))
        first = _one(question, assistant)
        cold.append(first)
        chat.states = states
        if first.answer is None:
            warm.append(first)
            continue
        progress("answers", 3 * number + 2, 3 * len(questions))
        passages = [hit.passage for hit in first.answer.hits]
        naive = naive_answer(question.question, passages, lang, chat, evidence_of(question.question, first.answer.hits, assistant))
        progress("answers", 3 * number + 3, 3 * len(questions))
        chat.prepare([prompts.passage_prompt(passage, lang) for passage in passages])
        chat.forget()
        chat.warm(prompts.system_text(lang))
        second = _one(question, assistant)
        warm.append(replace(second, naive=naive))
    groups: dict[str, dict[str, list[AnsweredQuestion]]] = {"by_type": {}, "by_lang": {}}
    for row in warm:
        groups["by_type"].setdefault(row.question.type, []).append(row)
        groups["by_lang"].setdefault(row.question.lang, []).append(row)
    return {
        **summary(warm),
        "naive": naive_summary(warm),
        "cold": {"first_token_s": _spread([row.first_token_s for row in cold if row.first_token_s is not None])},
        "times_faster": _times_faster(warm),
        **{
            group: {key: {"n": len(part), **_short(part)} for key, part in sorted(parts.items())} for group, parts in groups.items()
        },
    }


def summary(rows: Sequence[AnsweredQuestion]) -> dict[str, object]:
    """The figures over answered questions; a refused answerable question counts as covering nothing.

    ``citation_precision`` is over the sentences with citations that state a key point, a number or a name; ``citations_judged``
    are these.
    """
    answerable = [row for row in rows if row.question.answerable and row.question.key_points]
    generated = [row for row in rows if row.first_token_s is not None and row.answer is not None]
    sentences = [s for row in generated if row.answer is not None for s in row.answer.sentences]
    right, judged = precision(citation_right(s, row.question.key_points, row.known) for row in generated for s in row.cited)
    return {
        "questions": len(rows),
        "generated_answers": len(generated),
        "refused_unanswerable": _rounded_mean([float(row.answer is None) for row in rows if not row.question.answerable]),
        "lost_answerable": _rounded_mean([float(row.answer is None) for row in rows if row.question.answerable]),
        "key_points": _share(answerable, lambda row: f"{row.quote}\n{_text(row)}"),
        "quote": {
            "key_points": _share(answerable, lambda row: row.quote),
            "characters": _characters(row.quote for row in generated),
        },
        "generated": {"key_points": _share(answerable, _text), "characters": _characters(_text(row) for row in generated)},
        "passages": {"key_points": _share(answerable, lambda row: row.passages)},
        "supported_sentences": _rounded_mean([float(s.supported) for s in sentences]),
        "citation_precision": right,
        "citations_judged": judged,
        "quote_s": _spread([row.quote_s for row in rows if row.quote_s is not None]),
        "first_token_s": _spread([row.first_token_s for row in generated if row.first_token_s is not None]),
        "whole_s": _spread([row.whole_s for row in generated]),
        "tokens_per_s": _tokens_per_s([(row.tokens, row.whole_s - (row.first_token_s or 0.0)) for row in generated]),
    }


def naive_summary(rows: Sequence[AnsweredQuestion]) -> dict[str, object]:
    """The same figures for the naive pipeline; its times begin where the passages are known, ours with the question."""
    answerable = [row for row in rows if row.question.answerable and row.question.key_points]
    answers = [(row, row.naive) for row in rows if row.naive is not None]
    right, judged = precision(
        citation_right(s, row.question.key_points, row.known) for row, naive in answers for s in naive.sentences if s.cited
    )
    count = sum(len(naive.sentences) for _, naive in answers)
    return {
        "key_points": _share(answerable, lambda row: row.naive.text if row.naive else ""),
        "characters": _characters(naive.text for _, naive in answers),
        "supported_sentences": _round(sum(naive.supported for _, naive in answers) / count) if count else None,
        "cited_sentences": _round(sum(bool(s.cited) for _, naive in answers for s in naive.sentences) / count) if count else None,
        "citation_precision": right,
        "citations_judged": judged,
        "first_token_s": _spread([naive.first_token_s for _, naive in answers]),
        "whole_s": _spread([naive.whole_s for _, naive in answers]),
        "tokens_per_s": _tokens_per_s([(naive.tokens, naive.whole_s - naive.first_token_s) for _, naive in answers]),
    }


def _short(rows: Sequence[AnsweredQuestion]) -> dict[str, object]:
    """The figures that are shown by type and by language."""
    whole, naive = summary(rows), naive_summary(rows)
    quote, generated = whole["quote"], whole["generated"]
    assert isinstance(quote, dict) and isinstance(generated, dict)
    return {
        "key_points": whole["key_points"],
        "quote": quote["key_points"],
        "generated": generated["key_points"],
        "naive": naive["key_points"],
        "supported_sentences": whole["supported_sentences"],
        "citation_precision": whole["citation_precision"],
    }


def _times_faster(rows: Sequence[AnsweredQuestion]) -> float | None:
    """The median over questions of the naive pipeline's time to the first token over ours."""
    ratios = [row.naive.first_token_s / row.first_token_s for row in rows if row.naive is not None and row.first_token_s]
    return _round(median(ratios)) if ratios else None


def _text(row: AnsweredQuestion) -> str:
    return row.answer.text if row.answer is not None else ""


def _share(rows: Sequence[AnsweredQuestion], text: Callable[[AnsweredQuestion], str]) -> float:
    shares = [key_point_share(text(row), row.question.key_points) or 0.0 for row in rows]
    return _round(mean(shares)) if shares else 0.0


def _characters(texts: Iterable[str]) -> int:
    lengths = [len(text) for text in texts]
    return round(mean(lengths)) if lengths else 0


def _rounded_mean(values: Sequence[float]) -> float | None:
    return _round(mean(values)) if values else None


def _tokens_per_s(pairs: Sequence[tuple[int, float]]) -> float:
    return _round(median(tokens / max(1e-9, seconds) for tokens, seconds in pairs)) if pairs else 0.0


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ordered = sorted(seconds)
    p95 = quantiles(ordered, n=20)[-1] if len(ordered) > 1 else ordered[0]
    return {"p50": _round(median(ordered)), "p95": _round(p95)}


def _round(value: float) -> float:
    return round(value, 4)
