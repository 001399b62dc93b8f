"""The SQLite file of a library behind two connections: one reads, one writes, so that a reader never waits for a writer.

Whatever SQLite and the disk complain of becomes one clear line. Locks are always taken in the same order, the writer's first.
"""

import contextlib
import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import filelock
import psutil

from ingest.errors import LibraryBusy, MianpuError
from ingest.storage.schema import migrate

_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
RESTORE = "put a backup in its place with `mianpu restore FILE --library DIR --force`, or move it away and ingest again"


class Database:
    """An open ``library.db``. Threads may share it."""

    def __init__(self, folder: Path, reading: sqlite3.Connection, writing: sqlite3.Connection) -> None:
        self.folder = folder
        self._reading, self._writing = reading, writing
        self.lock = threading.RLock()
        """Held while the reading connection is used, and while what is kept in memory beside it changes."""
        self._write_lock = threading.RLock()
        self._writer: int | None = None  # the thread whose transaction is open
        self._reader: int | None = None  # the thread whose snapshot is open

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Self:
        """Open the library in ``folder``. Raises MianpuError when there is none (and ``create`` is false) or it is damaged."""
        path = folder / "library.db"
        if not path.exists() and not create:
            raise MianpuError(f"there is no library in {folder}: run `mianpu ingest PATH --library {folder}` first")
        opened: list[sqlite3.Connection] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(2):
                connection = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
                opened.append(connection)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                migrate(connection)
            reading, writing = opened
            reading.execute("PRAGMA query_only = ON")
        except BaseException as error:
            for connection in opened:
                connection.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise explained(folder, error) from None
            raise
        return cls(folder, reading, writing)

    def close(self) -> None:
        """Close both connections."""
        with self._write_lock, self.lock:
            self._reading.close()
            self._writing.close()

    # --- reading ------------------------------------------------------------------------------------------------

    def read(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[Any]:
        """All rows of one query, as tuples. Inside a transaction of this thread they are those of the transaction."""
        try:
            if self.writing_here:
                return self._writing.execute(sql, parameters).fetchall()
            with self.lock:
                return self._reading.execute(sql, parameters).fetchall()
        except sqlite3.DatabaseError as error:
            if _code(error) in (*_DAMAGED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, *_BUSY):
                raise explained(self.folder, error) from None
            raise

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Everything this thread reads inside the block is of one moment, whatever is published meanwhile.

        It must be short (other threads' reads wait), and nothing can be written inside it.
        """
        if self.writing_here:
            yield
            return
        with self.lock:
            if self._reader is not None:  # inside another snapshot of this thread: no other holds the lock
                yield
                return
            self._reading.execute("BEGIN")
            self._reader = threading.get_ident()
            try:
                self.read("SELECT value FROM meta WHERE key = 'generation'")  # the moment is that of the first read
                yield
            finally:
                self._reader = None
                with contextlib.suppress(sqlite3.Error):  # a damaged database says so even here, and was heard already
                    self._reading.execute("ROLLBACK")

    @property
    def writing_here(self) -> bool:
        """Whether this thread is inside a transaction."""
        return self._writer == threading.get_ident()

    @property
    def busy_here(self) -> bool:
        """Whether this thread is inside a transaction or a snapshot, and so cannot begin a transaction."""
        return threading.get_ident() in (self._writer, self._reader)

    def backup(self, path: Path) -> None:
        """Write a consistent copy of the database to a new file; readers and writers go on meanwhile."""
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target, self.lock:
            self._reading.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it

    # --- writing ------------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed when the block ends, rolled back when it raises."""
        if self._reader == threading.get_ident():
            raise RuntimeError("a snapshot only reads: write before or after it")
        with self._write_lock:
            try:
                self._writing.execute("BEGIN IMMEDIATE")
                self._writer = threading.get_ident()
                try:
                    yield self._writing
                    self._writing.execute("COMMIT")
                except BaseException:
                    if self._writing.in_transaction:
                        self._writing.execute("ROLLBACK")
                    raise
                finally:
                    self._writer = None
            except (sqlite3.OperationalError, OSError) as error:
                raise explained(self.folder, error) from None
            except sqlite3.DatabaseError as error:
                if _code(error) in _DAMAGED:
                    raise explained(self.folder, error) from None
                raise

    @contextmanager
    def writer(self) -> Iterator[None]:
        """Hold the right to ingest. Raises LibraryBusy at once when another process (or thread) holds it."""
        lock = filelock.FileLock(self.folder / "writer.lock")
        holder = self.folder / "writer.json"  # beside the lock: taking the lock, even in vain, may empty the lock's own file
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise LibraryBusy(
                f"another ingest{_described(holder)} is writing to {self.folder}: wait until it ends, then try again"
            ) from None
        except OSError as error:
            raise explained(self.folder, error) from None
        try:
            with contextlib.suppress(OSError):  # it serves the message alone
                holder.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), "utf-8")
            yield
        finally:
            with contextlib.suppress(OSError):
                holder.unlink()
            lock.release()


def explained(folder: Path, error: Exception) -> MianpuError:
    """What is wrong with a library, for a person: it is busy, the disk is full, the database is damaged, or cannot be used."""
    code = _code(error)
    if code in _BUSY:
        return LibraryBusy(f"another program is writing to {folder}: try again in a moment")
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == 28):
        return MianpuError(f"the library in {folder} cannot be written: the disk is full; free some space and try again")
    if code in _DAMAGED:
        return MianpuError(f"{folder / 'library.db'} is not a library, or is damaged ({error}): {RESTORE}")
    reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return MianpuError(f"the library in {folder} cannot be used ({reason}): check the folder and the disk")


def _code(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def _described(holder: Path) -> str:
    """« (process 123 on host)», where that is known and the process still lives."""
    try:
        value = json.loads(holder.read_text("utf-8"))
        pid, host = int(value["pid"]), str(value["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if host == socket.gethostname():
        return f" (process {pid})" if psutil.pid_exists(pid) else ""
    return f" (process {pid} on {host})"
