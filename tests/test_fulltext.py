"""Index words: the same for the text and the question, whatever width or case."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.storage.fulltext import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPT-3", ["gpt", "3"]),
        ("ＧＰＴ", ["gpt"]),
        ("3.5", ["3", "5", "3_5"]),
        ("KV cache", ["kv", "cache"]),
        ("图", ["图"]),
        ("显存", ["显存"]),
        ("注意力", ["注意", "意力", "注意力"]),
        ("除以√d，然后", ["除以", "d", "然后"]),
        ("", []),
        ("！？", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_bigrams_find_what_the_dictionary_cuts_differently() -> None:
    assert set(words("旋转位置编码")) & set(words("位置编码怎么旋转")) >= {"旋转", "位置", "编码"}


@pytest.mark.parametrize("writable", [True, False])
def test_the_word_list_is_cached_in_our_own_folder_and_never_complained_about(tmp_path: Path, writable: bool) -> None:
    cache = tmp_path / "cache"
    if not writable:
        cache.write_text("a file where a folder is wanted")
    everyone = tmp_path / "tmp"
    everyone.mkdir()
    (everyone / "jieba.cache").write_bytes(b"put there by somebody else")
    done = subprocess.run(
        [sys.executable, "-c", "from ingest.storage.fulltext import words; print(len(words('注意力机制')))"],
        env={**os.environ, "MIANPU_CACHE": str(cache), "TMPDIR": str(everyone), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "5", "")
    assert [path.name for path in everyone.iterdir()] == ["jieba.cache"]
    assert (cache / "jieba.cache").is_file() is writable
