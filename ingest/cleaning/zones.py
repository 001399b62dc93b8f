"""Head and tail of a page: where furniture stands so thick that the names and titles between it belong to it.

Every line is worth something: certain furniture counts for a zone, a name or title a little against it, a sentence more, a numbered
question, code and formulas very much. The head is the beginning of the page with the largest sum, the tail the end with the
largest; a zone is cut when its sum shows it. What opens a list of other articles or a comments section makes the short lines
below it cost less.
"""

import re
from collections.abc import Sequence

from ingest.cleaning.page import BULLET, Page
from ingest.structure.lines import FRAME_TITLE

_CERTAIN = {"author", "counters", "payment", "navigation", "promotion", "comments", "repeated"}
_ENOUGH = 4.0  # the sum a zone needs: two certain lines, less what stands between them
_ENOUGH_ABOVE = 1.5  # a head needs less: a date or counter with a name above it
_DROP = 3.5  # a zone ends where its sum has fallen by this much: at a sentence of the text, or some titles
_HEAD = 80  # lines in which a head is looked for
_SENTENCE = re.compile(r"[。！？!?；;]|[.](?:\s|$)|[,，].{6}")
_FEED = re.compile(
    r"关注|点赞|收藏|评论|留言|转发|订阅|公众号|扫码|微信|私信"
    r"|\b(?:subscri|comment|cookie|newsletter|follow|advert)",
    re.I,
)
_NO_TITLE = re.compile(r"\d{4}[-/.年]\s?\d{1,2}\s?[-/.月]|发布|更新|作者|\bby\b|^[\d\s.,:/]+$", re.I)
_FORMULA = re.compile(r"\$|\\[\[(a-z]|[=≈→∑∈√]")


def cut_zones(page: Page) -> None:
    """Cut what stands within the head and the tail of the page."""
    filled = [i for i in page.filled if page.reason[i] not in ("image", "contents", "front_matter")]
    weak = {i for i in filled if weak_reason(page, i)}
    hinted = _hinted(page, filled)
    weak -= {i for n, i in enumerate(filled) if i in weak and in_list_of_text(page, filled, n, weak)}
    _cut_after_end(page, filled)
    _cut_tail(page, filled, weak, hinted)
    _cut_head(page, filled, weak, hinted)


def _hinted(page: Page, filled: Sequence[int]) -> set[int]:
    """Short lines that speak to the reader about the page; none where the text itself uses such words (a note on feeds)."""
    found = {
        i
        for i in filled
        if not page.reason[i] and len(page.core[i]) <= 80 and not (page.code[i] or page.is_row(i) or page.is_heading(i))
        if not page.is_numbered(i) and page.rules.hints.fullmatch(page.core[i])
    }
    body = [i for i in filled if not page.reason[i] and (len(page.core[i]) > 16 or page.is_item(i))]
    spoken = sum(bool(_FEED.search(page.core[i])) for i in body if i not in found)
    return set() if spoken * 10 >= len(body) and spoken else found


def weak_reason(page: Page, i: int) -> str:
    """The reason for which a line could be cut among furniture, or ''."""
    if page.reason[i] or page.code[i] or page.is_row(i) or page.is_heading(i):
        return ""
    reason = page.rules.weak.reason(page.plain[i]) or page.rules.weak.reason(page.core[i])
    return reason or ("counters" if not page.is_numbered(i) and page.rules.words_of(page.core[i])[0] else "")


def _cut_tail(page: Page, filled: Sequence[int], weak: set[int], hinted: set[int]) -> None:
    values: list[float] = []
    dense = _dense(page, filled)
    opened, written = "", 0  # «titles» or «comments»: what the short lines below an opener are; lines of text so far
    for i in filled:
        opened = _opened(page, i, opened) if written else ""
        value = 1.0 if i in hinted else _tail_value(page, i, opened, i in weak)
        values.append(max(value, -0.3) if i in dense else value)
        if values[-1] <= -4:
            opened = ""
            written += 1
    total = highest = 0.0
    start = len(filled)
    for n in range(len(filled) - 1, 0, -1):
        total += values[n]
        if total < highest - _DROP:
            break
        if values[n] >= 1 and (values[n] >= 3 or filled[n] in hinted) and total > highest:
            highest, start = total, n
    if highest < _ENOUGH:
        return
    while start > 1 and filled[start - 1] in weak:
        start -= 1
    reason = next((page.reason[i] for i in filled[start:] if page.reason[i]), "navigation")
    for i in filled[start:]:
        reason = page.reason[i] if page.reason[i] in _CERTAIN else reason
        page.cut([i], reason)


def _cut_after_end(page: Page, filled: Sequence[int]) -> None:
    """What stands below «END» or «Share this article» when nearly all of the page is above it and nothing below asks."""
    sizes = [0 if page.reason[i] else len(page.core[i]) for i in filled]
    for n in range(max(len(filled) // 2, len(filled) - 40), len(filled)):
        if not page.rules.ends.fullmatch(page.core[filled[n]]) or sum(sizes[:n]) < 3 * sum(sizes[n:]):
            continue
        rest = filled[n:]
        if not any(
            page.code[i] or page.is_row(i) or page.is_heading(i) or page.is_item(i) or _FORMULA.search(page.core[i]) for i in rest
        ):
            page.cut(rest, "navigation")
            return


def _opened(page: Page, i: int, opened: str) -> str:
    if len(page.core[i]) > 60 or page.code[i]:
        return opened
    if page.rules.comments.fullmatch(page.core[i]):
        return "comments"
    return "titles" if page.rules.titles.fullmatch(page.core[i]) else opened


def _tail_value(page: Page, i: int, opened: str, weak: bool) -> float:
    """What a line adds to a tail: 3 for certain furniture, 1.5 for weak lines, less than 0 for the text of the page."""
    text = page.core[i]
    if page.reason[i] in _CERTAIN:
        return 3.0
    if page.reason[i]:
        return 0.0
    if page.code[i] or page.is_row(i):
        return -8.0
    if page.is_heading(i):
        return -5.0
    if weak:
        return 1.5 if not text.isdigit() else 0.3
    if page.is_numbered(i):
        return -2.0 if opened and len(text) <= 40 and text[-1:] not in "?？" else -7.0
    if _FORMULA.search(text):
        return -4.0
    if len(text) <= 30 and not _SENTENCE.search(text):
        return -0.1 if opened else -1.0
    if text.endswith(("...", "…")) and (opened or len(text) <= 120):
        return -0.5  # the beginning of another article
    if opened == "comments":
        return -0.4 if len(text) <= 60 else -1.0 if len(text) <= 160 else -2.5
    if opened and len(text) <= 80 and text[-1:] not in "。；;":
        return -0.4
    return -2.0 if len(text) <= 20 else -4.0 if len(text) <= 60 else -6.0


def _cut_head(page: Page, filled: Sequence[int], weak: set[int], hinted: set[int]) -> None:
    dense = _dense(page, filled)
    total = highest = 0.0
    end = -1
    asked = False
    for n, i in enumerate(filled[:_HEAD]):
        value = 1.0 if i in hinted else _head_value(page, i, i in weak)
        if n < 12 and not asked and value <= -4.0 and not page.is_numbered(i) and _may_be_title(page, i):
            value, asked = -0.5, True
        if n and page.core[i] == page.core[filled[0]]:
            value = max(value, 0.0)  # the title once more
        value = max(value, -0.2) if i in dense else value
        total += max(value, 0.0) if n == 0 else value
        if total < highest - _DROP:
            break
        if (page.reason[i] in _CERTAIN or i in weak) and total > highest:
            highest, end = total, n
    certain = any(page.reason[i] in _CERTAIN for i in filled[: end + 1])
    if highest < (_ENOUGH_ABOVE if certain else _ENOUGH):
        return
    title = _title(page, filled[: end + 1], weak)
    below = filled[end + 1] if end + 1 < len(filled) else -1
    twice = below >= 0 and any(page.core[j] == page.core[below] for j in filled[end + 2 : end + 4])
    if below >= 0 and (twice or len(page.core[below]) >= 10) and _may_be_title(page, below) and not page.is_numbered(below):
        title = {i for i in title if page.is_heading(i) or not _is_name(page, filled[: end + 1], i)}
    for n, i in enumerate(filled[: end + 1]):
        if i in title or page.is_heading(i) or page.is_item(i) or page.reason[i] or FRAME_TITLE.fullmatch(page.core[i]):
            continue
        if i in weak or i in hinted or (page.is_short(i) and (len(page.plain[i]) <= 16 or not _SENTENCE.search(page.plain[i]))):
            page.cut([i], next((page.reason[j] for j in filled[n : end + 1] if page.reason[j] in _CERTAIN), "author"))


def _is_name(page: Page, head: Sequence[int], i: int) -> bool:
    """Whether a line of a few characters names the site or its author: no other line of the head holds it within a path."""
    text = page.core[i]
    short = len(text) <= 4 or (text.isascii() and len(text) <= 8 and " " not in text)
    return short and not any(page.plain[j].endswith(text) and page.core[j] != text for j in head)


def _may_be_title(page: Page, i: int) -> bool:
    text = page.core[i]
    return len(text) <= 80 and text[-1:] not in "。；;：:.，," and not (page.code[i] or page.is_row(i) or _FORMULA.search(text))


def _head_value(page: Page, i: int, weak: bool) -> float:
    text = page.core[i]
    if page.reason[i] in _CERTAIN:
        return 3.0
    if page.reason[i]:
        return 0.0
    if page.code[i] or page.is_row(i) or page.is_item(i):
        return -8.0
    if page.is_heading(i):
        return -1.0
    if weak:
        return 1.5 if not text.isdigit() else 0.3
    if len(text) <= 30:
        if text[-1:] in "。；;":
            return -1.5 if len(text) <= 6 else -4.0
        return -0.5 if not _SENTENCE.search(text) else -1.5 if len(text) <= 16 else -4.0
    return -4.0


def _title(page: Page, head: Sequence[int], weak: set[int]) -> set[int]:
    """Lines of a head that may be the title of the page: its heading, else its first line, else its longest one.

    A first line right above navigation, or of a few characters, is the name of the site.
    """
    heading = next((i for i in head if page.is_heading(i)), None)
    if heading is not None:
        return {heading}
    free = [i for i in head if not page.reason[i] and i not in weak and not _NO_TITLE.search(page.plain[i])]
    if not free:
        return set()
    first = free[0] if free[0] == head[0] else -1
    names_site = first < 0 or len(page.plain[first]) < 6 or (len(head) > 1 and page.reason[head[1]] == "navigation")
    others = [i for i in free if i != first or not names_site]
    longest = max(others, key=lambda i: len(page.plain[i]), default=first)
    if not names_site and len(page.plain[longest]) < 2 * len(page.plain[first]):
        longest = first
    above_author = next((n - 1 for n, i in enumerate(head) if n and page.reason[i] == "author"), -1)
    nearest = head[above_author] if above_author >= 0 and head[above_author] in free else -1
    if nearest >= 0 and len(page.plain[nearest]) < 16:
        nearest = -1
    paths = [page.plain[i] for i in head if page.reason[i] == "navigation"]
    texts = {page.core[i] for i in (first, longest, nearest) if i >= 0}
    texts |= {page.core[i] for i in free if len(page.core[i]) >= 4 and any(path.endswith(page.core[i]) for path in paths)}
    return {i for i in head if page.core[i] in texts}  # many pages give their title twice


def _dense(page: Page, filled: Sequence[int]) -> set[int]:
    """Lines of blocks without a blank line that are furniture for a good part and hold no text: the short ones belong to it."""
    found: set[int] = set()
    block: list[int] = []
    for i in [*filled, -1]:
        if block and (i < 0 or i != block[-1] + 1):
            certain = sum(page.reason[j] in _CERTAIN for j in block)
            written = any(not page.reason[j] and _is_text(page, j) for j in block)
            if len(block) >= 4 and certain >= 2 and certain * 4 >= len(block) and not written:
                found.update(block)
            block = []
        block.append(i)
    return found


def _is_text(page: Page, i: int) -> bool:
    text = page.core[i]
    if page.code[i] or page.is_row(i) or page.is_heading(i) or page.is_item(i):
        return True
    return (len(text) > 16 and text[-1:] in "。；;：:") or (len(text) > 60)


def in_list_of_text(page: Page, filled: Sequence[int], n: int, weak: set[int]) -> bool:
    """Whether a weak line stands in a list whose members are not all like it: «标题、作者、点赞、评论» as the fields of a record.

    The list is the run of short lines of one kind (bulleted or not) around it that no blank line parts.
    """
    kind = _kind(page, filled[n])
    others = numbers = 0
    for step in (-1, 1):
        m = n + step
        while 0 <= m < len(filled) and abs(filled[m] - filled[m - step]) == 1 and abs(m - n) <= 30:
            i = filled[m]
            if page.reason[i] in _CERTAIN:
                return False  # the list goes on as furniture
            if page.reason[i] or len(page.plain[i]) > 20 or _kind(page, i) != kind:
                break
            number = page.plain[i][:1].isdigit()
            others, numbers = others + (i not in weak and not number), numbers + number
            m += step
    return others >= 2 or (others == 1 and kind and not numbers)


def _kind(page: Page, i: int) -> bool:
    return bool(BULLET.match(page.lines[i].strip()))
