"""A desk over three small notes with a scripted chat model, for the tests of the page as a server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from assistant.answers import history
from assistant.answers.answering import Assistant
from assistant.engine.llm import Prompt
from ingest.pipeline import ingest
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY
from web import app, chat
from web.desk import Desk
from web.texts import texts

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


ASKED = "KV 缓存为什么能加速解码？"


def asked(desk: Desk, question: str = ASKED, number: int = 0, session: str = "s") -> Iterator[list[object]]:
    return chat.answering_updates(desk, T, "zh", question, number, session)


def talked(desk: Desk, question: str = ASKED) -> int:
    """Ask, wait for the answer; returns the number of the chat."""
    for _ in asked(desk, question):
        pass
    return history.chats(desk.library)[0].id
