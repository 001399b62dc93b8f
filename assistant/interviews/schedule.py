"""When a question should be seen again: FSRS cards in the library (the ``fsrs`` package's scheduler, without random fuzz).

Time is an argument everywhere: an aware datetime. Times are stored in UTC; «today» in the statistics is the day of the clock that
was given, so a caller that passes local time gets local days.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from fsrs import Card, Rating, Scheduler

from ingest.document import content_hash
from ingest.storage.library import Library

# FSRS-6 with its default parameters and wanted retention 0.9; without fuzz the same history gives the same dates.
SCHEDULER = Scheduler(enable_fuzzing=False)
# The least score (0..100) for each rating. Half of a reference answer missing is Hard, not Good: it should come back soon.
RATINGS = ((90.0, Rating.Easy), (65.0, Rating.Good), (40.0, Rating.Hard))


@dataclass(frozen=True, slots=True)
class DueCard:
    """A question that is due, and the moment since when (UTC). ``key`` is ``QuestionAnswer.key``."""

    key: str
    question: str
    due: datetime


@dataclass(frozen=True, slots=True)
class TopicScore:
    """The average score (0..100) of the reviews of one topic."""

    topic: str
    average: float
    reviews: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Where a learner stands.

    ``average`` is that of all scores (0..100), ``recall`` FSRS's predicted chance to recall a card now, averaged over the cards;
    both are None while there are none. ``sleeping`` cards have a question that no document holds any more; they count nowhere else.
    """

    cards: int
    reviewed_today: int
    due_now: int
    due_week: int
    streak_days: int
    average: float | None
    topics: tuple[TopicScore, ...]
    recall: float | None
    sleeping: int = 0


def rating_for(score: float) -> Rating:
    """FSRS's rating for a score of 0..100: below 40 Again, below 65 Hard, below 90 Good, else Easy."""
    return next((rating for least, rating in RATINGS if score >= least), Rating.Again)


def due(library: Library, now: datetime, limit: int = 20) -> list[DueCard]:
    """The cards due at ``now`` whose question stands in the library, longest overdue first.

    A card outlives its document: while no document holds the question it sleeps, and it is due again when one does.
    """
    rows = library.read(
        "SELECT key, question, due FROM cards WHERE due <= ? AND key IN (SELECT key FROM pairs) ORDER BY due, key LIMIT ?",
        (_stored(now), limit),
    )
    return [DueCard(key, question, datetime.fromisoformat(when)) for key, question, when in rows]


def sleeping(library: Library) -> list[DueCard]:
    """The cards whose question no document holds any more, by question: shown as such, never asked, awake again when one does."""
    rows = library.read("SELECT key, question, due FROM cards WHERE key NOT IN (SELECT key FROM pairs) ORDER BY question, key")
    return [DueCard(key, question, datetime.fromisoformat(when)) for key, question, when in rows]


def review(
    library: Library, key: str, question: str, rating: Rating, score: float, answer: str, detail: str, now: datetime
) -> Card:
    """Record one review and schedule the question again, in one transaction; ``score`` is 0..100, ``detail`` JSON."""
    with library.transaction() as connection:
        return review_in(connection, key, question, rating, score, answer, detail, now)


def review_in(
    connection: sqlite3.Connection, key: str, question: str, rating: Rating, score: float, answer: str, detail: str, now: datetime
) -> Card:
    """Like ``review``, inside a transaction of the caller (an interview records its review and its state together)."""
    row = connection.execute("SELECT card FROM cards WHERE key = ?", (key,)).fetchone()
    # Card() without an id sleeps and reads the clock; this id is the same on every machine.
    card = Card.from_json(row[0]) if row else Card(card_id=int(content_hash(key)[:12], 16), due=now.astimezone(UTC))
    card, _ = SCHEDULER.review_card(card, rating, now.astimezone(UTC))
    connection.execute("INSERT OR REPLACE INTO cards VALUES (?, ?, ?, ?)", (key, question, card.to_json(), _stored(card.due)))
    connection.execute(
        "INSERT INTO reviews (key, rating, score, answer, detail, reviewed_at) VALUES (?, ?, ?, ?, ?, ?)",
        (key, int(rating), score, answer, detail, _stored(now)),
    )
    return card


def card_of(library: Library, key: str) -> Card | None:
    """The card of a question, or None when it was never reviewed."""
    rows = library.read("SELECT card FROM cards WHERE key = ?", (key,))
    return Card.from_json(rows[0][0]) if rows else None


def mend_cards(library: Library) -> int:
    """Make cards that cannot be read anew from their reviews (without a review a card goes); returns how many."""
    broken = []
    for key, question, text in library.read("SELECT key, question, card FROM cards"):
        try:
            Card.from_json(text)
        except (ValueError, KeyError, TypeError):
            broken.append((key, question))
    for key, question in broken:
        card = None
        for rating, when in library.read("SELECT rating, reviewed_at FROM reviews WHERE key = ? ORDER BY id", (key,)):
            now = datetime.fromisoformat(when)
            card = card or Card(card_id=int(content_hash(key)[:12], 16), due=now)
            card, _ = SCHEDULER.review_card(card, Rating(rating), now)
        with library.transaction() as connection:
            connection.execute("DELETE FROM cards WHERE key = ?", (key,))
            if card is not None:
                connection.execute("INSERT INTO cards VALUES (?, ?, ?, ?)", (key, question, card.to_json(), _stored(card.due)))
    return len(broken)


def cards_due(library: Library) -> dict[str, datetime]:
    """Every card's due time (UTC) by question key."""
    return {key: datetime.fromisoformat(when) for key, when in library.read("SELECT key, due FROM cards")}


def retrievability(card: Card, now: datetime) -> float:
    """FSRS's predicted chance (0..1) that the question is answered at ``now``; 0 for a card never reviewed."""
    return float(SCHEDULER.get_card_retrievability(card, now.astimezone(UTC)))


def statistics(library: Library, now: datetime, topics: Mapping[str, str] | None = None) -> Statistics:
    """The learner's statistics at ``now``. ``topics`` maps question keys to topics; without it there are no topic averages."""
    rows = library.read("SELECT key, score, reviewed_at FROM reviews ORDER BY id")
    cards = [Card.from_json(card) for (card,) in library.read("SELECT card FROM cards WHERE key IN (SELECT key FROM pairs)")]
    days = [datetime.fromisoformat(at).astimezone(now.tzinfo).date() for *_, at in rows]
    by_topic: dict[str, list[float]] = defaultdict(list)
    for key, score, _ in rows:
        if topics and key in topics:
            by_topic[topics[key]].append(score)
    averages = [TopicScore(topic, sum(scores) / len(scores), len(scores)) for topic, scores in by_topic.items()]
    recalls = [retrievability(card, now) for card in cards]
    return Statistics(
        cards=len(cards),
        reviewed_today=days.count(now.date()),
        due_now=sum(card.due <= now for card in cards),
        due_week=sum(card.due <= now + timedelta(days=7) for card in cards),
        streak_days=_streak(set(days), now.date()),
        average=sum(score for _, score, _ in rows) / len(rows) if rows else None,
        topics=tuple(sorted(averages, key=lambda t: (t.average, t.topic))),
        recall=sum(recalls) / len(recalls) if recalls else None,
        sleeping=len(sleeping(library)),
    )


def _streak(days: set[date], today: date) -> int:
    """Days in a row with a review, up to today; a day that is not over yet does not break the row."""
    day = today if today in days else today - timedelta(days=1)
    length = 0
    while day in days:
        length, day = length + 1, day - timedelta(days=1)
    return length


def _stored(moment: datetime) -> str:
    """UTC with microseconds always written, so that text order is time order. Raises ValueError for a time without a zone."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone cannot be scheduled: pass datetime.now(UTC)")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
