"""How well follow-ups are understood: labelled turns, our rules, and the plain way beside them."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from assistant.answers.dialogue import resolve
from ingest.document import fold
from ingest.errors import UsageError
from kg.concepts import Glossary

SPLITS = ("development", "held_out")


@dataclass(frozen=True, slots=True)
class DialogueTurn:
    """A question and those before it. A follow-up has the names its resolved form must hold, and ways to say what it asks for."""

    id: str
    split: str
    followup: bool
    lang: str
    history: tuple[str, ...]
    question: str
    concepts: tuple[str, ...] = ()
    aspect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DialogueFigures:
    """Shares of the turns of one split: follow-ups with the right names (``named``: all of them; ``exact``: and no other of the
    conversation's), with what is asked for (``understood``: exact and the aspect), and standalone questions left as they are."""

    followups: int
    named: float
    exact: float
    understood: float
    standalone: int
    unchanged: float
    wrong: tuple[tuple[str, str], ...]


def read_turns(path: Path) -> list[DialogueTurn]:
    """The turns of a JSON Lines file. Raises UsageError for a line that is none."""
    turns = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            turn = DialogueTurn(
                row["id"], row["split"], row["kind"] == "followup", row["lang"], tuple(row["history"]), row["question"],
                tuple(row.get("concepts", ())), tuple(row.get("aspect", ())),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path}, line {number}, is no labelled turn of a dialogue") from None
        turns.append(turn)
    return turns


def joined_with_the_last(question: str, earlier: Sequence[str], glossary: Glossary) -> str:
    """The plain way, the baseline: a question with a word that points back is put behind the one before it."""
    if not earlier or not _POINTS_BACK.search(question):
        return question
    return question if glossary.find(question) and len(question) > 24 else f"{earlier[-1]} {question}"


_POINTS_BACK = re.compile(
    "它|这个|这种|这些|那个|那么|那|上面|前面|刚才|其中|该|呢[?？]?$|还有|为什么[?？]?$|继续|^(?:再|具体|详细|举)"
    r"|\b(?:it|its|this|that|these|those|they|them|more|above)\b",
    re.I,
)


def measure(
    turns: Sequence[DialogueTurn], glossary: Glossary, way: Callable[[str, Sequence[str], Glossary], str]
) -> DialogueFigures:
    """The figures of one way to understand questions, over turns."""
    followups = [turn for turn in turns if turn.followup]
    alone = [turn for turn in turns if not turn.followup]
    named = exact = understood = unchanged = 0
    wrong = []
    for turn in followups:
        text = way(turn.question, turn.history, glossary)
        holds = _all_named(text, turn, glossary)
        only = holds and not _others(text, turn, glossary)
        right = only and any(fold(word) in fold(text) for word in turn.aspect)
        named, exact, understood = named + holds, exact + only, understood + right
        if not right:
            wrong.append((turn.id, text))
    for turn in alone:
        text = way(turn.question, turn.history, glossary)
        unchanged += text == turn.question
        if text != turn.question:
            wrong.append((turn.id, text))
    n, m = max(1, len(followups)), max(1, len(alone))
    return DialogueFigures(len(followups), named / n, exact / n, understood / n, len(alone), unchanged / m, tuple(wrong))


def by_rules(question: str, earlier: Sequence[str], glossary: Glossary) -> str:
    """The way of the program."""
    return resolve(question, earlier, glossary).text


def _keys(text: str, glossary: Glossary) -> set[str]:
    return {mention.concept for mention in glossary.find(text)}


def _all_named(text: str, turn: DialogueTurn, glossary: Glossary) -> bool:
    found = _keys(text, glossary)
    return all(((c := glossary.lookup(name)) is not None and c.key in found) or fold(name) in fold(text) for name in turn.concepts)


def _others(text: str, turn: DialogueTurn, glossary: Glossary) -> set[str]:
    """Concepts of the conversation that the resolved question names and should not (aspects it was asked for do not count)."""
    wanted = {c.key for name in turn.concepts if (c := glossary.lookup(name)) is not None}
    told = {key for asked in turn.history for key in _keys(asked, glossary)} - _keys(turn.question, glossary)
    allowed = {
        key for key in told if any(fold(word) in fold(name) for word in turn.aspect for name in glossary.concepts[key].names)
    }
    return (_keys(text, glossary) & told) - wanted - allowed


def evaluate_dialogue(path: Path, glossary: Glossary) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of both ways over each split of a file of labelled turns. Raises UsageError for a file that is none."""
    turns = read_turns(path)
    report: dict[str, dict[str, dict[str, float]]] = {}
    for split in SPLITS:
        part = [turn for turn in turns if turn.split == split]
        report[split] = {}
        for name, way in (("rules", by_rules), ("joined", joined_with_the_last)):
            figures = {k: v for k, v in asdict(measure(part, glossary, way)).items() if k != "wrong"}
            report[split][name] = {key: round(value, 3) for key, value in figures.items()}
    return report
