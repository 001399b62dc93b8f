"""The chat view: a question, the answer as it is written, the passages beside it, and earlier chats.

The finished part of a chat lives in the library; the page holds only the chat's number. ``ask`` turns the events of one answer into
updates of the page, and keeps what was written however the answer ends.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape

import gradio as gr

from assistant.answers import answering, history
from assistant.answers.prompts import language as language_of
from assistant.engine.llm import Turn as Said
from assistant.engine.queue import TooMany
from ingest.errors import MianpuError
from web.desk import Desk
from web.following import following
from web.markdown import inline
from web.progress import local_now
from web.render import attributes, button, element, empty, notice, panel
from web.texts import Texts
from web.turns import Turn, advance, passages_html, turn_html

EXAMPLES = 4
_SECONDS = 0.08  # least time between two updates of a growing answer
_TITLE = 40


@dataclass(frozen=True, slots=True)
class ChatView:
    """The parts that other views or the start of the page fill."""

    hello: gr.HTML
    chats: gr.HTML


def view(t: Texts, language: str, desk: Desk) -> ChatView:
    """Build the view."""
    chat = gr.State(0)
    with gr.Row(elem_id="chat"):
        with gr.Column(elem_id="chats"):
            new = gr.Button(t("chat.new"), variant="secondary", elem_id="new-chat")
            wanted = gr.Textbox(
                show_label=False, placeholder=t("chats.search"), lines=1, max_lines=1, container=False, elem_id="chat-search",
            )  # fmt: skip
            chats = panel(chat_list(desk, 0, t), elem_id="chat-list", js=_BUS)
        with gr.Column(elem_id="talk"):
            with gr.Column(elem_id="conversation"):
                hello = panel(welcome(desk, t, language), elem_id="hello")
                past = panel("", elem_id="past", js=_OPENED)
                live = panel("", elem_id="live", js=_FOLLOW)
            panel(button(t("chat.down"), kind="down", title=t("chat.down"), data_act="down"), elem_id="down-place")
            with gr.Column(elem_id="composer"):
                with gr.Row(elem_classes="ask-row"):
                    question = gr.Textbox(
                        show_label=False, lines=1, max_lines=7, placeholder=t("chat.placeholder"), elem_id="question",
                        container=False,
                    )  # fmt: skip
                    send = gr.Button(t("chat.send"), variant="primary", elem_id="send")
                    stop = gr.Button(t("stop"), variant="stop", visible=False, elem_id="stop")
                refused = panel("", elem_id="refused")
                hints = [t("chat.hint"), *([t("chat.quoteonly")] if desk.assistant.chat_model is None else [])]
                panel(element("p", " · ".join(hints), class_="hint"))
        with gr.Column(elem_id="side"):
            sources = panel(passages_html(None, t), elem_id="sources")
            panel('<div id="reader"></div>', elem_id="reader-place")
    outputs = [question, chat, hello, past, live, sources, send, stop, chats, refused]

    def ask(text: str, number: int, request: gr.Request) -> Iterator[list[object]]:
        if not text.strip():
            yield [gr.skip()] * len(outputs)
            return
        yield from answering_updates(desk, t, language, text.strip(), number, str(request.session_hash), _user(request))

    def ask_sent(event: gr.EventData, number: int, request: gr.Request) -> Iterator[list[object]]:
        desk.leave_answer(str(request.session_hash))
        yield from ask(str(event._data["value"]), number, request)

    def again(event: gr.EventData, number: int, request: gr.Request) -> Iterator[list[object]]:
        """The last question once more: as it was, edited, or with what it means put differently."""
        session, sent = str(request.session_hash), dict(event._data or {})
        desk.leave_answer(session)
        turns = turns_of(desk, number)
        if not turns:
            yield [gr.skip()] * len(outputs)
            return
        question = str(sent.get("question") or "").strip() or turns[-1].question
        meant = str(sent.get("meant") or "").strip() or None
        if not sent.get("question") and meant is None and turns[-1].understood:
            meant = turns[-1].understood
        yield from answering_updates(desk, t, language, question, number, session, _user(request), meant, replace=True)

    def opened(number: int) -> list[object]:
        turns = turns_of(desk, number)
        return [
            gr.skip(), number, gr.update(visible=False) if turns else gr.update(visible=True, value=welcome(desk, t, language)),
            _all_turns(desk, turns, t, language), "", passages_html(turns[-1] if turns else None, t),
            gr.update(visible=True), gr.update(visible=False), chat_list(desk, number, t), "",
        ]  # fmt: skip

    def open_chat(event: gr.EventData, request: gr.Request) -> list[object]:
        desk.leave_answer(str(request.session_hash))
        return opened(int(event._data["value"]))

    def new_chat(request: gr.Request) -> list[object]:
        desk.leave_answer(str(request.session_hash))
        return opened(0)

    def remove(event: gr.EventData, number: int, request: gr.Request) -> list[object]:
        gone = int(event._data["value"])
        history.delete_chat(desk.library, gone)
        if gone != number:
            return [*[gr.skip()] * (len(outputs) - 2), chat_list(desk, number, t), gr.skip()]
        return new_chat(request)

    def rename(event: gr.EventData, number: int) -> str:
        title = str(event._data["text"]).strip()[: 2 * _TITLE]
        if title:
            history.rename_chat(desk.library, int(event._data["value"]), title)
        return chat_list(desk, number, t)

    def stopped(request: gr.Request) -> None:
        desk.stop_answer(str(request.session_hash))

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    gr.on([question.submit, send.click], ask, [question, chat], outputs, **quiet)
    chats.ask(ask_sent, chat, outputs, **quiet)
    chats.again(again, chat, outputs, **quiet)
    wanted.change(lambda words, number: chat_list(desk, number, t, words), [wanted, chat], chats, **quiet)
    stop.click(stopped, None, None, queue=False, **quiet)
    new.click(new_chat, None, outputs, **quiet)
    chats.open(open_chat, None, outputs, **quiet)
    chats.remove(remove, chat, outputs, **quiet)
    chats.rename(rename, chat, chats, **quiet)
    return ChatView(hello, chats)


_BUS = "mianpu.connect('chat', trigger, ['ask', 'open', 'remove', 'rename', 'again'])"
_OPENED = "watch('value', () => mianpu.opened(element))"
_FOLLOW = "watch('value', () => mianpu.grow(element))"


def answering_updates(
    desk: Desk,
    t: Texts,
    language: str,
    question: str,
    number: int,
    session: str,
    user: str = "",
    understood: str | None = None,
    replace: bool = False,
) -> Iterator[list[object]]:
    """The updates of the page while one question is answered, as ``understood`` if that is given; with ``replace`` it takes the
    place of the chat's last one. Only a line that says so when the session or the user has enough questions already."""
    skip = gr.skip()
    try:
        signal = desk.begin_answer(session, user)
    except TooMany as error:
        mine = t("chat.busy") if desk.answers(session) else t("chat.mine", n=desk.limit.most)
        yield [*[skip] * 9, notice(mine if error.mine else t("chat.full"), "bad")]
        return
    turn = Turn(question)
    try:
        if replace:
            history.drop_last_question(desk.library, number)
        earlier = turns_of(desk, number)
        new = not any(chat.id == number for chat in history.chats(desk.library)) if not earlier else False
        number = history.new_chat(desk.library, _title(question)) if new else number
        history.add_message(desk.library, number, "user", question)
        past = "".join(turn_html(one, t, language) for one in earlier)
        shown = [turn_html(turn, t, language), passages_html(turn, t)]
        buttons = [gr.update(visible=False), gr.update(visible=True)]
        yield [
            "" if not replace else skip,
            number,
            gr.update(visible=False),
            past,
            *shown,
            *buttons,
            chat_list(desk, number, t),
            "",
        ]
        written = 0.0
        try:
            for event in answering.answer(question, said(earlier), desk.assistant, signal.stop, understood):
                if isinstance(event, answering.Quote) and desk.assistant.chat_model is None:
                    continue  # the answer will be made of these sentences
                before, turn = turn, advance(turn, event)
                now = time.monotonic()
                if signal.left.is_set() or (turn.stage == before.stage == "writing" and now - written < _SECONDS):
                    continue
                written = now
                news = (turn.hits, turn.sentences) != (before.hits, before.sentences)
                yield [
                    skip,
                    skip,
                    skip,
                    skip,
                    turn_html(turn, t, language),
                    passages_html(turn, t) if news else skip,
                    skip,
                    skip,
                    skip,
                    skip,
                ]
        except MianpuError as error:
            turn = turn.failed(str(error))
        finally:
            turn = turn.stopped() if turn.running else turn
            history.add_message(desk.library, number, "assistant", turn.text, turn.to_json())
    finally:
        desk.end_answer(session, signal)
    if not signal.left.is_set():
        shown = [turn_html(turn, t, language, True, _following(desk, turn, earlier)), passages_html(turn, t)]
        done = [*shown, gr.update(visible=True), gr.update(visible=False)]
        yield [skip, skip, skip, skip, *done, chat_list(desk, number, t), skip]


def turns_of(desk: Desk, number: int) -> list[Turn]:
    """The turns of a chat, oldest first; [] for a chat that is not there."""
    turns: list[Turn] = []
    for message in history.messages(desk.library, number) if number else []:
        if message.role == "user":
            turns.append(Turn(message.content, "stopped"))
        elif turns:
            turns[-1] = Turn.from_json(turns[-1].question, message.content, message.detail)
    return turns


def said(turns: Sequence[Turn]) -> tuple[Said, ...]:
    """The chat so far as the model reads it; questions without an answer are left out."""
    answered = [turn for turn in turns if turn.text and turn.stage in ("done", "stopped")]
    asked = [(turn.understood or turn.question, turn.text) for turn in answered]
    return tuple(part for question, text in asked for part in (Said("user", question), Said("assistant", text)))


def _all_turns(desk: Desk, turns: Sequence[Turn], t: Texts, language: str) -> str:
    parts = [turn_html(turn, t, language) for turn in turns[:-1]]
    return "".join([*parts, *(turn_html(turn, t, language, True, _following(desk, turn, turns[:-1])) for turn in turns[-1:])])


def _following(desk: Desk, turn: Turn, earlier: Sequence[Turn]) -> tuple[str, ...]:
    """What may be asked after a turn; nothing after one that failed or was stopped."""
    if turn.stage not in ("done", "notfound"):
        return ()
    asked = [one.question for one in (*earlier, turn)]
    return following(turn.understood or turn.question, turn.hits if turn.stage == "done" else (), asked, desk.bank, desk.graph)


def _user(request: gr.Request) -> str:
    """Who the limit counts: everyone at one address together, since a page opened again is a session of its own."""
    return str(getattr(request.client, "host", "") or request.session_hash)


def welcome(desk: Desk, t: Texts, language: str) -> str:
    """What an empty chat shows: what this is, and questions the library can answer."""
    if not desk.library.passage_count():
        action = button(t("chat.starter"), kind="primary", data_go="starter") + button(
            t("chat.openlibrary"), kind="quiet", data_go="library"
        )
        return empty(t("chat.nolibrary"), t("chat.nolibrary.text"), action)
    bank = desk.bank
    answered = [question.text for question in bank.questions if question.has_reference]
    own = [text for text in answered if language_of(text) == language]
    pool = own if len(own) >= EXAMPLES else answered
    short = [text for text in pool if len(text) <= (48 if language == "zh" else 96)]
    pool = short if len(short) >= EXAMPLES else pool
    chosen = random.sample(pool, min(EXAMPLES, len(pool)))
    buttons = "".join(
        f'<button type="button"{attributes(data_send="chat:ask", data_value=text)}>{inline(text)}</button>' for text in chosen
    )
    examples = f'<p class="quiet">{escape(t("chat.examples"))}</p><div class="examples">{buttons}</div>' if chosen else ""
    return f'<div class="hello"><h2>{escape(t("chat.hello"))}</h2><p>{escape(t("chat.hello.text"))}</p>{examples}</div>'


def chat_list(desk: Desk, current: int, t: Texts, words: str = "", now: datetime | None = None) -> str:
    """The chats, newest first, by the day they were last written to; those with ``words`` in them if any are given.

    The open one is marked. ``now`` is the present unless given.
    """
    today = (now or local_now()).date()
    groups: dict[str, list[str]] = {}
    if words.strip():
        found = [chat for chat, _ in history.search_chats(desk.library, words)]
        groups = {"when.found": [_chat_row(chat, current, t) for chat in found]} if found else {}
    else:
        for chat in history.chats(desk.library):
            groups.setdefault(_when(chat, today), []).append(_chat_row(chat, current, t))
    none = t("chats.nomatch") if words.strip() else t("chats.none")
    body = "".join(f'<p class="when">{escape(t(name))}</p><ul>{"".join(rows)}</ul>' for name, rows in groups.items())
    toggle = button(t("chats.title"), kind="quiet toggle", data_act="toggle", data_value="chats")
    return toggle + (body or f'<p class="quiet none">{escape(none)}</p>')


def _when(chat: history.Chat, today: date) -> str:
    """The name of the group a chat stands in: how many days of the reader's ago it was written to."""
    days = (today - datetime.fromisoformat(chat.updated_at).astimezone().date()).days
    return "when.today" if days < 1 else "when.yesterday" if days < 2 else "when.week" if days < 7 else "when.earlier"


def _chat_row(chat: history.Chat, current: int, t: Texts) -> str:
    title = button(chat.title, kind="title", title=chat.title, data_send="chat:open", data_value=chat.id)
    rename = button(t("chats.rename"), kind="quiet", title=t("chats.rename"), data_act="rename", data_value=chat.id)
    place = attributes(href=f"/mianpu/chat.md?number={chat.id}", download=f"mianpu-{chat.id}.md")
    export = f'<a class="quiet export"{place}>{escape(t("chats.export"))}</a>'
    sure = t("chats.sure")
    delete = button(t("chats.delete"), kind="quiet", data_send="chat:remove", data_value=chat.id, data_sure=sure)
    here = attributes(aria_current="true" if chat.id == current else None)
    return f'<li{here}>{title}<span class="tools">{rename}{export}{delete}</span></li>'


def _title(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _TITLE else line[: _TITLE - 1] + "…"
