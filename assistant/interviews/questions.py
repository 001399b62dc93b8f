"""The question bank: every question of a library once, with its topic and what the learner has done with it so far."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from assistant.interviews import schedule
from ingest.document import QuestionAnswer, fold
from ingest.errors import UsageError
from ingest.storage.library import Library
from kg.concepts import Glossary

# What may differ between copies of a question; «C++», «C#» and «3.5» keep what tells them from «C» and «35».
_SPACING = re.compile(r"(?<!\d)\.|\.(?!\d)|[^\w.+#]|_")

# The glossary's areas as people read them: Chinese, English.
AREA_NAMES: Mapping[str, tuple[str, str]] = {
    "basics": ("经典基础", "Deep learning basics"),
    "architecture": ("模型架构", "Model architecture"),
    "attention": ("注意力机制", "Attention"),
    "position": ("位置编码", "Position encoding"),
    "normalization": ("归一化", "Normalization"),
    "tokenization": ("分词与词表", "Tokenization"),
    "pretraining": ("预训练", "Pre-training"),
    "data": ("数据工程", "Data"),
    "optimization": ("优化器与训练技巧", "Optimization"),
    "precision": ("数值精度", "Numeric precision"),
    "distributed": ("分布式训练", "Distributed training"),
    "peft": ("参数高效微调", "Parameter-efficient fine-tuning"),
    "alignment": ("对齐与强化学习", "Alignment and RLHF"),
    "inference": ("推理与部署", "Inference and serving"),
    "quantization": ("量化与压缩", "Quantization and compression"),
    "decoding": ("解码策略", "Decoding"),
    "long-context": ("长上下文", "Long context"),
    "moe": ("混合专家", "Mixture of experts"),
    "rag": ("检索增强", "Retrieval-augmented generation"),
    "prompting": ("提示与智能体", "Prompting and agents"),
    "evaluation": ("评测", "Evaluation"),
    "multimodal": ("多模态", "Multimodal"),
}


def topic_name(topic: str, language: str = "zh") -> str:
    """A topic as people read it, in "zh" or "en"; a topic that is no area (a document's title) is its own name."""
    chinese, english = AREA_NAMES.get(topic, (topic, topic))
    return english if language == "en" else chinese


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be asked; ``key`` is ``QuestionAnswer.key`` and outlives re-ingestion.

    ``concept`` is the first concept the question names ("" if none). ``has_reference`` is false for an open question: its document
    gives no answer, so it can be asked but not graded.
    """

    key: str
    text: str
    document: str
    topic: str
    concept: str
    has_reference: bool


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of the bank: its questions, how many of them are due, were never answered, have no reference answer."""

    name: str
    count: int
    due: int
    unseen: int
    open: int


@dataclass(frozen=True, slots=True)
class Bank:
    """All questions in reading order, and for those the learner has answered the time they are due (UTC)."""

    questions: tuple[Question, ...]
    due: Mapping[str, datetime]

    def topics(self, now: datetime) -> list[Topic]:
        """The topics, largest first."""
        by_topic: dict[str, list[Question]] = defaultdict(list)
        for question in self.questions:
            by_topic[question.topic].append(question)
        counted = [
            Topic(
                name,
                len(questions),
                sum(q.key in self.due and self.due[q.key] <= now for q in questions),
                sum(q.key not in self.due for q in questions),
                sum(not q.has_reference for q in questions),
            )
            for name, questions in by_topic.items()
        ]
        return sorted(counted, key=lambda t: (-t.count, t.name))

    def of_topic(self, topic: str) -> tuple[Question, ...]:
        """The questions of a topic, by its stored or its shown name; "" means all. Raises UsageError for an unknown one."""
        if not topic:
            return self.questions
        wanted = fold(topic)
        names = {q.topic: {fold(q.topic), fold(topic_name(q.topic)), fold(topic_name(q.topic, "en"))} for q in self.questions}
        found = tuple(q for q in self.questions if wanted in names[q.topic])
        if not found:
            known = "、".join(topic_name(name) for name, _ in Counter(q.topic for q in self.questions).most_common(8))
            raise UsageError(f"no question is about {topic}: choose one of {known}" if known else NO_QUESTIONS)
        return found

    def choose(self, topic: str, count: int, now: datetime) -> tuple[Question, ...]:
        """Up to ``count`` questions of a topic: those due first (longest overdue first), then those never answered, then the rest.

        Those never answered are spread: one from each concept in turn, so that an interview does not ask one thing five times.
        Of the rest, what is due soonest comes first. The same bank and time give the same choice.
        """
        if count < 1:
            raise UsageError("ask for at least one question")
        questions = self.of_topic(topic)
        seen = sorted((q for q in questions if q.key in self.due), key=lambda q: (self.due[q.key], q.key))
        unseen = _spread(q for q in questions if q.key not in self.due)
        overdue = [q for q in seen if self.due[q.key] <= now]
        rest = [q for q in seen if self.due[q.key] > now]
        return tuple([*overdue, *unseen, *rest][:count])

    def topic_of(self) -> dict[str, str]:
        """Question key -> topic, as ``schedule.statistics`` wants it."""
        return {q.key: q.topic for q in self.questions}


NO_QUESTIONS = "the library holds no questions: ingest notes with questions and answers first"


def question_bank(library: Library, glossary: Glossary) -> Bank:
    """The bank of a library. A question that stands in several documents is taken once, from where its answer is longest; copies
    that differ in spaces, punctuation or width are one question too, under the key that the learner has a card of.

    Its topic is the area of the concepts the question names (the most frequent area, then the first); where it names none, those of
    the headings above it; else the title of its document.
    """
    due = schedule.cards_due(library)
    alike: dict[str, list[QuestionAnswer]] = defaultdict(list)
    for pair in library.all_pairs():
        alike[_SPACING.sub("", fold(pair.question)) or pair.key].append(pair)
    best = [_asked(pairs, due) for pairs in alike.values()]
    titles = {info.name: info.title or info.name for info in library.documents()}
    questions = tuple(_question(pair, titles.get(pair.document, pair.document), glossary) for pair in best)
    return Bank(questions, due)


def _asked(pairs: Sequence[QuestionAnswer], due: Mapping[str, datetime]) -> QuestionAnswer:
    """Of pairs with one question the one to ask: the longest answer, under the key that has a card (the first due) if one has."""
    keys = [pair.key for pair in pairs if pair.key in due and (pair.answer or not any(other.answer for other in pairs))]
    known = [pair for pair in pairs if pair.key == min(keys, key=lambda key: due[key])] if keys else pairs
    return max(known, key=lambda pair: len(pair.answer))  # of equally long ones the first in reading order


def pair_of(library: Library, key: str) -> QuestionAnswer | None:
    """The pair a question stands in now (the one with the longest answer), or None when no document holds it any more."""
    rows = library.read("SELECT id FROM pairs WHERE key = ? ORDER BY answer_end - answer_start DESC, id LIMIT 1", (key,))
    return next(iter(library.pairs([rows[0][0]])), None) if rows else None


def _question(pair: QuestionAnswer, title: str, glossary: Glossary) -> Question:
    concepts = [m.concept for m in glossary.find(pair.question)]
    named = concepts or [m.concept for heading in reversed(pair.headings) for m in glossary.find(heading)]
    areas = Counter(glossary.concepts[key].area for key in named)
    topic = areas.most_common(1)[0][0] if areas else title  # of equally frequent areas Counter gives the first
    concept = concepts[0] if concepts else ""
    return Question(pair.key, pair.question, pair.document, topic, concept, bool(pair.answer.strip()))


def _spread(questions: Iterable[Question]) -> list[Question]:
    """Round after round, the next question of each group; a group is a concept, or a document where no concept is named."""
    groups: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        groups[question.concept or question.document].append(question)
    order = [(turn, place, q) for place, group in enumerate(groups.values()) for turn, q in enumerate(group)]
    return [q for *_, q in sorted(order, key=lambda item: item[:2])]
