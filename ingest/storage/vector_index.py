"""The vectors of a library in memory, and the file that saves making them again.

SQLite is the truth, and ids are never used twice: an index of any earlier moment becomes the present one by taking out the ids that
are gone and adding those that are new. So the file may lag behind the database. It is written when enough has changed, its total
cost stays proportional to the library, and a kill or a full disk while it is written costs nothing but the time to catch up.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from ingest.errors import MianpuError
from ingest.storage import vectors
from ingest.storage.database import Database, explained

_log = logging.getLogger("mianpu")
_SMALL = 4096
"""Vectors up to which the file is written with every change."""
_PART = 500


class VectorIndex:
    """The index of one open library; every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._index: vectors.Index | None = None
        self._model: tuple[str, int] = ("", 0)
        self._generation = -1
        self._behind = 0  # vectors that changed since the file was written
        self._lost = False  # the file that the database names is missing or damaged

    def current(self) -> vectors.Index:
        """The index as the database is now. The caller holds ``database.lock`` for as long as it uses it."""
        meta = self._meta()
        generation, model = int(meta.get("generation", 0)), _model(meta)
        if self._index is None or self._model != model:
            self._index, self._model, self._generation = self._from_file(model[1]), model, -1
        if self._generation != generation:
            if self._database.writing_here:
                raise RuntimeError("vectors are read before or after the transaction that changes them")
            self._catch_up()
            self._generation = generation
        return self._index

    def published(self, generation: int, gone: Sequence[int], ids: Sequence[int], values: vectors.Vectors) -> None:
        """Follow a committed change that made ``generation``; whoever is not at the one before catches up when next asked."""
        with self._database.lock:
            if self._index is not None and self._generation == generation - 1 and self._model == _model(self._meta()):
                vectors.change(self._index, gone, ids, values)
                self._generation = generation
                self._behind += len(gone) + len(ids)

    def write_if_due(self) -> None:
        """Write the file when it is small, or a quarter of it has changed: so all writes together stay linear in the vectors."""
        with self._database.lock:
            total = self.current().ntotal
            due = total <= _SMALL or self._behind * 4 >= total
        if due:
            self.write()

    def write(self) -> None:
        """Write the file if anything changed since it was written. Raises MianpuError (disk full, another program writes)."""
        with self._database.lock:
            index, generation, model, behind = self.current(), self._generation, self._model, self._behind
            filed = self._meta()
            changed = behind > 0 or self._lost
            copy = vectors.clone(index) if changed and (index.ntotal or filed.get("vectors_sha256")) else None
        if copy is None:
            self._drop_older(_filed(filed))  # what a kill between writing a file and dropping the one before left
            return
        path = self._path(generation)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            digest = vectors.write(copy, temporary)
            with self._database.transaction() as connection:
                meta = self._meta()
                if _model(meta) != model or int(meta.get("vectors_generation", -1)) > generation:
                    return  # another process has other vectors, or newer ones
                vectors.move(temporary, path)
                connection.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                    [("vectors_sha256", digest), ("vectors_generation", str(generation))],
                )
        except OSError as error:
            raise explained(self._database.folder, error) from None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        with self._database.lock:
            self._behind = max(0, self._behind - behind)
            self._lost = False
        self._drop_older(generation)

    def forget(self) -> None:
        """Drop what is in memory: the next reader starts from the file, or from the database."""
        with self._database.lock:
            self._index = None

    def file_problem(self) -> str | None:
        """What is wrong with the file that the database names, or None."""
        meta = self._meta()
        if not meta.get("vectors_sha256"):
            return None
        path = self._path(_filed(meta))
        if not path.exists():
            return f"the vector file {path.name} is missing"
        return None if vectors.digest(path) == meta["vectors_sha256"] else f"the vector file {path.name} is damaged"

    def mend(self) -> None:
        """Write the file anew where a reader found it missing or damaged; where it cannot be written, memory serves as well."""
        if self._lost and not self._database.busy_here:
            with suppress(MianpuError):
                self.write()

    # --- helpers ------------------------------------------------------------------------------------------------

    def _meta(self) -> dict[str, str]:
        names = "'generation', 'embedding_model', 'dimension', 'vectors_sha256', 'vectors_generation'"
        return dict(self._database.read(f"SELECT key, value FROM meta WHERE key IN ({names})"))

    def _from_file(self, dimension: int) -> vectors.Index:
        self._behind, self._lost = 0, False
        while (meta := self._meta()).get("vectors_sha256"):
            path = self._path(_filed(meta))
            index = vectors.read(path, meta["vectors_sha256"])
            if index is not None and index.d == (dimension or 1):
                return index
            if self._meta() != meta:
                continue  # another process wrote a newer one, and dropped the file we were about to read
            if not any(number > _filed(meta) for number, _ in self._files()):  # inside a snapshot the names are those of its moment
                self._lost = True
                state = "damaged" if path.exists() else "missing"
                _log.warning("mianpu: the vector file of %s was %s; built again from the database", self._database.folder, state)
            break
        return vectors.empty(dimension or 1)

    def _catch_up(self) -> None:
        """Take out what is gone and add what is new, from the database, a part at a time."""
        assert self._index is not None
        rows = self._database.read(
            "SELECT id FROM passages UNION ALL SELECT id + ? FROM pairs WHERE answer_end > answer_start", (vectors.PAIR_BASE,)
        )
        wanted = np.fromiter((i for (i,) in rows), dtype=np.int64, count=len(rows))
        have = vectors.ids(self._index)
        gone, new = np.setdiff1d(have, wanted), np.setdiff1d(wanted, have)
        vectors.change(self._index, gone.tolist(), [], np.zeros((0, 1), dtype=np.float32))
        self._behind += len(gone)
        for start in range(0, len(new), _PART):
            part = new[start : start + _PART]
            kinds = (("passages", part[part < vectors.PAIR_BASE], 0), ("pairs", part[part >= vectors.PAIR_BASE], vectors.PAIR_BASE))
            for table, ids, base in kinds:
                found = self._database.read(
                    f"SELECT t.id + ?, e.vector FROM {table} t JOIN embeddings e ON e.hash = t.embedding"
                    f" WHERE t.id IN ({','.join('?' * len(ids))})",
                    [base, *(int(i) - base for i in ids)],
                )
                if found:
                    values = np.stack([np.frombuffer(vector, dtype=np.float32) for _, vector in found])
                    vectors.change(self._index, [], [int(i) for i, _ in found], values)
                    self._behind += len(found)

    def _path(self, generation: int) -> Path:
        return self._database.folder / f"vectors-{generation}.faiss"

    def _files(self) -> list[tuple[int, Path]]:
        found = ((path.name.partition(".")[0].removeprefix("vectors-"), path) for path in self._database.folder.glob("vectors-*"))
        return [(int(number), path) for number, path in found if number.isdigit()]

    def _drop_older(self, generation: int) -> None:
        """Unlink the files of earlier generations; a later one may belong to a process that wrote meanwhile."""
        for number, path in self._files():
            if number < generation:
                with suppress(OSError):
                    path.unlink(missing_ok=True)


def _model(meta: dict[str, str]) -> tuple[str, int]:
    return meta.get("embedding_model", ""), int(meta.get("dimension", 0))


def _filed(meta: dict[str, str]) -> int:
    return int(meta.get("vectors_generation", 0))
