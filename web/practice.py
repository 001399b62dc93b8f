"""Two things a learner does to the schedule from the page: choosing another rating for an answer, and practising one question."""

from datetime import UTC, datetime

from fsrs import Card, Rating

from assistant.interviews import interview
from assistant.interviews.questions import Bank
from assistant.interviews.schedule import SCHEDULER, card_of
from ingest.errors import UsageError
from ingest.storage.library import Library


def previews(library: Library, key: str) -> tuple[Rating, dict[Rating, datetime]]:
    """The rating of the last review of a question, and for each rating when the question would come back (UTC)."""
    history = _history(library, key)
    card = _replayed(library, key, history[:-1])
    last_rating, at = history[-1]
    dues = {rating: SCHEDULER.review_card(card, rating, at)[0].due for rating in Rating}
    return last_rating, dues


def rerate(library: Library, key: str, rating: Rating) -> None:
    """Replace the rating of a question's last review; its card becomes what it would be with that rating."""
    history = _history(library, key)
    _, at = history[-1]
    card, _ = SCHEDULER.review_card(_replayed(library, key, history[:-1]), rating, at)
    with library.transaction() as connection:
        connection.execute(
            "UPDATE reviews SET rating = ? WHERE id = (SELECT max(id) FROM reviews WHERE key = ?)", (int(rating), key)
        )
        due = card.due.astimezone(UTC).isoformat(timespec="microseconds")
        connection.execute("UPDATE cards SET card = ?, due = ? WHERE key = ?", (card.to_json(), due, key))


def begin_one(library: Library, bank: Bank, key: str, now: datetime) -> int:
    """Save an interview of one question; returns its number. Raises UsageError when the question is not in the library."""
    question = next((q for q in bank.questions if q.key == key), None)
    if question is None:
        raise UsageError("this question is no longer in the library")
    state, _ = interview.start(Bank((question,), bank.due), "", 1, now)
    with library.transaction() as connection:
        row = (question.topic, interview.to_json(state), now.astimezone(UTC).isoformat())
        cursor = connection.execute("INSERT INTO interviews (topic, state, started_at) VALUES (?, ?, ?)", row)
        return int(cursor.lastrowid or 0)


def _history(library: Library, key: str) -> list[tuple[Rating, datetime]]:
    rows = library.read("SELECT rating, reviewed_at FROM reviews WHERE key = ? ORDER BY id", (key,))
    if not rows:
        raise UsageError("this question was never answered")
    return [(Rating(rating), datetime.fromisoformat(at)) for rating, at in rows]


def _replayed(library: Library, key: str, history: list[tuple[Rating, datetime]]) -> Card:
    """The card after these reviews. The scheduler has no random part, so replaying gives the same card."""
    known = card_of(library, key)
    first = history[0][1] if history else datetime.now(UTC)
    card = Card(card_id=known.card_id if known else 1, due=first)
    for rating, at in history:
        card, _ = SCHEDULER.review_card(card, rating, at)
    return card
