"""The progress view: what is due, how steadily one practises, and what is still weak."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape

import gradio as gr

from assistant.interviews.schedule import DueCard, Statistics, due, sleeping, statistics
from ingest.storage.library import Library
from web.concepts import area_name
from web.desk import Desk
from web.markdown import inline
from web.render import attributes, button, element, empty, panel
from web.texts import Texts

DAYS = 28
_WEAKEST = 6


def view(t: Texts, language: str, desk: Desk) -> gr.HTML:
    """Build the view; the page fills it when it loads and whenever it is opened."""
    return panel(page(desk, t, language, local_now()), elem_id="progress")


def local_now() -> datetime:
    """Now, in the time zone of this computer, so that «today» is the learner's day."""
    return datetime.now().astimezone()


def page(desk: Desk, t: Texts, language: str, now: datetime) -> str:
    """The whole view."""
    bank = desk.bank
    numbers = statistics(desk.library, now, bank.topic_of())
    if not numbers.cards:
        action = button(t("progress.begin"), kind="primary", data_go="interview")
        add = button(t("chat.openlibrary"), kind="primary", data_go="library")
        return empty(t("progress.none"), t("progress.none.text"), action if bank.questions else add)
    days = reviews_by_day(desk.library, now, DAYS)
    waiting = due(desk.library, now, 6)
    return (
        f'<div class="tiles">{_tiles(numbers, t)}</div>{_sleeping(sleeping(desk.library), t)}'
        f"<section><h3>{escape(t('progress.days', n=DAYS))}</h3>{_chart(days, t)}</section>"
        f'<div class="two"><section><h3>{escape(t("progress.due"))}</h3>{_due(waiting, t)}</section>'
        f"<section><h3>{escape(t('progress.weakest'))}</h3>{_weakest(numbers, t, language)}</section></div>"
    )


def reviews_by_day(library: Library, now: datetime, days: int) -> dict[date, tuple[int, float]]:
    """(reviews, average score) of each of the last ``days`` days of ``now``'s time zone, oldest first."""
    found: dict[date, list[float]] = defaultdict(list)
    for at, score in library.read("SELECT reviewed_at, score FROM reviews"):
        found[datetime.fromisoformat(at).astimezone(now.tzinfo).date()].append(float(score))
    wanted = [now.date() - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return {day: (len(found[day]), sum(found[day]) / len(found[day]) if found[day] else 0.0) for day in wanted}


def _tiles(numbers: Statistics, t: Texts) -> str:
    average = f"{numbers.average:.0f}" if numbers.average is not None else "–"
    recall = f"{numbers.recall:.0%}" if numbers.recall is not None else "–"
    tiles = [
        ("progress.tile.due", str(numbers.due_now), t("progress.tile.due.more", n=numbers.due_week)),
        ("progress.tile.streak", str(numbers.streak_days), t("progress.tile.streak.more", n=numbers.reviewed_today)),
        ("progress.tile.average", average, t("progress.tile.average.more", n=numbers.cards)),
        ("progress.tile.recall", recall, t("progress.tile.recall.more")),
    ]
    return "".join(
        f'<div class="tile"><p>{escape(t(name))}</p><b>{escape(value)}</b><p class="quiet">{escape(more)}</p></div>'
        for name, value, more in tiles
    )


def _chart(days: Mapping[date, tuple[int, float]], t: Texts) -> str:
    """A bar for each day: its height is the number of reviews."""
    most = max((count for count, _ in days.values()), default=0)
    columns = []
    for number, (day, (count, average)) in enumerate(days.items()):
        told = (
            t("progress.day", day=f"{day:%m-%d}", n=count, average=f"{average:.0f}")
            if count
            else t("progress.day.none", day=f"{day:%m-%d}")
        )
        height = attributes(style=f"height:{max(6.0, 100 * count / most):.0f}%") if count else ""
        name = f"{day.month}/{day.day}" if number % 7 == len(days) % 7 or number == len(days) - 1 else ""
        columns.append(
            f'<li{attributes(title=told)}><span class="sr">{escape(told)}</span><i{height}></i><small>{escape(name)}</small></li>'
        )
    return f'<ol class="days">{"".join(columns)}</ol>'


def _due(waiting: Sequence[DueCard], t: Texts) -> str:
    if not waiting:
        return f'<p class="quiet">{escape(t("progress.nothingdue"))}</p>'
    rows = "".join(
        f"<li><p>{inline(card.question)}</p>"
        f"{button(t('progress.practise'), kind='source', data_go='practise', data_value=card.key)}</li>"
        for card in waiting
    )
    return f'<ul class="question-list">{rows}</ul>'


def _sleeping(cards: Sequence[DueCard], t: Texts) -> str:
    """Questions that were practised and stand in no document any more; what was learnt of them is kept."""
    if not cards:
        return ""
    rows = "".join(f"<li><p>{inline(card.question)}</p></li>" for card in cards)
    head = element("summary", t("progress.sleeping", n=len(cards)))
    return f'<details class="sleeping">{head}<ul class="question-list">{rows}</ul></details>'


def _weakest(numbers: Statistics, t: Texts, language: str) -> str:
    rows = "".join(
        f"<li>{element('span', area_name(topic.topic, language))}"
        f'<meter min="0" max="100"{attributes(value=f"{topic.average:.0f}")}></meter>'
        f"<b>{topic.average:.0f}</b><small>{escape(t('progress.reviews', n=topic.reviews))}</small></li>"
        for topic in numbers.topics[:_WEAKEST]
    )
    return f'<ul class="topics">{rows}</ul>' if rows else f'<p class="quiet">{escape(t("progress.notopics"))}</p>'
