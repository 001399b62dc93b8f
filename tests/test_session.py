from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.interviews import schedule, session
from assistant.interviews.interview import AskQuestion, Finished, Phase, ShowGrade, ShowReference, Status
from assistant.interviews.session import InterviewSession, load_interview, saved_interviews
from ingest.errors import MianpuError, UsageError
from ingest.storage.library import Library
from kg.concepts import Glossary
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY, parsed, publish, small_library

PAIRS = [
    ("自注意力怎样工作?", "1. 缓存让计算变少了很多\n2. 量化让空间变小了很多"),
    ("RoPE 怎样工作?", "位置写进了查询和键里面。"),
    ("你怎么看?", ""),
]
NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with small_library(tmp_path, parsed("a.md", [], PAIRS)) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_session(library: Library, clock: Clock) -> InterviewSession:
    return InterviewSession(library, WordEmbedder(), Glossary.parse(GLOSSARY), clock)


def test_an_interview_from_question_to_report(library: Library, clock: Clock) -> None:
    run = new_session(library, clock)
    (asked,) = run.begin(count=3)
    assert isinstance(asked, AskQuestion)
    assert (asked.question.text, asked.number, asked.total) == ("自注意力怎样工作?", 1, 3)

    shown, reference = run.answer("我想缓存让计算变少了很多,量化让空间变小了很多")
    assert isinstance(shown, ShowGrade) and shown.grade is not None
    assert [m.point.text for m in shown.grade.points] == ["缓存让计算变少了很多", "量化让空间变小了很多"]
    assert isinstance(reference, ShowReference)
    pair = run.reference(reference.question.key)
    assert pair is not None and pair.answer == PAIRS[0][1]

    assert library.read("SELECT rating, score, answer FROM reviews") == [
        (int(schedule.rating_for(shown.grade.score)), shown.grade.score, "我想缓存让计算变少了很多,量化让空间变小了很多")
    ]
    run.next()
    run.reveal()
    assert library.read("SELECT rating, score FROM reviews ORDER BY id")[1] == (1, 0.0)
    run.next()
    (open_one,) = run.answer("我的看法")
    assert isinstance(open_one, ShowGrade) and open_one.grade is None  # no reference: taken, not marked
    clock.now += timedelta(minutes=9)
    (finished,) = run.next()
    assert isinstance(finished, Finished)
    assert [o.status for o in finished.report.outcomes] == [Status.GRADED, Status.REVEALED, Status.OPEN]
    assert finished.report.ended_at == NOW + timedelta(minutes=9)
    assert library.read("SELECT count(*) FROM reviews") == [(2,)]
    (saved,) = saved_interviews(library)
    assert (saved.id, saved.done, saved.total, saved.ended_at) == (run.id, 3, 3, NOW + timedelta(minutes=9))


def test_an_interrupted_interview_goes_on_where_it_stood(library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_session(library, clock)
    run.begin(count=2)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(session, "grade", killed)
        with pytest.raises(KeyboardInterrupt):
            run.answer("我想缓存让计算变少了很多")
    assert load_interview(library, run.id).phase is Phase.GRADING  # the answer was saved before it was marked
    assert library.read("SELECT count(*) FROM reviews") == [(0,)]

    again = new_session(library, clock)
    shown, _ = again.resume(run.id)
    assert isinstance(shown, ShowGrade) and shown.grade is not None
    assert library.read("SELECT answer FROM reviews") == [("我想缓存让计算变少了很多",)]
    assert new_session(library, clock).resume(run.id) == (ShowReference(shown.question),)  # marked once, not again
    assert library.read("SELECT count(*) FROM reviews") == [(1,)]


def test_a_review_and_its_state_are_one_transaction(library: Library, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_session(library, clock)
    run.begin(count=1)
    with monkeypatch.context() as patch:
        patch.setattr(schedule, "review_in", lambda *_: (_ for _ in ()).throw(RuntimeError("killed")))
        with pytest.raises(RuntimeError, match="killed"):
            run.reveal()
    assert load_interview(library, run.id).phase is Phase.ASKING
    assert run.state.phase is Phase.ASKING
    run.reveal()  # and it can be tried again
    assert library.read("SELECT count(*) FROM reviews") == [(1,)]


def test_two_windows_cannot_both_go_on(library: Library, clock: Clock) -> None:
    first = new_session(library, clock)
    first.begin(count=2)
    second = new_session(library, clock)
    second.resume(first.id)
    first.skip()
    with pytest.raises(MianpuError, match="another window"):
        second.reveal()
    assert library.read("SELECT count(*) FROM reviews") == [(0,)]
    (asked,) = second.resume(first.id)
    assert isinstance(asked, AskQuestion) and asked.number == 2


def test_what_was_answered_badly_comes_back_first(library: Library, clock: Clock) -> None:
    run = new_session(library, clock)
    run.begin(count=3)
    run.skip()
    run.reveal()  # RoPE: Again, due in a minute
    run.end()
    clock.now += timedelta(minutes=2)
    (asked,) = new_session(library, clock).begin(count=1)
    assert isinstance(asked, AskQuestion) and asked.question.text == "RoPE 怎样工作?"


def test_a_document_that_is_removed_meanwhile(library: Library, clock: Clock) -> None:
    run = new_session(library, clock)
    run.begin(count=1)
    publish(library, removed=["a.md"])
    (shown,) = run.answer("我想缓存让计算变少了很多")
    assert isinstance(shown, ShowGrade) and shown.grade is None
    assert run.reference(shown.question.key) is None
    assert library.read("SELECT count(*) FROM reviews") == [(0,)]


def test_wrong_use_is_one_clear_line(library: Library, clock: Clock) -> None:
    run = new_session(library, clock)
    with pytest.raises(UsageError, match="start one first"):
        run.answer("太早")
    with pytest.raises(UsageError, match="no interview 7"):
        run.resume(7)
    run.begin()
    with pytest.raises(UsageError, match="empty"):
        run.answer("  ")
    with pytest.raises(UsageError, match="choose one of"):
        run.begin("没有这个主题")


def test_remarks_in_the_language_of_the_learner(library: Library, clock: Clock) -> None:
    run = InterviewSession(library, WordEmbedder(), Glossary.parse(GLOSSARY), clock, language="en")
    run.begin(count=1)
    shown, _ = run.answer("我想缓存让计算变少了很多")
    assert isinstance(shown, ShowGrade) and shown.grade is not None
    assert "points are covered" in shown.grade.remarks[0]
