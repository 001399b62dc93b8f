"""How many key points a quotation holds, how long it is and what it takes, beside the three sentences that were quoted before.

    python tests/bench/measure_quotes.py [FILE] [--documents FOLDER] [--library DIR]

No chat model is loaded. ``passages`` is what could be quoted at best. Refused questions count as nothing; times are in seconds.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from assistant.answers.answering import Assistant, evidence_of  # noqa: E402
from assistant.answers.quoting import chosen, shipped_model  # noqa: E402
from assistant.answers.sentences import states_something  # noqa: E402
from assistant.measures.labels import key_point_share, read_questions  # noqa: E402
from ingest.storage.fulltext import words  # noqa: E402
from tests.bench.labelled_quotes import Searched, assistant_over, searched  # noqa: E402


def three_sentences(row: Searched, assistant: Assistant, most_characters: int = 400) -> str:
    """The baseline: the three sentences whose vectors are nearest to the question's, with a fifth of the share of its words."""
    evidence = evidence_of(row.question.question, row.hits, assistant)
    units = [i for i, unit in enumerate(evidence.units) if states_something(unit.text)]
    if not units:
        return ""
    question = row.question.question
    vector = assistant.centres.centred(assistant.embedder.encode_questions([question]), [question])[0]
    idf = evidence._weights(sorted(set(words(question))))
    scores = {i: float(evidence.vectors[i] @ vector) + 0.2 * evidence._share(idf, i, i + 1) for i in units}
    taken: list[int] = []
    room = most_characters
    for i in sorted(units, key=scores.__getitem__, reverse=True):
        length = len(evidence.units[i].text)
        if len(taken) < 3 and (length <= room or not taken):
            taken.append(i)
            room -= length
    return "\n".join(evidence.units[i].text for i in sorted(taken))


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"p50": round(float(np.quantile(seconds, 0.5)), 4), "p95": round(float(np.quantile(seconds, 0.95)), 4)}


def main() -> None:
    """Search, quote, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", nargs="?", type=Path, default=ROOT / "tests" / "bench" / "questions.jsonl")
    parser.add_argument("--documents", type=Path, default=ROOT / "ingest" / "samples")
    parser.add_argument("--library", type=Path)
    parser.add_argument("--show", action="store_true", help="print what is quoted for each question")
    arguments = parser.parse_args()
    questions = [q for q in read_questions(arguments.file) if q.answerable and q.key_points]
    model = shipped_model()
    texts: dict[str, list[str]] = {"quote": [], "passages": [], "baseline": []}
    alone, whole, before = [], [], []
    with assistant_over(arguments.documents, arguments.library) as assistant:
        for row in searched(questions, assistant):
            began = time.perf_counter()
            quotation = chosen(row.material, model)
            alone.append(row.gather_s + time.perf_counter() - began)
            whole.append(row.search_s + alone[-1])
            began = time.perf_counter()
            three = three_sentences(row, assistant)
            before.append(time.perf_counter() - began)
            quoted = "\n".join(sentence.text for sentence in quotation.sentences)
            found = {"quote": quoted, "passages": "\n".join(hit.passage.text for hit in row.hits), "baseline": three}
            for name, text in found.items():
                texts[name].append(text if row.result.answered else "")
            if arguments.show:
                print(f"== {row.question.question}\n{quoted}\n")
    report: dict[str, object] = {"questions": len(questions)}
    for name, found_texts in texts.items():
        shares = [key_point_share(text, q.key_points) or 0.0 for text, q in zip(found_texts, questions, strict=True)]
        report[f"{name}.key_points"] = round(mean(shares), 4)
        report[f"{name}.characters"] = round(mean(map(len, found_texts)))
    report |= {"quote_s": _spread(alone), "search_and_quote_s": _spread(whole), "baseline_s": _spread(before)}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
