"""Follow-ups: each rule by an example, standalone questions untouched, and the labelled turns beside the plain way."""

import time
from pathlib import Path

import pytest

from assistant.answers import prompts
from assistant.answers.dialogue import Resolved, resolve
from assistant.engine.llm import Turn
from assistant.measures.dialogue_evaluation import (
    SPLITS,
    DialogueTurn,
    by_rules,
    evaluate_dialogue,
    joined_with_the_last,
    measure,
    read_turns,
)
from ingest.errors import UsageError
from kg.concepts import Glossary

LABELLED = Path(__file__).parent / "bench" / "dialogues.jsonl"


@pytest.fixture(scope="module")
def glossary() -> Glossary:
    return Glossary.load()


@pytest.mark.parametrize(
    ("earlier", "question", "understood"),
    [
        ("QLoRA 的缺点是什么？", "那 LoRA 呢", "LoRA 的缺点是什么？"),
        ("MQA 是什么？", "和 GQA 比呢", "MQA 和 GQA 比较"),
        ("MQA 是什么？", "GQA 比它好在哪", "GQA 比 MQA 好在哪"),
        ("MQA 是什么？", "那它的缺点呢?", "MQA 的缺点是什么?"),
        ("MQA 和 GQA 有什么区别？", "后者怎么分组", "GQA 怎么分组"),
        ("GPTQ 和 AWQ 有什么区别？", "它们都要校准吗", "GPTQ 和 AWQ 都要校准吗"),
        ("介绍一下奶酪缓存", "它的缺点呢", "奶酪缓存的缺点是什么"),  # nothing the glossary knows
        ("奶酪缓存为什么比 KV cache 快", "怎么实现", "奶酪缓存怎么实现"),
        ("KV cache 是什么？", "为什么？", "KV cache 是什么？为什么？"),
        ("KV cache 是什么？", "上述公式里的 2 从哪来", "KV cache 的公式里的 2 从哪来"),
        ("What is QLoRA?", "what about its drawbacks?", "what about QLoRA's drawbacks?"),
        ("Why does FlashAttention save memory?", "and the backward pass?", "What about the backward pass of FlashAttention?"),
        ("什么是旋转位置编码？", "What are its limits?", "What are Rotary Position Embedding's limits?"),
    ],
)
def test_a_follow_up_becomes_a_question_of_its_own(glossary: Glossary, earlier: str, question: str, understood: str) -> None:
    assert resolve(question, [earlier], glossary) == Resolved(understood, True)


@pytest.mark.parametrize(
    "question",
    [
        "RoPE 为什么能外推？",
        "LoRA 是什么，它为什么省显存？",  # the pronoun means what the question names itself
        "显存不足时有哪些办法",
        "那么大的词表会不会拖慢训练",
        "这两年主流的开源大模型有哪些",
        "How long does it take to train a 7B model?",
        "Is it possible to run a 70B model on one GPU?",
    ],
)
def test_a_question_with_a_subject_of_its_own_is_left_alone(glossary: Glossary, question: str) -> None:
    assert resolve(question, ["什么是 MQA？"], glossary) == Resolved(question, False)


def test_the_first_question_is_never_changed(glossary: Glossary) -> None:
    assert resolve("它为什么  快？", [], glossary) == Resolved("它为什么  快？", False)


def test_the_subject_moves_with_the_conversation(glossary: Glossary) -> None:
    earlier = ["LoRA 的缺点是什么？", "那 QLoRA 呢"]
    assert resolve("它用了什么数据类型", earlier, glossary).text == "QLoRA 用了什么数据类型"
    assert resolve("两者能一起用吗", earlier, glossary).text == "LoRA 和 QLoRA 能一起用吗"
    assert resolve("它快吗", [*earlier, "幻觉怎么产生的", "Adam 是什么"], glossary).text == "Adam 快吗"


def test_labelled_turns_are_understood_far_better_than_by_joining(glossary: Glossary) -> None:
    turns = read_turns(LABELLED)
    assert len(turns) >= 60
    for split in SPLITS:
        part = [turn for turn in turns if turn.split == split]
        rules, plain = measure(part, glossary, by_rules), measure(part, glossary, joined_with_the_last)
        assert rules.understood >= 0.9 > 0.6 > plain.understood, rules.wrong
        assert rules.unchanged >= 0.9 > plain.unchanged, rules.wrong


def test_the_measure_itself(glossary: Glossary) -> None:
    followup = DialogueTurn("a", "held_out", True, "zh", ("QLoRA 的缺点是什么？",), "那 LoRA 呢", ("LoRA",), ("缺点",))
    alone = DialogueTurn("b", "held_out", False, "zh", ("什么是 MQA",), "RoPE 是什么")
    figures = measure([followup, alone], glossary, lambda question, earlier, _: f"{earlier[-1]} {question}")
    assert (figures.named, figures.exact, figures.understood, figures.unchanged) == (1, 0, 0, 0)  # QLoRA stands there too
    assert measure([followup, alone], glossary, lambda question, *_: question).named == 1
    figures = measure([followup, alone], glossary, lambda question, *_: "LoRA 的缺点" if "呢" in question else question)
    assert (figures.exact, figures.understood, figures.unchanged, figures.wrong) == (1, 1, 1, ())


def test_the_report_has_both_ways_by_split() -> None:
    report = evaluate_dialogue(LABELLED, Glossary.load())
    assert list(report) == ["development", "held_out"]
    assert set(report["held_out"]) == {"rules", "joined"}


def test_a_line_that_is_no_turn_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "a"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="line 1"):
        read_turns(tmp_path / "x.jsonl")


def test_two_hundred_turns_stay_quick_and_the_prompt_short(glossary: Glossary) -> None:
    earlier = [f"第 {n} 问：MQA 的第 {n} 个缺点是什么？" for n in range(200)]
    began = time.process_time()
    assert resolve("它的优点呢", earlier, glossary).text == "MQA 的优点是什么"
    assert time.process_time() - began < 0.5
    said = [Turn(role, text * 20) for text in earlier for role in ("user", "assistant")]
    prompt = prompts.prompt("它的优点呢", [], said)
    assert len(prompt.history) == prompts.HISTORY_TURNS and prompt.history[0].role == "user"
    assert sum(len(turn.text) for turn in prompt.history) < 1300
