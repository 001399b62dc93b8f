import io
from datetime import datetime
from typing import Any

import pptx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from pptx.enum.shapes import MSO_SHAPE
from pptx.util import Inches

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.ooxml import A, M
from ingest.readers.pptx import read_pptx

P = "http://schemas.openxmlformats.org/presentationml/2006/main"


def saved(presentation: Any) -> bytes:
    buffer = io.BytesIO()
    presentation.save(buffer)
    return buffer.getvalue()


def read(presentation: Any) -> RawText:
    raw = read_pptx(saved(presentation))
    assert list(raw.pages) == sorted(raw.pages) and all(0 <= page <= len(raw.text) for page in raw.pages)
    assert raw.markup == "markdown"
    return raw


def bullets(slide: Any, title: str, *points: tuple[int, str]) -> None:
    slide.shapes.title.text = title
    body = slide.placeholders[1].text_frame
    for i, (level, text) in enumerate(points):
        paragraph = body.paragraphs[0] if i == 0 else body.add_paragraph()
        paragraph.text, paragraph.level = text, level


def box(slide: Any, left: float, top: float, text: str) -> Any:
    shape = slide.shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(0.5))
    shape.text_frame.text = text
    return shape


def test_titles_bullets_levels_and_pages() -> None:
    deck = pptx.Presentation()
    first = deck.slides.add_slide(deck.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = "面试笔记", "林小满"
    bullets(deck.slides.add_slide(deck.slide_layouts[1]), "注意力", (0, "外层"), (1, "里层"), (0, "又一点"))
    deck.slides.add_slide(deck.slide_layouts[6])  # nothing on it
    bullets(deck.slides.add_slide(deck.slide_layouts[1]), "缓存", (0, "键"))
    raw = read(deck)
    assert raw.text == "# 面试笔记\n\n林小满\n\n# 注意力\n\n- 外层\n    - 里层\n- 又一点\n\n# 缓存\n\n- 键"
    assert [raw.text[page : page + 4] for page in raw.pages] == ["# 面试", "# 注意", "# 缓存", "# 缓存"]


def test_shapes_are_read_from_the_top_left_whatever_their_order() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    for left, top, text in ((5, 3, "丁"), (1, 3, "丙"), (5, 1.1, "乙"), (1, 1, "甲")):
        box(slide, left, top, text)
    group = slide.shapes.add_group_shape([box(slide, 1, 2.2, "组右"), box(slide, 0.5, 2, "组左")])
    assert group is not None
    assert read(deck).text.split("\n\n") == ["甲", "乙", "组左", "组右", "丙", "丁"]


def test_a_moved_group_takes_its_shapes_along() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    group = slide.shapes.add_group_shape([box(slide, 1, 1, "组内")])
    box(slide, 1, 2, "组外")
    assert read(deck).text == "组内\n\n组外"
    group.top = Inches(5)
    assert read(deck).text == "组外\n\n组内"


def test_tables_notes_and_hidden_slides() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "比较"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for (row, column), text in {(0, 0): "方法", (0, 1): "大小", (1, 0): "MQA", (1, 1): "3|4"}.items():
        table.cell(row, column).text = text
    slide.notes_slide.notes_text_frame.text = "答：看显存。\n再看带宽。"
    slide.element.set("show", "0")
    assert read(deck).text == "# 比较\n\n| 方法 | 大小 |\n| --- | --- |\n| MQA | 3\\|4 |\n\n备注：答：看显存。\n再看带宽。"


def test_code_numbers_bold_and_shapes_with_text() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    code = box(slide, 1, 1, "def f():").text_frame
    code.add_paragraph().text = "    return 1"
    for paragraph in code.paragraphs:
        paragraph.runs[0].font.name = "Consolas"
    items = box(slide, 1, 3, "甲").text_frame
    items.add_paragraph().text = "乙"
    for paragraph in items.paragraphs:
        properties = paragraph._p.get_or_add_pPr()
        properties.append(etree.SubElement(properties, A + "buAutoNum", {"type": "arabicPeriod", "startAt": "3"}))
    shape = slide.shapes.add_shape(MSO_SHAPE.RECTANGLE, Inches(1), Inches(5), Inches(2), Inches(1))
    shape.text_frame.text = "框"
    shape.text_frame.paragraphs[0].runs[0].font.bold = True
    assert read(deck).text == "```\ndef f():\n    return 1\n```\n\n3. 甲\n4. 乙\n\n**框**"


def test_numbers_start_again_below_each_item() -> None:
    deck = pptx.Presentation()
    items = box(deck.slides.add_slide(deck.slide_layouts[6]), 1, 1, "甲").text_frame
    for level, text in ((1, "子"), (1, "丑"), (0, "乙"), (1, "寅")):
        paragraph = items.add_paragraph()
        paragraph.text, paragraph.level = text, level
    for paragraph in items.paragraphs:
        etree.SubElement(paragraph._p.get_or_add_pPr(), A + "buAutoNum", {"type": "arabicPeriod"})
    assert read(deck).text == "1. 甲\n    1. 子\n    2. 丑\n2. 乙\n    1. 寅"


def test_slide_numbers_and_footers_are_furniture() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "题"
    for kind, text in (("sldNum", "7"), ("ftr", "内部资料"), ("dt", "2024-05-03")):
        shape = box(slide, 1, 6, text)
        holder = shape._element.find(f"{{{P}}}nvSpPr/{{{P}}}nvPr")
        etree.SubElement(holder, f"{{{P}}}ph", {"type": kind})
    raw = read(deck)
    assert {(raw.text[a:b], reason) for a, b, reason in raw.furniture} == {
        ("7", "page_number"), ("内部资料", "page_header"), ("2024-05-03", "page_header"),
    }  # fmt: skip


def test_formulas() -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    paragraph = box(slide, 1, 1, "设 ").text_frame.paragraphs[0]._p
    wrapper = etree.SubElement(paragraph, "{http://schemas.microsoft.com/office/drawing/2010/main}m")
    run = etree.SubElement(etree.SubElement(wrapper, M + "oMath"), M + "r")
    etree.SubElement(run, M + "t").text = "α"
    assert read(deck).text == "设 $\\alpha$"


def test_metadata() -> None:
    deck = pptx.Presentation()
    box(deck.slides.add_slide(deck.slide_layouts[6]), 1, 1, "字")
    deck.core_properties.title, deck.core_properties.author = "PowerPoint Presentation", "林小满"
    deck.core_properties.created = datetime(2024, 5, 3)
    assert read(deck).metadata == (("author", "林小满"), ("date", "2024-05-03"))


def test_refusals() -> None:
    with pytest.raises(MianpuError, match=r"old Office version .*save it as \.pptx"):
        read_pptx(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    with pytest.raises(MianpuError, match="these slides hold no text"):
        read_pptx(saved(pptx.Presentation()))
    with pytest.raises(MianpuError, match="damaged"):
        read_pptx(saved(pptx.Presentation())[:5000])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30_000), st.binary(min_size=1, max_size=20), st.booleans())
def test_any_bytes_give_a_text_or_one_clear_line(at: int, junk: bytes, inside: bool) -> None:
    deck = pptx.Presentation()
    box(deck.slides.add_slide(deck.slide_layouts[6]), 1, 1, "字")
    data = saved(deck)
    try:
        read_pptx(data[:at] + junk + data[at + len(junk) :] if inside else junk)
    except MianpuError as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(0, 9), st.floats(0, 6)), min_size=1, max_size=8))
def test_every_box_is_read_once(places: list[tuple[float, float]]) -> None:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    for i, (left, top) in enumerate(places):
        box(slide, left, top, f"w{i}x")
    assert sorted(read(deck).text.split("\n\n")) == sorted(f"w{i}x" for i in range(len(places)))
