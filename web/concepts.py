"""The concept view: an index, a concept's page with a map one can walk, and the path between two concepts."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape

import gradio as gr

from ingest.document import Passage, QuestionAnswer
from ingest.errors import UsageError
from kg.concepts import Concept
from kg.graph import ConceptGraph, ConceptPage, Neighbourhood, PathStep
from web.desk import Desk
from web.maplayout import label_width, layout
from web.markdown import Span, inline
from web.render import attributes, button, chips, concept_chip, concept_name, element, empty, notice, panel, passage_card
from web.texts import AREAS, Texts

WIDE, NARROW = (920.0, 400.0), (360.0, 460.0)  # sizes of the drawing, in its own pixels
_NARROW_NODES = 11
_SHOWN_PASSAGES, _SHOWN_PAIRS = 8, 12


def view(t: Texts, language: str, desk: Desk) -> gr.HTML:
    """Build the view; returns the index, which the page fills when it loads."""
    with gr.Row(elem_id="concepts"):
        index = panel(index_page(desk.graph, t, language), elem_id="concept-index")
        panel('<div id="concept-page"></div>', elem_id="concept-place")  # filled by the page itself, from our routes
    return index


def index_page(graph: ConceptGraph, t: Texts, language: str) -> str:
    """Every concept the library mentions, by area, with a box that narrows the list."""
    used = graph.concepts_in_use()
    if not used:
        return empty(t("concepts.none"), t("concepts.none.text"), button(t("chat.openlibrary"), kind="primary", data_go="library"))
    areas: dict[str, list[tuple[Concept, int]]] = defaultdict(list)
    for concept, count in used:
        areas[concept.area].append((concept, count))
    ordered = sorted(areas.items(), key=lambda item: -sum(count for _, count in item[1]))
    parts = [
        f'<input id="concept-search" type="search" autocomplete="off"'
        f"{attributes(placeholder=t('concepts.search', n=len(used)), aria_label=t('concepts.search', n=len(used)))}>",
        '<div class="areas">',
    ]
    for number, (area, concepts) in enumerate(ordered):
        items = "".join(
            f"<li{attributes(data_names=' '.join(concept.names).lower())}>"
            f'<button type="button"{attributes(data_go="concept", data_key=concept.key)}>'
            f'<span>{escape(concept_name(concept, language))}</span><span class="count">{count}</span></button></li>'
            for concept, count in concepts
        )
        name = escape(area_name(area, language))
        parts.append(
            f'<details{attributes(open=number < 2 or None)}><summary>{name}<span class="count">{len(concepts)}</span></summary>'
            f"<ul>{items}</ul></details>"
        )
    parts.append(f'<p class="none" hidden>{escape(t("concepts.nomatch"))}</p></div>')
    return "".join(parts)


def welcome(graph: ConceptGraph, t: Texts, language: str) -> str:
    """What stands beside the index before a concept is chosen: the ones most written about, and the path finder."""
    used = [concept for concept, _ in graph.concepts_in_use()[:14]]
    if not used:
        return ""
    starts = chips(concept_chip(concept, language) for concept in used)
    return (
        f'<div class="welcome"><h2>{escape(t("concepts.welcome"))}</h2><p>{escape(t("concepts.welcome.text"))}</p>{starts}'
        f'<div class="map-place"{attributes(data_map=used[0].key)}></div><p class="hint">{escape(t("concepts.map.hint"))}</p></div>'
        f"{path_form(graph, t, language)}"
    )


def area_name(area: str, language: str) -> str:
    """The name of an area of the glossary."""
    zh, en = AREAS.get(area, (area, area))
    return en if language == "en" else zh


def concept_page(graph: ConceptGraph, key: str, t: Texts, language: str) -> str:
    """A concept: what it is, where it stands, what stands near it, what is asked about it."""
    try:
        page = graph.page(key)
    except UsageError as error:
        return notice(str(error), "bad")
    concept = page.concept
    name = concept_name(concept, language)
    others = [other for other in concept.names if other != name]
    facts = [area_name(concept.area, language), t("concepts.mentions", n=page.mentions, m=len(graph.passages_of(concept.key)))]
    definition = (concept.definition_en or concept.definition) if language == "en" else concept.definition
    return (
        f'<header class="concept-head"><p class="trail">{escape(" · ".join(facts))}</p><h2>{escape(name)}</h2>'
        f'<p class="aliases">{escape(" · ".join(others))}</p><p class="definition">{inline(definition)}</p></header>'
        f'<div class="map-place"></div><p class="hint">{escape(t("concepts.map.hint"))}</p>'
        f"{path_form(graph, t, language, concept)}"
        f'<div class="concept-columns"><section><h3>{escape(t("concepts.passages"))}</h3>{_passages(graph, page, t)}</section>'
        f"<aside><section><h3>{escape(t('concepts.neighbours'))}</h3>{_neighbours(page, t, language)}</section>"
        f"<section><h3>{escape(t('concepts.questions'))}</h3>{_questions(page.pairs, t)}</section></aside></div>"
    )


def _passages(graph: ConceptGraph, page: ConceptPage, t: Texts) -> str:
    if not page.passages:
        return f'<p class="quiet">{escape(t("concepts.unmentioned"))}</p>'
    cards = [passage_card(p, t, spans=_mentions(graph, p, page.concept)) for p in page.passages]
    rest = "".join(cards[_SHOWN_PASSAGES:])
    more = f'<details class="more"><summary>{escape(t("concepts.more", n=len(cards) - _SHOWN_PASSAGES))}</summary>{rest}</details>'
    return "".join(cards[:_SHOWN_PASSAGES]) + (more if rest else "")


def _mentions(graph: ConceptGraph, passage: Passage, concept: Concept) -> list[Span]:
    """Where the passage names the concept, as offsets in the document."""
    found = graph.glossary.find(passage.text)
    return [
        Span(passage.start + m.start, passage.start + m.end, "span", 'class="mention"') for m in found if m.concept == concept.key
    ]


def _neighbours(page: ConceptPage, t: Texts, language: str) -> str:
    if not page.neighbours:
        return f'<p class="quiet">{escape(t("concepts.alone"))}</p>'
    return chips(
        f'<button type="button" class="chip"{attributes(data_go="concept", data_key=n.concept.key)}>'
        f'{escape(concept_name(n.concept, language))}<span class="count">{n.count}</span></button>'
        for n in page.neighbours
    )


def _questions(pairs: Sequence[QuestionAnswer], t: Texts) -> str:
    if not pairs:
        return f'<p class="quiet">{escape(t("concepts.noquestions"))}</p>'
    rows = [
        f"<li><p>{inline(pair.question)}</p>"
        f"{button(t('concepts.practise'), kind='source', data_go='practise', data_value=pair.key) if pair.answer else ''}"
        f"{button(t('concepts.ask'), kind='source', data_go='ask', data_value=pair.question)}</li>"
        for pair in pairs
    ]
    rest = "".join(rows[_SHOWN_PAIRS:])
    summary = element("summary", t("concepts.more", n=len(rows) - _SHOWN_PAIRS))
    more = f'<details class="more">{summary}<ul>{rest}</ul></details>'
    return f'<ul class="question-list">{"".join(rows[:_SHOWN_PAIRS])}</ul>' + (more if rest else "")


def path_form(graph: ConceptGraph, t: Texts, language: str, concept: Concept | None = None) -> str:
    """The path finder: two names, and a place for the chain between them."""
    names = "".join(f"<option{attributes(value=concept_name(c, language))}></option>" for c, _ in graph.concepts_in_use())

    def box(name: str, label: str, value: str | None) -> str:
        settings = attributes(name=name, list="concept-names", value=value, aria_label=label, placeholder=label)
        return f'<input required autocomplete="off"{settings}>'

    first = concept_name(concept, language) if concept else None
    return (
        f'<section class="path"><h3>{escape(t("path.title"))}</h3><p class="quiet">{escape(t("path.text"))}</p>'
        f'<datalist id="concept-names">{names}</datalist><form class="path">'
        f'{box("a", t("path.from"), first)}<span aria-hidden="true">→</span>{box("b", t("path.to"), None)}'
        f"{element('button', t('path.find'), class_='primary')}</form>"
        '<div class="path-result" aria-live="polite"></div></section>'
    )


def path_page(graph: ConceptGraph, a: str, b: str, t: Texts, language: str) -> str:
    """The chain from one concept to another, each step with the passages that show it."""
    known = graph.glossary.lookup(a), graph.glossary.lookup(b)
    for name, concept in zip((a, b), known, strict=True):
        if concept is None:
            near = "、".join(concept_name(c, language) for c in graph.nearest_concepts(name, 3))
            return notice(t("path.unknown.near", name=name, near=near) if near else t("path.unknown", name=name), "bad")
    one, other = known
    assert one is not None and other is not None
    if one.key == other.key:
        return notice(t("path.same"), "bad")
    try:
        steps = graph.path(one.key, other.key)
    except UsageError:
        return notice(t("path.none", a=concept_name(one, language), b=concept_name(other, language)), "bad")
    return _path(steps, t, language)


def _path(steps: Sequence[PathStep], t: Texts, language: str) -> str:
    chain = [concept_chip(steps[0].a, language), *(concept_chip(step.b, language) for step in steps)]
    arrow = '<span class="arrow" aria-hidden="true">→</span>'
    evidence = "".join(
        f"<li><h4>{escape(concept_name(step.a, language))} → {escape(concept_name(step.b, language))}</h4>"
        f"{''.join(passage_card(p, t) for p in step.passages[:1])}</li>"
        for step in steps
    )
    return f'<div class="chips chain">{arrow.join(chain)}</div><ol class="evidence">{evidence}</ol>'


def map_data(graph: ConceptGraph, key: str, t: Texts, language: str) -> dict[str, object] | None:
    """What the drawing needs: labels, edges and positions for a wide and a narrow picture. None for an unknown concept."""
    try:
        around = graph.neighbourhood(key)
    except UsageError:
        return None
    labels = [_label(graph, node_key, language) for node_key, *_ in around.nodes]
    widths = [label_width(label) + (14 if ring == 0 else 0) for label, (*_, ring) in zip(labels, around.nodes, strict=True)]
    nodes = [
        {"key": k, "label": label, "width": width, "ring": ring, "title": t("concepts.map.node", name=label, n=count)}
        for (k, _, count, ring), label, width in zip(around.nodes, labels, widths, strict=True)
    ]
    return {
        "centre": around.nodes[0][0],
        "label": t("concepts.map.label", name=labels[0]),
        "nodes": nodes,
        "edges": [[a, b, round(pmi, 3)] for a, b, pmi in around.edges],
        "layouts": {
            "wide": {"size": WIDE, "positions": _positions(around, widths, WIDE)},
            "narrow": {"size": NARROW, "positions": _positions(around, widths[:_NARROW_NODES], NARROW)},
        },
    }


def _label(graph: ConceptGraph, key: str, language: str) -> str:
    name = concept_name(graph.glossary.concepts[key], language)
    return name if label_width(name) <= 190 else name[: 12 if label_width(name) / len(name) > 11 else 22] + "…"


def _positions(around: Neighbourhood, widths: Sequence[float], size: tuple[float, float]) -> list[tuple[float, float]]:
    number = {key: i for i, (key, *_) in enumerate(around.nodes[: len(widths)])}
    edges = [(number[a], number[b], pmi) for a, b, pmi in around.edges if a in number and b in number]
    return layout(widths, edges, size)
