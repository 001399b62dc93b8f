"""The pipeline that answers are measured beside: one prompt with numbered passages, read whole, citations written by the model.

The same model, the same passages in the same order; what differs is what this project does with them.
"""

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.answers.prompts import numbered_prompt
from assistant.answers.sentences import split, states_something
from assistant.answers.support import Evidence
from assistant.engine.llama import LlamaChat
from assistant.measures.citations import CitedSentence
from ingest.document import Passage

MAX_TOKENS = 400
_NUMBERS = re.compile(r"[\[【(（]\s*(\d{1,2}(?:\s*[,，、]\s*\d{1,2})*)\s*[\]】)）]")
_BEHIND = re.compile(rf"(?:\s*{_NUMBERS.pattern})+\s*[。.]?")


@dataclass(frozen=True, slots=True)
class NaiveAnswer:
    """Its text without the citations, its sentences with the passages they cite, and its times in seconds from the prompt."""

    text: str
    sentences: tuple[CitedSentence, ...]
    supported: int
    first_token_s: float
    whole_s: float
    tokens: int


def naive_answer(question: str, passages: Sequence[Passage], lang: str, chat: LlamaChat, evidence: Evidence) -> NaiveAnswer:
    """Answer from an empty attention cache; ``evidence`` checks its sentences as it checks ours. Raises MianpuError."""
    states, chat.states = chat.states, None
    try:
        chat.forget()
        began = time.perf_counter()
        first, pieces = 0.0, []
        for piece in chat.stream(
            numbered_prompt(question, passages, lang), max_tokens=MAX_TOKENS, stop=threading.Event(), waiting=lambda ahead: None
        ):
            first = first or time.perf_counter() - began
            pieces.append(piece)
        whole = time.perf_counter() - began
    finally:
        chat.states = states
    text = "".join(pieces)
    sentences = cited_sentences(text, passages)
    supported = sum(evidence.check(sentence.text).supported for sentence in sentences)
    return NaiveAnswer(without_citations(text), sentences, supported, first or whole, whole, len(pieces))


def cited_sentences(text: str, passages: Sequence[Passage]) -> tuple[CitedSentence, ...]:
    """The sentences of a text and what they cite: the whole passages whose numbers stand in them or right behind their full stop.

    A number that no passage has cites nothing: an empty text, which backs no sentence.
    """
    found: list[CitedSentence] = []
    for span in split(text):
        raw = text[span.start : span.end]
        if found and (behind := _BEHIND.match(raw)):  # «… 显存。[1] 又…»
            found[-1] = CitedSentence(found[-1].text, (*found[-1].cited, *_places(behind.group(), passages)))
            raw = raw[behind.end() :]
        body = without_citations(raw)
        if states_something(body):
            found.append(CitedSentence(body, _places(raw, passages)))
    return tuple(found)


def _places(text: str, passages: Sequence[Passage]) -> tuple[str, ...]:
    numbers = [int(n) for group in _NUMBERS.findall(text) for n in re.findall(r"\d+", group)]
    return tuple(passages[n - 1].text if 0 < n <= len(passages) else "" for n in numbers)


def without_citations(text: str) -> str:
    """A text without «[1]», «[2, 3]»."""
    return _NUMBERS.sub("", text).strip()
