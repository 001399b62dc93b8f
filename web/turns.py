"""One question and its answer as the page shows them: events go in, HTML comes out. Nothing here knows Gradio.

An answer grows sentence by sentence. What was checked carries its sources or the mark of a sentence without any; what was not checked
yet stands behind it as plain text.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape

from assistant import answering
from assistant.answering import Answer, CheckedSentence, Citation, Event
from assistant.retrieval import Hit
from ingest.document import Passage
from kg.concepts import Concept
from web.markdown import Span, to_html
from web.render import attributes, button, chips, concept_chip, notice, opens, passage_card, place, source_link
from web.texts import Texts


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and everything known about its answer. ``stage`` is searching, reading, waiting, writing, or how it ended:
    done, notfound, stopped, failed."""

    question: str
    stage: str = "searching"
    ahead: int = 0
    passages: tuple[Passage, ...] = ()
    quote: answering.Quote | None = None
    text: str = ""
    sentences: tuple[CheckedSentence, ...] = ()
    nearest: tuple[Concept, ...] = ()
    seconds: float | None = None
    reason: str = ""

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.stage in ("searching", "reading", "waiting", "writing")

    def failed(self, reason: str) -> "Turn":
        """The turn after an error; what was written stays."""
        return replace(self, stage="failed", reason=reason)

    def stopped(self) -> "Turn":
        """The turn as it was left when it was stopped."""
        return replace(self, stage="stopped")

    def to_json(self) -> str:
        """Everything but the question and the text, which are stored beside it."""
        kept = asdict(replace(self, question="", text="", nearest=()))
        return json.dumps({**kept, "nearest": [asdict(concept) for concept in self.nearest]}, ensure_ascii=False)

    @classmethod
    def from_json(cls, question: str, text: str, detail: str) -> "Turn":
        """The turn that ``to_json`` wrote; of a message written otherwise, question and text."""
        try:
            fields = json.loads(detail)
            sentences = tuple(
                CheckedSentence(**{**s, "citations": tuple(Citation(**c) for c in s["citations"])}) for s in fields.pop("sentences")
            )
            passages = tuple(Passage(**{**p, "headings": tuple(p["headings"])}) for p in fields.pop("passages"))
            nearest = tuple(Concept(**{**c, "aliases": tuple(c["aliases"])}) for c in fields.pop("nearest"))
            quote = answering.Quote(**fields.pop("quote")) if fields.get("quote") else fields.pop("quote", None)
            rest = {**fields, "question": question, "text": text}
            return cls(**rest, sentences=sentences, passages=passages, nearest=nearest, quote=quote)
        except (ValueError, KeyError, TypeError):
            return cls(question, "done", text=text)


def advance(turn: Turn, event: Event) -> Turn:
    """The turn after one more event of its answer."""
    match event:
        case answering.Passages(hits=hits):
            return replace(turn, stage="reading", passages=_passages(hits))
        case answering.Quote():
            return replace(turn, quote=event)
        case answering.Waiting(ahead=ahead):
            return replace(turn, stage="waiting" if ahead else "reading", ahead=ahead)
        case answering.Token(text=text):
            return replace(turn, stage="writing", text=turn.text + text)
        case answering.Sentence(sentence=sentence):
            return replace(turn, sentences=(*turn.sentences, sentence))
        case answering.NotFound(nearest=nearest, near=near):
            return replace(turn, stage="notfound", nearest=tuple(nearest), passages=_passages(near))
        case answering.Stopped():
            return replace(turn, stage="stopped")
        case answering.Done(answer=answer):
            return finished(turn, answer)
    return turn


def finished(turn: Turn, answer: Answer) -> Turn:
    """The turn with its whole answer."""
    stage = turn.stage if turn.stage in ("notfound", "stopped") else "done" if answer.answered else "notfound"
    sentences = tuple(answer.sentences)
    return replace(
        turn, stage=stage, text=answer.text, sentences=sentences, passages=_passages(answer.hits), seconds=answer.seconds.get("total")
    )


def _passages(hits: Iterable[Hit]) -> tuple[Passage, ...]:
    return tuple(hit.passage for hit in hits)


def located(text: str, sentences: Sequence[CheckedSentence]) -> Iterator[tuple[int, int, CheckedSentence]]:
    """Where each sentence stands in the text, in order; one that cannot be found is left out."""
    at = 0
    for sentence in sentences:
        wanted = sentence.text.strip()
        start = text.find(wanted, at) if wanted else -1
        if start >= 0:
            at = start + len(wanted)
            yield start, at, sentence


def turn_html(turn: Turn, t: Texts, language: str) -> str:
    """The question and its answer as far as it is."""
    parts = [f'<div class="asked"><p>{escape(turn.question)}</p></div>', '<div class="answer">']
    if turn.quote is not None and turn.stage != "notfound":
        parts.append(_quote(turn, t))
    if turn.stage == "notfound":
        parts.append(_not_found(turn, t, language))
    elif turn.text:
        caret = " caret" if turn.stage == "writing" else ""
        parts.append(f'<div class="prose{caret}">{_answer_text(turn, t)}</div>')
    if turn.running and turn.stage != "writing":
        parts.append(f'<p class="status" role="status">{escape(_status(turn, t))}</p>')
    elif turn.stage == "failed":
        parts.append(notice(t("chat.failed", reason=turn.reason), "bad"))
    elif not turn.running:
        parts.append(_footer(turn, t))
    parts.append("</div>")
    return f'<article class="turn"{attributes(data_stage=turn.stage)}>{"".join(parts)}</article>'


def passages_html(turn: Turn | None, t: Texts) -> str:
    """The panel beside the answer: the passages it rests on, what it cites marked in them."""
    if turn is None or not turn.passages:
        return f'<p class="side-empty">{escape(t("side.empty"))}</p>'
    cited: dict[int, list[Citation]] = {}
    for sentence in turn.sentences:
        for citation in sentence.citations:
            cited.setdefault(citation.number, []).append(citation)
    cards = [
        passage_card(passage, t, number=n, spans=[Span(c.start, c.end) for c in cited.get(n, ())])
        for n, passage in enumerate(turn.passages, start=1)
    ]
    title = t("side.near") if turn.stage == "notfound" else t("side.passages")
    return f'<h3>{escape(title)}<span class="count">{len(cards)}</span></h3>{"".join(cards)}'


def _status(turn: Turn, t: Texts) -> str:
    match turn.stage:
        case "waiting":
            return t("chat.waiting", n=turn.ahead)
        case "reading":
            return t("chat.reading", n=len(turn.passages))
    return t("chat.searching")


def _quote(turn: Turn, t: Texts) -> str:
    quote = turn.quote
    assert quote is not None
    where = next((place(p) for p in turn.passages if p.document == quote.document and p.start <= quote.start < p.end), quote.document)
    return (
        f'<figure class="quote"><p class="label">{escape(t("chat.quote"))}</p><div class="prose">{to_html(quote.text)}</div>'
        f"<figcaption>{source_link(quote.document, quote.start, quote.end, f'{quote.document} · {where}')}</figcaption></figure>"
    )


def _answer_text(turn: Turn, t: Texts) -> str:
    spans = []
    for start, end, sentence in located(turn.text, turn.sentences):
        if sentence.supported:
            spans.append(Span(start, end, "span", 'class="supported"', "".join(_cite(c, turn, t) for c in sentence.citations)))
        else:
            spans.append(Span(start, end, "span", f'class="unsupported"{attributes(title=t("chat.unsupported"))}'))
    return to_html(turn.text, spans)


def _cite(citation: Citation, turn: Turn, t: Texts) -> str:
    number = citation.number
    where = place(turn.passages[number - 1]) if 0 < number <= len(turn.passages) else citation.document
    told = t("chat.cite", n=number, place=where)
    opened = opens(citation.document, citation.start, citation.end)
    return button(str(number), kind="cite", title=told, aria_label=told, **opened)


def _not_found(turn: Turn, t: Texts, language: str) -> str:
    told = t("chat.notfound.text") if turn.nearest else t("chat.notfound.plain")
    return (
        f'<div class="notfound"><h3>{escape(t("chat.notfound"))}</h3><p>{escape(told)}</p>'
        f"{chips(concept_chip(concept, language) for concept in turn.nearest)}</div>"
    )


def _footer(turn: Turn, t: Texts) -> str:
    said = []
    if turn.stage == "stopped":
        said.append(f"<span>{escape(t('chat.stopped'))}</span>")
    if turn.sentences:
        supported = sum(sentence.supported for sentence in turn.sentences)
        said.append(f"<span>{escape(t('chat.cited', n=supported, total=len(turn.sentences)))}</span>")
        if supported < len(turn.sentences):
            said.append(f'<span class="unsupported">{escape(t("chat.legend"))}</span>')
    if turn.seconds is not None and turn.stage == "done":
        said.append(f"<span>{escape(t('chat.seconds', n=f'{turn.seconds:.1f}'))}</span>")
    return f"<footer>{''.join(said)}</footer>" if said else ""
