from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from fsrs import Card, Rating, Scheduler, State

from assistant.interviews import schedule
from ingest.storage.library import Library
from tests.small_library import parsed, publish, small_library

NOW = datetime(2022, 11, 29, 12, 30, tzinfo=UTC)
QUESTIONS = [("甲?", "答甲"), ("乙?", "答乙"), ("丙?", "答丙")]


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with small_library(tmp_path, parsed("a.md", [], QUESTIONS)) as made:
        yield made


def keys(library: Library) -> dict[str, str]:
    return {pair.question: pair.key for pair in library.all_pairs()}


def review(library: Library, key: str, rating: Rating, now: datetime, score: float = 50.0) -> Card:
    return schedule.review(library, key, f"问题 {key}", rating, score, "我的回答", "{}", now)


def test_a_golden_history(library: Library) -> None:
    """The history of py-fsrs's own test suite (test_review_card): each review when the card is due, intervals in days."""
    ratings = [Rating.Good] * 6 + [Rating.Again] * 2 + [Rating.Good] * 5
    now, intervals = NOW, []
    for rating in ratings:
        card = review(library, "k", rating, now)
        intervals.append((card.due - now).days)
        now = card.due
    assert intervals == [0, 2, 11, 46, 163, 498, 0, 0, 2, 4, 7, 12, 21]
    assert library.read("SELECT count(*), sum(rating) FROM reviews") == [(13, 35)]


def test_the_first_good_answer_by_hand(library: Library) -> None:
    card = review(library, "k", Rating.Good, NOW)
    assert (card.state, card.step, card.due) == (State.Learning, 1, NOW + timedelta(minutes=10))
    assert card.stability == Scheduler().parameters[2]  # FSRS: the stability after a first Good is the third parameter
    assert schedule.card_of(library, "k") == card
    assert schedule.card_of(library, "other") is None


@pytest.mark.parametrize(
    ("score", "rating"),
    [
        (0, Rating.Again),
        (39.9, Rating.Again),
        (40, Rating.Hard),
        (64.9, Rating.Hard),
        (65, Rating.Good),
        (89.9, Rating.Good),
        (90, Rating.Easy),
        (100, Rating.Easy),
    ],
)
def test_rating_for(score: float, rating: Rating) -> None:
    assert schedule.rating_for(score) == rating


def test_due_cards_come_longest_overdue_first_and_only_from_the_library(library: Library) -> None:
    key = keys(library)
    review(library, key["甲?"], Rating.Again, NOW)  # due in 1 minute
    review(library, key["乙?"], Rating.Good, NOW - timedelta(minutes=10))  # due now
    review(library, key["丙?"], Rating.Easy, NOW)  # due in days
    review(library, "gone", Rating.Again, NOW - timedelta(days=3))  # its question stands nowhere
    assert [c.key for c in schedule.due(library, NOW)] == [key["乙?"]]
    later = schedule.due(library, NOW + timedelta(minutes=1))
    assert [(c.key, c.due) for c in later] == [(key["乙?"], NOW), (key["甲?"], NOW + timedelta(minutes=1))]
    assert [c.key for c in schedule.due(library, NOW + timedelta(days=30), limit=1)] == [key["乙?"]]
    publish(library, removed=["a.md"])
    assert schedule.due(library, NOW + timedelta(days=30)) == []  # asleep
    publish(library, parsed("renamed.md", [], QUESTIONS))
    assert len(schedule.due(library, NOW + timedelta(days=30))) == 3  # awake


def test_fractions_of_a_second_keep_their_order(library: Library) -> None:
    key = keys(library)["甲?"]
    review(library, key, Rating.Again, NOW + timedelta(microseconds=5))
    assert schedule.due(library, NOW + timedelta(minutes=1)) == []
    assert len(schedule.due(library, NOW + timedelta(minutes=1, microseconds=5))) == 1


def test_any_time_zone_is_the_same_moment(library: Library) -> None:
    shanghai = timezone(timedelta(hours=8))
    one = review(library, "a", Rating.Good, NOW)
    other = review(library, "b", Rating.Good, NOW.astimezone(shanghai))
    assert (one.due, one.stability) == (other.due, other.stability)
    with pytest.raises(ValueError, match="time zone"):
        schedule.due(library, datetime(2024, 1, 1))


def test_a_failed_review_changes_nothing(library: Library) -> None:
    review(library, "k", Rating.Good, NOW)
    with pytest.raises(ValueError, match="time zone"):
        review(library, "k", Rating.Good, datetime(2024, 1, 1))
    assert library.read("SELECT count(*) FROM reviews") == [(1,)]


def test_statistics(library: Library) -> None:
    empty = schedule.statistics(library, NOW)
    assert (empty.cards, empty.reviewed_today, empty.streak_days, empty.average, empty.topics, empty.recall) == (
        0,
        0,
        0,
        None,
        (),
        None,
    )
    key = keys(library)
    for days_ago, question, score, rating in [
        (4, "甲?", 20, Rating.Again),
        (2, "甲?", 60, Rating.Good),
        (1, "乙?", 80, Rating.Good),
        (1, "丙?", 100, Rating.Easy),
    ]:
        review(library, key[question], rating, NOW - timedelta(days=days_ago), score)
    topics = {key["甲?"]: "注意力", key["乙?"]: "注意力", key["丙?"]: "训练"}
    shown = schedule.statistics(library, NOW, topics)
    assert (shown.cards, shown.reviewed_today, shown.streak_days, shown.average) == (3, 0, 2, 65.0)
    assert [(t.topic, t.average, t.reviews) for t in shown.topics] == [("注意力", pytest.approx(160 / 3), 3), ("训练", 100.0, 1)]
    assert shown.due_now == len(schedule.due(library, NOW)) == 2
    assert shown.due_week == 2 + (schedule.cards_due(library)[key["丙?"]] <= NOW + timedelta(days=7))
    recalls = [schedule.retrievability(card, NOW) for k in topics if (card := schedule.card_of(library, k))]
    assert shown.recall == pytest.approx(sum(recalls) / 3)
    review(library, key["甲?"], Rating.Good, NOW)
    assert (schedule.statistics(library, NOW).reviewed_today, schedule.statistics(library, NOW).streak_days) == (1, 3)


def test_retrievability_by_hand(library: Library) -> None:
    card = review(library, "k", Rating.Easy, NOW)
    assert card.stability == pytest.approx(8.2956)
    # FSRS-6: R(t) = (1 + factor t / S) ** -decay with R(S) = 0.9; t counts whole days
    decay = 0.1542
    factor = 0.9 ** (-1 / decay) - 1
    assert schedule.retrievability(card, NOW + timedelta(days=8)) == pytest.approx((1 + factor * 8 / 8.2956) ** -decay)
    assert schedule.retrievability(card, NOW) == 1.0


def test_today_is_the_day_of_the_given_clock(library: Library) -> None:
    late = datetime(2024, 5, 1, 23, 30, tzinfo=UTC)  # already the second of May in Shanghai
    review(library, keys(library)["甲?"], Rating.Good, late)
    shanghai = timezone(timedelta(hours=8))
    assert schedule.statistics(library, datetime(2024, 5, 2, 9, 0, tzinfo=shanghai)).reviewed_today == 1
    assert schedule.statistics(library, datetime(2024, 5, 2, 9, 0, tzinfo=UTC)).reviewed_today == 0
