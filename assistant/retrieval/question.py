"""A question as it is searched for: its concepts, its words with those of their other names, its parts, its slips mended.

All of it by rules, in well under a millisecond each; no model is asked.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ingest.storage.fulltext import words
from ingest.storage.library import Library
from kg.concepts import Mention
from kg.graph import ConceptGraph

ALIAS_WEIGHT = 0.4
"""What a word counts that stands in another name of a named concept, beside 1 for a word of the question."""
MOST_PARTS = 4
_CHINESE = re.compile("[\u3400-\u9fff]")
_COMPARES = re.compile(
    "区别|差别|差异|不同|对比|相比|比较|异同|分别|各自|优劣|怎么选|哪个更|谁更|和.{1,20}比|跟.{1,20}比|与.{1,20}比|三[家种者]|两[家种者]"
    r"|\b(?:vs\.?|versus|compare[ds]?|contrast|differ(?:s|ence|ences|ent)?|between|rather than|respectively)\b",
    re.I,
)
_JOINS = re.compile(
    r"[和与跟、,，/]|\b(?:and|or|with|to|from|vs\.?|versus)\b|的?(?:区别|差别|差异|不同|对比|比较|异同|分别|各自)", re.I
)
_BREAK = re.compile(r"[?？；;。]\s*|[,，]\s*(?=怎么|怎样|为什么|为啥|如何|哪|谁|多少|换成|代价|又|以及)")


@dataclass(frozen=True, slots=True)
class Query:
    """``text`` is the question with slips mended; ``terms`` its index words with their weights; ``concepts`` the keys of those it
    names; ``parts`` what is asked for one by one (empty: one thing); ``strangers`` the Latin words of a Chinese question that stand
    nowhere in the library; ``mended`` the words that were taken for others."""

    text: str
    terms: Mapping[str, float]
    concepts: tuple[str, ...]
    parts: tuple[str, ...]
    strangers: tuple[str, ...]
    mended: Mapping[str, str]
    english: bool


def understand(question: str, library: Library, graph: ConceptGraph) -> Query:
    """What a question asks for, as far as the words of the library and the names of its concepts tell."""
    text, mended = _mended(question, library)
    mentions = graph.glossary.find(text)
    concepts = tuple(dict.fromkeys(m.concept for m in mentions))
    english = not _CHINESE.search(text)
    terms = dict.fromkeys(words(text), 1.0)
    latin = [] if english else [word for word in terms if word.isascii() and len(word) > 1]
    strangers = tuple(word for word, count in library.word_counts(latin).items() if not count)
    for key in concepts:
        concept = graph.glossary.concepts[key]
        for word in words(" ".join((concept.name, concept.en, *concept.aliases))):
            terms.setdefault(word, ALIAS_WEIGHT)
    return Query(text, terms, concepts, _parts(text, mentions), strangers, mended, english)


def _parts(text: str, mentions: Sequence[Mention]) -> tuple[str, ...]:
    """The questions that a comparison or a question of several sentences is made of."""
    named = list({m.concept: m for m in mentions}.values())
    if 2 <= len(named) <= MOST_PARTS and _COMPARES.search(text):
        return tuple(_only(text, mentions, one.concept) for one in named)
    pieces = [piece.strip() for piece in _BREAK.split(text) if len(piece.strip()) >= 4]
    if not 2 <= len(pieces) <= MOST_PARTS:
        return ()
    subject = text[mentions[0].start : mentions[0].end] if mentions else ""
    return tuple(piece if subject in piece else f"{subject} {piece}" for piece in pieces)


def _only(text: str, mentions: Sequence[Mention], concept: str) -> str:
    """The question with only one of its concepts, without the words that join them."""
    kept, position = [], 0
    for mention in mentions:
        kept.append(_JOINS.sub(" ", text[position : mention.start]))
        if mention.concept == concept:
            kept.append(text[mention.start : mention.end])
        position = mention.end
    kept.append(_JOINS.sub(" ", text[position:]))
    return re.sub(r"\s+", " ", "".join(kept)).strip()


def _mended(question: str, library: Library) -> tuple[str, dict[str, str]]:
    """The question with Latin words that stand nowhere replaced by the one word of the library they are a slip of."""
    latin = [word for word in dict.fromkeys(words(question)) if word.isascii() and word.isalpha() and len(word) >= 5]
    unknown = [word for word, count in library.word_counts(latin).items() if not count]
    mended: dict[str, str] = {}
    for word in unknown:
        near = {other for other in library.words_like(word) if distance(word, other) <= (1 if len(word) < 8 else 2)}
        if near:
            counts = library.word_counts(sorted(near))
            mended[word] = min(near, key=lambda other: (distance(word, other), -counts[other], other))
    for word, other in mended.items():
        question = re.sub(rf"(?<![a-z]){word}(?![a-z])", other, question, flags=re.I)
    return question, mended


def distance(a: str, b: str) -> int:
    """Edits from one word to the other: a letter in, out or changed, or two neighbours swapped (optimal string alignment).

    >>> distance("rmsnrom", "rmsnorm"), distance("lora", "qlora"), distance("bert", "gpt")
    (1, 1, 3)
    """
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row = [i]
        for j, y in enumerate(b, start=1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], before[j - 2] + 1)
        before, last = last, row
    return last[-1]
