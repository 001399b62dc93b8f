"""How long work reports how far it is: one function type, one that does nothing, one for the terminal.

A stage that counts bytes says so by ending its label in ``BYTES``; every other stage counts things.
"""

import math
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import Self, TextIO

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``; ``total`` 0: unknown. A stage's first call says where it starts (a resumed one not at 0)."""

BYTES = " [bytes]"
_BAR = 24
_TTY_SECONDS = 0.1
_SPARSE_SECONDS = 5.0


def no_progress(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def label(stage: str) -> tuple[str, bool]:
    """The stage's label as a person reads it, and whether it counts bytes."""
    return (stage.removesuffix(BYTES), True) if stage.endswith(BYTES) else (stage, False)


class TerminalProgress:
    """Prints each stage with a bar, its rate and the time left.

    On a terminal one line is rewritten; elsewhere (a log file, a pipe) a stage prints at most one line every five seconds and one
    at its end. The rate counts only what was done since the stage's first call, so a resumed download does not boast.
    Threads may share it. ``close`` (or the end of a ``with`` block) ends a line that was left open.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._tty = self._stream.isatty()
        self._lock = threading.Lock()
        self._stage: str | None = None
        self._first = self._done = self._total = 0
        self._started = self._printed_at = 0.0
        self._printed: tuple[int, int] | None = None  # (done, total) of the line printed last in this stage
        self._width = 0  # columns of the line that stands open on the terminal; 0: none does

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report ``done`` of ``total`` in ``stage``."""
        with self._lock:
            now = self._clock()
            if stage != self._stage or done < self._done:
                self._finish()
                self._stage, self._first, self._started = stage, done, now
                self._printed = None
                self._printed_at = -math.inf if self._tty else now
            self._done, self._total = done, total
            ended = 0 < total <= done
            pause = _TTY_SECONDS if self._tty else _SPARSE_SECONDS
            if (ended or now - self._printed_at >= pause) and self._printed != (done, total):
                self._print(now)
            if ended:
                self._end_line()

    def close(self) -> None:
        """End the stage under way; its last state stays readable."""
        with self._lock:
            self._finish()
            self._stage = None
            self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _finish(self) -> None:
        if self._stage is not None and self._printed != (self._done, self._total):
            self._print(self._clock())
        self._end_line()

    def _end_line(self) -> None:
        if self._width:
            self._stream.write("\n")
            self._stream.flush()
            self._width = 0

    def _print(self, now: float) -> None:
        line = self._line(now)
        if self._tty:
            line = _cut(line, shutil.get_terminal_size().columns - 1)
            width = _columns(line)
            self._stream.write("\r" + line + " " * (self._width - width))
            self._width = width
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._printed, self._printed_at = (self._done, self._total), now

    def _line(self, now: float) -> str:
        name, is_bytes = label(self._stage or "")
        scale, unit, digits = (1e6, " MB", 1) if is_bytes else (1.0, "", 0)
        seconds = now - self._started
        rate = (self._done - self._first) / seconds if seconds > 0 else 0.0
        done = f"{self._done / scale:,.{digits}f}"
        parts = [name]
        if self._total > 0:
            share = min(self._done / self._total, 1.0)
            full = int(_BAR * share)
            parts += [f"[{'#' * full}{'-' * (_BAR - full)}] {share:4.0%}", f"{done}/{self._total / scale:,.{digits}f}{unit}"]
        else:
            parts.append(f"{done}{unit}")
        if rate > 0:
            parts.append(f"{rate / scale:,.1f}{unit}/s")
            if self._total > self._done:
                parts.append(f"{_duration((self._total - self._done) / rate)} left")
            else:
                parts.append(f"in {_duration(seconds)}")
        return "  ".join(parts)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _columns(text: str) -> int:
    """Terminal columns of a text: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, columns: int) -> str:
    """As much of the text as fits, so that a rewritten line never wraps."""
    while text and _columns(text) > columns:
        text = text[:-1]
    return text
