"""Migrations: a new database gets every step, an old one the steps it lacks, a newer one is left alone."""

import sqlite3
from collections.abc import Iterator

import pytest

from ingest import schema
from ingest.errors import MianpuError


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
