"""The interview view: choose a topic, answer, see the marked checklist and when the question comes back, read the report.

The page holds only the number of its interview; every step loads the saved state, so a reload or another window goes on from there.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape

import gradio as gr
from fsrs import Rating

from assistant.interviews import interview
from assistant.interviews.grading import Grade
from assistant.interviews.interview import Effect, InterviewState, Outcome, Phase, Report, ShowGrade, Status
from assistant.interviews.session import InterviewSession, SavedInterview, saved_interviews
from ingest.document import QuestionAnswer
from ingest.errors import MianpuError
from web.concepts import area_name
from web.desk import Desk
from web.markdown import inline, to_html
from web.practice import begin_one, previews, rerate
from web.progress import local_now
from web.render import attributes, button, element, empty, highlighted, notice, panel, source_link
from web.texts import Texts

COUNTS = (3, 5, 10)
_RATINGS = (Rating.Again, Rating.Hard, Rating.Good, Rating.Easy)


def signals() -> gr.HTML:
    """What other views send to this one. It stands outside of the tabs: Gradio builds a tab when it is first opened."""
    return panel("", js="mianpu.connect('interview', trigger, ['practise', 'resume'])", elem_classes="bus")


def view(t: Texts, language: str, desk: Desk, bus: gr.HTML) -> tuple[gr.HTML, gr.Radio]:
    """Build the view; returns (introduction, topics), which the page fills when it loads."""
    running = gr.State(0)
    with gr.Column(elem_id="interview"):
        with gr.Column(elem_id="interview-setup") as setup:
            intro = panel(setup_page(desk, t, language))
            topic = gr.Radio(
                topic_choices(desk, t, language), value="", label=t("interview.topic"), elem_id="topic", elem_classes="pills"
            )
            count = gr.Radio(list(COUNTS), value=5, label=t("interview.count"), elem_id="count", elem_classes="pills")
            start = gr.Button(t("interview.start"), variant="primary", elem_id="begin")
        with gr.Column(visible=False, elem_id="interview-talk") as talk:
            asked = panel("", elem_id="asked")
            answer = gr.Textbox(
                show_label=False, lines=8, max_lines=24, placeholder=t("interview.placeholder"), elem_id="answer", container=False
            )
            marks = panel("", elem_id="marks")
            with gr.Column(visible=False, elem_id="rating") as rating:
                due_note = panel("", elem_id="due")
                with gr.Row(elem_classes="buttons"):
                    rates = [gr.Button(t(f"rating.{r.name}"), variant="secondary", elem_id=f"rate-{r.name}") for r in _RATINGS]
            with gr.Row(elem_classes="buttons"):
                submit = gr.Button(t("interview.submit"), variant="primary", elem_id="submit")
                reveal = gr.Button(t("interview.reveal"), variant="secondary", elem_id="reveal")
                skip = gr.Button(t("interview.skip"), variant="secondary", elem_id="skip")
                following = gr.Button(t("interview.next"), variant="primary", visible=False, elem_id="next")
                again = gr.Button(t("interview.again"), variant="primary", visible=False, elem_id="again")
                end = gr.Button(t("interview.end"), variant="secondary", elem_id="end")
    outputs = [
        running, setup, talk, intro, topic, asked, answer, marks, rating, due_note, *rates,
        submit, reveal, skip, following, end, again,
    ]  # fmt: skip

    def hall(message: str = "") -> list[object]:
        """The screen before an interview."""
        choices = topic_choices(desk, t, language)
        intro_html = (notice(message, "bad") if message else "") + setup_page(desk, t, language)
        hidden = [gr.skip()] * (len(outputs) - 5)
        return [0, gr.update(visible=True), gr.update(visible=False), intro_html, gr.update(choices=choices, value=""), *hidden]

    def shown(session: InterviewSession, effects: Sequence[Effect]) -> list[object]:
        """The screen of an interview in the phase it is in."""
        state = session.state
        asking, graded = state.phase is Phase.ASKING, state.phase is Phase.GRADED
        marked = graded and state.outcomes[-1].score is not None
        head = (
            report_page(interview.report(state), t, language)
            if state.phase is Phase.FINISHED
            else question_page(state, t, language)
        )
        grade = next((effect.grade for effect in effects if isinstance(effect, ShowGrade)), None)
        body = graded_page(state.outcomes[-1], grade, session.reference(state.question.key), t) if graded else ""
        rated = rating_updates(state.question.key) if marked else ["", *[gr.skip()] * len(rates)]
        last = state.position + 1 == len(state.questions)
        return [
            session.id,
            gr.update(visible=False),
            gr.update(visible=True),
            gr.skip(),
            gr.skip(),
            head,
            gr.update(visible=asking, value="") if asking else gr.update(visible=False),
            body,
            gr.update(visible=marked),
            *rated,
            gr.update(visible=asking),
            gr.update(visible=asking and state.question.has_reference),
            gr.update(visible=asking),
            gr.update(visible=graded, value=t("interview.toreport") if last else t("interview.next")),
            gr.update(visible=asking or graded),
            gr.update(visible=state.phase is Phase.FINISHED),
        ]

    def rating_updates(key: str) -> list[object]:
        now = local_now()
        chosen, dues = previews(desk.library, key)
        buttons = [
            gr.update(
                value=f"{t(f'rating.{r.name}')} · {until(dues[r], now, t)}", variant="primary" if r is chosen else "secondary"
            )
            for r in _RATINGS
        ]
        told = t("interview.due", when=until(dues[chosen], now, t), rating=t(f"rating.{chosen.name}"))
        return [f'<p class="due-note">{escape(told)}</p><p class="quiet">{escape(t("interview.due.more"))}</p>', *buttons]

    def session_of(number: int) -> InterviewSession:
        session = InterviewSession(desk.library, desk.assistant.embedder, desk.graph.glossary, local_now)
        if number:
            session.resume(number)
        return session

    def go(number: int, what: str, text: str = "") -> list[object]:
        """One step of a running interview."""
        try:
            session = session_of(number)
            steps = {"skip": session.skip, "reveal": session.reveal, "next": session.next, "end": session.end}
            if what == "answer" and not text.strip():
                updates = shown(session, ())
                updates[outputs.index(answer)] = gr.skip()
                updates[outputs.index(marks)] = notice(t("interview.emptyanswer"), "bad")
                return updates
            return shown(session, session.answer(text) if what == "answer" else steps[what]())
        except MianpuError as error:
            return hall(str(error))

    def begin(wanted: str, number: int) -> list[object]:
        try:
            session = session_of(0)
            return shown(session, session.begin(wanted, number))
        except MianpuError as error:
            return hall(str(error))

    def open_interview(event: gr.EventData, name: str) -> list[object]:
        try:
            session = session_of(0)
            value = str(event._data["value"])
            number = begin_one(desk.library, desk.bank, value, local_now()) if name == "practise" else int(value)
            return shown(session, session.resume(number))
        except MianpuError as error:
            return hall(str(error))

    def practise(event: gr.EventData) -> list[object]:
        return open_interview(event, "practise")

    def resume(event: gr.EventData) -> list[object]:
        return open_interview(event, "resume")

    def rate(number: int, which: Rating) -> list[object]:
        state = session_of(number).state
        if state.phase is not Phase.GRADED:
            return [gr.skip()] * (1 + len(rates))
        rerate(desk.library, state.question.key, which)
        return rating_updates(state.question.key)

    def rated(which: Rating) -> object:
        return lambda number: rate(number, which)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    start.click(begin, [topic, count], outputs, **quiet)
    gr.on([submit.click, answer.submit], lambda number, text: go(number, "answer", text), [running, answer], outputs, **quiet)
    for trigger, what in ((reveal, "reveal"), (skip, "skip"), (following, "next"), (end, "end")):
        trigger.click(lambda number, what=what: go(number, what), running, outputs, **quiet)
    for trigger, which in zip(rates, _RATINGS, strict=True):
        trigger.click(rated(which), running, [due_note, *rates], **quiet)
    again.click(hall, None, outputs, **quiet)
    bus.practise(practise, None, outputs, **quiet)
    bus.resume(resume, None, outputs, **quiet)
    return intro, topic


# --- the screens as HTML ------------------------------------------------------------------------------------------


def topic_choices(desk: Desk, t: Texts, language: str) -> list[tuple[str, str]]:
    """(what the reader sees, topic) for everything that can be asked about; "" is all topics."""
    bank = desk.bank
    topics = bank.topics(local_now())
    due = sum(topic.due for topic in topics)
    choices = [(_counted(t("interview.all"), len(bank.questions), due, t), "")]
    return choices + [(_counted(area_name(topic.name, language), topic.count, topic.due, t), topic.name) for topic in topics]


def _counted(name: str, count: int, due: int, t: Texts) -> str:
    return f"{name} {count}" + (f" · {t('interview.duecount', n=due)}" if due else "")


def setup_page(desk: Desk, t: Texts, language: str) -> str:
    """What stands above the choice of a topic: what this is, and the interview that was left unfinished."""
    bank = desk.bank
    if not bank.questions:
        return empty(
            t("interview.none"), t("interview.none.text"), button(t("chat.openlibrary"), kind="primary", data_go="library")
        )
    left = next((saved for saved in saved_interviews(desk.library, 5) if saved.ended_at is None), None)
    return f'<h2>{escape(t("interview.title"))}</h2><p class="lead">{escape(t("interview.text"))}</p>' + _unfinished(
        left, t, language
    )


def _unfinished(left: SavedInterview | None, t: Texts, language: str) -> str:
    if left is None:
        return ""
    name = area_name(left.topic, language) if left.topic else t("interview.all")
    told = t("interview.unfinished", topic=name, done=left.done, total=left.total)
    action = button(t("interview.resume"), kind="primary", data_send="interview:resume", data_value=left.id)
    return f'<div class="card resume"><p>{escape(told)}</p>{action}</div>'


def question_page(state: InterviewState, t: Texts, language: str) -> str:
    """The question in hand, and how far the interview is."""
    number, total = state.position + 1, len(state.questions)
    question = state.question
    where = f"{t('interview.number', n=number, total=total)} · {area_name(question.topic, language)}"
    steps = "".join(
        f"<li{attributes(class_=_step_class(state, i), title=t('interview.number', n=i + 1, total=total))}></li>"
        for i in range(total)
    )
    note = "" if question.has_reference else f'<p class="quiet">{escape(t("interview.open"))}</p>'
    return (
        f'<ol class="steps" aria-hidden="true">{steps}</ol>'
        f'{element("p", where, class_="trail")}<h2 class="question">{inline(question.text)}</h2>{note}'
    )


def _step_class(state: InterviewState, place: int) -> str:
    if place < len(state.outcomes):
        score = state.outcomes[place].score
        return "open" if score is None else "good" if score >= interview.REVIEW_BELOW else "bad"
    return "now" if place == state.position else "ahead"


def graded_page(outcome: Outcome, grade: Grade | None, reference: QuestionAnswer | None, t: Texts) -> str:
    """The marks of an answer: score, checklist, the answer with what was recognised in it, the reference with its source."""
    parts = []
    if outcome.score is not None:
        told = t("interview.revealed") if outcome.status is Status.REVEALED else t("interview.score")
        parts.append(f'<div class="score"><b>{outcome.score:.0f}</b><span>{escape(told)}</span>{_score_meter(outcome.score)}</div>')
    elif outcome.status is Status.OPEN:
        parts.append(notice(t("interview.ungraded")))
    if grade is not None:
        items = "".join(_point(marked.point.text, marked.hit, t) for marked in grade.points)
        hits = sum(marked.hit for marked in grade.points)
        parts.append(
            f"<section>{element('h3', t('interview.points', n=hits, total=len(grade.points)))}"
            f'<ul class="checklist">{items}</ul></section>'
        )
        if grade.remarks:
            parts.append('<ul class="remarks">' + "".join(f"<li>{inline(remark)}</li>" for remark in grade.remarks) + "</ul>")
    elif outcome.missed:
        items = "".join(_point(text, False, t) for text in outcome.missed)
        parts.append(f'<section><h3>{escape(t("interview.missed"))}</h3><ul class="checklist">{items}</ul></section>')
    if outcome.answer:
        spans = [span for marked in grade.points for span in marked.matched] if grade is not None else []
        parts.append(
            f'<section><h3>{escape(t("interview.youranswer"))}</h3><p class="own-answer">{highlighted(outcome.answer, spans)}</p>'
            + (f'<p class="quiet">{escape(t("interview.matched"))}</p>' if spans else "")
            + "</section>"
        )
    if reference is not None and reference.answer.strip():
        link = source_link(
            reference.document, reference.question_start, reference.answer_end, f"{t('source')} {reference.document}"
        )
        parts.append(
            f'<section class="reference"><h3>{escape(t("interview.reference"))}</h3>'
            f'<div class="prose">{to_html(reference.answer)}</div>{link}</section>'
        )
    return f'<div class="graded">{"".join(parts)}</div>'


def _point(text: str, hit: bool, t: Texts) -> str:
    sign, told = ("✓", t("interview.hit")) if hit else ("✗", t("interview.miss"))
    return (
        f'<li class="{"hit" if hit else "miss"}"><span class="sign" aria-hidden="true">{sign}</span>'
        f'<span><span class="sr">{escape(told)}</span>{inline(text)}</span></li>'
    )


def _score_meter(score: float) -> str:
    return f'<meter min="0" max="100"{attributes(value=f"{score:.0f}")}></meter>'


def report_page(report: Report, t: Texts, language: str) -> str:
    """The end of an interview."""
    average = f"{report.average:.0f}" if report.average is not None else "–"
    done = len(report.outcomes)
    rows = "".join(_report_row(outcome, t) for outcome in report.outcomes)
    weak = "、".join(area_name(topic.topic, language) for topic in report.weakest)
    told = (
        t("interview.weak", topics=weak)
        if weak
        else (t("interview.noweak") if report.average is not None else t("interview.nomarks"))
    )
    return (
        f'<h2>{escape(t("interview.report"))}</h2><div class="score"><b>{average}</b><span>{escape(t("interview.average"))}</span>'
        f"{_score_meter(report.average) if report.average is not None else ''}</div>"
        f'<p class="lead">{escape(t("interview.done", n=done, total=report.total))} {escape(told)}</p>'
        f'<ol class="report">{rows}</ol>'
    )


def _report_row(outcome: Outcome, t: Texts) -> str:
    score = f"{outcome.score:.0f}" if outcome.score is not None else "–"
    missed = "".join(f"<li>{inline(text)}</li>" for text in outcome.missed)
    details = (
        f"<details><summary>{escape(t('interview.missedcount', n=len(outcome.missed)))}</summary><ul>{missed}</ul></details>"
        if missed
        else ""
    )
    status = "" if outcome.status is Status.GRADED else f'<p class="quiet">{escape(t(f"status.{outcome.status.value}"))}</p>'
    good = outcome.score is not None and outcome.score >= interview.REVIEW_BELOW
    kind = "open" if outcome.score is None else "good" if good else "bad"
    return f'<li><b class="{kind}">{score}</b><div><p>{inline(outcome.question.text)}</p>{status}{details}</div></li>'


def until(due: datetime, now: datetime, t: Texts) -> str:
    """How long until a card is due, in the largest fitting unit."""
    minutes = (due - now).total_seconds() / 60
    if minutes < 1:
        return t("until.now")
    if minutes < 60:
        return t("until.minutes", n=round(minutes))
    days = (due.astimezone(now.tzinfo).date() - now.date()).days
    if days == 0:
        return t("until.hours", n=round(minutes / 60))
    if days == 1:
        return t("until.tomorrow")
    return t("until.days", n=days) if days < 60 else t("until.months", n=round(days / 30))
