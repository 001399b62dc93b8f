"""The vectors of a library in memory, and the file that saves making them again.

SQLite is the truth, and ids are never used twice: an index of any earlier moment becomes the present one by taking out the ids that
are gone and adding those that are new. So the file may lag behind the database. It is written when enough has changed, its total
cost stays proportional to the library, and a kill or a full disk while it is written costs nothing but the time to catch up.

Up to ``SWITCH`` vectors the index is exact and in memory (vectors.py). Beyond, most are in a mapped file of codes (quantised.py),
and the exact index holds those that came since; what the codes find is compared by the vectors in the database.
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
from ingest.storage.quantised import Quantised

_log = logging.getLogger("mianpu")
_SMALL = 4096
"""Vectors up to which the file is written with every change."""
SWITCH = 1 << 16
"""Vectors from which on codes replace them: an exact scan takes some 15 ms there, and two are made for a question."""
_PART = 500


class VectorIndex:
    """The index of one open library; every method may be called from any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._index: vectors.Index | None = None
        self._codes: Quantised | None = None  # beside it, in a large library: everything up to some moment
        self._model: tuple[str, int] = ("", 0)
        self._generation = -1
        self._behind = 0  # vectors that changed since the file was written
        self._lost = False  # the file that the database names is missing or damaged

    def nearest(self, vector: vectors.Vectors, k: int, *, pairs: bool) -> list[tuple[int, float]]:
        """(id, cosine) of the ``k`` nearest of one kind to a unit vector (d,), best first. The cosines are exact, always."""
        with self._database.lock:
            index = self._current()
            found = vectors.search(index, vector, k, pairs=pairs)
            if self._codes is not None and k > 0:
                base = vectors.PAIR_BASE if pairs else 0
                near = self._stored(self._codes.search(vector, 2 * k, pairs=pairs))
                found += [(i - base, float(values @ vector)) for i, values in near.items()]
                found = sorted(found, key=lambda item: (-item[1], item[0]))[:k]
        return found

    def values(self, ids: Sequence[int]) -> vectors.Vectors:
        """The vectors (n, d) of passages (pairs: ``PAIR_BASE`` added), in this order. Raises KeyError for an id that has none."""
        with self._database.lock:
            index = self._current()
            if self._codes is not None:
                stored = self._stored(ids)
                return np.stack([stored[i] for i in ids]) if len(ids) else np.zeros((0, index.d), dtype=np.float32)
            try:
                rows = [index.reconstruct(int(i)) for i in ids]
            except RuntimeError:
                raise KeyError("a passage has no vector: it was removed, or its embedding is still to be made") from None
            return np.stack(rows) if rows else np.zeros((0, index.d), dtype=np.float32)

    def contents(self) -> tuple[vectors.Ids, vectors.Vectors]:
        """All ids (n,) and vectors (n, d)."""
        with self._database.lock:
            ids, values = vectors.contents(self._current())
            if self._codes is None:
                return ids, values
            coded = self._codes.ids()
            stored = self._stored(coded.tolist())
            rows = [stored.get(int(i), np.zeros(values.shape[1], dtype=np.float32)) for i in coded]
            return np.concatenate([ids, coded]), np.concatenate([values, np.stack(rows)]) if rows else values

    def _current(self) -> vectors.Index:
        """Bring the index to where the database is now. The caller holds ``database.lock`` for as long as it uses it."""
        meta = self._meta()
        generation, model = int(meta.get("generation", 0)), _model(meta)
        if self._index is None or self._model != model:
            self._generation = -1
            self._index, self._codes = self._from_file(model[1])
            self._model = model
            if self._codes is not None:
                self._generation = _filed(self._meta())
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
                self._change(gone, ids, values)
                self._generation = generation

    def write_if_due(self) -> None:
        """Write the file when it is small, or enough of it has changed: so all writes together stay linear in the vectors."""
        with self._database.lock:
            total = self._current().ntotal + len(self._codes or ())
            share = 4 if self._codes is None else 16
            due = total <= _SMALL or self._behind * share >= total
        if due:
            self.write()

    def write(self) -> None:
        """Write the file if enough changed since it was written. Raises MianpuError (disk full, another program writes).

        Enough is anything in a small library; in a large one a hundredth, for less is soon made up by who opens it.
        """
        with self._database.lock:
            index = self._current()
            codes, generation, model, behind = self._codes, self._generation, self._model, self._behind
            filed = self._meta()
            total = index.ntotal + len(codes or ())
            changed = self._lost or (behind > 0 and (codes is None or not filed.get("vectors_sha256") or 100 * behind >= total))
            copy = vectors.clone(index) if changed and (total or filed.get("vectors_sha256")) else None
            gone = set(codes.gone) if codes is not None else set()
        if copy is None:
            self._drop_older(_filed(filed))  # what a kill between writing a file and dropping the one before left
            return
        path = self._path(generation)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        mapped: Quantised | None = None
        try:
            if codes is None:
                digest = vectors.write(copy, temporary)
            else:
                digest = codes.with_changes(gone, *vectors.contents(copy)).write(temporary)
            with self._database.transaction() as connection:
                meta = self._meta()
                if _model(meta) != model or int(meta.get("vectors_generation", -1)) > generation:
                    return  # another process has other vectors, or newer ones
                vectors.move(temporary, path)
                connection.executemany(
                    "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                    [("vectors_sha256", digest), ("vectors_generation", str(generation))],
                )
            mapped = Quantised.read(path) if codes is not None else None
        except OSError as error:
            raise explained(self._database.folder, error) from None
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        with self._database.lock:
            self._behind = max(0, self._behind - behind)
            self._lost = False
            if mapped is not None and self._model == model and self._generation == generation:
                self._index, self._codes = vectors.empty(model[1]), mapped  # the codes in memory are free to go
        self._drop_older(generation)

    def forget(self) -> None:
        """Drop what is in memory: the next reader starts from the file, or from the database."""
        with self._database.lock:
            self._index = self._codes = None

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

    def _from_file(self, dimension: int) -> tuple[vectors.Index, Quantised | None]:
        self._behind, self._lost = 0, False
        while (meta := self._meta()).get("vectors_sha256"):
            path = self._path(_filed(meta))
            codes = Quantised.read(path)
            if codes is not None and codes.dimension == dimension:
                return vectors.empty(dimension), codes
            index = vectors.read(path, meta["vectors_sha256"]) if codes is None else None
            if index is not None and index.d == (dimension or 1):
                return index, None
            if self._meta() != meta:
                continue  # another process wrote a newer one, and dropped the file we were about to read
            if not any(number > _filed(meta) for number, _ in self._files()):  # inside a snapshot the names are those of its moment
                self._lost = True
                state = "damaged" if path.exists() else "missing"
                _log.warning("mianpu: the vector file of %s was %s; built again from the database", self._database.folder, state)
            break
        return vectors.empty(dimension or 1), None

    def _catch_up(self) -> None:
        """Take out what is gone and add what is new, from the database, a part at a time."""
        rows = self._database.read(
            "SELECT id FROM passages UNION ALL SELECT id + ? FROM pairs WHERE answer_end > answer_start", (vectors.PAIR_BASE,)
        )
        wanted = np.fromiter((i for (i,) in rows), dtype=np.int64, count=len(rows))
        have = vectors.ids(self._index)
        if self._codes is not None:
            have = np.concatenate([have, self._codes.ids()])
        gone, new = np.setdiff1d(have, wanted), np.setdiff1d(wanted, have)
        self._change(gone.tolist(), [], np.zeros((0, 1), dtype=np.float32))
        if self._codes is not None and self._codes.gone:  # what was away for a moment is in the file still
            again = new[self._codes.has(new)]
            self._codes.gone -= set(again.tolist())
            new = np.setdiff1d(new, again)
        for start in range(0, len(new), _PART):
            found = self._stored(new[start : start + _PART].tolist())
            if found:
                self._change([], list(found), np.stack(list(found.values())))

    def _change(self, gone: Sequence[int], ids: Sequence[int], values: vectors.Vectors) -> None:
        removed = np.array(gone, dtype=np.int64)
        if self._codes is not None and len(removed):
            coded = self._codes.has(removed)
            self._codes.gone |= set(removed[coded].tolist())
            removed = removed[~coded]
        vectors.change(self._index, removed.tolist(), ids, values)
        self._behind += len(gone) + len(ids)
        assert self._index is not None
        if self._index.ntotal > SWITCH:
            every, values = vectors.contents(self._index)
            if self._codes is None:
                self._codes = Quantised.empty(values[every < vectors.PAIR_BASE], values[every >= vectors.PAIR_BASE])
            self._codes = self._codes.with_changes(self._codes.gone, every, values)
            self._index = vectors.empty(values.shape[1])

    def _stored(self, ids: Sequence[int]) -> dict[int, vectors.Vectors]:
        """The vectors (d,) that the database has for ids of the index."""
        found: dict[int, vectors.Vectors] = {}
        for table, base in (("passages", 0), ("pairs", vectors.PAIR_BASE)):
            chosen = [int(i) - base for i in ids if (i >= vectors.PAIR_BASE) == bool(base)]
            for start in range(0, len(chosen), _PART):
                part = chosen[start : start + _PART]
                rows = self._database.read(
                    f"SELECT t.id + ?, e.vector FROM {table} t JOIN embeddings e ON e.hash = t.embedding"
                    f" WHERE t.id IN ({','.join('?' * len(part))})",
                    [base, *part],
                )
                found.update((i, np.frombuffer(vector, dtype=np.float32)) for i, vector in rows)
        return found

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
