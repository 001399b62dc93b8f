"""What happens while a question is answered, as values: a page shows them, a chat keeps them.

The order is: ``Searching``; ``Understood`` when the question is a follow-up; then ``NotFound`` and ``Done``; or ``Passages``,
``Quote``, ``Waiting`` whenever the place in the queue changes, ``Token`` and ``Sentence`` mixed, and ``Done`` or ``Stopped``.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from assistant.answers.support import CheckedSentence, Citation
from assistant.retrieval.values import Copy, Hit, SearchResult
from ingest.document import Passage, QuestionAnswer
from kg.concepts import Concept


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer. ``sentences`` stand in ``text`` in this order; citation numbers count from 1 into ``hits``.

    ``seconds`` are since the question: search, quote, first_token, total (those that happened).
    """

    question: str
    text: str
    sentences: tuple[CheckedSentence, ...]
    hits: tuple[Hit, ...]
    answered: bool
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Searching:
    """The search has begun."""


@dataclass(frozen=True, slots=True)
class Understood:
    """The question as it is searched for and answered: it pointed back into the conversation, or the asker put it so."""

    text: str


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages the answer is made from (``hits``), and everything the search found."""

    hits: tuple[Hit, ...]
    result: SearchResult


@dataclass(frozen=True, slots=True)
class Quote:
    """What the library itself says to the question, word for word, before anything is generated. ``shortened``: it is the best of a
    longer answer that stands there."""

    sentences: tuple[CheckedSentence, ...]
    shortened: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """So many people are ahead in the queue; 0: the model has turned to this question."""

    ahead: int


@dataclass(frozen=True, slots=True)
class Token:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that is complete and was checked; it stands in the text of the tokens so far."""

    sentence: CheckedSentence


@dataclass(frozen=True, slots=True)
class NotFound:
    """The library holds no answer: what to say, the concepts nearest to the question, the passages nearest to it."""

    nearest: tuple[Concept, ...]
    near: tuple[Hit, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last event of an answer that was stopped, with what was written until then."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of every answer that was not stopped."""

    answer: Answer


Event = Searching | Understood | Passages | Quote | Waiting | Token | Sentence | NotFound | Stopped | Done


def answer_to_json(value: Answer) -> dict[str, Any]:
    """Everything about an answer as a JSON object: what a chat keeps, and what the command prints."""
    return {**asdict(value), "seconds": dict(value.seconds)}


def answer_from_json(value: Mapping[str, Any]) -> Answer:
    """The answer that ``answer_to_json`` wrote."""
    return Answer(
        value["question"],
        value["text"],
        tuple(sentence_from_json(s) for s in value["sentences"]),
        tuple(_hit_from_json(h) for h in value["hits"]),
        value["answered"],
        value["seconds"],
    )


def sentence_from_json(value: Mapping[str, Any]) -> CheckedSentence:
    """A checked sentence from the object that ``asdict`` makes of it."""
    places = {name: tuple(Citation(**c) for c in value.get(name, ())) for name in ("citations", "contradicts")}
    return CheckedSentence(**{**value, **places})  # sentences kept before contradictions were told have none


def _hit_from_json(value: Mapping[str, Any]) -> Hit:
    pair = value["pair"]
    return Hit(
        **{
            **value,
            "passage": Passage(**{**value["passage"], "headings": tuple(value["passage"]["headings"])}),
            "pair": QuestionAnswer(**{**pair, "headings": tuple(pair["headings"])}) if pair else None,
            "also": tuple(Copy(**copy) for copy in value.get("also", ())),  # answers kept before there were copies have none
        }
    )
