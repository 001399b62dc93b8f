"""Any history of a folder ends in the library that a fresh ingest of it gives, and embeds no text twice."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ingest.checks import problems
from ingest.document import Document
from ingest.files import FoundFiles, find_files
from ingest.library import DocumentInfo, Library
from ingest.opening import FileReader, FoundFile
from ingest.pipeline import PIPELINE, IngestSummary, ingest, parse_document
from ingest.plan import make_plan
from ingest.vectors import PAIR_BASE, Vectors
from tests.fakes import WordEmbedder


def info(name: str, content: str, source: str = "", title: str = "题", pipeline: str = "1") -> DocumentInfo:
    return DocumentInfo(0, name, source or f"/n/{name}", title, content, pipeline, 1, 1, 0, "")


def found(*names: str, root: str = "/n") -> FoundFiles:
    files = tuple(FoundFile(Path(root) / name, name, Path(root)) for name in names)
    return FoundFiles(files, (Path(root),), ())


def hashes(files: FoundFiles, *contents: str) -> dict[Path, str]:
    return {file.source: content for file, content in zip(files.files, contents, strict=True)}


# --- single steps, by hand ------------------------------------------------------------------------------------------


def test_content_goes_before_name_whatever_the_order() -> None:
    """a.md was moved to z.md, and another text stands in a file that merely comes first."""
    documents = [info("sub/a.md", "A", "/old/sub/a.md"), info("sub/b.md", "B", "/old/sub/b.md")]
    files = found("sub/a.md", "sub/b.md", "z.md", root="/new")
    plan = make_plan(documents, files, hashes(files, "new", "B", "A"), "1")
    assert [(old, new) for _, old, new in plan.renames] == [("sub/b.md", "sub/b.md"), ("sub/a.md", "z.md")]
    assert plan.added == ["sub/a.md"]


def test_a_file_that_moved_with_its_folder_and_was_edited_keeps_its_document() -> None:
    documents = [info("a.md", "A", "/old/a.md"), info("b.md", "B", "/old/b.md")]
    files = found("a.md", "b.md", root="/new")
    plan = make_plan(documents, files, hashes(files, "A", "changed"), "1")
    assert (plan.added, plan.updated, plan.removed) == ([], ["b.md"], ())


def test_a_file_of_the_same_name_elsewhere_is_another_document() -> None:
    """A README of one project does not replace the README of another one that is gone."""
    documents = [info("README.md", "A", "/old/README.md")]
    files = found("README.md", "other.md", root="/new")
    plan = make_plan(documents, files, hashes(files, "B", "C"), "1")
    assert plan.added == ["new/README.md", "other.md"]
    assert (plan.updated, plan.renames, plan.removed) == ([], [], ())


def test_a_file_that_became_a_folder_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a.md").mkdir()
    (tmp_path / "a.md" / "b.md").write_text("text")
    documents = [info("a.md", "A", str(tmp_path / "a.md"))]
    files = find_files([tmp_path])
    plan = make_plan(documents, files, hashes(files, "B"), "1")
    assert (plan.added, plan.removed) == (["a.md/b.md"], ("a.md",))


@pytest.mark.parametrize(
    ("old", "new", "title", "again"),
    [
        ("a.md", "b.md", "注意力", False),
        ("a.md", "b.md", "a", True),  # its name is its title
        ("a.md", "sub/a.md", "a", False),
        ("a.md", "a.txt", "注意力", True),  # no Markdown any more
    ],
)
def test_what_moved_is_read_again_only_when_it_reads_otherwise(old: str, new: str, title: str, again: bool) -> None:
    files = found(new)
    plan = make_plan([info(old, "A", title=title)], files, hashes(files, "A"), "1")
    assert len(plan.renames) == 1
    assert [name for _, name in plan.work] == ([new] if again else [])
    assert not plan.updated


def test_an_archive_that_cannot_be_opened_says_nothing_of_its_members(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 damaged")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("here.md", "text")
        archive.writestr("../outside.md", "text")
    sources = ["a.zip/x.md", "b.zip/here.md", "b.zip/gone.md", "c.zip/x.md", "b.zip/here.md/x.md"]
    documents = [info(source, str(n), str(tmp_path / source)) for n, source in enumerate(sources)]
    plan = make_plan(documents, FoundFiles((), (tmp_path,), ()), {}, "1")
    assert plan.removed == ("b.zip/gone.md", "c.zip/x.md")  # «here.md» is no archive, so what was below it says nothing


# --- any history ----------------------------------------------------------------------------------------------------

PATHS = ("a.md", "b.md", "c.txt", "sub/a.md", "sub/b.txt", "deep/er/a.md", "other/x.md", "other/notes.log", "注意力.md")
FOLDERS = ("sub", "deep", "deep/er", "other", "新")
ARCHIVES = ("pack.zip", "sub/pack.zip", "other/all.zip")
TOPICS = ("注意力", "缓存", "位置", "量化", "归一化", "显存")


def text(topic: str, version: int, heading: bool) -> str:
    start = f"# {topic}\n\n" if heading else ""
    return f"{start}## {topic}的第{version}问是什么？\n\n{topic}的第{version}个答案，讲的是训练。\n\n## 总结\n\n{topic}总结。\n"


class Recording(WordEmbedder):
    """Keeps what was embedded, and fails on a text that had an embedding already."""

    def __init__(self, library: Library) -> None:
        super().__init__()
        self.library = library

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        assert len(set(texts)) == len(texts)
        return super().encode_passages(texts)


class FolderHistory(RuleBasedStateMachine):
    """A folder is changed at will and ingested now and then."""

    @initialize()
    def start(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="history-"))
        self.root = self.place / "notes"
        self.root.mkdir()
        self.library = Library.open(self.place / "library", create=True)
        self.fresh = 0

    def teardown(self) -> None:
        self.library.close()
        shutil.rmtree(self.place)

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def free(self, path: Path) -> bool:
        """Whether a file may be made here: nothing is in its way."""
        return not path.is_dir() and not any(parent.is_file() for parent in path.parents)

    @rule(path=st.sampled_from(PATHS), topic=st.sampled_from(TOPICS), version=st.integers(1, 3), heading=st.booleans())
    def write(self, path: str, topic: str, version: int, heading: bool) -> None:
        target = self.root / path
        if self.free(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text(topic, version, heading), "utf-8")

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.files())).unlink()

    @precondition(lambda self: self.files())
    @rule(data=st.data(), path=st.sampled_from(PATHS + ARCHIVES), copy=st.booleans())
    def move(self, data: st.DataObject, path: str, copy: bool) -> None:
        source, target = data.draw(st.sampled_from(self.files())), self.root / path
        if self.free(target) and source != target:
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copy if copy else shutil.move)(source, target)

    @precondition(lambda self: len(self.files()) > 1)
    @rule(data=st.data())
    def swap(self, data: st.DataObject) -> None:
        one, two = (data.draw(st.sampled_from(self.files())) for _ in range(2))
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)

    @rule(source=st.sampled_from(FOLDERS), to=st.sampled_from(FOLDERS), edit=st.booleans())
    def move_folder(self, source: str, to: str, edit: bool) -> None:
        old, new = self.root / source, self.root / to
        if not old.is_dir() or new.exists() or new.is_relative_to(old) or not self.free(new / "x"):
            return
        new.parent.mkdir(parents=True, exist_ok=True)
        old.rename(new)
        inside = sorted(path for path in new.rglob("*.md"))
        if edit and inside:
            inside[0].write_text(text("改动", len(self.files()), True), "utf-8")

    @rule(source=st.sampled_from(("", *FOLDERS)), to=st.sampled_from(ARCHIVES), keep=st.booleans())
    def pack(self, source: str, to: str, keep: bool) -> None:
        folder, archive = self.root / source, self.root / to
        if not folder.is_dir() or not self.free(archive):
            return
        inside = [path for path in self.files() if path.is_relative_to(folder) and path != archive]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for path in inside:
                out.write(path, path.relative_to(folder).as_posix())
        for path in inside if not keep else ():
            path.unlink()
        archive.parent.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(buffer.getvalue())

    @rule(archive=st.sampled_from(ARCHIVES), to=st.sampled_from(FOLDERS))
    def unpack(self, archive: str, to: str) -> None:
        path, folder = self.root / archive, self.root / to
        if path.is_file() and zipfile.is_zipfile(path) and not folder.exists() and self.free(folder / "x"):
            zipfile.ZipFile(path).extractall(folder)
            path.unlink()

    @rule()
    def ingest_all(self) -> None:
        known = {row[0] for row in self.library.read("SELECT hash FROM embeddings")}
        summary = ingest(self.library, [self.root], lambda: Recording(self.library))
        self.check(summary, known)

    @rule(folder=st.sampled_from(FOLDERS))
    def ingest_part(self, folder: str) -> None:
        """A part first must not spoil the whole afterwards."""
        if (self.root / folder).is_dir():
            ingest(self.library, [self.root / folder], lambda: Recording(self.library))

    @rule(data=st.data())
    def ingest_file(self, data: st.DataObject) -> None:
        if self.files():
            ingest(self.library, [data.draw(st.sampled_from(self.files()))], lambda: Recording(self.library))

    @invariant()
    def sound(self) -> None:
        assert problems(self.library) == []

    def check(self, summary: IngestSummary, known: set[str]) -> None:
        here = find_files([self.root])
        by_source = {str(file.source): file for file in here.files}
        documents = [self.library.document(item.name) for item in self.library.documents()]
        with FileReader() as reader:
            contents = {str(file.source): reader.hash(file) for file in here.files}
            # every content once, under the name and from the place of a file that holds it, as a fresh reading of that file gives it
            assert sorted(document.raw_hash for document in documents) == sorted(set(contents.values()))
            for document in documents:
                assert document.raw_hash == contents[document.source]
                assert document.name == by_source[document.source].name
                data = reader.read(by_source[document.source])
                self.same(document, parse_document(Path(document.source), document.name, data).document)
        said = {*summary.added, *summary.updated, *summary.unchanged, *summary.renamed}
        assert said == {document.name for document in documents}
        assert len(summary.duplicates) == len(here.files) - len(documents)
        assert {(path, name) for path, name in summary.duplicates} <= {
            (source, document.name)
            for source, content in contents.items()
            for document in documents
            if document.raw_hash == content
        }
        wanted = self.library.read(
            "SELECT embedding FROM passages UNION SELECT embedding FROM pairs WHERE answer_end > answer_start"
        )
        assert summary.embedded == len({row[0] for row in wanted} - known)
        self.compare_with_a_fresh_library(documents)
        quiet = ingest(self.library, [self.root], lambda: pytest.fail("nothing changed, so nothing is embedded"))
        assert not (quiet.added or quiet.updated or quiet.renamed or quiet.removed)
        assert set(quiet.unchanged) == said

    def same(self, document: Document, expected: Document) -> None:
        assert document.text == expected.text and document.title == expected.title
        assert (document.format, document.encoding, document.cuts) == (expected.format, expected.encoding, expected.cuts)

    def compare_with_a_fresh_library(self, documents: Sequence[Document]) -> None:
        """Passages, pairs and vectors too; where a content stands in several files, either of them may be the document."""
        self.fresh += 1
        with Library.open(self.place / f"fresh-{self.fresh}", create=True) as fresh:
            ingest(fresh, [Path(document.source) for document in documents if Path(document.source).is_file()], WordEmbedder)
            ingest(fresh, [self.root], WordEmbedder)
            suffixes = {document.raw_hash: PurePosixPath(document.source).suffix for document in documents}
            theirs = {d.raw_hash: d for d in map(fresh.document, (item.name for item in fresh.documents()))}
            assert theirs.keys() == suffixes.keys()
            for document in documents:
                other = theirs[document.raw_hash]
                if PurePosixPath(other.source).suffix == suffixes[document.raw_hash]:
                    assert contents_of(self.library, document.name) == contents_of(fresh, other.name)


def contents_of(library: Library, name: str) -> tuple[object, ...]:
    """Passages, pairs and headings of a document, with the vector of each passage and answered question."""
    ids, values = library.vector_contents()
    stored = {int(i): values[n].tobytes() for n, i in enumerate(ids)}
    passages = library.all_passages(name)
    pairs = library.all_pairs(name)
    return (
        [(p.start, p.end, p.text, p.headings, p.line, p.page, stored[p.id]) for p in passages],
        [(q.question, q.answer, q.question_start, q.answer_start, q.headings, stored.get(q.id + PAIR_BASE)) for q in pairs],
        library.headings(name),
    )


FolderHistory.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFolderHistory = FolderHistory.TestCase


def test_another_pipeline_is_told_by_the_documents() -> None:
    files = found("a.md")
    assert make_plan([info("a.md", "A", pipeline=PIPELINE)], files, hashes(files, "A"), "other").updated == ["a.md"]
