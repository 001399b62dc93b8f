"""What a page says of itself: title, author, date, address."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ingest.readers.html_content import SelectorSet, page_rules
from ingest.readers.html_tree import Element, Tree, tidy

_SAVED_FROM = re.compile(r"saved from url=\(\d+\)(\S+)")
_DATE = re.compile(r"((?:19|20)\d\d)\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})")
_SITE = re.compile(
    r"\s*(?:[-_|–—·•]|::|»)\s*(?:[^-_|–—·•]{0,20}(?:博客|知乎|掘金|简书|博客园|社区|专栏|论坛|百科|文档|腾讯云|阿里云|头条|公众号"
    r"|CSDN|SegmentFault 思否|GitHub|Medium"
    r"|Stack Overflow|Wikipedia|Documentation|documentation|Docs|Blog)[^-_|–—·•]{0,20})\s*$"
)
_LABEL = re.compile(r"^(?:作者|文|撰文|by|author|posted by|written by)\s*[:：]?\s*", re.I)
_NO_AUTHOR = re.compile(r"https?:.*|\d+|关注|作者|匿名用户?|admin|.{41,}", re.I)
_META_TITLE = ("og:title", "twitter:title", "citation_title")
_META_AUTHOR = ("author", "article:author", "citation_author", "dc.creator", "byl", "og:article:author")
_META_DATE = (
    "article:published_time",
    "datepublished",
    "publishdate",
    "pubdate",
    "citation_publication_date",
    "dc.date",
    "date",
    "og:release_date",
    "bytedance:published_time",
)
_MAX_JSON = 1_000_000


@dataclass(slots=True)
class PageFacts:
    """What the head of a page and its named elements say."""

    metas: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    title: str = ""
    canonical: str = ""
    linked: dict[str, str] = field(default_factory=dict)  # of JSON-LD
    named: dict[str, str] = field(default_factory=dict)  # of elements, by the selectors of the table


def page_name(found: PageFacts) -> str:
    """What the page calls itself: the titles it gives to others and to the browser."""
    return " ".join(
        filter(None, [*(found.metas.get(name, "") for name in _META_TITLE), found.linked.get("title", ""), found.title])
    )


def metadata_of(found: PageFacts, heading: str, address: str = "") -> tuple[tuple[str, str], ...]:
    """Title, author, date and address, as far as known. ``heading`` is the page's, ``address`` what the saved file says."""
    named = next((found.metas[name] for name in _META_TITLE if found.metas.get(name)), "") or found.linked.get("title", "")
    key = re.sub(r"\W+", "", heading).lower()
    if key and key in re.sub(r"\W+", "", f"{named} {found.title}").lower():
        title = heading
    else:
        title = _without_site(named, found.metas) or heading or _without_site(found.title, found.metas)
    author = next((found.metas[name] for name in _META_AUTHOR if not _NO_AUTHOR.fullmatch(found.metas.get(name, "0"))), "")
    author = author or found.linked.get("author", "") or found.named.get("author", "")
    date = next((found.metas[name] for name in _META_DATE if found.metas.get(name)), "")
    date = date or found.linked.get("date", "") or found.named.get("date", "")
    saved = next((match[1] for comment in found.comments if (match := _SAVED_FROM.search(comment))), "")
    addresses = (found.canonical, found.metas.get("og:url", ""), address, saved)
    address = next((text for text in addresses if re.fullmatch(r"https?://\S{1,2000}", text)), "")
    pairs = (("title", title), ("author", author), ("date", _date(date)), ("address", address))
    return tuple((key, value) for key, value in ((key, " ".join(tidy(value).split())) for key, value in pairs) if value)


def survey(tree: Tree) -> PageFacts:
    """Gather what a page says of itself."""
    found = PageFacts(comments=tree.comments)
    rules = page_rules()
    chosen: dict[str, tuple[int, str]] = {}
    for element in tree.root.elements():
        tag = element.tag
        if tag == "meta":
            name = (element.get("property") or element.get("name") or element.get("itemprop")).lower()
            if name and name not in found.metas and len(element.get("content")) < 2000:
                found.metas[name] = element.get("content").strip()
        elif tag == "title" and not found.title and element.parent is not None and element.parent.tag != "svg":
            found.title = " ".join("".join(c for c in element.children if isinstance(c, str)).split())[:500]
        elif tag == "link" and element.get("rel").lower() == "canonical" and not found.canonical:
            found.canonical = element.get("href").strip()
        elif tag == "script" and "ld+json" in element.get("type"):
            for key, value in _linked_data("".join(c for c in element.children if isinstance(c, str))):
                found.linked.setdefault(key, value)
        elif 0 < element.length <= 60 or "datetime" in element.attrs:
            for key, selectors in (("author", rules.author), ("date", rules.date)):
                _choose(chosen, key, selectors, element)
    found.named = {key: text for key, (_, text) in chosen.items()}
    return found


def _choose(chosen: dict[str, tuple[int, str]], key: str, selectors: SelectorSet, element: Element) -> None:
    """Keep the element's text when it is selected by an earlier selector of the table than what was found before."""
    rank = selectors.rank(element)
    if rank < 0 or (key in chosen and chosen[key][0] <= rank):
        return
    text = element.get("datetime") or element.get("content") or element.line()
    text = _LABEL.sub("", text) if key == "author" else text
    if _DATE.search(text) if key == "date" else text and not _NO_AUTHOR.fullmatch(text):
        chosen[key] = (rank, text)


def _linked_data(text: str) -> Iterator[tuple[str, str]]:
    if len(text) > _MAX_JSON:
        return
    try:
        waiting: list[Any] = [json.loads(text, strict=False)]
    except (ValueError, RecursionError):
        return
    for _ in range(200):
        if not waiting:
            return
        value = waiting.pop(0)
        if isinstance(value, list):
            waiting += value[:100]
        elif isinstance(value, dict):
            if isinstance(graph := value.get("@graph"), list):
                waiting += graph[:100]
            if not re.search(r"Article|Posting|QAPage|WebPage|Report|Question", str(value.get("@type"))[:200]):
                continue
            for key, name in (("title", "headline"), ("date", "datePublished"), ("date", "pubDate")):
                if isinstance(found := value.get(name), str) and found:
                    yield key, found[:500]
            author = value.get("author")
            authors = author if isinstance(author, list) else [author]
            names = [a.get("name") if isinstance(a, dict) else a for a in authors[:10]]
            if joined := ", ".join(name for name in names if isinstance(name, str) and not _NO_AUTHOR.fullmatch(name)):
                yield "author", joined[:200]


def _without_site(title: str, metas: dict[str, str]) -> str:
    site = metas.get("og:site_name", "")
    if site and title.endswith(site):
        title = re.sub(r"[\s\-_|–—·•»:]+$", "", title[: -len(site)]) or title
    return _SITE.sub("", title) or title


def _date(text: str) -> str:
    match = _DATE.search(text)
    return f"{match[1]}-{int(match[2]):02}-{int(match[3]):02}" if match else ""
