"""Any history of a folder ends in the library that a fresh ingest of it gives, and embeds no text twice."""

import io
import random
import zipfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ingest.pipeline import PIPELINE, IngestSummary, _texts, ingest, parse_document
from ingest.plan import make_plan
from ingest.sources.files import FoundFiles, find_files
from ingest.sources.opening import FileReader, FoundFile
from ingest.storage.checks import problems
from ingest.storage.library import DocumentInfo, Library
from ingest.storage.vectors import PAIR_BASE
from tests.fakes import WordEmbedder


def info(name: str, content: str, source: str = "", title: str = "题", pipeline: str = "1") -> DocumentInfo:
    values: dict[str, Any] = {field.name: "" for field in fields(DocumentInfo)}
    values |= {"name": name, "source": source or f"/n/{name}", "title": title, "raw_hash": content, "pipeline": pipeline}
    return DocumentInfo(**values)


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

PATHS = ("a.md", "b.md", "b.txt", "sub/a.md", "sub/deep/注意力.md")  # few, so that they meet often
FOLDERS = ("sub", "sub/deep", "新")
ARCHIVES = ("pack.zip", "sub/pack.zip")
TOPICS = ("注意力", "缓存", "位置")


def text(topic: str, version: int, heading: bool) -> str:
    start = f"# {topic}\n\n" if heading else ""
    return f"{start}## {topic}的第{version}问是什么？\n\n{topic}的第{version}个答案，讲的是训练。\n\n## 总结\n\n{topic}总结。\n"


class History:
    """A folder that is changed at random and ingested after most changes; ``steps`` tells what happened."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place, self.root, self.chance = place, place / "notes", random.Random(seed)
        self.root.mkdir()
        self.steps: list[str] = []
        self.fresh = 0

    def run(self, steps: int) -> None:
        changes = (self.write, self.write, self.delete, self.move, self.copy, self.swap, self.move_folder, self.pack, self.unpack)
        with Library.open(self.place / "library", create=True) as self.library:
            for _ in range(steps):
                change = self.chance.choice(changes)
                self.steps.append(change.__name__)
                change()
                kind = self.chance.random()
                if kind < 0.15:
                    self.ingest_a_part()
                elif kind < 0.75:
                    self.ingest_all()
            self.ingest_all()

    # --- changes ---

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def any_file(self) -> Path | None:
        return self.chance.choice(self.files()) if self.files() else None

    def target(self, names: Sequence[str]) -> Path | None:
        """Where a file may be made: nothing is in its way."""
        path = self.root / self.chance.choice(names)
        if path.is_dir() or any(parent.is_file() for parent in path.parents):
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        self.steps.append(f"  -> {path.relative_to(self.root)}")
        return path

    def write(self) -> None:
        if path := self.target(PATHS):
            path.write_text(text(self.chance.choice(TOPICS), self.chance.randint(1, 2), self.chance.random() < 0.7), "utf-8")

    def delete(self) -> None:
        if path := self.any_file():
            self.steps.append(f"  {path.relative_to(self.root)}")
            path.unlink()

    def move(self) -> None:
        source = self.any_file()
        if source and (target := self.target(PATHS if source.suffix != ".zip" else ARCHIVES)) and target != source:
            self.steps.append(f"  {source.relative_to(self.root)}")
            source.replace(target)

    def copy(self) -> None:
        source = self.any_file()
        if source and (target := self.target(PATHS if source.suffix != ".zip" else ARCHIVES)) and target != source:
            self.steps.append(f"  {source.relative_to(self.root)}")
            target.write_bytes(source.read_bytes())

    def swap(self) -> None:
        one, two = self.any_file(), self.any_file()
        if one and two:
            first, second = one.read_bytes(), two.read_bytes()
            one.write_bytes(second)
            two.write_bytes(first)

    def move_folder(self) -> None:
        old, new = (self.root / self.chance.choice(FOLDERS) for _ in range(2))
        if old.is_dir() and not new.exists() and not new.is_relative_to(old) and new.parent.is_dir():
            old.rename(new)
            inside = sorted(new.rglob("*.md"))
            self.steps.append(f"  {old.name} -> {new.name}")
            if inside and self.chance.random() < 0.5:
                inside[0].write_text(text("改动", self.chance.randint(1, 9), True), "utf-8")

    def pack(self) -> None:
        folder = self.root / self.chance.choice(("", *FOLDERS))
        if not folder.is_dir() or not (archive := self.target(ARCHIVES)):
            return
        inside = [path for path in self.files() if path.is_relative_to(folder) and path != archive]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            for path in inside:
                out.write(path, path.relative_to(folder).as_posix())
        for path in inside if self.chance.random() < 0.5 else ():
            path.unlink()
        archive.write_bytes(buffer.getvalue())

    def unpack(self) -> None:
        folder = self.root / self.chance.choice(FOLDERS)
        path = next((path for path in self.files() if zipfile.is_zipfile(path)), None)
        if path and not folder.exists():
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            path.unlink()

    # --- what must hold ---

    def ingest_a_part(self) -> None:
        """A folder or a file alone must not spoil what the whole gives afterwards."""
        part = self.chance.choice([self.any_file(), *(self.root / name for name in FOLDERS)])
        if part and part.exists():
            self.steps.append(f"  ingest {part.relative_to(self.root)}")
            ingest(self.library, [part], WordEmbedder)
            assert problems(self.library) == []

    def ingest_all(self) -> None:
        self.steps.append("  ingest all")
        known = {row[0] for row in self.library.read("SELECT hash FROM embeddings")}
        summary = ingest(self.library, [self.root], WordEmbedder)
        assert problems(self.library) == []
        wanted = self.library.read(
            "SELECT embedding FROM passages UNION SELECT embedding FROM pairs WHERE answer_end > answer_start"
        )
        assert summary.embedded == len({row[0] for row in wanted} - known)  # what was never seen, and nothing else
        names = [item.name for item in self.library.documents()]
        assert {*summary.added, *summary.updated, *summary.unchanged, *summary.renamed} == set(names)
        self.compare_with_the_files(summary)
        generation = self.library.generation()
        quiet = ingest(self.library, [self.root], lambda: pytest.fail("nothing changed, so nothing is embedded"))
        assert (sorted(quiet.unchanged), self.library.generation()) == (names, generation)

    def compare_with_the_files(self, summary: IngestSummary) -> None:
        """Every content once, under the name of a file that holds it, exactly as a library of those files alone has it."""
        files = {str(file.source): file for file in find_files([self.root]).files}
        documents = [self.library.document(item.name) for item in self.library.documents()]
        with FileReader() as reader:
            contents = {source: reader.hash(file) for source, file in files.items()}
            assert sorted(document.raw_hash for document in documents) == sorted(set(contents.values()))
            parsed = []
            for document in documents:
                file = files[document.source]
                assert (document.raw_hash, document.name) == (contents[document.source], file.name)
                parsed.append(parse_document(file.source, file.name, reader.read(file)))
        assert [p.document for p in parsed] == documents
        kept = {document.name: document.raw_hash for document in documents}
        assert len(summary.duplicates) == len(files) - len(documents)
        assert all(contents[source] == kept[name] for source, name in summary.duplicates)
        self.fresh += 1
        with Library.open(self.place / f"fresh-{self.fresh}", create=True) as fresh:
            model = WordEmbedder()
            fresh.use_embedder(model.fingerprint, model.dimension)
            texts = {key: text for p in parsed for key, text, _ in _texts(p)}
            if texts:
                fresh.put_embeddings(list(texts), model.encode_passages(list(texts.values())))
            fresh.publish(parsed, PIPELINE)
            assert contents_of(self.library) == contents_of(fresh)


def contents_of(library: Library) -> list[tuple[object, ...]]:
    """Passages, pairs and headings of all documents, with the vector of each passage and answered question."""
    ids, values = library.vector_contents()
    stored = {int(i): values[n].tobytes() for n, i in enumerate(ids)}
    return [
        (
            [(p.start, p.end, p.text, p.headings, p.line, p.page, stored[p.id]) for p in library.all_passages(item.name)],
            [(replace(q, id=0), stored.get(q.id + PAIR_BASE)) for q in library.all_pairs(item.name)],
            library.headings(item.name),
        )
        for item in library.documents()
    ]


@pytest.mark.parametrize("seed", range(8))
def test_any_history_ends_in_the_library_of_a_fresh_ingest(tmp_path: Path, seed: int) -> None:
    history = History(tmp_path, seed)
    try:
        history.run(25)
    except BaseException:
        print("\n".join(history.steps))
        raise


def test_another_pipeline_is_told_by_the_documents() -> None:
    files = found("a.md")
    assert make_plan([info("a.md", "A", pipeline=PIPELINE)], files, hashes(files, "A"), "other").updated == ["a.md"]
