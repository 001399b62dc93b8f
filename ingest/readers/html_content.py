"""Which part of a page is its content, by the structure of the page.

Containers that sites and blog programs are known to use are believed first, then ``article`` and ``main``, then the whole page.
What stands outside is furniture only while it does not look like text that somebody wrote: when the evidence is weak, more is kept.

trafilatura 2 (favouring recall, without comments) was tried instead on the nine pages of ``tests/test_readers_html.py``: of their
30 lines it lost 7 and it kept 34 lines of furniture; this module loses and keeps none, but the pages were written beside it.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import islice
from typing import Any

from ingest.readers.html_tree import BLOCKS, DROPPED, HEADINGS, Element

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PART = re.compile(r"\[([\w-]+)=([^\]]+)\]|([#.]?)([\w-]+)")
_KEPT_WHEN_HIDDEN = re.compile(r"collaps|accordion|toggle|tab|panel|answer|faq|spoiler|fold", re.I)
_TAGS = {
    "nav": "navigation",
    "footer": "page_furniture",
    "form": "page_furniture",
    "dialog": "page_furniture",
    "menu": "navigation",
    "fieldset": "page_furniture",
}
_ROLES = {
    "navigation": "navigation",
    "menu": "navigation",
    "menubar": "navigation",
    "doc-toc": "contents",
    "toolbar": "counters",
    "contentinfo": "page_furniture",
    "search": "page_furniture",
    "dialog": "page_furniture",
    "alertdialog": "page_furniture",
    "banner": "page_furniture",
    "complementary": "page_furniture",
}
_FLAGGED = (
    BLOCKS - HEADINGS - {"html", "body", "pre", "tr", "td", "th", "thead", "tbody", "tfoot", "summary", "caption", "figcaption"}
) | {"button"}

_KNOWN_ENOUGH = 80
"""Characters in known containers from which on a page is believed to keep its content there."""
_WRITTEN = 150
"""Characters of running text outside the content from which on they are kept as content."""
_FOLDED = 15
"""Characters from which on a part that a click unfolds is kept."""
_MANY = 500
"""Candidates that are looked at; a page that has more has no structure."""


@dataclass(frozen=True, slots=True)
class Selector:
    """A compound selector; ``within`` must match an ancestor."""

    tag: str
    id: str
    classes: frozenset[str]
    attribute: tuple[str, str]
    within: "Selector | None" = None

    def matches(self, element: Element) -> bool:
        """Whether an element is selected."""
        attrs = element.attrs
        if (self.tag and element.tag != self.tag) or (self.id and attrs.get("id") != self.id):
            return False
        if (self.attribute[0] and attrs.get(self.attribute[0]) != self.attribute[1]) or not self.classes.issubset(element.classes):
            return False
        above = element.parent if self.within else None
        while above is not None and self.within is not None and not self.within.matches(above):
            above = above.parent
        return self.within is None or above is not None


@dataclass(frozen=True, slots=True)
class PageRules:
    """The table ``web_pages.toml``: selectors by use, and words of class names by reason."""

    content: "SelectorSet"
    general: "SelectorSet"
    discussion: "SelectorSet"
    title: "SelectorSet"
    author: "SelectorSet"
    date: "SelectorSet"
    words: Mapping[str, str]


class SelectorSet:
    """Selectors, found by the id, class or tag of an element."""

    def __init__(self, selectors: Iterable[Selector]) -> None:
        self._by_key: dict[str, list[tuple[int, Selector]]] = {}
        for rank, selector in enumerate(selectors):
            name, value = selector.attribute
            key = (
                f"#{selector.id}"
                if selector.id
                else f".{min(selector.classes)}"
                if selector.classes
                else f"[{name}={value}"
                if name
                else selector.tag
            )
            self._by_key.setdefault(key, []).append((rank, selector))

    def rank(self, element: Element) -> int:
        """The place in the table of the first selector that selects the element, -1 when none does."""
        attrs = element.attrs
        keys = [element.tag]
        if "id" in attrs:
            keys.append(f"#{attrs['id']}")
        if "class" in attrs:
            keys += [f".{name}" for name in element.classes]
        keys += [f"[{name}={attrs[name]}" for name in ("role", "itemprop", "rel", "data-testid") if name in attrs]
        ranks = [rank for key in keys for rank, selector in self._by_key.get(key, ()) if selector.matches(element)]
        return min(ranks, default=-1)

    def matches(self, element: Element) -> bool:
        """Whether one of the selectors selects the element."""
        return self.rank(element) >= 0


def _selector(text: str) -> Selector:
    *above, last = text.split()
    parts: dict[str, list[str]] = {"": [""], "#": [""], ".": []}
    attribute = ("", "")
    for name, value, kind, word in _PART.findall(last):
        if name:
            attribute = (name, value)
        else:
            parts[kind].append(word)
    return Selector(parts[""][-1], parts["#"][-1], frozenset(parts["."]), attribute, _selector(" ".join(above)) if above else None)


@lru_cache(maxsize=1)
def page_rules() -> PageRules:
    """The table, read once."""
    table: dict[str, Any] = tomllib.loads(resources.files("ingest.readers").joinpath("web_pages.toml").read_text("utf-8"))
    words = {word: reason for reason, names in table["furniture"].items() for word in names}
    content, general, discussion, title, author, date = (
        SelectorSet(_selector(text) for text in table[key])
        for key in ("content", "general", "discussion", "title", "author", "date")
    )
    return PageRules(content, general, discussion, title, author, date, words)


@dataclass(frozen=True, slots=True)
class Selection:
    """``reasons`` maps the id() of an element to the reason that holds from it downwards ('': content). ``hidden`` are dropped."""

    reasons: Mapping[int, str]
    hidden: frozenset[int]
    title: str


def select_content(root: Element, named: str = "") -> Selection:
    """Choose the content of a page. ``named`` is what the page calls itself, by which its heading is known."""
    page = _Page(root, named)
    page.survey(root)
    page.choose()
    page.mark()
    return Selection(page.reasons, frozenset(page.hidden), page.title)


class _Page:
    def __init__(self, root: Element, named: str) -> None:
        self.root = root
        self.named = _key(named)
        self.rules = page_rules()
        self.hidden: set[int] = set()
        self.known: list[Element] = []
        self.general: list[Element] = []
        self.headings: list[tuple[Element, bool]] = []  # a heading and whether the table names it
        self.flags: dict[int, str] = {}
        self.chosen: list[Element] = []
        self.reasons: dict[int, str] = {}
        self.title = ""
        self.discussed = False

    def survey(self, root: Element) -> None:
        """Find hidden elements, furniture by name, and what could hold the content."""
        self.discussed = any(self.rules.discussion.matches(element) for element in root.elements() if element.attrs)
        controlled = {
            value.lstrip("#")
            for element in root.elements()
            if element.attrs
            for name in ("aria-controls", "data-target", "data-bs-target", "href")
            if (value := element.get(name)) and (name == "aria-controls" or value[0] == "#")
        }
        stack: list[tuple[Element, bool, bool]] = [(root, False, False)]  # element, below furniture, below a known container
        while stack:
            element, outside, inside = stack.pop()
            if element.tag in DROPPED and element.tag != "noscript":
                continue
            if self._is_hidden(element, controlled):
                self.hidden.add(id(element))
                continue
            reason = self._reason(element)
            if reason:
                self.flags[id(element)] = reason
                outside = outside or self._is_small(element, reason)
            if not outside and not inside and element.length:
                if self.rules.content.matches(element):
                    self.known.append(element)
                    inside = True
                elif len(self.general) < _MANY and self.rules.general.matches(element):
                    self.general.append(element)
            if outside or len(self.headings) >= _MANY:
                pass
            elif element.tag in HEADINGS and 2 <= element.length <= 200:
                self.headings.append((element, self.rules.title.matches(element)))
            elif not inside and 2 <= element.length <= 200 and self.rules.title.matches(element):
                self.headings.append((element, True))
            stack.extend((child, outside, inside) for child in reversed(element.children) if isinstance(child, Element))

    def _is_hidden(self, element: Element, controlled: set[str]) -> bool:
        if element.get("aria-hidden") == "true" and element.length <= 100 and not element.headed and element.tag != "img":
            return True
        if not element.is_hidden or self.rules.content.matches(element):
            return False
        # A closed answer of a FAQ, the other tabs of an example: hidden until a click, and content all the same.
        folded = (
            element.get("role") == "tabpanel" or element.get("id") in controlled or _KEPT_WHEN_HIDDEN.search(element.get("class"))
        )
        return not (folded and len(element.line()) >= _FOLDED)

    def _reason(self, element: Element) -> str:
        """The reason for which an element is furniture by its tag, role or names; ''."""
        if element.tag not in _FLAGGED:
            return ""
        if element.tag == "button":
            return "counters"
        role = element.get("role")
        if element.tag in _TAGS or role in _ROLES:
            if element.tag == "form" and element.prose > _WRITTEN:
                return ""  # old pages are one form as a whole
            return _ROLES.get(role) or _TAGS[element.tag]
        first = next((child for child in element.children if isinstance(child, Element)), None)
        titled = first is not None and first.tag in HEADINGS and (element.tag == "section" or "section" in element.classes)
        # An id that is made from the words of the heading says nothing of what the element is for.
        names = element.get("class") if titled else f"{element.get('class')} {element.get('id')}"
        for word in _WORD.findall(names):
            reason = self.rules.words.get(word.lower(), "")
            if reason and not (reason == "comments" and self.discussed):
                return reason
        if element.tag == "aside" or (element.tag == "header" and not element.headed):
            return "page_furniture"
        return ""

    def _is_small(self, element: Element, reason: str) -> bool:
        """What is named like furniture and holds most of the page's text is its content; comments may well hold most of it."""
        return reason == "comments" or element.prose * 5 <= self.root.prose * 2

    # --- choosing ---

    def choose(self) -> None:
        """Choose the elements that are the content."""
        prose = sum(element.prose for element in self.known)
        written = max(self.root.prose, 1)
        length = sum(element.length for element in self.known)
        if length >= _KNOWN_ENOUGH or prose * 2 > written or length * 4 >= self.root.length - self.root.linked > 0:
            self.chosen = list(self.known)
        else:
            self.chosen = self._general(written)
        body = next((element for element in self.root.elements() if element.tag == "body"), self.root)
        if not self.chosen:
            self.chosen = [body]
        self._choose_title()

    def _general(self, written: int) -> list[Element]:
        ids = {id(element) for element in self.general}
        outer = [element for element in self.general if not any(id(above) in ids for above in _above(element))]
        main = [element for element in outer if element.tag == "main" or element.get("role") == "main"] or outer
        if sum(element.prose for element in main) * 2 < written:
            main = outer
        if sum(element.prose for element in main) * 2 < written:
            return []
        articles = [e for e in self.general if e.tag == "article" and not any(above.tag == "article" for above in _above(e))]
        if articles and sum(e.prose for e in articles) * 10 >= sum(e.prose for e in main) * 7:
            return articles
        return main

    def _choose_title(self) -> None:
        """The heading of the page stands above its article more often than in it."""
        chosen = {id(element) for element in self.chosen}
        inside = {id(e) for e, _ in self.headings if id(e) in chosen or any(id(above) in chosen for above in _above(e))}
        # A heading that the page is named after; else one that the table names; else the only h1 of the content or the page.
        named = [e for e, _ in self.headings if self.named and len(_key(e.line())) > 1 and _key(e.line()) in self.named]
        trusted = [e for e, listed in self.headings if listed][:1]
        trusted = trusted or [e for e, _ in self.headings if e.tag == "h1" and id(e) in inside]
        trusted = trusted or [e for e, _ in self.headings if e.tag == "h1"]
        title = max(named, key=lambda e: (e.tag == "h1", len(_key(e.line()))), default=trusted[0] if len(trusted) == 1 else None)
        if title is not None:
            self.title = title.line()
        title = title or next((e for e, _ in self.headings if e.tag == "h1"), None)
        if title is None:
            return
        title = next((above for above in islice(_above(title), 3) if above.tag in HEADINGS), title)
        if id(title) not in inside and not any(_key(e.line()) == _key(title.line()) for e, _ in self.headings if id(e) in inside):
            self.chosen.append(title)

    # --- marking ---

    def mark(self) -> None:
        """Give reasons to what is outside the content, and to the furniture inside it."""
        chosen = {id(element) for element in self.chosen}
        holding = {id(above) for element in self.chosen for above in _above(element)}
        self.reasons[id(self.root)] = "page_furniture"
        stack: list[Element] = [self.root]
        while stack:
            element = stack.pop()
            if id(element) in self.hidden:
                continue
            children = [child for child in element.children if isinstance(child, Element)]
            if id(element) in chosen:
                self.reasons[id(element)] = ""
                self._mark_inside(element)
            elif id(element) in holding:
                stack.extend(children)
            elif (reason := self.flags.get(id(element), "")) and self._is_small(element, reason):
                self.reasons[id(element)] = reason
            elif element.is_block and element.prose >= _WRITTEN and element.linked * 5 < element.length * 2:
                self.reasons[id(element)] = ""
                self._mark_inside(element)
            else:
                stack.extend(children)

    def _mark_inside(self, chosen: Element) -> None:
        weak = chosen.tag in ("body", "#root")
        stack: list[Element] = [chosen]
        while stack:
            element = stack.pop()
            if id(element) in self.hidden or element.tag == "pre":
                continue
            reason = self.flags.get(id(element), "")
            if element is not chosen and reason and self._is_furniture(element, reason, chosen):
                self.reasons[id(element)] = reason
                continue
            if links := self._link_list(element, weak):
                self.reasons[id(element)] = links
                continue
            stack.extend(child for child in element.children if isinstance(child, Element))

    def _is_furniture(self, element: Element, reason: str, chosen: Element) -> bool:
        """Whether something that is named like furniture inside the content is furniture: it is small, or made of links."""
        if element.tag == "button":
            return not any(
                above.tag in HEADINGS or above.tag in ("summary", "dt", "td", "th") for above in islice(_above(element), 4)
            )
        linked = element.linked * 2 >= element.length
        if element.tag == "aside" and reason == "page_furniture":
            return linked and element.length > 0  # notes and call-outs are asides too
        if reason == "comments":
            return element.prose * 10 <= chosen.prose * 9
        return linked or element.prose * 10 <= max(chosen.prose, _WRITTEN * 10)

    def _link_list(self, element: Element, weak: bool) -> str:
        """Lists of links into the page are its contents; on a page without any structure, short links are its menu."""
        if element.tag not in ("ul", "ol", "div", "p", "table", "tr", "td") or not 0 < element.length <= 20_000:
            return ""
        if element.linked * 10 < element.length * 8:
            return ""
        if element.tag in ("ul", "ol") and element.linked * 20 >= element.length * 19:
            links = [e.get("href") for e in element.elements() if e.tag == "a" and e.get("href")]
            if len(links) >= 3 and all(link.startswith("#") for link in links):
                return "contents"
        if weak and not element.headed:
            sizes = [e.length for e in element.elements() if e.tag == "a" and e.length]
            if len(sizes) >= 3 and sum(sizes) < 25 * len(sizes):
                return "navigation"
        return ""


def _above(element: Element) -> Iterator[Element]:
    """The elements that hold an element, innermost first."""
    above = element.parent
    while above is not None:
        yield above
        above = above.parent


def _key(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).lower()
