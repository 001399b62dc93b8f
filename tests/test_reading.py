"""Files of every encoding a person may bring, and everything that is not a text file."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import files
from ingest.errors import MianpuError, UsageError
from ingest.readers import text as text_reader

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


def test_unreadable_files_give_one_clear_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty.md"
    empty.write_bytes(b"\xef\xbb\xbf\n  \n")
    pipe = tmp_path / "pipe.md"
    os.mkfifo(pipe)
    other = tmp_path / "notes.docx"
    other.write_bytes(b"text")
    for path, words in (
        (empty, "empty"),
        (pipe, "not a regular file"),
        (tmp_path / "none.md", "No such file"),
        (other, "no reader"),
    ):
        with pytest.raises(MianpuError, match=words) as caught:
            files.read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    path = tmp_path / "big.txt"
    path.write_bytes(b"x" * 100)
    assert files.read(path).text == "x" * 100
    path.write_bytes(b"x" * 101)
    with pytest.raises(MianpuError, match="larger than"):
        files.read(path)


def test_a_folder_is_walked_in_order(tmp_path: Path) -> None:
    for name in ("b.md", "a.txt", "sub/c.markdown", ".hidden.md", ".git/d.md", "figure.png", "README"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.md").symlink_to(tmp_path / "nowhere")
    found = files.find_files([tmp_path])
    assert [file.name for file in found.files] == ["a.txt", "b.md", "sub/c.markdown"]
    assert found.roots == (tmp_path,)
    assert {(Path(path).name, reason) for path, reason in found.skipped} == {
        ("figure.png", "no reader for .png"),
        ("README", "no reader for files without a suffix"),
        ("dead.md", "not a regular file"),
    }


def test_a_single_file_keeps_its_own_name_unless_its_folder_is_given_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    note = tmp_path / "sub" / "a.md"
    note.write_text("text")
    assert [file.name for file in files.find_files([note]).files] == ["a.md"]
    for paths in ([note, tmp_path], [tmp_path, note]):
        assert [file.name for file in files.find_files(paths).files] == ["sub/a.md"]


def test_a_path_that_does_not_exist_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="check the path"):
        files.find_files([tmp_path / "nothing"])


def test_a_file_name_that_is_not_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.md")).write_text("text")
    found = files.find_files([tmp_path])
    assert not found.files
    assert "rename it" in found.skipped[0][1]
