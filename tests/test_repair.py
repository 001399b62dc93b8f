"""Every invariant of a library: broken, named by the doctor, mended, and sound again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.pipeline import ingest
from ingest.storage.checks import problems
from ingest.storage.library import Library
from ingest.storage.repair import repair
from kg.concepts import Glossary, refresh_mentions
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY

NOTE = """# 缓存

## 什么是 KV 缓存？

缓存把算过的键和值留下，显存随着长度增长，所以长文本的推理总是先被显存卡住，批量也就开不大；量化缓存是常见的办法之一。

## 自注意力的复杂度是多少？

自注意力在长度上是平方的，每两个位置之间都要算一次权重，所以序列一长，训练和推理都慢下来，要用分块或者稀疏的办法。
"""


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text(NOTE, "utf-8")
    (notes / "b.md").write_text("![图](x.png)\n\n" + NOTE.replace("，", ", ").replace("# 缓存\n", "# 转载\n"), "utf-8")
    with Library.open(tmp_path / "library", create=True) as library:
        ingest(library, [notes], WordEmbedder)
        refresh_mentions(library, Glossary.parse(GLOSSARY))
        assert problems(library) == []
        assert library.copies([1])[1], "the test wants copies"
        assert library.read("SELECT count(*) FROM mentions")[0][0], "and mentions"
        yield library


BREAKS = {
    "outside the text": ['UPDATE passages SET "end" = 9999 WHERE id = 1'],
    "overlaps the one before": ["UPDATE passages SET start = 3 WHERE id = 2"],
    "names line 77": ["UPDATE passages SET line = 77 WHERE id = 1"],
    "names page 7, not 0": ["UPDATE passages SET page = 7 WHERE id = 1"],
    "its pages do not lie in order": ["UPDATE documents SET pages = '[9, 2]' WHERE id = 1"],
    "the question is not the text at its span": ["UPDATE pairs SET question = '别的？' WHERE id = 1"],
    "the question lies outside": ["UPDATE pairs SET question_end = 9999 WHERE id = 1"],
    "the answer lies outside": ["UPDATE pairs SET answer_end = 9999 WHERE id = 1"],
    "heading «缓存» lies outside": [
        """UPDATE documents SET headings = '[{"start":0,"end":9999,"level":1,"title":"缓存"}]' WHERE id = 1"""
    ],
    "cannot be read": ["UPDATE documents SET headings = '[[' WHERE id = 1"],
    "does not hold what was cut": ["UPDATE documents SET cuts = replace(cuts, '\"start\": 0', '\"start\": 2') WHERE id = 2"],
    "documents without a passage": [
        "DELETE FROM passages WHERE document_id = 1",
        "INSERT INTO words_gone VALUES (1), (2)",
    ],
    "passages without a document": ["PRAGMA foreign_keys = OFF", "DELETE FROM documents WHERE id = 2"],
    "pairs without a document": ["PRAGMA foreign_keys = OFF", "UPDATE pairs SET document_id = 99 WHERE id = 1"],
    "mentions without a passage": ["PRAGMA foreign_keys = OFF", "UPDATE mentions SET passage_id = 99 WHERE passage_id = 1"],
    "messages without a chat": [
        "PRAGMA foreign_keys = OFF",
        "INSERT INTO messages (chat_id, role, content, created_at) VALUES (9, 'user', 'x', 'now')",
    ],
    "mentions outside their passage": ['UPDATE mentions SET "end" = 9999 WHERE passage_id = 1'],
    "1 passages are not in the full text (passage 1 first)": ["INSERT INTO words_gone VALUES (1)"],
    "passages in the full text that are gone": [
        "UPDATE word_segments SET passages = CAST(passages || x'63000000' AS BLOB),"
        ' lengths = CAST(lengths || zeroblob(6) AS BLOB), "last" = 99'
    ],
    "is of other words": ["UPDATE words SET word = '别的词' WHERE word = '显存'"],
    "of a segment 9 that is not there": [f"INSERT INTO postings VALUES ({9 << 32}, x'0100000001')"],
    "belongs to no word or passage": ["DELETE FROM words WHERE word = '显存'"],
    "first copy is missing": ["UPDATE passages SET copy_of = 99 WHERE id = 1"],
    "in no group of copies yet": ["UPDATE passages SET print = 0, copy_of = id WHERE id = 3"],
    "has the print of another text": ["UPDATE passages SET print = 5 WHERE id = 1"],
    "of the same words in different groups": ["UPDATE passages SET copy_of = id WHERE id = 4"],
    "is missing in the bands": ["DELETE FROM bands WHERE print = (SELECT print FROM passages WHERE id = 1)"],
    "bands of passages that are gone": ["INSERT INTO bands VALUES (1, 2)"],
    "its embedding belongs to another text": [
        "UPDATE passages SET embedding = (SELECT embedding FROM passages WHERE id = 2) WHERE id = 1"
    ],
    "do not have the 9 numbers": [
        "UPDATE embeddings SET vector = x'00' WHERE hash = (SELECT embedding FROM passages WHERE id = 1)"
    ],
    "is not of unit length": [
        "UPDATE embeddings SET vector = zeroblob(36) WHERE hash = (SELECT embedding FROM passages WHERE id = 1)",
        "UPDATE meta SET value = '' WHERE key = 'vectors_sha256'",
    ],
    "does not say which generation": ["DELETE FROM meta WHERE key = 'generation'"],
}
NEED_AN_INGEST = {
    "documents without a passage", "do not have the 9 numbers", "is not of unit length", "its pages do not lie in order",
    "does not hold what was cut",
}  # fmt: skip
"""What the library alone cannot make good; the repair prepares it and the next ingest does the rest."""


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_is_named_and_mended(library: Library, what: str, tmp_path: Path) -> None:
    for statement in BREAKS[what]:
        library._database._writing.execute(statement)  # outside a transaction: PRAGMA foreign_keys works only there
    library._database._writing.execute("PRAGMA foreign_keys = ON")
    with Library.open(library.folder) as broken:
        found = problems(broken)
        assert any(what in line for line in found), found
        done = repair(broken)
        assert done
        left = problems(broken)
        if what in NEED_AN_INGEST and left:
            ingest(broken, [tmp_path / "notes"], WordEmbedder)
            left = problems(broken)
        assert left == []
        assert repair(broken) == []
        if what != "passages without a document":
            assert len(broken.documents()) == 2 and broken.passage_count() == 4


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_the_vector_file_mends_itself(library: Library, damage: str) -> None:
    path = next(library.folder.glob("vectors-*.faiss"))
    path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:-9])
    with Library.open(library.folder) as broken:
        assert f"is {damage}" in problems(broken)[0]
        assert problems(broken) == []  # whoever reads it makes it again
        assert broken.vector_file_problem() is None


def test_a_lost_embedding_is_for_the_next_ingest(library: Library, tmp_path: Path) -> None:
    with library.transaction() as connection:
        connection.execute("DELETE FROM embeddings WHERE hash = (SELECT embedding FROM passages WHERE id = 1)")
    assert "1 without an embedding (passage 1 of a.md first): run `mianpu ingest` again" in problems(library)
    repair(library)
    assert [line for line in problems(library) if "mianpu ingest" in line]
    ingest(library, [tmp_path / "notes"], WordEmbedder)
    assert problems(library) == []


def test_a_damaged_database_is_one_line_that_names_the_backup(library: Library) -> None:
    library.close()
    path = library.folder / "library.db"
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = bytes(len(data) // 2 - 4096)
    path.write_bytes(bytes(data))
    try:
        with Library.open(library.folder) as broken:
            found = problems(broken)
    except Exception as error:
        found = [str(error)]
    assert "damaged" in found[0] and "mianpu restore" in found[0]
