"""Support: exact places and refusals with a counting embedder, and the hand-written cases with the real one."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from assistant.answers.support import Citation, Evidence, RememberingEmbedder
from assistant.retrieval.language import Centres, is_chinese
from ingest.document import Passage
from ingest.errors import MianpuError
from ingest.models.embedding import load_embedder
from ingest.models.model_files import embedding_model_folder
from ingest.storage.vectors import Vectors
from kg.concepts import Glossary
from tests.support_cases import NOT_SAID, NOTES, SAID

TOPICS = ("缓存", "注意力", "归一化", "位置", "显存", "cache", "attention")


class TopicEmbedder:
    """One dimension a topic (缓存 and cache are one, 注意力 and attention another), one for Chinese, one for English, which weigh
    ``language`` each: what centring takes away."""

    fingerprint = "topics"
    dimension = 7

    def __init__(self, language: float = 0.0) -> None:
        self.language = language
        self.calls: list[list[str]] = []

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        rows = np.array([self._row(text) for text in texts], dtype=np.float32).reshape(len(texts), self.dimension)
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return unit

    def encode_questions(self, texts: Sequence[str]) -> Vectors:
        return self.encode_passages(texts)

    def _row(self, text: str) -> list[float]:
        row = [float(text.lower().count(word)) for word in TOPICS]
        return [
            row[0] + row[5],
            row[1] + row[6],
            *row[2:5],
            self.language * is_chinese(text),
            self.language * (not is_chinese(text)),
        ]


ZERO = np.zeros(7, dtype=np.float32)
CENTRES = Centres(ZERO, ZERO)


def evidence(*texts: str, also_known: Sequence[str] = (), language: float = 0.0, centres: Centres = CENTRES) -> Evidence:
    """Passages of one document, one after the other with 10 characters between them, starting at 100."""
    passages, at = [], 100
    for text in texts:
        passages.append(Passage("a.md", at, at + len(text), text))
        at += len(text) + 10
    return Evidence(passages, TopicEmbedder(language), centres, also_known=also_known)


def test_a_citation_points_at_the_very_sentence() -> None:
    text = "归一化让训练稳定。KV 缓存保存键和值。位置编码给出顺序。"
    checked = evidence("别的内容。", text).check("KV 缓存会保存键和值。")
    assert checked.supported
    assert checked.support > 0.5
    (citation,) = checked.citations
    start = 100 + len("别的内容。") + 10 + text.index("KV")
    assert citation == Citation(2, "a.md", start, start + len("KV 缓存保存键和值。"))


def test_a_sentence_of_two_facts_points_at_both_sentences() -> None:
    text = "缓存保存键。缓存占用显存很大。归一化。"
    (citation,) = evidence(text).check("缓存保存键,缓存占用显存很大。").citations
    assert text[citation.start - 100 : citation.end - 100] == "缓存保存键。缓存占用显存很大。"


def test_a_second_passage_is_cited_when_it_holds_the_rest() -> None:
    checked = evidence("缓存保存键和值以加速解码。", "位置编码采用旋转矩阵写入查询。").check(
        "缓存保存键和值以加速解码,位置编码采用旋转矩阵。"
    )
    assert [citation.number for citation in checked.citations] == [1, 2]


@pytest.mark.parametrize(
    "sentence",
    ["缓存保存 3 份键和值。", "缓存保存键和值,由 Google 提出。", "缓存保存键和值,提速 40%。", "KV2 缓存保存键和值。"],
)
def test_a_number_or_name_from_nowhere_is_never_supported(sentence: str) -> None:
    checked = evidence("KV 缓存保存键和值。").check(sentence)
    assert (checked.supported, checked.support, checked.citations) == (False, 0.0, ())


def test_names_of_the_question_and_numbers_of_any_passage_may_be_used() -> None:
    made = evidence("缓存保存键和值。", "共 8 层。", also_known=["Llama 用缓存吗"])
    assert made.check("Llama 缓存保存键和值。").supported
    assert made.check("8 层缓存保存键和值。").supported


def test_a_list_number_is_no_claim() -> None:
    assert evidence("KV 缓存保存键和值。").check("7. KV 缓存保存键和值。").supported


def test_the_opposite_is_not_supported() -> None:
    made = evidence("缓存不会减少预填充的计算。")
    assert made.check("缓存不会减少预填充的计算。").supported
    assert not made.check("缓存会减少预填充的计算。").supported
    assert made.check("缓存会减少预填充的计算。").support < 0.5


def test_another_topic_is_not_supported() -> None:
    assert not evidence("KV 缓存保存键和值。").check("归一化在特征维度上进行。").supported


def test_headings_count_as_words_of_their_passage() -> None:
    weights = dict.fromkeys(["分组", "组查", "查询", "缓存"], 1.0)
    bare, headed = (
        Evidence([Passage("a", 0, 2, "缓存", h)], TopicEmbedder(), CENTRES)._share(weights, 0, 1) for h in ((), ("分组查询",))
    )
    assert (bare, headed) == (0.25, 1.0)


def test_languages_meet_only_after_centring() -> None:
    chinese, english = 0.9 * TopicEmbedder(4.0).encode_passages(["空", "none"])
    text, sentence = "缓存。", "The cache."
    assert not evidence(text, language=4.0).check(sentence).supported
    assert evidence(text, language=4.0, centres=Centres(chinese, english)).check(sentence).supported


def test_no_passages_support_nothing() -> None:
    made = Evidence([], TopicEmbedder(), CENTRES)
    assert not made.check("缓存。").supported


def test_word_weights_may_come_from_outside() -> None:
    asked: list[Sequence[str]] = []

    def weights(terms: Sequence[str]) -> Mapping[str, float]:
        asked.append(terms)
        return dict.fromkeys(terms, 1.0)

    passage = Passage("a", 0, 9, "KV 缓存保存键。")
    Evidence([passage], TopicEmbedder(), CENTRES, weights=weights).check("The caches of KV")
    assert asked == [["cache", "kv", "of", "the"]]  # the plural is gone


def test_a_remembering_embedder_asks_for_each_text_once() -> None:
    inner = TopicEmbedder()
    outer = RememberingEmbedder(inner, size=2)
    first = outer.encode_passages(["缓存", "位置", "缓存"])
    assert np.array_equal(first, TopicEmbedder().encode_passages(["缓存", "位置", "缓存"]))
    assert np.array_equal(outer.encode_passages(["位置"]), first[1:2])
    assert inner.calls == [["缓存", "位置"]]
    outer.encode_passages(["显存"])
    outer.encode_passages(["缓存"])  # pushed out by the third text
    assert inner.calls == [["缓存", "位置"], ["显存"], ["缓存"]]
    assert outer.encode_passages([]).shape == (0, 7)


@pytest.mark.model
def test_the_hand_written_cases() -> None:
    try:
        folder = embedding_model_folder(fetch=False)
    except MianpuError as error:
        pytest.skip(str(error))
    glossary = Glossary.load()
    concepts = list(glossary.concepts.values())
    sample = concepts[:: len(concepts) // 24][:24]
    embedder = load_embedder(str(folder))
    centres = Centres.of(embedder, [c.definition for c in sample], [c.definition_en for c in sample])
    mentioned = {m.concept for text in NOTES.values() for m in glossary.find(text)}
    named = [" ".join((c.name, c.en, *c.aliases)) for c in (glossary.concepts[key] for key in mentioned)]
    passages = [Passage(name, 0, len(text), text) for name, text in NOTES.items()]
    made = Evidence(passages, embedder, centres, also_known=named)
    said = [sentence for sentence in SAID if made.check(sentence).supported]
    not_said = [sentence for sentence in NOT_SAID if made.check(sentence).supported]
    print("missed:", *sorted(set(SAID) - set(said)), "\nwrongly supported:", *not_said, sep="\n  ")
    assert len(said) / len(SAID) >= 0.75
    assert len(said) / (len(said) + len(not_said)) >= 0.93


def test_a_question_backs_nothing() -> None:
    assert evidence("缓存保存键和值以加速解码。").check("缓存保存键和值以加速解码。").supported
    assert not evidence("缓存保存键和值以加速解码吗？").check("缓存保存键和值以加速解码。").supported
    assert not evidence("## 缓存保存键和值以加速解码").check("缓存保存键和值以加速解码。").supported


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("缓存保存 8 份键和值。", "缓存保存 9 份键和值。"),
        ("缓存占用 16 GB 显存。", "缓存占用 24 GB 显存。"),
        ("缓存让解码提速 40%。", "缓存让解码提速 70%。"),
        ("The cache keeps 8 heads.", "The cache keeps 16 heads."),
        ("缓存不会减少预填充的计算。", "缓存会减少预填充的计算。"),
        ("缓存会减少显存占用。", "缓存会增加显存占用。"),
        ("LoRA 比 Adapter 更快。", "Adapter 比 LoRA 更快。"),
        ("LoRA 优于 Adapter。", "Adapter 优于 LoRA。"),
        ("GQA is faster than MHA.", "MHA is faster than GQA."),
    ],
)
def test_what_a_passage_says_otherwise_is_a_contradiction(text: str, sentence: str) -> None:
    checked = evidence(text).check(sentence)
    assert not checked.supported
    assert checked.contradicts == (Citation(1, "a.md", 100, 100 + len(text)),)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("缓存保存 8 份键和值。", "缓存保存 8 份键和值。"),
        ("缓存保存 8 份键和值。缓存保存 9 份键和值。", "缓存保存 9 份键和值。"),
        ("LoRA 比 Adapter 更快。", "Adapter 比 LoRA 更慢。"),
        ("缓存保存 8 份键和值。", "归一化有 3 层。"),
        ("缓存保存 8 份键和值。", "缓存保存键和值。"),
        ("缓存不会减少预填充的计算。", "缓存不会减少预填充的计算。"),
        ("LoRA 比 Adapter 更快。", "LoRA 比 Adapter 更快。"),
        ("缓存占 1,024 MB 显存。", "缓存占 1024 MB 显存。"),
    ],
)
def test_what_is_said_or_only_not_said_is_no_contradiction(text: str, sentence: str) -> None:
    assert evidence(text).check(sentence).contradicts == ()
