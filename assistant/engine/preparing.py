"""Which passages the chat model reads ahead while nobody asks: those of the question bank, whose questions are asked most."""

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

from assistant.answers import prompts
from assistant.engine.llm import Prompt
from assistant.retrieval.language import is_chinese
from ingest.storage.library import Library


@runtime_checkable
class PreparingModel(Protocol):
    """A chat model that keeps what it computed for a passage."""

    def fill_when_idle(self, wanted: Iterator[Prompt | None]) -> None:
        """Read the passages of these prompts while nobody asks; None: nothing to do for now."""

    def keep_only_states_of(self, passages: Iterable[str]) -> None:
        """Forget all other passages."""


def prepare(library: Library, model: PreparingModel) -> None:
    """Have the model read the library's question bank ahead, now and whenever the library changes."""
    model.fill_when_idle(_wanted(library, model))


def _wanted(library: Library, model: PreparingModel) -> Iterator[Prompt | None]:
    generation = -1
    while True:
        if library.generation() == generation:
            yield None
            continue
        generation = library.generation()
        passages = {passage.id: passage for passage in library.all_passages()}
        # A removed document leaves nothing behind, not even what was computed for it.
        blocks = (prompts.passage_prompt(passage, lang).passages[0] for passage in passages.values() for lang in ("zh", "en"))
        model.keep_only_states_of(blocks)
        for pair in library.all_pairs():
            for passage_id in library.passages_between(pair.document, pair.question_start, pair.answer_end):
                if pair.answer and passage_id in passages:
                    passage = passages[passage_id]
                    yield prompts.passage_prompt(passage, "zh" if is_chinese(passage.text) else "en")
