"""A library in one file, and back: a ZIP of the database (a consistent copy) and the files dropped onto the page.

Vectors are derived and not in it. Nothing is put in place before all of it is written and, at a restore, checked.
"""

import json
import os
import shutil
import sqlite3
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import filelock

from ingest.errors import LibraryBusy, MianpuError, UsageError
from ingest.storage.checks import problems
from ingest.storage.library import Library

UPLOADS = "uploads"
"""Folder below the library that keeps what was dropped onto the page."""
_DATABASE, _MANIFEST = "library.db", "mianpu-backup.json"
_OWN = ("library.db", "library.db-wal", "library.db-shm", "writer.lock", "writer.json", UPLOADS)
_PIECE = 1 << 20


def backup(library: Library, target: Path, *, force: bool = False) -> int:
    """Write the library to a new ZIP file; returns its size in bytes. Readers and a writer go on meanwhile.

    Raises UsageError when the file exists (and ``force`` is false), MianpuError when it cannot be written.
    """
    if target.exists() and not force:
        raise UsageError(f"{target} exists: name another file, or replace it with --force")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent} is not a folder: make it first")
    try:
        with tempfile.TemporaryDirectory(prefix=".mianpu-backup-", dir=target.parent) as folder:
            copy = Path(folder) / _DATABASE
            library.backup(copy)
            archive = Path(folder) / "backup.zip"
            with archive.open("wb") as file:
                _write(file, copy, library.folder)
                file.flush()
                os.fsync(file.fileno())
            size = archive.stat().st_size
            if force:
                os.replace(archive, target)
            else:
                _place_new(archive, target)
    except sqlite3.Error as error:
        raise MianpuError(f"the backup {target} cannot be written: {error}") from None
    except OSError as error:
        raise MianpuError(f"the backup {target} cannot be written: {error.strerror or error}") from None
    return size


def restore(archive: Path, folder: Path, *, force: bool = False) -> list[str]:
    """Make the library of a backup in ``folder``; returns lines for the person. What is there stays until the new one is in place.

    Raises UsageError when the folder holds anything (and ``force`` is false), MianpuError when the backup is not whole.
    """
    folder = Path(os.path.abspath(folder))
    filled = folder.exists() and any(folder.iterdir()) if folder.is_dir() or not folder.exists() else True
    if filled and not force:
        raise UsageError(f"{folder} is not empty: name another folder with --library, or replace what is there with --force")
    if filled and not (folder / _DATABASE).is_file():
        raise UsageError(f"{folder} holds something, but no library: only a library is replaced")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".mianpu-restore-", dir=folder.parent) as temporary:
            made = Path(temporary) / "library"
            made.mkdir()
            came_from = _unpack(archive, made)
            with Library.open(made) as library:
                _move_uploads(library, came_from, folder)
                if library.passage_count() and library.dimension and not library.unembedded():
                    library.rebuild_vectors()
                if found := [line for line in problems(library) if "mianpu ingest" not in line]:
                    raise MianpuError(f"the backup {archive} does not hold together ({found[0]}): nothing was changed")
            return _place_folder(made, folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise MianpuError(f"{archive} is not a whole backup of Mianpu ({error}): nothing was changed") from None
    except OSError as error:
        raise MianpuError(f"{archive} cannot be restored to {folder} ({error.strerror or error}): nothing was changed") from None


# --- writing ----------------------------------------------------------------------------------------------------


def _write(file: object, database: Path, folder: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:  # type: ignore[call-overload]
        manifest = {"format": 1, "folder": str(folder.resolve()), "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
        made.writestr(_MANIFEST, json.dumps(manifest, ensure_ascii=False))
        made.write(database, _DATABASE)
        for path in sorted((folder / UPLOADS).rglob("*")):
            with suppress(FileNotFoundError):  # removed while this was going on
                if stat.S_ISREG(path.lstat().st_mode):  # no link is followed out of the library
                    made.write(path, path.relative_to(folder).as_posix())


def _place_new(made: Path, target: Path) -> None:
    """Give a file its name, unless another has it: also one that came a moment ago."""
    try:
        os.link(made, target)
    except FileExistsError:
        raise UsageError(f"{target} exists: name another file, or replace it with --force") from None
    except OSError:  # a file system without hard links
        os.replace(made, target)


# --- reading ----------------------------------------------------------------------------------------------------


def _unpack(archive: Path, folder: Path) -> str:
    """Unpack what a backup may hold, and nothing else; returns the folder that the library was in."""
    with zipfile.ZipFile(archive) as file:
        entries = file.infolist()
        names = [entry.filename for entry in entries]
        if _DATABASE not in names or _MANIFEST not in names:
            raise zipfile.BadZipFile("it holds no library")
        manifest = json.loads(_small(file, _MANIFEST))
        if not isinstance(manifest, dict) or manifest.get("format") != 1:
            raise MianpuError(f"{archive} was made by a newer Mianpu: install that one")
        size = sum(entry.file_size for entry in entries)
        free = shutil.disk_usage(folder).free
        if size > free:
            raise MianpuError(f"{archive} unpacks to {size / 1e6:,.0f} MB, and {free / 1e6:,.0f} MB are free: make room first")
        for entry in entries:
            path = PurePosixPath(entry.filename)
            allowed = entry.filename in (_DATABASE, _MANIFEST) or (path.parts[0] == UPLOADS and len(path.parts) > 1)
            if not allowed or path.is_absolute() or ".." in path.parts or "\\" in entry.filename or entry.is_dir():
                raise zipfile.BadZipFile(f"«{entry.filename}» does not belong into one")
            if entry.filename == _MANIFEST:
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.open(entry) as source, target.open("xb") as out:
                left = entry.file_size
                while data := source.read(_PIECE):  # zipfile checks the CRC at the end
                    left -= len(data)
                    if left < 0:
                        raise zipfile.BadZipFile(f"«{entry.filename}» is larger than it says")
                    out.write(data)
                out.flush()
                os.fsync(out.fileno())
    return str(manifest.get("folder", ""))


def _small(file: zipfile.ZipFile, name: str) -> bytes:
    with file.open(name) as source:
        return source.read(1 << 16)


def _move_uploads(library: Library, came_from: str, folder: Path) -> None:
    """Documents whose file is among the uploads have it where the library is now."""
    old, new = f"{came_from}/{UPLOADS}/", f"{folder}/{UPLOADS}/"
    moved = "UPDATE documents SET source = ? || substr(source, ?) WHERE substr(source, 1, ?) = ?"
    with library.transaction() as connection:
        connection.execute(moved, (new, len(old) + 1, len(old), old))


def _place_folder(made: Path, folder: Path) -> list[str]:
    if not folder.exists():
        os.rename(made, folder)
        return []
    if not any(folder.iterdir()):
        folder.rmdir()
        os.rename(made, folder)
        return []
    aside = folder.with_name(f"{folder.name}.before-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    with _unused(folder):
        os.rename(folder, aside)
        try:
            os.rename(made, folder)
        except BaseException:
            os.rename(aside, folder)
            raise
    strangers = [path.name for path in aside.iterdir() if path.name not in _OWN and not path.name.startswith("vectors-")]
    if strangers:
        return [f"the library of before is kept in {aside}: it holds {strangers[0]}, which is none of Mianpu's files"]
    shutil.rmtree(aside)
    return []


@contextmanager
def _unused(folder: Path) -> Iterator[None]:
    """Hold the library that is replaced: no ingest is going on, and no other program has it open."""
    try:
        with filelock.FileLock(folder / "writer.lock", timeout=0):
            with closing(sqlite3.connect(folder / _DATABASE, timeout=1, isolation_level=None)) as connection:
                try:
                    # Every open connection holds a shared lock on the file; exclusive locking is refused while there is one.
                    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                    connection.execute("BEGIN EXCLUSIVE")
                    connection.execute("ROLLBACK")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                        raise LibraryBusy(f"another program has {folder} open: close it, then try again") from None
                except sqlite3.DatabaseError:
                    pass  # it is damaged: perhaps that is why it is replaced
            # Closed before anything is renamed: SQLite tidies up by name, and the name will be the new library's.
            yield
    except filelock.Timeout:
        raise LibraryBusy(f"an ingest is writing to {folder}: wait until it ends, then try again") from None
