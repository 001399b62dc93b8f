"""The page as a server: who may ask, what is sent, and what each view does to the library. The browser has its own tests."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from fsrs import Rating

from assistant.answers import history
from assistant.answers.answering import Assistant
from assistant.engine.choice import EngineChoice, saved_choice
from assistant.engine.llm import Prompt
from assistant.interviews.questions import question_bank
from assistant.interviews.schedule import card_of, cards_due, review
from assistant.interviews.session import InterviewSession
from ingest.errors import MianpuError, UsageError
from ingest.pipeline import ingest
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.chat_servers import says, scripted
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY
from web import app, chat, engines, practice, server
from web.desk import Desk
from web.texts import texts
from web.turns import Turn

NOTE = """# 推理

## KV 缓存为什么能加速解码？

KV 缓存把算过的键和值留下来，解码时不再重算。显存占用随序列长度增长。

## 什么是自注意力？

自注意力让每个位置给别的位置加权，旋转位置编码写进查询和键。KV 缓存保存自注意力的键和值。
"""
OTHERS = "# 别的\n\n" + "\n\n".join(f"## 第 {n} 节\n\n这一节讲量化和训练的第 {n} 件事，与别的无关。" for n in range(12))
HOSTILE = '# 坏笔记\n\n## 问题？\n\n<img src=x onerror="window.hacked=1"><script>window.hacked=1</script> 缓存 缓存 缓存\n'
T = texts("zh")


class ScriptedModel:
    """Writes its pieces; between two of them it waits for ``gate`` (when given) or for the stop."""

    name = "scripted"

    def __init__(self, pieces: tuple[str, ...], gate: threading.Event | None = None) -> None:
        self.pieces, self.gate = pieces, gate
        self.prompts: list[Prompt] = []

    def token_count(self, text: str) -> int:
        return len(text)

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        self.prompts.append(prompt)
        waiting(0)
        for piece in self.pieces:
            while self.gate is not None and not self.gate.is_set() and not stop.is_set():
                time.sleep(0.01)
            if stop.is_set():
                return
            yield piece


def write_notes(parent: Path) -> Path:
    folder = parent / "notes"
    folder.mkdir()
    (folder / "推理.md").write_text(NOTE, encoding="utf-8")
    (folder / "others.md").write_text(OTHERS, encoding="utf-8")
    (folder / "hostile.md").write_text(HOSTILE, encoding="utf-8")
    return folder


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return write_notes(tmp_path)


@pytest.fixture
def desk(tmp_path: Path, notes: Path) -> Iterator[Desk]:
    yield from desks(tmp_path, notes)


def desks(parent: Path, notes: Path) -> Iterator[Desk]:
    with Library.open(parent / "library", create=True) as library:
        ingest(library, [notes], WordEmbedder)
        graph = ConceptGraph.build(library, Glossary.parse(GLOSSARY))
        model = ScriptedModel(("KV 缓存把算过的键和值留下来，", "解码时不再重算。", "量化训练要先归一化。"))
        desk = Desk(Assistant(library, WordEmbedder(), graph, model))
        yield desk
        desk.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that nobody changes."""
    folder = tmp_path_factory.mktemp("shared")
    yield from desks(folder, write_notes(folder))


@pytest.fixture(scope="module")
def client(shared: Desk) -> Iterator[TestClient]:
    with TestClient(app.application(shared), base_url="http://127.0.0.1:7860") as client:
        yield client


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepts", "lang", "word"), [("zh-CN,zh;q=0.9", "zh-CN", "面试"), ("en-US,en;q=0.9", "en", "Interview")])
def test_the_page_speaks_the_browsers_language(client: TestClient, accepts: str, lang: str, word: str) -> None:
    page = client.get("/", headers={"accept-language": accepts})
    assert page.status_code == 200
    assert f'lang="{lang}"' in page.text and word in page.text
    other = client.get(
        "/", headers={"accept-language": accepts, "cookie": "mianpu_language=" + ("en" if lang == "zh-CN" else "zh")}
    )
    assert f'lang="{lang}"' not in other.text


def test_the_page_names_no_other_host(client: TestClient) -> None:
    for path in ("/", "/zh/", "/en/"):
        page = client.get(path).text.replace("http://127.0.0.1:7860", "")
        assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", page)


def test_every_script_of_the_page_has_the_nonce_of_the_policy(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([\w-]+)'", policy)
    assert nonce and "default-src 'self'" in policy and "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce.group(1)}"') > 2
    assert client.get("/").headers["content-security-policy"] != policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_what_the_page_loads_is_there(client: TestClient) -> None:
    page = client.get("/").text
    loaded = re.findall(r'(?:href|src|data-katex|data-katex-style)="(/[^"]+)"', page)
    assert any("katex" in address for address in loaded) and any("app.js" in address for address in loaded)
    for address in loaded:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7860"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_strangers_are_turned_away(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/mianpu/zh/document?name=推理.md", "/zh/config"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.post("/zh/gradio_api/queue/join", headers=headers, json={}).status_code == 403


@pytest.mark.parametrize("headers", [{"host": "localhost:7860"}, {"host": "[::1]:7860"}, {"origin": "http://127.0.0.1:7860"}])
def test_this_computer_is_let_in(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/mianpu/zh/document?name=推理.md", headers=headers).status_code == 200


def test_a_link_from_elsewhere_may_open_the_page(client: TestClient) -> None:
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_a_server_for_the_network_takes_its_own_name_but_no_foreign_origin(shared: Desk) -> None:
    with TestClient(app.application(shared, "0.0.0.0"), base_url="http://mianpu.lan:7860") as client:
        assert client.get("/mianpu/zh/document?name=推理.md").status_code == 200
        assert client.get("/", headers={"origin": "https://evil.example"}).status_code == 403


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_document_opens_at_its_span(client: TestClient, shared: Desk) -> None:
    text = shared.library.document("推理.md").text
    start = text.index("显存占用")
    page = client.get("/mianpu/zh/document", params={"name": "推理.md", "start": start, "end": start + 4})
    assert "<mark>显存占用</mark>" in page.text
    assert "<mark>" not in client.get("/mianpu/zh/document", params={"name": "推理.md", "start": "x", "end": "-1"}).text


def test_a_hostile_document_is_text(client: TestClient) -> None:
    page = client.get("/mianpu/zh/document", params={"name": "hostile.md"}).text
    assert "<img" not in page and "<script" not in page and "&lt;img src=x onerror=" in page


def test_a_document_that_is_gone_says_so(client: TestClient) -> None:
    page = client.get("/mianpu/en/document", params={"name": "<b>x"})
    assert page.status_code == 404 and "&lt;b&gt;x is no longer" in page.text


def test_a_concept_has_a_page_and_a_map(client: TestClient) -> None:
    page = client.get("/mianpu/zh/concept", params={"key": "kv 缓存"}).text
    assert "KV 缓存为什么能加速解码" in page and 'class="mention"' in page and 'data-key="自注意力"' in page
    data = client.get("/mianpu/zh/map", params={"key": "kv 缓存"}).json()
    assert data["centre"] == "kv 缓存" and {"自注意力", "旋转位置编码"} <= {node["key"] for node in data["nodes"]}
    assert len(data["layouts"]["wide"]["positions"]) == len(data["nodes"])
    assert client.get("/mianpu/zh/map", params={"key": "没有"}).status_code == 404
    assert "&lt;b&gt;" in client.get("/mianpu/zh/concept", params={"key": "<b>"}).text


def test_a_path_between_concepts_shows_its_passages(client: TestClient) -> None:
    def path(a: str, b: str) -> str:
        return client.get("/mianpu/zh/path", params={"a": a, "b": b}).text

    assert 'class="evidence"' in path("KV 缓存", "RoPE")
    assert "没有叫“&lt;i&gt;”的概念" in path("<i>", "RoPE")
    assert "同一个概念" in path("RoPE", "旋转位置编码")
    assert "没有把" in path("RoPE", "LoRA")


# --- chat -------------------------------------------------------------------------------------------------------------

ASKED = "KV 缓存为什么能加速解码？"


def asked(desk: Desk, question: str = ASKED, number: int = 0, session: str = "s") -> Iterator[list[object]]:
    return chat.answering_updates(desk, T, "zh", question, number, session)


def talked(desk: Desk, question: str = ASKED) -> int:
    """Ask, wait for the answer; returns the number of the chat."""
    for _ in asked(desk, question):
        pass
    return history.chats(desk.library)[0].id


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


# --- practice ---------------------------------------------------------------------------------------------------------

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


# --- reading documents in ---------------------------------------------------------------------------------------------


def wait(desk: Desk) -> None:
    deadline = time.monotonic() + 20
    while desk.job.running:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_documents_are_read_in_beside_the_page(desk: Desk, tmp_path: Path) -> None:
    uploaded = tmp_path / "gradio" / "新.md"
    uploaded.parent.mkdir()
    uploaded.write_text("# 量化\n\n量化 降低显存。", encoding="utf-8")
    assert desk.start_ingest([desk.keep_uploads([uploaded])])
    uploaded.unlink()
    wait(desk)
    assert desk.job.summary is not None and desk.job.summary.added == ("新.md",)
    desk.remove_document("新.md")
    assert "新.md" not in [d.name for d in desk.library.documents()]
    assert not (desk.library.folder / "uploads" / "新.md").exists()


def test_only_one_ingest_at_a_time_and_it_can_be_stopped(desk: Desk, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (notes / "more.md").write_text("# 归一化\n\n归一化 训练 位置。", encoding="utf-8")
    inside = threading.Event()
    embed = desk.assistant.embedder.encode_passages_and_tokens  # type: ignore[attr-defined]

    def slow(texts: list[str]) -> object:
        inside.set()
        while not desk._job_stop.is_set():
            time.sleep(0.01)
        return embed(texts)

    monkeypatch.setattr(desk.assistant.embedder, "encode_passages_and_tokens", slow)
    assert desk.start_ingest([notes])
    assert inside.wait(10) and not desk.start_ingest([notes])
    assert desk.job.stage
    desk.stop_ingest()
    wait(desk)
    assert desk.job.stopped or desk.job.summary is not None


def test_an_ingest_that_fails_says_why(desk: Desk, tmp_path: Path) -> None:
    assert desk.start_ingest([tmp_path / "nowhere"])
    wait(desk)
    assert "nowhere" in desk.job.error


# --- serving ----------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with server.listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MianpuError, match=f"127.0.0.1:{port}.*--port"):
            server.serve(tmp_path, port=port)
    with pytest.raises(MianpuError, match="65535"):
        server.serve(tmp_path, port=70_000)


def test_the_state_of_an_interview_is_json(desk: Desk) -> None:
    session = InterviewSession(desk.library, desk.assistant.embedder, desk.graph.glossary, lambda: NOW)
    session.begin("", 1)
    assert json.loads(desk.library.read("SELECT state FROM interviews")[0][0])["position"] == 0


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


def test_another_model_is_tested_taken_up_and_kept(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIANPU_CONFIG", str(tmp_path / "settings"))

    def lines(act: Callable[[EngineChoice], str], told: str, *values: str | bool) -> str:
        return str(list(engines.answered(T, act, told, *values))[-1][0])  # type: ignore[arg-type]

    with scripted(says("好")) as server:
        assert "能回答" in lines(desk.test_engine, "engine.answers", "server", "", server.address, "m", False)
        before = desk.assistant.chat_model
        assert "换用" in lines(desk.use_engine, "engine.kept", "server", "", server.address, "m", False)
        assert desk.assistant.chat_model is not before and desk.engine == saved_choice(desk.library)
    assert "不能用" in lines(desk.test_engine, "engine.answers", "server", "", server.address, "m", False)
    told = list(engines.answered(T, desk.test_engine, "engine.answers", "server", "", "models.example", "m", False))[-1]
    assert "不是这台电脑" in str(told[0]) and "'visible': True" in str(told[1])
    assert "不能用" in lines(desk.use_engine, "engine.kept", "gguf", str(tmp_path / "none.gguf"), "", "", False)
    assert desk.engine.kind == "server"  # the one before stays
