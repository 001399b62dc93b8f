"""The tables of ``library.db``, and the steps from one version of them to the next.

``MIGRATIONS[n]`` brings a database from version ``n`` to ``n + 1``; ``PRAGMA user_version`` holds the version.
"""

import sqlite3
from collections.abc import Callable

from ingest.errors import MianpuError
from ingest.storage import postings
from ingest.storage.fulltext import words

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE documents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  title TEXT NOT NULL,
  text TEXT NOT NULL,
  raw_hash TEXT NOT NULL,
  format TEXT NOT NULL,
  encoding TEXT NOT NULL,
  pipeline TEXT NOT NULL,
  cuts TEXT NOT NULL DEFAULT '[]',
  metadata TEXT NOT NULL DEFAULT '[]',
  headings TEXT NOT NULL DEFAULT '[]',
  concepts TEXT NOT NULL DEFAULT '',
  added_at TEXT NOT NULL
);
CREATE INDEX documents_source ON documents (source);

CREATE TABLE passages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  start INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  headings TEXT NOT NULL,
  line INTEGER NOT NULL,
  embedding TEXT NOT NULL
);
CREATE INDEX passages_document ON passages (document_id, start);

CREATE TABLE pairs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  document_id INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  question TEXT NOT NULL,
  question_start INTEGER NOT NULL,
  question_end INTEGER NOT NULL,
  answer_start INTEGER NOT NULL,
  answer_end INTEGER NOT NULL,
  headings TEXT NOT NULL,
  embedding TEXT NOT NULL
);
CREATE INDEX pairs_document ON pairs (document_id, question_start);
CREATE INDEX pairs_key ON pairs (key);

CREATE TABLE embeddings (hash TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;

CREATE VIRTUAL TABLE passages_words USING fts5 (headings, body, tokenize = "unicode61 remove_diacritics 0 tokenchars '_'");

CREATE TABLE mentions (
  passage_id INTEGER NOT NULL REFERENCES passages (id) ON DELETE CASCADE,
  concept TEXT NOT NULL,
  start INTEGER NOT NULL,
  "end" INTEGER NOT NULL,
  PRIMARY KEY (passage_id, start, concept)
) WITHOUT ROWID;
CREATE INDEX mentions_concept ON mentions (concept);

CREATE TABLE cards (
  key TEXT PRIMARY KEY,
  question TEXT NOT NULL,
  card TEXT NOT NULL,
  due TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE reviews (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL,
  rating INTEGER NOT NULL,
  score REAL NOT NULL,
  answer TEXT NOT NULL,
  detail TEXT NOT NULL,
  reviewed_at TEXT NOT NULL
);
CREATE INDEX reviews_key ON reviews (key);
CREATE TABLE interviews (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  state TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT
);
CREATE TABLE chats (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
);
CREATE TABLE messages (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  chat_id INTEGER NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
  role TEXT NOT NULL,
  content TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '{}',
  created_at TEXT NOT NULL
);
CREATE INDEX messages_chat ON messages (chat_id, id);
CREATE TABLE corrections (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  detail TEXT NOT NULL,
  created_at TEXT NOT NULL
);
"""

_VERSION_2 = """
ALTER TABLE documents ADD COLUMN pages TEXT NOT NULL DEFAULT '[]';
ALTER TABLE passages ADD COLUMN page INTEGER NOT NULL DEFAULT 0;
"""

# Copies (duplicates.py): passages with one print say the same in the same words; copy_of is the first of a group of copies,
# bands lead from a passage to those it may be a copy of. Print 0: in no group yet, which the next ingest mends.
# Embeddings get a row id: without one every vector took an overflow page of its own, and asking for hashes read them all.
_VERSION_3 = """
ALTER TABLE passages ADD COLUMN print INTEGER NOT NULL DEFAULT 0;
ALTER TABLE passages ADD COLUMN copy_of INTEGER NOT NULL DEFAULT 0;
UPDATE passages SET copy_of = id;
CREATE INDEX passages_print ON passages (print);
CREATE INDEX passages_copy_of ON passages (copy_of);
CREATE TABLE bands (key INTEGER NOT NULL, print INTEGER NOT NULL, PRIMARY KEY (key, print)) WITHOUT ROWID;
INSERT INTO meta SELECT 'vectors_generation', value FROM meta WHERE key = 'generation';
ALTER TABLE embeddings RENAME TO old_embeddings;
CREATE TABLE embeddings (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, vector BLOB NOT NULL);
INSERT INTO embeddings (hash, vector) SELECT hash, vector FROM old_embeddings;
DROP TABLE old_embeddings;
"""

# Lines that several documents have at their edges (cleaning/repetition.py): what a document shows of them, and what was cut for it.
_VERSION_4 = """
ALTER TABLE documents ADD COLUMN edges TEXT NOT NULL DEFAULT '[[], []]';
ALTER TABLE documents ADD COLUMN repeated TEXT NOT NULL DEFAULT '[]';
"""

# The full text in an index of our own (postings.py), with the questions of pairs as a third field. FTS5 took seconds for a question
# over a million passages, and gave one score for all fields.
_VERSION_5 = """
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
CREATE TABLE word_segments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  level INTEGER NOT NULL,
  "first" INTEGER NOT NULL,
  "last" INTEGER NOT NULL,
  passages BLOB NOT NULL,
  lengths BLOB NOT NULL
);
CREATE TABLE postings (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE words_gone (passage_id INTEGER PRIMARY KEY);
"""


def _index_words(connection: sqlite3.Connection) -> None:
    """From version 4 to 5: the words of text and headings are those that were indexed, the questions are cut into words now."""
    for statement in _statements(_VERSION_5):
        connection.execute(statement)
    asked: dict[int, list[str]] = {}
    sql = """SELECT p.id, q.question FROM pairs q JOIN passages p ON p.document_id = q.document_id
        AND p.start < q.answer_end AND p."end" > q.question_start ORDER BY q.question_start"""
    for i, question in connection.execute(sql):
        asked.setdefault(i, []).append(question)
    sql = "SELECT rowid, headings, body FROM passages_words WHERE rowid IN (SELECT id FROM passages) ORDER BY rowid"
    cursor = connection.cursor().execute(sql)
    while part := cursor.fetchmany(4096):
        postings.add(connection, [(i, (body.split(), above.split(), words(" ".join(asked.get(i, ()))))) for i, above, body in part])
    connection.execute("DROP TABLE passages_words")


# The codes of a passage's tokens (models/token_codes.py) go with its embedding.
_VERSION_6 = """
CREATE TABLE token_codes (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, codes BLOB NOT NULL);
CREATE TRIGGER embeddings_deleted AFTER DELETE ON embeddings BEGIN DELETE FROM token_codes WHERE hash = old.hash; END;
"""

Step = str | Callable[[sqlite3.Connection], None]
MIGRATIONS: tuple[Step, ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _index_words, _VERSION_6)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest version, one transaction a step.

    Raises MianpuError when the database was written by a newer Mianpu.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(MIGRATIONS):
        raise MianpuError(f"the library has format {version}, this Mianpu reads up to {len(MIGRATIONS)}: install a newer Mianpu")
    for step in range(version, len(MIGRATIONS)):
        # executescript commits what came before it, so the transaction is part of the script itself;
        # the version is checked inside it because another process may have migrated meanwhile.
        connection.execute("BEGIN IMMEDIATE")
        try:
            if int(connection.execute("PRAGMA user_version").fetchone()[0]) == step:
                change = MIGRATIONS[step]
                if callable(change):
                    change(connection)
                else:
                    for statement in _statements(change):
                        connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {step + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    """Split a script into statements (sqlite3.complete_statement knows where one ends)."""
    statements, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if current.strip() and sqlite3.complete_statement(current):
            statements.append(current)
            current = ""
    return statements
