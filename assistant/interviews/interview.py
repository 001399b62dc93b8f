"""The mock interview as a pure function: ``step(state, event) -> (state, effects)``. Nothing here reads a clock, a file or a model.

    asking --Answered--> grading --Graded--> graded --Next--> asking ... --> finished
       |--SkipQuestion--> (next question)      |
       |--RevealReference--> graded            '--End, at any time--> finished

The state is a frozen value that survives a round trip through JSON, so an interview can be stopped and resumed anywhere. An event
that does not fit the phase (a second click, a late grade) changes nothing. ``interviews.session`` carries the effects out.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from assistant.interviews.grading import Grade
from assistant.interviews.questions import NO_QUESTIONS, Bank, Question
from assistant.interviews.schedule import TopicScore, rating_for
from ingest.errors import UsageError

REVIEW_BELOW = 65.0  # a score below it puts the question on the list of what to review next
WEAK_BELOW = 80.0  # a topic whose average is below it is named as weak


class Phase(StrEnum):
    """Where the interview stands."""

    ASKING = "asking"  # waiting for the learner's answer
    GRADING = "grading"  # an answer was given and is being marked
    GRADED = "graded"  # the marks are shown; waiting for Next
    FINISHED = "finished"


class Status(StrEnum):
    """What became of a question."""

    GRADED = "graded"
    OPEN = "open"  # answered, but there is no reference to mark it against
    SKIPPED = "skipped"
    REVEALED = "revealed"  # the learner looked at the reference instead of answering; counts as 0
    UNGRADED = "ungraded"  # the interview ended before the answer was marked


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question that was dealt with. ``score`` 0..100, None where nothing was marked; ``missed`` the key points left out."""

    question: Question
    status: Status
    answer: str = ""
    score: float | None = None
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InterviewState:
    """Everything an interview is. ``answer`` is the one being marked (phase grading)."""

    topic: str
    questions: tuple[Question, ...]
    started_at: datetime
    position: int = 0
    phase: Phase = Phase.ASKING
    answer: str = ""
    outcomes: tuple[Outcome, ...] = ()
    ended_at: datetime | None = None

    @property
    def question(self) -> Question:
        """The question in hand (the last one when the interview is finished)."""
        return self.questions[min(self.position, len(self.questions) - 1)]


@dataclass(frozen=True, slots=True)
class Report:
    """The end of an interview. ``average`` is over what was marked; ``weakest`` and ``review_next`` have the weakest first."""

    topic: str
    outcomes: tuple[Outcome, ...]
    total: int
    average: float | None
    weakest: tuple[TopicScore, ...]
    review_next: tuple[Question, ...]
    started_at: datetime
    ended_at: datetime


# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """The learner answered the question in hand."""

    text: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Graded:
    """The answer was marked; ``grade`` is None when the reference is gone (its document was removed meanwhile)."""

    grade: Grade | None
    now: datetime


@dataclass(frozen=True, slots=True)
class SkipQuestion:
    """On to the next question, nothing recorded."""

    now: datetime


@dataclass(frozen=True, slots=True)
class RevealReference:
    """Show the reference. Before an answer that gives the question up; after it, it is only shown again."""

    now: datetime


@dataclass(frozen=True, slots=True)
class Next:
    """The marks were read."""

    now: datetime


@dataclass(frozen=True, slots=True)
class End:
    """Stop here and see the report."""

    now: datetime


Event = Answered | Graded | SkipQuestion | RevealReference | Next | End

# --- effects ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskQuestion:
    """Show the question; ``number`` counts from 1."""

    question: Question
    number: int
    total: int


@dataclass(frozen=True, slots=True)
class GradeAnswer:
    """Mark the answer against the question's reference and send ``Graded``."""

    question: Question
    text: str


@dataclass(frozen=True, slots=True)
class ShowGrade:
    """Show the marks; None: there is no reference, so the answer was taken but not marked."""

    question: Question
    grade: Grade | None


@dataclass(frozen=True, slots=True)
class ShowReference:
    """Show the reference answer of the question."""

    question: Question


@dataclass(frozen=True, slots=True)
class RecordReview:
    """Write the review into the learner's history and schedule the question; ``detail`` is JSON, ``rating`` FSRS's 1..4."""

    question: Question
    rating: int
    score: float
    answer: str
    detail: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Finished:
    """Show the report."""

    report: Report


Effect = AskQuestion | GradeAnswer | ShowGrade | ShowReference | RecordReview | Finished
Step = tuple[InterviewState, tuple[Effect, ...]]


def start(bank: Bank, topic: str, count: int, now: datetime) -> Step:
    """Begin an interview of up to ``count`` questions of a topic ("" for all). Raises UsageError when there is nothing to ask."""
    questions = bank.choose(topic, count, now)
    if not questions:
        raise UsageError(NO_QUESTIONS)
    state = InterviewState(topic, questions, now)
    return state, resume(state)


def resume(state: InterviewState) -> tuple[Effect, ...]:
    """What has to happen for an interview that was loaded: the same effects as when it came to this phase, less the records."""
    match state.phase:
        case Phase.ASKING:
            return (AskQuestion(state.question, state.position + 1, len(state.questions)),)
        case Phase.GRADING:
            return (GradeAnswer(state.question, state.answer),)
        case Phase.GRADED:
            return (ShowReference(state.question),) if state.question.has_reference else ()
        case Phase.FINISHED:
            return (Finished(report(state)),)


def step(state: InterviewState, event: Event) -> Step:
    """One event. An event that does not fit the phase leaves the state as it is and has no effects."""
    question = state.question
    match state.phase, event:
        case Phase.FINISHED, _:
            return state, ()
        case _, End(now):
            return _end(state, now)
        case Phase.ASKING, Answered(text, _) if text.strip() and question.has_reference:
            return replace(state, phase=Phase.GRADING, answer=text), (GradeAnswer(question, text),)
        case Phase.ASKING, Answered(text, _) if text.strip():
            return _settle(state, Outcome(question, Status.OPEN, text)), (ShowGrade(question, None),)
        case Phase.ASKING, SkipQuestion(now):
            return _go_on(_settle(state, Outcome(question, Status.SKIPPED)), now)
        case Phase.ASKING, RevealReference(now) if question.has_reference:
            outcome = Outcome(question, Status.REVEALED, score=0.0)
            record = RecordReview(question, int(rating_for(0.0)), 0.0, "", json.dumps({"revealed": True}), now)
            return _settle(state, outcome), (record, ShowReference(question))
        case Phase.GRADING, Graded(None, _):
            return _settle(state, Outcome(question, Status.OPEN, state.answer)), (ShowGrade(question, None),)
        case Phase.GRADING, Graded(Grade() as grade, now):
            return _graded(state, grade, now)
        case Phase.GRADED, RevealReference(_) if question.has_reference:
            return state, (ShowReference(question),)
        case Phase.GRADED, Next(now):
            return _go_on(state, now)
    return state, ()


def _graded(state: InterviewState, grade: Grade, now: datetime) -> Step:
    question = state.question
    missed = tuple(marked.point.text for marked in grade.points if not marked.hit)
    outcome = Outcome(question, Status.GRADED, state.answer, grade.score, missed)
    points = [
        {"point": m.point.text, "weight": m.point.weight, "hit": m.hit, "similarity": round(m.similarity, 3)} for m in grade.points
    ]
    detail = json.dumps({"points": points, "remarks": list(grade.remarks)}, ensure_ascii=False)
    record = RecordReview(question, int(rating_for(grade.score)), grade.score, state.answer, detail, now)
    return _settle(state, outcome), (record, ShowGrade(question, grade), ShowReference(question))


def _settle(state: InterviewState, outcome: Outcome) -> InterviewState:
    return replace(state, phase=Phase.GRADED, answer="", outcomes=(*state.outcomes, outcome))


def _go_on(state: InterviewState, now: datetime) -> Step:
    if state.position + 1 == len(state.questions):
        return _end(state, now)
    following = replace(state, phase=Phase.ASKING, position=state.position + 1)
    return following, resume(following)


def _end(state: InterviewState, now: datetime) -> Step:
    if state.phase is Phase.GRADING:
        state = _settle(state, Outcome(state.question, Status.UNGRADED, state.answer))
    ended = replace(state, phase=Phase.FINISHED, ended_at=now)
    return ended, (Finished(report(ended)),)


def report(state: InterviewState) -> Report:
    """The report of an interview, also of one that is still running (then ``ended_at`` is its start)."""
    marked = [(outcome.question, outcome.score) for outcome in state.outcomes if outcome.score is not None]
    by_topic: dict[str, list[float]] = defaultdict(list)
    for question, score in marked:
        by_topic[question.topic].append(score)
    averages = [TopicScore(topic, sum(scores) / len(scores), len(scores)) for topic, scores in by_topic.items()]
    weakest = sorted((t for t in averages if t.average < WEAK_BELOW), key=lambda t: (t.average, t.topic))
    failed = sorted(((score, i) for i, (_, score) in enumerate(marked) if score < REVIEW_BELOW))
    skipped = [outcome.question for outcome in state.outcomes if outcome.status is Status.SKIPPED]
    return Report(
        state.topic,
        state.outcomes,
        len(state.questions),
        sum(score for _, score in marked) / len(marked) if marked else None,
        tuple(weakest),
        (*(marked[i][0] for _, i in failed), *skipped),
        state.started_at,
        state.ended_at or state.started_at,
    )


# --- JSON -------------------------------------------------------------------------------------------------------


def to_json(state: InterviewState) -> str:
    """The state as JSON; ``from_json`` gives an equal state back."""
    fields = asdict(state) | {
        "started_at": state.started_at.isoformat(),
        "ended_at": state.ended_at.isoformat() if state.ended_at else None,
    }
    return json.dumps(fields, ensure_ascii=False)


def from_json(text: str) -> InterviewState:
    """The state that ``to_json`` wrote."""
    fields: dict[str, Any] = json.loads(text)
    fields["questions"] = tuple(Question(**q) for q in fields["questions"])
    fields["outcomes"] = tuple(_outcome(o) for o in fields["outcomes"])
    fields["phase"] = Phase(fields["phase"])
    fields["started_at"] = datetime.fromisoformat(fields["started_at"])
    fields["ended_at"] = datetime.fromisoformat(fields["ended_at"]) if fields["ended_at"] else None
    return InterviewState(**fields)


def _outcome(fields: Mapping[str, Any]) -> Outcome:
    return Outcome(
        Question(**fields["question"]), Status(fields["status"]), fields["answer"], fields["score"], tuple(fields["missed"])
    )
