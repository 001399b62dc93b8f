"""Chat servers for tests: one of a script a request, over real sockets, and the real server of llama.cpp's Python package."""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

Act = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Acts as its server's script says, one act a chat completion; the last act is used for every later one."""

    server: "ScriptedServer"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers), {}))
        if self.server.models is None:
            self.reply(404, b"nothing here", "text/html")
        else:
            self.reply(200, json.dumps({"object": "list", "data": self.server.models}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = sum(bool(b) for _, _, b in self.server.seen)
            self.server.seen.append((self.path, dict(self.headers), body))
        self.server.acts[min(number, len(self.server.acts) - 1)](self)

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str = "text/event-stream") -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

    def event(self, value: object) -> None:
        self.wfile.write(f"data: {value if isinstance(value, str) else json.dumps(value)}\n\n".encode())
        self.wfile.flush()

    def piece(self, text: str) -> None:
        self.event({"choices": [{"delta": {"content": text}, "finish_reason": None}]})

    def log_message(self, format: str, *args: Any) -> None:
        pass


class ScriptedServer(ThreadingHTTPServer):
    """``seen``: path, headers and body of every request. ``gone``: a client closed its connection while it was written to."""

    daemon_threads = True

    def __init__(self, acts: Sequence[Act], models: Sequence[dict[str, object]] | None) -> None:
        self.acts, self.models = acts, models
        self.seen: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.gone = threading.Event()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def asked(self) -> list[dict[str, Any]]:
        return [body for _, _, body in self.seen if body]

    def handle_error(self, request: object, client_address: object) -> None:
        self.gone.set()


def says(*pieces: str) -> Act:
    """A whole answer in these pieces."""

    def act(handler: Handler) -> None:
        handler.begin()
        for piece in pieces:
            handler.piece(piece)
        handler.event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        handler.event("[DONE]")

    return act


def refuses(status: int, message: str = "", **headers: str) -> Act:
    return lambda handler: handler.reply(status, json.dumps({"error": {"message": message}}).encode(), **headers)


@contextmanager
def scripted(*acts: Act, models: Sequence[dict[str, object]] | None = ({"id": "m"},)) -> Iterator[ScriptedServer]:
    with ScriptedServer(acts or (says("ok"),), models) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def with_certificate(server: ScriptedServer, folder: Path) -> Iterator[None]:
    """Serve over TLS with a certificate nobody has signed."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def llama_cpp_server(model: Path, key: str, folder: Path) -> Iterator[str]:
    """``python -m llama_cpp.server`` with this model; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", str(model), "--host", "127.0.0.1", "--port", str(port),
               "--n_ctx", "2048", "--model_alias", "qwen", "--api_key", key, "--verbose", "False"]  # fmt: skip
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while True:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "server.log").read_text()[-2000:]
            try:
                if (
                    httpx.get(
                        f"http://127.0.0.1:{port}/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False
                    ).status_code
                    == 200
                ):
                    break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
