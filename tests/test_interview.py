from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant.interviews import interview, schedule
from assistant.interviews.grading import Grade, KeyPoint, MarkedPoint
from assistant.interviews.interview import (
    Answered,
    AskQuestion,
    End,
    Event,
    Finished,
    GradeAnswer,
    Graded,
    InterviewState,
    Next,
    Phase,
    RecordReview,
    RevealReference,
    ShowGrade,
    ShowReference,
    SkipQuestion,
    Status,
)
from assistant.interviews.questions import Bank, Question, pair_of, question_bank, topic_name
from ingest.errors import UsageError
from ingest.storage.library import Library
from kg.concepts import Glossary
from tests.small_library import GLOSSARY, parsed, publish, small_library

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def question(name: str, topic: str = "注意力", concept: str = "", reference: bool = True) -> Question:
    return Question(name, f"{name}是什么?", "a.md", topic, concept, reference)


A, B, C = question("甲"), question("乙", topic="训练"), question("丙")
OPEN = question("开", reference=False)
BANK = Bank((A, B, C), {})
GOOD = Grade(80.0, (MarkedPoint(KeyPoint("一"), True, 0.9, ((0, 1),)), MarkedPoint(KeyPoint("二"), False, 0.2)), ("漏了二",))
BAD = Grade(10.0, (MarkedPoint(KeyPoint("三"), False, 0.1),))


def run(state: InterviewState, *events: Event) -> tuple[InterviewState, list[object]]:
    effects: list[object] = []
    for event in events:
        state, more = interview.step(state, event)
        effects += more
    return state, effects


def test_a_whole_interview() -> None:
    state, effects = interview.start(BANK, "", 3, NOW)
    assert effects == (AskQuestion(A, 1, 3),)

    state, effects = interview.step(state, Answered("我的回答", NOW))
    assert (state.phase, effects) == (Phase.GRADING, (GradeAnswer(A, "我的回答"),))

    state, effects = interview.step(state, Graded(GOOD, NOW))
    record, shown, reference = effects
    assert isinstance(record, RecordReview)
    assert (record.question, record.rating, record.score, record.answer) == (A, 3, 80.0, "我的回答")
    assert '"point": "二"' in record.detail
    assert (shown, reference) == (ShowGrade(A, GOOD), ShowReference(A))

    state, effects = interview.step(state, Next(NOW))
    assert (state.phase, effects) == (Phase.ASKING, (AskQuestion(B, 2, 3),))
    state, effects = interview.step(state, SkipQuestion(NOW))
    assert effects == (AskQuestion(C, 3, 3),)
    state, shown_effects = run(state, Answered("乱说", NOW), Graded(BAD, NOW), Next(NOW + timedelta(minutes=5)))

    assert state.phase is Phase.FINISHED
    finished = shown_effects[-1]
    assert isinstance(finished, Finished)
    report = finished.report
    assert [(o.question.key, o.status, o.score, o.missed) for o in report.outcomes] == [
        ("甲", Status.GRADED, 80.0, ("二",)),
        ("乙", Status.SKIPPED, None, ()),
        ("丙", Status.GRADED, 10.0, ("三",)),
    ]
    assert (report.average, report.total) == (45.0, 3)
    assert [(t.topic, t.average, t.reviews) for t in report.weakest] == [("注意力", 45.0, 2)]
    assert report.review_next == (C, B)  # failed first, then skipped
    assert report.ended_at - report.started_at == timedelta(minutes=5)


def test_revealing_gives_the_question_up() -> None:
    state, _ = interview.start(BANK, "", 1, NOW)
    state, effects = interview.step(state, RevealReference(NOW))
    record, reference = effects
    assert isinstance(record, RecordReview)
    assert (record.rating, record.score) == (1, 0.0)
    assert reference == ShowReference(A)
    assert interview.step(state, RevealReference(NOW)) == (state, (ShowReference(A),))  # again: shown, not recorded
    assert interview.step(state, Answered("现在我会了", NOW)) == (state, ())
    assert interview.report(state).average == 0.0


def test_an_open_question_is_taken_but_not_marked() -> None:
    state, _ = interview.start(Bank((OPEN,), {}), "", 1, NOW)
    assert interview.step(state, RevealReference(NOW)) == (state, ())  # there is nothing to show
    state, effects = interview.step(state, Answered("我想是这样", NOW))
    assert effects == (ShowGrade(OPEN, None),)
    assert (state.outcomes[0].status, state.outcomes[0].score) == (Status.OPEN, None)
    state, effects = interview.step(state, Next(NOW))
    assert interview.report(state).average is None


def test_a_reference_that_is_gone_is_said_so() -> None:
    state, effects = run(interview.start(BANK, "", 1, NOW)[0], Answered("答", NOW), Graded(None, NOW))
    assert effects[-1] == ShowGrade(A, None)
    assert state.outcomes[0] == interview.Outcome(A, Status.OPEN, "答")


@pytest.mark.parametrize("event", [Answered("  \n", NOW), Graded(GOOD, NOW), Next(NOW)])
def test_an_event_that_does_not_fit_changes_nothing(event: Event) -> None:
    state, _ = interview.start(BANK, "", 2, NOW)
    assert interview.step(state, event) == (state, ())


def test_a_second_click_and_a_late_grade_change_nothing() -> None:
    state, _ = run(interview.start(BANK, "", 2, NOW)[0], Answered("答", NOW))
    assert interview.step(state, Answered("再答", NOW)) == (state, ())
    state, _ = interview.step(state, Graded(GOOD, NOW))
    assert interview.step(state, Graded(BAD, NOW)) == (state, ())
    state, _ = interview.step(state, Next(NOW))
    assert interview.step(state, Next(NOW)) == (state, ())


def test_ending_while_an_answer_is_marked_keeps_the_answer() -> None:
    state, effects = run(interview.start(BANK, "", 3, NOW)[0], Answered("写了很久", NOW), End(NOW))
    assert isinstance(effects[-1], Finished)
    assert state.outcomes == (interview.Outcome(A, Status.UNGRADED, "写了很久"),)
    assert interview.step(state, Graded(GOOD, NOW)) == (state, ())


def test_there_must_be_something_to_ask() -> None:
    with pytest.raises(UsageError, match="holds no questions"):
        interview.start(Bank((), {}), "", 5, NOW)
    with pytest.raises(UsageError, match="at least one"):
        interview.start(BANK, "", 0, NOW)
    with pytest.raises(UsageError, match="choose one of 注意力"):
        interview.start(BANK, "没有", 5, NOW)


EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Answered, st.sampled_from(["", "答"]), st.just(NOW)),
    st.builds(Graded, st.sampled_from([None, GOOD, BAD]), st.just(NOW)),
    *(st.builds(kind, st.just(NOW)) for kind in (SkipQuestion, RevealReference, Next, End)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=20))
def test_any_order_of_events_keeps_the_books(events: list[Event]) -> None:
    state, _ = interview.start(Bank((A, OPEN, B), {}), "", 3, NOW)
    records = 0
    for event in events:
        state, effects = interview.step(state, event)
        records += sum(isinstance(e, RecordReview) for e in effects)
        assert interview.from_json(interview.to_json(state)) == state  # it can be left and resumed anywhere
        expected = state.position + (state.phase is Phase.GRADED)
        if state.phase is not Phase.FINISHED:
            assert len(state.outcomes) == expected
        assert len({o.question.key for o in state.outcomes}) == len(state.outcomes)
    assert records == sum(o.score is not None for o in state.outcomes)  # one review for every mark, never two


def test_resuming_shows_what_was_on_the_screen() -> None:
    state, effects = interview.start(BANK, "", 2, NOW)
    assert interview.resume(state) == effects
    state, effects = interview.step(state, Answered("答", NOW))
    assert interview.resume(state) == effects
    state, _ = interview.step(state, Graded(GOOD, NOW))
    assert interview.resume(state) == (ShowReference(A),)
    state, effects = interview.step(state, End(NOW))
    assert interview.resume(state) == effects


# --- the bank ---------------------------------------------------------------------------------------------------

PAIRS = [
    ("RoPE 为什么能外推?", "因为旋转。"),
    ("自注意力与 RoPE、MHA 有什么关系?", "位置写进自注意力。"),
    ("说说优缺点?", "省显存。"),
    ("你最近在读什么?", ""),
]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    longer = parsed("b.md", [], [("rope 为什么能外推?", "因为旋转,内积只依赖相对位置。")], title="第二份")
    below = parsed("c.md", [], [("怎么训练?", "冻结。")], headings=("微调", "LoRA"))
    with small_library(tmp_path, parsed("a.md", [], PAIRS, title="我的笔记"), longer, below) as made:
        yield made


def test_the_bank(library: Library) -> None:
    bank = question_bank(library, Glossary.parse(GLOSSARY))
    assert [(q.text, q.topic, q.concept, q.document, q.has_reference) for q in bank.questions] == [
        ("rope 为什么能外推?", "位置编码", "旋转位置编码", "b.md", True),  # in two documents: once, with the longer answer
        ("自注意力与 RoPE、MHA 有什么关系?", "注意力", "自注意力", "a.md", True),  # two concepts of three
        ("说说优缺点?", "我的笔记", "", "a.md", True),  # names no concept: the document's title
        ("你最近在读什么?", "我的笔记", "", "a.md", False),
        ("怎么训练?", "微调", "", "c.md", True),  # the concept in the heading above
    ]
    pair = pair_of(library, bank.questions[0].key)
    assert pair is not None and pair.document == "b.md"
    assert pair_of(library, "none") is None
    assert bank.topic_of()[bank.questions[2].key] == "我的笔记"


def test_topics_with_counts(library: Library) -> None:
    glossary = Glossary.parse(GLOSSARY)
    key = next(q.key for q in question_bank(library, glossary).questions if q.text == "说说优缺点?")
    schedule.review(library, key, "说说优缺点?", schedule.rating_for(0), 0, "", "{}", NOW)
    topics = question_bank(library, glossary).topics(NOW + timedelta(hours=1))
    assert [(t.name, t.count, t.due, t.unseen, t.open) for t in topics] == [
        ("我的笔记", 2, 1, 1, 1),
        ("位置编码", 1, 0, 1, 0),
        ("微调", 1, 0, 1, 0),
        ("注意力", 1, 0, 1, 0),
    ]


def test_due_first_then_unseen_spread_then_the_rest() -> None:
    one = [question(f"一{i}", concept="一") for i in range(3)]
    two = [question(f"二{i}", concept="二") for i in range(2)]
    late, later, soon = question("迟"), question("更迟"), question("未到")
    due = {"迟": NOW - timedelta(days=1), "更迟": NOW - timedelta(days=2), "未到": NOW + timedelta(days=1)}
    bank = Bank((*one, *two, late, later, soon), due)
    assert [q.key for q in bank.choose("", 8, NOW)] == ["更迟", "迟", "一0", "二0", "一1", "二1", "一2", "未到"]
    assert [q.key for q in bank.choose("", 3, NOW)] == ["更迟", "迟", "一0"]


def test_a_topic_may_be_given_as_people_read_it() -> None:
    bank = Bank((replace(A, topic="attention"), B), {})
    for name in ("attention", "注意力机制", "Attention"):
        assert [q.key for q in bank.of_topic(name)] == ["甲"]
    assert (topic_name("attention"), topic_name("attention", "en"), topic_name("我的笔记")) == (
        "注意力机制",
        "Attention",
        "我的笔记",
    )


def test_an_empty_library_has_no_topics(tmp_path: Path) -> None:
    with small_library(tmp_path / "empty") as library:
        assert question_bank(library, Glossary.parse(GLOSSARY)).topics(NOW) == []


def test_questions_follow_the_documents(library: Library) -> None:
    publish(library, removed=["b.md"])
    bank = question_bank(library, Glossary.parse(GLOSSARY))
    assert bank.questions[0].document == "a.md"
