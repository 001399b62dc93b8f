"""Slides (.pptx) -> Markdown: a slide's title is a heading, its notes are a paragraph «备注：…», its table a table.

python-pptx opens the package; shapes are read in the order a person would, from the top left to the bottom right.
"""

import io
from collections.abc import Iterator
from typing import Any

import pptx
from lxml import etree

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.blocks import Blocks, fenced, plain_paragraph, styled, table_rows
from ingest.readers.omml import latex
from ingest.readers.ooxml import A, M, check_package, chosen, core_metadata, damaged, local

_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_MONOSPACED = ("mono", "courier", "consolas", "menlo", "inconsolata")
_TITLES = ("title", "ctrTitle")
_FURNITURE = {"sldNum": "page_number", "ftr": "page_header", "dt": "page_header", "hdr": "page_header"}
_NOTES = "备注："  # marks what the speaker's notes say


def read_pptx(data: bytes) -> RawText:
    """A PowerPoint file, hidden slides included; ``pages`` are the offsets of its slides."""
    check_package(data, "PowerPoint")
    try:
        presentation = pptx.Presentation(io.BytesIO(data))
        blocks = Blocks()
        for slide in presentation.slides:
            _slide(slide, blocks)
        core = presentation.core_properties
        try:
            created = core.created
        except ValueError:
            created = None
        raw = blocks.result("pptx", core_metadata(core.title, core.author, created))
    except Exception as error:  # a damaged package makes python-pptx and lxml raise nearly anything
        raise damaged("PowerPoint", error) from None
    if not raw.text.strip():
        raise MianpuError("these slides hold no text: if they are pictures, recognise their text (OCR) first")
    return raw


def _slide(slide: Any, blocks: Blocks) -> None:
    blocks.page()
    placed = [_Shape(element, top, left) for element, top, left in _shapes(slide.shapes._spTree, 0, 0, 1.0, 1.0, slide)]
    titles = [shape for shape in placed if shape.kind in _TITLES]
    for shape in titles:
        title = " ".join(_text(shape.element).split())
        if title:
            blocks.add(f"# {title}" if shape.kind == "ctrTitle" or shape is titles[0] else plain_paragraph(title))
    for shape in _reading_order([shape for shape in placed if shape.kind not in _TITLES]):
        if shape.kind in _FURNITURE:
            blocks.add(_text(shape.element).strip(), reason=_FURNITURE[shape.kind])
        elif shape.table is not None:
            rows = [[_text(cell) for cell in row.findall(A + "tc")] for row in shape.table.findall(A + "tr")]
            blocks.add(table_rows(rows))
        else:
            _paragraphs(shape, blocks)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        body = slide.notes_slide.notes_text_frame._txBody
        notes = "\n".join(line for p in body.findall(A + "p") if (line := _paragraph(p).strip()))
        if notes:
            blocks.add(_NOTES + notes)


class _Shape:
    """A shape with text or a table: its element, its place in English metric units, its kind of placeholder."""

    def __init__(self, element: etree._Element, top: float, left: float) -> None:
        self.element, self.top, self.left = element, top, left
        place = element.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
        self.kind = place.get("type", "body") if place is not None else ""
        self.table = element.find(f"{A}graphic/{A}graphicData/{A}tbl")


_Placed = tuple[etree._Element, float, float]  # an element, its top, its left


def _shapes(tree: etree._Element, top: float, left: float, down: float, right: float, slide: Any) -> Iterator[_Placed]:
    """The shapes below a tree or group with their absolute places; a placeholder without one lies where its layout says."""
    for element in chosen(tree):
        name = local(element)
        if name == "grpSp":
            offset, inner = element.find(f"{_P}grpSpPr/{A}xfrm/{A}off"), element.find(f"{_P}grpSpPr/{A}xfrm/{A}chOff")
            extent, inside = element.find(f"{_P}grpSpPr/{A}xfrm/{A}ext"), element.find(f"{_P}grpSpPr/{A}xfrm/{A}chExt")
            sy = down * (_number(extent, "cy") / (_number(inside, "cy") or 1) if inside is not None else 1)
            sx = right * (_number(extent, "cx") / (_number(inside, "cx") or 1) if inside is not None else 1)
            y = top + down * _number(offset, "y") - sy * _number(inner, "y")
            x = left + right * _number(offset, "x") - sx * _number(inner, "x")
            yield from _shapes(element, y, x, sy, sx, slide)
        elif name in ("sp", "graphicFrame"):
            at = element.find(f"{_P}spPr/{A}xfrm/{A}off") if name == "sp" else element.find(f"{_P}xfrm/{A}off")
            if at is not None:
                yield element, top + down * _number(at, "y"), left + right * _number(at, "x")
            else:
                yield element, *_inherited(element, slide)


def _number(element: etree._Element | None, name: str) -> float:
    text = "0" if element is None else element.get(name, "0")
    try:
        return float(int(text))
    except ValueError:
        return 0.0


def _inherited(element: etree._Element, slide: Any) -> tuple[float, float]:
    """Where the layout of a slide puts a placeholder (top, left); the top left corner without one."""
    place = element.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    if place is None:
        return 0.0, 0.0
    for holder in slide.slide_layout.placeholders:
        if str(holder.placeholder_format.idx) == place.get("idx", "0"):
            return float(holder.top or 0), float(holder.left or 0)
    return 0.0, 0.0


def _reading_order(shapes: list[_Shape]) -> list[_Shape]:
    """From top to bottom; shapes whose tops differ by less than a quarter of an inch are a row, read from the left.

    Shapes on the same spot stay in the order of the file.
    """
    rows: list[list[_Shape]] = []
    for shape in sorted(shapes, key=lambda shape: shape.top):
        if rows and shape.top - rows[-1][0].top < 228_600:
            rows[-1].append(shape)
        else:
            rows.append([shape])
    return [shape for row in rows for shape in sorted(row, key=lambda shape: shape.left // 228_600)]


def _paragraphs(shape: _Shape, blocks: Blocks) -> None:
    body = shape.element.find(_P + "txBody")
    if body is None:
        return
    code: list[str] = []
    counts: dict[int, int] = {}
    for paragraph in body.findall(A + "p"):
        if _is_code(paragraph):
            code.append("".join(text for text, _ in _pieces(paragraph)))
            continue
        text = _paragraph(paragraph).strip()
        if code and not text:
            code.append("")
            continue
        _end_code(code, blocks)
        if not text:
            continue
        properties = paragraph.find(A + "pPr")
        level = min(int(_number(properties, "lvl")), 8)
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        numbered = None if properties is None else properties.find(A + "buAutoNum")
        if numbered is not None:
            counts[level] = counts.get(level, int(_number(numbered, "startAt") or 1) - 1) + 1
            blocks.add("    " * level + f"{counts[level]}. {text}", "item")
            continue
        counts.pop(level, None)
        if _bulleted(shape, properties, level):
            blocks.add("    " * level + "- " + text.replace("\n", "\n" + "    " * level + "  "), "item")
        else:
            blocks.add("\n".join(plain_paragraph(line) for line in text.split("\n")))
    _end_code(code, blocks)


def _bulleted(shape: _Shape, properties: etree._Element | None, level: int) -> bool:
    if properties is not None and properties.find(A + "buNone") is not None:
        return False
    own = properties is not None and (properties.find(A + "buChar") is not None or properties.find(A + "buBlip") is not None)
    return own or level > 0 or shape.kind in ("body", "obj")  # a body's paragraphs have bullets by the master


def _end_code(code: list[str], blocks: Blocks) -> None:
    text = "\n".join(line.rstrip() for line in code).strip("\n")
    code.clear()
    if text.strip():
        blocks.add(fenced(text))


def _is_code(paragraph: etree._Element) -> bool:
    runs = [run for run in paragraph.findall(A + "r") if (run.findtext(A + "t") or "").strip()]
    return bool(runs) and all(_monospaced(run) for run in runs)


def _monospaced(run: etree._Element) -> bool:
    font = run.find(f"{A}rPr/{A}latin")
    return font is not None and any(name in font.get("typeface", "").lower() for name in _MONOSPACED)


def _text(element: etree._Element) -> str:
    """All paragraphs of a shape or a cell, one a line."""
    return "\n".join(_paragraph(p) for p in element.iter(A + "p"))


def _paragraph(paragraph: etree._Element) -> str:
    return styled(_pieces(paragraph))


def _pieces(paragraph: etree._Element) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for child in chosen(paragraph):
        name = local(child)
        if name in ("r", "fld"):
            properties = child.find(A + "rPr")
            bold = properties is not None and properties.get("b") in ("1", "true")
            italic = properties is not None and properties.get("i") in ("1", "true")
            mark = "`" if _monospaced(child) else ("**" if bold else "") + ("*" if italic else "")
            out.append(((child.findtext(A + "t") or "").replace("\v", "\n"), mark))
        elif name == "br":
            out.append(("\n", ""))
        else:
            formulas = [child] if child.tag == M + "oMath" else list(child.iter(M + "oMath"))
            mark = "$$" if child.tag == M + "oMathPara" or child.find(M + "oMathPara") is not None else "$"
            out += [(f"{mark}{text}{mark}", "$") for text in map(latex, formulas) if text]
    return out
