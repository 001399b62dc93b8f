"""Threads and batches: the usual choice unless another is clearly quicker, measured once a machine, given up when somebody asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.engine import tuning
from assistant.engine.llama import LlamaChat
from assistant.engine.llm import Prompt
from assistant.engine.tuning import Tuning, load, machine_key, measure, save, stoppable, thread_counts
from tests.real_model import real_chat_model

FOUND = Tuning("m", 2, 4, 256, 100.0, 20.0)


def timed(reading: dict[int, float], writing: dict[int, float], batches: dict[int, float]) -> tuning.Probe:
    """A machine by hand: seconds of a reading or writing by threads, times a factor by the size of the batch."""

    def probe(threads: int, batch: int, tokens: int) -> float:
        return writing[threads] if batch == 1 else reading[threads] * batches[batch] * tokens / tuning.READ

    return probe


def test_only_what_is_clearly_quicker_replaces_the_usual_choice() -> None:
    same = {512: 1.0, 256: 0.97, 128: 1.2}
    assert measure("m", timed({2: 2.0, 4: 1.95}, {2: 0.4, 4: 0.6}, same), (2, 4)) == Tuning("m", 2, 2, 512, 128.0, 20.0)
    quicker = {512: 1.0, 256: 0.5, 128: 1.2}
    assert measure("m", timed({2: 2.0, 4: 1.0}, {2: 0.4, 4: 0.6}, quicker), (2, 4)) == Tuning("m", 2, 4, 256, 512.0, 20.0)


@pytest.mark.parametrize(("slower", "known"), [(2.4, True), (9.0, False)])
def test_the_quicker_of_two_rounds_counts_unless_something_else_was_running(slower: float, known: bool) -> None:
    seconds = iter([slower, 2.0, 1.95, 1.95, 0.4, 0.4, 0.4, 0.4, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    found = measure("m", lambda threads, batch, tokens: next(seconds), (2, 4))
    assert (found is not None) is known
    assert found is None or found.reading_threads == 2


@pytest.mark.parametrize("after", range(14))
def test_who_asks_ends_the_measurement(after: int) -> None:
    asked: Iterator[bool] = iter([False] * after + [True] * 20)
    probe = stoppable(lambda: next(asked), timed({2: 2.0, 4: 2.0}, {2: 0.4, 4: 0.6}, {512: 1.0, 256: 1.0, 128: 1.0}))
    assert measure("m", probe, (2, 4)) is None


def test_measurements_are_kept_by_machine_and_model(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "tuning.json"
    assert load(path) == {}
    save(path, "a", FOUND)
    save(path, "b", Tuning("n", 1, 1, 512, 1.0, 1.0))
    assert load(path)["a"] == FOUND and set(load(path)) == {"a", "b"}
    assert [file.name for file in path.parent.iterdir()] == ["tuning.json"]
    for damage in ("", "[]", '{"a": 1}', '{"a": {"model": "m"}}'):
        path.write_text(damage)
        assert load(path) == {}
    assert machine_key(b"one") != machine_key(b"two") and machine_key(b"one") == machine_key(b"one")
    save(tmp_path / "cache" / "tuning.json" / "below a file", "a", FOUND)  # cannot be kept, is no failure
    assert thread_counts()[0] >= 1 and len(set(thread_counts())) == len(thread_counts())


@pytest.mark.model
def test_the_real_model_is_measured_once_and_answers_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, file = real_chat_model(), tmp_path / "tuning.json"
    chat = LlamaChat(path, tuned=file)
    try:
        prompt = Prompt("你是助手。", ("法国的首都是巴黎。\n\n",), (), "法国的首都是哪座城市?")
        assert chat.attention.evaluate(chat._format.tokens(prompt).tokens, lambda: False)
        cells = list(chat.attention.cells)
        assert not chat._tune(lambda: True) and not file.exists()
        with monkeypatch.context() as patched:
            patched.setattr(tuning, "_ALIKE", 1e9)  # other tests' processes may be running
            assert chat._fill(lambda: False)  # an idle moment
        assert chat.tuning is not None and chat.tuning.read_per_s > 1 and chat.tuning.written_per_s > 0.5
        assert chat.attention.cells == cells and chat.attention.batch == chat.tuning.batch
        assert list(load(file).values()) == [chat.tuning]
        assert not chat._fill(lambda: False)  # there is nothing left to do
        chat.attention.forget()
        written = b"".join(map(chat._piece, chat._written(prompt, chat._format.tokens(prompt), 20, lambda: False)))
        assert "巴黎" in written.decode()
    finally:
        chat.close()
    again = LlamaChat(path, tuned=file)
    try:
        assert again.tuning == load(file).popitem()[1]
    finally:
        again.close()
