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

from ingest.boilerplate import reason_name as reason_name
from ingest.boilerplate import rules
from ingest.document import Cut

_BULLET = re.compile(r"^(?:[-*•·●◦○▪■➤►‣+]\s*)+")
_FENCE = re.compile(r"^\s*(?:>\s*)*(`{3,}|~{3,})")
_RULE_LINE = re.compile(r"^[\s\-*_=~—–─━.·•。…＊#]+$")
_SETEXT = re.compile(r"^(?:=+|-+)\s*$")
_CONTENTS_TITLE = re.compile(
    r"^#*\s*[*_【\[]*(?:.{0,8}(?:快捷|文章|本文|内容|全文)?目\s*录.{0,6}|(?:table of )?contents|toc|导航|(?:本文)?大纲)"
    r"[*_】\]]*\s*[:：。]?\s*$",
    re.I,
)
_NUMBER = re.compile(r"^[(（]?(?:\d{1,3}(?:\.\d+)*|[一二三四五六七八九十]{1,3})\s*[.、)）:：．]?\s*")
_LINK_ITEM = re.compile(r"^(?:\d+[.、)]\s*)?\[[^\]]*\]\(#[^)]*\)$")
_FRONT_PAIR = re.compile(r"^([A-Za-z_][\w -]{0,40}):\s*(.*)$")


@dataclass(frozen=True, slots=True)
class CleanedText:
    """The cleaned text, what was cut from the raw text (in order, not overlapping), and the front matter as pairs."""

    text: str
    cuts: tuple[Cut, ...]
    metadata: tuple[tuple[str, str], ...] = ()

    def offset(self, raw: int) -> int:
        """Where an offset of the raw text lies in the cleaned text; one inside a cut lies where the cut was."""
        return raw - sum(min(cut.end, raw) - cut.start for cut in self.cuts if cut.start < raw)


def clean(raw: str, markup: str, furniture: Sequence[tuple[int, int, str]] = ()) -> CleanedText:
    """Take boilerplate out of a raw text. ``markup`` «markdown» allows front matter and ``#`` headings.

    ``furniture`` are spans (start, end, reason) that the reader knows to be no content.
    """
    page = _Page(raw)
    metadata = page.cut_front_matter() if markup == "markdown" else ()
    page.cut_furniture(furniture)
    page.cut_inside()
    page.cut_alone()
    page.cut_contents()
    page.cut_promotion()
    page.cut_neighbours()
    page.cut_tail()
    page.cut_decoration(markup)
    return page.result(metadata)


class _Page:
    """The lines of one raw text and, for each, the reason it is cut for ('' while it stays)."""

    def __init__(self, raw: str) -> None:
        self.raw = raw
        self.lines = raw.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.plain = [_BULLET.sub("", line.strip()).strip() for line in self.lines]
        self.reason = [""] * len(self.lines)
        self.spans: list[tuple[int, int, str]] = []  # cuts within a line
        self.code = code_lines(self.lines)
        self.rules = rules()

    # --- steps ---

    def cut_front_matter(self) -> tuple[tuple[str, str], ...]:
        if self.lines[0].strip() != "---":
            return ()
        end = next((i for i in range(1, min(len(self.lines), 200)) if self.lines[i].strip() in ("---", "...")), 0)
        body = self.lines[1:end]
        if not end or not body or not _FRONT_PAIR.match(body[0]):
            return ()
        self._cut(range(end + 1), "front_matter")
        pairs: list[tuple[str, str]] = []
        for line in body:
            found = _FRONT_PAIR.match(line)
            if found:
                pairs.append((found[1].strip(), found[2].strip().strip("\"'")))
            elif pairs and line.strip().startswith("- "):  # a list under its key
                key, value = pairs[-1]
                pairs[-1] = (key, ", ".join(filter(None, [value, line.strip()[2:].strip().strip("\"'")])))
        return tuple(pairs)

    def cut_furniture(self, furniture: Sequence[tuple[int, int, str]]) -> None:
        """Whole lines become lines that are cut; what covers part of a line is cut within it."""
        for start, end, reason in furniture:
            first, last = bisect_right(self.starts, start) - 1, bisect_right(self.starts, max(start, end - 1)) - 1
            for i in range(first, last + 1):
                begin, stop = max(start, self.starts[i]), min(end, self.starts[i] + len(self.lines[i]))
                if not self.lines[i][: begin - self.starts[i]].strip() and not self.lines[i][stop - self.starts[i] :].strip():
                    self.reason[i] = self.reason[i] or reason
                elif begin < stop:
                    self.spans.append((begin, stop, reason))

    def cut_inside(self) -> None:
        for i, line in self._open():
            found = list(self.rules.inside.any.finditer(line))
            if not found:
                continue
            if not _BULLET.sub("", self.rules.inside.any.sub("", line).strip()).strip(" \t|>*_:："):
                self.reason[i] = self.rules.inside.reason(found[0][0], len(line))
            else:
                at = self.starts[i]
                self.spans += [(at + m.start(), at + m.end(), self.rules.inside.reason(m[0], len(line))) for m in found]

    def cut_alone(self) -> None:
        for i, _ in self._open():
            reason = self.rules.alone.reason(self.plain[i])
            if reason:
                self.reason[i] = reason

    def cut_contents(self) -> None:
        """Tables of contents: a title and the list under it, or a list of links into the page."""
        last = {_key(text): i for i, text in enumerate(self.plain) if text and len(text) <= 80}
        for i, line in self._open():
            if len(line) <= 40 and _CONTENTS_TITLE.match(self.plain[i]):
                items = self._short_list(i + 1)
                again = sum(1 for j in items if last[_key(self.plain[j])] > items[-1]) if items else 0
                asks = sum(1 for j in items if self.plain[j].endswith(("?", "？")))
                if len(items) >= 2 and (again * 2 >= len(items) or not asks):
                    self._cut([i, *items], "contents")
                    self._cut_first_item(i, items)
        run: list[int] = []
        for i, text in enumerate([*self.plain, "end"]):
            if _LINK_ITEM.match(text):
                run.append(i)
            elif text:
                if len(run) >= 2:
                    self._cut(run, "contents")
                run = []

    def _short_list(self, start: int) -> list[int]:
        """Lines of a list of short titles from ``start`` on; ends at the first line that is no item of the first one's kind."""
        items: list[int] = []
        bulleted = numbered = False
        for i in range(start, min(start + 400, len(self.lines))):
            text = self.plain[i]
            if not text:
                continue
            is_bulleted = bool(_BULLET.match(self.lines[i].strip()))
            is_numbered = bool(_NUMBER.match(text))
            if not items:
                bulleted, numbered = is_bulleted, is_numbered
            ordinary = (is_bulleted, is_numbered) == (bulleted, numbered) or (is_bulleted and bulleted) or _LINK_ITEM.match(text)
            if (
                len(text) > 80
                or text[-1] in "。；;"
                or not (is_bulleted or is_numbered)
                or not ordinary
                or self.lines[i].startswith("#")
            ):
                break
            if items and not bulleted and _key(text) in {_key(self.plain[j]) for j in items}:
                break  # the first section begins with the title of the first item
            items.append(i)
        return items

    def _cut_first_item(self, title: int, items: list[int]) -> None:
        """A list that begins at 2 has lost its first item to the line above its title."""
        first = re.match(r"\d+", self.plain[items[0]])
        above = next((i for i in range(title - 1, max(title - 4, -1), -1) if self.plain[i]), None)
        if (
            first
            and first[0] == "2"
            and above is not None
            and re.match(r"1\s*[.、]", self.plain[above])
            and len(self.plain[above]) <= 40
        ):
            self._cut([above], "contents")

    def cut_promotion(self) -> None:
        hard: dict[int, set[str]] = {}
        soft: dict[int, set[str]] = {}
        for i, line in self._open():
            if not self.rules.advertises.search(line):
                continue
            kinds = {name for name, pattern in self.rules.hard.items() if pattern.search(line)}
            called = bool(self.rules.call.search(line))
            if kinds:
                hard[i] = kinds
            others = {name for name, pattern in self.rules.soft.items() if pattern.search(line)}
            if others:
                soft[i] = others
            if len(line) <= 400 and (
                len(kinds) >= 2 or (kinds and called and len(line) <= 160) or (len(line) <= 80 and self.rules.gesture.search(line))
            ):
                self._cut([i], "promotion")
        self._cut_promotion_blocks(hard, soft)

    def _cut_promotion_blocks(self, hard: dict[int, set[str]], soft: dict[int, set[str]]) -> None:
        filled = [i for i, text in enumerate(self.plain) if text]
        place = {i: n for n, i in enumerate(filled)}
        hits = sorted(place[i] for i in {*hard, *soft} if i in place)
        done = -1
        for n, i in enumerate(filled):
            # The first fifth of a page is its title and introduction, whatever it sounds like.
            if n <= done or n * 5 < len(filled) or self.code[i] or len(self.plain[i]) > 40:
                continue
            if not self.rules.start.fullmatch(self.plain[i].strip("#*_ 【】[]")):
                continue
            region = self._promotion_region(n, hits)
            if region and region[0] - n <= 3 and self.reason[filled[region[0]]] == "promotion":
                done = region[0]  # the title of an advertisement that was cut line by line
                self._cut(range(i, filled[done]), "promotion")
            kinds_hard = {kind for m in region for kind in hard.get(filled[m], ())}
            kinds = kinds_hard | {kind for m in region for kind in soft.get(filled[m], ())}
            if region and len(kinds_hard) >= 2 and len(kinds) >= 3:
                done = region[-1]
                while done + 1 < len(filled) and _BULLET.match(self.lines[filled[done + 1]].strip()) and region[-1] != n:
                    done += 1  # the list under the last advertising line
                self._cut(range(i, filled[done] + 1), "promotion")

    def _promotion_region(self, start: int, hits: list[int]) -> list[int]:
        """Advertising lines that follow ``start`` closely enough to be one block (numbers of non-blank lines)."""
        region: list[int] = []
        last, gap = start, 12
        for hit in hits[bisect_right(hits, start) :]:
            if hit - last > gap:
                break
            region.append(hit)
            last, gap = hit, 24
        return region

    def cut_neighbours(self) -> None:
        """Weak lines next to certain furniture or in a run of three; short lines caught between two cut ones."""
        filled = [i for i, text in enumerate(self.plain) if text]
        weak = {i: self.rules.weak.reason(self.plain[i]) for i in filled if not self.reason[i] and not self.code[i]}
        weak = {i: reason for i, reason in weak.items() if reason}
        furniture = {"author", "counters", "payment", "navigation", "promotion"}

        def certain(n: int) -> bool:
            return 0 <= n < len(filled) and self.reason[filled[n]] in furniture

        for order in (range(len(filled)), range(len(filled) - 1, -1, -1)):
            for n in order:
                i = filled[n]
                if i in weak and not self.reason[i] and any(certain(m) for m in (n - 2, n - 1, n + 1, n + 2)):
                    self.reason[i] = weak[i]
        run: list[int] = []
        for i in [*filled, -1]:
            if i in weak:
                run.append(i)
                continue
            if len(run) >= 3 and len({weak[j] for j in run} - {"author"}) >= 1 and not all(self.plain[j].isdigit() for j in run):
                for j in run:
                    self.reason[j] = weak[j]
            run = []
        self._cut_account_names(filled)
        n = 0
        while n < len(filled):
            if certain(n):
                m = n + 1
                while m < len(filled) and m - n <= 3 and not self.reason[filled[m]] and self._short(filled[m]):
                    m += 1
                if m > n + 1 and certain(m):
                    for between in range(n + 1, m):
                        self.reason[filled[between]] = self.reason[filled[n]]
                n = m
            else:
                n += 1

    def _cut_account_names(self, filled: list[int]) -> None:
        """The short line above an account's blurb, and the same name wherever else it stands alone."""
        names = set()
        for n, i in enumerate(filled[1:], 1):
            above = filled[n - 1]
            if self.reason[i] == "author" and "原创内容" in self.plain[i] and self._short(above) and not self.reason[above]:
                names.add(self.plain[above])
        for i in filled if names else ():
            if self.plain[i] in names and not self.code[i]:
                self.reason[i] = "author"

    def cut_tail(self) -> None:
        """What follows the page's own navigation to its end: titles of other articles, never a paragraph."""
        filled = [i for i, text in enumerate(self.plain) if text]
        start, titles = len(filled), 0
        for n in range(len(filled) - 1, len(filled) // 2 - 1, -1):
            i = filled[n]
            if not self.reason[i]:
                titles += 1
                if len(self.plain[i]) > 60 or self.plain[i][-1] in "。；" or self.code[i]:
                    break
            elif self.reason[i] in ("navigation", "counters", "payment") and titles * 2 <= len(filled) - n + 2:
                start = n
        self._cut(filled[start:], "navigation")

    def cut_decoration(self, markup: str) -> None:
        for i, line in self._open():
            if len(line) < 3 or not _RULE_LINE.match(line) or len(set(line.strip()) - {" "}) > 1 or len(line.strip()) < 3:
                continue
            above = self.lines[i - 1].strip() if i else ""
            if markup == "markdown" and _SETEXT.match(line) and above and not self.reason[i - 1] and len(above) <= 100:
                continue  # the underline of a heading
            self.reason[i] = "decoration"

    # --- helpers ---

    def _open(self) -> list[tuple[int, str]]:
        """Lines that are neither blank, cut nor code."""
        return [
            (i, line)
            for i, line in enumerate(self.lines)
            if self.plain[i] or line.strip()
            if not self.reason[i] and not self.code[i]
        ]  # fmt: skip

    def _short(self, i: int) -> bool:
        return len(self.plain[i]) <= 30 and not self.code[i] and self.plain[i][-1] not in "。？?！；;：:"

    def _cut(self, lines: Sequence[int] | range, reason: str) -> None:
        for i in lines:
            if not self.reason[i] and not (self.code[i] and reason != "front_matter"):
                self.reason[i] = reason

    def result(self, metadata: tuple[tuple[str, str], ...]) -> CleanedText:
        """Join what stays; surplus blank lines are cuts too, so that text and cuts together are the raw text."""
        spans: list[tuple[int, int, str]] = [span for span in self.spans if not self.reason[bisect_right(self.starts, span[0]) - 1]]
        blank_before = True
        end_of_text = 0
        for i, line in enumerate(self.lines):
            span = (self.starts[i], min(self.starts[i + 1], len(self.raw)))
            if self.reason[i]:
                spans.append((*span, self.reason[i]))
            elif not line.strip() and not self.code[i]:
                if blank_before:
                    spans.append((*span, "blank"))
                blank_before = True
            else:
                blank_before = False
                end_of_text = self.starts[i] + len(line.rstrip())
        spans = sorted(span for span in spans if span[0] < end_of_text)
        return _assemble(self.raw, [*spans, *self._tail_spans(end_of_text)], metadata)

    def _tail_spans(self, start: int) -> list[tuple[int, int, str]]:
        """Everything behind the last character that stays."""
        spans: list[tuple[int, int, str]] = []
        first = bisect_right(self.starts, start) - 1
        for i in range(max(first, 0), len(self.lines)):
            begin, end = max(self.starts[i], start), min(self.starts[i + 1], len(self.raw))
            if begin < end:
                spans.append((begin, end, self.reason[i] or "blank"))
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


def _key(text: str) -> str:
    """A title without its number and marks, for finding it again."""
    text = re.sub(r"\]\([^)]*\)|[\[\]*#`_]", "", text)
    return re.sub(r"\s+", "", _NUMBER.sub("", text.strip())).lower()


def code_lines(lines: Sequence[str]) -> list[bool]:
    """Which lines stand in a fenced code block (its fences included)."""
    code, fence = [], ""
    for line in lines:
        found = _FENCE.match(line)
        if fence:
            code.append(True)
            if found and found[1].startswith(fence) and not line.strip().strip("`~> "):
                fence = ""
        elif found and not (found[1][0] == "`" and "`" in line.strip()[len(found[1]) :]):
            code.append(True)
            fence = found[1]
        else:
            code.append(False)
    return code
