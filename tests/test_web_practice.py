"""What a learner does from the page: another rating, one question, an interview."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from fsrs import Rating

from assistant.interviews.questions import question_bank
from assistant.interviews.schedule import card_of, cards_due, review
from assistant.interviews.session import InterviewSession
from ingest.errors import UsageError
from tests import web_desk
from tests.web_desk import ASKED
from web import practice
from web.desk import Desk

notes, desk = web_desk.notes, web_desk.desk  # fixtures


NOW = datetime(2025, 3, 1, 9, tzinfo=UTC)


def test_another_rating_gives_the_card_that_rating_would_have_given(desk: Desk) -> None:
    def reviewed(key: str, *ratings: Rating) -> None:
        for days, rating in enumerate(ratings):
            review(desk.library, key, "q", rating, 50, "a", "{}", NOW + timedelta(days=days))

    reviewed("changed", Rating.Good, Rating.Again)
    reviewed("straight", Rating.Good, Rating.Easy)
    chosen, dues = practice.previews(desk.library, "changed")
    assert chosen is Rating.Again and dues[Rating.Again] == cards_due(desk.library)["changed"]
    practice.rerate(desk.library, "changed", Rating.Easy)
    assert practice.previews(desk.library, "changed")[0] is Rating.Easy
    changed, straight = (card_of(desk.library, key) for key in ("changed", "straight"))
    assert changed is not None and straight is not None
    assert (changed.due, changed.stability, changed.difficulty) == (straight.due, straight.stability, straight.difficulty)
    assert dues[Rating.Easy] == changed.due == cards_due(desk.library)["changed"]
    with pytest.raises(UsageError):
        practice.rerate(desk.library, "never", Rating.Good)


def test_one_question_can_be_practised(desk: Desk) -> None:
    bank = question_bank(desk.library, desk.graph.glossary)
    question = next(q for q in bank.questions if q.text == ASKED)
    number = practice.begin_one(desk.library, bank, question.key, NOW)
    session = InterviewSession(desk.library, desk.assistant.embedder, desk.graph.glossary, lambda: NOW)
    session.resume(number)
    assert session.state.question == question and len(session.state.questions) == 1
    with pytest.raises(UsageError):
        practice.begin_one(desk.library, bank, "gone", NOW)


def test_the_state_of_an_interview_is_json(desk: Desk) -> None:
    session = InterviewSession(desk.library, desk.assistant.embedder, desk.graph.glossary, lambda: NOW)
    session.begin("", 1)
    assert json.loads(desk.library.read("SELECT state FROM interviews")[0][0])["position"] == 0
