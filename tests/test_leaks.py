"""Hundreds of questions through the whole pipeline: memory stays bounded, threads and files do not pile up, failures leave nothing."""

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from assistant.answers.answering import Assistant, Done, answer
from assistant.engine.llama import LlamaChat
from assistant.engine.llm import Prompt
from assistant.engine.queue import TooMany, UserLimit
from assistant.engine.states import StateStore
from ingest.errors import MianpuError
from ingest.models.embedding import load_embedder
from ingest.models.model_files import chat_model_path
from ingest.pipeline import ingest
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.fakes import WordEmbedder
from tests.gguf_maker import tiny_llama
from tests.small_library import GLOSSARY
from web.desk import starter_notes

QUESTIONS = 500


def memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def files() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    embedder = WordEmbedder()
    notes = tmp_path / "notes"
    notes.mkdir()
    for n in range(40):
        (notes / f"{n}.md").write_text(
            f"# 笔记 {n}\n\n## 第 {n} 种缓存怎么量化？\n\n第 {n} 种缓存用 {n + 2} 位存放，注意力不变，显存少一半。\n",
            encoding="utf-8",
        )
    with Library.open(tmp_path / "library", create=True) as opened:
        ingest(opened, [notes], lambda: embedder, fingerprint=embedder.fingerprint)
        yield opened


def test_five_hundred_questions_leave_nothing_behind(library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.answers.answering.MAX_TOKENS", 12)
    chat = LlamaChat(tiny_llama(tmp_path / "m.gguf"), states=StateStore(tmp_path / "states", 4 << 20), threads=1)
    try:
        embedder = WordEmbedder()
        assistant = Assistant(library, embedder, ConceptGraph.build(library, Glossary.parse(GLOSSARY)), chat)
        assistant.warm()

        def ask(number: int) -> None:
            question = f"第 {number % 40} 种缓存怎么量化？({number})"
            stream = answer(question, (), assistant, threading.Event())
            for event in stream:
                if number % 10 == 3 and type(event).__name__ == "Token":
                    stream.close()  # type: ignore[attr-defined]  # the page was closed
                    return
            assert isinstance(event, Done)

        for number in range(100):  # caches fill
            ask(number)
        before, threads, handles = memory(), threading.active_count(), files()
        for number in range(100, QUESTIONS):
            ask(number)
            embedder.encoded.clear()  # what the fake remembers for other tests
        grown = memory() - before
        assert grown < 24 << 20, f"{grown / 1e6:.1f} MB more after {QUESTIONS - 100} questions"
        assert threading.active_count() <= threads and files() <= handles + 2
        assert chat.states is not None and chat.states.figures().size <= 4 << 20
        assert sum(f.stat().st_size for f in (tmp_path / "states").iterdir()) <= 4 << 20
    finally:
        chat.close()


def test_a_failing_generation_leaves_the_engine_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = LlamaChat(tiny_llama(tmp_path / "m.gguf"), threads=1)
    try:

        def say() -> str:
            prompt = Prompt("s", ("p",), (), "q")
            return "".join(chat.stream(prompt, max_tokens=8, stop=threading.Event(), waiting=lambda n: None))

        first, decode = say(), chat.attention._decode
        before = memory()
        for failure in (-1, 1, 2) * 30:
            chat.forget()
            monkeypatch.setattr(chat.attention, "_decode", lambda *_, status=failure, **__: status)
            if failure == 2:
                assert say() == ""
            else:
                with pytest.raises(MianpuError, match="ask again"):
                    say()
            monkeypatch.setattr(chat.attention, "_decode", decode)
            assert say() == first
        assert memory() - before < 8 << 20
    finally:
        chat.close()


def test_a_user_has_so_many_questions_and_no_more() -> None:
    limit = UserLimit(most=2, whole=3)
    limit.enter("a")
    limit.enter("a")
    with pytest.raises(TooMany, match="2 of your questions") as mine:
        limit.enter("a")
    limit.enter("b")
    with pytest.raises(TooMany, match="3 questions are waiting") as everyone:
        limit.enter("c")
    assert (mine.value.mine, everyone.value.mine) == (True, False)
    limit.leave("a")
    limit.enter("c")
    assert [limit.asking(user) for user in "abcd"] == [1, 1, 1, 0]
    for user in "abc":
        limit.leave(user)
    assert not limit._users  # nobody is remembered who asks nothing


def test_the_limit_holds_among_threads() -> None:
    limit, entered, refused = UserLimit(most=5, whole=100), [], []

    def come() -> None:
        try:
            limit.enter("a")
            entered.append(1)
        except TooMany:
            refused.append(1)

    threads = [threading.Thread(target=come) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(entered), len(refused), limit.asking("a")) == (5, 35, 5)


@pytest.mark.model
def test_the_real_models_do_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        path = chat_model_path(os.environ.get("MIANPU_TEST_GGUF"), fetch=False)
    except MianpuError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("assistant.answers.answering.PASSAGE_TOKENS", 120)
    monkeypatch.setattr("assistant.answers.answering.MAX_TOKENS", 6)
    embedder = load_embedder()
    with Library.open(tmp_path / "library", create=True) as library:
        ingest(library, [starter_notes() / "05-kv-cache.md"], lambda: embedder, fingerprint=embedder.fingerprint)
        chat = LlamaChat(path, states=StateStore(tmp_path / "states", 64 << 20))
        try:
            assistant = Assistant(library, embedder, ConceptGraph.build(library, Glossary.load()), chat)
            questions = [pair.question for pair in library.all_pairs()][:4]
            for question in questions:
                list(answer(question, (), assistant, threading.Event()))
            before = memory()
            for question in questions * 2:
                list(answer(question, (), assistant, threading.Event()))
            grown = memory() - before
            assert grown < 40 << 20, f"{grown / 1e6:.1f} MB more after {2 * len(questions)} questions"
        finally:
            chat.close()
