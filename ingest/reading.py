"""A file's bytes -> raw text: the reader for each kind of file.

A reader takes the bytes of a file and returns a :class:`RawText`; it stands in a module of its own below ``ingest/readers``.
"""

from collections.abc import Callable
from pathlib import Path

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.text import read_markdown, read_text

READERS: dict[str, Callable[[bytes], RawText]] = {
    ".txt": read_text,
    ".text": read_text,
    ".md": read_markdown,
    ".markdown": read_markdown,
}
SUFFIXES = frozenset(READERS)


def parse(path: Path, data: bytes) -> RawText:
    """The raw text of a file whose bytes were read. Raises MianpuError when no reader takes it or it is not text."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise MianpuError(f"{path}: no reader for {path.suffix or 'files without a suffix'} (known: {known})")
    try:
        return reader(data)
    except MianpuError as error:
        raise MianpuError(f"{path}: {error}") from None
