"""What a person does on the page, in a real browser against the real models."""

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from assistant.answers import history
from assistant.engine.llm import ChatModel, Prompt
from tests.browser.conftest import Served, Visitor

pytestmark = [
    pytest.mark.browser,
    pytest.mark.model,
    # Gradio's own statistics use options that this pandas will drop.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
ANSWERED = 120_000  # milliseconds; two busy cores read a long prompt slowly


def ask(page: Page, question: str) -> None:
    box = page.locator("#question textarea")
    box.fill(question)
    box.press("Enter")
    expect(page.locator("#live .asked")).to_have_text(question)


def finished(page: Page) -> str:
    """Wait for the end of the newest answer; returns how it ended."""
    turn = page.locator("#live .turn[data-stage=done], #live .turn[data-stage=notfound], #live .turn[data-stage=stopped]")
    expect(turn).to_be_visible(timeout=ANSWERED)
    return turn.get_attribute("data-stage") or ""


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_two_questions_and_a_citation_that_opens_its_document(visitor: Visitor, served: Served) -> None:
    page = visitor.open()
    ask(page, "缩放点积注意力为什么要除以 √d_k？")
    expect(page.locator("#live .quote")).to_be_visible()  # the library's own words stand there before anything is written
    expect(page.locator("#stop")).to_be_visible()
    assert finished(page) == "done"
    expect(page.locator("#live footer")).to_contain_text("有出处")
    assert page.locator("#sources .passage").count() >= 1

    citation = page.locator("#live .cite").first
    start, end = (int(citation.get_attribute(f"data-{side}") or -1) for side in ("start", "end"))
    text = served.desk.library.document(citation.get_attribute("data-open") or "").text
    citation.click()
    mark = page.locator("#reader mark").first
    expect(mark).to_be_in_viewport()
    marked = "".join(page.locator("#reader mark").all_text_contents())
    plain = re.compile(r"[\s$*`\\{}]|^\d+\.")
    assert plain.sub("", marked)[:12] in plain.sub("", text[start:end])
    page.keyboard.press("Escape")
    expect(page.locator("#sources .passage").first).to_be_visible()

    ask(page, "LoRA 为什么能省显存？")
    assert finished(page) == "done"
    expect(page.locator("#past .turn")).to_have_count(1)
    assert len(history.messages(served.desk.library, history.chats(served.desk.library)[0].id)) == 4


def test_formulas_are_drawn(visitor: Visitor) -> None:
    page = visitor.open(path="/#library")
    page.locator("#documents .row").filter(has_text="01-attention.md").click()
    expect(page.locator("#reader-dialog m-tex").first.locator(".katex")).to_be_visible()


class Unhurried:
    """The real model, with a long pause behind every piece: what it writes must not be over before the test stops it."""

    def __init__(self, model: ChatModel) -> None:
        self.name, self._model = model.name, model

    def token_count(self, text: str) -> int:
        return self._model.token_count(text)

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        for piece in self._model.stream(prompt, max_tokens=max_tokens, stop=stop, waiting=waiting):
            yield piece
            stop.wait(20)


def test_stop_frees_the_page_at_once(served: Served, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = served.desk.assistant.chat_model
    assert model is not None
    monkeypatch.setattr(served.desk.assistant, "chat_model", Unhurried(model))
    page = visitor.open()
    ask(page, "KV cache 的大小怎么计算？请详细说明每一项。")
    expect(page.locator("#live .turn[data-stage=reading], #live .turn[data-stage=writing]")).to_be_visible(timeout=ANSWERED)
    page.locator("#stop").click()
    began = time.monotonic()
    expect(page.locator("#live .turn[data-stage=stopped]")).to_be_visible(timeout=10_000)
    expect(page.locator("#send")).to_be_visible()
    assert time.monotonic() - began < 3
    page.reload()
    page.wait_for_selector("html.ready", state="attached")
    page.locator("#chat-list .title").first.click()
    expect(page.locator("#past .turn[data-stage=stopped]")).to_be_visible()


def test_two_browsers_are_both_answered(visitor: Visitor) -> None:
    first, second = visitor.open(), visitor.open(locale="en-US")
    ask(first, "自注意力中 Q、K、V 为什么要用三组不同的投影矩阵？")
    ask(second, "LoRA 的秩怎么选？")
    assert finished(first) == "done"
    assert finished(second) == "done"


def test_an_interview_question_is_marked(visitor: Visitor) -> None:
    page = visitor.open(path="/#interview")
    page.locator("#topic label").filter(has_text="注意力").first.click()
    page.locator("#begin").click()
    question = page.locator("#asked .question")
    expect(question).to_be_visible()
    page.locator("#answer textarea").fill("点积的方差随维度变大，softmax 会饱和、梯度消失，除以根号 d_k 把方差拉回 1。")
    page.locator("#submit").click()
    checklist = page.locator("#marks .checklist li")
    expect(checklist.first).to_be_visible()
    assert checklist.count() >= 2 and page.locator("#marks .checklist .sign").first.text_content() in ("✓", "✗")
    expect(page.locator("#marks .reference .prose")).to_be_visible()
    before = page.locator("#due .due-note").text_content()
    page.locator("#rate-Easy").click()
    expect(page.locator("#due .due-note")).to_contain_text("简单")
    assert before and "下次复习" in before
    page.locator("#marks .reference .source").click()
    expect(page.locator("#reader-dialog mark").first).to_be_in_viewport()
    page.keyboard.press("Escape")

    page.reload()  # nothing is lost: the interview is taken up where it stood
    page.wait_for_selector("html.ready", state="attached")
    page.locator("[data-send='interview:resume']").click()
    expect(page.locator("#marks .graded")).to_be_visible()
    page.locator("#end").click()
    expect(page.locator("#asked .report > li")).to_have_count(1)
    page.locator("#view-progress-button").click()
    expect(page.locator("#progress .tile").first).to_be_visible()


def test_a_concept_and_a_walk_to_its_neighbour(visitor: Visitor) -> None:
    page = visitor.open(path="/#concepts")
    page.locator("#concept-search").fill("lora")
    page.locator("#concept-index li:visible button").first.click()
    expect(page.locator("#concept-page h2")).to_contain_text("LoRA")
    expect(page.locator("#concept-page .definition")).not_to_be_empty()
    neighbour = page.locator("svg.map .node.ring-1").first
    name = neighbour.locator("text").text_content() or ""
    neighbour.click()
    expect(page.locator("#concept-page h2")).to_have_text(name.removesuffix("…"))
    expect(page.locator("svg.map .node.ring-0 text")).to_have_text(name)
    page.locator("svg.map .node.ring-1").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#concept-page h2")).not_to_have_text(name)
    page.go_back()
    expect(page.locator("#concept-page h2")).to_have_text(name.removesuffix("…"))

    page.locator("form.path [name=a]").fill("LoRA")
    page.locator("form.path [name=b]").fill("自注意力")
    page.locator("form.path button").click()
    expect(page.locator(".path-result .evidence, .path-result .notice").first).to_be_visible()


def test_a_hostile_note_is_only_text(visitor: Visitor) -> None:
    page = visitor.open(path="/#library")
    page.locator("#documents .row").filter(has_text="hostile.md").click()
    shown = page.locator("#reader-dialog .reader-text")
    expect(shown).to_contain_text('<img src=x onerror="window.hacked = 1">')
    expect(shown).to_contain_text("[链接](javascript:window.hacked=1)")
    assert page.locator("#reader-dialog :is(img, script, svg, a)").count() == 0
    page.keyboard.press("Escape")
    page.locator("#view-chat-button").click()
    ask(page, "奶酪缓存是什么？<img src=x onerror=window.hacked=1>")
    finished(page)
    assert page.locator("#chat :is(img, script, a:not(.export))").count() == 0
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    ("locale", "words"), [("zh-CN", ("对话", "面试", "问你的笔记")), ("en-US", ("Chat", "Interview", "Ask your notes"))]
)
def test_the_page_speaks_the_browsers_language_at_every_width(
    visitor: Visitor, locale: str, words: tuple[str, ...], width: int
) -> None:
    page = visitor.open(locale, width)
    for word in words:
        expect(page.get_by_text(word, exact=True).first).to_be_visible()
    for view in ("chat", "interview", "concepts", "library", "progress"):
        page.locator(f"#view-{view}-button").click()
        expect(page.locator(f"#view-{view}")).to_be_visible()
        assert no_sideways_scroll(page), view
    page.locator(".language").click()
    other = "en" if locale == "zh-CN" else "zh-CN"
    page.wait_for_selector(f"html[lang={other}].ready", state="attached")


def test_a_cut_is_put_back_and_taken_out_again(visitor: Visitor) -> None:
    page = visitor.open(path="/#library")
    page.click("#documents button.row[data-open='cut.md']")
    text = page.locator(".reader-text .prose")
    expect(text).not_to_contain_text("阅读量")
    page.locator(".cuts summary").click()
    page.locator(".mend").click()
    expect(page.locator(".reader-said.good")).to_contain_text("cut.md")
    expect(text).to_contain_text("阅读量 3210")
    page.locator("[data-send='library:undo']").click()
    expect(text).not_to_contain_text("阅读量")
    expect(page.locator("[data-send='library:undo']")).to_have_count(0)
