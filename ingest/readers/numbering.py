"""The numbers of Word's lists: which label stands before a paragraph, computed as Word does from ``numbering.xml``."""

import re
from dataclasses import dataclass

from lxml import etree

from ingest.readers.ooxml import W

_CHINESE_DIGITS = "〇一二三四五六七八九"
_STEMS, _BRANCHES = "甲乙丙丁戊己庚辛壬癸", "子丑寅卯辰巳午未申酉戌亥"
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"), (9, "ix"),
          (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list: the kind of number, the template of its label («%1.%2»), where it starts."""

    format: str
    template: str
    start: int


class Numbering:
    """The lists of one document. Paragraphs are asked for in the order in which they stand."""

    def __init__(self, root: etree._Element | None) -> None:
        self._abstract: dict[str, dict[int, _Level]] = {}
        self._lists: dict[str, tuple[str, dict[int, _Level], dict[int, int]]] = {}
        self._counts: dict[str, dict[int, int]] = {}
        self._begun: set[str] = set()
        if root is None:
            return
        for abstract in root.findall(W + "abstractNum"):
            self._abstract[abstract.get(W + "abstractNumId", "")] = _levels(abstract)
        for number in root.findall(W + "num"):
            key = _value(number, "abstractNumId")
            overrides = {
                _integer(o.get(W + "ilvl"), 0): _integer(_value(o, "startOverride"), 1)
                for o in number.findall(W + "lvlOverride")
                if o.find(W + "startOverride") is not None
            }
            levels = dict(self._abstract.get(key, {}))
            for override in number.findall(W + "lvlOverride"):
                levels.update(_levels(override))
            self._lists[number.get(W + "numId", "")] = (key, levels, overrides)

    def label(self, list_id: str, level: int) -> str | None:
        """The label of the next paragraph of a list: «-» for a bullet, «» for an item without one, None without such a list."""
        if list_id not in self._lists:
            return None
        key, levels, overrides = self._lists[list_id]
        counts = self._counts.setdefault(key, {})
        if list_id not in self._begun:
            self._begun.add(list_id)
            for at in overrides:
                counts.pop(at, None)
        here = levels.get(level)
        if here is None:
            return None
        start = overrides.get(level, here.start)
        counts[level] = counts.get(level, start - 1) + 1
        for deeper in [at for at in counts if at > level]:
            del counts[deeper]
        if here.format == "none" or not here.template.strip():
            return ""
        if here.format == "bullet":
            return "-"

        def number(found: re.Match[str]) -> str:
            at = int(found[1]) - 1
            other = levels.get(at, here)
            value = counts.get(at, overrides.get(at, other.start))
            return numeral(value, other.format)

        return re.sub(r"%([1-9])", number, here.template).strip()


def _levels(parent: etree._Element) -> dict[int, _Level]:
    return {
        _integer(level.get(W + "ilvl"), 0): _Level(
            _value(level, "numFmt") or "decimal", _value(level, "lvlText"), _integer(_value(level, "start"), 1)
        )
        for level in parent.findall(W + "lvl")
    }


def _value(element: etree._Element, name: str) -> str:
    found = element.find(W + name)
    return "" if found is None else found.get(W + "val", "")


def _integer(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"-?[0-9]{1,6}", text) else default


def numeral(value: int, kind: str) -> str:
    """A number as Word writes it in a list.

    >>> [numeral(n, k) for n, k in ((12, "chineseCounting"), (4, "lowerRoman"), (27, "upperLetter"), (3, "decimalEnclosedCircle"))]
    ['十二', 'iv', 'AA', '③']
    """
    if value < 1 or value > 9999:
        return str(value)
    if kind in ("lowerLetter", "upperLetter"):
        letter = chr(ord("a") + (value - 1) % 26) * min((value - 1) // 26 + 1, 20)
        return letter if kind == "lowerLetter" else letter.upper()
    if kind in ("lowerRoman", "upperRoman"):
        out, rest = "", value
        for size, sign in _ROMAN:
            out += sign * (rest // size)
            rest %= size
        return out if kind == "lowerRoman" else out.upper()
    if kind.startswith(("chineseCounting", "japaneseCounting", "taiwaneseCounting", "ideographDigital", "chineseLegal")):
        return _chinese(value)
    if kind.startswith("decimalEnclosedCircle") and value <= 20:
        return chr(ord("①") + value - 1)
    if kind == "ideographTraditional" and value <= 10:
        return _STEMS[value - 1]
    if kind == "ideographZodiac" and value <= 12:
        return _BRANCHES[value - 1]
    return f"{value:02d}" if kind == "decimalZero" else str(value)


def _chinese(value: int) -> str:
    out, empty = "", False
    for place, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // place % 10
        if digit:
            out += ("〇" if empty and out else "") + _CHINESE_DIGITS[digit] + unit
            empty = False
        else:
            empty = True
    return out[1:] if out.startswith("一十") else out
