"""The first sentence of an answer is written before all passages are read; what follows is written as if they had been."""

import threading
from collections.abc import Iterator, Sequence

import pytest

from assistant.engine.llama import LlamaChat
from assistant.engine.llm import Prompt, ends_sentence
from tests.real_model import real_chat_model

FACTS = tuple(
    f"【资料】{city}\n{city}的市长叫{mayor},人口是 {people} 万,城里有一条{river}。\n\n"
    for city, mayor, people, river in (
        ("甲川", "孙木", 317, "白水河"),
        ("乙山", "林石", 628, "青泥江"),
        ("丙河", "赵火", 954, "黑石溪"),
    )
)
ALL = Prompt("你是助手,根据资料直接回答,写全每个事实。", FACTS, (), "问题:甲川、乙山和丙河的市长各叫什么?人口各是多少?", opening=1)


@pytest.fixture(scope="module")
def chat() -> Iterator[LlamaChat]:
    model = LlamaChat(real_chat_model())
    yield model
    model.close()


def written(chat: LlamaChat, prompt: Prompt, most: int = 80) -> str:
    chat.forget()
    return "".join(chat.stream(prompt, max_tokens=most, stop=threading.Event(), waiting=lambda ahead: None))


@pytest.mark.model
def test_the_first_sentence_waits_for_the_first_passage_only(chat: LlamaChat) -> None:
    answer = written(chat, ALL)
    timings = chat.last_timings
    assert timings is not None
    first = chat._format.tokens(Prompt(ALL.system, FACTS[:1], (), ALL.question))
    assert timings.prompt_tokens - timings.reused_tokens == len(first.tokens)
    assert "孙木" in answer and "林石" in answer and "赵火" in answer and "954" in answer


@pytest.mark.model
def test_the_rest_is_what_follows_the_first_sentence_when_everything_is_read(chat: LlamaChat) -> None:
    chat.forget()
    whole = tokens_of(chat, ALL)
    chat.forget()
    alone = tokens_of(chat, Prompt(ALL.system, FACTS[:1], (), ALL.question))
    end = next(n for n in range(6, len(alone) + 1) if ends_sentence(text_of(chat, alone[:n])))
    assert whole[:end] == alone[:end]
    chat.forget()
    tokens = [*chat._format.tokens(ALL).tokens, *alone[:end]]
    assert chat.attention.evaluate(tokens, lambda: False)
    rest = list(chat._continued(tokens, 80 - end, lambda: False))
    assert whole[end:][:15] == rest[:15]


def tokens_of(chat: LlamaChat, prompt: Prompt) -> list[int]:
    return list(chat._written(prompt, chat._format.tokens(prompt), 80, lambda: False))


def text_of(chat: LlamaChat, tokens: Sequence[int]) -> str:
    return b"".join(map(chat._piece, tokens)).decode("utf-8", "replace")


@pytest.mark.model
def test_it_never_writes_more_than_it_may_and_stops_at_once(chat: LlamaChat) -> None:
    chat.forget()
    pieces = list(chat.stream(ALL, max_tokens=3, stop=threading.Event(), waiting=lambda ahead: None))
    assert chat.last_timings is not None and chat.last_timings.generated_tokens == 3 and len(pieces) <= 3
    chat.forget()
    stop, seen = threading.Event(), []
    for piece in chat.stream(ALL, max_tokens=200, stop=stop, waiting=lambda ahead: None):
        seen.append(piece)
        stop.set()
    assert len(seen) <= 2


@pytest.mark.model
def test_an_opening_of_all_passages_is_no_opening(chat: LlamaChat) -> None:
    assert written(chat, Prompt(ALL.system, FACTS, (), ALL.question, 3), 40) == written(
        chat, Prompt(ALL.system, FACTS, (), ALL.question), 40
    )


@pytest.mark.parametrize(
    ("text", "ends"),
    [("它占 3.5 GB。", True), ("它占 3.", False), ("It takes more.", True), ("- 一\n", True), ("为什么", False), ("真的？", True)],
)
def test_where_a_sentence_may_end(text: str, ends: bool) -> None:
    assert ends_sentence(text) is ends
