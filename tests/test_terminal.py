"""An interview and an answer in the terminal: what is typed, and what is printed."""

import io
from pathlib import Path

import pytest

from assistant.answers.answering import Answer, CheckedSentence, Citation, Done, Event, Quote, Sentence, Token
from assistant.interviews.interview import Phase
from assistant.interviews.session import InterviewSession, saved_interviews
from ingest.errors import MianpuError
from ingest.storage.library import Library
from kg.concepts import Glossary, refresh_mentions
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY, parsed, small_library
from web.terminal import Terminal, print_answer

PAIRS = [
    ("KV 缓存为什么省时间？", "1. 键和值只算一次。\n2. 解码时直接读缓存。"),
    ("什么是自注意力？", "序列内部各位置互相计算权重。"),
]


@pytest.fixture
def library(tmp_path: Path) -> Library:
    library = small_library(tmp_path, parsed("a.md", [], PAIRS))
    refresh_mentions(library, Glossary.parse(GLOSSARY))
    return library


def converse(library: Library, typed: str, resume: int | None = None) -> tuple[InterviewSession, str]:
    session = InterviewSession(library, WordEmbedder(), Glossary.parse(GLOSSARY))
    out = io.StringIO()
    effects = session.begin("", 2) if resume is None else session.resume(resume)
    Terminal(session, io.StringIO(typed), out).run(effects)
    return session, out.getvalue()


def test_an_answer_is_marked_and_the_reference_shown(library: Library) -> None:
    session, printed = converse(library, "键和值只算一次，解码时直接读缓存。\n\n/skip\n")
    assert session.state.phase is Phase.FINISHED
    assert "[1/2]" in printed and "[2/2]" in printed
    assert "得分" in printed and "✓" in printed
    assert "参考答案 (a.md):" in printed
    assert "结束：2/2 题" in printed


def test_showing_the_reference_gives_the_question_up(library: Library) -> None:
    session, printed = converse(library, "/show\n/end\n")
    assert "参考答案" in printed
    assert session.state.outcomes[0].score == 0.0


def test_an_input_that_ends_leaves_an_interview_to_resume(library: Library) -> None:
    _, printed = converse(library, "/skip\n")
    assert "--resume" in printed
    (saved,) = saved_interviews(library)
    assert saved.ended_at is None
    session, printed = converse(library, "/skip\n", resume=saved.id)
    assert "[2/2]" in printed and session.state.phase is Phase.FINISHED


def test_an_empty_line_asks_again(library: Library) -> None:
    session, printed = converse(library, "\n/end\n")
    assert printed.count("/skip 跳过") == 2
    assert session.state.outcomes == ()


def test_an_answer_is_printed_with_its_numbers() -> None:
    sentence = CheckedSentence("缓存省时间。", (Citation(1, "a.md", 0, 6),), 0.9, True)
    bare = CheckedSentence("它很贵。", (), 0.1, False)
    answer = Answer("?", "缓存省时间。它很贵。", (sentence, bare), (), True, {})
    out = io.StringIO()
    events: list[Event] = [Token("缓存省时间。"), Sentence(sentence), Token("它很贵。"), Sentence(bare), Done(answer)]
    assert print_answer(events, out) is answer
    assert out.getvalue().startswith("缓存省时间。[1]它很贵。[?]")
    assert "2 句中 1 句有出处" in out.getvalue()


def test_a_stopped_answer_says_so() -> None:
    with pytest.raises(MianpuError, match="stopped"):
        print_answer([Token("缓")], io.StringIO())


def test_a_sentence_against_its_source_is_told_and_a_quotation_keeps_its_lines() -> None:
    place = Citation(1, "a.md", 0, 3)
    quote = CheckedSentence("1. 甲\n2. 乙", (place,), 1.0, True)
    against = CheckedSentence("占 8 GB。", (), 0.2, False, (place,))
    done = Done(Answer("q", against.text, (against,), (), True))
    out = io.StringIO()
    events: list[Event] = [Quote((quote,)), Token(against.text), Sentence(against), done]
    print_answer(events, out)
    assert "> 1. 甲\n> 2. 乙[1]" in out.getvalue() and "占 8 GB。[≠1 与资料不符]" in out.getvalue()
