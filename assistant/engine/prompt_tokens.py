"""Prompts as tokens: a chat model's own template joins the messages, and no text can end its own message.

A prompt is tokenised block by block, so that what was computed for a passage can be used wherever the passage comes up again.
"""

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.engine.llm import Prompt, Turn
from assistant.engine.templates import Render, jinja_render, without_system
from ingest.document import content_hash
from ingest.errors import MianpuError

_PREFIX_BLOCKS = 3  # opening, system text, opening of the user's message
_MARK = re.compile("\x1a(\\d+)\x1a")


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """A prompt as tokens: its kept beginning (``prefix``), its passages (the name of each, and its span in ``tokens``)."""

    tokens: tuple[int, ...]
    prefix: tuple[int, ...]
    passages: tuple[tuple[str, int, int], ...]

    def first_passage(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Name of the first passage, the prefix it stands behind, its tokens."""
        name, start, end = self.passages[0]
        return name, self.prefix, self.tokens[start:end]


class PromptFormat:
    """Tokenises for one model. Only the vocabulary is read, so any thread may call it. ``room`` is the model's context in tokens.

    ``notes`` says what of a prompt the model's chat template does not take as it is. Raises MianpuError when the model has no
    template, or one that cannot be used.
    """

    def __init__(self, api: Any, model: Any, name: str, room: int) -> None:
        self.name = name
        self._api = api
        self._room = room
        self._vocab = api.llama_model_get_vocab(model)
        self._template = api.llama_model_chat_template(model, None)
        self.notes: tuple[str, ...] = ()
        self._render = self._usable_render()

    def fitting(self, prompt: Prompt, max_tokens: int) -> Prompt:
        """The prompt, without the oldest turns if there is no room for them."""
        while len(self.tokens(prompt).tokens) + max_tokens > self._room:
            if not prompt.history:
                raise MianpuError(
                    f"the question is too long for the chat model, which reads {self._room - max_tokens} tokens: shorten it"
                )
            rest = prompt.history[1:]
            while rest and rest[0].role != "user":
                rest = rest[1:]
            prompt = replace(prompt, history=rest)
        return prompt

    def tokens(self, prompt: Prompt) -> PromptTokens:
        """The whole prompt."""
        blocks = self.blocks(prompt)
        tokens = joined(blocks)
        at = len(joined(blocks[:_PREFIX_BLOCKS]))
        prefix, passages = tokens[:at], []
        for text, block in zip(prompt.passages, blocks[_PREFIX_BLOCKS:], strict=False):
            passages.append((block_name(text), at, at + len(block)))
            at += len(block)
        return PromptTokens(tokens, prefix, tuple(passages))

    def blocks(self, prompt: Prompt) -> list[list[int]]:
        """The tokens of the prompt, block by block: what comes before the first passage (``_PREFIX_BLOCKS``), passages, the rest.

        The passages open the first message of the user. (In the system message, where they read as well, the model used them
        less: 18 of 26 key points against 22.)

        The model's own template says how messages are joined. It is applied to marks, and the marks are replaced by what people
        and documents wrote, tokenised with special tokens switched off: no text can end its own message and begin another.
        """
        turns = [*prompt.history, Turn("user", prompt.question)]
        roles = ["system", *(turn.role for turn in turns)]
        asked = (*prompt.passages, turns[0].text)
        contents: list[tuple[str, ...]] = [(prompt.system,), asked, *((turn.text,) for turn in turns[1:])]
        rendered = self._render([(role, _mark(number)) for number, role in enumerate(roles)])
        if not _keeps_all(rendered, len(roles)):
            raise MianpuError(f"the chat template of {self.name} cannot be used (it drops messages): choose another chat model")
        parts = _MARK.split(rendered)
        blocks = []
        for number, part in enumerate(parts):
            if number % 2:
                blocks += [self.tokenise(text, special=False) for text in contents[int(part)]]
            else:
                blocks.append(self.tokenise(part, special=True))
        if self._api.llama_vocab_get_add_bos(self._vocab):
            first = self._api.llama_vocab_bos(self._vocab)
            blocks[0] = [first, *(t for t in blocks[0] if t != first)]
        return blocks

    def _usable_render(self) -> Render:
        """The way to join messages that keeps all of them: llama.cpp's where it knows the template, else the template itself."""
        if not self._template:
            # No template would mean ChatML to llama.cpp, which this model may never have seen.
            raise MianpuError(f"{self.name} has no chat template: choose an instruction-tuned model")
        source = self._template.decode("utf-8", "replace")
        ways: list[tuple[Render, str]] = [(self._by_llama_cpp, "")]
        complaint = ""
        try:
            own = jinja_render(source, self._special(self._api.llama_vocab_bos), self._special(self._api.llama_vocab_eos))
            ways.append((own, ""))
            ways.append(
                (without_system(own), "its chat template takes no system message: the instructions stand before the passages")
            )
            if "enable_thinking" in source:
                ways = [*ways[1:], ways[0]]
        except MianpuError as error:
            complaint = str(error)
        probe = [("system", _mark(0)), ("user", _mark(1)), ("assistant", _mark(2)), ("user", _mark(3))]
        for render, note in ways:
            try:
                if all(_keeps_all(render(probe[:n]), n) for n in (2, 4)):
                    self.notes = (note,) if note else ()
                    return render
                complaint = "it drops messages"  # the last way's word counts, the first complaint where none got so far
            except MianpuError as error:
                complaint = complaint or str(error)
        raise MianpuError(f"the chat template of {self.name} cannot be used ({complaint}): choose another chat model")

    def _by_llama_cpp(self, messages: Sequence[tuple[str, str]]) -> str:
        array = (self._api.llama_chat_message * len(messages))()
        for slot, (role, content) in zip(array, messages, strict=True):
            slot.role, slot.content = role.encode(), content.encode()
        size = 256 * len(messages) + 1024
        buffer = ctypes.create_string_buffer(size)
        length = self._api.llama_chat_apply_template(self._template, array, len(messages), True, buffer, size)
        if not 0 <= length <= size:
            raise MianpuError("")  # not one that llama.cpp knows; the template itself is tried next
        return buffer.raw[:length].decode("utf-8")

    def _special(self, which: Any) -> str:
        """The text of a special token of the vocabulary; "" when there is none."""
        token = which(self._vocab)
        text = self._api.llama_vocab_get_text(self._vocab, token) if token >= 0 else b""
        return (text or b"").decode("utf-8", "replace")

    def tokenise(self, text: str, *, special: bool) -> list[int]:
        """The tokens of a text; ``special``: what looks like a special token is one."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
        if count < 0:
            raise MianpuError("a text is too long for the chat model: shorten it")
        return list(tokens[:count])


def _mark(number: int) -> str:
    return f"\x1a{number}\x1a"


def _keeps_all(rendered: str, messages: int) -> bool:
    return [int(n) for n in _MARK.split(rendered)[1::2]] == list(range(messages))


def joined(blocks: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The tokens of all blocks, in order."""
    return tuple(token for block in blocks for token in block)


def block_name(passage: str) -> str:
    """What the name of a passage's state begins with; the rest of the name says by which model and behind what it was made."""
    return content_hash(passage)[:24]
