"""How many threads and how large batches suit this machine and this model: measured once, in the first idle moment, and kept.

Reading a prompt is bound by computing, writing a token by memory, so the best number of threads may differ; a second thread on one
core helps on some processors and hurts on others. What is measured replaces the usual choice only where it is clearly faster: the
machine is shared, and one measurement says little.
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from assistant.engine.cores import physical_cores
from ingest.models.model_files import cache_folder

READ, WRITTEN = 256, 8  # tokens of one measurement
BATCHES = (512, 256, 128)
_CLEARLY = 1.05  # times as fast as what was best before
_ROUNDS = 2  # of each measurement the quicker counts
_ALIKE = 1.3  # times as long as the quicker one a round may take; beyond, something else was running and nothing is known


@dataclass(frozen=True, slots=True)
class Tuning:
    """Threads while a token is written and while a prompt is read, tokens read at once; what was reached, in tokens a second."""

    model: str
    threads: int
    reading_threads: int
    batch: int
    read_per_s: float
    written_per_s: float


class Probe(Protocol):
    """What is measured."""

    def __call__(self, threads: int, batch: int, tokens: int) -> float | None:
        """Seconds for so many tokens in batches of ``batch`` with so many threads; None when it was stopped or there is no room."""


def thread_counts() -> tuple[int, ...]:
    """What is worth trying, the usual choice first: the physical cores, all logical ones, one core left to the others."""
    physical = physical_cores()
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or physical
    return tuple(dict.fromkeys([physical, min(logical, 2 * physical), max(1, physical - 1)]))


def measure(model: str, probe: Probe, threads: Sequence[int], batches: Sequence[int] = BATCHES) -> Tuning | None:
    """The quickest of each; the first of ``threads`` and ``batches`` unless another is clearly quicker. None when it was stopped,
    or disturbed."""

    def quickest(ways: Sequence[tuple[int, int, int]]) -> tuple[tuple[int, int, int], float] | None:
        best: tuple[tuple[int, int, int], float] | None = None
        for way in ways:
            seconds = [probe(*way) for _ in range(_ROUNDS)]
            kept = [s for s in seconds if s is not None]
            if len(kept) < _ROUNDS or max(kept) > _ALIKE * min(kept):
                return None
            if best is None or min(kept) * _CLEARLY < best[1]:
                best = way, max(min(kept), 1e-9)
        return best

    reading = quickest([(n, batches[0], READ) for n in threads])
    writing = quickest([(n, 1, WRITTEN) for n in threads]) if reading else None
    size = quickest([(reading[0][0], batch, 2 * READ) for batch in batches]) if reading and writing else None
    if reading is None or writing is None or size is None:
        return None
    rates = 2 * READ / size[1], WRITTEN / writing[1]
    return Tuning(model, writing[0][0], reading[0][0], size[0][1], *(round(rate, 1) for rate in rates))


def tuning_file() -> Path:
    """Where measurements of this machine are kept."""
    return cache_folder() / "tuning.json"


def machine_key(model: bytes) -> str:
    """Names a model on a machine: another processor, or another number of cores granted, is measured again."""
    machine = f"{platform.machine()} {_processor()} {thread_counts()}".encode()
    return hashlib.blake2b(model + machine, digest_size=12).hexdigest()


def load(path: Path) -> dict[str, Tuning]:
    """All measurements by their key; none where the file is missing or damaged."""
    try:
        table: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: Tuning(**row) for key, row in table.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save(path: Path, key: str, tuning: Tuning) -> None:
    """Keep a measurement beside the others; a disk that takes nothing costs a measurement at the next start."""
    table = {name: asdict(row) for name, row in {**load(path), key: tuning}.items()}
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(table, file, indent=1)
        os.replace(part, path)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "flags", "Features")):
                return line
    return platform.processor()


def stoppable(halted: Callable[[], bool], probe: Probe) -> Probe:
    """A probe that gives None once somebody waits."""

    def asked(threads: int, batch: int, tokens: int) -> float | None:
        return None if halted() else probe(threads, batch, tokens)

    return asked
