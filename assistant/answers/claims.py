"""What a sentence claims beyond its topic: numbers, names, and which way it points.

Similar wording is no support when the number is another one, when a name comes from nowhere, or when one side says «increases»
and the other «does not increase». These checks are exact, so they are made on the text and not on vectors.
"""

import re
import unicodedata
from collections.abc import Iterable

_UNITS = {
    "%": 1e-2, "亿": 1e8, "万": 1e4, "千": 1e3, "百": 1e2,
    "b": 1e9, "m": 1e6, "k": 1e3, "t": 1e12, "billion": 1e9, "million": 1e6, "thousand": 1e3, "trillion": 1e12,
}  # fmt: skip
_NUMBER = re.compile(
    r"(?<![\d.])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)\s*"
    r"(%|万亿|百万|千万|亿|万|千|百|(?:billion|million|thousand|trillion|[bmkt])(?![a-z]))?"
)
_COUNT_WORDS = {word: value for value, spellings in enumerate((
    "一 one single first 单", "二 两 双 two both second", "三 three third", "四 four fourth", "五 five", "六 six", "七 seven",
    "八 eight", "九 nine", "十 ten",
), start=1) for word in spellings.split()}  # fmt: skip
_COUNT_WORD = re.compile("|".join(rf"\b{w}\b" if w.isascii() else w for w in _COUNT_WORDS))
_RUN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_./+][A-Za-z0-9]+)*")
_PART = re.compile(r"[-_./+]")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")

_NOT_NEGATION = re.compile(
    "不同|不仅|不但|不断|不少|不过|不止|不只|不管|不论|不妨|不变量|无论|无监督|无向|无穷|无损|非常|非线性|非零|非对称|非凸|除非|未来|没错|莫非|不到|不超过"
    "|能不能|是不是|会不会|not only|no matter|non-?linear|unsupervised"
)
_NEGATION = re.compile(
    r"不|没|无|非|未|勿|别再|去掉|省去|免去|避免|\b(?:not?|never|without|cannot|neither|nor|drops?|dropped)\b|n't\b|\bun(?=stable)"
)
# The two ends of a scale; a clause at one end does not back a clause at the other.
_SCALES = tuple(
    (re.compile(up), re.compile(down))
    for up, down in (
        (r"增加|增大|增长|升高|提高|提升|变大|更大|更高|更多|加大|放大|increas|raise|higher|larger|more\b",
         r"减少|减小|降低|下降|变小|更小|更低|更少|缩小|decreas|reduc|lower|smaller|less\b|fewer|shrink"),
        (r"更快|加快|加速|faster|speeds? up", r"更慢|减慢|变慢|slower|slows? down"),
        (r"容易|简单|easy|easier|simple", r"困难|难以|复杂|hard\b|harder|difficult"),
        (r"冻结|固定不变|frozen|freez", r"更新|微调全部|updat"),
        (r"之前|以前|before\b", r"之后|以后|after\b"),
        (r"优于|好于|better", r"劣于|差于|worse"),
        (r"大于|多于|(?<!不)超过|高于|exceed|greater", r"小于|少于|低于|不足|不到|不超过|below"),
        (r"双向|bidirectional", r"单向|从左到右|unidirectional"),
        (r"稀疏|sparse", r"稠密|dense\b"),
        (r"相关|依赖|取决于|depend", r"无关|独立|independen"),
    )
)  # fmt: skip
_SCALE_WORD = re.compile("|".join(end.pattern for scale in _SCALES for end in scale))
_CLAUSE = re.compile(r"[,，;；:：、。.!?！？]\s*")


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def numbers(text: str) -> list[tuple[float, bool]]:
    """The numbers of a text by value, and whether a unit scaled them: «1750亿» and «175B» are both (1.75e11, True)."""
    found = []
    for digits, unit in _NUMBER.findall(_folded(text)):
        value = float(digits.replace(",", ""))
        scale = 1.0
        for part in (unit,) if unit in _UNITS else unit:
            scale *= _UNITS.get(part, 1.0)
        found.append((float(f"{value * scale:.9g}"), bool(unit)))
    return found


def names(text: str) -> list[str]:
    """Latin names in a sentence: words with a digit or a capital letter; in an English sentence the capital that only opens it
    does not count."""
    chinese = bool(_CHINESE.search(text))
    found = []
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text)):
        run = match.group()
        capitals = sum(c.isupper() for c in run)
        opens = not chinese and not text[: match.start()].strip(" \t*_#>-\"'(“‘1234567890.)").strip()
        if len(run) > 1 and (any(c.isdigit() for c in run) or capitals > 1 or (capitals and not opens)):
            found.append(run)
    return found


class Known:
    """The numbers and names that a set of texts vouches for."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._values: set[float] = set()
        self._words: set[str] = set()
        for text in texts:
            folded = _folded(text)
            for digits, unit in _NUMBER.findall(folded):
                self._values.add(float(digits.replace(",", "")))
                if unit:
                    self._values.add(numbers(digits + unit)[0][0])
            self._values.update(float(_COUNT_WORDS[m.group()]) for m in _COUNT_WORD.finditer(folded))
            for run in _RUN.findall(folded):
                parts = _PART.split(run)
                self._words.update((run, "".join(parts), *parts))

    def foreign(self, sentence: str) -> list[str]:
        """The numbers and names of a sentence that stand in none of the texts."""
        strange = [f"{value:.9g}" for value, _ in numbers(sentence) if value not in self._values]
        return strange + [name for name in names(sentence) if not self._knows(name)]

    def _knows(self, name: str) -> bool:
        folded = name.lower()
        parts = _PART.split(folded)
        return any(all(self._has(word) for word in words if len(word) > 1) for words in ([folded], ["".join(parts)], parts))

    def _has(self, word: str) -> bool:
        # «LLMs» is «LLM», «175B» is known by its value
        return word in self._words or word.removesuffix("s") in self._words or bool(re.fullmatch(r"\d+[bmkt]?", word))


def clauses(text: str) -> list[str]:
    """The clauses of a sentence, cut at its punctuation."""
    return [part for part in _CLAUSE.split(text) if part.strip()]


def opposed(a: str, b: str) -> bool:
    """Whether two clauses about the same thing point in opposite directions.

    >>> opposed("不会增加推理延迟", "会增加推理延迟"), opposed("不增加延迟", "减少延迟")
    (True, False)
    """
    one, other = _folded(a), _folded(b)
    same_direction = False
    for up, down in _SCALES:
        first, second = _side(one, up, down), _side(other, up, down)
        if first and second:
            if _sign(one) * first != _sign(other) * second:
                return True
            same_direction = True
    return not same_direction and _sign(one) != _sign(other)


def _side(text: str, up: re.Pattern[str], down: re.Pattern[str]) -> int:
    return bool(up.search(text)) - bool(down.search(text))


def _sign(text: str) -> int:
    # «无关» and «难以» are ends of a scale, not negations of something else
    bare = _SCALE_WORD.sub("", _NOT_NEGATION.sub("", text))
    return -1 if len(_NEGATION.findall(bare)) % 2 else 1


_COMPARED = re.compile(r"([a-z][\w.+-]*)\s*(?:比|优于|快于|慢于|高于|低于|大于|小于|好于|差于|多于|少于)\s*([a-z][\w.+-]*)")
_THAN = re.compile(
    r"([a-z][\w.+-]*) (?:is|are|runs?|uses?|needs?|has) (?:\w+ )?"
    r"(?:\w+er|more|less|fewer|better|worse)(?: \w+){0,2} than ([a-z][\w.+-]*)"
)


def swapped(a: str, b: str) -> bool:
    """Whether two clauses compare the same two names the other way round.

    >>> swapped("LoRA 比 QLoRA 更快", "QLoRA 比 LoRA 更快"), swapped("LoRA 比 QLoRA 更快", "QLoRA 比 LoRA 更慢")
    (True, False)
    """
    one, other = _folded(a), _folded(b)
    for pattern in (_COMPARED, _THAN):
        first, second = pattern.search(one), pattern.search(other)
        if first and second and first[1] != first[2] and first.groups() == second.groups()[::-1]:
            rests = ["".join(t.replace(first[1], "").replace(first[2], "").split()).strip("。.") for t in (one, other)]
            return rests[0] == rests[1]
    return False


def without_numbers(text: str) -> str:
    """A text with the place of every number kept and its value gone."""
    return _NUMBER.sub("#", _folded(text))
