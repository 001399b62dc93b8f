"""What the library itself says to a question, word for word, before anything is generated.

Where the question of a pair is this question, the pair's answer is quoted whole, in its own structure. Otherwise the best
sentences, items, rows and formulas of the passages that were found (``quotable``), each with what it needs to be understood.

Which are the best is a logistic model of named features (``FEATURES``; weights in ``quoting.toml``, fitted by
``tests/bench/fit_quotes.py`` on our own labelled questions). Meaning is compared token by token with the token codes that the
library keeps of every passage (late interaction, see assistant/retrieval/late.py), so that nothing is embedded for a quotation.
"""

import math
import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt

from assistant.answers.quotable import ANSWERING, CODE, FORMULA, ITEM, ROW, Quotable, quotables, with_needs
from assistant.answers.support import CheckedSentence, Citation
from assistant.retrieval.values import Hit, SearchResult
from ingest.document import Passage, QuestionAnswer
from ingest.models.embedding import Embedder, TokenEmbedder
from ingest.models.token_codes import WIDTH, shipped_codebook
from ingest.storage.fulltext import words
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors

FEATURES = (
    "late", "focus", "level", "words", "odds", "first", "opens", "definition", "number", "formula", "reason", "item", "row", "code",
    "length",
)  # fmt: skip
"""late: mean over the question's tokens of their best cosine in the unit, in tenths below the best unit's; focus: the same, each
token weighed by how far its best match stands above the usual one; level: ``late`` as it is. words: share of the question's words,
by inverse document frequency, in the unit. odds, first: of the hit whose passage it stands in. opens: 1 for the first unit of its
region, 1/2 for the second. definition, number, formula, reason: 1 where the question asks for one and the unit looks like one.
item, row, code: its kind. length: logarithm of its characters."""
PAIR_FEATURES = ("question", "asked", "odds", "first", "part", "late")
"""question, asked, odds, first, part: of the pair's best hit (``ranking.FEATURES``, ``Hit``); late: of the pair's best unit."""
ASKED = 0.5  # the feature «question» (a cosine of .93) from which on a pair's question is this question, word for word or nearly

_ASKS = {
    "definition": r"什么是|是什么|是啥|啥是|什么意思|定义|含义|指的是|\bwhat (?:is|are|does .* mean)\b|\bdefin",
    "number": r"多少|[几多][个种倍大长快高少步层次位]|数值|取值|比例|百分之"
    r"|\bhow (?:many|much|large|long|fast|big|often)\b|\bnumber of\b",
    "formula": r"公式|怎么算|咋算|如何计算|怎样计算|计算方法|推导|表达式|\bformula|\bequation|\bcomput|\bcalculat|\bderiv",
    "reason": r"为什么|为啥|为何|原因|凭什么|怎么会|\bwhy\b|\breason|\bcause",
}
_LOOKS = {
    "definition": r"^.{0,40}?(?:是|指|即|称为|叫做|就是|定义为|\bis an?\b|\bare\b|\brefers? to\b|\bmeans?\b|[:：])",
    "number": r"\d|[一二两三四五六七八九十百千万亿]+[个种倍步层次位]",
    "formula": r"\$|\\[a-z]+|[=≈∝×]",
    "reason": r"因为|由于|所以|因此|因而|导致|使得|从而|避免|防止|否则|于是"
    r"|\bbecause\b|\bsince\b|\btherefore\b|\bso that\b|\bdue to\b",
}
_ASKED = {name: re.compile(pattern, re.I) for name, pattern in _ASKS.items()}
_LOOKED = {name: re.compile(pattern, re.I) for name, pattern in _LOOKS.items()}
_RUN = re.compile(r"[\u3400-\u9fff]+|[A-Za-z]+|\d+|[^\W\d_]")
_SAME = 0.8  # share of the shorter one's letter pairs from which on two units say the same
_LONGEST_ANSWER = 3000  # characters of a pair's answer; what is longer is a chapter and is quoted by its passages
_FAR = -0.2  # the cosine of a question's token with a unit that has none


@dataclass(frozen=True, slots=True)
class QuoteModel:
    """The numbers of ``quoting.toml``.

    ``units`` and ``pairs`` are logistic models: weights of features and an intercept. A pair is taken to answer the question from
    the chance ``matches`` on; its answer is quoted whole up to ``whole`` characters, and up to ``whole_asked`` where its question
    is the question.
    Otherwise, and beside it, come the units whose chance is at least ``least``, until ``budget`` characters are used.
    """

    units: Mapping[str, float]
    pairs: Mapping[str, float]
    matches: float
    least: float
    budget: int
    whole: int
    whole_asked: int


@lru_cache(maxsize=1)
def shipped_model() -> QuoteModel:
    """The model that comes with the program."""
    return QuoteModel(**tomllib.loads(files("assistant.answers").joinpath("quoting.toml").read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Quotation:
    """What is quoted: spans of documents, best passage first. ``shortened``: a pair answers the question, but at too great length,
    and of its answer only the best is here."""

    sentences: tuple[CheckedSentence, ...]
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """A quotable that may answer, by the numbers of its region and in it, with its features. ``best`` (m,) are the best cosines of
    the question's tokens in it."""

    region: int
    place: int
    features: Mapping[str, float]
    best: Vectors


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a document that may be quoted from: a passage, or all that touches the answer of a pair.

    ``hit`` is the best whose passage stands in it, ``pair`` that hit's, if its answer lies here.
    """

    document: str
    start: int
    text: str
    found: tuple[Quotable, ...]
    hit: Hit
    pair: QuestionAnswer | None


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that may be quoted for a question."""

    question: str
    regions: tuple[Region, ...]
    units: tuple[Unit, ...]
    hits: tuple[Hit, ...]


def quote(
    result: SearchResult, hits: Sequence[Hit], library: Library, embedder: Embedder, model: QuoteModel | None = None
) -> Quotation:
    """The quotation for a question from the passages that are shown (``hits``)."""
    return chosen(gather(result, hits, library, embedder), model or shipped_model())


def chosen(material: Material, model: QuoteModel) -> Quotation:
    """What the model quotes of everything that may be quoted."""
    taken: dict[int, set[int]] = {}
    shortened = enough = False
    for number in matching(material, model):
        region = material.regions[number]
        inside = _inside(region)
        length = region.found[inside[-1]].end - region.found[inside[0]].start if inside else 0
        asked = region.hit.scores.get("question", 0.0) >= ASKED
        if 0 < length <= (model.whole_asked if asked else model.whole):
            taken[number] = set(inside)
            enough |= asked and not any(hit.part for hit in material.hits)
        shortened |= number not in taken
    if not enough:
        _fill(material, taken, model)
    if not taken and material.regions:  # nothing but headings and questions
        taken[0] = {0}
    sentences = [_spans(material.regions[n], sorted(taken[n]), material.hits) for n in sorted(taken)]
    return Quotation(tuple(sentence for part in sentences for sentence in part), shortened)


def matching(material: Material, model: QuoteModel) -> list[int]:
    """The regions whose pair answers the question: the likeliest, and for a question of several parts those of the other parts."""
    scored = [(logistic(features, model.pairs), n) for n, features in pair_features(material).items()]
    likely = sorted(((chance, n) for chance, n in scored if chance >= model.matches), key=lambda item: (-item[0], item[1]))
    return [n for place, (_, n) in enumerate(likely) if place == 0 or material.regions[n].hit.part]


def _fill(material: Material, taken: dict[int, set[int]], model: QuoteModel) -> None:
    """Add what is likeliest to answer and not yet said, with what it needs, while there is room; then complete the lists.

    By chance alone: preferring short units, or those that match words of the question which nothing chosen matches yet, found no
    more key points of our training questions at the same length (.78 each).
    """
    room = model.budget - sum(_characters(material.regions[n], places) for n, places in taken.items())
    quoted = [(material.regions[n], q) for n, places in taken.items() for q in _those(material.regions[n], places)]
    said = [_letters(region.text[q.start : q.end]) for region, q in quoted]
    chances = [logistic(unit.features, model.units) for unit in material.units]
    for n in sorted(range(len(chances)), key=lambda n: (-chances[n], n)):
        unit, region = material.units[n], material.regions[material.units[n].region]
        if taken and chances[n] < model.least:
            break
        places = taken.get(unit.region, set())
        wanted = with_needs([unit.place], region.found) - places
        letters = _letters(region.text[region.found[unit.place].start : region.found[unit.place].end])
        if not wanted or any(_repeats(letters, other) for other in said):
            continue
        cost = _characters(region, wanted)
        if cost <= room or not taken:
            taken[unit.region] = places | wanted
            said.append(letters)
            room -= cost
    for number, places in taken.items():
        room -= _complete(material.regions[number], places, room)


def _complete(region: Region, places: set[int], room: int) -> int:
    """Add the rest of a list or table of which most is taken; gives the characters that were added."""
    used = 0
    for group in {q.group for q in _those(region, places) if q.kind in (ITEM, ROW)}:
        members = {n for n, q in enumerate(region.found) if q.group == group and q.kind in (ITEM, ROW)}
        missing = with_needs(sorted(members - places), region.found) - places
        cost = _characters(region, missing)
        if missing and 2 * len(missing) < len(members) and cost <= room - used:
            places |= missing
            used += cost
    return used


def _those(region: Region, places: Iterable[int]) -> list[Quotable]:
    return [region.found[n] for n in sorted(places)]


def _characters(region: Region, places: Iterable[int]) -> int:
    return sum(q.end - q.start for q in _those(region, places))


def _letters(text: str) -> frozenset[str]:
    """The pairs of neighbouring letters and digits of a text."""
    folded = "".join(c for c in unicodedata.normalize("NFKC", text).lower() if c.isalnum())
    return frozenset(folded[i : i + 2] for i in range(len(folded) - 1))


def _repeats(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SAME * min(len(one), len(other)) > 0


def _inside(region: Region) -> list[int]:
    """The numbers of what lies in the answer of a region's pair."""
    pair = region.pair
    if pair is None:
        return []
    start, end = pair.answer_start - region.start, pair.answer_end - region.start
    return [n for n, q in enumerate(region.found) if q.start < end and start < q.end and q.start >= start]


def _spans(region: Region, places: Sequence[int], hits: Sequence[Hit]) -> tuple[CheckedSentence, ...]:
    """Neighbouring units as one span each, cited with the passage that is shown and holds its beginning."""
    runs: list[tuple[int, int, int]] = []
    for place in places:
        unit = region.found[place]
        if runs and runs[-1][2] == place - 1:
            runs[-1] = (runs[-1][0], unit.end, place)
        else:
            runs.append((unit.start, unit.end, place))
    sentences = []
    for start, end, _ in runs:
        first, last = region.start + start, region.start + end
        holder = _holder(region, Quotable(start, end, ""), hits)
        number = (list(hits).index(region.hit) if holder is None else holder) + 1
        citation = Citation(number, region.document, first, last)
        sentences.append(CheckedSentence(region.text[start:end], (citation,), 1.0, True))
    return tuple(sentences)


# --- the models -----------------------------------------------------------------------------------------------------


def logistic(features: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The chance 1 / (1 + exp(-(intercept + sum of weight x feature)))."""
    z = sum(weight * (1.0 if name == "intercept" else features.get(name, 0.0)) for name, weight in weights.items())
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, z))))


def pair_features(material: Material) -> dict[int, dict[str, float]]:
    """For each region with a pair what tells whether it is the one that is asked for."""
    best: dict[int, float] = {}
    for unit in material.units:
        best[unit.region] = max(unit.features["late"], best.get(unit.region, -math.inf))
    out = {}
    for n, region in enumerate(material.regions):
        if region.pair is not None:
            hit = region.hit
            out[n] = {
                "question": hit.scores.get("question", 0.0),
                "asked": hit.scores.get("asked", 0.0),
                "odds": hit.odds,
                "first": float(hit is material.hits[0]),
                "part": float(hit.part),
                "late": best.get(n, 0.0),
            }
    return out


# --- what may be quoted ---------------------------------------------------------------------------------------------


def gather(result: SearchResult, hits: Sequence[Hit], library: Library, embedder: Embedder) -> Material:
    """The units of the hits' passages and of their pairs' answers, with their features."""
    question = result.understood or result.question
    tokens = _question_tokens(question, embedder)
    passages = _passages(hits, library)
    regions = _regions(hits, passages)
    codes = library.codes_of([p.id for p in passages])
    similar = {p.id: _similar(codes[p.id], tokens) for p in passages if codes.get(p.id)}
    terms = list(dict.fromkeys(words(question)))
    counts, total = library.word_counts(terms), library.passage_count()
    idf = {term: math.log((total + 1) / (counts[term] + 0.5)) for term in terms}
    units: list[Unit] = []
    for number, region in enumerate(regions):
        own = [p for p in passages if p.document == region.document and region.start <= p.start < region.start + len(region.text)]
        matches = _token_matches(region, own, similar, tokens)
        units += _units(question, number, region, matches, idf, hits)
    return Material(question, regions, _relative(units), tuple(hits))


def _question_tokens(question: str, embedder: Embedder) -> Vectors:
    if isinstance(embedder, TokenEmbedder):
        return embedder.encode_questions_and_tokens([question])[1][0]
    return np.zeros((0, embedder.dimension), dtype=np.float32)


def _passages(hits: Sequence[Hit], library: Library) -> list[Passage]:
    """The passages of the hits, and the others that their pairs' answers stand in."""
    found = {hit.passage.id: hit.passage for hit in hits}
    more: dict[int, None] = {}
    for hit in hits:
        pair = _own_pair(hit)
        if pair is not None:
            more |= dict.fromkeys(library.passages_between(pair.document, pair.answer_start, pair.answer_end))
    return [*found.values(), *library.passages([i for i in more if i not in found])]


def _own_pair(hit: Hit) -> QuestionAnswer | None:
    """The pair of a hit, where its answer stands in the hit's own passage and is no whole chapter."""
    pair, passage = hit.pair, hit.passage
    if pair is None or not pair.answer or pair.document != passage.document or len(pair.answer) > _LONGEST_ANSWER:
        return None
    return pair if pair.answer_start < passage.end and passage.start < pair.answer_end else None


def _regions(hits: Sequence[Hit], passages: Sequence[Passage]) -> tuple[Region, ...]:
    """The stretches of the documents that the hits and their pairs' answers cover, in the order of the hits."""
    pieces: list[tuple[str, int, str]] = [(h.passage.document, h.passage.start, h.passage.text) for h in hits]
    pieces += [(p.document, p.answer_start, p.answer) for p in map(_own_pair, hits) if p is not None]
    joined: list[tuple[str, int, str]] = []
    for document, start, text in sorted(pieces):
        if joined and joined[-1][0] == document and start <= joined[-1][1] + len(joined[-1][2]):
            _, at, before = joined[-1]
            joined[-1] = (document, at, before + text[max(0, at + len(before) - start) :])
        else:
            joined.append((document, start, text))
    out = []
    for document, start, text in joined:
        own = [h for h in hits if h.passage.document == document and start <= h.passage.start < start + len(text)]
        pair = next((p for h in own[:1] if (p := _own_pair(h)) is not None), None)
        out.append(Region(document, start, text, tuple(quotables(text)), own[0], pair))
    return tuple(sorted(out, key=lambda region: list(hits).index(region.hit)))


def _similar(codes: bytes, tokens: Vectors) -> Vectors:
    """The cosines (n, m) of a passage's tokens with the question's."""
    vectors = shipped_codebook().decode(np.frombuffer(codes, dtype=np.uint8).reshape(-1, WIDTH))
    similar: Vectors = vectors @ tokens.T
    return similar


def _token_matches(region: Region, passages: Sequence[Passage], similar: Mapping[int, Vectors], tokens: Vectors) -> list[Vectors]:
    """For each quotable of a region the best cosine (m,) of every token of the question in it."""
    out = [np.full(len(tokens), _FAR, dtype=np.float32) for _ in region.found]
    for passage in passages:
        rows = similar.get(passage.id)
        if rows is None or not len(rows) or not len(tokens):
            continue
        places = token_places(passage, len(rows))
        for n, unit in enumerate(region.found):
            start, end = (min(max(x + region.start - passage.start, 0), len(passage.text)) for x in (unit.start, unit.end))
            first, last = places[start], places[end]
            if last > first:
                out[n] = np.maximum(out[n], rows[first:last].max(axis=0))
    return out


def token_places(passage: Passage, count: int) -> npt.NDArray[np.int64]:
    """About which of a passage's ``count`` coded tokens stands at each character of its text: (len + 1,).

    The tokenizer is in another process; what its pieces usually take (fitted on the starter notes: off by 2 of a sentence's 23
    tokens) says it well enough: a Chinese character .7 and a run of them .4 more, a Latin word .9 and .1 a letter, a number .5
    and .3 a digit.
    """
    text = passage.embedding_text
    costs = np.zeros(len(text) + 1)
    for run in _RUN.finditer(text):
        start, end, first = run.start(), run.end(), run.group()[0]
        if "\u3400" <= first <= "\u9fff":
            each, whole = 0.69, 0.40
        elif first.isascii() and first.isalpha():
            each, whole = 0.11, 0.90
        elif first.isdigit():
            each, whole = 0.28, 0.55
        else:
            each, whole = 0.0, 0.85
        costs[start + 1 : end + 1] = each + whole / (end - start)
    summed = np.cumsum(costs)
    if summed[-1] > 0:
        summed *= count / summed[-1]
    return np.rint(summed[len(text) - len(passage.text) :]).astype(np.int64)


def _units(
    question: str, number: int, region: Region, matches: Sequence[Vectors], idf: Mapping[str, float], hits: Sequence[Hit]
) -> list[Unit]:
    """The units of a region that may answer, with the features that need no other region."""
    mass = sum(idf.values()) or 1.0
    folded = unicodedata.normalize("NFKC", question).lower()
    asked = [name for name, pattern in _ASKED.items() if pattern.search(folded)]
    late = [float(best.mean()) if len(best) else 0.0 for best in matches]
    units = []
    for place, unit in enumerate(region.found):
        if unit.kind not in ANSWERING:
            continue
        text = region.text[unit.start : unit.end]
        present = set(words(text))
        holder = _holder(region, unit, hits)
        hit = hits[holder] if holder is not None else None
        before = sum(1 for q in region.found[:place] if q.kind in ANSWERING)
        features = dict.fromkeys(FEATURES, 0.0) | {
            "level": late[place] * 5,
            "words": sum(weight for word, weight in idf.items() if word in present) / mass,
            "odds": hit.odds if hit else 0.0,
            "first": float(holder == 0),
            "opens": 1.0 / (1 + before),
            "item": float(unit.kind == ITEM),
            "row": float(unit.kind == ROW),
            "code": float(unit.kind == CODE),
            "length": math.log(10.0 + len(text)),
        }
        for name in asked:
            features[name] = float((unit.kind == FORMULA and name == "formula") or bool(_LOOKED[name].search(text)))
        units.append(Unit(number, place, features, matches[place]))
    return units


def _holder(region: Region, unit: Quotable, hits: Sequence[Hit]) -> int | None:
    """The place of the hit whose passage holds the beginning of a unit."""
    at = region.start + unit.start
    held = (n for n, h in enumerate(hits) if h.passage.document == region.document and h.passage.start <= at < h.passage.end)
    return next(held, None)


def _relative(units: Sequence[Unit]) -> tuple[Unit, ...]:
    """The units with those features that compare all of them."""
    if not units or not len(units[0].best):
        return tuple(units)
    best = np.stack([unit.best for unit in units])
    late = best.mean(axis=1)
    weights = best.max(axis=0) - np.median(best, axis=0)
    focus = best @ (weights / weights.sum()) if weights.sum() > 0 else late
    return tuple(
        Unit(u.region, u.place, {**u.features, "late": float(a - late.max()) * 10, "focus": float(b - focus.max()) * 10}, u.best)
        for u, a, b in zip(units, late, focus, strict=True)
    )
