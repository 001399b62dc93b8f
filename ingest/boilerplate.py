"""The rules of ``boilerplate.toml``, compiled: what web pages put around an article."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any


@dataclass(frozen=True, slots=True)
class Evidence:
    """The rules of one kind of evidence; ``any`` matches what one of them matches, so most lines are asked once."""

    any: re.Pattern[str]
    rules: tuple[tuple[str, re.Pattern[str]], ...]

    def reason(self, text: str, longest: int = 240) -> str:
        """The reason to cut a line that consists of this text, or ''; a line of more characters is a paragraph."""
        if not text or len(text) > longest or not self.any.fullmatch(text):
            return ""
        return next((reason for reason, pattern in self.rules if pattern.fullmatch(text)), "")


@dataclass(frozen=True, slots=True)
class Rules:
    """The whole table. ``advertises`` matches what any pattern of ``hard``, ``soft`` or ``gesture`` matches."""

    inside: Evidence
    alone: Evidence
    weak: Evidence
    start: re.Pattern[str]
    call: re.Pattern[str]
    gesture: re.Pattern[str]
    advertises: re.Pattern[str]
    hard: dict[str, re.Pattern[str]]
    soft: dict[str, re.Pattern[str]]
    reasons: dict[str, tuple[str, str]]


@lru_cache(maxsize=1)
def rules() -> Rules:
    """The table, read once."""
    table: dict[str, Any] = tomllib.loads(resources.files("ingest").joinpath("boilerplate.toml").read_text("utf-8"))
    promotion = table["promotion"]
    hard, soft, gesture = promotion["hard"], promotion["soft"], promotion["gesture"]
    return Rules(
        inside=_evidence(table, "inside"),
        alone=_evidence(table, "alone"),
        weak=_evidence(table, "weak"),
        start=_union(promotion["start"]),
        call=_union(promotion["call"]),
        gesture=_union([gesture]),
        advertises=_union([*hard.values(), *soft.values(), gesture]),
        hard={name: _union([pattern]) for name, pattern in hard.items()},
        soft={name: _union([pattern]) for name, pattern in soft.items()},
        reasons={name: (zh, en) for name, (zh, en) in table["reasons"].items()},
    )


def _evidence(table: dict[str, Any], evidence: str) -> Evidence:
    chosen = [rule for rule in table["rule"] if rule["evidence"] == evidence]
    union = _union(pattern for rule in chosen for pattern in rule["patterns"])
    return Evidence(union, tuple((rule["reason"], _union(rule["patterns"])) for rule in chosen))


def _union(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def reason_name(reason: str, language: str = "zh") -> str:
    """The reason of a cut as a person reads it, in Chinese or English."""
    zh, en = rules().reasons.get(reason, (reason, reason))
    return zh if language == "zh" else en
