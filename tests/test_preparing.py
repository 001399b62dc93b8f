"""What is read ahead: the passages of the question bank, anew when the library has changed; what is gone is forgotten."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from assistant.answers import prompts
from assistant.engine.llm import Prompt
from assistant.engine.preparing import prepare
from tests.small_library import parsed, publish, small_library


class Model:
    """Takes note of what it is asked to prepare."""

    def __init__(self) -> None:
        self.wanted: Iterator[Prompt | None] = iter(())
        self.kept: list[set[str]] = []

    def fill_when_idle(self, wanted: Iterator[Prompt | None]) -> None:
        self.wanted = wanted

    def keep_only_states_of(self, passages: Iterable[str]) -> None:
        self.kept.append(set(passages))

    def until_done(self) -> list[Prompt]:
        return list(iter(lambda: next(self.wanted), None))


def test_the_passages_of_answered_questions_come_in_their_language(tmp_path: Path) -> None:
    chinese = parsed("a.md", ["不是问题的一段。"], [("什么是注意力？", "给每个位置加权。"), ("没有答案的问题？", "")])
    english = parsed("b.md", [], [("What is a KV cache?", "Keys and values kept.")])
    with small_library(tmp_path, chinese, english) as library:
        model = Model()
        prepare(library, model)
        wanted = model.until_done()
        passages = {p.text: p for p in library.all_passages()}
        assert wanted == [
            prompts.passage_prompt(passages["什么是注意力？\n给每个位置加权。"], "zh"),
            prompts.passage_prompt(passages["What is a KV cache?\nKeys and values kept."], "en"),
        ]
        assert all(len(prompt.passages) == 1 and not prompt.question for prompt in wanted)
        assert next(model.wanted) is None  # nothing changed


def test_a_change_of_the_library_is_noticed_and_what_is_gone_is_forgotten(tmp_path: Path) -> None:
    with small_library(
        tmp_path, parsed("a.md", [], [("甲是什么？", "甲。")]), parsed("b.md", [], [("乙是什么？", "乙。")])
    ) as library:
        model = Model()
        prepare(library, model)
        assert len(model.until_done()) == 2
        before = model.kept[-1]
        publish(library, parsed("c.md", [], [("丙是什么？", "丙。")]), removed=["a.md"])
        assert [p.passages[0].split("\n")[1] for p in model.until_done()] == ["乙是什么？", "丙是什么？"]
        gone = before - model.kept[-1]
        assert len(gone) == 2 and all("甲" in block for block in gone)  # in both languages
