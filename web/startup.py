"""How long a start takes until a question is answered: a real server in its own process, asked over HTTP as the page asks it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from ingest.errors import MianpuError
from ingest.progress import Progress

_IDLE = 12.0  # seconds a server is left alone after its answer, so that it makes the states of what was asked


def measure_start(library: Path, questions: Sequence[str], options: Sequence[str], progress: Progress) -> dict[str, object]:
    """Start a server for every question and ask it at once; then all again, now with the attention states of the first round.

    Medians, in seconds from the start of the process: ``page_s`` the page answers, ``quote_s`` the library's own words are there,
    ``first_token_s``, ``answered_s`` the whole answer is.
    """
    report: dict[str, object] = {}
    for number, name in enumerate(("first", "second")):
        rounds = []
        for n, question in enumerate(questions):
            progress("starts", number * len(questions) + n, 2 * len(questions))
            rounds.append(_start(library, question, options, _IDLE if name == "first" else 0.0))
        keys = [key for key in ("page_s", "quote_s", "first_token_s", "answered_s") if any(key in times for times in rounds)]
        figures: dict[str, float] = {key: round(median(times[key] for times in rounds if key in times), 2) for key in keys}
        report[name] = {"n": len(rounds), **figures, "answered_s.max": round(max(times["answered_s"] for times in rounds), 2)}
    progress("starts", 2 * len(questions), 2 * len(questions))
    return report


def _start(library: Path, question: str, options: Sequence[str], idle: float) -> dict[str, float]:
    began = time.perf_counter()
    command = [sys.executable, "-m", "web.cli", "serve", "--library", str(library), "--port", "0", *options]
    root = Path(__file__).parent.parent
    with _ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ})) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        address = next((word for word in line.split() if word.startswith("http://")), "")
        if not address:
            raise MianpuError("the server did not start: run `mianpu serve` to see why")
        with httpx.Client(base_url=f"{address}/zh", timeout=600) as client:
            client.get("/").raise_for_status()
            times = {"page_s": time.perf_counter() - began}
            for name, seen in _ask(client, question):
                times.setdefault(name, seen - began)
        time.sleep(idle)
    return times


def _ask(client: httpx.Client, question: str) -> list[tuple[str, float]]:
    """Press enter in the question's box; what was seen when."""
    config = client.get("/config").raise_for_status().json()
    box = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "question")
    event = next(d["id"] for d in config["dependencies"] if [box, "submit"] in d["targets"])
    session = "bench"
    request = {"data": [question, None], "fn_index": event, "trigger_id": box, "session_hash": session, "event_data": None}
    client.post("/gradio_api/queue/join", json=request).raise_for_status()
    seen: list[tuple[str, float]] = []
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            if not line.startswith("data: "):
                continue
            message: dict[str, Any] = json.loads(line[6:])
            now = time.perf_counter()
            shown = json.dumps(message.get("output", {}), ensure_ascii=False)
            if 'class=\\"quote' in shown:
                seen.append(("quote_s", now))
            if 'data-stage=\\"writing' in shown:
                seen.append(("first_token_s", now))
            if message.get("msg") == "process_completed":
                return [*seen, ("answered_s", now)]
    raise MianpuError("the server ended before it answered: run `mianpu serve` to see why")


@contextmanager
def _ended(process: "subprocess.Popen[str]") -> "Iterator[subprocess.Popen[str]]":
    try:
        yield process
    finally:
        if process.stdout is not None:
            process.stdout.close()
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
