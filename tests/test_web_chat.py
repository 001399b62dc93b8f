"""What the chat view does to the library: answers written, kept, stopped, asked again."""

import re
import threading
import time
from collections.abc import Iterator

from assistant.answers import history
from ingest.errors import MianpuError
from tests import web_desk
from tests.web_desk import ASKED, ScriptedModel, T, asked, talked
from web import chat
from web.desk import Desk
from web.turns import Turn

notes, desk = web_desk.notes, web_desk.desk  # fixtures


def test_an_answer_is_written_checked_and_kept(desk: Desk) -> None:
    updates = list(asked(desk))
    number = updates[0][1]
    assert isinstance(number, int) and updates[0][0] == ""
    final = str(updates[-1][4])
    assert 'data-stage="done"' in final and 'class="cite"' in final and "有出处" in final
    assert re.search(r'class="unsupported"[^>]*>量化训练要先归一化。', final)
    kept = chat.turns_of(desk, number)
    assert [turn.question for turn in kept] == [ASKED] and kept[0].stage == "done" and "重算" in kept[0].text
    assert [c.title for c in history.chats(desk.library)] == [ASKED]


def test_a_second_question_goes_on_with_the_chat(desk: Desk) -> None:
    number = talked(desk)
    updates = list(asked(desk, "它占多少显存？", number))
    assert ASKED in str(updates[0][3])  # the first turn stands above
    model = desk.assistant.chat_model
    assert isinstance(model, ScriptedModel)
    assert [turn.role for turn in model.prompts[-1].history] == ["user", "assistant"]
    assert len(chat.turns_of(desk, number)) == 2


def test_stop_ends_an_answer_and_keeps_what_was_written(desk: Desk) -> None:
    gate = threading.Event()
    desk.assistant.chat_model = ScriptedModel(("第一句话写完了。", "第二句"), gate)
    updates: list[list[object]] = []
    worker = threading.Thread(target=lambda: updates.extend(asked(desk)))
    worker.start()
    while not any("正在读" in str(update[4]) for update in updates):
        time.sleep(0.01)
        assert worker.is_alive()
    began = time.monotonic()
    desk.stop_answer("someone else")
    time.sleep(0.1)
    assert worker.is_alive()
    desk.stop_answer("s")
    worker.join(timeout=5)
    assert time.monotonic() - began < 2 and not worker.is_alive()
    assert 'data-stage="stopped"' in str(updates[-1][4]) and "已停止" in str(updates[-1][4])


def test_two_sessions_are_answered_at_once(desk: Desk) -> None:
    gate = threading.Event()
    desk.assistant.chat_model = ScriptedModel(("KV 缓存不再重算。",), gate)
    results: dict[str, list[list[object]]] = {}
    workers = [threading.Thread(target=lambda s=s: results.update({s: list(asked(desk, session=s))})) for s in ("a", "b")]
    for worker in workers:
        worker.start()
    time.sleep(0.3)
    gate.set()
    for worker in workers:
        worker.join(timeout=10)
    assert {session: 'data-stage="done"' in str(updates[-1][4]) for session, updates in results.items()} == {"a": True, "b": True}


def test_a_model_that_fails_says_why_and_leaves_no_open_answer(desk: Desk) -> None:
    class Broken(ScriptedModel):
        def stream(self, *_: object, **__: object) -> Iterator[str]:
            raise MianpuError("the model <b>broke</b>")
            yield ""

    desk.assistant.chat_model = Broken(())
    final = str(list(asked(desk))[-1][4])
    assert 'data-stage="failed"' in final and "the model &lt;b&gt;broke&lt;/b&gt;" in final
    assert chat.turns_of(desk, history.chats(desk.library)[0].id)[0].stage == "failed"


def test_an_answer_nobody_waits_for_is_kept_as_stopped(desk: Desk) -> None:
    updates = asked(desk)
    for update in updates:
        if "重算" in str(update[4]):
            break
    updates.close()  # type: ignore[attr-defined]  # a generator
    assert chat.turns_of(desk, history.chats(desk.library)[0].id)[0].stage == "stopped"


def test_without_a_chat_model_the_library_is_quoted(desk: Desk) -> None:
    desk.assistant.chat_model = None
    final = str(list(asked(desk))[-1][4])
    assert 'data-stage="done"' in final and 'class="cite"' in final and "unsupported" not in final


def test_the_question_is_escaped_everywhere(desk: Desk) -> None:
    question = '<img src=x onerror="hacked()"> KV 缓存'
    number = talked(desk, question)
    shown = "".join(str(part) for update in asked(desk, "它呢？", number) for part in update) + chat.chat_list(desk, number, T)
    assert "<img" not in shown and "&lt;img" in shown


def test_questions_to_start_with_come_from_the_bank(desk: Desk) -> None:
    assert ASKED in chat.welcome(desk, T, "zh")


def test_said_leaves_out_what_was_not_answered() -> None:
    turns = [Turn("a", "done", text="A"), Turn("b", "notfound", text="没有"), Turn("c", "failed")]
    assert [(said.role, said.text) for said in chat.said(turns)] == [("user", "a"), ("assistant", "A")]


# --- asking again, limits, which model answers ---------------------------------------------------------------------------


def test_the_last_question_is_asked_again_in_its_place(desk: Desk) -> None:
    number = talked(desk)
    updates = list(chat.answering_updates(desk, T, "zh", "KV 缓存占多少显存？", number, "s", replace=True))
    assert updates[0][0] != "" and updates[0][1] == number
    assert [turn.question for turn in chat.turns_of(desk, number)] == ["KV 缓存占多少显存？"]
    assert 'data-send="chat:again"' in str(updates[-1][4]) and "edit-question" in str(updates[-1][4])


def test_what_a_follow_up_is_understood_as_is_shown_kept_and_can_be_changed(desk: Desk) -> None:
    number = talked(desk)
    assert "理解为：" in str(list(asked(desk, "它有什么缺点？", number))[-1][4])
    assert chat.turns_of(desk, number)[-1].understood.endswith("有什么缺点？")
    meant = "KV 缓存占多少显存？"
    final = list(chat.answering_updates(desk, T, "zh", "它有什么缺点？", number, "s", "", meant, replace=True))[-1][4]
    assert meant in str(final) and "edit-meant" in str(final)
    turns = chat.turns_of(desk, number)
    assert [turn.question for turn in turns] == [ASKED, "它有什么缺点？"] and turns[-1].understood == meant
    assert [said.text for said in chat.said(turns) if said.role == "user"] == [ASKED, meant]


def test_a_question_too_many_is_refused_with_a_line(desk: Desk) -> None:
    signals = [desk.begin_answer(session, "one user") for session in ("a", "b", "c")]
    ((*skipped, line),) = asked(desk, session="a")
    assert "还在回答" in str(line) and len(skipped) == 9
    ((*_, line),) = chat.answering_updates(desk, T, "zh", ASKED, 0, "d", "one user")
    assert "已有 3 个" in str(line)
    assert history.chats(desk.library) == []
    for session, signal in zip("abc", signals, strict=True):
        desk.end_answer(session, signal)
    assert 'data-stage="done"' in str(list(chat.answering_updates(desk, T, "zh", ASKED, 0, "d", "one user"))[-1][4])


def test_chats_are_found_by_their_words_and_exported(desk: Desk) -> None:
    number = talked(desk)
    assert ASKED in chat.chat_list(desk, 0, T, "加速") and "没有匹配" in chat.chat_list(desk, 0, T, "量子")
    assert f"/mianpu/chat.md?number={number}" in chat.chat_list(desk, 0, T)
