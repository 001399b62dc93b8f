"""A person restores what was cut out of a document, or cuts what was left: recorded, and the document is published again.

The raw text is the cleaned text with its cuts put back, so the file itself is not needed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.cleaning.clean import CleanedText, clean_again, raw_text
from ingest.cleaning.corrections import CUT, RESTORE, Correction, Corrections, corrections, forget, joined, record
from ingest.cleaning.page import folded_block
from ingest.document import Cut, Document, ParsedDocument, fold
from ingest.errors import MianpuError, UsageError
from ingest.storage.library import Library, passage_hash, question_hash
from ingest.structure.splitting import split, title_of

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder


def listed_cuts(document: Document) -> list[Cut]:
    """The cuts a person may name, in order: number 1 is the first. Surplus blank lines are not among them."""
    return [cut for cut in document.cuts if cut.reason != "blank"]


def restore(library: Library, name: str, cut: int | str, load_embedder: "Callable[[], Embedder]") -> Correction:
    """Put a cut back into the text of a document: the cut of this number, or the lines of a cut that hold this text.

    Only texts that are new are embedded. Raises UsageError when there is no such cut, LibraryBusy while another process ingests.
    """
    with library.writer():
        document = library.document(name)
        chosen, lines = _chosen(document, cut)
        raw = raw_text(document.text, document.cuts)
        begin, end = raw.rfind("\n", 0, chosen.start) + 1, raw.find("\n", chosen.end)
        around = raw[begin : chosen.start] + raw[chosen.end : end if end >= 0 else len(raw)]
        inline = "\n" not in chosen.text.strip("\n") and bool(around.strip()) and not chosen.text.endswith("\n")
        correction = Correction(0, RESTORE, name, folded_block(lines), chosen.reason, lines.strip("\n"), inline)
        return _apply(library, document, correction, load_embedder)


def cut_out(library: Library, name: str, start: int, end: int, load_embedder: "Callable[[], Embedder]") -> Correction:
    """Cut the lines that a span of the cleaned text touches. Raises UsageError for an empty span or the whole text."""
    with library.writer():
        document = library.document(name)
        if not 0 <= start < end <= len(document.text):
            raise UsageError(f"{name} has no span {start}-{end}: its text has {len(document.text)} characters")
        first = document.text.rfind("\n", 0, start) + 1
        last = document.text.find("\n", end - 1)
        lines = document.text[first : last if last >= 0 else len(document.text)]
        if not folded_block(lines):
            raise UsageError("there is nothing but white space to cut: name a span with text")
        return _apply(library, document, Correction(0, CUT, name, folded_block(lines), text=lines), load_embedder)


def undo(library: Library, id: int, load_embedder: "Callable[[], Embedder]", document: str | None = None) -> None:
    """Take a correction (of this document) back. Raises UsageError when there is none of this number."""
    with library.writer():
        correction = next((found for found in corrections(library, document) if found.id == id), None)
        if correction is None:
            raise UsageError(f"there is no correction {id}: `mianpu show DOCUMENT` lists them")
        left = [other for other in corrections(library, correction.document) if other.id != id]
        stored = library.document(correction.document)
        cuts = _put_back(stored, correction) if correction.kind == RESTORE else stored.cuts
        shorter = replace(stored, cuts=cuts, text=_without(stored, cuts))
        _publish(library, recleaned(shorter, joined(left), _repeated_in(stored)), load_embedder)
        forget(library, id)


def recleaned(document: Document, found: Corrections, repeated: frozenset[str] = frozenset()) -> ParsedDocument:
    """A stored document cleaned again after corrections, or after lines became known as repeated, and split.

    Pages keep their beginnings; one that began right behind a cut begins with it now.
    """
    raw = raw_text(document.text, document.cuts)
    before = CleanedText(document.text, document.cuts)
    after = clean_again(raw, document.cuts, keep=found.keep, drop=found.drop, repeated=repeated)
    pages = tuple(after.offset(_raw_offset(before, page)) for page in document.pages)
    title = title_of(after.text, document.markup, document.name, document.metadata)
    parsed = split(replace(document, text=after.text, cuts=after.cuts, pages=pages, title=title))
    if not parsed.passages:
        raise MianpuError(f"nothing would be left of {document.name}: remove it with `mianpu remove` instead")
    return replace(parsed, repeated=repeated)


def _raw_offset(cleaned: CleanedText, offset: int) -> int:
    """Where an offset of the cleaned text lies in the raw text: in front of a cut that was made there."""
    shift = 0
    for cut in cleaned.cuts:
        if cut.start - shift >= offset:
            break
        shift += cut.end - cut.start
    return offset + shift


def _chosen(document: Document, cut: int | str) -> tuple[Cut, str]:
    """The cut that is meant, and those of its lines that are: all of them when it is named by number."""
    cuts = listed_cuts(document)
    if isinstance(cut, int):
        if not 1 <= cut <= len(cuts):
            raise UsageError(f"{document.name} has {len(cuts)} cuts: `mianpu show {document.name}` numbers them")
        return cuts[cut - 1], cuts[cut - 1].text
    wanted = folded_block(cut).split("\n")
    for found in cuts:
        lines = found.text.split("\n")
        folded = [fold(line) for line in lines]
        if wanted != [""] and all(any(part in line for line in folded) for part in wanted):
            return found, "\n".join(line for line, key in zip(lines, folded, strict=True) if any(part in key for part in wanted))
    raise UsageError(f"nothing that was cut out of {document.name} holds this text: `mianpu show {document.name}` lists the cuts")


def _apply(library: Library, document: Document, correction: Correction, load_embedder: "Callable[[], Embedder]") -> Correction:
    found = [*corrections(library, document.name), correction]
    parsed = recleaned(document, joined(found), _repeated_in(document))
    id = record(library, correction)  # before the document: after a kill in between the next ingest still respects it
    try:
        _publish(library, parsed, load_embedder)
    except BaseException:
        forget(library, id)
        raise
    return replace(correction, id=id)


def _repeated_in(document: Document) -> frozenset[str]:
    """The lines that were cut as repeated: they stay so, whatever else is corrected."""
    return frozenset(
        fold(line) for cut in document.cuts if cut.reason == "repeated" for line in cut.text.split("\n") if line.strip()
    )


def _put_back(document: Document, correction: Correction) -> tuple[Cut, ...]:
    """The cuts of a document with the one that a correction had restored."""
    raw = raw_text(document.text, document.cuts)
    wanted = set(correction.text.split("\n")) - {""}
    cuts = list(document.cuts)
    taken = [(cut.start, cut.end) for cut in cuts]
    position = 0
    for line in raw.split("\n"):
        start, end = position, position + len(line)  # without its line feed, which may be part of another cut
        position += len(line) + 1
        if correction.inline:
            at = raw.find(correction.text, start, end)
            start, end = at, at + len(correction.text)
        elif line not in wanted or not line.strip():
            continue
        if start >= 0 and not any(a < end and start < b for a, b in taken):
            cuts.append(Cut(start, end, correction.reason, raw[start:end]))
    return tuple(sorted(cuts, key=_start))


def _start(cut: Cut) -> int:
    return cut.start


def _without(document: Document, cuts: Sequence[Cut]) -> str:
    raw, parts, position = raw_text(document.text, document.cuts), [], 0
    for cut in cuts:
        parts.append(raw[position : cut.start])
        position = cut.end
    return "".join([*parts, raw[position:]])


def _publish(library: Library, parsed: ParsedDocument, load_embedder: "Callable[[], Embedder]") -> None:
    """Embed what has no embedding yet, then replace the document."""
    texts = {passage_hash(p.embedding_text): (p.embedding_text, False) for p in parsed.passages}
    texts |= {question_hash(q.question): (q.question, True) for q in parsed.pairs if q.answer}
    missing = sorted(texts.keys() - library.known_embeddings(list(texts)))
    if missing:
        from ingest.models.embedding import embed_texts  # as in pipeline.py

        model = load_embedder()
        if library.meta("embedding_model") not in (None, model.fingerprint):
            raise MianpuError(
                "the library was embedded with another model: name that one, or run `mianpu ingest` with this one first"
            )
        library.use_embedder(model.fingerprint, model.dimension)
        for asked in (False, True):
            keys = [key for key in missing if texts[key][1] is asked]
            if keys:
                library.put_embeddings(keys, *embed_texts(model, [texts[key][0] for key in keys], questions=asked))
    pipeline = library.read("SELECT pipeline FROM documents WHERE name = ?", (parsed.document.name,))[0][0]
    library.publish([parsed], str(pipeline))
    library.forget_unused_embeddings()
