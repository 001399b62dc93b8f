"""Raw text -> cleaned text and the spans cut out of it, each with its reason.

The rules stand in ``boilerplate.toml``. They look at lines, never at single words of a paragraph, and a line that could also be
part of an answer is cut only between other furniture. The cleaned text is exactly the raw text without the cuts:

>>> clean("问题\\n\\n在这里插入图片描述\\n\\n答案", "text").text
'问题\\n\\n答案'
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.cleaning.contents import cut_contents
from ingest.cleaning.heads import cut_early, in_record
from ingest.cleaning.line_model import cut_learned
from ingest.cleaning.page import BULLET, Page
from ingest.cleaning.promotion import MENTIONED, cut_promotion
from ingest.cleaning.provenance import provenance
from ingest.cleaning.repetition import cut_repeated
from ingest.cleaning.rules import reason_name as reason_name
from ingest.cleaning.zones import cut_zones, in_list_of_text, weak_reason
from ingest.document import Cut, fold

_RULE_LINE = re.compile(r"^[\s\-*_=~—–─━.·•。…＊#]+$")
_SETEXT = re.compile(r"^(?:=+|-+)\s*$")
_FRONT_PAIR = re.compile(r"^([A-Za-z_][\w -]{0,40}):\s*(.*)$")
_LINK_MARKS = re.compile(r"\[|\]\([^()]*\)\[?")
_CERTAIN = {"author", "counters", "payment", "navigation", "promotion", "repeated", "comments"}


@dataclass(frozen=True, slots=True)
class CleanedText:
    """The cleaned text, what was cut from the raw text (in order, not overlapping), and metadata found in it as pairs."""

    text: str
    cuts: tuple[Cut, ...]
    metadata: tuple[tuple[str, str], ...] = ()

    def offset(self, raw: int) -> int:
        """Where an offset of the raw text lies in the cleaned text; one inside a cut lies where the cut was."""
        return raw - sum(min(cut.end, raw) - cut.start for cut in self.cuts if cut.start < raw)


def clean(
    raw: str,
    markup: str,
    furniture: Sequence[tuple[int, int, str]] = (),
    *,
    keep: frozenset[str] = frozenset(),
    drop: frozenset[str] = frozenset(),
    repeated: frozenset[str] = frozenset(),
) -> CleanedText:
    """Take boilerplate out of a raw text. ``markup`` «markdown» allows front matter and ``#`` headings.

    ``furniture`` are spans (start, end, reason) that the reader knows to be no content. ``keep`` and ``drop`` are what a person
    restored and cut (see ``corrections``), blocks of folded lines: a line of ``keep`` is never cut. ``repeated`` are folded lines
    known to be furniture because several documents have them (see ``repetition``).
    """
    page = Page(raw)
    metadata = cut_by_rules(page, markup, furniture)
    cut_learned(page)
    known = {key.lower() for key, _ in metadata}
    found = tuple((key, value) for key, value in provenance(_lines_cut(page)) if key not in known)
    return _corrected(page, keep, drop, repeated, (*metadata, *found))


def cut_by_rules(page: Page, markup: str, furniture: Sequence[tuple[int, int, str]] = ()) -> tuple[tuple[str, str], ...]:
    """Cut what reader and rules know to be furniture, and return the pairs of the front matter."""
    metadata = cut_front_matter(page) if markup == "markdown" else ()
    _cut_furniture(page, furniture)
    _cut_inside(page)
    _cut_link_marks(page)
    cut_contents(page)
    _cut_alone(page)
    cut_early(page)
    cut_promotion(page)
    if markup == "markdown":
        _cut_sections(page)
    _cut_account_names(page, page.filled)
    certain = list(page.reason)
    _cut_neighbours(page)
    cut_zones(page)
    page.guessed = {i for i in page.filled if page.reason[i] != certain[i]}
    _cut_decoration(page, markup)
    return metadata


def clean_again(
    raw: str,
    cuts: Sequence[Cut],
    *,
    keep: frozenset[str] = frozenset(),
    drop: frozenset[str] = frozenset(),
    repeated: frozenset[str] = frozenset(),
) -> CleanedText:
    """The cleaned text after a correction, from the cuts that rules and reader made before; arguments as for :func:`clean`.

    It is what :func:`clean` gives with the same arguments, for the raw text and cuts that :func:`clean` gave without. Cuts for the
    reasons «repeated» and «person» are made anew, so the arguments must hold all of them. Lines that were restored earlier stay.
    """
    page = Page(raw)
    _cut_furniture(page, [(cut.start, cut.end, cut.reason) for cut in cuts if cut.reason not in ("blank", "repeated", "person")])
    return _corrected(page, keep, drop, repeated, ())


def raw_text(text: str, cuts: Sequence[Cut]) -> str:
    """The raw text, from the cleaned text and what was cut out of it."""
    parts, position, shift = [], 0, 0
    for cut in cuts:
        parts += [text[position : cut.start - shift], cut.text]
        position = cut.start - shift
        shift += cut.end - cut.start
    return "".join([*parts, text[position:]])


def _corrected(
    page: Page, keep: frozenset[str], drop: frozenset[str], repeated: frozenset[str], metadata: tuple[tuple[str, str], ...]
) -> CleanedText:
    cut_repeated(page, repeated)
    for i in page.blocks(drop):
        page.reason[i] = page.reason[i] or "person"
    kept = set(page.blocks(keep))
    for i in kept:
        page.reason[i] = ""
    page.spans = [
        span for span in page.spans if page.line_at(span[0]) not in kept and fold(page.raw[span[0] : span[1]]) not in keep
    ]
    return _result(page, metadata)


def _lines_cut(page: Page) -> list[tuple[str, str, bool]]:
    early = page.filled[len(page.filled) // 3] if page.filled else 0
    return [(page.reason[i], page.lines[i], i <= early) for i in page.filled if page.reason[i]]


def cut_front_matter(page: Page) -> tuple[tuple[str, str], ...]:
    """Cut the block between two lines «---» at the very top, and return its pairs."""
    if page.lines[0].strip() != "---":
        return ()
    end = next((i for i in range(1, min(len(page.lines), 200)) if page.lines[i].strip() in ("---", "...")), 0)
    body = page.lines[1:end]
    if not end or not body or not _FRONT_PAIR.match(body[0]):
        return ()
    page.cut(range(end + 1), "front_matter")
    pairs: list[tuple[str, str]] = []
    for line in body:
        found = _FRONT_PAIR.match(line)
        if found:
            pairs.append((found[1].strip(), found[2].strip().strip("\"'")))
        elif pairs and line.strip().startswith("- "):  # a list under its key
            key, value = pairs[-1]
            pairs[-1] = (key, ", ".join(filter(None, [value, line.strip()[2:].strip().strip("\"'")])))
    return tuple(pairs)


def _cut_furniture(page: Page, furniture: Sequence[tuple[int, int, str]]) -> None:
    """Whole lines become lines that are cut; what covers part of a line is cut within it."""
    for start, end, reason in furniture:
        for i in range(page.line_at(start), min(page.line_at(max(start, end - 1)) + 1, len(page.lines))):
            if page.blank[i]:
                continue
            begin, stop = max(start, page.starts[i]), min(end, page.starts[i] + len(page.lines[i]))
            line = page.lines[i]
            if not line[: begin - page.starts[i]].strip() and not line[max(stop - page.starts[i], 0) :].strip():
                page.reason[i] = page.reason[i] or reason
            elif begin < stop:
                page.spans.append((begin, stop, reason))


def _cut_inside(page: Page) -> None:
    rules = page.rules
    for i, line in page.open_lines():
        found = list(rules.inside.any.finditer(line))
        if not found:
            continue
        if not BULLET.sub("", rules.inside.any.sub("", line).strip()).replace("[](", "").strip(" \t|>*_:：#)"):
            page.reason[i] = rules.inside.reason(found[0][0], len(line))
        elif re.fullmatch(r"(?:\s*\[\s*\]\([^()]*\)\s*)+", rules.inside.any.sub("", line)):
            page.reason[i] = "image"  # links with nothing but images in them
        else:
            at = page.starts[i]
            page.spans += [(at + m.start(), at + m.end(), rules.inside.reason(m[0], len(line))) for m in found]


def _cut_link_marks(page: Page) -> None:
    """The brackets and addresses of links that are written over several lines; the names between them stay, to be judged."""
    for i in page.in_link:
        if _LINK_MARKS.fullmatch(page.lines[i].strip()):
            page.cut([i], "navigation")


def _cut_alone(page: Page) -> None:
    above = -1
    for i in page.filled:
        below_item = above >= 0 and not page.reason[above] and _leads(page, above)
        above = i
        if page.reason[i] or page.code[i] or page.is_row(i):
            continue
        plain, core = page.plain[i], page.core[i]
        heading = page.is_heading(i)
        reason = page.rules.alone.reason(plain) or ("" if heading else page.rules.alone.reason(core))
        if not reason and not (heading or below_item):
            words, numbers = page.rules.words_of(core)
            explicit = core[-1:] not in "?？" or core.endswith(("useful?", "helpful?", "more?", "thoughts?"))
            numbered = page.is_numbered(i)
            if explicit and not numbered and not MENTIONED.search(core):
                reason = page.rules.broad.reason(core) or (page.rules.broad.reason(plain) if plain != core else "")
            if not reason and not numbered and (words >= 3 or (words and numbers) or (words == 2 and not core.isalnum())):
                reason = "counters" if numbers or words < 4 else "navigation"
            if not reason and not numbered and len(core) <= 60:
                reason = "navigation" if page.rules.titles.fullmatch(core) else ""
                reason = "comments" if page.rules.comments.fullmatch(core) else reason
        page.reason[i] = "" if reason == "author" and in_record(page, i) else reason


def _leads(page: Page, i: int) -> bool:
    """Whether the line below this one is its answer or the first of its list."""
    text = page.plain[i]
    return page.is_item(i) or (text[-1:] in ":：" and len(text) > 3)


def _cut_sections(page: Page) -> None:
    """A section whose title names furniture (contributors, contact, related articles), unless it holds text of its own."""
    n = 0
    while n < len(page.filled):
        i = page.filled[n]
        n += 1
        found = re.match(r"\s{0,3}(#{1,6})\s", page.lines[i]) if page.is_heading(i) else None
        if not found or not page.rules.section.fullmatch(page.core[i].strip("# *_:：")):
            continue
        m = n
        while m < len(page.filled):
            mark = re.match(r"\s{0,3}(#{1,6})\s", page.lines[page.filled[m]]) if page.is_heading(page.filled[m]) else None
            if mark and len(mark[1]) <= len(found[1]):
                break
            m += 1
        body = page.filled[n:m]
        if len(body) <= 40 and not any(
            page.code[j] or page.is_row(j) or (len(page.core[j]) > 60 and not page.reason[j]) for j in body
        ):
            page.cut([i, *body], "navigation" if len(body) else "promotion")
            n = m


def _cut_neighbours(page: Page) -> None:
    """Weak lines next to certain furniture or in a run of three; short lines caught between two cut ones."""
    filled = [i for i, text in enumerate(page.plain) if text]
    weak = {i: reason for i in filled if (reason := weak_reason(page, i))}
    members = set(weak)
    listed = {i for n, i in enumerate(filled) if i in weak and in_list_of_text(page, filled, n, members)}
    weak = {i: reason for i, reason in weak.items() if i not in listed}

    def certain(n: int) -> bool:
        return 0 <= n < len(filled) and page.reason[filled[n]] in _CERTAIN

    for order in (range(len(filled)), range(len(filled) - 1, -1, -1)):
        for n in order:
            i = filled[n]
            if i in weak and not page.reason[i] and any(certain(m) for m in (n - 2, n - 1, n + 1, n + 2)):
                page.reason[i] = weak[i]
    run: list[int] = []
    for i in [*filled, -1]:
        if i in weak:
            run.append(i)
            continue
        if (
            len(run) >= 3
            and len({weak[j] for j in run} - {"author"}) >= 1
            and not all(page.plain[j].replace(".", "").isdigit() for j in run)
        ):
            for j in run:
                page.reason[j] = weak[j]
        run = []
    text = next((n for n, i in enumerate(filled) if not page.reason[i] and len(page.plain[i]) > 40), len(filled) // 2)
    n = 0
    while n < len(filled):
        if certain(n):
            m = n + 1
            while m < len(filled) and m - n <= 3 and not page.reason[filled[m]] and page.is_short(filled[m]):
                if m < text:
                    break  # it may be the title of the page: zones know more
                m += 1
            if m > n + 1 and certain(m) and not any(page.is_heading(filled[k]) or page.is_item(filled[k]) for k in range(n + 1, m)):
                for between in range(n + 1, m):
                    page.reason[filled[between]] = page.reason[filled[n]]
            n = m
        else:
            n += 1


def _cut_account_names(page: Page, filled: list[int]) -> None:
    """The short line above an account's blurb, and the same name wherever else it stands alone."""
    names = set()
    for n, i in enumerate(filled[1:], 1):
        above = filled[n - 1]
        if page.reason[i] == "author" and "原创内容" in page.plain[i] and page.is_short(above) and not page.reason[above]:
            names.add(page.plain[above])
    for i in filled if names else ():
        if page.plain[i] in names and not page.code[i]:
            page.reason[i] = "author"


def _cut_decoration(page: Page, markup: str) -> None:
    for i, line in page.open_lines():
        if len(line) < 3 or not _RULE_LINE.match(line) or len(set(line.strip()) - {" "}) > 1 or len(line.strip()) < 3:
            continue
        above = page.lines[i - 1].strip() if i else ""
        if markup == "markdown" and _SETEXT.match(line) and above and not page.reason[i - 1] and len(above) <= 100:
            continue  # the underline of a heading
        page.reason[i] = "decoration"


def _result(page: Page, metadata: tuple[tuple[str, str], ...]) -> CleanedText:
    """Join what stays; surplus blank lines are cuts too, so that text and cuts together are the raw text."""
    spans = [span for span in page.spans if not page.reason[page.line_at(span[0])]]
    blank_before = True
    end_of_text = 0
    for i, line in enumerate(page.lines):
        span = (page.starts[i], min(page.starts[i + 1], len(page.raw)))
        if page.reason[i]:
            spans.append((*span, page.reason[i]))
        elif page.blank[i] and not page.code[i]:
            if blank_before:
                spans.append((*span, "blank"))
            blank_before = True
        else:
            blank_before = False
            end_of_text = page.starts[i] + len(line.rstrip())
    spans = sorted(span for span in spans if span[0] < end_of_text)
    return _assemble(page.raw, [*spans, *_tail_spans(page, end_of_text)], metadata)


def _tail_spans(page: Page, start: int) -> list[tuple[int, int, str]]:
    """Everything behind the last character that stays."""
    spans: list[tuple[int, int, str]] = []
    for i in range(max(bisect_right(page.starts, start) - 1, 0), len(page.lines)):
        begin, end = max(page.starts[i], start), min(page.starts[i + 1], len(page.raw))
        if begin < end:
            spans.append((begin, end, page.reason[i] or "blank"))
    return spans


def _assemble(raw: str, spans: Sequence[tuple[int, int, str]], metadata: tuple[tuple[str, str], ...]) -> CleanedText:
    """The text without the spans; neighbouring spans of one reason become one cut, and blank lines join the cut beside them."""
    merged: list[tuple[int, int, str]] = []
    for start, end, reason in spans:
        start = max(start, merged[-1][1]) if merged else start  # a rule may find again what the reader had marked
        if start >= end:
            continue
        if merged and merged[-1][1] == start and (merged[-1][2] == reason or reason == "blank"):
            merged[-1] = (merged[-1][0], end, merged[-1][2])
        elif merged and merged[-1][1] == start and merged[-1][2] == "blank":
            merged[-1] = (merged[-1][0], end, reason)
        else:
            merged.append((start, end, reason))
    cuts = tuple(Cut(start, end, reason, raw[start:end]) for start, end, reason in merged)
    parts, position = [], 0
    for cut in cuts:
        parts.append(raw[position : cut.start])
        position = cut.end
    parts.append(raw[position:])
    return CleanedText("".join(parts), cuts, metadata)
