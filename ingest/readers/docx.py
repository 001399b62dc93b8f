"""Word files (.docx) -> Markdown.

python-docx opens the package, resolves its parts and reads its properties. The body is walked here, element by element, because
neither its paragraphs nor mammoth's HTML carry formulas, text boxes, the numbers of lists and both kinds of tracked changes:
insertions are read, deletions are not; hidden text, comments and headers and footers are left out.
"""

import io
import re
from collections.abc import Iterator

import docx
from docx.document import Document
from lxml import etree

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.blocks import Blocks, fenced, plain_paragraph, styled, table_rows
from ingest.readers.numbering import Numbering
from ingest.readers.omml import latex
from ingest.readers.ooxml import M, W, check_package, chosen, core_metadata, damaged, local

_HEADING_NAME = re.compile(r"^(?:heading|标题|標題|überschrift|titre|título|見出し) ?([1-9])$", re.I)
_TITLE_NAME = re.compile(r"^(?:title|标题|標題|文档标题|文章标题)$", re.I)
_CONTENTS_NAME = re.compile(r"^(?:toc ?[1-9]|toc heading|目录 ?[1-9]|目錄 ?[1-9])$", re.I)
_CODE_NAME = re.compile(
    r"(?:source ?code|code ?block|^code$|html preformatted|html 预设格式|preformatted|plain ?code|代码|程式碼)", re.I
)
_MONOSPACED = re.compile(r"mono|courier|consolas|menlo|\bcode\b|inconsolata|typewriter|fixedsys|等距|等宽", re.I)
_SKIPPED_NAMES = """
del moveFrom instrText delText delInstrText rPr pPr sdtPr sdtEndPr commentReference annotationRef footnoteRef endnoteRef proofErr
bookmarkStart bookmarkEnd
"""
_SKIPPED = frozenset(_SKIPPED_NAMES.split())
_WRAPPERS = frozenset(("ins", "moveTo", "sdt", "sdtContent", "customXml", "smartTag", "hyperlink", "fldSimple", "dir", "bdo"))


def read_docx(data: bytes) -> RawText:
    """A Word file of at most ``MEMBER_LIMIT`` and ``PACKAGE_LIMIT`` unpacked bytes. Its «Title» is a heading of level 1."""
    check_package(data, "Word")
    try:
        document = docx.Document(io.BytesIO(data))
        raw = _Reader(document).read()
    except MianpuError:
        raise
    except Exception as error:  # a damaged package makes python-docx and lxml raise nearly anything
        raise damaged("Word", error) from None
    if not raw.text.strip():
        raise MianpuError("this Word file holds no text: if it is made of pictures, recognise their text (OCR) first")
    return raw


class _Styles:
    """What the styles of a document say, each looked up through the styles it is based on."""

    def __init__(self, root: etree._Element) -> None:
        self._styles = {style.get(W + "styleId", ""): style for style in root.findall(W + "style")}
        paragraphs = [(key, style) for key, style in self._styles.items() if style.get(W + "type") == "paragraph"]
        self.default = next((key for key, style in paragraphs if style.get(W + "default") in ("1", "true")), "")
        defaults = root.find(f"{W}docDefaults/{W}rPrDefault/{W}rPr")
        base = self.find(self.default, "rPr/rFonts")
        fonts = base if base is not None else defaults.find(W + "rFonts") if defaults is not None else None
        self.all_monospaced = fonts is not None and bool(_MONOSPACED.search(fonts.get(W + "ascii", "")))

    def chain(self, key: str) -> Iterator[etree._Element]:
        seen: set[str] = set()
        while key in self._styles and key not in seen:
            seen.add(key)
            yield self._styles[key]
            based = self._styles[key].find(W + "basedOn")
            key = "" if based is None else based.get(W + "val", "")

    def names(self, key: str) -> list[str]:
        found = (style.find(W + "name") for style in self.chain(key))
        return [name.get(W + "val", "") for name in found if name is not None]

    def find(self, key: str, path: str) -> etree._Element | None:
        steps = "/".join(W + step for step in path.split("/"))
        return next((found for style in self.chain(key) if (found := style.find(steps)) is not None), None)


class _Reader:
    """One pass over the body of a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.styles = _Styles(document.styles.element)
        parts = {rel.reltype.rpartition("/")[2]: rel.target_part for rel in document.part.rels.values() if not rel.is_external}
        roots = {name: _root(parts[name].blob) for name in ("numbering", "footnotes", "endnotes") if name in parts}
        self.numbering = Numbering(roots.get("numbering"))
        notes = [note for kind in ("footnotes", "endnotes") for note in roots.get(kind, ())]
        self.notes = {(local(note), note.get(W + "id", "")): note for note in notes}
        self.cited: list[tuple[str, str]] = []
        self.blocks = Blocks()
        self.code: list[str] = []
        self.boxes: list[etree._Element] = []

    def read(self) -> RawText:
        self._block_list(self.document.element.body)
        self._end_code()
        at = 0
        while at < len(self.cited):  # a note may cite another one
            note = self.notes.get(self.cited[at])
            text = " ".join(filter(None, (self._inline(p).strip() for p in note.iter(W + "p")))) if note is not None else ""
            if text:
                self.blocks.add(f"[^{at + 1}]: {text}")
            at += 1
        core = self.document.core_properties
        try:
            created = core.created
        except ValueError:
            created = None
        return self.blocks.result("docx", core_metadata(core.title, core.author, created))

    # --- blocks ---

    def _block_list(self, parent: etree._Element) -> None:
        for child in chosen(parent):
            name = local(child)
            if name == "p":
                self._paragraph(child)
            elif name == "tbl":
                self._end_code()
                self._table(child)
            elif name in _WRAPPERS:
                self._block_list(child)
            elif name == "oMathPara":
                self._formulas(child)

    def _paragraph(self, paragraph: etree._Element) -> None:
        properties = paragraph.find(W + "pPr")
        style = self.styles.default
        if properties is not None and (found := properties.find(W + "pStyle")) is not None:
            style = found.get(W + "val", style)
        names = self.styles.names(style)
        outline = _first(properties, "outlineLvl")
        outline = self.styles.find(style, "pPr/outlineLvl") if outline is None else outline
        level = _heading_level(names, outline)
        self.boxes = []
        if not level and self._is_code(paragraph, names):
            self.code += self._inline(paragraph, code=True).split("\n")
            self._boxes()
            return
        text = self._inline(paragraph, heading=bool(level)).strip()
        if not text and self.code:
            self.code.append("")
        else:
            self._end_code()
            label, indent = self._label(properties, style) if text else (None, 0)
            self._write(text, level, label, indent, names)
        self._boxes()

    def _write(self, text: str, level: int, label: str | None, indent: int, names: list[str]) -> None:
        if not text:
            return
        if any(_CONTENTS_NAME.match(name) for name in names):
            self.blocks.add(text.replace("\n", " "), "item", "contents")
        elif level:
            self.blocks.add(f"{'#' * level} {label + ' ' if label and label != '-' else ''}{' '.join(text.split())}")
        elif label is not None:
            lead = "    " * indent
            body = text.replace("\n", "\n" + lead + "    ")
            self.blocks.add(f"{lead}{label} {body}" if label else f"{lead}    {body}", "item")
        else:
            self.blocks.add("\n".join(plain_paragraph(line) for line in text.split("\n")))

    def _label(self, properties: etree._Element | None, style: str) -> tuple[str | None, int]:
        own = _first(properties, "numPr")
        base = self.styles.find(style, "pPr/numPr")
        number, level = _first(own, "numId"), _first(own, "ilvl")
        number = _first(base, "numId") if number is None else number
        level = _first(base, "ilvl") if level is None else level
        if number is None or number.get(W + "val") == "0":
            return None, 0
        value = level.get(W + "val", "0") if level is not None else "0"
        indent = int(value) if value.isascii() and value.isdigit() and len(value) < 3 else 0
        return self.numbering.label(number.get(W + "val", ""), indent), indent

    def _is_code(self, paragraph: etree._Element, names: list[str]) -> bool:
        if any(_CODE_NAME.search(name) for name in names):
            return True
        texts = [(run, "".join(t.text or "" for t in run.findall(W + "t"))) for run in paragraph.iter(W + "r")]
        filled = [(run, text) for run, text in texts if text.strip()]
        return bool(filled) and all(self._monospaced(run) for run, _ in filled)

    def _monospaced(self, run: etree._Element) -> bool:
        if self.styles.all_monospaced:
            return False
        properties = run.find(W + "rPr")
        fonts, style = _first(properties, "rFonts"), _first(properties, "rStyle")
        if fonts is None and style is not None:
            fonts = self.styles.find(style.get(W + "val", ""), "rPr/rFonts")
        return fonts is not None and bool(_MONOSPACED.search(fonts.get(W + "ascii", "")))

    def _end_code(self) -> None:
        code = "\n".join(line.rstrip() for line in self.code).strip("\n")
        self.code = []
        if code.strip():
            self.blocks.add(fenced(code))

    def _boxes(self) -> None:
        for box in self.boxes[:]:
            self._block_list(box)
        self.boxes = []

    def _formulas(self, group: etree._Element) -> None:
        self._end_code()
        for formula in group.findall(M + "oMath"):
            self.blocks.add(f"$${latex(formula)}$$")

    def _table(self, table: etree._Element) -> None:
        rows = [list(_cells(row)) for row in _rows(table)]
        if all(len(row) <= 1 for row in rows):  # a frame around text, as code often stands in one
            for row in rows:
                for cell, _ in row:
                    self._block_list(cell)
                    self._end_code()
            return
        kept: list[list[str]] = []
        for row in rows:
            texts: list[str] = []
            for cell, span in row:
                merge = cell.find(f"{W}tcPr/{W}vMerge")
                goes_on = merge is not None and merge.get(W + "val", "continue") == "continue"
                texts += ["" if goes_on else self._cell(cell)] + [""] * (span - 1)
            kept.append(texts)
        self.blocks.add(table_rows(kept))
        self._boxes()

    def _cell(self, cell: etree._Element) -> str:
        boxes, self.boxes = self.boxes, []
        parts: list[str] = []
        for paragraph in cell.iter(W + "p"):
            if any(local(a) == "txbxContent" for a in paragraph.iterancestors()):
                continue
            text = self._inline(paragraph).strip()
            properties = paragraph.find(W + "pPr")
            style = _first(properties, "pStyle")
            label, _ = self._label(properties, style.get(W + "val", "") if style is not None else "") if text else (None, 0)
            parts.append(f"{label} {text}" if label else text)
        self.boxes = boxes + self.boxes
        return " ".join(filter(None, parts))

    # --- inside a paragraph ---

    def _inline(self, paragraph: etree._Element, *, heading: bool = False, code: bool = False) -> str:
        pieces: list[tuple[str, str]] = []
        self._pieces(paragraph, pieces)
        if code or heading:
            return "".join(text for text, _ in pieces)
        return styled(pieces)

    def _pieces(self, parent: etree._Element, out: list[tuple[str, str]]) -> None:
        for child in chosen(parent):
            name = local(child)
            if child.tag.startswith(M):
                formulas = child.findall(M + "oMath") if name == "oMathPara" else [child]
                mark = "$$" if name == "oMathPara" else "$"
                out += [(f"{mark}{text}{mark}", "$") for text in map(latex, formulas) if text]
            elif name == "r":
                self._run(child, out)
            elif name not in _SKIPPED:
                self._pieces(child, out)

    def _run(self, run: etree._Element, out: list[tuple[str, str]]) -> None:
        properties = run.find(W + "rPr")
        if _set(properties, "vanish"):
            return
        bold, italic = _set(properties, "b"), _set(properties, "i")
        mark = "`" if self._monospaced(run) else ("**" if bold else "") + ("*" if italic else "")
        for child in chosen(run):
            name = local(child)
            if name == "t":
                out.append((child.text or "", mark))
            elif name == "tab":
                out.append(("\t", mark))
            elif name in ("br", "cr") and child.get(W + "type", "textWrapping") == "textWrapping":
                out.append(("\n", mark))
            elif name == "noBreakHyphen":
                out.append(("-", mark))
            elif name in ("footnoteReference", "endnoteReference"):
                self._cite(name.removesuffix("Reference"), child.get(W + "id", ""), out)
            elif name in ("drawing", "pict", "object"):
                self.boxes += [box for box in child.iter(W + "txbxContent") if not _inside_fallback(box, child)]
            elif child.tag.startswith(M):
                out.append((f"${latex(child)}$", "$"))

    def _cite(self, kind: str, key: str, out: list[tuple[str, str]]) -> None:
        if (kind, key) in self.notes:
            if (kind, key) not in self.cited:
                self.cited.append((kind, key))
            out.append((f"[^{self.cited.index((kind, key)) + 1}]", ""))


def _root(blob: bytes) -> etree._Element:
    return etree.fromstring(blob, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def _first(parent: etree._Element | None, name: str) -> etree._Element | None:
    return None if parent is None else parent.find(W + name)


def _set(properties: etree._Element | None, name: str) -> bool:
    found = _first(properties, name)
    return found is not None and found.get(W + "val", "1") not in ("0", "false", "off", "none")


def _heading_level(names: list[str], outline: etree._Element | None) -> int:
    """1 to 6, or 0 for body text. The outline level decides; names are for styles that lost theirs."""
    value = outline.get(W + "val", "") if outline is not None else ""
    if value in tuple("012345678"):
        return min(int(value) + 1, 6)
    if value == "9":
        return 0
    for name in names:
        if found := _HEADING_NAME.match(name.strip()):
            return min(int(found[1]), 6)
        if _TITLE_NAME.match(name.strip()):
            return 1
    return 0


def _rows(table: etree._Element) -> Iterator[etree._Element]:
    for child in chosen(table):
        if local(child) == "tr":
            if child.find(f"{W}trPr/{W}del") is None:
                yield child
        elif local(child) in _WRAPPERS:
            yield from _rows(child)


def _cells(row: etree._Element) -> Iterator[tuple[etree._Element, int]]:
    """The cells of a row, each with the number of columns it spans."""
    for child in chosen(row):
        if local(child) == "tc":
            span = child.find(f"{W}tcPr/{W}gridSpan")
            value = span.get(W + "val", "1") if span is not None else "1"
            yield child, min(int(value), 63) if value.isascii() and value.isdigit() else 1
        elif local(child) in _WRAPPERS:
            yield from _cells(child)


def _inside_fallback(box: etree._Element, drawing: etree._Element) -> bool:
    """Whether a text box stands inside another one or in the second of two alternative contents below ``drawing``."""
    for above in box.iterancestors():
        if above is drawing:
            return False
        if local(above) in ("txbxContent", "Fallback"):
            return True
    return False
