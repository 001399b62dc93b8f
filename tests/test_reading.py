"""Files of every encoding a person may bring, and everything that is not a text file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import MianpuError
from ingest.readers import text as text_reader
from ingest.sources import files

CHINESE = "自注意力为什么要除以根号 d？因为点积的方差随维度增大，归一化以后梯度更稳定。"
TRADITIONAL = "注意力機制是什麼？模型會根據查詢與鍵的相似程度，決定每個位置的權重。"


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (CHINESE.encode(), "utf-8"),
        (b"\xef\xbb\xbf" + CHINESE.encode(), "utf-8"),
        (CHINESE.encode("utf-16"), "utf-16"),
        (b"\xfe\xff" + CHINESE.encode("utf-16-be"), "utf-16"),
        (CHINESE.encode("gb18030"), "gb18030"),
        (CHINESE.encode("gbk"), "gb18030"),
    ],
)
def test_every_encoding_gives_the_same_text(data: bytes, encoding: str) -> None:
    assert text_reader.decode(data) == (CHINESE, encoding)


def test_other_encodings() -> None:
    assert text_reader.decode(TRADITIONAL.encode("big5")) == (TRADITIONAL, "big5")
    western = "It’s a naïve “baseline” for the encoder, and that is all there is to say about it here."
    assert text_reader.decode(western.encode("cp1252")) == (western, "windows-1252")
    assert text_reader.decode("plain ascii, sixteen bits".encode("utf-16-le")) == ("plain ascii, sixteen bits", "utf-16")


JAPANESE = "自己注意機構とは何ですか。クエリとキーの内積を計算し、重みを求めます。"
RARE = "位置编码的生僻字㐂𠮷与表情😀都在四个字节里。"


@pytest.mark.parametrize(
    ("text", "codec", "encoding"),
    [
        (CHINESE, "utf-16-le", "utf-16"),  # without a byte order mark
        (CHINESE, "utf-16-be", "utf-16"),
        (TRADITIONAL, "utf-16-le", "utf-16"),
        (CHINESE, "utf-32", "utf-32"),
        (CHINESE, "utf-32-le", "utf-32"),
        (CHINESE, "utf-32-be", "utf-32"),
        ("plain ascii", "utf-32-le", "utf-32"),
        (RARE, "gb18030", "gb18030"),
        (TRADITIONAL, "gb18030", "gb18030"),
        ("注意力机制", "gbk", "gb18030"),
        ("什么是归一化？", "gbk", "gb18030"),
        ("The KV cache (缓存) stores keys and values. " * 20, "gbk", "gb18030"),
        ("什麼是注意力機制？", "big5", "big5"),
        (JAPANESE, "cp932", "shift_jis"),
        (JAPANESE, "euc_jp", "euc-jp"),
        ("Größe und Häufigkeit: naïve Ansätze für „große“ Modelle", "cp1252", "windows-1252"),
    ],
)
@pytest.mark.parametrize("times", [1, 3, 3000])
def test_encodings_that_have_to_be_guessed(text: str, codec: str, encoding: str, times: int) -> None:
    assert text_reader.decode((text * times).encode(codec)) == (text * times, encoding)


def test_a_long_english_beginning_does_not_hide_the_chinese_behind_it() -> None:
    text = "Everything in this part is English. " * 5000 + CHINESE
    assert text_reader.decode(text.encode("gb18030")) == (text, "gb18030")
    text = "All of it. " * 999 + CHINESE * 99
    assert text_reader.decode(text.encode("utf-16-le"))[0] == text


def test_an_encoding_that_is_not_known_is_refused_rather_than_garbled() -> None:
    korean = "어텐션 메커니즘은 쿼리와 키의 유사도를 계산하고 값의 가중 평균을 구합니다."
    russian = "Механизм внимания вычисляет сходство запроса и ключа и усредняет значения."
    for data in (korean.encode("cp949"), russian.encode("koi8-r"), russian.encode("cp1251")):
        with pytest.raises(MianpuError, match="encoding is unknown"):
            text_reader.decode(data)


def test_a_page_cut_inside_a_character_stays_utf_8() -> None:
    text, encoding = text_reader.decode((CHINESE * 5).encode()[:-1])
    assert encoding == "utf-8"
    assert text == (CHINESE * 5)[:-1] + "\ufffd"


def test_line_ends_and_invisible_characters() -> None:
    text, _ = text_reader.decode("一\r\n二\r三\u2028四\x0b五\u200b六\ufeff".encode())
    assert text == "一\n二\n三\n四\n五六"


def test_control_characters_become_replacement_characters() -> None:
    text, _ = text_reader.decode(b"a\x00b" + CHINESE.encode() + b"\x07c\ttab\n")
    assert text == "a\ufffdb" + CHINESE + "\ufffdc\ttab\n"
    text.encode("utf-8")  # no lone surrogate is left


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF file"),
        (b"PK\x03\x04" + bytes(40), "ZIP"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "PNG"),
        (bytes(range(256)) * 8, "binary"),
        (os.urandom(4000).replace(b"\x00", b"\x01"), "binary"),
        (b"  \n \t\n \xe3\x80\x80", "white space"),
    ],
)
def test_what_is_not_text_is_named(data: bytes, words: str) -> None:
    with pytest.raises(MianpuError, match=words) as caught:
        text_reader.decode(data)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_give_clean_text_or_one_clear_line(data: bytes) -> None:
    try:
        text, _ = text_reader.decode(data)
    except MianpuError as error:
        assert "\n" not in str(error)
    else:
        text.encode("utf-8")
        assert not set(text) & {chr(i) for i in range(32) if chr(i) not in "\n\t"}


@given(st.text(alphabet=st.characters(categories=("L", "N", "P", "Zs")), min_size=1))
def test_utf_8_is_never_misread(text: str) -> None:
    if text.strip() and not text.encode().startswith((b"PK\x03\x04", b"GIF8", b"%PDF-", b"Rar!")):
        expected = text_reader._INVISIBLE.sub("", text)
        if expected.strip():
            assert text_reader.decode(text.encode()) == (expected, "utf-8")


def test_format_follows_the_suffix_and_the_content(tmp_path: Path) -> None:
    note = tmp_path / "a.md"
    note.write_text("只有一行", "utf-8")
    assert files.read(note).format == "markdown"
    page = tmp_path / "b.txt"
    page.write_text("# 标题\n\n## 一节\n\n正文\n\n## 又一节\n\n正文", "utf-8")
    assert files.read(page).format == "markdown"
    page.write_text("标题\n# 只有一行像标题\n正文", "utf-8")
    assert files.read(page).format == "text"
