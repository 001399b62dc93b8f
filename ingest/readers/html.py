"""Saved web pages: the article whole and once, as Markdown; the page around it marked as furniture.

What scripts, styles and hidden elements hold is dropped. Links are written as their text alone: an address in the middle of a
sentence helps nobody who learns from it. Pictures are written as ``![alternative text]`` when that says something.
"""

import codecs
import re

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.html_content import select_content
from ingest.readers.html_markdown import to_markdown
from ingest.readers.html_metadata import metadata_of, page_name, survey
from ingest.readers.html_tree import Tree, parse_html
from ingest.readers.text import decode

_DECLARED = re.compile(rb"""<meta\b[^>]{0,200}?charset\s*=\s*["']?\s*([\w:.-]{2,30})""", re.I)
_DECLARED_XML = re.compile(rb"""^\s*<\?xml\b[^>]{0,100}?encoding\s*=\s*["']([\w:.-]{2,30})""", re.I)
_DECLARED_WITHIN = 16_384  # bytes; browsers look at 1,024, but pages saved by extensions begin with long comments
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "hz": "gb18030", "iso8859-1": "cp1252", "ascii": "cp1252", "big5": "big5hkscs"}
_NAMES = {"cp1252": "windows-1252", "big5hkscs": "big5"}
_LEAST = 30
"""Characters of text below which a page that has scripts is taken for one that they draw."""


def read_html(data: bytes) -> RawText:
    """A .html or .htm file. Raises MianpuError for a page without text, nested or marked up beyond reason, or not text at all."""
    text, encoding = decode_html(data)
    return read_page(parse_html(text), encoding)


def read_page(tree: Tree, encoding: str, address: str = "") -> RawText:
    """The content of a parsed page. ``address`` is where the file that holds it says that it came from."""
    body_text = tree.root.length
    facts = survey(tree)
    selection = select_content(tree.root, page_name(facts))
    written = to_markdown(tree, selection.reasons, selection.hidden)
    if not written.content:  # everything was taken for furniture: then nothing is
        written = to_markdown(tree, {}, selection.hidden)
    text = written.text
    scripts = any(not script.get("type").startswith("math/") for script in tree.scripts)
    if scripts and body_text < _LEAST and len(text.strip()) < _LEAST:
        raise MianpuError(
            "the page holds no text, a script draws it: open it in a browser, wait until it is shown, and save it again"
        )
    if not text.strip():
        raise MianpuError("the page holds no text: there is nothing to ingest")
    return RawText(text, encoding, "html", metadata_of(facts, selection.title, address), tuple(written.furniture))


def whole_page(tree: Tree) -> str:
    """Everything that a parsed page or fragment shows, as Markdown, without choosing."""
    return to_markdown(tree, {}, frozenset(id(e) for e in tree.root.elements() if e.is_hidden)).text


def decode_html(data: bytes, declared: str = "") -> tuple[str, str]:
    """Bytes of a page -> (text, name of the encoding).

    In this order: a byte order mark; UTF-8 if the bytes are that, whatever the page says; the encoding that ``declared`` (of a
    mail part) or the page names, GB 2312 read as its superset GB18030; else what :func:`ingest.readers.text.decode` finds.
    """
    for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if data.startswith(mark):
            return decode(data)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        return decode(data)
    head = data[:_DECLARED_WITHIN]
    names = [declared, *(match[1].decode("ascii") for pattern in (_DECLARED_XML, _DECLARED) if (match := pattern.search(head)))]
    for name in filter(None, names):
        try:
            codec = codecs.lookup(name).name
            codec = _WIDER.get(codec, codec)
            text = data.decode(codec, "replace")
        except (LookupError, UnicodeError, ValueError):
            continue  # no such encoding, or none of text
        if text.count("\ufffd") * 200 <= sum(1 for byte in data if byte >= 0x80):
            return decode(text.encode("utf-8", "replace"))[0], _NAMES.get(codec, codec)
    return decode(data)
