"""Carrying an interview out: the effects of ``interviews.interview`` on a library, for the command and for the page alike.

Every step is saved. A review and the state that follows from it are one transaction, so a kill never records an answer twice; an
interview that was left is loaded and goes on with the question, the marking or the report it stood at.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fsrs import Rating

from assistant.interviews import interview, schedule
from assistant.interviews.grading import grade, key_points
from assistant.interviews.interview import Effect, Event, GradeAnswer, Graded, InterviewState, Phase, RecordReview
from assistant.interviews.questions import pair_of, question_bank
from ingest.document import QuestionAnswer
from ingest.errors import MianpuError, UsageError
from ingest.models.embedding import Embedder
from ingest.storage.library import Library
from kg.concepts import Glossary

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class SavedInterview:
    """A row of the list of interviews; times in UTC, ``ended_at`` None while it can be resumed."""

    id: int
    topic: str
    done: int
    total: int
    started_at: datetime
    ended_at: datetime | None


class InterviewSession:
    """One interview of one learner. ``send`` takes an event and returns the effects that are to be shown.

    The effects ``GradeAnswer`` and ``RecordReview`` are carried out here and not returned.
    """

    def __init__(
        self,
        library: Library,
        embedder: "Embedder",
        glossary: Glossary,
        clock: Callable[[], datetime] = utc_now,
        language: str = "zh",
    ) -> None:
        self.id = 0
        self._state: InterviewState | None = None
        self._library = library
        self._embedder = embedder
        self._glossary = glossary
        self._clock = clock
        self.language = language  # of the remarks: "zh" or "en"

    @property
    def state(self) -> InterviewState:
        """The state now. Raises UsageError before an interview was begun or resumed."""
        if self._state is None:
            raise UsageError("no interview is running: start one first")
        return self._state

    def begin(self, topic: str = "", count: int = 5) -> tuple[Effect, ...]:
        """Start a new interview. Raises UsageError when there is nothing to ask."""
        state, effects = interview.start(question_bank(self._library, self._glossary), topic, count, self._clock())
        with self._library.transaction() as connection:
            row = (topic, interview.to_json(state), state.started_at.astimezone(UTC).isoformat())
            cursor = connection.execute("INSERT INTO interviews (topic, state, started_at) VALUES (?, ?, ?)", row)
            self.id = int(cursor.lastrowid or 0)
        self._state = state
        return effects

    def resume(self, interview_id: int) -> tuple[Effect, ...]:
        """Go on with a saved interview; the effects bring the display back to where it stood."""
        self._state = load_interview(self._library, interview_id)
        self.id = interview_id
        return self._carry_out(interview.resume(self._state))

    def send(self, event: Event) -> tuple[Effect, ...]:
        """One event. An event that does not fit gives no effects. Raises MianpuError when another window went on meanwhile."""
        return self._carry_out(self._step(event))

    def answer(self, text: str) -> tuple[Effect, ...]:
        """The learner's answer, marked. Raises UsageError when it is empty."""
        if not text.strip():
            raise UsageError("the answer is empty: write one, or skip the question")
        return self.send(interview.Answered(text, self._clock()))

    def skip(self) -> tuple[Effect, ...]:
        """On to the next question."""
        return self.send(interview.SkipQuestion(self._clock()))

    def reveal(self) -> tuple[Effect, ...]:
        """Show the reference."""
        return self.send(interview.RevealReference(self._clock()))

    def next(self) -> tuple[Effect, ...]:
        """The marks were read."""
        return self.send(interview.Next(self._clock()))

    def end(self) -> tuple[Effect, ...]:
        """Stop and report."""
        return self.send(interview.End(self._clock()))

    def reference(self, question_key: str) -> QuestionAnswer | None:
        """The pair with the reference answer, as it stands in the library now."""
        return pair_of(self._library, question_key)

    def _carry_out(self, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        shown: list[Effect] = []
        for effect in effects:
            if isinstance(effect, GradeAnswer):
                shown += self._carry_out(self._step(self._graded(effect)))
            elif not isinstance(effect, RecordReview):
                shown.append(effect)
        return tuple(shown)

    def _graded(self, effect: GradeAnswer) -> Graded:
        pair = pair_of(self._library, effect.question.key)
        points = key_points(pair.answer, effect.question.text) if pair is not None else ()
        if not points:
            return Graded(None, self._clock())
        marks = grade(effect.text, points, effect.question.text, self._embedder, self._glossary, self.language)
        return Graded(marks, self._clock())

    def _step(self, event: Event) -> tuple[Effect, ...]:
        before = self.state
        after, effects = interview.step(before, event)
        if after != before:
            with self._library.transaction() as connection:
                _save(connection, self.id, before, after)
                for effect in effects:
                    if isinstance(effect, RecordReview):
                        _record(connection, effect)
            self._state = after
        return effects


def load_interview(library: Library, interview_id: int) -> InterviewState:
    """A saved interview. Raises UsageError when there is none of that number."""
    rows = library.read("SELECT state FROM interviews WHERE id = ?", (interview_id,))
    if not rows:
        raise UsageError(f"there is no interview {interview_id}: start a new one")
    return interview.from_json(rows[0][0])


def saved_interviews(library: Library, limit: int = 50) -> list[SavedInterview]:
    """The interviews, newest first."""
    saved = []
    for interview_id, text in library.read("SELECT id, state FROM interviews ORDER BY id DESC LIMIT ?", (limit,)):
        state = interview.from_json(text)
        saved.append(
            SavedInterview(interview_id, state.topic, len(state.outcomes), len(state.questions), state.started_at, state.ended_at)
        )
    return saved


def _save(connection: sqlite3.Connection, interview_id: int, before: InterviewState, after: InterviewState) -> None:
    ended = after.ended_at.astimezone(UTC).isoformat() if after.phase is Phase.FINISHED and after.ended_at else None
    cursor = connection.execute(
        "UPDATE interviews SET state = ?, ended_at = ? WHERE id = ? AND state = ?",
        (interview.to_json(after), ended, interview_id, interview.to_json(before)),
    )
    if not cursor.rowcount:
        raise MianpuError("this interview went on in another window: open it again from the list of interviews")


def _record(connection: sqlite3.Connection, effect: RecordReview) -> None:
    question = effect.question
    rating = Rating(effect.rating)
    schedule.review_in(connection, question.key, question.text, rating, effect.score, effect.answer, effect.detail, effect.now)
