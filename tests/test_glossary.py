"""The project's own list of concepts: every entry is whole, no two entries can be confused, and matching finds each of them."""

import re
from collections import Counter

import pytest

from assistant.interviews.questions import AREA_NAMES
from kg.concepts import GLOSSARY_FILE, Concept, Glossary


@pytest.fixture(scope="module")
def glossary() -> Glossary:
    return Glossary.load()  # raises for a missing field, an unknown field, an alias of two concepts (after folding)


def test_it_is_large_enough_and_covers_every_area(glossary: Glossary) -> None:
    assert len(glossary.concepts) >= 150
    areas = Counter(c.area for c in glossary.concepts.values())
    assert areas.keys() == AREA_NAMES.keys()  # a topic of the interview must have a name to show
    assert min(areas.values()) >= 3


def sentences_wrong(concept: Concept) -> list[str]:
    wrong = []
    if not re.search("[\u4e00-\u9fff]", concept.definition) or not concept.definition.endswith("。"):
        wrong.append("definition is no Chinese sentence")
    if re.search("[\u4e00-\u9fff]", concept.definition_en) or not concept.definition_en.endswith("."):
        wrong.append("definition_en is no English sentence")
    if not 10 <= len(concept.definition) <= 160 or not 20 <= len(concept.definition_en) <= 320:
        wrong.append("a definition is too short or too long")
    if concept.definition.count("。") > 1:
        wrong.append("definition is more than one sentence")
    return wrong


def test_every_definition_is_one_sentence_in_its_language(glossary: Glossary) -> None:
    wrong = {c.name: w for c in glossary.concepts.values() if (w := sentences_wrong(c))}
    assert wrong == {}


def test_every_name_is_found_and_is_its_own_concept(glossary: Glossary) -> None:
    lost = []
    for concept in glossary.concepts.values():
        for name in concept.names:
            mentions = glossary.find(name)
            if [(m.concept, m.start, m.end) for m in mentions] != [(concept.key, 0, len(name))]:
                lost.append((concept.name, name, [m.concept for m in mentions]))
    assert lost == []


def test_no_alias_is_written_twice(glossary: Glossary) -> None:
    twice = {c.name: c.aliases for c in glossary.concepts.values() if len(set(c.aliases)) != len(c.aliases) or c.name in c.aliases}
    assert twice == {}


def test_no_alias_is_a_word_of_everyday_language(glossary: Glossary) -> None:
    everyday = [
        "这个",
        "方法",
        "问题",
        "模型",
        "数据",
        "the",
        "is",
        "of",
        "and",
        "model",
        "method",
        "data",
        "value",
        "set",
        "can",
        "all",
        "one",
        "use",
        "我们",
        "可以",
        "因为",
        "所以",
        "一个",
        "什么",
    ]
    assert {word: found.name for word in everyday if (found := glossary.lookup(word))} == {}


def test_the_file_is_text_that_people_edit() -> None:
    text = GLOSSARY_FILE.read_text(encoding="utf-8")
    assert "\t" not in text and "\r" not in text
    assert "http" not in text
