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

-- What the first Mianpu stored: one document with its passages and pair, the learner's history, a chat.
INSERT INTO documents VALUES (7, 'a.md', '/notes/a.md', '缓存', '# 缓存

## 什么是 KV 缓存？

缓存把算过的键和值留下。', 'rawhash', 'markdown', 'utf-8', '1',
  '[{"start": 0, "end": 3, "reason": "image", "text": "![]"}]', '[["author", "某人"]]',
  '[{"start": 0, "end": 4, "level": 1, "title": "缓存"}, {"start": 6, "end": 19, "level": 2, "title": "什么是 KV 缓存？"}]',
  '', '2024-01-01T00:00:00+00:00');
INSERT INTO documents VALUES (9, 'copy.md', '/notes/copy.md', '转载', '缓存把算过的键和值留下，显存随着长度增长，所以长文本的推理总是先被显存卡住，批量也就开不大。', 'other', 'text', 'gb18030', '1',
  '[]', '[]', '[]', '', '2024-01-02T00:00:00+00:00');
INSERT INTO documents VALUES (10, 'twin.md', '/notes/twin.md', '原文', '缓存把算过的键和值留下, 显存随着长度增长, 所以长文本的推理总是先被显存卡住, 批量也就开不大.', 'third', 'text', 'utf-8', '1',
  '[]', '[]', '[]', '', '2024-01-02T00:00:00+00:00');
