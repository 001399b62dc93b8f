"""Whether a cited place says what the sentence says, as far as that can be counted without the model that chose the place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assistant.answers.claims import Known, names, numbers
from assistant.measures.labels import key_point_share


@dataclass(frozen=True, slots=True)
class CitedSentence:
    """A sentence of an answer and the texts of the places it cites."""

    text: str
    cited: tuple[str, ...]


def citation_right(sentence: CitedSentence, key_points: Sequence[Sequence[str]], also_known: Sequence[str] = ()) -> bool | None:
    """Whether every labelled key point, number and name that the sentence states stands in what it cites; None if it states none.

    ``also_known`` are texts whose names and numbers need no citation: the question, other names of the concepts meant.
    """
    stated = [group for group in key_points if key_point_share(sentence.text, [group])]
    if not stated and not numbers(sentence.text) and not names(sentence.text):
        return None
    cited = "\n".join(sentence.cited)
    return (key_point_share(cited, stated) or float(not stated)) == 1.0 and not Known([cited, *also_known]).foreign(sentence.text)


def precision(judged: Iterable[bool | None]) -> tuple[float | None, int]:
    """The share of right ones among those that could be judged, and their number."""
    counted = [value for value in judged if value is not None]
    return (round(sum(counted) / len(counted), 4) if counted else None), len(counted)
