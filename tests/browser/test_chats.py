"""What a person does with chats, in a real browser: the model is scripted, so that each test is over in seconds."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from assistant.answers import answering, history
from assistant.engine.llm import Prompt
from assistant.retrieval.search import search
from tests.browser.conftest import Served, Visitor
from tests.web_desk import ScriptedModel
from web import chat

pytestmark = [
    pytest.mark.browser,
    pytest.mark.model,
    # Gradio's own statistics use options that this pandas will drop.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
LORA = "LoRA 为什么能省显存？"
UNBACKED = "这句话没有依据，写于 2031 年。"


class Copying(ScriptedModel):
    """Writes its pieces; with none, the last line of the first passage, and a sentence that stands nowhere."""

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        line = re.sub(r"^(?:\d+[.)]|[-*])\s*", "", prompt.passages[0].strip().splitlines()[-1])
        writing = ScriptedModel(self.pieces or (line, "\n\n", UNBACKED))
        writing.prompts = self.prompts
        return writing.stream(prompt, max_tokens=max_tokens, stop=stop, waiting=waiting)


@pytest.fixture(autouse=True)
def model(served: Served, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    """What answers in this test; no chat is left from another."""
    model = Copying(())
    monkeypatch.setattr(served.desk.assistant, "chat_model", model)
    for known in history.chats(served.desk.library):
        history.delete_chat(served.desk.library, known.id)
    return model


def ask(page: Page, question: str) -> None:
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    answered(page, question)


def answered(page: Page, question: str) -> None:
    """Wait until the newest question is this one and its answer has ended."""
    expect(page.locator("#live .asked p")).to_have_text(question)
    expect(page.locator("#live .turn[data-stage=done] .again")).to_be_visible()


def test_what_a_follow_up_means_is_shown_and_can_be_changed(visitor: Visitor, served: Served, model: ScriptedModel) -> None:
    page = visitor.open()
    ask(page, LORA)
    ask(page, "那它的缺点呢？")
    meant = page.locator("#live .meant")
    expect(meant).to_contain_text("理解为")
    expect(meant.locator("p")).to_have_text("LoRA 的缺点是什么？")
    meant.locator("button").click()
    meant.locator("textarea").press("Escape")  # nothing was changed
    expect(meant.locator("p")).to_have_text("LoRA 的缺点是什么？")
    meant.locator("button").click()
    meant.locator("textarea").fill("LoRA 的秩怎么选？")
    meant.locator("textarea").press("Enter")
    expect(meant.locator("p")).to_have_text("LoRA 的秩怎么选？")
    answered(page, "那它的缺点呢？")
    assert model.prompts[-1].question.endswith("LoRA 的秩怎么选？")
    turns = chat.turns_of(served.desk, history.chats(served.desk.library)[0].id)
    assert [(turn.question, turn.understood) for turn in turns] == [(LORA, ""), ("那它的缺点呢？", "LoRA 的秩怎么选？")]


def test_the_last_question_is_edited_and_asked_again(visitor: Visitor, served: Served, model: ScriptedModel) -> None:
    page = visitor.open()
    ask(page, LORA)
    page.locator("#live .asked .edit").click()
    box = page.locator("#live .asked textarea")
    expect(box).to_be_focused()
    box.fill("LoRA 的秩怎么选？")
    box.press("Enter")
    answered(page, "LoRA 的秩怎么选？")
    expect(page.locator("#past .turn")).to_have_count(0)

    asked = len(model.prompts)
    model.pieces = ("这一次写得不一样。",)
    page.locator("#live .again").click()
    expect(page.locator("#live .answer > .prose")).to_have_text("这一次写得不一样。")
    answered(page, "LoRA 的秩怎么选？")
    number = history.chats(served.desk.library)[0].id
    assert len(model.prompts) == asked + 1
    assert [message.role for message in history.messages(served.desk.library, number)] == ["user", "assistant"]


def test_a_sentence_without_a_source_is_marked_and_what_follows_is_offered(visitor: Visitor) -> None:
    page = visitor.open()
    ask(page, LORA)
    expect(page.locator("#live .prose .unsupported")).to_contain_text("2031")
    expect(page.locator("#live footer")).to_contain_text("2 句中 1 句有出处")
    offered = page.locator("#live .following button").first
    question = offered.text_content() or ""
    assert question and question != LORA
    offered.click()
    answered(page, question)
    expect(page.locator("#past .following")).to_have_count(0)


def test_an_answer_the_library_may_not_hold_carries_a_warning(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "search", lambda *given, **named: replace(search(*given, **named), sure=False))
    page = visitor.open()
    ask(page, LORA)
    expect(page.locator("#live .unsure")).to_contain_text("请对照出处核对")
    page.reload()
    page.wait_for_selector("html.ready", state="attached")
    page.locator("#chat-list .title").first.click()
    expect(page.locator("#past .unsure")).to_be_visible()  # it is kept with the chat


def test_what_is_read_stays_where_it_is_while_more_is_written(visitor: Visitor, served: Served, model: ScriptedModel) -> None:
    page = visitor.open()
    ask(page, LORA)
    model.pieces = tuple(f"第 {n} 句，写得长一些，好让回答比窗口还高。\n\n" for n in range(40))
    page.evaluate(
        """() => {
          window.tops = [];
          const look = () => {
            const asked = document.querySelector("#past .turn ~ *, #live .asked");
            if (document.querySelector("#past .turn") && asked) window.tops.push(Math.round(asked.getBoundingClientRect().top));
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    ask(page, "LoRA 的秩怎么选？")
    top = page.locator("#live .asked").bounding_box()
    box = page.locator("#conversation").bounding_box()
    assert top and box and 0 <= top["y"] - box["y"] < 60
    tops = page.evaluate("window.tops")
    settled = tops[len(tops) // 3 :]
    assert max(settled) - min(settled) <= 2, sorted(set(settled))
    expect(page.locator("#down-place button")).to_be_visible()
    page.locator("#down-place button").click()
    expect(page.locator("#live .following, #live footer").last).to_be_in_viewport()


def test_chats_are_found_renamed_exported_and_deleted(visitor: Visitor, served: Served, tmp_path: Path) -> None:
    page = visitor.open()
    ask(page, LORA)
    page.locator("#new-chat").click()
    expect(page.locator("#live .turn")).to_have_count(0)
    ask(page, "KV cache 的大小怎么计算？")
    rows = page.locator("#chat-list li")
    expect(rows).to_have_count(2)

    box = page.locator("#chat-search :is(input, textarea)")
    box.fill("省显存")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("LoRA")
    box.fill("没有这样的词")
    expect(page.locator("#chat-list .none")).to_be_visible()
    box.fill("")
    expect(rows).to_have_count(2)

    row = rows.filter(has_text="LoRA")
    row.hover()
    row.locator("[data-act=rename]").click()
    page.locator("#chat-list input").fill("微调 <b>")
    page.locator("#chat-list input").press("Enter")
    expect(rows.filter(has_text="微调 <b>")).to_have_count(1)
    assert [known.title for known in history.chats(served.desk.library)].count("微调 <b>") == 1

    row = rows.filter(has_text="微调 <b>")
    row.hover()
    with page.expect_download() as waiting:
        row.locator(".export").click()
    file = tmp_path / "chat.md"
    waiting.value.save_as(file)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# 微调 <b>\n") and f"## {LORA}\n" in text and UNBACKED in text
    assert re.fullmatch(r"mianpu-\d+\.md", waiting.value.suggested_filename)

    row.hover()
    row.locator("[data-sure]").click()
    expect(rows).to_have_count(2)  # only asked whether it is meant
    row.locator("[data-sure]").click()
    expect(rows).to_have_count(1)
    assert [known.title for known in history.chats(served.desk.library)] == ["KV cache 的大小怎么计算？"]
