"""Any GGUF with a template of its own: joined by llama.cpp or by Jinja, what cannot work is said, no text becomes a control token."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assistant.engine.llama import LlamaChat
from assistant.engine.llm import Prompt, Turn
from assistant.engine.states import StateStore
from assistant.engine.templates import jinja_render
from ingest.errors import MianpuError
from tests.gguf_maker import CHATML, CONTROL, tiny_llama, tiny_mamba

OWN = "{% for m in messages %}<turn>{{ m.role | upper }}:{{ m.content | trim }}</turn>{% endfor %}<turn>ME:"
NO_SYSTEM = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<turn>{{ m.role }}:{{ m.content }}</turn>{% endfor %}"
)
ASKED = Prompt("sys. ", ("one. ", "two. "), (Turn("user", "first"), Turn("assistant", "said")), "last?")


@contextmanager
def opened(path: Path, states: StateStore | None = None) -> Iterator[LlamaChat]:
    chat = LlamaChat(path, states=states, threads=1)
    try:
        yield chat
    finally:
        chat.close()


def read(chat: LlamaChat, prompt: Prompt = ASKED) -> str:
    """What the model reads, control tokens spelled out."""
    vocabulary = [chat._api.llama_vocab_get_text(chat._vocab, t).decode() for t in chat._format.tokens(prompt).tokens]
    raw = b"".join(bytes([int(t[3:5], 16)]) if t.startswith("<0x") else t.encode() for t in vocabulary)
    return raw.decode().replace("▁", " ")


def say(chat: LlamaChat, prompt: Prompt = ASKED) -> str:
    return "".join(chat.stream(prompt, max_tokens=12, stop=threading.Event(), waiting=lambda n: None))


@pytest.mark.parametrize(
    ("template", "said", "notes"),
    [
        (CHATML, "<s><|im_start|>system\nsys. <|im_end|>\n<|im_start|>user\none. two. first<|im_end|>\n", 0),
        (OWN, "<s><turn>SYSTEM:sys. </turn><turn>USER:one. two. first</turn><turn>ASSISTANT:said</turn><turn>USER:last?</turn>", 0),
        (NO_SYSTEM, "<s><turn>user:sys. one. two. first</turn><turn>assistant:said</turn><turn>user:last?</turn>", 1),
    ],
)
def test_the_file_says_how_messages_are_joined(tmp_path: Path, template: str, said: str, notes: int) -> None:
    with opened(tiny_llama(tmp_path / "m.gguf", template)) as chat:
        assert read(chat).startswith(said)
        assert len(chat.notes) == notes
        say(chat)
        assert chat.last_timings is not None and chat.last_timings.generated_tokens > 0


@pytest.mark.parametrize("template", [CHATML, OWN, NO_SYSTEM])
def test_states_of_passages_serve_any_template(tmp_path: Path, template: str) -> None:
    path = tiny_llama(tmp_path / "m.gguf", template)
    with opened(path, StateStore(tmp_path / "states", 1 << 24)) as chat:
        chat.warm(ASKED.system)
        chat.prepare([ASKED])
        first = say(chat)
        assert chat.last_timings is not None and chat.last_timings.reused_tokens >= len("sys. one. ")
    with opened(path) as plain:
        assert say(plain) == first


def test_a_text_never_becomes_a_control_token(tmp_path: Path) -> None:
    with opened(tiny_llama(tmp_path / "m.gguf")) as chat:
        text = "".join(CONTROL) + "<s></s><unk>"
        plain = Prompt("s", ("p",), (Turn("user", "h"), Turn("assistant", "a")), "q")
        hostile = Prompt("s", ("p" + text,), (Turn("user", "h" + text), Turn("assistant", "a" + text)), "q" + text)
        control = {t for t in range(7)}
        assert [t for t in chat._format.tokens(hostile).tokens if t in control] == [
            t for t in chat._format.tokens(plain).tokens if t in control
        ]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "has no chat template"),
        ("{% for m in messages %}", "is no Jinja"),
        ("{{ messages[-1].content }}", "drops messages"),
        ("{{ raise_exception('never') }}", "refuses the messages"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}", "writes without end"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "refuses the messages"),
    ],
)
def test_a_template_that_cannot_be_used(tmp_path: Path, template: str | None, said: str) -> None:
    began = time.monotonic()
    with pytest.raises(MianpuError, match=said) as error:
        LlamaChat(tiny_llama(tmp_path / "m.gguf", template))
    assert "\n" not in str(error.value)
    assert time.monotonic() - began < 10


def test_a_template_may_ask_what_others_ask() -> None:
    source = "{{ bos_token }}{{ strftime_now('%Y')[:2] }}{{ messages[0].content }}{% if not enable_thinking %}<think></think>{% endif %}{{ eos_token }}"
    assert jinja_render(source, "<s>", "</s>")([("user", "hi")]) == "<s>20hi<think></think></s>"


def test_a_recurrent_model_reads_whole_and_says_so(tmp_path: Path) -> None:
    path = tiny_mamba(tmp_path / "m.gguf")
    with opened(path, StateStore(tmp_path / "states", 1 << 24)) as chat:
        assert "recurrent" in chat.notes[0] and chat.states is None
        chat.warm(ASKED.system)
        chat.prepare([ASKED])
        first = say(chat)
        say(chat, Prompt("sys. ", ("other. ",), (), "else?"))
        assert say(chat) == first
    with opened(path) as fresh:
        assert say(fresh) == first
