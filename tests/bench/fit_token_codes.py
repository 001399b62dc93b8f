"""Makes ``ingest/models/token_codes.npz``: the means and centroids that the tokens of passages are coded with.

    python tests/bench/fit_token_codes.py

reads the starter notes and the questions of tests/bench/training.jsonl; nothing else goes into it.
"""

from pathlib import Path

import numpy as np

from assistant.measures.labels import read_questions
from ingest.document import Document
from ingest.models.embedding import load_embedder
from ingest.models.token_codes import fit_codebook
from ingest.structure.splitting import split

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Fit and write the codebook; a minute on two cores."""
    embedder = load_embedder()
    passages = [
        passage.embedding_text
        for path in sorted((ROOT / "ingest" / "samples").glob("*.md"))
        for passage in split(Document(path.name, "", path.stem, path.read_text(encoding="utf-8"), "", "markdown", "utf-8")).passages
    ]
    questions = [question.question for question in read_questions(Path(__file__).with_name("training.jsonl"))]
    book = fit_codebook(
        np.concatenate(embedder.token_vectors(passages, question=False)),
        np.concatenate(embedder.token_vectors(questions, question=True)),
    )
    arrays = {name: getattr(book, name).astype(np.float16) for name in ("passage_mean", "question_mean", "centroids")}
    target = ROOT / "ingest" / "models" / "token_codes.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target}: {len(passages)} passages, {len(questions)} questions, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
