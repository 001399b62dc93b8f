"""What a chat model is to the rest of the program: a prompt in blocks, a stream of text, guards against loops and thinking aloud.

The engine itself is ``assistant.engine.llama``; a test passes any class with the same three members.
"""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from ingest.document import fold

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation so far."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads, in this order: system text, passages, conversation (it begins with the user), question.

    The passages stay separate blocks, each tokenised by itself, so that an engine can keep what it computed for one of them and
    use it wherever the passage comes up again. ``opening`` is the number of passages that are enough to write the first sentence
    from, so that it need not wait for the others to be read; 0: all of them. An engine may ignore it.
    """

    system: str
    passages: tuple[str, ...]
    history: tuple[Turn, ...]
    question: str
    opening: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """What one answer cost. Seconds count from the model's turn (waiting in the queue is not part of them).

    ``reused_tokens`` of the prompt were not evaluated before the first token.
    """

    prompt_tokens: int
    reused_tokens: int
    generated_tokens: int
    first_token_s: float
    total_s: float


class ChatModel(Protocol):
    """A model that continues a prompt."""

    @property
    def name(self) -> str:
        """What people call the model."""

    def token_count(self, text: str) -> int:
        """The number of tokens of a text."""

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        """The answer in pieces of whole characters.

        ``waiting`` is told the number of people ahead whenever it changes (0: it is our turn). ``stop`` ends the stream within a
        second, whether it waits, reads the prompt or writes; the pieces simply end.
        """


_UNIT = re.compile(r"[^。！？!?\n]*?(?:[。！？!?\n]+|(?<=[a-z)\]])\.(?=\s))")
_COUNTED = re.compile(r"\W*(?:[a-z]+ |第)?\d+\s*[.:：、)）]\s*")  # «7.», «Fact 7:», «第 7、»


_SENTENCE_END = re.compile(r"[。！？!?\n；;]\s*\Z|[a-z)\]]\.\s*\Z")


def ends_sentence(text: str) -> bool:
    """Whether a text may end with the end of a sentence; «e.g.» does too.

    >>> ends_sentence("它占 3.5 GB。"), ends_sentence("It takes 3."), ends_sentence("It takes more.")
    (True, False, True)
    """
    return bool(_SENTENCE_END.search(text))


class LoopGuard:
    """Notices when a text has begun to repeat itself, as greedy decoding of a small model sometimes does.

    A loop is: the same line or sentence twice in a row; a longer one for the third time; or an ending that is one short string
    over and over. Blank units count for nothing, so ruled lines and lists of short items pass.

    >>> guard = LoopGuard()
    >>> [guard.add(piece) for piece in ("先预填充。", "再解码。", "再解码。")]
    [False, False, True]
    """

    def __init__(self) -> None:
        self._tail = ""
        self._units: dict[str, int] = {}
        self._last = ""

    def add(self, piece: str) -> bool:
        """Add the next piece; True when the text runs in a loop."""
        self._tail += piece
        end = 0
        for match in _UNIT.finditer(self._tail):
            end = match.end()
            if self._unit_repeats(fold(match.group())):
                return True
        if end:
            self._tail = self._tail[end:]
        return _ends_in_a_cycle(self._tail)

    def _unit_repeats(self, unit: str) -> bool:
        if sum(c.isalnum() for c in unit) < 3:
            return False
        unit = _COUNTED.sub("", unit, count=1) if _COUNTED.match(unit) else unit  # «Fact 7: …», «Fact 8: …» with the same words
        count = self._units[unit] = self._units.get(unit, 0) + 1
        consecutive, self._last = unit == self._last, unit
        return consecutive or (count >= 3 and len(unit) >= 12)


def _ends_in_a_cycle(text: str) -> bool:
    """Whether the text ends in at least four repeats of one string, together 32 characters or more that are not all alike."""
    for period in range(2, min(64, len(text) // 4) + 1):
        unit = text[-period:]
        repeats = max(4, -(-32 // period))
        if text.endswith(unit * repeats) and sum(c.isalnum() for c in set(unit)) > 1:
            return True
    return False


class Thinking:
    """Takes out of a stream what a reasoning model thinks aloud at its beginning, between ``<think>`` and ``</think>``.

    >>> thinking = Thinking()
    >>> [thinking.feed(piece) for piece in ("<th", "ink>hm</thi", "nk>\\n\\nYes", ", it is")]
    ['', '', 'Yes', ', it is']
    """

    def __init__(self) -> None:
        self._held = ""
        self._state = "beginning"

    def feed(self, piece: str) -> str:
        """The part of what came so far that belongs to the answer and was not given yet."""
        if self._state == "answer":
            return piece
        self._held += piece
        if self._state == "beginning":
            start = self._held.lstrip()
            if "<think>".startswith(start[:7]) and len(start) < 7:
                return ""
            if not start.startswith("<think>"):
                return self._answer(self._held)
            self._state = "thinking"
        _, end, rest = self._held.partition("</think>")
        if not end or not rest.strip():
            return ""
        return self._answer(rest.lstrip())

    def finish(self) -> str:
        """What is left at the end: a beginning that was no thought."""
        return self._answer(self._held) if self._state == "beginning" else ""

    def _answer(self, text: str) -> str:
        self._state, self._held = "answer", ""
        return text
