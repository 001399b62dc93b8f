"""Faults put where a library touches the disk: at its commits, and at every operation on the vector file.

``sqlite3`` is told to make connections that report their commits, ``os`` to report writes, flushes, renames and removals.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

OPERATIONS = ("write", "fsync", "replace", "unlink")


@contextmanager
def watched(point: Callable[[str], None]) -> Iterator[None]:
    """Call ``point`` with a name before and after every commit and every file operation of ours (SQLite's own are its affair)."""
    connect = sqlite3.connect
    plain: dict[str, Any] = {name: getattr(os, name) for name in OPERATIONS}

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql in ("BEGIN IMMEDIATE", "COMMIT"):
                point(f"before {sql}")
            cursor = super().execute(sql, *parameters)
            if sql in ("BEGIN IMMEDIATE", "COMMIT"):
                point(f"after {sql}")
            return cursor

    def operation(name: str) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            point(f"before {name}")
            result = plain[name](*arguments, **more)
            point(f"after {name}")
            return result

        return called

    sqlite3.connect = lambda *a, **k: connect(*a, **{**k, "factory": Connection})
    for name in OPERATIONS:
        setattr(os, name, operation(name))
    try:
        yield
    finally:
        sqlite3.connect = connect
        for name, function in plain.items():
            setattr(os, name, function)
