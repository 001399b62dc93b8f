"""What a person corrected in the cleaning of a document, kept in the library so that it outlives re-ingestion and renaming.

A correction names its document and holds the folded lines it is about, not offsets: those change when the file does.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.storage.library import Library

RESTORE = "restore"
CUT = "cut"


@dataclass(frozen=True, slots=True)
class Correction:
    """One correction: ``kind`` «restore» or «cut», ``block`` the folded lines joined by line feeds.

    ``reason`` is what a restored cut had been made for, ``text`` what it held, ``inline`` whether it was a part of a line.
    """

    id: int
    kind: str
    document: str
    block: str
    reason: str = ""
    text: str = ""
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Corrections:
    """All corrections of one document as :func:`ingest.cleaning.clean.clean` takes them."""

    keep: frozenset[str] = frozenset()
    drop: frozenset[str] = frozenset()


NONE = Corrections()


def corrections(library: "Library", document: str | None = None) -> list[Correction]:
    """The corrections (of one document), oldest first."""
    rows = library.read("SELECT id, kind, detail FROM corrections WHERE kind IN (?, ?) ORDER BY id", (RESTORE, CUT))
    found = [Correction(id, kind, **json.loads(detail)) for id, kind, detail in rows]
    return [correction for correction in found if document in (None, correction.document)]


def joined(found: Sequence[Correction]) -> Corrections:
    """Corrections of one document as sets; of two about the same lines the later one holds."""
    last = {correction.block: correction.kind for correction in found}
    return Corrections(
        frozenset(block for block, kind in last.items() if kind == RESTORE),
        frozenset(block for block, kind in last.items() if kind == CUT),
    )


def corrections_of(library: "Library", document: str) -> Corrections:
    """What ingest has to respect when it cleans a document."""
    return joined(corrections(library, document))


def record(library: "Library", correction: Correction) -> int:
    """Store a correction (its id is ignored); returns its id."""
    detail = {
        "document": correction.document,
        "block": correction.block,
        "reason": correction.reason,
        "text": correction.text,
        "inline": correction.inline,
    }
    with library.transaction() as connection:
        row = connection.execute(
            "INSERT INTO corrections (kind, detail, created_at) VALUES (?, ?, ?)",
            (correction.kind, json.dumps(detail, ensure_ascii=False), datetime.now(UTC).isoformat(timespec="seconds")),
        )
        return int(row.lastrowid or 0)


def forget(library: "Library", id: int) -> None:
    """Delete a correction."""
    with library.transaction() as connection:
        connection.execute("DELETE FROM corrections WHERE id = ?", (id,))


def rename(connection: sqlite3.Connection, names: Mapping[str, str]) -> None:
    """Documents were renamed, old name -> new name: their corrections go with them. Part of the caller's transaction."""
    rows = connection.execute("SELECT id, detail FROM corrections WHERE kind IN (?, ?)", (RESTORE, CUT)).fetchall()
    for id, text in rows:
        detail = json.loads(text)
        if (new := names.get(detail["document"])) is not None:
            detail["document"] = new
            connection.execute("UPDATE corrections SET detail = ? WHERE id = ?", (json.dumps(detail, ensure_ascii=False), id))
