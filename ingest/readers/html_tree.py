"""HTML -> a light tree of elements, in time linear in the page, however deep or broken it is.

libxml2 (through lxml) tokenises and repairs; only its events are used, because the tree that it would build itself stops at 2,048
levels and drops the rest without a word. What is nested deeper than ``MAX_DEPTH`` is read without its containers.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lxml import etree

from ingest.errors import MianpuError

MAX_DEPTH = 1000
MAX_ELEMENTS = 500_000

_PROSE = 25  # characters of a line from which on it is more than a label

_CHUNK = 16_384  # bytes; libxml2 looks at what the target raises only between two of them

_BLOCKS = """
html body article section main div p ul ol li dl dt dd table caption thead tbody tfoot tr td th h1 h2 h3 h4 h5 h6 header footer nav
aside form fieldset figure figcaption blockquote pre address details summary hr center dialog hgroup menu search legend listing xmp
plaintext dir frameset noframes
"""
_DROPPED = """
script style template svg head link meta title base iframe object embed applet audio video canvas map noscript noembed source track
param datalist rp colgroup col
"""
BLOCKS = frozenset(_BLOCKS.split())
HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
DROPPED = frozenset(_DROPPED.split())
"""Elements that never hold text for a reader."""

_FLATTENED = re.compile(
    r"</?(?!(?:p|br|hr|li|h[1-6]|pre|code|tr|td|th|script|style|title|meta|link|head|body|html)\b)[a-zA-Z][^<>]*>"
)
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_INVISIBLE = re.compile("[\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_DISPLAY_NONE = re.compile(r"(?:^|;)\s*display\s*:\s*none", re.I)


@dataclass(slots=True, eq=False)
class Element:
    """One element. ``children`` are elements and strings in order.

    Counted when it ends, in characters without the white space around text nodes: ``length`` of the visible text below it,
    ``linked`` of that in links, ``own`` of the text of its line (inline elements included, blocks not), ``prose`` of
    the lines below it that are long and not mostly links, and of code. ``headed`` tells whether a heading stands below it.
    """

    tag: str
    attrs: Mapping[str, str]
    parent: "Element | None" = None
    children: "list[Element | str]" = field(default_factory=list)
    length: int = 0
    linked: int = 0
    own: int = 0
    own_linked: int = 0
    prose: int = 0
    headed: bool = False

    @property
    def classes(self) -> list[str]:
        """The words of its ``class``."""
        return self.attrs.get("class", "").split()

    def get(self, name: str) -> str:
        """An attribute, '' when it has none."""
        return self.attrs.get(name, "")

    def elements(self) -> "Iterator[Element]":
        """Itself and all elements below it, in document order."""
        stack: list[Element] = [self]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(child for child in reversed(element.children) if isinstance(child, Element))

    def text(self) -> str:
        """The text below it, as it stands, without that of dropped elements."""
        parts: list[str] = []
        stack: list[Element | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                parts.append(item)
            elif item is self or item.tag not in DROPPED:
                stack.extend(reversed(item.children))
        return "".join(parts)

    def line(self) -> str:
        """The text below it with single spaces."""
        return " ".join(tidy(self.text()).split())

    @property
    def is_block(self) -> bool:
        """Whether it begins on a line of its own."""
        return self.tag in BLOCKS or ("block" in self.get("style") and "display:block" in self.get("style").replace(" ", ""))

    @property
    def is_hidden(self) -> bool:
        """Whether its own attributes take it off the page."""
        if "hidden" in self.attrs and self.get("hidden") != "until-found":
            return True
        return "none" in self.get("style") and bool(_DISPLAY_NONE.search(self.get("style")))


@dataclass(slots=True)
class Tree:
    """A parsed page: its root (tag «#root»), its scripts, and the first comments, where browsers note the address."""

    root: Element
    scripts: list[Element]
    comments: list[str]


def tidy(text: str) -> str:
    """A text without the characters that would make its spans lie: see :mod:`ingest.readers.text`."""
    if not _ODD.search(text):
        return text
    text = re.sub("[\x0b\x0c\r\x85\u2028\u2029]", " ", text)
    return _ODD.sub("\ufffd", _INVISIBLE.sub("", text))


def parse_html(text: str) -> Tree:
    """Parse a page. Raises MianpuError when it has more than half a million elements."""
    try:
        return _parse(text)
    except _TooDeep:
        pass
    try:
        return _parse(_FLATTENED.sub(" ", text))
    except _TooDeep:
        raise MianpuError(f"the page is nested more than {MAX_DEPTH} deep: save its text as a .txt or .md file") from None


class _TooDeep(Exception):
    pass


class _Target:
    """Receives the events of the parser."""

    def __init__(self) -> None:
        self.root = Element("#root", {})
        self.open = [self.root]
        self.scripts: list[Element] = []
        self.comments: list[str] = []
        self.count = 0

    def start(self, tag: str, attrs: Mapping[str, str]) -> None:
        parent = self.open[-1]
        self.count += 1
        if len(self.open) > MAX_DEPTH:
            raise _TooDeep
        if self.count > MAX_ELEMENTS:
            raise MianpuError(f"the page has more than {MAX_ELEMENTS:,} elements: split it, or save its text as a .txt or .md file")
        element = Element(tag, dict(attrs), parent)
        parent.children.append(element)
        self.open.append(element)
        if tag == "script":
            self.scripts.append(element)

    def end(self, tag: str) -> None:
        if len(self.open) > 1:
            _measure(self.open.pop())

    def data(self, text: str) -> None:
        children = self.open[-1].children
        if children and isinstance(children[-1], str):
            children[-1] += text
        else:
            children.append(text)

    def comment(self, text: str) -> None:
        if len(self.comments) < 8:
            self.comments.append(text[:2000])

    def close(self) -> None:
        while self.open:
            _measure(self.open.pop())


def _parse(text: str) -> Tree:
    target = _Target()
    parser = etree.HTMLParser(target=target, huge_tree=True, encoding="utf-8", no_network=True)
    data = text.encode("utf-8", "replace")
    try:
        for at in range(0, len(data), _CHUNK):
            parser.feed(data[at : at + _CHUNK])
        parser.close()
    except etree.XMLSyntaxError:  # an empty page
        target.close()
    return Tree(target.root, target.scripts, target.comments)


def _measure(element: Element) -> None:
    if element.tag in DROPPED and "shadowrootmode" not in element.attrs:
        return
    for child in element.children:
        if isinstance(child, str):
            size = len(child.strip())
            element.length += size
            element.own += size
            continue
        element.length += child.length
        element.linked += child.linked
        element.prose += child.prose
        element.headed = element.headed or child.headed
        if not child.is_block:
            element.own += child.own
            element.own_linked += child.own_linked
    if element.is_hidden:
        element.length = element.linked = element.own = element.prose = 0
    elif element.tag == "a" and "href" in element.attrs:
        element.linked, element.own_linked = element.length, element.own
    elif element.tag in HEADINGS:
        element.headed = element.headed or element.length > 0
    elif element.tag == "pre":
        element.prose = element.length
    elif element.is_block and element.own >= _PROSE and element.own_linked * 2 < element.own:
        element.prose += element.own
