"""Migrations: a new database gets every step, an old one the steps it lacks, a newer one is left alone."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from ingest.document import Cut, Passage, QuestionAnswer
from ingest.errors import MianpuError
from ingest.pipeline import ingest
from ingest.storage import schema
from ingest.storage.checks import problems
from ingest.storage.fulltext import words
from ingest.storage.library import Library, passage_hash, question_hash
from tests.fakes import WordEmbedder


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {
        row[0]
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '%\\_%' ESCAPE '\\'")
    }


def test_a_new_database_has_every_table(connection: sqlite3.Connection) -> None:
    schema.migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(schema.MIGRATIONS),)
    assert tables(connection) >= {
        "documents",
        "passages",
        "pairs",
        "embeddings",
        "mentions",
        "cards",
        "reviews",
        "chats",
        "messages",
    }
    schema.migrate(connection)  # a second time changes nothing


def test_an_old_database_gets_what_it_lacks(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE one (a);\nINSERT INTO one VALUES (1);\n",))
    schema.migrate(connection)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "ALTER TABLE one ADD COLUMN b DEFAULT 'x;y';\n"))
    schema.migrate(connection)
    assert connection.execute("SELECT a, b FROM one").fetchall() == [(1, "x;y")]


def test_a_step_that_fails_leaves_the_version_before(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", ("CREATE TABLE one (a);\n", "CREATE TABLE two (a);\nCREATE TABLE one (a);\n"))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert tables(connection) == {"one"}


def test_a_newer_database_is_refused(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(MianpuError, match="newer Mianpu"):
        schema.migrate(connection)


def library_of_version_1(folder: Path) -> None:
    """A library as the first version left it: its tables and rows as SQL text, its vectors as NumPy made them."""
    with closing(sqlite3.connect(folder / "library.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(Path(__file__).with_name("library_version_1.sql").read_text("utf-8"))
        texts = dict(connection.execute("SELECT id, text FROM documents"))
        question, answer = "什么是 KV 缓存？", "缓存把算过的键和值留下。"
        start = texts[7].index("## ")
        rows = [
            (21, 7, start, len(texts[7]), '["缓存"]', 3),
            (22, 9, 0, len(texts[9]), "[]", 1),
            (23, 10, 0, len(texts[10]), "[]", 1),
        ]
        for number, document, begin, end, headings, line in rows:
            text = texts[document][begin:end]
            passage = Passage("x", begin, end, text, tuple(json.loads(headings)), line)
            key = passage_hash(passage.embedding_text)
            vector = np.eye(3, dtype=np.float32)[number % 3].tobytes()
            connection.execute(
                "INSERT INTO passages VALUES (?, ?, ?, ?, ?, ?, ?)", (number, document, begin, end, headings, line, key)
            )
            connection.execute("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", (key, vector))
            connection.execute(
                "INSERT INTO passages_words (rowid, headings, body) VALUES (?, ?, ?)",
                (number, " ".join(words(" ".join(passage.headings))), " ".join(words(passage.text))),
            )
        asked, answered = texts[7].index(question), texts[7].index(answer)
        pair = QuestionAnswer("a.md", question, asked, asked + len(question), answer, answered, answered + len(answer))
        connection.execute(
            "INSERT INTO pairs VALUES (31, 7, ?, ?, ?, ?, ?, ?, '[]', ?)",
            (pair.key, question, asked, asked + len(question), answered, answered + len(answer), question_hash(question)),
        )
        connection.execute(
            "INSERT INTO embeddings VALUES (?, ?)", (question_hash(question), np.eye(3, dtype=np.float32)[0].tobytes())
        )
        connection.execute("INSERT INTO cards VALUES (?, ?, '{}', '2024-02-01T00:00:00.000000+00:00')", (pair.key, question))
        connection.execute("INSERT INTO reviews VALUES (1, ?, 3, 80.0, '我的回答', '{}', '2024-01-05T00:00:00+00:00')", (pair.key,))
        connection.execute("INSERT INTO chats VALUES (1, '缓存', 'then', 'then')")
        connection.execute("INSERT INTO messages VALUES (1, 1, 'user', '什么是缓存？', '{}', 'then')")
        for key, value in {"embedding_model": "first", "dimension": "3", "generation": "4", "vectors_sha256": "0" * 64}.items():
            connection.execute("INSERT INTO meta VALUES (?, ?)", (key, value))
        connection.execute("PRAGMA user_version = 1")


def test_a_library_of_the_first_version_is_read_by_the_present_code(tmp_path: Path) -> None:
    library_of_version_1(tmp_path)
    with Library.open(tmp_path) as library:
        assert library.read("PRAGMA user_version") == [(len(schema.MIGRATIONS),)]
        first = library.documents()[0]
        assert (first.id, first.name, first.title, first.format, first.encoding, first.cuts) == (
            7,
            "a.md",
            "缓存",
            "markdown",
            "utf-8",
            1,
        )
        document = library.document("a.md")
        assert document.cuts == (Cut(0, 3, "image", "![]"),) and document.metadata == (("author", "某人"),) and document.pages == ()
        assert [h.title for h in library.headings("a.md")] == ["缓存", "什么是 KV 缓存？"]
        (passage,) = library.all_passages("a.md")
        assert (passage.id, passage.text[:5], passage.headings, passage.page) == (21, "## 什么", ("缓存",), 0)
        assert library.all_pairs("a.md")[0].answer == "缓存把算过的键和值留下。"
        assert library.nearest_passages(np.eye(3, dtype=np.float32)[0], 1) == [(21, 1.0)]
        (found,) = library.match_fields("KV", 5)
        assert found.id == 21 and found.fields["text"] > 0 and found.fields["question"] > 0 and found.fields["heading"] == 0
        assert library.read("SELECT count(*) FROM reviews, chats, messages, cards") == [(1,)]
        assert [line for line in problems(library) if "in no group of copies yet" not in line] == []
        while library.place_copies():
            pass
        assert [p.document for p in library.copies([22])[22]] == ["twin.md"]
        assert problems(library) == []


def test_a_library_of_the_first_version_takes_an_ingest(tmp_path: Path) -> None:
    """The first ingest after the update looks for copies and brings every document that is there to the present pipeline."""
    (tmp_path / "library").mkdir()
    library_of_version_1(tmp_path / "library")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "new.md").write_text("# 量化\n\n量化用更少的位数表示权重，显存占用随之下降。\n", "utf-8")
    with Library.open(tmp_path / "library") as library:
        ingest(library, [notes], WordEmbedder)
        assert [d.name for d in library.documents()] == ["a.md", "copy.md", "new.md", "twin.md"]
        assert [p.document for p in library.copies([22])[22]] == ["twin.md"]
        assert problems(library) == []
