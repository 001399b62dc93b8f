"""Text -> sentences with their spans, in Chinese and English, in prose, Markdown and formulas.

A sentence ends at its full stop, question or exclamation mark, at a semicolon of Chinese, or at the end of the line. What must
not be cut in two is found first: fenced code, displayed and inline formulas, inline code, addresses, numbers such as 3.5,
abbreviations such as «e.g.», and the marker of a list item with its text.
"""

import re
from dataclasses import dataclass

_WHOLE = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n]*\n.*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)"  # fenced code, also when its end has not come yet
    r"|\$\$.*?(?:\$\$|\Z)|\\\[.*?(?:\\\]|\Z)|\\begin\{(\w+\*?)\}.*?(?:\\end\{\1\}|\Z)"
    r"|\\\([^\n]*?(?:\\\)|\Z)|\$(?=\S)[^$\n]+(?<=\S)\$|\$(?=[^\s\d$])[^$\n]+\Z|`[^`\n]+(?:`|\Z)"
    r"|https?://[^\s\u3000-\u9fff]+"
    r"|^[ \t]*(?:[-*+•·●]|\(?\d{1,3}[.)、．]|（\d{1,3}）|[①-⑳])(?=[ \t]|\D)[ \t]*"  # a list marker
    r"|\b(?:e\.g|i\.e|etc|vs|cf|al|Fig|Eq|Sec|Dr|Mr|Mrs|Prof|No|approx|resp)\.|\b(?:[A-Z]\.){2,}"
    r"|\d+(?:\.\d+)+",
    re.DOTALL | re.MULTILINE,
)
_END = re.compile(r"(?:[。！？；]|\.{3,}|…+|[.!?](?=[\s”’\"')\]）】]|$|[\u3400-\u9fff]))+[”’」』》）)\]】\"']*|\n+", re.MULTILINE)
_HEADING = re.compile(r"#{1,6}\s|[-|:\s*_=]+$|\*\*[^*]+\*\*[:：]?$|__[^_]+__[:：]?$")
_LIST_MARK = re.compile(r"\A\s*(?:[-*+•·●]|\(?\d{1,3}[.)、．]|（\d{1,3}）|[①-⑳])\s*(?=\D)")


@dataclass(frozen=True, slots=True)
class Span:
    """``text[start:end]`` of a sentence, without the blanks around it."""

    start: int
    end: int


def split(text: str) -> list[Span]:
    """The sentences of a text, in order.

    >>> text = "它占 3.5 GB 显存。为什么? 因为要缓存:\\n- K 和 V"
    >>> [text[s.start:s.end] for s in split(text)]
    ['它占 3.5 GB 显存。', '为什么?', '因为要缓存:', '- K 和 V']
    """
    spans = []
    start = at = 0
    whole = _WHOLE.search(text)
    while end := _END.search(text, at):
        while whole and whole.end() <= end.start():
            whole = _WHOLE.search(text, max(whole.end(), whole.start() + 1))
        if whole and whole.start() <= end.start():
            # This end lies inside something whole: go on behind it. A block that ends a line ends the sentence too.
            at = whole.end()
            continue
        spans.append((start, end.end()))
        start = at = end.end()
    spans.append((start, len(text)))
    return [span for begin, stop in spans if (span := _stripped(text, begin, stop))]


def _stripped(text: str, start: int, end: int) -> Span | None:
    body = text[start:end]
    left = len(body) - len(body.lstrip())
    body = body.strip()
    return Span(start + left, start + left + len(body)) if body else None


def without_marker(sentence: str) -> str:
    """A list item without its marker; «1. 预训练» says nothing about the number 1."""
    return _LIST_MARK.sub("", sentence, count=1)


def states_something(sentence: str) -> bool:
    """Whether a sentence can be checked: headings, ruled lines and lead-ins such as «区别如下：» state nothing."""
    body = sentence.strip()
    if _HEADING.match(body) or sum(c.isalnum() for c in body) < 2:
        return False
    return not (body.endswith((":", "：")) and len(body) <= 40) and not body.endswith(("?", "？"))


class SentenceStream:
    """Sentences of a text that arrives in pieces, each as soon as it is certain where it ends."""

    def __init__(self) -> None:
        self.text = ""
        self._done = 0

    def feed(self, piece: str) -> list[Span]:
        """The sentences that this piece completed. The last one waits until something stands behind it: «3.» may become «3.5»."""
        self.text += piece
        spans = [Span(s.start + self._done, s.end + self._done) for s in split(self.text[self._done :])]
        complete = spans[:-1]
        if complete:
            self._done = complete[-1].end
        return complete

    def finish(self) -> list[Span]:
        """What is left when the text has ended."""
        spans = [Span(s.start + self._done, s.end + self._done) for s in split(self.text[self._done :])]
        self._done = len(self.text)
        return spans
