"""A library of a few documents for tests: passages and pairs are given, vectors are counts of letters (never compared)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ingest.document import Document, ParsedDocument, Passage, QuestionAnswer, content_hash
from ingest.storage.library import Library, passage_hash, question_hash

GLOSSARY = """
[[concept]]
name = "自注意力"
en = "self-attention"
aliases = ["自注意力机制"]
kind = "method"
area = "注意力"
definition = "序列内部各位置互相计算权重。"
definition_en = "Positions of one sequence weigh each other."

[[concept]]
name = "多头注意力"
en = "multi-head attention"
aliases = ["MHA"]
kind = "method"
area = "注意力"
definition = "在多个低维子空间里并行计算注意力。"
definition_en = "Attention in several low-dimensional subspaces in parallel."

[[concept]]
name = "旋转位置编码"
en = "rotary position embedding"
aliases = ["RoPE"]
kind = "method"
area = "位置编码"
definition = "用旋转矩阵把绝对位置写进查询和键。"
definition_en = "Rotations put absolute positions into queries and keys."

[[concept]]
name = "检索增强生成"
en = "retrieval-augmented generation"
aliases = ["RAG"]
kind = "method"
area = "应用"
definition = "先检索外部文档,再让模型根据文档回答。"
definition_en = "Retrieve documents first, then answer from them."

[[concept]]
name = "KV 缓存"
en = "KV cache"
aliases = ["键值缓存"]
kind = "method"
area = "推理"
definition = "把算过的键和值留下来,解码时不再重算。"
definition_en = "Keys and values already computed are kept while decoding."

[[concept]]
name = "LoRA"
en = "low-rank adaptation"
aliases = ["低秩适配"]
kind = "method"
area = "微调"
definition = "冻结原权重,只训练低秩增量。"
definition_en = "Frozen weights plus a trained low-rank update."
"""


def parsed(
    name: str, passages: Sequence[str], pairs: Sequence[tuple[str, str]] = (), title: str = "", headings: tuple[str, ...] = ()
) -> ParsedDocument:
    """A document whose passages are these texts, followed by its questions with their answers as further passages."""
    text, made, asked = "", [], []
    for body in passages:
        made.append(Passage(name, len(text), len(text) + len(body), body, headings, text.count("\n") + 1))
        text += body + "\n\n"
    for question, answer in pairs:
        start = len(text)
        text += question + "\n"
        answer_start = len(text)
        text += answer
        asked.append(QuestionAnswer(name, question, start, start + len(question), answer, answer_start, len(text), headings))
        made.append(Passage(name, start, len(text), text[start:], headings, text.count("\n", 0, start) + 1))
        text += "\n\n"
    document = Document(name, f"/notes/{name}", title or name, text, content_hash(text), "text", "utf-8")
    return ParsedDocument(document, (), tuple(made), tuple(asked))


def publish(library: Library, *documents: ParsedDocument, removed: Sequence[str] = ()) -> None:
    """Store the documents with vectors of one dimension."""
    library.use_embedder("letters", 1)
    for document in documents:
        hashes = [passage_hash(p.embedding_text) for p in document.passages] + [question_hash(q.question) for q in document.pairs]
        library.put_embeddings(hashes, np.ones((len(hashes), 1), dtype=np.float32))
    library.publish(documents, "test", removed)


def small_library(folder: Path, *documents: ParsedDocument) -> Library:
    """A new library in ``folder`` holding the documents."""
    library = Library.open(folder, create=True)
    if documents:
        publish(library, *documents)
    return library
