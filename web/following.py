"""What one may ask next: questions of the library's own bank near the one just answered. Nothing is generated."""

from collections.abc import Collection, Sequence

from assistant.answers.prompts import language as language_of
from assistant.interviews.questions import Bank, Question
from assistant.retrieval.values import Hit
from ingest.document import fold
from kg.graph import ConceptGraph

SHOWN = 3
_NEIGHBOURS = 8
_NAMED, _NEAR, _SAME_DOCUMENT = 3.0, 2.0, 1.0  # named in the question; the strongest neighbour (weaker ones less); stands beside it
_LONGEST = {"zh": 48, "en": 96}  # characters of a question that still reads as one line or two


def following(question: str, hits: Sequence[Hit], asked: Collection[str], bank: Bank, graph: ConceptGraph) -> tuple[str, ...]:
    """Up to ``SHOWN`` questions whose answers stand in the library: about what ``question`` names, then about what is linked to it,
    then from the documents of the ``hits``; one a concept, in the language of the question where there are such.

    What was ``asked`` is left out, and every question whose answer is among the hits: it was just given.
    """
    answered = {fold(text) for text in (question, *asked)} | {fold(hit.pair.question) for hit in hits if hit.pair}
    weights: dict[str, float] = {}
    named = list(dict.fromkeys(mention.concept for mention in graph.glossary.find(question)))
    for key in named:
        for place, neighbour in enumerate(graph.neighbours(key)[:_NEIGHBOURS]):
            weights[neighbour.concept.key] = max(weights.get(neighbour.concept.key, 0.0), _NEAR / (1 + place))
    weights |= dict.fromkeys(named, _NAMED)
    documents = {hit.passage.document for hit in hits}

    def weight(candidate: Question) -> float:
        return weights.get(candidate.concept, 0.0) + _SAME_DOCUMENT * (candidate.document in documents)

    lang = language_of(question)
    fitting = [q for q in bank.questions if q.has_reference and fold(q.text) not in answered and len(q.text) <= _LONGEST[lang]]
    ranked = sorted((q for q in fitting if weight(q) > 0), key=lambda q: (language_of(q.text) != lang, -weight(q)))
    chosen: dict[str, str] = {}
    for candidate in ranked:
        chosen.setdefault(candidate.concept or candidate.key, candidate.text)
    return tuple(chosen.values())[:SHOWN]
