"""Jupyter notebooks (nbformat 3 and 4): text as it stands, code fenced in the kernel's language, what it printed, no pictures.

The format is plain JSON, so Python's own module reads it.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.html import whole_page
from ingest.readers.html_tree import parse_html, tidy
from ingest.readers.html_writer import MarkdownWriter
from ingest.readers.text import decode

MAX_OUTPUT_LINES = 60
MAX_OUTPUT = 4000
"""Lines and characters of one output; of a longer one the beginning and the end are kept and a line says how much was left out."""

_NO_NOTEBOOK = "this is no Jupyter notebook: open it in Jupyter and save it again"
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
_OBJECT = re.compile(
    r"<[\w.]+(?: [^<>]*)?>|(?:HBox|VBox|Output|interactive|FloatProgress|IntProgress)\(.*\)|\[?<matplotlib\..*", re.S
)
_MAGIC = re.compile(r"%%(bash|sh|html|javascript|js|latex|sql|perl|ruby|R|markdown|svg)\b")
_LATEX_DELIMITED = re.compile(r"\s*(\$|\\begin|\\\[|\\\()")


def read_notebook(data: bytes) -> RawText:
    """An .ipynb file. Raises MianpuError when it is not one, or has no cell with text."""
    text, encoding = decode(data)
    try:
        notebook = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise MianpuError(_NO_NOTEBOOK) from None
    if not isinstance(notebook, dict) or not ("nbformat" in notebook or "cells" in notebook):
        raise MianpuError(_NO_NOTEBOOK)
    metadata = _dict(notebook.get("metadata"))
    language = str(
        _dict(metadata.get("kernelspec")).get("language") or _dict(metadata.get("language_info")).get("name") or "python"
    )
    writer = MarkdownWriter()
    for cell in _cells(notebook):
        _cell(writer, cell, _word(language))
    if not writer.text.strip():
        raise MianpuError("the notebook has no text and no code: there is nothing to ingest")
    authors = [str(_dict(author).get("name") or "") for author in _list(metadata.get("authors"))]
    pairs = (("title", str(metadata.get("title") or "")), ("author", ", ".join(filter(None, authors))))
    tidied = ((key, " ".join(tidy(value).split())) for key, value in pairs)
    return RawText(writer.text, encoding, "notebook", tuple((key, value) for key, value in tidied if value))


def _cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sheets = _list(notebook.get("worksheets")) or [notebook]  # version 3 has sheets of cells
    return (cell for sheet in sheets for cell in _list(_dict(sheet).get("cells")) if isinstance(cell, dict))


def _cell(writer: MarkdownWriter, cell: dict[str, Any], language: str) -> None:
    source = _text(cell.get("source", cell.get("input", "")))
    kind = cell.get("cell_type")
    if kind == "code":
        if source.strip():
            magic = _MAGIC.match(source)
            writer.code(
                source,
                {"sh": "bash", "js": "javascript"}.get(magic[1], magic[1].lower())
                if magic
                else _word(cell.get("language")) or language,
            )
        for output in _list(cell.get("outputs")):
            _output(writer, _dict(output))
    elif kind == "heading":
        level = cell.get("level")
        writer.raw(f"{'#' * (level if isinstance(level, int) and 1 <= level <= 6 else 1)} {' '.join(source.split())}")
    elif source.strip():
        writer.raw(source.strip("\n"))


def _output(writer: MarkdownWriter, output: dict[str, Any]) -> None:
    kind = output.get("output_type")
    if kind == "stream":
        _fenced(writer, _text(output.get("text")))
    elif kind in ("error", "pyerr"):
        _fenced(writer, f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}")
    else:
        found = _dict(output.get("data")) or {_MIMES.get(key, key): value for key, value in output.items()}
        if markdown := _text(found.get("text/markdown")).strip():
            writer.raw(_bounded(markdown))
        elif latex := _text(found.get("text/latex")).strip():
            writer.raw(_bounded(latex if _LATEX_DELIMITED.match(latex) else f"$${latex}$$"))
        elif (plain := _text(found.get("text/plain"))).strip() and not _OBJECT.fullmatch(plain.strip()):
            _fenced(writer, plain)
        elif (html := _text(found.get("text/html"))).strip():
            try:
                written = whole_page(parse_html(html)).strip("\n")
            except MianpuError:
                written = ""  # an output that no reader takes; its code stands above
            if written.strip():
                writer.raw(_bounded(written))


_MIMES = {"text": "text/plain", "html": "text/html", "latex": "text/latex", "markdown": "text/markdown"}


def _fenced(writer: MarkdownWriter, text: str) -> None:
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in _ANSI.sub("", text).split("\n")]  # a progress bar overwrites itself
    text = "\n".join(lines).strip("\n")
    if text.strip():
        writer.code(_bounded(text), "")


def _bounded(text: str) -> str:
    """A text that may be too long for a note: its beginning and its end."""
    lines = text.split("\n")
    if len(lines) <= MAX_OUTPUT_LINES and len(text) <= MAX_OUTPUT:
        return text
    if len(lines) > MAX_OUTPUT_LINES:
        head, tail = lines[: MAX_OUTPUT_LINES * 2 // 3], lines[-MAX_OUTPUT_LINES // 3 :]
        left = len(lines) - len(head) - len(tail)
        text = "\n".join([*head, f"… ({left} lines left out)", *tail])
    if len(text) > MAX_OUTPUT:
        head_end, tail_start = MAX_OUTPUT * 2 // 3, len(text) - MAX_OUTPUT // 3
        text = f"{text[:head_end]}\n… ({tail_start - head_end} characters left out)\n{text[tail_start:]}"
    return text


def _text(value: object) -> str:
    """A string, or the join of a list of strings, which is how notebooks store several lines."""
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _word(value: object) -> str:
    return value.lower() if isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w+#.-]{0,20}", value) else ""


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
