"""How well passages back a sentence: where exactly, and how sure.

support = similarity of meaning + 0.2 x share of the sentence's words found there, of the best one to three contiguous sentences of
a passage; halved when the two point in opposite directions (``claims.opposed``), zero when the sentence holds a number or a name
that stands in no passage.

Meaning is the cosine of sentence vectors after the mean vector of their language is taken away (Libovický et al., 2020: what is
left of multilingual sentence vectors is largely language-neutral). Without that, e5 puts every pair of Chinese sentences above .83
and an English paraphrase of a Chinese sentence below unrelated English ones. Weights and thresholds were chosen on the hand-written
cases of tests/support_cases.py.
"""

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from assistant.answers.claims import Known, clauses, numbers, opposed, swapped, without_numbers
from assistant.answers.sentences import split, states_something, without_marker
from assistant.retrieval.language import Centres, is_chinese
from ingest.document import Passage
from ingest.models.embedding import Embedder, TokenEmbedder, embed_texts
from ingest.models.token_codes import Codes
from ingest.storage.fulltext import words
from ingest.storage.vectors import Vectors

THRESHOLD = 0.565  # sentence and passage in one language
CROSS_THRESHOLD = 0.43  # an English sentence about a Chinese passage, or the other way: no words are shared
_WORDS_WEIGHT = 0.2
_LONGER = 0.02  # what each further sentence of a window must add to be worth pointing at
_SAME_CLAUSE = 0.35  # share of a clause's words from which on two clauses are about the same thing
_SURELY_SAME = 0.6  # the same share from which on the opposite is a contradiction and not only no support
_FEW_WORDS = 2  # words a clause must have beside its numbers to be taken for the same statement
_SECOND = 0.25  # share of the sentence's words that a second passage must add to be cited as well
_WINDOW = 3
_REMEMBERED_QUESTIONS = 64


@dataclass(frozen=True, slots=True)
class Citation:
    """A place that backs a sentence. ``number`` counts from 1 into the passages shown; the span is in the document's text."""

    number: int
    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CheckedSentence:
    """A sentence of an answer with what backs it. ``support`` is 0..1; an unsupported sentence has no citations. ``contradicts``
    are the places that say otherwise: another number, the opposite, a comparison the other way round."""

    text: str
    citations: tuple[Citation, ...]
    support: float
    supported: bool
    contradicts: tuple[Citation, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """A sentence of a passage: the passage's number from 1, and its span in the document."""

    number: int
    document: str
    start: int
    end: int
    text: str


class Evidence:
    """The sentences of some passages, ready to be compared with.

    ``also_known`` are further texts whose numbers and names may be used (the question, other names of the passages' concepts).
    ``weights`` gives inverse document frequencies of words; by default they are counted over the passages' own sentences.
    """

    def __init__(
        self,
        passages: Sequence[Passage],
        embedder: Embedder,
        centres: Centres,
        *,
        also_known: Sequence[str] = (),
        weights: Callable[[Sequence[str]], Mapping[str, float]] | None = None,
    ) -> None:
        self.units = tuple(
            Unit(number, p.document, p.start + s.start, p.start + s.end, p.text[s.start : s.end])
            for number, p in enumerate(passages, start=1)
            for s in split(p.text)
        )
        self._embedder = embedder
        self._centres = centres
        self._unit_words = [frozenset(_words(unit.text)) for unit in self.units]
        self._heading_words = {n: frozenset(_words(" ".join(p.headings[-2:]))) for n, p in enumerate(passages, start=1)}
        self._known = Known([*(" ".join((*p.headings, p.text)) for p in passages), *also_known])
        self._weights = weights or self._own_weights
        self._vectors: Vectors | None = None
        # A question or a heading is the likest text to an answer and backs nothing: «GQA 能减少计算量吗？» must not count as proof.
        stating = [states_something(unit.text) for unit in self.units]
        self._windows = [
            (first, last)
            for first in range(len(self.units))
            for last in range(first + 1, min(first + _WINDOW, len(self.units)) + 1)
            if self.units[first].number == self.units[last - 1].number and all(stating[first:last])
        ]

    @property
    def vectors(self) -> Vectors:
        """The centred vectors (n, d) of the units; computed when first needed."""
        if self._vectors is None:
            texts = [unit.text for unit in self.units]
            self._vectors = self._centres.centred(self._embedder.encode_passages(texts), texts)
        return self._vectors

    def check(self, sentence: str) -> CheckedSentence:
        """Which sentences of the passages back this one, and how well."""
        body = without_marker(sentence)
        if not self._windows or not body.strip():
            return CheckedSentence(sentence, (), 0.0, False)
        against = self._against(body)
        if against or self._known.foreign(body):
            return CheckedSentence(sentence, (), 0.0, False, against)
        idf = self._weights(sorted(set(_words(body))))
        shares = [self._share(idf, *window) for window in self._windows]
        meaning = self._meaning(body)
        scores = [
            m + _WORDS_WEIGHT * s - _LONGER * (last - first - 1)
            for m, s, (first, last) in zip(meaning, shares, self._windows, strict=True)
        ]
        best = max(range(len(scores)), key=scores.__getitem__)
        window = self._windows[best]
        threshold = THRESHOLD if is_chinese(body) == is_chinese(self._text(window)) else CROSS_THRESHOLD
        score = min(1.0, max(0.0, scores[best]))
        opposes = score >= threshold and self._opposes(body, window, _SURELY_SAME)
        if self._opposes(body, window, _SAME_CLAUSE):
            score *= 0.5
        # 0..1 with the threshold at one half, so that one number means the same in every language
        support = score / (2 * threshold) if score < threshold else 0.5 + 0.5 * (score - threshold) / (1 - threshold)
        supported = score >= threshold
        citations = self._citations(window, idf, shares) if supported else ()
        against = (self._citation(window),) if opposes and not supported else ()
        return CheckedSentence(sentence, citations, round(support, 4), supported, against)

    def _against(self, sentence: str) -> tuple[Citation, ...]:
        """The first unit that says the same of the same thing with another number, or the same comparison the other way round."""
        for clause in clauses(sentence):
            mine, values = set(_words(without_numbers(clause))), numbers(clause)
            for place, unit in enumerate(self.units):
                for other in clauses(unit.text):
                    theirs = numbers(other)
                    wrong = bool(values) and len(values) == len(theirs) and values != theirs
                    wrong = wrong and len(mine) >= _FEW_WORDS and mine == set(_words(without_numbers(other)))
                    if (wrong and bool(self._known.foreign(clause))) or swapped(clause, other):
                        return (self._citation((place, place + 1)),)
        return ()

    def _meaning(self, sentence: str) -> list[float]:
        vector = self._centres.centred(self._embedder.encode_passages([sentence]), [sentence])[0]
        found = []
        for first, last in self._windows:
            mean = self.vectors[first:last].sum(axis=0)
            found.append(float(mean @ vector / max(float(np.linalg.norm(mean)), 1e-9)))
        return found

    def _share(self, idf: Mapping[str, float], first: int, last: int) -> float:
        """The share, by inverse document frequency, of the words that stand in a window or in the headings above it."""
        present = frozenset().union(*self._unit_words[first:last], self._heading_words[self.units[first].number])
        mass = sum(idf.values())
        return sum(weight for word, weight in idf.items() if word in present) / mass if mass else 0.0

    def _opposes(self, sentence: str, window: tuple[int, int], alike: float) -> bool:
        """Whether a clause of the sentence says the opposite of a clause of the window that is ``alike`` in words."""
        theirs = [clause for unit in self.units[slice(*window)] for clause in clauses(unit.text)]
        for clause in clauses(sentence):
            mine = set(_words(clause))
            if len(mine) < 2:
                continue
            overlap = [len(mine & set(_words(other))) / len(mine) for other in theirs]
            closest = max(overlap, default=0.0)
            if closest >= alike and opposed(clause, theirs[overlap.index(closest)]):
                return True
        return False

    def _citations(self, window: tuple[int, int], idf: Mapping[str, float], shares: Sequence[float]) -> tuple[Citation, ...]:
        """The window, and a window of another passage when it holds what the first one lacks."""
        first = self.units[window[0]]
        cited = [self._citation(window)]
        present = frozenset().union(*self._unit_words[slice(*window)], self._heading_words[first.number])
        lacking = {word: weight for word, weight in idf.items() if word not in present}
        mass = sum(idf.values())
        others = [w for w in self._windows if self.units[w[0]].number != first.number]
        if lacking and others:
            second = max(others, key=lambda w: (self._share(lacking, *w), w[0] - w[1]))
            if self._share(lacking, *second) * sum(lacking.values()) >= _SECOND * mass:
                cited.append(self._citation(second))
        return tuple(cited)

    def _citation(self, window: tuple[int, int]) -> Citation:
        first, last = self.units[window[0]], self.units[window[1] - 1]
        return Citation(first.number, first.document, first.start, last.end)

    def _text(self, window: tuple[int, int]) -> str:
        return " ".join(unit.text for unit in self.units[slice(*window)])

    def _own_weights(self, terms: Sequence[str]) -> dict[str, float]:
        counts = Counter(word for present in self._unit_words for word in present)
        return {term: math.log((len(self.units) + 1) / (counts[term] + 0.5)) for term in terms}


class RememberingEmbedder:
    """An embedder that remembers the passages it embedded last: the sentences of a passage come up again with the passage."""

    def __init__(self, embedder: Embedder, size: int = 4096) -> None:
        self._embedder = embedder
        self._size = size
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._asked: OrderedDict[str, tuple[Vectors, Vectors]] = OrderedDict()
        self._lock = threading.Lock()
        self.fingerprint = embedder.fingerprint

    @property
    def dimension(self) -> int:
        """The length d of a vector."""
        return self._embedder.dimension

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of passages, unit length."""
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        new = dict(zip(missing, self._embedder.encode_passages(missing), strict=True)) if missing else {}
        with self._lock:
            self._known.update(new)
            rows = [new[text] if text in new else self._known.get(text) for text in texts]
            for text in texts:
                if text in self._known:
                    self._known.move_to_end(text)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        if any(row is None for row in rows):  # another thread pushed them out meanwhile
            return self._embedder.encode_passages(texts)
        return np.stack([row for row in rows if row is not None]) if rows else np.zeros((0, self.dimension), dtype=np.float32)

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, d) of questions, unit length."""
        return self._embedder.encode_questions(texts)

    def encode_passages_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Codes]]:
        """See ``TokenEmbedder``; nothing of it is remembered."""
        return embed_texts(self._embedder, texts, questions=False)

    def encode_questions_and_tokens(self, texts: Sequence[str]) -> tuple[Vectors, list[Vectors]]:
        """See ``TokenEmbedder``; without tokens where the model gives none."""
        if isinstance(self._embedder, TokenEmbedder):
            return self._questions(self._embedder, texts)
        vectors = self._embedder.encode_questions(texts)
        return vectors, [vectors[:0]] * len(texts)

    def _questions(self, embedder: TokenEmbedder, texts: Sequence[str]) -> tuple[Vectors, list[Vectors]]:
        """Questions with their tokens; the last few are remembered, since what is quoted is compared with what was searched for."""
        with self._lock:
            known = None if any(text not in self._asked for text in texts) else [self._asked[text] for text in texts]
        if known is None:
            vectors, tokens = embedder.encode_questions_and_tokens(texts)
            known = list(zip(vectors, tokens, strict=True))
            with self._lock:
                self._asked.update(zip(texts, known, strict=True))
                while len(self._asked) > _REMEMBERED_QUESTIONS:
                    self._asked.popitem(last=False)
        rows = [vector for vector, _ in known]
        return np.stack(rows) if rows else np.zeros((0, self.dimension), dtype=np.float32), [tokens for _, tokens in known]


@lru_cache(maxsize=4096)
def _words(text: str) -> tuple[str, ...]:
    """Index words, with the plural of English words taken off."""
    return tuple(w[:-1] if len(w) > 4 and w.isascii() and w.endswith("s") and not w.endswith("ss") else w for w in words(text))
