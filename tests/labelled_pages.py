"""Pages written as web copies are, with labels in the text: what is furniture, what is a question, what is its answer.

A file holds pages that begin with ``=== name format``. A line that begins with «~ » is furniture; ⟪…⟫ is a question and the ⟦…⟧
behind it is its answer. None of these marks is part of the page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.cleaning.clean import clean
from ingest.document import Document
from ingest.structure.splitting import split

PAGES = Path(__file__).parent / "pages"


@dataclass(frozen=True, slots=True)
class Page:
    """A raw text with the spans of its furniture and its (question, answer) pairs; an open question has the answer ''."""

    name: str
    format: str
    text: str
    furniture: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[str, str], ...]


def pages(file: str) -> list[Page]:
    """The pages of one file."""
    found: list[tuple[str, str, list[str]]] = []
    for line in (PAGES / file).read_text("utf-8").splitlines():
        if line.startswith("=== "):
            name, format = line[4:].split()
            found.append((name, format, []))
        else:
            found[-1][2].append(line)
    return [_page(name, format, lines) for name, format, lines in found]


def _page(name: str, format: str, lines: list[str]) -> Page:
    kept: list[str] = []
    furniture: list[tuple[int, int]] = []
    position = 0
    for line in lines:
        marked = line.startswith("~")
        content = line[2:] if marked else line
        bare = content.translate(str.maketrans("", "", "⟪⟫⟦⟧"))
        if marked:
            furniture.append((position, position + len(bare)))
        kept.append(content)
        position += len(bare) + 1
    text = "\n".join(kept).rstrip()
    pairs = tuple(_pairs(text))
    return Page(name, format, text.translate(str.maketrans("", "", "⟪⟫⟦⟧")), tuple(furniture), pairs)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split("⟪")[1:]:
        question, rest = part.split("⟫", 1)
        yield question, rest.split("⟦", 1)[1].split("⟧", 1)[0] if "⟦" in rest else ""


def cleaning_counts(page: Page) -> tuple[int, int, int, int]:
    """Characters (white space apart): furniture that was cut, furniture, real text that was cut, real text."""
    marked = {i for start, end in page.furniture for i in range(start, end)}
    cut = {i for c in clean(page.text, page.format).cuts for i in range(c.start, c.end)}
    solid = [i for i, char in enumerate(page.text) if not char.isspace()]
    furniture = [i for i in solid if i in marked]
    real = [i for i in solid if i not in marked]
    return sum(i in cut for i in furniture), len(furniture), sum(i in cut for i in real), len(real)


def wrong_lines(page: Page) -> list[str]:
    """Lines that were cut though real («-») or kept though furniture («+»), for a person to read."""
    marked = {i for start, end in page.furniture for i in range(start, end)}
    cut = {i for c in clean(page.text, page.format).cuts for i in range(c.start, c.end)}
    found, position = [], 0
    for line in page.text.split("\n"):
        solid = [position + i for i, char in enumerate(line) if not char.isspace()]
        lost = [i for i in solid if i in cut and i not in marked]
        kept = [i for i in solid if i not in cut and i in marked]
        found += [f"- {line}"] if lost else [f"+ {line}"] if kept else []
        position += len(line) + 1
    return found


def found_pairs(page: Page) -> list[tuple[str, str]]:
    """The pairs that cleaning and splitting find."""
    cleaned = clean(page.text, page.format)
    document = Document(page.name, f"/{page.name}", page.name, cleaned.text, "0", page.format, "utf-8")
    return [(pair.question, pair.answer) for pair in split(document).pairs]
