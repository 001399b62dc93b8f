"""What the library view does: documents read in and removed, another chat model taken up."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assistant.engine.choice import EngineChoice, saved_choice
from assistant.engine.states import StateFigures
from tests import web_desk
from tests.chat_servers import says, scripted
from tests.web_desk import T
from web import engines
from web.desk import Desk
from web.texts import texts

notes, desk = web_desk.notes, web_desk.desk  # fixtures


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


def test_the_panel_says_in_plain_words_what_the_model_keeps(desk: Desk) -> None:
    assert engines.states_text(desk.states, T) == ""  # a scripted model keeps nothing
    told = engines.states_text(StateFigures(12, 345_600_000, 1_073_741_824, 9, 3), T)
    assert "12 份，占 346 MB，最多 1074 MB" in told and "75%" in told
    assert "%" not in engines.states_text(StateFigures(0, 0, 1 << 20, 0, 0), texts("en"))
