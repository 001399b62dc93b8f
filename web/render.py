"""Small pieces of the page as HTML. Every function escapes what it is given; what it returns may be put into the page as it is."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import gradio as gr

from assistant.retrieval.values import Copy
from ingest.cleaning.corrections import Correction
from ingest.cleaning.restoring import listed_cuts
from ingest.cleaning.rules import reason_name
from ingest.document import Document, Passage
from kg.concepts import Concept
from web.markdown import Span, inline, to_html
from web.texts import Texts


def panel(value: str, *, js: str | None = None, **settings: Any) -> gr.HTML:
    """A Gradio component that shows our HTML in our own style; ``js`` runs once, when it appears."""
    return gr.HTML(value, js_on_load=js, apply_default_css=False, **settings)


def attributes(**values: object) -> str:
    """Escaped HTML attributes; ``data_key="a"`` gives `` data-key="a"``. None leaves an attribute out, True gives it no value.

    >>> attributes(data_key='"x"', hidden=None)
    ' data-key="&quot;x&quot;"'
    """
    parts = []
    for name, value in values.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(f" {name}")
        elif value is not None and value is not False:
            parts.append(f' {name}="{escape(str(value))}"')
    return "".join(parts)


def element(name: str, text: str, **values: object) -> str:
    """An element that holds plain text.

    >>> element("h3", "a < b", class_="x")
    '<h3 class="x">a &lt; b</h3>'
    """
    return f"<{name}{attributes(**values)}>{escape(text)}</{name}>"


def button(label: str, *, kind: str = "", **values: object) -> str:
    """A button; ``values`` become its attributes (``data_go``, ``data_send``, ``title`` and so on)."""
    return f'<button type="button"{attributes(class_=kind or None, **values)}>{escape(label)}</button>'


def chips(buttons: Iterable[str]) -> str:
    """Buttons side by side."""
    items = "".join(buttons)
    return f'<div class="chips">{items}</div>' if items else ""


def concept_chip(concept: Concept, language: str) -> str:
    """A concept that opens its page."""
    return button(concept_name(concept, language), kind="chip", data_go="concept", data_key=concept.key)


def concept_name(concept: Concept, language: str) -> str:
    """The name a reader of this language expects. A name in Latin letters («KV cache») is what both say."""
    return concept.name if language == "zh" or concept.name.isascii() else concept.en or concept.name


def empty(title: str, text: str, action: str = "") -> str:
    """What stands where there is nothing yet: what belongs here and how it gets here. ``action`` is trusted HTML."""
    return f'<div class="empty"><h3>{escape(title)}</h3><p>{escape(text)}</p>{action}</div>'


def notice(text: str, kind: str = "note") -> str:
    """One line that tells the reader something; ``kind`` is note, good or bad."""
    return f'<p class="notice {kind}" role="status">{escape(text)}</p>'


def place(passage: Passage) -> str:
    """Where a passage stands, as plain text: its headings, or the document's name."""
    return " › ".join(passage.headings) or passage.document


def page_of(passage: Passage, t: Texts) -> str:
    """The page of a passage, where its format has pages."""
    return t("passage.page", n=passage.page) if passage.page else ""


def opens(document: str, start: int | None = None, end: int | None = None) -> dict[str, object]:
    """Attributes that make an element open a document at a span."""
    return {"data_open": document, "data_start": start, "data_end": end}


def source_link(document: str, start: int, end: int, label: str) -> str:
    """A quiet link to a span of a document."""
    return button(label, kind="source", **opens(document, start, end))


def passage_card(
    passage: Passage, t: Texts, *, number: int | None = None, spans: Sequence[Span] = (), also: Sequence[Copy] = ()
) -> str:
    """A passage with its place and a way into its document. ``spans`` are offsets in the document, ``also`` where it stands too."""
    asked = _question_line(passage.text)
    begin = passage.start + (asked.end() if asked else 0)
    shifted = [Span(s.start - begin, s.end - begin, s.tag, s.attributes, s.after) for s in spans if s.end > begin]
    mark = f'<span class="number">{number}</span>' if number is not None else ""
    headings = [h for h in passage.headings if h]
    above = headings if asked else headings[:-1]
    title = asked["question"] if asked else headings[-1] if headings else passage.document
    trail = " › ".join([passage.document, *above]) if above or headings else ""
    trail = " · ".join(part for part in (trail or (passage.document if asked else ""), page_of(passage, t)) if part)
    body = to_html(passage.text[begin - passage.start :], shifted)
    return (
        f'<article class="passage"{attributes(data_number=number)}><header>{mark}<div><h4>{inline(title)}</h4>'
        f'<p class="trail">{escape(trail)}</p></div></header><div class="prose clamp">{body}</div>'
        f"<footer>{source_link(passage.document, passage.start, passage.end, t('passage.open'))}{_also(also, t)}</footer></article>"
    )


def _question_line(text: str) -> re.Match[str] | None:
    """The question a passage begins with, where its first line is one and more follows: it says best what the passage is about."""
    return re.match(r"\s*(?:#{1,6}\s+)?(?P<question>[^\n]{4,160}?[？?])(?:\*\*)?[ \t]*\n+(?=\S)", text)


def _also(copies: Sequence[Copy], t: Texts) -> str:
    links = "".join(source_link(copy.document, copy.start, copy.end, copy.document) for copy in copies)
    return f'<p class="also">{escape(t("passage.also"))} {links}</p>' if links else ""


def document_page(
    document: Document,
    t: Texts,
    language: str,
    start: int | None = None,
    end: int | None = None,
    corrections: Sequence[Correction] = (),
) -> str:
    """A whole document, the span marked; what was cut out of it stands below with reasons, and can be put back."""
    spans = [Span(start, end)] if start is not None and end is not None and 0 <= start < end <= len(document.text) else []
    facts = [document.name, *_metadata(document), t("document.characters", n=f"{len(document.text):,}")]
    facts += [f"{format_name(document.format)} {document.encoding}"]
    return (
        f'<header class="reader-head"><div><h2>{inline(document.title or document.name)}</h2>'
        f'<p class="trail">{escape(" · ".join(facts))}</p></div>'
        f"{button(t('close'), kind='quiet', data_act='close-reader')}</header>"
        f'<div class="reader-text" tabindex="0"><p class="reader-said" role="status"></p>'
        f'<div class="prose">{to_html(document.text, spans)}</div>'
        f"{_cuts(document, t, language)}{_corrections(document, corrections, t)}</div>"
    )


def _metadata(document: Document) -> list[str]:
    """Author, date and address where they are known; the address is text, nobody is led away."""
    known = {key.lower(): value for key, value in document.metadata}
    return [known[key] for key in ("author", "date", "address") if known.get(key)]


def format_name(format: str) -> str:
    """How people write the name of a format.

    >>> format_name("pdf"), format_name("markdown")
    ('PDF', 'Markdown')
    """
    names = {"text": "TXT", "markdown": "Markdown", "docx": "Word", "pptx": "PowerPoint", "ipynb": "Jupyter"}
    return names.get(format, format.upper())


def _cuts(document: Document, t: Texts, language: str) -> str:
    cuts = listed_cuts(document)
    if not cuts:
        return ""
    rows = "".join(
        f"<li><b>{escape(reason_name(cut.reason, language))}</b>"
        f"{_mend(t('document.restore'), 'restore', number, document.name)}<pre>{escape(_brief(cut.text, 400))}</pre></li>"
        for number, cut in enumerate(cuts, start=1)
    )
    return f'<details class="cuts"><summary>{escape(t("document.cuts", n=len(cuts)))}</summary><ul>{rows}</ul></details>'


def _corrections(document: Document, corrections: Sequence[Correction], t: Texts) -> str:
    if not corrections:
        return ""
    rows = "".join(
        f"<li><b>{escape(t(f'document.{correction.kind}d'))}</b>"
        f"{_mend(t('document.undo'), 'undo', correction.id, document.name)}<pre>{escape(_brief(correction.text, 400))}</pre></li>"
        for correction in corrections
    )
    return f'<details class="cuts" open><summary>{escape(t("document.corrections"))}</summary><ul>{rows}</ul></details>'


def _mend(label: str, what: str, number: int, name: str) -> str:
    return button(label, kind="quiet mend", data_send=f"library:{what}", data_value=f"{number} {name}")


def highlighted(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Plain text with spans marked (overlapping ones are joined).

    >>> highlighted("a<b", [(1, 2), (1, 3)])
    'a<mark>&lt;b</mark>'
    """
    parts, at = [], 0
    for start, end in joined(spans):
        start, end = max(start, at), min(end, len(text))
        if start >= end:
            continue
        parts += [escape(text[at:start]), f"<mark>{escape(text[start:end])}</mark>"]
        at = end
    return "".join([*parts, escape(text[at:])])


def joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of spans, in order."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def bar(share: float, label: str) -> str:
    """A progress bar; ``share`` from 0 to 1, or below 0 when unknown."""
    value = attributes(value=f"{min(1.0, share):.4f}") if share >= 0 else ""
    return f'<div class="bar"><progress max="1"{value} aria-label="{escape(label)}"></progress><span>{escape(label)}</span></div>'


def _brief(text: str, length: int) -> str:
    text = text.strip("\n")
    return text if len(text) <= length else text[: length - 1] + "…"
