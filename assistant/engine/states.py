"""Attention states of passages, kept on disk: what the chat model computed for a passage once is read back in milliseconds.

A state is a file of its own below one folder. It is written beside and moved into place, and carries a checksum, so a killed
process or a full disk costs one state and never gives a wrong one. When the budget is used up, the states that were not used for
longest go. Reading goes through the operating system's page cache, so a second copy in memory would bring nothing.
"""

import json
import os
import shutil
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STATES = "states"
"""Folder below a library that keeps what the chat model computed for its passages."""
STATES_MB = 1024
"""Megabytes of states kept unless something else is said: some 200 passages."""
_MAGIC = b"MPST1\n"
_CHECK = 4  # bytes of the checksum behind the magic
_COUNTS = "counts.json"  # beside the states: hits, misses and the budget in bytes, of every process together


@dataclass(frozen=True, slots=True)
class StateFigures:
    """What a store holds (``states``; ``size`` and ``budget`` in bytes) and how often it helped, whoever asked it."""

    states: int
    size: int
    budget: int
    hits: int
    misses: int

    @property
    def hit_rate(self) -> float | None:
        """The share of the states asked for that were there, 0 to 1; None before any was."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


class StateStore:
    """States by key (letters and digits) in ``folder``, at most ``budget`` bytes of them. Threads may share it.

    A disk that cannot be read or written makes it forgetful, never wrong: what is lost is computed again.
    """

    def __init__(self, folder: Path, budget: int) -> None:
        self.folder = folder
        self.budget = budget
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}  # least recently used first
        self._new = (0, 0)  # hits and misses that the file does not have yet
        found = []
        for path in folder.glob("*.state"):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, path.stem, status.st_size))
        self._sizes = {key: size for _, key, size in sorted(found)}
        for path in folder.glob("*.part"):  # of a process that was killed; a live one finishes in milliseconds
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > 60:
                    path.unlink()

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._sizes

    def get(self, key: str) -> bytes | None:
        """The state, or None when it is not there or is damaged (then it is dropped)."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)  # the time of last use: another process, or the next start, forgets in the same order
        except OSError:
            data = b""
        head = len(_MAGIC) + _CHECK
        sound = data[: len(_MAGIC)] == _MAGIC and zlib.crc32(data[head:]).to_bytes(_CHECK, "big") == data[len(_MAGIC) : head]
        with self._lock:
            size = self._sizes.pop(key, None)
            if sound:
                self._sizes[key] = size or len(data)
            self._count(sound)
        if sound:
            return data[head:]
        if data:
            with suppress(OSError):
                path.unlink()
        return None

    def put(self, key: str, state: bytes) -> bool:
        """Keep a state; False when it was not kept (no room in the budget or on the disk)."""
        size = len(_MAGIC) + _CHECK + len(state)
        if size > self.budget:
            return False
        part = self.folder / f"{key}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(part, "wb") as file:
                file.write(_MAGIC + zlib.crc32(state).to_bytes(_CHECK, "big"))
                file.write(state)
            os.replace(part, self._path(key))
        except OSError:
            with suppress(OSError):
                part.unlink()
            return False
        with self._lock:
            self._sizes.pop(key, None)
            self._sizes[key] = size
            old = []
            total = sum(self._sizes.values())
            while total > self.budget:
                name = next(iter(self._sizes))
                total -= self._sizes.pop(name)
                old.append(name)
        self._unlink(old)
        return True

    def retain(self, names: set[str]) -> int:
        """Drop every state whose key does not begin with one of these and a hyphen; returns how many went."""
        with self._lock:
            old = [key for key in self._sizes if key.partition("-")[0] not in names]
            for key in old:
                del self._sizes[key]
        self._unlink(old)
        return len(old)

    def figures(self) -> StateFigures:
        """What it holds, and how often it helped this process and all before it."""
        with self._lock:
            hits, misses, _ = _counts(self.folder)
            hits, misses = hits + self._new[0], misses + self._new[1]
            return StateFigures(len(self._sizes), sum(self._sizes.values()), self.budget, hits, misses)

    def _count(self, hit: bool) -> None:
        """Count a hit or a miss in the file beside the states; what cannot be written now is written with the next.

        Two processes at once may lose one another's count: it is a figure to look at, not worth a lock.
        """
        self._new = (self._new[0] + hit, self._new[1] + (not hit))
        hits, misses, _ = _counts(self.folder)
        kept = {"hits": hits + self._new[0], "misses": misses + self._new[1], "budget": self.budget}
        part = self.folder / f"{_COUNTS}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(kept), encoding="utf-8")
            os.replace(part, self.folder / _COUNTS)
        except OSError:
            return
        self._new = (0, 0)

    def _unlink(self, keys: list[str]) -> None:
        for key in keys:
            with suppress(OSError):
                self._path(key).unlink()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.state"


def _counts(folder: Path) -> tuple[int, int, int]:
    """Hits, misses and budget as the file has them; zeros where it has not, or is damaged."""
    try:
        kept = json.loads((folder / _COUNTS).read_text(encoding="utf-8"))
        return int(kept["hits"]), int(kept["misses"]), int(kept["budget"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0, 0


def states_figures(folder: Path) -> StateFigures:
    """What the store of a library holds, its budget as it was last used; nothing is opened for writing."""
    store = library_states(folder, STATES_MB)
    assert store is not None
    store.budget = _counts(store.folder)[2] or store.budget
    return store.figures()


def library_states(folder: Path, megabytes: int) -> StateStore | None:
    """The store of a library: at most so many megabytes, and a tenth of what the disk has free; None for 0."""
    store = StateStore(folder / STATES, megabytes * 2**20)
    with suppress(OSError):
        store.budget = min(store.budget, (shutil.disk_usage(folder).free + store.figures().size) // 10)
    return store if megabytes else None
