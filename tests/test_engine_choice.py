"""Which model answers: options, what a library keeps, what only the person can allow."""

import json
import stat
from pathlib import Path

import pytest

from assistant.engine import choice as choices
from assistant.engine.choice import (
    EngineChoice,
    NeedsConsent,
    agree,
    check,
    chosen,
    key_for,
    open_engine,
    save_choice,
    saved_choice,
    use_key_file,
)
from assistant.engine.openai_server import ServerChat
from ingest.errors import MianpuError, UsageError
from ingest.storage.library import Library
from tests.chat_servers import free_port, says, scripted
from tests.gguf_maker import tiny_llama
from web import cli

CLOUD = "https://models.example/v1"


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIANPU_CONFIG", str(tmp_path / "settings"))
    monkeypatch.delenv(choices.KEY_VARIABLE, raising=False)
    return tmp_path / "settings"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    path.chmod(0o600)
    return path


def test_options_say_one_model() -> None:
    assert chosen(None, None, None) is None
    assert chosen("m.gguf", None, None) == EngineChoice("gguf", "m.gguf")
    assert chosen(None, "localhost:1234", "qwen") == EngineChoice("server", "qwen", "http://localhost:1234/v1")
    for wrong in (("m.gguf", "localhost", None), (None, None, "qwen"), (None, "ftp://x", None)):
        with pytest.raises(UsageError):
            chosen(*wrong)


def test_a_library_keeps_its_choice(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", create=True) as library:
        assert saved_choice(library) == EngineChoice()
        choice = EngineChoice("server", "通义", "http://localhost:1/v1")
        save_choice(library, choice)
        assert saved_choice(library) == choice
        for damaged in ("{", "[1]", '{"kind": "other"}', '{"kind": "server", "address": "ftp://x"}', '{"extra": "1"}'):
            library.set_meta(chat_engine=damaged)
            assert saved_choice(library) == EngineChoice()


def test_nothing_leaves_this_computer_without_consent() -> None:
    choice = EngineChoice("server", "m", CLOUD)
    with pytest.raises(NeedsConsent, match=r"models\.example, which is not this computer"):
        open_engine(choice, None)
    agree(CLOUD)
    assert isinstance(open_engine(choice, None), ServerChat)
    with pytest.raises(NeedsConsent, match="unencrypted"):
        open_engine(EngineChoice("server", "m", "http://models.example/v1"), None)  # agreed to another address
    assert isinstance(open_engine(EngineChoice("server", "m", "http://127.0.0.1:1/v1"), None), ServerChat)


def test_a_key_comes_from_a_file_of_its_address_or_from_the_environment(
    key_file: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert key_for(CLOUD) == ""
    monkeypatch.setenv(choices.KEY_VARIABLE, "sk-2")
    assert key_for(CLOUD) == "sk-2"
    use_key_file(CLOUD, key_file)
    assert (key_for(CLOUD), key_for("https://other.example/v1")) == ("sk-1", "sk-2")
    kept = settings / "servers.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "sk-1" not in kept.read_text() and json.loads(kept.read_text())[CLOUD]["key_file"] == str(key_file)


@pytest.mark.parametrize(("mode", "content", "said"), [(0o644, b"sk", "chmod 600"), (0o600, b"", "no API key"), (0o600, b"a b", "no API key"), (0o600, b"\xff", "not text")])  # fmt: skip
def test_a_key_file_that_is_unfit(key_file: Path, mode: int, content: bytes, said: str) -> None:
    key_file.write_bytes(content)
    key_file.chmod(mode)
    with pytest.raises(UsageError, match=said):
        use_key_file(CLOUD, key_file)


def test_settings_that_cannot_be_read_allow_nothing(settings: Path) -> None:
    settings.mkdir()
    for damaged in ("{", "[]", f'{{"{CLOUD}": 1}}'):
        (settings / "servers.json").write_text(damaged)
        assert not choices.agreed(CLOUD) and key_for(CLOUD) == ""


def test_a_check_is_one_line(tmp_path: Path) -> None:
    with scripted(says("O", "K")) as server:
        assert check(ServerChat(server.address, "m")).startswith(f"m at http://{server.address}/v1 answers; first token after")
    with scripted(says("")) as server, pytest.raises(MianpuError, match="no text"):
        check(ServerChat(server.address, "m"))


def test_models_use_keeps_what_answers_and_ask_uses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = ["--library", str(tmp_path / "library")]
    with scripted(says("好的。")) as server:
        assert cli.main(["models", "use", "--server", server.address, "--model", "m", *library]) == 0
        assert "answers" in capsys.readouterr().out
        with Library.open(tmp_path / "library") as opened:
            assert saved_choice(opened) == EngineChoice("server", "m", f"http://{server.address}/v1")
        assert cli.main(["models", "test", *library, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["kind"] == "server"
    assert cli.main(["models", "test", *library]) == 1
    assert "start it" in capsys.readouterr().err


def test_a_choice_that_does_not_answer_is_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    library = ["--library", str(tmp_path / "library")]
    path = tiny_llama(tmp_path / "tiny.gguf")
    assert cli.main(["models", "use", "--chat-model", str(path), *library]) == 0
    assert "tiny answers" in capsys.readouterr().out
    assert cli.main(["models", "use", "--server", f"localhost:{free_port()}", "--model", "m", *library]) == 1
    assert cli.main(["models", "use", "--server", "models.example", *library]) == 2
    assert "--send-notes" in capsys.readouterr().err
    assert cli.main(["models", "use", "--send-notes", *library]) == 2
    with Library.open(tmp_path / "library") as opened:
        assert saved_choice(opened) == EngineChoice("gguf", str(path))
