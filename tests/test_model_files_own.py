"""Models of the person's own: a file, a folder, a name on the model hub."""

import json
from pathlib import Path

import httpx
import pytest

from ingest.errors import UsageError
from ingest.models import model_files
from ingest.models.fetching import Unavailable
from tests import model_cache
from tests.model_cache import DATA, Hub, fails, left

cache, hub = model_cache.cache, model_cache.hub  # fixtures


# --- models of the person's own -------------------------------------------------------------------------------------------


def test_given_gguf_file(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "my.gguf").write_bytes(b"GGUF" + bytes(8))
    assert model_files.chat_model_path(str(tmp_path / "my.gguf")) == tmp_path / "my.gguf"
    assert not cache.exists()


@pytest.mark.parametrize(
    ("given", "said"), [("{}/no.gguf", "does not exist"), ("{}", "is a folder"), ("{}/text", "not a GGUF file")]
)
def test_given_chat_model_that_is_none(tmp_path: Path, cache: Path, given: str, said: str) -> None:
    (tmp_path / "text").write_text("hello")
    assert said in fails(UsageError, lambda: model_files.chat_model_path(given.format(tmp_path)))


def test_chat_model_by_hub_name(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.files["/someone/some-model/resolve/main/q4/some.gguf"] = DATA
    name = "someone/some-model/q4/some.gguf"
    path = model_files.chat_model_path(name)
    assert path.read_bytes() == DATA and cache in path.parents
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert model_files.chat_model_path(name) == path and len(hub.ranges) == 1
    assert "connect to a network" in fails(call=lambda: model_files.chat_model_path("someone/other/x.gguf"))


def test_chat_model_by_repository_takes_four_bits(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    files = ["README.md", "m-Q8_0.gguf", "m-Q4_K_M.gguf", "mmproj-f16.gguf", "big-Q4_K_M-00001-of-00002.gguf"]
    hub.files["/api/models/someone/some-model"] = json.dumps({"siblings": [{"rfilename": f} for f in files]}).encode()
    hub.files["/someone/some-model/resolve/main/m-Q4_K_M.gguf"] = DATA
    path = model_files.chat_model_path("someone/some-model")
    assert path.name == "m-Q4_K_M.gguf" and path.read_bytes() == DATA
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert model_files.chat_model_path("someone/some-model") == path
    assert "connect to a network" in fails(call=lambda: model_files.chat_model_path("someone/other"))


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (b'{"siblings": [{"rfilename": "model.safetensors"}]}', "holds no GGUF file"),
        (b'{"siblings": [{"rfilename": "m-00001-of-00002.gguf"}]}', "only files in several parts"),
        (b"[]", "does not list the files"),
        (None, "check the name"),
    ],
)
def test_a_repository_without_a_model(
    cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, listed: bytes | None, said: str
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    if listed is not None:
        hub.files["/api/models/a/b"] = listed
    assert said in fails(call=lambda: model_files.chat_model_path("a/b"))


def test_hub_name_that_is_not_there(cache: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "model hub" in fails(Unavailable, lambda: model_files.chat_model_path("a/b/c.gguf"))
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    assert "404" in fails(UsageError, lambda: model_files.chat_model_path("a/b/c.gguf"))
    assert left(cache) == set()


def test_given_embedding_folder_is_taken_as_it_is(tmp_path: Path, cache: Path) -> None:
    assert model_files.embedding_model_folder(str(tmp_path)) == tmp_path
    assert model_files.manifest_fingerprint(tmp_path) is None


def test_embedding_model_by_name(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[str, bool]] = []

    def snapshot_download(name: str, *, local_files_only: bool, **_: object) -> str:
        asked.append((name, local_files_only))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    (tmp_path / "model.safetensors").write_text("")
    assert model_files.embedding_model_folder("all-MiniLM-L6-v2") == tmp_path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model_files.embedding_model_folder("intfloat/multilingual-e5-base")
    assert asked == [("sentence-transformers/all-MiniLM-L6-v2", False), ("intfloat/multilingual-e5-base", True)]


def test_embedding_model_by_name_without_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def snapshot_download(*_: object, **__: object) -> str:
        raise httpx.ConnectError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert "(no route)" in fails(call=lambda: model_files.embedding_model_folder("some/model"))
    assert "does not exist" in fails(UsageError, lambda: model_files.embedding_model_folder("/no/such/folder"))
