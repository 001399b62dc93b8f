"""A file's bytes -> raw text: the reader for each kind of file.

A reader takes the bytes of a file and returns a :class:`RawText`; it stands in a module of its own below ``ingest/readers``.
"""

import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import cast

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.text import read_markdown, read_plain, read_text
from ingest.sources.archives import check_container, member_names
from ingest.sources.detection import HEAD, Detected, detect, is_zip

Reader = Callable[[bytes], RawText]

TEXT_READERS: dict[str, Reader] = {"text": read_text, "markdown": read_markdown, "plain": read_plain}
READERS = {
    "html": "html.read_html",
    "mhtml": "mhtml.read_mhtml",
    "pdf": "pdf.read_pdf",
    "docx": "docx.read_docx",
    "pptx": "pptx.read_pptx",
    "ipynb": "notebook.read_notebook",
    "epub": "epub.read_epub",
}
"""Module below ``ingest.readers`` and function for each kind that takes a library to read."""
MAX_LINES = 1_000_000
"""Lines of a document. Cleaning and splitting take about 0.1 ms and 2.5 kB for each: minutes and gigabytes for so many."""
_CONTAINERS = frozenset(("docx", "pptx", "epub"))


def reader_of(kind: str) -> Reader:
    """The reader of a kind. Its module is imported here: the libraries behind all of them take seconds and much memory to load,

    and a folder of Markdown needs none. Raises MianpuError when the library it needs is not there.
    """
    if kind in TEXT_READERS:
        return TEXT_READERS[kind]
    module, function = READERS[kind].split(".")
    try:
        return cast(Reader, getattr(importlib.import_module(f"ingest.readers.{module}"), function))
    except ImportError as error:
        raise MianpuError(f"what reads {kind} cannot be loaded ({error}): install Mianpu again") from None


def detect_data(data: bytes, name: str) -> Detected:
    """The kind of a file whose bytes are at hand; see ``detection.detect``. Raises MianpuError for a damaged archive."""
    head = data[:HEAD]
    return detect(head, name, member_names(io.BytesIO(data)) if is_zip(head) else ())


def parse(path: Path, data: bytes) -> RawText:
    """The raw text of a file whose bytes were read. Raises MianpuError when no reader takes it or the reader cannot read it."""
    try:
        found = detect_data(data, path.name)
        if found.kind == "zip":
            raise MianpuError("a zip archive where a document was expected: ingest again")
        if not found.kind:
            raise MianpuError(found.reason)
        if found.kind in _CONTAINERS:
            check_container(data)
        raw = _read(found.kind, data)
        if raw.text.count("\n") >= MAX_LINES:
            raise MianpuError(f"more than {MAX_LINES:,} lines: split it into smaller files")
        return raw
    except MianpuError as error:
        raise MianpuError(f"{path}: {error}") from None


def _read(kind: str, data: bytes) -> RawText:
    reader = reader_of(kind)
    try:
        return reader(data)
    except MianpuError:
        raise
    except Exception as error:  # a library's own failure on a file from anywhere must not end the ingest of all others
        words = " ".join(f"{type(error).__name__} {error}".split())[:120]
        raise MianpuError(f"cannot be read as {kind} ({words}): it may be damaged; save it again or in another format") from None
