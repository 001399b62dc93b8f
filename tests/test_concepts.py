import re
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.document import fold
from ingest.errors import MianpuError, UsageError
from ingest.storage.library import Library
from kg import concepts
from kg.concepts import Concept, Glossary, Mention, refresh_mentions
from tests.small_library import GLOSSARY, parsed, publish, small_library
from tests.timing import processor_seconds


def glossary_of(*names: str) -> Glossary:
    """One concept a name; «a|b» is a concept with an alias."""
    made = []
    for group in names:
        first, *rest = group.split("|")
        made.append(Concept(fold(first), first, "", tuple(rest), "k", "a", "d", "d"))
    return Glossary.of(made)


def found(glossary: Glossary, text: str) -> list[str]:
    return [text[m.start : m.end] for m in glossary.find(text)]


@pytest.mark.parametrize(
    ("names", "text", "expected"),
    [
        # width, case
        (["RoPE"], "用ＲｏＰＥ和rope", ["ＲｏＰＥ", "rope"]),
        # word boundaries: Chinese is one, letters and digits are not
        (["GPT"], "ChatGPT不是GPT,GPTQ也不是", ["GPT"]),
        (["norm"], "pre-norm与normal", ["norm"]),
        (["LoRA"], "LoRA's and (LoRA)", ["LoRA", "LoRA"]),
        # plural
        (["Transformer"], "many Transformers, transformerss", ["Transformers"]),
        # separators alike, also missing, but only where a word ends
        (["KV cache"], "KV-cache KV_cache kvcache KV  cache k-vcache", ["KV-cache", "KV_cache", "kvcache", "KV  cache"]),
        (["FlashAttention"], "Flash Attention, flash-attention, Flash\nAttention", ["Flash Attention", "flash-attention"]),
        (["RoPE"], "ro pe", []),
        (["RMSNorm"], "RMS norm", ["RMS norm"]),
        (["RoPE 位置编码"], "RoPE位置编码", ["RoPE位置编码"]),
        (["LoRA微调"], "LoRA 微调", ["LoRA 微调"]),
        # versions
        (["Llama", "GPT-3", "GPT"], "Llama3 Llama-2 GPT3.5 GPT-3 GPT-3.5 GPT 4o", ["Llama", "Llama", "GPT", "GPT-3", "GPT", "GPT"]),
        (["FP16", "L2"], "FP16,FP160,L2正则,L2.5", ["FP16", "L2"]),
        # Chinese anywhere
        (["注意力"], "自注意力的注意力", ["注意力", "注意力"]),
        # the longest first, then the first; what overlaps it is dropped
        (["自注意力", "注意力机制", "自注意力机制"], "自注意力机制", ["自注意力机制"]),
        (["多头", "头注意力机制"], "多头注意力机制", ["头注意力机制"]),
        (["甲乙", "乙丙", "丙丁"], "甲乙丙丁", ["甲乙", "丙丁"]),
        (["KV cache", "kvcache quantization"], "KV cache quantization", ["KV cache quantization"]),
        # an expression's own characters are only characters
        (["C++", "Top-p", "(IA)3"], "C++ top p (ia)3 topp", ["C++", "top p", "(ia)3", "topp"]),
        (["甲"], "", []),
    ],
)
def test_find(names: list[str], text: str, expected: list[str]) -> None:
    assert found(glossary_of(*names), text) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("RAG", "RAG, RAGs, rag, Rag", ["RAG", "RAGs"]),  # in English prose capitals tell the acronym
        ("RAG", "用rag做问答", ["rag"]),  # amid Chinese it is no other word
        ("RAG", "先 rag 再答", ["rag"]),
        ("LM", "the lm of mlm", []),
        ("SFT", "SFT数据", ["SFT"]),
        ("MoE", "moe, MOE", ["moe", "MOE"]),  # not all capitals in the glossary: any case
        ("RAG|rag", "a rag", ["rag"]),  # the glossary lists the small spelling itself
        ("RLHF", "rlhf", ["rlhf"]),
    ],
)
def test_short_acronyms(name: str, text: str, expected: list[str]) -> None:
    assert found(glossary_of(name), text) == expected


def test_spans_are_exact_when_folding_changes_lengths() -> None:
    glossary = glossary_of("kg", "位置编码", "ﬂash")
    text = "㎏……½位置编码 flash ﬂash İ位置编码"
    mentions = glossary.find(text)
    assert [text[m.start : m.end] for m in mentions] == ["㎏", "位置编码", "flash", "ﬂash", "位置编码"]
    assert mentions[0] == Mention("kg", 0, 1)


def test_no_character_folds_to_nothing() -> None:
    # equal lengths mean equal offsets only if that holds
    assert all(concepts._FOLD[code] for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)


ALIASES = ["ab", "abc", "a b c", "甲乙", "乙", "乙丙ab", "c1", "甲"]


def brute_force(text: str) -> list[tuple[int, int]]:
    """Every alias at every place, one by one, then the longest first."""
    places = []
    for alias in ALIASES:
        tail = {True: r"(?![a-z0-9]|\.[0-9])", False: r"s?(?![a-z0-9])"}[alias[-1].isdigit()] if alias[-1].isascii() else ""
        if re.search("[a-z]{3}$", alias.replace(" ", "")):
            tail = r"s?(?=[0-9.]*(?![a-z0-9]))"
        body = alias.replace("a b c", "a[ _-]{0,2}b[ _-]{0,2}c").replace("乙丙ab", "乙丙[ _-]{0,2}ab")
        body = re.sub("^(ab|abc)$", lambda m: "[ _-]{0,2}".join(m.group()), body) if alias in ("ab", "abc") else body
        body = body.replace("c1", "c[ _-]{0,2}1")
        head = "(?<![a-z0-9])" if alias[0].isascii() else ""
        for start in range(len(text)):
            match = re.compile(head + body + tail).match(text, start)
            if match:
                places.append(match.span())
    kept: list[tuple[int, int]] = []
    for start, end in sorted(set(places), key=lambda p: (p[0] - p[1], p[0])):
        if all(end <= a or b <= start for a, b in kept):
            kept.append((start, end))
    return sorted(kept)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abcs1. -甲乙丙", max_size=24))
def test_find_agrees_with_brute_force(text: str) -> None:
    glossary = Glossary.of(
        [
            Concept(c[0], c[0], "", tuple(c[1:]), "k", "a", "d", "d")
            for c in (["abc", "a b c"], ["ab"], ["甲乙"], ["乙"], ["乙丙ab"], ["c1"], ["甲"])
        ]
    )
    assert [(m.start, m.end) for m in glossary.find(text)] == brute_force(text)


def test_lookup_and_suggestions() -> None:
    glossary = Glossary.parse(GLOSSARY)
    assert {glossary.lookup(n).name for n in ("rope", "ＲＯＰＥ", "旋转位置编码", "Rotary-Position Embeddings")} == {"旋转位置编码"}  # type: ignore[union-attr]
    assert glossary.lookup("没有这个") is None
    assert glossary.require("mha").key == "多头注意力"
    with pytest.raises(UsageError, match="自注意力"):
        glossary.require("自注意")
    with pytest.raises(UsageError, match="mianpu concept"):
        glossary.require("xyz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[concept]\n", "TOML"),
        ('[[concept]]\nname = "甲"\n', "missing or empty"),
        (GLOSSARY + GLOSSARY, "two concepts"),
        (GLOSSARY.replace('"RAG"', '"r-o-p-e"'), "names both"),
        (GLOSSARY.replace('"RAG"', '"--"'), "without letters"),
        (GLOSSARY.replace('kind = "method"', 'kind = "method"\nnote = "x"'), "not understood: note"),
    ],
)
def test_wrong_glossaries_are_refused(text: str, message: str) -> None:
    with pytest.raises(MianpuError, match=message):
        Glossary.parse(text)


def test_a_missing_glossary_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MianpuError, match="cannot be read"):
        Glossary.load(tmp_path / "none.toml")


def test_the_fingerprint_is_that_of_the_names() -> None:
    one = Glossary.parse(GLOSSARY)
    assert one.fingerprint == Glossary.parse(GLOSSARY).fingerprint
    assert one.fingerprint != Glossary.parse(GLOSSARY.replace('"RAG"', '"RAGX"')).fingerprint


def test_an_empty_glossary_finds_nothing() -> None:
    assert Glossary.of([]).find("自注意力") == []


def test_a_megabyte_a_second() -> None:
    glossary = Glossary.parse(GLOSSARY)
    text = "自注意力让每个位置看到全部位置,RoPE 把位置写进 query;缓存见 KV cache 一节。\n" * 12_000
    assert len(glossary.find(text)) == 36_000
    seconds = processor_seconds(lambda: glossary.find(text))
    assert len(text.encode()) / 1e6 / seconds > 1.0


def rows(library: Library) -> list[tuple[str, str, int, int]]:
    return list(
        library.read(
            'SELECT d.name, m.concept, m.start, m."end" FROM mentions m JOIN passages p ON p.id = m.passage_id'
            " JOIN documents d ON d.id = p.document_id ORDER BY d.name, m.start"
        )
    )


def test_mentions_follow_the_documents_and_the_glossary(tmp_path: Path) -> None:
    glossary = Glossary.parse(GLOSSARY)
    with small_library(
        tmp_path, parsed("a.md", ["自注意力很好", "没有概念", "讲 RoPE"]), parsed("b.md", ["用 LoRA 微调"])
    ) as library:
        assert refresh_mentions(library, glossary) == 2
        text = library.document("a.md").text
        assert [(n, c) for n, c, _, _ in rows(library)] == [("a.md", "自注意力"), ("a.md", "旋转位置编码"), ("b.md", "lora")]
        assert [text[s:e] for n, _, s, e in rows(library) if n == "a.md"] == ["自注意力", "RoPE"]
        assert refresh_mentions(library, glossary) == 0  # nothing changed

        publish(library, parsed("a.md", ["多头注意力"]))  # ingested again: its mentions went with it
        assert [n for n, *_ in rows(library)] == ["b.md"]
        assert refresh_mentions(library, glossary) == 1
        assert [c for _, c, _, _ in rows(library)] == ["多头注意力", "lora"]

        publish(library, removed=["b.md"])
        assert [n for n, *_ in rows(library)] == ["a.md"]

        other = Glossary.parse(GLOSSARY.replace('"MHA"', '"多头"').replace('name = "多头注意力"', 'name = "多头机制"'))
        assert refresh_mentions(library, other) == 1  # another glossary: every document is read again
        assert [c for _, c, _, _ in rows(library)] == ["多头机制"]


def test_an_interrupted_refresh_goes_on(tmp_path: Path) -> None:
    glossary = Glossary.parse(GLOSSARY)

    def stop(stage: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with small_library(tmp_path, parsed("a.md", ["RoPE"]), parsed("b.md", ["LoRA"])) as library:
        with pytest.raises(KeyboardInterrupt):
            refresh_mentions(library, glossary, stop)
        assert [n for n, *_ in rows(library)] == ["a.md"]
        assert refresh_mentions(library, glossary) == 1
        assert [n for n, *_ in rows(library)] == ["a.md", "b.md"]


def test_a_mention_across_two_passages_belongs_to_neither(tmp_path: Path) -> None:
    document = parsed("a.md", ["xx自注意力yy"])
    first, second = document.passages[0], document.passages[0]
    halves = (
        type(first)("a.md", 0, 4, document.document.text[0:4]),
        type(second)("a.md", 4, 8, document.document.text[4:8]),
        type(second)("a.md", 2, 6, document.document.text[2:6]),
    )
    with small_library(tmp_path, type(document)(document.document, (), halves, ())) as library:
        refresh_mentions(library, Glossary.parse(GLOSSARY))
        assert [(s, e) for _, _, s, e in rows(library)] == [(2, 6)]
