"""The rules of ``boilerplate.toml``, compiled: what web pages put around an article."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

_LEAD = re.compile(r"\.\{0,\d+\}\??|\.\*")
NEVER = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rules of one kind of evidence; ``any`` matches what one of them matches.

    Most lines are no furniture, so they are asked little: ``begin`` matches lines that a rule with a fixed beginning matches;
    the others («.{0,40}word…») can match only where ``inside`` finds what follows their open beginning.
    """

    any: re.Pattern[str]
    begin: re.Pattern[str]
    inside: re.Pattern[str]
    rules: tuple[tuple[str, re.Pattern[str]], ...]

    def reason(self, text: str, longest: int = 240) -> str:
        """The reason to cut a line that consists of this text, or ''; a line of more characters is a paragraph."""
        if not text or len(text) > longest or not (self.begin.fullmatch(text) or self.inside.search(text)):
            return ""
        return next((reason for reason, pattern in self.rules if pattern.fullmatch(text)), "")


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole table. ``advertises`` matches what any pattern of ``hard``, ``soft``, ``terms`` or ``gesture`` matches."""

    inside: Evidence
    alone: Evidence
    broad: Evidence
    weak: Evidence
    early: Evidence
    below_title: Evidence
    titles: re.Pattern[str]
    comments: re.Pattern[str]
    section: re.Pattern[str]
    cards: re.Pattern[str]
    ends: re.Pattern[str]
    hints: re.Pattern[str]
    words: re.Pattern[str]
    words_only: re.Pattern[str]
    start: re.Pattern[str]
    call: re.Pattern[str]
    gesture: re.Pattern[str]
    advertises: re.Pattern[str]
    hard: dict[str, re.Pattern[str]]
    soft: dict[str, re.Pattern[str]]
    terms: dict[str, re.Pattern[str]]
    reasons: dict[str, tuple[str, str]]

    def words_of(self, text: str) -> tuple[int, int]:
        """How many words of buttons and how many numbers a line consists of; (0, 0) when it holds anything else."""
        if not text or len(text) > 80 or not self.words_only.fullmatch(text):
            return 0, 0
        found = list(self.words.finditer(text))
        words = sum(match.lastgroup == "word" for match in found)
        return words, sum(match.lastgroup == "number" for match in found)


@lru_cache(maxsize=1)
def rules() -> Rules:
    """The table, read once."""
    table: dict[str, Any] = tomllib.loads(resources.files("ingest.cleaning").joinpath("boilerplate.toml").read_text("utf-8"))
    promotion = table["promotion"]
    hard, soft, gesture = promotion["hard"], promotion["soft"], promotion["gesture"]
    buttons = sorted(table["buttons"]["words"], key=len, reverse=True)
    word = "|".join(re.escape(text) + ("(?![a-z])" if text.isascii() else "") for text in buttons)
    number, between = table["buttons"]["number"], table["buttons"]["between"]
    tokens = f"(?P<word>{word})|(?P<number>{number})|(?:{between})"
    return Rules(
        inside=_evidence(table, "inside"),
        alone=_evidence(table, "alone"),
        broad=_evidence(table, "broad"),
        weak=_evidence(table, "weak"),
        early=_evidence(table, "early"),
        below_title=_evidence(table, "below_title"),
        titles=_union(table["openers"]["titles"]),
        comments=_union(table["openers"]["comments"]),
        section=_union(table["openers"]["section"]),
        cards=_union(table["openers"]["cards"]),
        ends=_union(table["openers"]["ends"]),
        hints=_union(table["hints"]["patterns"]),
        words=re.compile(tokens, re.IGNORECASE),
        words_only=re.compile(f"(?>{word}|{number}|{between})++", re.IGNORECASE),  # no way back: each word is tried once
        start=_union(promotion["start"]),
        call=_union(promotion["call"]),
        gesture=_union(gesture),
        advertises=_union([*hard.values(), *soft.values(), *promotion["terms"].values(), *gesture]),
        hard={name: _union([pattern]) for name, pattern in hard.items()},
        soft={name: _union([pattern]) for name, pattern in soft.items()},
        terms={name: _union([pattern]) for name, pattern in promotion["terms"].items()},
        reasons={name: (zh, en) for name, (zh, en) in table["reasons"].items()},
    )


def _evidence(table: dict[str, Any], evidence: str) -> Evidence:
    chosen = [rule for rule in table["rule"] if rule["evidence"] == evidence]
    patterns = [pattern for rule in chosen for pattern in rule["patterns"]]
    branches = [branch for pattern in patterns for branch in _branches(pattern)]
    begin = [branch for branch in branches if not _LEAD.match(branch)]
    inside = [branch[lead.end() :] for branch in branches if (lead := _LEAD.match(branch))]
    return Evidence(
        _union(patterns),
        _union(begin) if begin else NEVER,
        _union(inside) if inside else NEVER,
        tuple((rule["reason"], _union(rule["patterns"])) for rule in chosen),
    )


def _branches(pattern: str) -> list[str]:
    """The alternatives of a pattern: split at the bars outside of groups and classes."""
    parts, depth, escaped, in_class = [""], 0, False, False
    for char in pattern:
        if not escaped and not in_class and not depth and char == "|":
            parts.append("")
            continue
        if not escaped:
            if in_class:
                in_class = char != "]"
            elif char == "[":
                in_class = True
            else:
                depth += (char == "(") - (char == ")")
        escaped = char == "\\" and not escaped
        parts[-1] += char
    return parts


def _union(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def reason_name(reason: str, language: str = "zh") -> str:
    """The reason of a cut as a person reads it, in Chinese or English."""
    zh, en = rules().reasons.get(reason, (reason, reason))
    return zh if language == "zh" else en
