"""The library beside truths computed another way, and beside other processes."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from ingest.document import Cut, Document, Heading, ParsedDocument, Passage, QuestionAnswer
from ingest.errors import LibraryBusy, MianpuError
from ingest.storage import vectors
from ingest.storage.checks import problems
from ingest.storage.library import Library, passage_hash, question_hash

DIMENSION = 8


def vector(text: str) -> vectors.Vectors:
    """A unit vector that depends on nothing but the text."""
    values = np.random.default_rng(list(text.encode())).normal(size=DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


def parsed(name: str, *pieces: str, open_question: str = "", raw_hash: str = "") -> ParsedDocument:
    """A document whose passages are the pieces; the first piece is also a question answered by the second."""
    text = "\n".join([*pieces, open_question]) if open_question else "\n".join(pieces)
    passages, start = [], 0
    for line, piece in enumerate(pieces, 1):
        passages.append(Passage(name, start, start + len(piece), piece, ("标题",), line))
        start += len(piece) + 1
    first = passages[0]
    found = []
    if len(pieces) > 1:
        second = passages[1]
        found.append(QuestionAnswer(name, first.text, first.start, first.end, second.text, second.start, second.end, ("标题",)))
    if open_question:
        found.append(
            QuestionAnswer(
                name, open_question, start, start + len(open_question), "", start + len(open_question), start + len(open_question)
            )
        )
    document = Document(
        name,
        f"/notes/{name}",
        "标题",
        text,
        raw_hash or name,
        "text",
        "utf-8",
        (Cut(0, 2, "image", "图片"),),
        (("author", "某人"),),
    )
    return ParsedDocument(document, (Heading(0, len(first.text), 1, first.text),), tuple(passages), tuple(found))


def put(library: Library, documents: Sequence[ParsedDocument], removed: Sequence[str] = ()) -> None:
    library.use_embedder("fake", DIMENSION)
    for document in documents:
        for p in document.passages:
            library.put_embeddings([passage_hash(p.embedding_text)], vector(p.embedding_text)[None])
        for q in document.pairs:
            if q.answer:
                library.put_embeddings([question_hash(q.question)], vector(q.question)[None])
    library.publish(documents, "1", removed)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


def test_what_goes_in_comes_out(library: Library) -> None:
    document = parsed("甲.md", "什么是缓存？", "存下键和值。", open_question="多大？")
    put(library, [document])
    assert library.document("甲.md") == document.document
    assert library.headings("甲.md") == list(document.headings)
    stored = library.all_passages("甲.md")
    assert [(p.start, p.end, p.text, p.headings, p.line) for p in stored] == [
        (p.start, p.end, p.text, p.headings, p.line) for p in document.passages
    ]
    assert library.passages([p.id for p in reversed(stored)] + [999]) == stored[::-1]
    assert [(q.question, q.answer) for q in library.all_pairs("甲.md")] == [("什么是缓存？", "存下键和值。"), ("多大？", "")]
    info = library.documents()[0]
    assert (info.passages, info.pairs, info.characters) == (2, 2, len(document.document.text))
    assert problems(library) == []


def test_nearest_equals_numpy(library: Library) -> None:
    documents = [parsed(f"{d}.md", *(f"文档{d}的第{i}段" for i in range(9))) for d in range(12)]
    put(library, documents)
    passages, pairs = library.all_passages(), library.all_pairs()
    table = np.stack([vector(p.embedding_text) for p in passages])
    question_table = np.stack([vector(q.question) for q in pairs])
    for question in ("第一问", "第二问", "第三问"):
        asked = vector(question)
        for items, rows, found in (
            (passages, table, library.nearest_passages(asked, 7)),
            (pairs, question_table, library.nearest_questions(asked, 7)),
        ):
            scores = rows @ asked
            order = np.argsort(-scores)[:7]
            assert [i for i, _ in found] == [items[n].id for n in order]
            assert np.allclose([score for _, score in found], scores[order], atol=1e-6)
    ids = [p.id for p in passages]
    assert np.array_equal(library.vectors_of(ids[::-1]), table[::-1])
    with pytest.raises(KeyError):
        library.vectors_of([ids[-1] + 100])


def test_replacing_and_removing(library: Library) -> None:
    put(library, [parsed("a.md", "旧的问题？", "旧的答案。"), parsed("b.md", "另一个？", "另一答。")])
    put(library, [parsed("a.md", "新的问题？", "新的答案。", "新的一段。")], removed=["b.md", "never.md"])
    assert [d.name for d in library.documents()] == ["a.md"]
    assert [p.text for p in library.all_passages()] == ["新的问题？", "新的答案。", "新的一段。"]
    assert library.match_words("另一", 5) == []
    assert len(library.nearest_passages(vector("问"), 50)) == 3
    assert problems(library) == []
    assert library.forget_unused_embeddings() == 6
    assert problems(library) == []


def test_an_open_question_is_not_searched_by_vector_even_after_a_rebuild(library: Library) -> None:
    # the same question is open in one document and answered in the other, so its embedding is stored
    put(library, [parsed("a.md", "什么？", "某物。"), parsed("b.md", "一段。", open_question="什么？")])
    before = library.nearest_questions(vector("什么？"), 5)
    for path in library.folder.glob("vectors-*.faiss"):
        path.unlink()
    with Library.open(library.folder) as again:
        assert again.nearest_questions(vector("什么？"), 5) == before
        assert problems(again) == []


def test_bm25_prefers_the_rare_word_and_the_shorter_passage(library: Library) -> None:
    put(library, [
        parsed("a.md", "量化让模型变小。"),
        parsed("b.md", "模型训练很慢，推理也慢，显存也大，量化是其中一种办法，还有剪枝与蒸馏，以及许多别的办法。"),
        parsed("c.md", "模型的位置编码。"),
    ])  # fmt: skip
    texts = {p.id: p.document for p in library.all_passages()}
    ranked = [texts[i] for i, _ in library.match_words("模型量化", 10)]
    assert ranked == ["a.md", "b.md", "c.md"]
    scores = [score for _, score in library.match_words("模型量化", 10)]
    assert scores == sorted(scores, reverse=True)
    assert library.match_words("？！", 5) == []
    assert library.match_words('" OR *', 5) == []


@pytest.mark.parametrize("damage", ["delete", "truncate", "other"])
def test_a_lost_or_damaged_vector_file_is_built_again(library: Library, damage: str) -> None:
    put(library, [parsed("a.md", "什么是缓存？", "存下键和值。"), parsed("b.md", "第三段。")])
    expected = library.nearest_passages(vector("问"), 3), library.nearest_questions(vector("问"), 3)
    path = next(library.folder.glob("vectors-*.faiss"))
    if damage == "delete":
        path.unlink()
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.write_bytes(path.read_bytes()[::-1])
    with Library.open(library.folder) as again:
        assert (again.nearest_passages(vector("问"), 3), again.nearest_questions(vector("问"), 3)) == expected
        assert problems(again) == []
    assert vectors.read(path, library.meta("vectors_sha256") or "") is not None


def test_a_publication_that_fails_leaves_the_old_state(library: Library) -> None:
    put(library, [parsed("a.md", "什么？", "某物。")])
    generation = library.generation()
    with pytest.raises(KeyError):
        library.publish([parsed("b.md", "没有向量的一段。")], "1", removed=["a.md"])
    assert [d.name for d in library.documents()] == ["a.md"]
    assert library.generation() == generation
    assert [path.name for path in library.folder.glob("vectors-*")] == [f"vectors-{generation}.faiss"]
    assert problems(library) == []


def test_another_model_drops_every_vector_and_says_what_is_missing(library: Library) -> None:
    put(library, [parsed("a.md", "什么？", "某物。", open_question="多大？")])
    assert library.missing_embeddings() == []
    library.use_embedder("fake", DIMENSION)
    assert library.missing_embeddings() == []
    library.use_embedder("other", 3)
    missing = library.missing_embeddings()
    assert {(text, question) for _, text, question in missing} == {
        ("标题\n什么？", False),
        ("标题\n某物。", False),
        ("什么？", True),
    }
    assert library.nearest_passages(np.ones(3, dtype=np.float32), 5) == []
    assert len(problems(library)) == 1 and "without an embedding" in problems(library)[0]
    values = np.eye(3, dtype=np.float32)
    library.put_embeddings([key for key, _, _ in missing], values)
    library.refresh_vectors()
    assert problems(library) == []
    assert len(library.nearest_passages(values[0], 5)) == 2


def test_documents_may_swap_their_names(library: Library) -> None:
    put(library, [parsed("a.md", "甲。"), parsed("b.md", "乙。")])
    library.rename_all([("a.md", "b.md", "/x/b.md"), ("b.md", "a.md", "/x/a.md"), ("none.md", "c.md", "/x/c.md")])
    assert [(d.name, d.source, library.all_passages(d.name)[0].text) for d in library.documents()] == [
        ("a.md", "/x/a.md", "乙。"),
        ("b.md", "/x/b.md", "甲。"),
    ]
    library.rename("a.md", "z.md", "/y/z.md")
    assert [d.name for d in library.documents()] == ["b.md", "z.md"]
    assert problems(library) == []


def test_what_is_no_library_gives_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MianpuError, match="there is no library"):
        Library.open(tmp_path)
    (tmp_path / "library.db").write_text("this is not a database, but it is long enough to look at" * 20)
    with pytest.raises(MianpuError, match="is not a library, or is damaged"):
        Library.open(tmp_path)
    with pytest.raises(MianpuError, match="no document is named"):
        Library.open(tmp_path / "new", create=True).document("x")


def other_process(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a second process with ``library`` open there."""
    head = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from pathlib import Path
        from ingest.storage.library import Library
        from ingest.errors import LibraryBusy
        from tests.test_library import parsed, put
        library = Library.open(Path({str(folder)!r}))
    """
    source = textwrap.dedent(head) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=120, check=False)


def test_what_another_process_publishes_is_seen(library: Library) -> None:
    put(library, [parsed("a.md", "什么？", "某物。")])
    assert len(library.nearest_passages(vector("问"), 9)) == 2  # the index is in memory now
    done = other_process(library.folder, "put(library, [parsed('b.md', '第三段。')], removed=['a.md'])")
    assert done.returncode == 0, done.stderr
    assert [d.name for d in library.documents()] == ["b.md"]
    assert [p.text for p in library.passages([i for i, _ in library.nearest_passages(vector("问"), 9)])] == ["第三段。"]
    put(library, [parsed("c.md", "第四段。")])
    assert problems(library) == []


def test_only_one_process_may_ingest(library: Library) -> None:
    attempt = """
        try:
            with library.writer():
                print("free")
        except LibraryBusy as error:
            print("busy:", error)
    """
    with library.writer():
        done = other_process(library.folder, attempt)
        assert done.stdout.startswith(f"busy: another ingest (process {os.getpid()}) is writing"), done.stderr
    assert other_process(library.folder, attempt).stdout == "free\n"


def test_a_locked_database_is_busy_and_not_a_traceback(library: Library) -> None:
    with Library.open(library.folder) as second:
        with second.transaction() as connection:
            connection.execute("PRAGMA busy_timeout = 50")
        with library.transaction(), pytest.raises(LibraryBusy, match="try again"):
            second.set_meta(a="b")
        second.set_meta(a="b")
        assert library.meta("a") == "b"


def test_vectors_that_cannot_be_written_are_told_and_made_again(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is only a short cut: a disk with no room for it loses no document, and one line says so."""
    put(library, [parsed("a.md", "什么？", "某物。")])

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(vectors, "write", full)
        put(library, [parsed("b.md", "第三段。")])
        assert [record.getMessage() for record in caplog.records if "the disk is full" in record.getMessage()]
        assert library.vector_file_problem() is None  # the one of before stands
        next(library.folder.glob("vectors-*.faiss")).unlink()
        with Library.open(library.folder) as again:
            assert len(again.nearest_passages(vector("问"), 9)) == 3  # searched in memory
    with Library.open(library.folder) as again:
        assert len(again.nearest_passages(vector("问"), 9)) == 3
        assert again.vector_file_problem() is None
    assert problems(library) == []
