"""Books: small ones made here, whole and damaged."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import MianpuError
from ingest.readers import epub
from ingest.readers.epub import read_epub

CONTAINER = '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
OPF = """<?xml version="1.0" encoding="utf-8"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>
<dc:title>训练手记</dc:title><dc:creator>甲</dc:creator><dc:creator>乙</dc:creator><dc:date>2021-02-03T00:00:00Z</dc:date></metadata>
<manifest><item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/><item id="cover" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="text/one%201.xhtml" media-type="application/xhtml+xml"/><item id="two" href="text/two.xhtml" media-type="application/xhtml+xml"/>
<item id="css" href="a.css" media-type="text/css"/></manifest>
<spine><itemref idref="cover"/><itemref idref="nav"/><itemref idref="two"/><itemref idref="one"/><itemref idref="css"/></spine></package>"""
HEAD = '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="x.js"/></head>'
FILES = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": CONTAINER,
    "OEBPS/book.opf": OPF,
    "OEBPS/nav.xhtml": f'{HEAD}<body><nav><ol><li><a href="text/two.xhtml">第一章</a></li></ol></nav></body></html>',
    "OEBPS/cover.xhtml": f'{HEAD}<body><img src="cover.png" alt="cover"/></body></html>',
    "OEBPS/text/two.xhtml": f'{HEAD}<body><section class="related"><h1>第一章 学习率</h1><p>预热让<a id="p1"/>优化器的二阶矩先稳定下来。</p></section></body></html>',
    "OEBPS/text/one 1.xhtml": f"{HEAD}<body><h1>第二章 批大小</h1><p>批越大，梯度的噪声越小。</p><pre>lr = 1e-3</pre></body></html>",
}


def book(changes: dict[str, str | None] | None = None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {**FILES, **(changes or {})}.items():
            if text is not None:
                archive.writestr(name, text)
    return out.getvalue()


def test_the_chapters_in_the_order_of_the_spine() -> None:
    raw = read_epub(book())
    assert raw.text == (
        "1. 第一章\n\n# 第一章 学习率\n\n预热让优化器的二阶矩先稳定下来。\n\n# 第二章 批大小\n\n批越大，梯度的噪声越小。\n\n```\nlr = 1e-3\n```\n"
    )
    assert raw.furniture == ((0, len("1. 第一章"), "contents"),)
    assert raw.metadata == (("title", "训练手记"), ("author", "甲, 乙"), ("date", "2021-02-03"))
    assert (raw.format, raw.encoding, raw.markup) == ("epub", "utf-8", "markdown")


def _encryption(algorithm: str, uri: str) -> str:
    return (
        '<encryption xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><EncryptedData xmlns="http://www.w3.org/2001/04/xmlenc#">'
        f'<EncryptionMethod Algorithm="{algorithm}"/><CipherData><CipherReference URI="{uri}"/></CipherData></EncryptedData></encryption>'
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"META-INF/encryption.xml": _encryption("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "OEBPS/text/two.xhtml")}, "DRM"),
        ({"META-INF/container.xml": None}, "no book"),
        ({"META-INF/container.xml": "<container/>"}, "damaged"),
        ({"META-INF/container.xml": "<<<"}, "damaged"),
        ({"OEBPS/book.opf": None}, "damaged"),
        ({"OEBPS/text/two.xhtml": None}, "lacks 1 of its 4 chapters"),
        ({"OEBPS/book.opf": OPF.replace("text/two.xhtml", "../../../../etc/passwd")}, "lacks 1"),
        ({name: f"{HEAD}<body/></html>" for name in FILES if name.endswith(".xhtml")}, "no text"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(MianpuError, match=words) as caught:
        read_epub(book(changes))
    assert "\n" not in str(caught.value)


def test_scrambled_fonts_are_no_lock() -> None:
    assert (
        "预热"
        in read_epub(book({"META-INF/encryption.xml": _encryption("http://www.idpf.org/2008/embedding", "OEBPS/font.otf")})).text
    )


def test_a_bomb_is_not_unpacked() -> None:
    data = book({"OEBPS/text/two.xhtml": f"{HEAD}<body>{'<p>0</p>' * (epub.MAX_MEMBER // 8)}</body></html>"})
    assert len(data) < 200_000
    with pytest.raises(MianpuError, match="unpacks to over 16 MB"):
        read_epub(data)


def test_all_chapters_together_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epub, "MAX_TEXT", sum(len(text.encode()) for text in FILES.values()) - 100)
    with pytest.raises(MianpuError, match="in all"):
        read_epub(book())


def test_entities_reach_no_file_and_do_not_grow() -> None:
    doctype = '<!DOCTYPE package [<!ENTITY x SYSTEM "file:///etc/hostname"><!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    changed = OPF.replace("<package", f"{doctype}<package").replace("训练手记", "训练&x;手记&b;")
    assert dict(read_epub(book({"OEBPS/book.opf": changed})).metadata)["title"] == "训练&x;手记&b;"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_gives_text_or_one_clear_line(data: st.DataObject) -> None:
    whole = bytearray(book())
    for _ in range(data.draw(st.integers(0, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        raw = read_epub(bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)))]))
    except MianpuError as error:
        assert "\n" not in str(error)
    else:
        assert all(0 <= start < end <= len(raw.text) for start, end, _ in raw.furniture)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_archive(data: bytes) -> None:
    with pytest.raises(MianpuError):
        read_epub(data)
