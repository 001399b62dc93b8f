"""What llama.cpp says: nothing reaches the terminal, errors are kept for our own messages."""

import ctypes
from collections import deque
from typing import Any

_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR
_log: deque[str] = deque(maxlen=20)
_callbacks: list[Any] = []  # ctypes callbacks that llama.cpp holds on to must never be collected


def silence(api: Any) -> None:
    """Keep llama.cpp's errors for our own messages and let nothing through to the terminal."""
    if _callbacks:
        return

    @api.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(level: int, text: bytes, _: object) -> None:
        if level == _ERROR_LEVEL and text.strip():
            _log.append(text.decode("utf-8", "replace").strip())

    _callbacks.append(keep)
    api.llama_log_set(keep, ctypes.c_void_p(0))


def last_error() -> str:
    """What llama.cpp said last when it failed, for a message: " (…)" or nothing."""
    if not _log:
        return ""
    line = _log[0].splitlines()[0].rpartition("error loading model: ")[2]
    _log.clear()
    return f" ({line})"
