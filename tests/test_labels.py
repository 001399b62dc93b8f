"""Labelled question files: read as DESIGN.md states them, and a passage hits when it covers half of the quote."""

import json
from pathlib import Path

import pytest

from assistant.measures.labels import Gold, SpanFinder, key_point_share, read_questions, squad_documents
from ingest.document import Passage
from ingest.errors import UsageError


def passage(document: str, start: int, end: int) -> Passage:
    return Passage(document, start, end, "x" * (end - start))


def test_a_passage_hits_from_half_of_the_quote_on() -> None:
    finder = SpanFinder({"a.md": "0123456789"})
    gold = Gold("a.md", "2345")
    assert finder.spans(gold) == [(2, 6)]
    assert finder.hits(passage("a.md", 4, 9), gold)
    assert not finder.hits(passage("a.md", 5, 9), gold)
    assert not finder.hits(passage("b.md", 0, 10), gold)


def test_white_space_and_width_of_the_quote_may_differ() -> None:
    finder = SpanFinder({"a.md": "前 言：\nＫＶ  cache 很大。"})
    assert finder.spans(Gold("a.md", "KV cache")) == [(5, 14)]


def test_a_quote_may_stand_more_than_once() -> None:
    finder = SpanFinder({"a.md": "ab..ab"})
    assert finder.hits(passage("a.md", 4, 6), Gold("a.md", "ab"))


def test_a_quote_that_is_not_there_has_no_span() -> None:
    assert SpanFinder({"a.md": "text"}).spans(Gold("a.md", "other")) == []
    assert SpanFinder({}).spans(Gold("a.md", "other")) == []


def test_questions_are_read_with_their_labels(tmp_path: Path) -> None:
    row = {
        "id": 1,
        "question": "q?",
        "type": "multi",
        "answerable": True,
        "gold": [{"document": "d", "quote": "x"}],
        "key_points": [["a", "b"]],
    }
    (tmp_path / "q.jsonl").write_text(json.dumps(row) + "\n\n", encoding="utf-8")
    (question,) = read_questions(tmp_path / "q.jsonl")
    assert (question.id, question.type, question.gold, question.key_points) == ("1", "multi", (Gold("d", "x"),), (("a", "b"),))


@pytest.mark.parametrize("line", ["{", "[]", '{"id": 1}', '{"id": 1, "question": "q", "gold": [{}]}'])
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": 1, "question": "q"}\n' + line, encoding="utf-8")
    with pytest.raises(UsageError, match="line 2"):
        read_questions(tmp_path / "q.jsonl")


def test_a_missing_or_empty_file_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="holds no questions"):
        read_questions(tmp_path / "empty.jsonl")


def test_squad_contexts_become_documents(tmp_path: Path) -> None:
    qas = [{"id": "q1", "question": "谁?", "answers": [{"text": "他", "answer_start": 0}, {"text": "他", "answer_start": 0}]}]
    data = {"data": [{"paragraphs": [{"id": "P1", "context": "他来了", "qas": qas}]}]}
    path = tmp_path / "s.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    question, left_out = read_questions(path)
    assert (left_out.question, left_out.answerable, left_out.without) == (question.question, False, question.gold[0].document)
    assert question.gold == (Gold("P1.txt", "他"),) and question.also_ok == ()
    assert squad_documents(path) == {"P1.txt": "他来了"}
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="SQuAD"):
        read_questions(path)


def test_key_points_count_one_alternative_of_each_group() -> None:
    groups = [["KV 缓存", "kv cache"], ["显存"]]
    assert key_point_share("用ＫＶ Cache 省时间", groups) == 0.5
    assert key_point_share("", groups) == 0.0
    assert key_point_share("x", []) is None
