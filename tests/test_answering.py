"""The stream of events, with a scripted chat model and a scripted search; then once with everything real."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from assistant.answers import answering, history
from assistant.answers.answering import (
    Answer,
    Assistant,
    CheckedSentence,
    Citation,
    Done,
    Event,
    NotFound,
    Passages,
    Quote,
    Searching,
    Sentence,
    Stopped,
    Token,
    Turn,
    Understood,
    Waiting,
    answer,
    answer_from_json,
    answer_to_json,
)
from assistant.engine.llama import LlamaChat
from assistant.engine.llm import Prompt
from assistant.retrieval.values import Hit, SearchResult
from ingest.document import Passage
from ingest.errors import MianpuError
from ingest.models.embedding import load_embedder
from ingest.models.model_files import chat_model_path, embedding_model_folder
from ingest.pipeline import ingest
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from tests.fakes import WordEmbedder
from tests.small_library import GLOSSARY, parsed, small_library

CACHE = "KV 缓存保存键和值。缓存占用显存。"
ANSWER = "键和值不再重算。显存换时间。"
QUESTION = "什么是 KV 缓存？"


class Scripted:
    """Says its pieces; ``before`` is called ahead of each. What it was asked is kept."""

    name = "scripted"

    def __init__(
        self, *pieces: str, before: Callable[[threading.Event], None] = lambda stop: None, places: Sequence[int] = (0,)
    ) -> None:
        self.pieces, self.before, self.places = pieces, before, places
        self.prompts: list[Prompt] = []
        self.stopped = False
        self.warmed: list[str] = []

    def token_count(self, text: str) -> int:
        return len(text)

    def warm(self, system: str) -> None:
        self.warmed.append(system)

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        self.prompts.append(prompt)
        for place in self.places:
            waiting(place)
        for piece in self.pieces:
            self.before(stop)
            if stop.is_set():
                self.stopped = True
                return
            yield piece


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = small_library(
        tmp_path / "library",
        parsed("a.md", [CACHE, "位置编码给出顺序。"], headings=("推理",)),
        parsed("b.md", [], [("KV 缓存有什么用？", ANSWER)]),
    )
    yield library
    library.close()


Search = Callable[..., None]


@pytest.fixture
def found(library: Library, monkeypatch: pytest.MonkeyPatch) -> Search:
    """Let the search find these passages (numbers in the library's order); ``pairs`` gives hits the pair of b.md."""

    def script(*numbers: int, answered: bool = True, asked: float = 0.0) -> None:
        passages, (pair,) = library.all_passages(), library.all_pairs()

        def search(question: str, *_: object, **__: object) -> SearchResult:
            hits = tuple(
                Hit(passages[n], 1.0 - 0.1 * rank, {"question": asked if passages[n].document == "b.md" else 0.0}, 0.9,
                    pair if passages[n].document == "b.md" else None)
                for rank, n in enumerate(numbers)
            )  # fmt: skip
            nearest = tuple(Glossary.parse(GLOSSARY).concepts.values())[:2]
            return SearchResult(question, hits, 0.9 if answered else 0.1, answered, nearest)

        monkeypatch.setattr(answering, "search", search)

    return script


def assistant(library: Library, model: Scripted | None) -> Assistant:
    return Assistant(library, WordEmbedder(), ConceptGraph.build(library, Glossary.parse(GLOSSARY)), model)


def events(library: Library, model: Scripted | None, question: str = QUESTION, turns: Sequence[Turn] = ()) -> list[Event]:
    return list(answer(question, turns, assistant(library, model), threading.Event()))


def kinds(events: Sequence[Event]) -> list[str]:
    names = [type(event).__name__ for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def last(events: Sequence[Event]) -> Answer:
    end = events[-1]
    assert isinstance(end, Done | Stopped)
    return end.answer


def cited(library: Library, sentence: CheckedSentence) -> list[str]:
    return [library.document(c.document).text[c.start : c.end] for c in sentence.citations]


def test_the_order_of_events(library: Library, found: Search) -> None:
    found(0)
    got = events(library, Scripted("KV 缓存保存", "键和值。缓存占", "用显存。"))
    assert kinds(got) == ["Searching", "Passages", "Quote", "Waiting", "Token", "Sentence", "Token", "Sentence", "Done"]
    assert "".join(e.text for e in got if isinstance(e, Token)) == "KV 缓存保存键和值。缓存占用显存。"
    done = last(got)
    assert done.text == "KV 缓存保存键和值。缓存占用显存。"
    assert done.answered
    assert [s.text for s in done.sentences] == ["KV 缓存保存键和值。", "缓存占用显存。"]
    assert [s for e in got if isinstance(e, Sentence) for s in [e.sentence]] == list(done.sentences)
    assert list(done.seconds) == ["search", "quote", "first_token", "total"]
    assert list(done.seconds.values()) == sorted(done.seconds.values())


def test_a_sentence_is_checked_as_soon_as_the_next_begins(library: Library, found: Search) -> None:
    found(0)
    got = events(library, Scripted("KV 缓存保存键和值。", "缓", "存占用显存。"))
    assert [type(e) for e in got if isinstance(e, Token | Sentence)] == [Token, Token, Sentence, Token, Sentence]


def test_each_sentence_carries_its_place_in_the_document(library: Library, found: Search) -> None:
    found(1, 0)
    one, two, three = last(events(library, Scripted("缓存占用显存。位置编码给出顺序。共 7 个。"))).sentences
    assert (cited(library, one), one.citations[0].number, one.supported) == (["缓存占用显存。"], 2, True)
    assert (cited(library, two), two.citations[0].number, two.supported) == (["位置编码给出顺序。"], 1, True)
    assert (three.citations, three.supported) == ((), False)


def test_the_model_reads_system_passages_history_and_question_apart(library: Library, found: Search) -> None:
    found(0, 1)
    model = Scripted("好。")
    turns = (Turn("user", "你好"), Turn("assistant", "你好，请提问。"))
    events(library, model, turns=turns)
    (prompt,) = model.prompts
    assert [CACHE in block for block in prompt.passages] == [True, False]
    assert [turn.role for turn in prompt.history] == ["user", "assistant"]
    assert "你好" in prompt.history[0].text
    assert QUESTION in prompt.question
    assert CACHE not in prompt.system


def test_headings_and_lead_ins_are_not_judged(library: Library, found: Search) -> None:
    found(0)
    done = last(events(library, Scripted("## 缓存\n要点如下：\n- 缓存占用显存\n")))
    assert [s.text for s in done.sentences] == ["- 缓存占用显存"]
    assert done.text == "## 缓存\n要点如下：\n- 缓存占用显存"


def test_a_repetition_at_the_end_is_dropped(library: Library, found: Search) -> None:
    found(0)
    done = last(events(library, Scripted("缓存占用显存。", "缓存占用显存。", "缓存占用")))
    assert done.text == "缓存占用显存。"
    assert len(done.sentences) == 1


def test_no_answer_in_the_library_means_no_generation(library: Library, found: Search) -> None:
    found(0, 1, answered=False)
    model = Scripted("我猜是这样。")
    got = events(library, model)
    assert kinds(got) == ["Searching", "NotFound", "Done"]
    assert model.prompts == []
    said = got[1]
    assert isinstance(said, NotFound)
    assert said.text.startswith("资料中没有找到")
    assert [c.name for c in said.nearest] == ["自注意力", "多头注意力"]
    assert [h.passage.text for h in said.near] == [CACHE, "位置编码给出顺序。"]
    done = last(got)
    assert (done.answered, done.text, done.sentences, done.hits) == (False, said.text, (), said.near)


def test_no_answer_is_said_in_the_language_of_the_question(library: Library, found: Search) -> None:
    found(answered=False)
    said = events(library, None, "What is RLHF?")[1]
    assert isinstance(said, NotFound)
    assert "no answer" in said.text


def test_the_quotation_is_the_answer_of_a_matching_pair(library: Library, found: Search) -> None:
    found(0, 2, asked=0.9)
    (quote,) = [e for e in events(library, Scripted("好。")) if isinstance(e, Quote)]
    (pair,) = library.all_pairs()
    assert [s.text for s in quote.sentences] == [pair.answer.strip()]
    assert [cited(library, s) for s in quote.sentences] == [[pair.answer.strip()]]
    assert {c.number for s in quote.sentences for c in s.citations} == {2}
    assert all(s.supported and s.support == 1.0 for s in quote.sentences)


def test_without_a_matching_pair_the_nearest_sentences_are_quoted(library: Library, found: Search) -> None:
    found(0, 2, asked=0.2)
    (quote,) = [e for e in events(library, Scripted("好。"), "缓存占用显存吗？") if isinstance(e, Quote)]
    assert any("缓存占用显存。" in s.text for s in quote.sentences)
    for sentence in quote.sentences:
        assert cited(library, sentence) == [sentence.text]


def test_without_a_chat_model_the_answer_is_quoted(library: Library, found: Search) -> None:
    found(0, 1)
    got = events(library, None, "缓存占用显存吗？")
    assert kinds(got)[:3] == ["Searching", "Passages", "Quote"]
    assert kinds(got)[-1] == "Done"
    done = last(got)
    assert done.answered
    assert "缓存占用显存。" in done.text
    assert done.sentences
    for sentence in done.sentences:
        assert sentence.text in done.text
        assert cited(library, sentence) == [sentence.text]


def test_the_place_in_the_queue_is_told(library: Library, found: Search) -> None:
    found(0)
    got = events(library, Scripted("好。", places=(2, 1, 0)))
    assert [e.ahead for e in got if isinstance(e, Waiting)] == [2, 1, 0]


def test_stopping_keeps_what_was_written(library: Library, found: Search) -> None:
    found(0)
    stop = threading.Event()
    model = Scripted("缓存占用显存。", "位置", "编码", before=lambda cancel: (cancel.wait(5) if stop.is_set() else None, None)[1])
    got: list[Event] = []
    for event in answer(QUESTION, (), assistant(library, model), stop):
        got.append(event)
        if isinstance(event, Token) and event.text == "位置":
            stop.set()
    assert isinstance(got[-1], Stopped)
    assert last(got).text == "缓存占用显存。位置"
    assert last(got).sentences[0].text == "缓存占用显存。"


def test_stopping_ends_within_a_second_even_when_nothing_comes(library: Library, found: Search) -> None:
    found(0)
    stop = threading.Event()
    model = Scripted("nie", before=lambda cancel: (cancel.wait(30), None)[1])
    began = 0.0
    for event in answer(QUESTION, (), assistant(library, model), stop):
        if isinstance(event, Waiting):
            threading.Timer(0.2, stop.set).start()
            began = time.monotonic()
    assert isinstance(event, Stopped)
    assert time.monotonic() - began < 1.2
    assert model.stopped


def test_leaving_early_stops_the_model(library: Library, found: Search) -> None:
    found(0)
    model = Scripted("a", "b", before=lambda cancel: (cancel.wait(0.2), None)[1])
    stream = answer(QUESTION, (), assistant(library, model), threading.Event())
    for event in stream:
        if isinstance(event, Token):
            break
    stream.close()  # type: ignore[attr-defined]
    assert model.stopped


def test_a_failing_model_fails_the_answer(library: Library, found: Search) -> None:
    found(0)

    def fail(stop: threading.Event) -> None:
        raise MianpuError("the chat model failed: ask again")

    with pytest.raises(MianpuError, match="ask again"):
        events(library, Scripted("a", before=fail))


def test_a_follow_up_is_searched_and_asked_as_it_is_understood(library: Library, found: Search) -> None:
    found(0)
    model = Scripted(ANSWER)
    turns = [Turn("user", "什么是 KV 缓存？"), Turn("assistant", "保存键和值。")]
    seen = events(library, model, "它有什么缺点？", turns)
    assert [e.text for e in seen if isinstance(e, Understood)] == ["KV 缓存有什么缺点？"]
    assert [e.result.question for e in seen if isinstance(e, Passages)] == ["KV 缓存有什么缺点？"]
    assert model.prompts[-1].question == "问题:KV 缓存有什么缺点？"
    assert last(seen).question == "它有什么缺点？"


def test_the_asker_says_what_a_follow_up_means(library: Library, found: Search) -> None:
    found(0)
    turns = [Turn("user", "什么是 KV 缓存？"), Turn("assistant", "保存键和值。")]
    seen = list(answer("它呢", turns, assistant(library, Scripted(ANSWER)), threading.Event(), understood="显存怎么算？"))
    assert [e.text for e in seen if isinstance(e, Understood)] == ["显存怎么算？"]
    assert [e.result.question for e in seen if isinstance(e, Passages)] == ["显存怎么算？"]


def test_an_english_follow_up_is_answered_in_english(library: Library, found: Search) -> None:
    found(0)
    model = Scripted(ANSWER)
    events(library, model, "What are its limits?", [Turn("user", "什么是奶酪缓存？"), Turn("assistant", "没有。")])
    assert model.prompts[-1].question == "Question: What are 奶酪缓存's limits?\nAnswer in English."


def test_the_graph_follows_the_library(library: Library) -> None:
    made = assistant(library, None)
    before = made.graph
    assert made.graph is before
    with library.transaction() as connection:
        connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'generation'")
    assert made.graph is not before
    assert made.graph.generation == library.generation()


def test_warming_reads_both_system_texts_and_the_centres_are_kept(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    monkeypatch.setattr(answering, "search", lambda question, *_, **__: searched.append(question))
    model = Scripted()
    made = assistant(library, model)
    made.warm()
    assert len(searched) == 1
    assert len(set(model.warmed)) == 2
    kept = library.meta("centres-words")
    assert kept is not None and len(json.loads(kept)) == 2
    embedder = WordEmbedder()
    again = Assistant(library, embedder, made.graph, None)
    assert again.centres.chinese == pytest.approx(made.centres.chinese, abs=1e-6)
    assert embedder.encoded == []


def test_an_answer_survives_json_and_the_chat_history(library: Library, found: Search) -> None:
    found(0, 2, asked=0.9)
    done = last(events(library, Scripted("缓存占用显存。共 7 个。")))
    chat = history.new_chat(library, "缓存")
    history.add_message(library, chat, "assistant", done.text, json.dumps(answer_to_json(done), ensure_ascii=False))
    (message,) = history.messages(library, chat)
    again = answer_from_json(json.loads(message.detail))
    assert again == done
    assert isinstance(again.hits[0].passage, Passage)
    assert isinstance(again.sentences[0].citations[0], Citation)
    assert again.hits[1].pair is not None


@pytest.mark.model
def test_with_everything_real(tmp_path: Path) -> None:
    try:
        model_path = chat_model_path(os.environ.get("MIANPU_TEST_GGUF"), fetch=False)
        folder = embedding_model_folder(fetch=False)
    except MianpuError as error:
        pytest.skip(str(error))
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "cache.md").write_text(
        "# 推理加速\n\n## 什么是 KV 缓存？\n\nKV 缓存在解码时保存每一层已经算过的键和值,新词元不必重算历史。\n"
        "它的显存占用与层数、键值头数和序列长度成正比,常用 16 位存放。\n\n"
        "## 什么是投机解码？\n\n投机解码先用小模型起草若干词元,再由大模型一次验证,输出分布不变。\n",
        encoding="utf-8",
    )
    embedder = load_embedder(str(folder))
    with Library.open(tmp_path / "library", create=True) as library:
        ingest(library, [notes], lambda: embedder, fingerprint=embedder.fingerprint)
        graph = ConceptGraph.build(library, Glossary.load())
        model = LlamaChat(model_path)
        try:
            made = Assistant(library, embedder, graph, model)
            made.warm()
            got = list(answer("什么是 KV 缓存？它占多少显存？", (), made, threading.Event()))
        finally:
            model.close()
        assert isinstance(got[0], Searching)
        assert next(e for e in got if isinstance(e, Passages)).hits[0].passage.document == "cache.md"
        (quote,) = [e for e in got if isinstance(e, Quote)]
        assert any("KV 缓存在解码时保存" in s.text for s in quote.sentences)
        done = last(got)
        assert "键" in done.text
        assert any(s.supported for s in done.sentences)
        for sentence in (*quote.sentences, *done.sentences):
            for citation in sentence.citations:
                assert library.document(citation.document).text[citation.start : citation.end].strip()
