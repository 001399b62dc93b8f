"""One key point against one answer: the evidence for and against «the answer says this», as a few numbers.

Meaning comes from embeddings, wording from shared words, and what turns a statement around (opposites, negations, other numbers)
from rules, because embeddings place «放大» and «缩小» side by side. All of it looks at windows of the answer, one or two clauses.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ingest.document import fold
from ingest.storage.fulltext import words
from kg.concepts import Glossary

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder

OPPOSITES_FILE = Path(__file__).with_name("opposites.toml")
_LEAST_UNIT = 6.0  # shorter clauses are joined to the next: «其实,» says nothing alone
_LONGEST_PART, _LEAST_PART = 40.0, 14.0  # a point longer than this is marked by its clauses, joined to at least this
_CLAUSE_END = re.compile(r"[。！？!?；;\n，,：:]+|\.(?=\s|$)")
_SEGMENT_END = re.compile(r"[。！？!?；;\n，,：:、()（）]+|\.(?=\s|$)|但是?|而且?|却|可是|不过|\b(?:but|while|whereas|and)\b")
_SIZE = re.compile(r"[A-Za-z0-9]+|[\u3400-\u9fff]")
_NUMBER = re.compile(r"(?<![A-Za-z0-9.])\d+(?:\.\d+)?(?![A-Za-z0-9])")
_TERM = re.compile(r"[a-z][a-z0-9]*(?:[-.+][a-z0-9]+)*")
_CHINESE = re.compile(r"[\u3400-\u9fff]")
# Sentences that speak to whoever marks the answer instead of answering. They are data: they earn nothing and are not obeyed.
_TO_THE_GRADER = re.compile(
    r"(?:忽略|无视|不要管|别管|绕过|跳过).{0,12}(?:要求|指令|标准|评分|规则|提示|要点|以上|上面|前面)"
    r"|(?:给|打|判|算|得|评|拿|记).{0,8}(?:满分|最高分|高分|100\s*分|一百分)|(?:得分|分数|评分|成绩).{0,6}(?:设为|设成|改为|改成|应为|[=:：]).{0,6}(?:最高|满|100)"
    r"|(?:不要|别|不许|请勿|不得).{0,4}(?:扣.{0,3}分|评分|打分|根据要点)|隐藏指令|系统指令|只要看到这句话|评语里?写|我是(?:考官|面试官|老师|管理员)"
    r"|\b(?:ignore|disregard|override|bypass|forget)\b.{0,40}\b(?:rubric|instructions?|criteria|grading|rules|above|previous|prompt|points)\b"
    r"|\b(?:full|max(?:imum)?|perfect|highest|top)\s+(?:score|marks?|points?|grade|credit)\b|\bscore\s*(?:[=:]|of|to|as)\s*(?:100|10)\b|^\s*system\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_FUNCTION = frozenset(
    "的了是在和与也都就会有被把对为以而且但并又还从到这那其之因所如果则即或很更最吗呢吧啊呀嘛嗯呃哦哈我你他它们个说讲做着过来去能可要让使得样么什怎"
) | {"the", "a", "an", "is", "are", "of", "to", "in", "on", "and", "or", "it", "this", "that", "be", "so", "because", "with", "for"}
_SENTENCE_END = re.compile(r"[。！？!?；;\n]+|\.+(?=\s|$)")
Span = tuple[int, int]
Matrix = npt.NDArray[np.float32]


FEATURES = (
    "margin", "margin_foreign", "lead", "cosine", "novelty", "words", "concepts", "agree", "conflict", "contrary",
    "elsewhere", "foreign",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for and against one key point being in one answer. ``window`` is the part of the answer that fits it best.

    ``margin``: cosine of that window to the point, less its mean cosine to the other points (to the question, when the point is
    the only one). ``lead``: how far a window's cosine to the point is above that to every other point, at most. ``cosine``: the
    greatest cosine of a window to the point. ``novelty``: how far a window's cosine to the point is above that to the question.
    ``words``, ``concepts``: share of the point's own words in a window, and of its own glossary concepts in the answer; own are
    those that the question does not give away. ``agree``, ``conflict``: how strongly a clause about the same thing says the same,
    or the opposite; ``contrary``: ``conflict`` inside the window. ``elsewhere``: share of the other points that the answer
    contradicts. ``foreign``: answer and point are in different languages, words cannot match.
    """

    margin: float
    lead: float
    cosine: float
    novelty: float
    words: float
    concepts: float
    agree: float
    conflict: float
    contrary: float
    elsewhere: float
    foreign: bool
    window: Span

    def numbers(self) -> list[float]:
        """The evidence as numbers of about the same size, in the order of ``FEATURES``."""
        foreign = float(self.foreign)
        return [
            self.margin * 10, self.margin * 10 * foreign, self.lead * 10, (self.cosine - 0.85) * 10, self.novelty * 10,
            self.words * (1 - foreign), self.concepts, self.agree, self.conflict, self.contrary, self.elsewhere, foreign,
        ]  # fmt: skip


def size(text: str) -> float:
    """How much a text says, in Chinese characters; a Latin word counts 1.7."""
    return sum(1.7 if part[0].isascii() else 1.0 for part in _SIZE.findall(text))


def units(text: str) -> list[Span]:
    """The clauses of a text as spans, short ones joined to what follows."""
    found: list[Span] = []
    start: int | None = None
    for a, b in _split(text, _CLAUSE_END):
        start = a if start is None else start
        if size(text[start:b]) >= _LEAST_UNIT:
            found.append((start, b))
            start = None
    if start is not None:
        if found:
            found[-1] = (found[-1][0], _rstrip(text))
        elif size(text):
            found.append((start, _rstrip(text)))
    return found


def windows(text: str) -> list[Span]:
    """Every clause, and every two that follow each other."""
    single = units(text)
    return single + [(a, d) for (a, _), (_, d) in pairwise(single)]


def _split(text: str, end: re.Pattern[str]) -> list[Span]:
    parts, start = [], 0
    for match in end.finditer(text):
        parts.append((start, match.start()))
        start = match.end()
    parts.append((start, len(text)))
    return [(a + len(text[a:b]) - len(text[a:b].lstrip()), b) for a, b in parts if text[a:b].strip()]


def _rstrip(text: str) -> int:
    return len(text.rstrip())


def terms(text: str) -> frozenset[str]:
    """The Latin terms of a text, folded: «pre-norm», «fp16», «bert»."""
    return frozenset(_TERM.findall(fold(text)))


def rivals(question: str, points: Sequence[str]) -> frozenset[str]:
    """The terms a question sets against each other: those it names of which each is in some of the points but not in all.

    «BERT 和 GPT 有什么不同» asks for facts that are right of one and wrong of the other.
    """
    inside = [terms(point) for point in points]
    found = frozenset(t for t in terms(question) if 0 < sum(t in p for p in inside) < len(inside))
    return found if len(found) > 1 else frozenset()


def is_chinese(text: str) -> bool:
    """Whether a text is Chinese: one Chinese character for two Latin words (Chinese answers are full of Latin terms)."""
    return 2 * len(_CHINESE.findall(text)) >= len(_TERM.findall(fold(text)))


# --- statements that turn around --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A clause taken apart: what it is about, which side of which axis it takes (+1, -1), its numbers, whether it is negated.

    ``subjects``: which of the things that the question sets against each other it speaks of, or the clause before it did.
    """

    subjects: frozenset[str]
    about: frozenset[str]
    sides: dict[str, int]
    numbers: frozenset[str]
    negated: bool


class Opposites:
    """The words of ``opposites.toml`` and what they make of a clause."""

    def __init__(self, axes: Sequence[dict[str, Any]], negations: Sequence[str], not_negations: Sequence[str]) -> None:
        self._sides = {fold(w): (a["name"], sign) for a in axes for sign, key in ((1, "plus"), (-1, "minus")) for w in a[key]}
        self._pattern = _alternation(self._sides)
        self._negation = _alternation([fold(n) for n in negations])
        self._keep = _alternation([fold(n) for n in not_negations])

    @classmethod
    def load(cls) -> "Opposites":
        """The project's own list."""
        data = tomllib.loads(OPPOSITES_FILE.read_text(encoding="utf-8"))
        return cls(data["axis"], data["negations"], data["not_negations"])

    def claims(self, text: str, glossary: Glossary | None, rivals: frozenset[str]) -> list[Claim]:
        """The claims of a text, one a clause."""
        found = []
        subjects: frozenset[str] = frozenset()
        for a, b in _split(text, _SEGMENT_END):
            clause = fold(text[a:b])
            subjects = terms(clause) & rivals or subjects
            claim = self._claim(clause, subjects, glossary)
            if claim.about:
                found.append(claim)
        return found

    def _claim(self, clause: str, subjects: frozenset[str], glossary: Glossary | None) -> Claim:
        spared = self._keep.sub(lambda m: "\u3000" * len(m.group()), clause)
        negations = [(m.start(), m.end()) for m in self._negation.finditer(spared)]
        sides: dict[str, int] = {}
        masked = clause
        used: set[Span] = set()
        for match in self._pattern.finditer(clause):
            axis, sign = self._sides[match.group()]
            before = [n for n in negations if 0 <= match.start() - n[1] <= 3]
            if before and _reaches(clause[before[-1][1] : match.start()]):
                sign = -sign
                used.add(before[-1])
            sides[axis] = sign if sides.get(axis, sign) == sign else 0  # both sides in one clause: it says neither
            masked = masked[: match.start()] + " " * len(match.group()) + masked[match.end() :]
        about = _subject(masked) or _subject(clause)
        if glossary is not None:
            about |= {"=" + m.concept for m in glossary.find(clause)}
        negated = len([n for n in negations if n not in used]) % 2 == 1
        taken = {axis: sign for axis, sign in sides.items() if sign}
        return Claim(subjects, frozenset(about - subjects), taken, frozenset(_NUMBER.findall(clause)), negated)


def _subject(clause: str) -> set[str]:
    """What a clause is about: its words, without numbers and without single Chinese characters."""
    return {w for w in words(clause) if not w.isdigit() and (len(w) > 1 or w.isascii())}


def _reaches(between: str) -> bool:
    """Whether a negation reaches over these characters to the word behind them: nothing, a space or a short adverb."""
    return between.strip() in {"", "是", "再", "太", "够", "会", "能", "很", "the", "a", "be", "to"}


@lru_cache(maxsize=1)
def opposites() -> Opposites:
    """The project's list, read once."""
    return Opposites.load()


def _alternation(items: Any) -> re.Pattern[str]:
    parts = []
    for word in sorted(items, key=len, reverse=True):
        escaped = re.escape(word)
        parts.append(rf"(?<![a-z]){escaped}(?![a-z])" if word[0].isascii() else escaped)
    return re.compile("|".join(parts) or "(?!)")


def compare(point: Sequence[Claim], answer: Sequence[Claim]) -> tuple[float, float]:
    """(agree, conflict), each 0..1, of a point's claims with an answer's.

    Two claims bear on each other as far as they are about the same (share of the smaller one's words) unless they speak of
    different subjects. A claim of the point is contradicted when the opposite is said closer to it than the same.
    """
    agreements, conflict = [], 0.0
    for mine in point:
        same = opposite = 0.0
        for theirs in answer:
            shared = mine.about & theirs.about
            if not shared or (mine.subjects and theirs.subjects and not mine.subjects & theirs.subjects):
                continue
            overlap = len(shared) / min(len(mine.about), len(theirs.about))
            verdicts = [mine.sides[k] * theirs.sides[k] for k in mine.sides.keys() & theirs.sides.keys()]
            if "being" not in mine.sides.keys() & theirs.sides.keys():  # what is stated, is, unless it is denied
                verdicts += [-1] if -1 in (mine.sides.get("being"), theirs.sides.get("being")) else []
            if mine.numbers and theirs.numbers:
                verdicts.append(1 if mine.numbers & theirs.numbers else -1)
            if not verdicts and mine.negated != theirs.negated:
                verdicts.append(-1)
            if any(v < 0 for v in verdicts):
                opposite = max(opposite, overlap)
            elif any(v > 0 for v in verdicts):
                same = max(same, overlap)
        agreements.append(same)
        if opposite > same:
            conflict = max(conflict, opposite)
    return sum(agreements) / max(len(agreements), 1), conflict


# --- evidence ---------------------------------------------------------------------------------------------------


def parts(point: str) -> list[str]:
    """What a point consists of: a short one is one statement, a long one (a whole list item of a textbook) several clauses."""
    if size(point) <= _LONGEST_PART:
        return [point]
    found: list[str] = []
    start: int | None = None
    for a, b in _split(point, _CLAUSE_END):
        start = a if start is None else start
        if size(point[start:b]) >= _LEAST_PART:
            found.append(point[start:b])
            start = None
    if start is not None and found:
        found[-1] += point[point.rfind(found[-1]) + len(found[-1]) :]
    return found or [point]


def gather(
    answer: str, points: Sequence[str], question: str, embedder: "Embedder", glossary: Glossary | None, groups: Sequence[int] = ()
) -> list[Evidence]:
    """The evidence for each statement in an answer; empty when the answer says nothing beyond the question.

    ``groups`` tells which statements belong to one key point; those are no rivals of each other. By default each is one.
    """
    group = np.array(groups or range(len(points)))
    asked = set(words(question))
    answer = without_orders(answer)
    in_question = _tokens(question)
    spans = [span for span in windows(answer) if _says_something(answer[slice(*span)], in_question)]
    if not spans:
        return []
    texts = [answer[a:b] for a, b in spans]
    vectors = embedder.encode_questions([*texts, question, *points])
    n = len(spans)
    to_points = vectors[:n] @ vectors[n + 1 :].T  # (windows, points)
    to_question = vectors[:n] @ vectors[n]  # (windows,)
    asked_concepts = _concepts(question, glossary)
    window_words = [set(words(text)) for text in texts]
    answer_concepts = _concepts(answer, glossary)
    against = rivals(question, points)
    judge = opposites()
    claims = judge.claims(answer, glossary, against)
    demanded = [judge.claims(point, glossary, against) for point in points]
    compared = [compare(wanted, claims) for wanted in demanded]
    contradicted = np.array([conflict > max(agree, 0.3) for agree, conflict in compared])
    found = []
    for j, point in enumerate(points):
        rest = group != group[j]
        others = to_points[:, rest] if rest.any() else to_question[:, None]
        margins = to_points[:, j] - others.mean(axis=1)
        best = int(margins.argmax())
        own = set(words(point)) - asked
        own_concepts = _concepts(point, glossary) - asked_concepts
        found.append(
            Evidence(
                margin=float(margins[best]),
                lead=float((to_points[:, j] - others.max(axis=1)).max()),
                cosine=float(to_points[:, j].max()),
                novelty=float((to_points[:, j] - to_question).max()),
                words=max(len(own & w) for w in window_words) / len(own) if own else 0.5,
                concepts=len(own_concepts & answer_concepts) / len(own_concepts) if own_concepts else 0.5,
                agree=compared[j][0],
                conflict=compared[j][1],
                contrary=compare(demanded[j], judge.claims(texts[best], glossary, against))[1],
                elsewhere=float(np.mean(contradicted, where=rest)) if rest.any() else 0.0,
                foreign=is_chinese(point) != is_chinese(answer),
                window=spans[best],
            )
        )
    return found


def asks_for_marks(answer: str) -> bool:
    """Whether the answer holds a sentence that gives orders to the grader."""
    return without_orders(answer) != answer


def without_orders(answer: str) -> str:
    """The answer with sentences that give orders to the grader blanked out; offsets stay."""
    for a, b in _split(answer, _SENTENCE_END):
        if _TO_THE_GRADER.search(answer[a:b]):
            b += answer[b : b + 1] == "."  # a full stop alone would look like an answer
            answer = answer[:a] + " " * (b - a) + answer[b:]
    return answer


def _tokens(text: str) -> set[str]:
    """Latin words and Chinese characters, without those that only hold a sentence together."""
    return {t for t in re.findall(r"[a-z0-9]+|[\u3400-\u9fff]", fold(text))} - _FUNCTION


def _says_something(text: str, asked: set[str]) -> bool:
    """Whether at least a quarter of a text is not in the question: repeating the question answers nothing."""
    said = _tokens(text)
    return len(said - asked) > 0.25 * len(said)


def _concepts(text: str, glossary: Glossary | None) -> set[str]:
    return {m.concept for m in glossary.find(text)} if glossary is not None else set()
