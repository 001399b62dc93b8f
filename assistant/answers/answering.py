"""Question -> stream of events: what was found, a quotation at once, the answer as it is written, each sentence with its sources.

Whether the library holds an answer is decided by retrieval, and citations are attached by comparing each sentence with the
passages: a model of this size refuses what its passages answer and cites the wrong number. So an answer begins with what stands in
the library, and what the model adds is checked.
"""

import math
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from assistant.answers import dialogue, prompts, quoting
from assistant.answers.events import (
    Answer,
    Done,
    Event,
    NotFound,
    Passages,
    Quote,
    Searching,
    Sentence,
    Stopped,
    Token,
    Understood,
    Waiting,
    answer_from_json,
    answer_to_json,
    sentence_from_json,
)
from assistant.answers.sentences import SentenceStream, Span, states_something
from assistant.answers.support import CheckedSentence, Citation, Evidence, RememberingEmbedder
from assistant.engine.llm import ChatModel, Prompt, Turn
from assistant.retrieval.language import Centres, language_centres
from assistant.retrieval.search import search
from assistant.retrieval.selection import select
from assistant.retrieval.values import Hit
from ingest.document import fold
from ingest.models.embedding import Embedder
from ingest.storage.library import Library
from kg.graph import ConceptGraph

__all__ = [
    "Answer", "Assistant", "CheckedSentence", "Citation", "Done", "Event", "NotFound", "Passages", "Quote", "Searching", "Sentence",
    "Stopped", "Token", "Turn", "Understood", "Waiting", "answer", "answer_from_json", "answer_to_json", "sentence_from_json",
]  # fmt: skip

PASSAGE_TOKENS = 900
MAX_TOKENS = 400
NEAR = 5  # hits shown when there is no answer


@runtime_checkable
class WarmedModel(Protocol):
    """A chat model that can read a system text ahead of the first question."""

    def warm(self, system: str) -> None:
        """Evaluate and keep a system text."""


class Assistant:
    """What answers are made with. ``graph`` follows the library; ``chat_model`` may be missing, then answers are quotations."""

    def __init__(self, library: Library, embedder: Embedder, graph: ConceptGraph, chat_model: ChatModel | None = None) -> None:
        self.library = library
        self.embedder: Embedder = RememberingEmbedder(embedder)
        self.chat_model = chat_model
        self._graph = graph
        self._centres: Centres | None = None
        self._lock = threading.Lock()

    @property
    def graph(self) -> ConceptGraph:
        """The concept graph of the library as it is now."""
        with self._lock:
            if self._graph.generation != self.library.generation():
                self._graph = ConceptGraph.build(self.library, self._graph.glossary)
            return self._graph

    @property
    def centres(self) -> Centres:
        """The language centres of the embedding model; the library remembers them."""
        with self._lock:
            if self._centres is None:
                self._centres = language_centres(self.library, self.embedder, self._graph.glossary)
            return self._centres

    def warm(self) -> None:
        """Do ahead of the first question what would make it slow."""
        if isinstance(self.chat_model, WarmedModel):
            for language in ("zh", "en"):
                self.chat_model.warm(prompts.system_text(language))
        search("KV 缓存", self.library, self.embedder, self.graph, centres=self.centres)  # the word list of jieba, the vector file


def answer(
    question: str, history: Sequence[Turn], assistant: Assistant, stop: threading.Event, understood: str | None = None
) -> Iterator[Event]:
    """Answer a question of a conversation. The last event is ``Done``, or ``Stopped`` within a second after ``stop`` is set.

    A follow-up is answered as ``dialogue.resolve`` understands it, or as ``understood`` puts it.
    Raises MianpuError when the model fails. Leaving the iterator early gives the model up as well.
    """
    began = time.perf_counter()
    seconds: dict[str, float] = {}

    def mark(name: str) -> None:
        seconds.setdefault(name, round(time.perf_counter() - began, 4))

    yield Searching()
    graph, model = assistant.graph, assistant.chat_model
    meant = understood or dialogue.resolve(question, [turn.text for turn in history if turn.role == "user"], graph.glossary).text
    if meant != question:
        yield Understood(meant)
    result = search(meant, assistant.library, assistant.embedder, graph, centres=assistant.centres)
    mark("search")
    if not result.answered:
        near, text = result.hits[:NEAR], prompts.not_found(question)
        yield NotFound(result.nearest_concepts, near, text)
        mark("total")
        yield Done(Answer(question, text, (), near, False, seconds))
        return
    hits = select(result, model.token_count if model else _rough_tokens, PASSAGE_TOKENS) or result.hits[:1]
    yield Passages(hits, result)
    quotation = quoting.quote(result, hits, assistant.library, assistant.embedder)
    mark("quote")
    yield Quote(quotation.sentences, quotation.shortened)
    writing = _Writing(evidence_of(meant, hits, assistant))
    if model is None:
        events = _extract(quotation.sentences, writing)
    else:
        lang = prompts.language(question)
        prompt = prompts.prompt(meant, [hit.passage for hit in hits], history, lang)
        events = _write(model, prompt, writing, stop)
    for event in events:
        if isinstance(event, Token):
            mark("first_token")
        yield event
    mark("total")
    finished = Answer(question, writing.text, tuple(writing.sentences), hits, True, seconds)
    yield Stopped(finished) if stop.is_set() else Done(finished)


# --- what is written ------------------------------------------------------------------------------------------------


class _Writing:
    """The text so far and its checked sentences."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._stream = SentenceStream()
        self._cut: int | None = None
        self.sentences: list[CheckedSentence] = []

    @property
    def text(self) -> str:
        return self._stream.text[: self._cut].strip()

    def add(self, piece: str) -> Iterator[Event]:
        yield Token(piece)
        yield from self._checked(self._stream.feed(piece))

    def finish(self) -> Iterator[Event]:
        yield from self._checked(self._stream.finish())

    def _checked(self, spans: Sequence[Span]) -> Iterator[Event]:
        for span in spans:
            text = self._stream.text[span.start : span.end]
            if not states_something(text) or self._cut is not None:
                continue
            if self.sentences and fold(text) == fold(self.sentences[-1].text):
                self._cut = span.start  # the model began to repeat itself; the engine stops it, and the repetition is dropped
                continue
            self.sentences.append(self._evidence.check(text))
            yield Sentence(self.sentences[-1])


def _extract(quoted: Sequence[CheckedSentence], writing: _Writing) -> Iterator[Event]:
    """The answer of an assistant without a chat model: the quotation."""
    for sentence in quoted:
        text = sentence.text + "\n\n"
        writing._stream.text += text
        yield Token(text)
        writing.sentences.append(sentence)
        yield Sentence(sentence)


def _write(model: ChatModel, prompt: Prompt, writing: _Writing, stop: threading.Event) -> Iterator[Event]:
    for event in _generate(model, prompt, stop):
        if isinstance(event, Token):
            yield from writing.add(event.text)
        else:
            yield event
    yield from writing.finish()


def _generate(model: ChatModel, prompt: Prompt, stop: threading.Event) -> Iterator[Waiting | Token]:
    """The model's stream with its place in the queue as events. It runs in a thread of its own: the place is told by a callback."""
    arrived: queue.SimpleQueue[Waiting | Token | BaseException | None] = queue.SimpleQueue()
    cancel = threading.Event()

    def pump() -> None:
        try:
            for piece in model.stream(prompt, max_tokens=MAX_TOKENS, stop=cancel, waiting=lambda n: arrived.put(Waiting(n))):
                arrived.put(Token(piece))
        except BaseException as error:  # raised again in the asker's thread
            arrived.put(error)
        finally:
            arrived.put(None)

    thread = threading.Thread(target=pump, name="answer", daemon=True)
    thread.start()
    try:
        while not stop.is_set():
            try:
                item = arrived.get(timeout=0.05)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        cancel.set()
        thread.join(timeout=5)


# --- what answers are checked with ----------------------------------------------------------------------------------


def evidence_of(question: str, hits: Sequence[Hit], assistant: Assistant) -> Evidence:
    """What the sentences of an answer to this question from these passages are checked with."""
    passages = [hit.passage for hit in hits]
    glossary = assistant.graph.glossary
    mentioned = {m.concept for text in [question, *(p.text for p in passages)] for m in glossary.find(text)}
    named = [" ".join((c.name, c.en, *c.aliases)) for c in (glossary.concepts[key] for key in sorted(mentioned))]

    def weights(terms: Sequence[str]) -> Mapping[str, float]:
        # Plural and singular are one word here, two in the index: the more frequent one counts.
        counts = assistant.library.word_counts([*terms, *(term + "s" for term in terms)])
        total = assistant.library.passage_count()
        return {term: math.log((total + 1) / (max(counts[term], counts[term + "s"]) + 0.5)) for term in terms}

    return Evidence(passages, assistant.embedder, assistant.centres, also_known=[question, *named], weights=weights)


def _rough_tokens(text: str) -> int:
    """Tokens without a tokenizer: about 1.7 characters each in Chinese notes."""
    return int(len(text) / 1.7) + 1
