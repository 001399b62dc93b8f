import io
import zipfile
from datetime import datetime

import docx
import pytest
from docx.document import Document
from docx.enum.style import WD_STYLE_TYPE
from docx.oxml import parse_xml
from docx.shared import Pt
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers import ooxml
from ingest.readers.blocks import fenced, styled, table_rows
from ingest.readers.docx import read_docx
from ingest.readers.numbering import numeral
from ingest.readers.omml import latex
from ingest.readers.ooxml import M, W

NAMESPACES = f'xmlns:w="{W[1:-1]}" xmlns:m="{M[1:-1]}" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'


def saved(document: Document) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def read(*paragraphs: str, document: Document | None = None) -> RawText:
    """Read a document with these paragraphs, given as WordprocessingML."""
    document = document or docx.Document()
    for xml in paragraphs:
        document.element.body.insert_element_before(parse_xml(xml.replace(">", f" {NAMESPACES}>", 1)), "w:sectPr")
    raw = read_docx(saved(document))
    assert raw.format == "docx" and raw.markup == "markdown"
    return raw


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


def test_headings_by_style_by_localised_name_and_by_outline_level() -> None:
    document = docx.Document()
    document.add_heading("题目", 0)
    document.add_heading("第一章", 1)
    document.add_heading("小节", 3)
    style = document.styles.add_style("标题 2", WD_STYLE_TYPE.PARAGRAPH)
    document.add_paragraph("本地样式", style)
    derived = document.styles.add_style("我的标题", WD_STYLE_TYPE.PARAGRAPH)
    derived.base_style = document.styles["Heading 4"]
    document.add_paragraph("继承", derived)
    raw = read('<w:p><w:pPr><w:outlineLvl w:val="1"/></w:pPr><w:r><w:t>大纲级别</w:t></w:r></w:p>', document=document)
    assert raw.text.split("\n\n") == ["# 题目", "# 第一章", "### 小节", "## 本地样式", "#### 继承", "## 大纲级别"]


def test_bold_italic_links_code_words_and_line_breaks() -> None:
    link = f"<w:hyperlink>{run('链接文字')}</w:hyperlink>"
    code = run("x = 1", '<w:rFonts w:ascii="Consolas"/>')
    parts = (
        run("前"),
        run("重", "<w:b/>"),
        run("点", "<w:b/>"),
        run("斜", "<w:i/>"),
        link,
        code,
        "<w:r><w:br/></w:r>",
        run("下一行"),
    )
    assert read(f"<w:p>{''.join(parts)}</w:p>").text == "前**重点***斜*链接文字`x = 1`\n下一行"


def test_tracked_changes_hidden_text_and_field_codes() -> None:
    field = (
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>HYPERLINK "x"</w:instrText></w:r>'
        '<w:r><w:fldChar w:fldCharType="separate"/></w:r>' + run("结果") + '<w:r><w:fldChar w:fldCharType="end"/></w:r>'
    )
    raw = read(
        f"<w:p>{run('留')}<w:ins>{run('加')}</w:ins><w:del><w:r><w:delText>删</w:delText></w:r></w:del>"
        f"<w:moveFrom>{run('旧处')}</w:moveFrom><w:moveTo>{run('新处')}</w:moveTo>{run('密', '<w:vanish/>')}{field}</w:p>"
    )
    assert raw.text == "留加新处结果"


def test_deleted_text_is_left_out_however_it_is_marked_and_wrapped_blocks_are_read() -> None:
    raw = read(
        f"<w:p>{run('甲')}<w:del>{run('删')}</w:del></w:p>",
        f"<w:sdt><w:sdtContent><w:p>{run('控件内')}</w:p></w:sdtContent></w:sdt>",
        f"<w:p>{run('乙')}</w:p>",
    )
    assert raw.text == "甲\n\n控件内\n\n乙"


def test_a_text_box_with_alternatives_inside_its_drawing() -> None:
    box = f"<w:txbxContent><w:p>{run('框中文字')}</w:p></w:txbxContent>"
    inside = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    assert read(f"<w:p>{run('正文')}<w:r><w:drawing>{inside}</w:drawing></w:r></w:p>").text == "正文\n\n框中文字"


def test_a_text_box_is_read_once() -> None:
    box = f"<w:txbxContent><w:p>{run('框中文字')}</w:p></w:txbxContent>"
    alternatives = (
        f"<mc:AlternateContent><mc:Choice><w:drawing>{box}</w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback></mc:AlternateContent>"
    )
    assert (
        read(f"<w:p>{run('正文')}<w:r>{alternatives}</w:r></w:p>", f"<w:p>{run('后文')}</w:p>").text == "正文\n\n框中文字\n\n后文"
    )


def test_tables_with_merged_cells_and_a_frame_of_one_cell() -> None:
    document = docx.Document()
    table = document.add_table(3, 3)
    for i, cell in enumerate(cell for row in table.rows for cell in row.cells):
        cell.text = f"c{i}"
    table.cell(0, 0).merge(table.cell(0, 1)).text = "宽|格"
    table.cell(1, 2).merge(table.cell(2, 2)).text = "高格"
    document.add_table(1, 1).cell(0, 0).text = "框里的话"
    assert read(document=document).text == (
        "| 宽\\|格 |  | c2 |\n| --- | --- | --- |\n| c3 | c4 | 高格 |\n| c6 | c7 |  |\n\n框里的话"
    )


def test_code_by_style_and_by_font() -> None:
    document = docx.Document()
    style = document.styles.add_style("Source Code", WD_STYLE_TYPE.PARAGRAPH)
    for line in ("def f():", "    return 1", "", "f()"):
        document.add_paragraph(line, style)
    document.add_paragraph("正文")
    for line in ("for i in x:", "    print(i)"):
        document.add_paragraph().add_run(line).font.name = "Courier New"
    assert read(document=document).text == "```\ndef f():\n    return 1\n\nf()\n```\n\n正文\n\n```\nfor i in x:\n    print(i)\n```"


def test_a_document_set_in_one_monospaced_font_is_no_code() -> None:
    document = docx.Document()
    document.styles["Normal"].font.name = "Courier New"
    document.add_paragraph().add_run("一段话").font.name = "Courier New"
    assert read(document=document).text == "一段话"


LEVELS = """<w:abstractNum w:abstractNumId="90"><w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/></w:lvl>
<w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="lowerLetter"/><w:lvlText w:val="%1.%2)"/></w:lvl>
<w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="o"/></w:lvl></w:abstractNum>"""
NUMBERS = """<w:num w:numId="91"><w:abstractNumId w:val="90"/></w:num><w:num w:numId="92"><w:abstractNumId w:val="90"/>
<w:lvlOverride w:ilvl="0"><w:startOverride w:val="{start}"/></w:lvlOverride></w:num>"""


def numbered(kind: str, text: str, start: int, items: list[tuple[int, int, str]]) -> str:
    document = docx.Document()
    root = document.part.numbering_part.element
    xml = f"<w:numbering {NAMESPACES}>{LEVELS.format(kind=kind, text=text)}{NUMBERS.format(start=start)}</w:numbering>"
    for child in parse_xml(xml):
        root.append(child)
    paragraphs = [
        f'<w:p><w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="{number}"/></w:numPr></w:pPr>{run(words)}</w:p>'
        for number, level, words in items
    ]
    return read(*paragraphs, document=document).text


def test_lists_have_the_numbers_that_word_shows() -> None:
    items = [
        (91, 0, "甲"),
        (91, 1, "子"),
        (91, 1, "丑"),
        (91, 2, "点"),
        (91, 0, "乙"),
        (91, 1, "寅"),
        (92, 0, "另起"),
        (92, 0, "再来"),
    ]
    assert numbered("decimal", "%1.", 5, items) == (
        "1. 甲\n    1.a) 子\n    1.b) 丑\n        - 点\n2. 乙\n    2.a) 寅\n5. 另起\n6. 再来"
    )
    assert (
        numbered("chineseCountingThousand", "%1、", 1, [(91, 0, "甲"), (91, 0, "乙"), (92, 0, "丙")]) == "一、 甲\n二、 乙\n一、 丙"
    )


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (1, "decimal", "1"), (10, "chineseCounting", "十"), (11, "chineseCounting", "十一"), (20, "chineseCounting", "二十"),
        (105, "chineseCounting", "一百〇五"), (1990, "upperRoman", "MCMXC"), (26, "lowerLetter", "z"), (28, "lowerLetter", "bb"),
        (20, "decimalEnclosedCircle", "⑳"), (21, "decimalEnclosedCircle", "21"), (2, "ideographTraditional", "乙"), (0, "upperRoman", "0"),
        (3, "decimalZero", "03"),
    ],
)  # fmt: skip
def test_numerals(value: int, kind: str, shown: str) -> None:
    assert numeral(value, kind) == shown


def test_a_heading_keeps_its_number() -> None:
    document = docx.Document()
    root = document.part.numbering_part.element
    xml = f"<w:numbering {NAMESPACES}>{LEVELS.format(kind='decimal', text='%1')}{NUMBERS.format(start=1)}</w:numbering>"
    for child in parse_xml(xml):
        root.append(child)
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/><w:numPr><w:ilvl w:val="0"/><w:numId w:val="91"/></w:numPr></w:pPr>'
    assert read(f"{heading}{run('总论')}</w:p>", f"{heading}{run('各论')}</w:p>", document=document).text == "# 1 总论\n\n# 2 各论"


def test_a_table_of_contents_is_furniture_and_headers_are_left_out() -> None:
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "页眉文字"
    document.sections[0].footer.paragraphs[0].text = "页脚文字"
    style = document.styles.add_style("toc 1", WD_STYLE_TYPE.PARAGRAPH)
    document.add_paragraph("一 总论 1", style)
    document.add_paragraph("正文")
    raw = read(document=document)
    assert raw.text == "一 总论 1\n\n正文"
    assert [(raw.text[a:b], reason) for a, b, reason in raw.furniture] == [("一 总论 1", "contents")]


def test_a_paragraph_that_looks_like_a_heading_is_none() -> None:
    assert read(f"<w:p>{run('# 这是注释')}</w:p>").text == "\\# 这是注释"


def test_metadata_without_what_programs_fill_in() -> None:
    document = docx.Document()
    document.add_paragraph("正文")
    assert read_docx(saved(document)).metadata == ()  # python-docx's own template
    document.core_properties.title, document.core_properties.author = "面试笔记", "林小满"
    document.core_properties.created = datetime(2024, 5, 3)
    assert read_docx(saved(document)).metadata == (("title", "面试笔记"), ("author", "林小满"), ("date", "2024-05-03"))


# --- formulas ---


def math(inner: str) -> str:
    return latex(etree.fromstring(f"<m:oMath {NAMESPACES}>{inner}</m:oMath>"))


def r(text: str, properties: str = "") -> str:
    return f"<m:r><m:rPr>{properties}</m:rPr><m:t>{text}</m:t></m:r>"


UPRIGHT = '<m:sty m:val="p"/>'


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        (r("α") + r("x"), r"\alpha x"),
        (r("a≤b×c"), r"a\leq b\times c"),
        (f"<m:f><m:num>{r('1')}</m:num><m:den>{r('n')}</m:den></m:f>", r"\frac{1}{n}"),
        (f'<m:f><m:fPr><m:type m:val="lin"/></m:fPr><m:num>{r("a")}</m:num><m:den>{r("b")}</m:den></m:f>', "a/b"),
        (f"<m:sSup><m:e>{r('x')}</m:e><m:sup>{r('2')}</m:sup></m:sSup>", "x^2"),
        (f"<m:sSubSup><m:e>{r('x')}</m:e><m:sub>{r('ij')}</m:sub><m:sup>{r('T')}</m:sup></m:sSubSup>", "x_{ij}^T"),
        (f"<m:sSup><m:e>{r('f')}</m:e><m:sup>{r('′')}</m:sup></m:sSup>", "f'"),
        (f'<m:rad><m:radPr><m:degHide m:val="1"/></m:radPr><m:deg/><m:e>{r("d")}</m:e></m:rad>', r"\sqrt{d}"),
        (f"<m:rad><m:deg>{r('3')}</m:deg><m:e>{r('d')}</m:e></m:rad>", r"\sqrt[3]{d}"),
        (f'<m:nary><m:naryPr><m:chr m:val="∑"/></m:naryPr><m:sub>{r("i=1")}</m:sub><m:sup>{r("n")}</m:sup><m:e>{r("x")}</m:e></m:nary>',
         r"\sum_{i=1}^n x"),
        (f"<m:nary><m:sub/><m:sup/><m:e>{r('x')}</m:e></m:nary>", r"\int x"),
        (f"<m:d><m:e>{r('x')}</m:e></m:d>", "(x)"),
        (f'<m:d><m:dPr><m:begChr m:val="["/><m:endChr m:val="]"/></m:dPr><m:e><m:f><m:num>{r("1")}</m:num><m:den>{r("2")}</m:den></m:f></m:e></m:d>',
         r"\left[\frac{1}{2}\right]"),
        (f'<m:d><m:dPr><m:begChr m:val="{{"/><m:endChr m:val=""/></m:dPr><m:e><m:eqArr><m:e>{r("1,&amp;x")}</m:e><m:e>{r("0,&amp;y")}</m:e></m:eqArr></m:e></m:d>',
         r"\begin{cases} 1,&x \\ 0,&y \end{cases}"),
        (f"<m:d><m:e><m:m><m:mr><m:e>{r('a')}</m:e><m:e>{r('b')}</m:e></m:mr><m:mr><m:e>{r('c')}</m:e><m:e>{r('d')}</m:e></m:mr></m:m></m:e></m:d>",
         r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}"),
        (f"<m:func><m:fName>{r('log', UPRIGHT)}</m:fName><m:e>{r('p')}</m:e></m:func>", r"\log p"),
        (f"<m:func><m:fName>{r('softmax', UPRIGHT)}</m:fName><m:e>{r('z')}</m:e></m:func>", r"\operatorname{softmax} z"),
        (f"<m:limLow><m:e>{r('max', UPRIGHT)}</m:e><m:lim>{r('θ')}</m:lim></m:limLow>", r"\max_{\theta}"),
        (f"<m:acc><m:e>{r('x')}</m:e></m:acc>", r"\hat{x}"),
        (f'<m:bar><m:barPr><m:pos m:val="top"/></m:barPr><m:e>{r("x")}</m:e></m:bar>', r"\overline{x}"),
        (r("L", UPRIGHT) + r("oss", UPRIGHT), r"\mathrm{Loss}"),
        (r("x", '<m:sty m:val="b"/>'), r"\mathbf{x}"),
        (r("R", '<m:scr m:val="double-struck"/>'), r"\mathbb{R}"),
        (r("if", "<m:nor/>"), r"\text{if}"),
        (r("100%_a"), r"100\%\_a"),
    ],
)  # fmt: skip
def test_formulas(xml: str, expected: str) -> None:
    assert math(xml) == expected


def test_formulas_stand_in_the_text() -> None:
    inline = f"<w:p>{run('设 ')}<m:oMath>{r('α')}</m:oMath>{run(' 为权重')}</w:p>"
    shown = f"<w:p><m:oMathPara><m:oMath>{r('x=1')}</m:oMath></m:oMathPara></w:p>"
    assert read(inline, shown).text == "设 $\\alpha$ 为权重\n\n$$x=1$$"


# --- refusals ---


def test_old_and_protected_files_are_named() -> None:
    ole = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)
    with pytest.raises(MianpuError, match=r"old Office version .*: open it and save it as \.docx"):
        read_docx(ole)
    with pytest.raises(MianpuError, match="protected by a password: save it without one"):
        read_docx(ole + "EncryptedPackage".encode("utf-16-le"))


def test_an_empty_document_and_a_damaged_one() -> None:
    with pytest.raises(MianpuError, match="holds no text"):
        read_docx(saved(docx.Document()))
    data = saved(docx.Document())
    with pytest.raises(MianpuError, match="damaged"):
        read_docx(data[: len(data) // 2])
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as package:
        package.writestr("a.txt", "no document")
    with pytest.raises(MianpuError, match="no readable Word file"):
        read_docx(other.getvalue())


def test_a_part_that_unpacks_too_far_is_refused_whatever_its_header_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ooxml, "MEMBER_LIMIT", 1 << 20)
    monkeypatch.setattr(ooxml, "PACKAGE_LIMIT", 3 << 20)
    for name, size, message in (
        ("word/document.xml", 2 << 20, "a part of this Word file unpacks"),
        ("word/media/a.png", 4 << 20, "drop its pictures"),
    ):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
            package.writestr(name, bytes(size))
        with pytest.raises(MianpuError, match=message):
            read_docx(buffer.getvalue())


def test_no_file_outside_is_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("outside") / "secret.txt"
    secret.write_text("geheim")
    document = docx.Document()
    document.add_paragraph("ENTITY")
    source = io.BytesIO(saved(document))
    changed = io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(changed, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == "word/document.xml":
                declared = b'<!DOCTYPE w:document [<!ENTITY x SYSTEM "file://%s">]>' % str(secret).encode()
                content = content.replace(b"<w:document", declared + b"<w:document", 1).replace(b"ENTITY</w:t>", b"text &x;</w:t>")
            new.writestr(item, content)
    try:
        text = read_docx(changed.getvalue()).text
    except MianpuError as error:
        text = str(error)
    assert "geheim" not in text


# --- properties ---


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.text(max_size=30), st.sampled_from(["Normal", "Heading 1", "List Bullet", "List Number", "Title"])), max_size=8
    )
)
def test_any_paragraphs_come_back_in_order(paragraphs: list[tuple[str, str]]) -> None:
    document = docx.Document()
    words = []
    for i, (text, style) in enumerate(paragraphs):
        text = "".join(char for char in text if char.isprintable() and char not in "\ufffe\uffff")
        document.add_paragraph(f"w{i}x {text}", style).paragraph_format.space_after = Pt(3)
        words.append(f"w{i}x")
    try:
        raw = read_docx(saved(document))
    except MianpuError:
        assert not paragraphs
        return
    places = [raw.text.index(word) for word in words]
    assert places == sorted(places)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 30_000), st.binary(min_size=1, max_size=20), st.booleans())
def test_any_bytes_give_a_text_or_one_clear_line(at: int, junk: bytes, inside: bool) -> None:
    document = docx.Document()
    document.add_paragraph("正文")
    data = saved(document)
    try:
        read_docx(data[:at] + junk + data[at + len(junk) :] if inside else junk)
    except MianpuError as error:
        assert "\n" not in str(error)


def test_marks_tables_and_fences() -> None:
    assert styled([("a", "**"), (" ", ""), ("b", "**"), (" c", "")]) == "**a b** c"
    assert styled([(" x ", "*"), ("y", "")]) == " *x* y"
    assert styled([("问 ", "**"), ("$d$", "$"), ("？", "**")]) == "**问 $d$？**"
    assert table_rows([["a|b", " c\nd "], ["", ""], ["e"]]) == "| a\\|b | c d |\n| --- | --- |\n| e |  |"
    assert fenced("```\nx") == "````\n```\nx\n````"
