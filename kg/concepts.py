"""Text -> mentions of the concepts in the glossary.

Matching folds both sides the same way (NFKC, lower case, Simplified characters), treats spaces, hyphens and underscores alike, asks
for word boundaries around Latin letters only, takes the longest alias first, and gives spans in the offsets of the original text.

>>> glossary = Glossary.parse('''
... [[concept]]
... name = "旋转位置编码"
... en = "Rotary Position Embedding"
... aliases = ["RoPE"]
... kind = "method"
... area = "position"
... definition = "用旋转矩阵表示位置。"
... definition_en = "Positions as rotations."
... ''')
>>> [(m.start, m.end) for m in glossary.find("用ＲｏＰＥ，即旋转位置编码")]
[(1, 5), (7, 13)]
"""

import bisect
import difflib
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ingest.document import content_hash, fold
from ingest.errors import MianpuError, UsageError
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library
from ingest.variants import simplified

GLOSSARY_FILE = Path(__file__).with_name("glossary.toml")
MATCHER = "2"  # part of the fingerprint: raise it when matching changes, so that libraries are read again
_FIELDS = ("name", "en", "kind", "area", "definition", "definition_en")

_SEPARATORS = " \t_\u00a0\u2010-\u2015-"
_SEPARATOR = re.compile(f"[{_SEPARATORS}]")
# Where an alias may be written in one word or in several: at its own separators (they are marked before this is used), between
# Latin and Chinese, before a number, and at the humps of a compound word. Two letters or fewer are no word of their own:
# «RoPE» is not «Ro PE».
_JOINT = re.compile(
    r"(?<=[A-Za-z0-9])(?=[\u3400-\u9fff])|(?<=[\u3400-\u9fff])(?=[A-Za-z0-9])"
    r"|(?<=[A-Za-z])(?=[0-9])|(?<=[a-z]{3})(?=[A-Z][a-z]{2})|(?<=[A-Z]{2})(?=[A-Z][a-z]{3})"
)


@dataclass(frozen=True, slots=True)
class Concept:
    """A node of the graph: one canonical name and everything else it is called. ``key`` is the folded name."""

    key: str
    name: str
    en: str
    aliases: tuple[str, ...]
    kind: str
    area: str
    definition: str
    definition_en: str

    @property
    def names(self) -> tuple[str, ...]:
        """Every way to write it, canonical first, without repetition."""
        return tuple(dict.fromkeys(name for name in (self.name, self.en, *self.aliases) if name))


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept's occurrence: ``text[start:end]`` in the text that was searched."""

    concept: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Glossary:
    """The concepts by key, and the matcher over all their names. ``fingerprint`` changes with the glossary and the matcher."""

    concepts: Mapping[str, Concept]
    fingerprint: str
    _owners: Mapping[str, str] = field(repr=False)  # compact name -> concept key
    _cased: Mapping[str, str] = field(repr=False)  # compact name -> its spelling, when it must be written that way
    _pattern: re.Pattern[str] = field(repr=False)

    @classmethod
    def load(cls, path: Path = GLOSSARY_FILE) -> Self:
        """Read a glossary file. Raises MianpuError when it is missing or wrong."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MianpuError(f"the glossary {path} cannot be read: {error}") from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "glossary") -> Self:
        """A glossary from the text of a TOML file of ``[[concept]]`` tables."""
        try:
            rows = tomllib.loads(text).get("concept", [])
        except tomllib.TOMLDecodeError as error:
            raise MianpuError(f"{source} is not valid TOML: {error}") from None
        return cls.of([_concept(row, f"{source}, concept {number}") for number, row in enumerate(rows, 1)])

    @classmethod
    def of(cls, concepts: Iterable[Concept]) -> Self:
        """A glossary of these concepts. Raises MianpuError when two of them share a name."""
        known: dict[str, Concept] = {}
        owners: dict[str, str] = {}
        spellings: dict[str, set[str]] = {}
        trie = _Node()
        for concept in concepts:
            if concept.key in known:
                raise MianpuError(f"two concepts of the glossary are named {concept.name}: merge them")
            known[concept.key] = concept
            for name in concept.names:
                compact = _compact(name)
                if not compact:
                    raise MianpuError(f"the concept {concept.name} has an alias without letters: remove it")
                other = owners.setdefault(compact, concept.key)
                if other != concept.key:
                    raise MianpuError(f"{name} names both {known[other].name} and {concept.name}: keep it in one of them")
                spellings.setdefault(compact, set()).add(name)
                trie.insert(name)
        cased = {compact: name for compact, (name, *more) in spellings.items() if not more and _is_short_acronym(name)}
        listing = "\n".join("\t".join([MATCHER, c.key, *c.names]) for c in known.values())
        return cls(known, content_hash(listing)[:16], owners, cased, re.compile(trie.pattern(), re.DOTALL))

    def find(self, text: str) -> list[Mention]:
        """The mentions in a text, in order; where aliases overlap the longest wins, then the first."""
        folded, origin = _folded(text)
        candidates: list[Mention] = []
        for match in self._pattern.finditer(folded):
            start, end = match.span(1)
            if end > start:
                mention = self._mention(text, match.group(1), *_original(origin, start, end))
                if mention is not None:
                    candidates.append(mention)
        return _without_overlaps(candidates)

    def lookup(self, name: str) -> Concept | None:
        """The concept of this key, name or alias, in any spelling that ``find`` would accept, or None."""
        key = self._owner(_compact(name)) or fold(name)
        return self.concepts.get(key)

    def require(self, name: str) -> Concept:
        """Like ``lookup``; raises UsageError with the closest names when there is none."""
        concept = self.lookup(name)
        if concept is None:
            close = ", ".join(c.name for c in self.closest(name, 3))
            hint = f"did you mean {close}?" if close else "`mianpu concept` lists the names"
            raise UsageError(f"no concept is called {name}: {hint}")
        return concept

    def closest(self, name: str, limit: int) -> list[Concept]:
        """The concepts whose names look most like this one, best first (difflib's ratio, at least 0.4)."""
        close = difflib.get_close_matches(_compact(name), list(self._owners), n=4 * limit, cutoff=0.4)
        return [self.concepts[key] for key in dict.fromkeys(self._owners[c] for c in close)][:limit]

    def _owner(self, compact: str) -> str | None:
        return self._owners.get(compact) or (self._owners.get(compact[:-1]) if compact.endswith("s") else None)

    def _mention(self, text: str, folded: str, start: int, end: int) -> Mention | None:
        compact = _SEPARATOR.sub("", folded)
        if compact not in self._owners:
            compact = compact.removesuffix("s")
        spelling = self._cased.get(compact)
        if spelling is not None and not _stands_as(spelling, text, start, end):
            return None
        return Mention(self._owners[compact], start, end)


def _concept(row: Mapping[str, Any], where: str) -> Concept:
    aliases = row.get("aliases", [])
    missing = [name for name in _FIELDS if not isinstance(row.get(name), str) or (name != "en" and not row[name].strip())]
    unknown = sorted(set(row) - {*_FIELDS, "aliases"})
    if missing or unknown or not isinstance(aliases, list) or not all(isinstance(a, str) for a in aliases):
        wrong = f"missing or empty: {', '.join(missing)}" if missing else f"not understood: {', '.join(unknown) or 'aliases'}"
        raise MianpuError(f"{where} ({row.get('name', 'without a name')}) is wrong: {wrong}")
    return Concept(fold(row["name"]), row["name"], row["en"], tuple(aliases), *(row[n] for n in _FIELDS[2:]))


# --- folding ----------------------------------------------------------------------------------------------------


class _FoldTable(dict[int, str]):
    """Code point -> its NFKC-folded lower case, worked out when first met. «…» stays one character: it folds to no letter."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        folded = unicodedata.normalize("NFKC", character).lower()
        if len(folded) != 1 and not any(c.isalnum() for c in folded):
            folded = character
        self[code] = folded = simplified(folded)
        return folded


_FOLD = _FoldTable()


def _folded(text: str) -> tuple[str, list[int] | None]:
    """The folded text, and for each of its characters the offset it came from (None: offsets are the same)."""
    folded = text.translate(_FOLD)
    if len(folded) == len(text):  # no character folds to nothing, so equal lengths mean one for one
        return folded, None
    return folded, [i for i, character in enumerate(text) for _ in _FOLD[ord(character)]]


def _original(origin: list[int] | None, start: int, end: int) -> tuple[int, int]:
    return (start, end) if origin is None else (origin[start], origin[end - 1] + 1)


def _compact(name: str) -> str:
    return _SEPARATOR.sub("", _folded(name.strip())[0])


def _is_short_acronym(name: str) -> bool:
    return len(name) <= 3 and name.isascii() and name.isalpha() and name.isupper()


def _stands_as(spelling: str, text: str, start: int, end: int) -> bool:
    """Whether a short acronym is meant: written as the glossary has it, or in small letters amid Chinese («用rag做问答»).

    In English prose «a rag» and «it can» are words, and only capitals tell the acronym.
    """
    written = text[start:end]
    if unicodedata.normalize("NFKC", written) in (spelling, spelling + "s"):
        return True
    before, after = text[:start].rstrip(" ")[-1:], text[end : end + 2].lstrip(" ")[:1]
    return any("\u3400" <= c <= "\u9fff" for c in (before, after) if c)


def _without_overlaps(candidates: Sequence[Mention]) -> list[Mention]:
    chosen: list[Mention] = []
    cluster: list[Mention] = []
    reach = 0
    for mention in candidates:  # in order of start: a cluster is a run in which each overlaps what came before
        if mention.start >= reach:
            chosen += _longest(cluster)
            cluster = []
        cluster.append(mention)
        reach = max(reach, mention.end)
    return chosen + _longest(cluster)


def _longest(cluster: list[Mention]) -> list[Mention]:
    if len(cluster) < 2:
        return cluster
    kept: list[Mention] = []
    for mention in sorted(cluster, key=lambda m: (m.start - m.end, m.start)):
        if all(mention.end <= other.start or other.end <= mention.start for other in kept):
            kept.append(mention)
    return sorted(kept, key=lambda m: m.start)


class _Node:
    """A trie over compact names, written out as one regular expression: a branch is tried before an end, so the longest wins."""

    __slots__ = ("children", "end", "joint")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.end: str | None = None  # what must follow, when a name ends here
        self.joint = False  # a separator may stand behind this character

    def insert(self, name: str) -> None:
        node = self
        spaced = _SEPARATOR.sub(" ", _JOINT.sub(" ", unicodedata.normalize("NFKC", name.strip())))
        for character in _folded(spaced)[0]:
            if character == " ":
                node.joint = True
            else:
                node = node.children.setdefault(character, _Node())
        node.end = _end(_compact(name))

    def pattern(self) -> str:
        """Matches the first character of every name, with the whole name in group 1, so that overlapping names are all seen.

        The set in front lets ``re`` skip to the next character that can start a name; the name itself is matched from one
        character back (a look-ahead inside a look-behind of width one).
        """
        branches = [(character, _tail(character, node)) for character, node in sorted(self.children.items())]
        latin = "|".join(tail for character, tail in branches if _is_word(character))
        other = "|".join(tail for character, tail in branches if not _is_word(character))
        options = [*([f"(?<![a-z0-9])(?:{latin})"] if latin else []), *([other] if other else [])]
        first = re.escape("".join(sorted(self.children)))
        return f"[{first}](?<=(?=({'|'.join(options)})).)" if options else "(?!)()"


def _tail(character: str, node: _Node) -> str:
    options = [_tail(c, child) for c, child in sorted(node.children.items())]
    inner = f"(?:{'|'.join(options)})" if len(options) > 1 else "".join(options)
    if inner and node.joint:
        inner = f"[{_SEPARATORS}]{{0,2}}{inner}"
    if inner and node.end is not None:
        inner = f"(?:{inner}|{node.end})" if node.end else f"(?:{inner})?"
    return re.escape(character) + (inner or node.end or "")


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _end(compact: str) -> str:
    """What must follow a name, as an expression.

    Behind a letter: a plural s, and no further letter or digit; a word of three letters may carry a version («Llama3»,
    «GPT3.5»), which is not part of the mention. Behind a digit: no letter and no decimal. Behind anything else: anything.
    """
    if not _is_word(compact[-1]):
        return ""
    if compact[-1].isdigit():
        return r"(?![a-z0-9]|\.[0-9])"
    return r"s?(?=[0-9.]*(?![a-z0-9]))" if re.search("[a-z]{3}$", compact) else "s?(?![a-z0-9])"


# --- mentions in a library --------------------------------------------------------------------------------------


def refresh_mentions(library: Library, glossary: Glossary, progress: Progress = no_progress) -> int:
    """Find the mentions in every document that was not read with this glossary; returns how many documents were read.

    Mentions are rows (passage, concept, start, end) with offsets into the document's text; one that lies in two overlapping
    passages has a row for each, one that crosses a passage's border has none. Each document is one transaction, so an
    interrupted run goes on where it stopped. Deleting a document deletes its mentions.
    """
    stale = library.read("SELECT id FROM documents WHERE concepts != ? ORDER BY id", (glossary.fingerprint,))
    for done, (document_id,) in enumerate(stale):
        progress("concepts", done, len(stale))
        found = library.read("SELECT text FROM documents WHERE id = ?", (document_id,))
        if not found:
            continue  # removed meanwhile
        mentions = glossary.find(found[0][0])
        starts = [m.start for m in mentions]
        passages = library.read('SELECT id, start, "end" FROM passages WHERE document_id = ?', (document_id,))
        rows = [
            (passage_id, m.concept, m.start, m.end)
            for passage_id, start, end in passages
            for m in mentions[bisect.bisect_left(starts, start) : bisect.bisect_left(starts, end)]
            if m.end <= end
        ]
        with library.transaction() as connection:
            # The id of a document is never used again and its text never changes, so what was found still holds if it is there.
            updated = connection.execute("UPDATE documents SET concepts = ? WHERE id = ?", (glossary.fingerprint, document_id))
            if not updated.rowcount:
                continue
            connection.execute(
                "DELETE FROM mentions WHERE passage_id IN (SELECT id FROM passages WHERE document_id = ?)", (document_id,)
            )
            connection.executemany("INSERT OR IGNORE INTO mentions VALUES (?, ?, ?, ?)", rows)
    if stale:
        progress("concepts", len(stale), len(stale))
    return len(stale)
