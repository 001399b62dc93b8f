"""What is counted over answers, by hand: citations judged by text, citations a model wrote, key points by source."""

from assistant.answers.answering import Answer
from assistant.measures.answer_evaluation import AnsweredQuestion, naive_summary, summary
from assistant.measures.citations import CitedSentence, citation_right, precision
from assistant.measures.labels import LabelledQuestion
from assistant.measures.naive import NaiveAnswer, cited_sentences, without_citations
from ingest.document import Passage

KEY_POINTS = (("显存", "memory"), ("37 层", "37 layers"))


def passage(text: str) -> Passage:
    return Passage("a.md", 0, len(text), text)


def test_a_citation_is_right_when_the_place_holds_what_the_sentence_states() -> None:
    place = "Zeta-9 有 37 层,显存不变。"
    assert citation_right(CitedSentence("Zeta-9 共 37 层。", (place,)), KEY_POINTS) is True
    assert citation_right(CitedSentence("它省显存。", ("它更快。",)), KEY_POINTS) is False  # the key point stands elsewhere
    assert citation_right(CitedSentence("Zeta-9 共 38 层。", (place,)), KEY_POINTS) is False  # another number
    assert citation_right(CitedSentence("Zeta-8 更小。", (place,)), KEY_POINTS) is False  # another name
    assert citation_right(CitedSentence("Zeta-8 更小。", (place,)), KEY_POINTS, ["Zeta-8 呢?"]) is True
    assert citation_right(CitedSentence("它更快。", (place,)), KEY_POINTS) is None  # nothing that can be counted
    assert citation_right(CitedSentence("有 37 层。", ("有 37", "37 层")), KEY_POINTS) is True
    assert precision([True, False, None, True]) == (0.6667, 3)
    assert precision([None]) == (None, 0)


def test_citations_a_model_wrote() -> None:
    passages = [passage("甲文。"), passage("乙文。")]
    sentences = cited_sentences("注意力占显存[1]。\n位置编码不占【2】。它更快。[1,2] 又一句没有出处的话。胡乱的编号[7]。", passages)
    assert [(s.text, s.cited) for s in sentences] == [
        ("注意力占显存。", ("甲文。",)),
        ("位置编码不占。", ("乙文。",)),
        ("它更快。", ("甲文。", "乙文。")),
        ("又一句没有出处的话。", ()),
        ("胡乱的编号。", ("",)),
    ]
    assert without_citations("a[1] b (2) c [x]") == "a b  c [x]"


def test_the_figures_of_answers_by_hand() -> None:
    question = LabelledQuestion("1", "Zeta-9?", True, key_points=KEY_POINTS)
    lost = LabelledQuestion("2", "?", True, key_points=KEY_POINTS)
    none = LabelledQuestion("3", "?", False, type="unanswerable")
    naive = NaiveAnswer("有 37 层。", (CitedSentence("有 37 层。", ("有 36 层",)),), 1, 6.0, 10.0, 40)
    answered = AnsweredQuestion(
        question,
        Answer("Zeta-9?", "有 37 层。", (), (), True),
        "37 层,显存",
        "显存",
        0.2,
        1.0,
        5.0,
        40,
        (CitedSentence("有 37 层。", ("有 37 层",)),),
        naive=naive,
    )
    rows = [
        answered,
        AnsweredQuestion(lost, None, "", "", None, None, 0.1, 0),
        AnsweredQuestion(none, None, "", "", None, None, 0.1, 0),
    ]
    figures = summary(rows)
    assert figures["key_points"] == 0.5 and figures["quote"] == {"key_points": 0.25, "characters": 2}
    assert figures["generated"] == {"key_points": 0.25, "characters": 7}
    assert figures["lost_answerable"] == 0.5 and figures["refused_unanswerable"] == 1.0
    assert figures["citation_precision"] == 1.0 and figures["citations_judged"] == 1
    assert figures["tokens_per_s"] == 10.0 and figures["first_token_s"] == {"p50": 1.0, "p95": 1.0}
    beside = naive_summary(rows)
    assert beside["key_points"] == 0.25 and beside["citation_precision"] == 0.0 and beside["tokens_per_s"] == 10.0
