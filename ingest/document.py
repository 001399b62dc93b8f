"""The values everything else is made of. This module imports nothing of ours.

Offsets count Unicode code points in the cleaned text of a document, so that for every passage
``document.text[passage.start:passage.end] == passage.text``.
"""

import hashlib
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass


def fold(text: str) -> str:
    """Fold a string for comparison: NFKC (full width to half width), lower case, single spaces.

    >>> fold("ＲｏＰＥ  位置")
    'rope 位置'
    """
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def content_hash(text: str) -> str:
    """SHA-256 of the text as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class RawText:
    """What a reader returns: the whole text, how it was encoded, and its format.

    Only the format «text» is plain; every other reader writes its structure as Markdown. ``metadata`` holds what the file says of
    itself (keys title, author, date, address). ``furniture`` are spans (start, end, reason) of what the
    file's own structure marks as no content (navigation of a page, running heads of a PDF): they stand in the text, so that a
    person can see and restore them. ``pages`` are the offsets at which pages or slides begin.
    """

    text: str
    encoding: str
    format: str
    metadata: tuple[tuple[str, str], ...] = ()
    furniture: tuple[tuple[int, int, str], ...] = ()
    pages: tuple[int, ...] = ()

    @property
    def markup(self) -> str:
        """«text» or «markdown»: how the text marks its structure."""
        return "text" if self.format == "text" else "markdown"


@dataclass(frozen=True, slots=True)
class Cut:
    """A span of the raw text that did not become part of the cleaned text, and why."""

    start: int
    end: int
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading line of the cleaned text; ``level`` counts from 1 (the title of the document)."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class Document:
    """One source file after cleaning.

    ``name`` is its key in the library: the path below the ingested folder, or the file name.
    ``source`` is the absolute path it was read from; ``raw_hash`` the SHA-256 of the file's bytes.
    ``pages`` holds the offset in ``text`` at which each page or slide begins, ascending; a format without them leaves it empty.
    """

    name: str
    source: str
    title: str
    text: str
    raw_hash: str
    format: str
    encoding: str
    cuts: tuple[Cut, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    pages: tuple[int, ...] = ()

    @property
    def markup(self) -> str:
        """How the text marks its structure: «text», or «markdown», which every reader of a richer format writes."""
        return "text" if self.format == "text" else "markdown"

    def page_at(self, offset: int) -> int:
        """The page (from 1) that holds an offset of the text; 0 when the format has no pages."""
        return bisect_right(self.pages, offset) if self.pages else 0


@dataclass(frozen=True, slots=True)
class Passage:
    """A contiguous span of a document's cleaned text. ``id`` is 0 until the library has stored it.

    ``headings`` is the path of headings above the passage, outermost first; ``line`` counts from 1, and so does ``page``, which is
    0 where the format has no pages.
    """

    document: str
    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    line: int = 1
    id: int = 0
    page: int = 0

    @property
    def embedding_text(self) -> str:
        """What is embedded: the two innermost headings, then the text (a passage alone often does not name its subject)."""
        head = [h for h in self.headings[-2:] if h not in self.text]
        return "\n".join([*head, self.text])


@dataclass(frozen=True, slots=True)
class QuestionAnswer:
    """A question that stands in a document and the span that answers it.

    A question without an answer in the text (an open question) has ``answer_start == answer_end`` and an empty ``answer``.
    """

    document: str
    question: str
    question_start: int
    question_end: int
    answer: str
    answer_start: int
    answer_end: int
    headings: tuple[str, ...] = ()
    id: int = 0

    @property
    def key(self) -> str:
        """A key that outlives re-ingestion and renaming: the hash of the folded question."""
        return content_hash(fold(self.question))[:16]


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """A document with everything found in its text, ready for the library.

    ``repeated`` are the folded lines that were cut because other documents have them too.
    """

    document: Document
    headings: tuple[Heading, ...]
    passages: tuple[Passage, ...]
    pairs: tuple[QuestionAnswer, ...]
    repeated: frozenset[str] = frozenset()
