"""One question and its answer as the page shows them: events go in, HTML comes out. Nothing here knows the browser.

An answer grows sentence by sentence. What was checked carries its sources or the mark of a sentence without any; what was not yet
stands behind it as plain text.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from html import escape

from assistant.answers import events
from assistant.answers.events import Answer, Event, answer_from_json, answer_to_json, sentence_from_json
from assistant.answers.support import CheckedSentence, Citation
from assistant.retrieval.values import Hit
from ingest.document import Passage
from kg.concepts import Concept
from web.markdown import Span, inline, to_html
from web.render import attributes, button, chips, concept_chip, notice, opens, passage_card, place, source_link
from web.texts import Texts

_PICKED = re.compile(r"^(?:\d{1,3}[.)、．]|[-*+•·])\s+")  # the marker of a list item
RUNNING = ("searching", "reading", "waiting", "writing")


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and everything known about its answer. ``stage`` is one of ``RUNNING``, or how it ended: done, notfound, stopped,
    failed (``reason`` says why). ``unsure``: the library may not hold the whole answer, and the page says so. ``shortened``: the
    quotation is a part of a longer answer in the library."""

    question: str
    stage: str = "searching"
    ahead: int = 0
    hits: tuple[Hit, ...] = ()
    quote: tuple[CheckedSentence, ...] = ()
    text: str = ""
    sentences: tuple[CheckedSentence, ...] = ()
    nearest: tuple[Concept, ...] = ()
    seconds: float | None = None
    reason: str = ""
    understood: str = ""
    unsure: bool = False
    shortened: bool = False

    @property
    def running(self) -> bool:
        """Whether more is to come."""
        return self.stage in RUNNING

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The passages of the hits, in the order of the citation numbers."""
        return tuple(hit.passage for hit in self.hits)

    def failed(self, reason: str) -> "Turn":
        """The turn after an error; what was written stays."""
        return replace(self, stage="failed", reason=reason)

    def stopped(self) -> "Turn":
        """The turn as it was left when it was stopped."""
        return replace(self, stage="stopped")

    def to_json(self) -> str:
        """What a chat keeps of the turn beside question and text."""
        answer = Answer(self.question, self.text, self.sentences, self.hits, self.stage != "notfound", _total(self.seconds))
        rest: dict[str, object] = {"stage": self.stage, "reason": self.reason, "quote": self.quote, "nearest": self.nearest}
        rest |= {"understood": self.understood, "unsure": self.unsure, "shortened": self.shortened}
        return json.dumps({"answer": answer_to_json(answer), **rest}, ensure_ascii=False, default=asdict)

    @classmethod
    def from_json(cls, question: str, text: str, detail: str) -> "Turn":
        """The turn that ``to_json`` wrote; of a message that something else wrote, question and text."""
        try:
            fields = json.loads(detail)
            answer = answer_from_json(fields["answer"])
            quote = tuple(sentence_from_json(sentence) for sentence in fields["quote"])
            nearest = tuple(Concept(**{**c, "aliases": tuple(c["aliases"])}) for c in fields["nearest"])
            turn = cls(question, fields["stage"], reason=fields["reason"], quote=quote, nearest=nearest)
            # turns kept before there were any have none
            turn = replace(turn, understood=str(fields.get("understood", "")), unsure=bool(fields.get("unsure", False)))
            turn = replace(turn, shortened=bool(fields.get("shortened", False)))
            return _with_answer(turn, answer)
        except (ValueError, KeyError, TypeError):
            return cls(question, "done", text=text)


def advance(turn: Turn, event: Event) -> Turn:
    """The turn after one more event of its answer."""
    match event:
        case events.Understood(text=text):
            return replace(turn, understood=text)
        case events.Passages(hits=hits, result=result):
            return replace(turn, stage="reading", hits=hits, unsure=not result.sure)
        case events.Quote(sentences=sentences, shortened=shortened):
            return replace(turn, quote=sentences, shortened=shortened)
        case events.Waiting(ahead=ahead):
            return replace(turn, stage="waiting" if ahead else "reading", ahead=ahead)
        case events.Token(text=text):
            return replace(turn, stage="writing", text=turn.text + text)
        case events.Sentence(sentence=sentence):
            return replace(turn, sentences=(*turn.sentences, sentence))
        case events.NotFound(nearest=nearest, near=near):
            return replace(turn, stage="notfound", nearest=nearest, hits=near)
        case events.Stopped(answer=answer):
            return _with_answer(turn.stopped(), answer)
        case events.Done(answer=answer):
            return _with_answer(replace(turn, stage="done" if answer.answered else "notfound"), answer)
    return turn


def _with_answer(turn: Turn, answer: Answer) -> Turn:
    seconds = answer.seconds.get("total")
    return replace(turn, text=answer.text, sentences=answer.sentences, hits=answer.hits, seconds=seconds)


def _total(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"total": seconds}


def located(text: str, sentences: Sequence[CheckedSentence]) -> Iterator[tuple[int, int, CheckedSentence]]:
    """Where each sentence stands in the text, in order; one that cannot be found is left out."""
    at = 0
    for sentence in sentences:
        wanted = sentence.text.strip()
        start = text.find(wanted, at) if wanted else -1
        if start >= 0:
            at = start + len(wanted)
            yield start, at, sentence


def turn_html(turn: Turn, t: Texts, language: str, last: bool = False, following: Sequence[str] = ()) -> str:
    """The question and its answer as far as it is.

    The ``last`` turn of a chat, once ended, can be asked again and edited, and offers the questions ``following`` it.
    """
    again = last and not turn.running
    edit = button(t("chat.edit"), kind="quiet edit", data_act="edit-question", data_hint=t("chat.edit.hint")) if again else ""
    parts = [f'<div class="asked">{edit}<p>{escape(turn.question)}</p></div>']
    if turn.understood:
        change = button(t("chat.change"), kind="quiet edit", data_act="edit-meant", data_hint=t("chat.edit.hint")) if again else ""
        parts.append(f'<div class="meant">{escape(t("chat.understood"))}<p>{escape(turn.understood)}</p>{change}</div>')
    parts.append('<div class="answer">')
    if turn.unsure and turn.stage != "notfound":
        parts.append(f'<p class="unsure" role="note">{escape(t("chat.unsure"))}</p>')
    if turn.quote and turn.stage != "notfound":
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
    if not turn.running:
        parts.append(_footer(turn, t, again))
    parts.append("</div>")
    if again and following:
        asks = "".join(
            f'<button type="button"{attributes(data_send="chat:ask", data_value=text)}>{inline(text)}</button>'
            for text in following
        )
        parts.append(f'<nav class="following"><p class="quiet">{escape(t("chat.following"))}</p>{asks}</nav>')
    return f'<article class="turn"{attributes(data_stage=turn.stage)}>{"".join(parts)}</article>'


def passages_html(turn: Turn | None, t: Texts) -> str:
    """The panel beside the answer: the passages it rests on, what it cites marked in them."""
    if turn is not None and turn.running and not turn.hits:
        return ""
    if turn is None or not turn.hits:
        return f'<p class="side-empty">{escape(t("side.empty"))}</p>'
    cited: dict[int, list[Citation]] = {}
    for sentence in turn.sentences:
        for citation in sentence.citations:
            cited.setdefault(citation.number, []).append(citation)
    cards = [
        passage_card(hit.passage, t, number=n, spans=[Span(c.start, c.end) for c in cited.get(n, ())], also=hit.also)
        for n, hit in enumerate(turn.hits, start=1)
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
    """The library's own words, and where they stand: one link for each passage they come from."""
    pieces: list[str] = []
    places: list[Citation] = []
    for sentence in turn.quote:
        here = sentence.citations[0] if sentence.citations else None
        last = places[-1] if places else None
        follows = here is not None and last is not None and here.document == last.document and 0 <= here.start - last.end <= 2
        if follows and here and last:
            pieces[-1] += "\n" * (here.start - last.end) + sentence.text.strip()
            places[-1] = replace(last, end=here.end)
        else:
            pieces.append(sentence.text.strip())
            if here:
                places.append(here)
    # Items picked from several lists would be numbered 6, 2, 4: what does not stand together is a list of its own.
    text = pieces[0] if len(pieces) == 1 else "\n\n".join(_block(piece) for piece in pieces)
    label = t("chat.quote.shortened") if turn.shortened else t("chat.quote")
    first = {c.number: c for c in reversed(places)}
    links = "".join(source_link(c.document, c.start, c.end, f"{n} · {_where(c, turn)}") for n, c in sorted(first.items()))
    return (
        f'<figure class="quote"><p class="label">{escape(label)}</p><div class="prose">{to_html(text)}</div>'
        f"<figcaption>{links}</figcaption></figure>"
    )


def _block(text: str) -> str:
    """A piece of a quotation beside others: items lose their numbers, everything else stays as it is.

    >>> _block("2. a\\n3. c"), _block("一句话。")
    ('- a\\n- c', '一句话。')
    """
    lines = text.split("\n")
    if not all(_PICKED.match(line) for line in lines):
        return text
    return "\n".join(f"- {_PICKED.sub('', line)}" for line in lines)


def _where(citation: Citation, turn: Turn) -> str:
    """The place a citation points to, in words."""
    number = citation.number
    return place(turn.passages[number - 1]) if 0 < number <= len(turn.hits) else citation.document


def _answer_text(turn: Turn, t: Texts) -> str:
    spans = []
    for start, end, sentence in located(turn.text, turn.sentences):
        if sentence.supported:
            spans.append(Span(start, end, "span", 'class="supported"', "".join(_cite(c, turn, t) for c in sentence.citations)))
        elif sentence.contradicts:
            told = attributes(title=t("chat.contradicts"))
            label = f'<span class="against">{escape(t("chat.contradicts"))}</span>'
            after = label + "".join(_cite(c, turn, t) for c in sentence.contradicts)
            spans.append(Span(start, end, "span", f'class="unsupported contradicts"{told}', after))
        else:
            spans.append(Span(start, end, "span", f'class="unsupported"{attributes(title=t("chat.unsupported"))}'))
    return to_html(turn.text, spans)


def _cite(citation: Citation, turn: Turn, t: Texts) -> str:
    told = t("chat.cite", n=citation.number, place=_where(citation, turn))
    opened = opens(citation.document, citation.start, citation.end)
    return button(str(citation.number), kind="cite", title=told, aria_label=told, **opened)


def _not_found(turn: Turn, t: Texts, language: str) -> str:
    told = t("chat.notfound.text") if turn.nearest else t("chat.notfound.plain")
    return (
        f'<div class="notfound"><h3>{escape(t("chat.notfound"))}</h3><p>{escape(told)}</p>'
        f"{chips(concept_chip(concept, language) for concept in turn.nearest)}</div>"
    )


def _footer(turn: Turn, t: Texts, again: bool) -> str:
    """How well the answer is backed, how long it took, and what can be done with it."""
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
    if turn.text and turn.stage in ("done", "stopped"):
        said.append(button(t("chat.copy"), kind="quiet copy", data_act="copy", data_value=turn.text, data_done=t("chat.copied")))
    if again:
        said.append(button(t("chat.again"), kind="quiet again", data_send="chat:again"))
    return f"<footer>{''.join(said)}</footer>" if said else ""
