"""Files that real programs wrote from a known text are read back and compared with it.

pandoc writes HTML, Word, PowerPoint, EPUB and notebooks; LibreOffice turns Word, OpenDocument and PowerPoint files into PDF; Chromium
prints a page to PDF and saves it as MHTML.
"""

import base64
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.docx import read_docx
from ingest.readers.epub import read_epub
from ingest.readers.html import read_html
from ingest.readers.mhtml import read_mhtml
from ingest.readers.notebook import read_notebook
from ingest.readers.pdf import read_pdf
from ingest.readers.pptx import read_pptx
from tests import round_trip as rt

_CHROMIUM = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
_STYLE = "body { font-family: 'Noto Serif CJK SC', serif } code, pre { font-family: 'DejaVu Sans Mono', monospace }"
_TWO_COLUMNS = "body { columns: 2; max-width: none; padding: 0; font-size: 10pt } h1 { column-span: all; text-align: center }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round-trips")


@pytest.fixture(scope="module")
def by_pandoc(folder: Path) -> dict[str, Path]:
    """The known text, and the slides, as pandoc writes them."""
    style = folder / "style.html"
    style.write_text(f"<style>{_STYLE}</style>", encoding="utf-8")
    columns = folder / "columns.html"
    columns.write_text(f"<style>{_STYLE} {_TWO_COLUMNS}</style>", encoding="utf-8")
    made = {kind: rt.pandoc(rt.NOTES, folder / f"notes.{kind}") for kind in ("docx", "odt", "epub", "ipynb")}
    made["html"] = rt.pandoc(rt.NOTES, folder / "notes.html", "-s", "--mathml", "-H", str(style))
    made["pptx"] = rt.pandoc(rt.SLIDES, folder / "slides.pptx", "--slide-level=2")
    made["article.html"] = rt.pandoc(rt.ARTICLE, folder / "article.html", "-s", "-H", str(columns), "--metadata", "title=文")
    article = rt.pandoc(rt.ARTICLE, folder / "article.docx")
    article.write_bytes(rt.in_columns(article.read_bytes(), 2))
    made["article.docx"] = article
    printed = folder / "printed.docx"
    printed.write_bytes(rt.with_font(made["docx"].read_bytes(), "Consolas", "DejaVu Sans Mono"))
    made["printed.docx"] = printed
    return made


@pytest.fixture(scope="module")
def by_office(by_pandoc: dict[str, Path], folder: Path) -> dict[str, Path]:
    """PDF files that LibreOffice makes of pandoc's, and an old Word file."""
    opendocument = by_pandoc["odt"].rename(folder / "open.odt")
    sources = [by_pandoc["printed.docx"], opendocument, by_pandoc["pptx"], by_pandoc["article.docx"]]
    made = dict(zip(("docx", "odt", "pptx", "article"), rt.office(sources, "pdf", folder / "office"), strict=True))
    for name, key in (("locked", "DocumentOpenPassword"), ("restricted", "PermissionPassword")):
        encrypt = (
            '"EncryptFile":{"type":"boolean","value":"true"},'
            if name == "locked"
            else '"RestrictPermissions":{"type":"boolean","value":"true"},'
        )
        options = ":writer_pdf_Export:{" + encrypt + f'"{key}":{{"type":"string","value":"geheim"}}}}'
        made[name] = rt.office([by_pandoc["printed.docx"]], "pdf", folder / name, options)[0]
    made["doc"] = rt.office([by_pandoc["docx"]], "doc", folder / "office")[0]
    return made


@pytest.fixture(scope="module")
def by_chromium(by_pandoc: dict[str, Path]) -> dict[str, bytes]:
    """The page printed with head and foot, saved as MHTML, and an article printed in two columns."""
    executable = rt.program("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_CHROMIUM)
        try:
            page = browser.new_page()
            page.goto(by_pandoc["html"].as_uri())
            session = page.context.new_cdp_session(page)
            printed = session.send("Page.printToPDF", {"displayHeaderFooter": True, "printBackground": True})
            saved = session.send("Page.captureSnapshot", {"format": "mhtml"})
            page.goto(by_pandoc["article.html"].as_uri())
            article = session.send("Page.printToPDF", {"displayHeaderFooter": True})
        finally:
            browser.close()
    return {
        "pdf": base64.b64decode(printed["data"]),
        "mhtml": saved["data"].encode("utf-8"),
        "article": base64.b64decode(article["data"]),
    }


def check_all(raw: RawText, *, formulas: bool = True, title: bool = True, bold: bool = True) -> str:
    """The whole of the known text; a PDF has its formulas as loose symbols."""
    text = rt.content(raw)
    rt.in_order(text, rt.SENTENCES if formulas else [s for s in rt.SENTENCES if not s.startswith("表示")])
    rt.same_headings(text, rt.HEADINGS)
    assert rt.table_rows(text) == rt.ROWS
    assert rt.code_blocks(text) == [rt.CODE]
    assert [(depth, rt.bare(words)) for depth, words in rt.list_items(text)] == [
        (depth, rt.bare(words)) for depth, words in rt.ITEMS
    ]
    assert ("**归一化**" in text) == bold
    if formulas:
        assert rt.formulas(text) == [rt.plain_latex(formula) for formula in rt.FORMULAS]
    if title:
        assert ("title", "面试笔记 Interview Notes") in raw.metadata
    return text


# --- pandoc ---


def test_word(by_pandoc: dict[str, Path]) -> None:
    raw = read_docx(by_pandoc["docx"].read_bytes())
    check_all(raw)
    assert ("author", "林小满") in raw.metadata


def test_html(by_pandoc: dict[str, Path]) -> None:
    check_all(read_html(by_pandoc["html"].read_bytes()))


def test_epub(by_pandoc: dict[str, Path]) -> None:
    check_all(read_epub(by_pandoc["epub"].read_bytes()))


def test_notebook(by_pandoc: dict[str, Path]) -> None:
    check_all(read_notebook(by_pandoc["ipynb"].read_bytes()), title=False)


def test_slides(by_pandoc: dict[str, Path]) -> None:
    raw = read_pptx(by_pandoc["pptx"].read_bytes())
    assert [title for _, title in rt.headings(raw.text)] == rt.SLIDE_TITLES
    assert [raw.text[page:].split("\n")[0] for page in raw.pages] == [f"# {title}" for title in rt.SLIDE_TITLES]
    assert "- 每个位置读取所有位置\n    - 一步到位\n    - 可以并行\n- 代价是平方复杂度" in raw.text
    assert "备注：追问时先说复杂度，再说稀疏化。" in raw.text
    assert rt.table_rows(raw.text) == [["方案", "缓存"], ["MHA", "100%"], ["MQA", "3%"]]
    assert "Each head attends to its own subspace, and the results are concatenated." in raw.text


# --- LibreOffice ---


@pytest.mark.parametrize("kind", ["docx", "odt"])
def test_pdf_by_libreoffice(by_office: dict[str, Path], kind: str) -> None:
    raw = read_pdf(by_office[kind].read_bytes())
    check_all(raw, formulas=False)
    assert len(raw.pages) >= 2 and raw.pages[0] == 0


def test_slides_as_pdf(by_office: dict[str, Path]) -> None:
    raw = read_pdf(by_office["pptx"].read_bytes())
    assert [title for _, title in rt.headings(raw.text)] == rt.SLIDE_TITLES
    assert {level for level, _ in rt.headings(raw.text)} == {1}
    assert [raw.text[page:].split("\n")[0] for page in raw.pages] == [f"# {title}" for title in rt.SLIDE_TITLES]
    assert rt.table_rows(raw.text) == [["方案", "缓存"], ["MHA", "100%"], ["MQA", "3%"]]
    points = ["每个位置读取所有位置", "一步到位", "可以并行", "代价是平方复杂度"]
    rt.in_order(rt.content(raw), [*points, "Each head attends to its own subspace, and the results are concatenated."])


def test_two_columns_by_libreoffice(by_office: dict[str, Path]) -> None:
    check_article(read_pdf(by_office["article"].read_bytes()))


def test_an_old_word_file_is_refused(by_office: dict[str, Path]) -> None:
    with pytest.raises(MianpuError, match=r"old Office version .*save it as \.docx"):
        read_docx(by_office["doc"].read_bytes())


def test_a_pdf_with_a_password_is_refused_and_one_that_only_forbids_copying_is_read(by_office: dict[str, Path]) -> None:
    with pytest.raises(MianpuError, match="protected by a password: save a copy without one"):
        read_pdf(by_office["locked"].read_bytes())
    assert read_pdf(by_office["restricted"].read_bytes()).text == read_pdf(by_office["docx"].read_bytes()).text


# --- Chromium ---


def test_pdf_by_chromium(by_chromium: dict[str, bytes]) -> None:
    raw = read_pdf(by_chromium["pdf"])
    # Chromium embeds this font without its name and weight: that a word is bold cannot be seen.
    text = check_all(raw, formulas=False, bold=False)
    assert {reason for _, _, reason in raw.furniture} <= {"page_header", "page_number"} and len(raw.furniture) >= 4
    assert "file:///" not in text and "file:///" in raw.text


def test_two_columns_by_chromium(by_chromium: dict[str, bytes]) -> None:
    check_article(read_pdf(by_chromium["article"]))


def test_mhtml(by_chromium: dict[str, bytes]) -> None:
    check_all(read_mhtml(by_chromium["mhtml"]))


def check_article(raw: RawText) -> None:
    text = rt.content(raw)
    rt.in_order(text, rt.ARTICLE_ENDS)
    expected = [(1, "长文本的注意力"), *((2, f"{n}. 第{n}种做法") for n in range(1, 15))]
    rt.same_headings(text, expected)
    # Paragraphs are whole: each begins with its first words and ends with its last ones.
    paragraphs = [rt.bare(block) for block in text.split("\n\n")]
    for n in range(1, 15):
        for first, last in (
            (f"做法{n}把", f"编号 {n} 到此为止。"),
            (f"Method {n} keeps", f"method {n}."),
            (f"Variant {n} adds", f"variant {n}."),
        ):
            assert any(p.startswith(rt.bare(first)) and p.endswith(rt.bare(last)) for p in paragraphs), (first, text)
