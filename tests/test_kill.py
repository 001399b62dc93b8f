"""SIGKILL at any moment of an ingest: the library opens, holds together, and the next ingest completes it."""

import multiprocessing
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np

from ingest import pipeline
from ingest.pipeline import ingest
from ingest.storage.checks import problems
from ingest.storage.library import Library
from ingest.storage.vectors import Vectors
from tests.fakes import WordEmbedder

KILLS = 10


class SlowEmbedder(WordEmbedder):
    """Takes as long as a small real model, so that kills fall into every stage."""

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        time.sleep(0.004 * len(texts))
        return super().encode_passages(texts)


class SlowLibrary(Library):
    """Pauses before and after every commit, so that kills fall there too: what belongs together must be one transaction."""

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with super().transaction() as connection:
            yield connection
            time.sleep(0.01)
        time.sleep(0.02)


def write_notes(folder: Path, seed: int) -> None:
    """Twelve notes with questions and long texts; their words come from the seed."""
    chance = random.Random(seed)
    vocabulary = ["注意力", "缓存", "位置", "量化", "显存", "训练", "归一化", "梯度", "采样", "路由", "检索", "蒸馏"]
    folder.mkdir(exist_ok=True)
    for n in range(12):
        parts = [f"# 第{n}篇"]
        for question in range(chance.randint(2, 6)):
            body = "".join(
                f"{chance.choice(vocabulary)}与{chance.choice(vocabulary)}的关系是第{chance.randint(0, 999)}条。" for _ in range(40)
            )
            parts.append(f"## {chance.choice(vocabulary)}的第{question}问是什么？\n\n{body}")
        (folder / f"{n:02}.md").write_text("\n\n".join(parts), "utf-8")


def change_notes(folder: Path) -> None:
    """What happens to a folder between two ingests: notes edited, removed, renamed, added."""
    for n in (1, 4, 7):
        path = folder / f"{n:02}.md"
        path.write_text(path.read_text("utf-8").replace("关系", "联系"), "utf-8")
    (folder / "02.md").unlink()
    (folder / "03.md").rename(folder / "renamed.md")
    (folder / "new.md").write_text("# 新的\n\n## 新的问题是什么？\n\n新的答案，讲的是缓存。", "utf-8")


def content(library: Library) -> list[object]:
    """Everything a reader can see of a library, apart from ids and times."""
    found: list[object] = []
    for info in library.documents():
        found.append((library.document(info.name), info.pipeline, library.headings(info.name)))
        for p in library.all_passages(info.name):
            vector = library.vectors_of([p.id])[0]
            found.append((p.start, p.end, p.text, p.headings, p.line, np.round(vector, 6).tolist()))
        found += [(q.question, q.answer, q.question_start, q.answer_start, q.headings) for q in library.all_pairs(info.name)]
    found.append([round(score, 4) for _, score in library.match_words("注意力 缓存 联系", 20)])
    return found


def run(library: Path, notes: Path, ready: Connection) -> None:
    """One ingest in small groups: what the process that gets killed does."""
    pipeline.GROUP, pipeline.BATCH = 24, 8
    with SlowLibrary.open(library, create=True) as opened:
        ready.send("ready")
        ingest(opened, [notes], SlowEmbedder)


def start(library: Path, notes: Path) -> ForkServerProcess:
    """An ingest in its own process; returns when its work begins."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill_preload", "tests.test_kill"])
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=run, args=(library, notes, there), daemon=True)
    process.start()
    there.close()
    assert here.recv() == "ready"
    here.close()
    return process


def test_a_kill_at_any_moment(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write_notes(notes, 1)
    with Library.open(tmp_path / "base", create=True) as base:
        ingest(base, [notes], WordEmbedder)
        assert problems(base) == []
    change_notes(notes)
    with Library.open(tmp_path / "truth", create=True) as truth:
        ingest(truth, [notes], WordEmbedder)
        expected = content(truth)
    process = start(tmp_path / "timed", notes)
    started = time.monotonic()
    process.join(60)
    assert process.exitcode == 0
    whole = time.monotonic() - started

    chance = random.Random(20240917)
    states = []
    for kill in range(KILLS):
        folder = tmp_path / f"killed-{kill}"
        if kill % 3 == 2:  # an update of an existing library; the others begin with nothing
            shutil.copytree(tmp_path / "base", folder)
        process = start(folder, notes)
        time.sleep(whole * (kill + chance.random()) / KILLS)
        process.kill()
        process.join(30)
        with Library.open(folder) as library:
            assert problems(library) == [], f"after kill {kill}"
            states.append((library.passage_count(), int(library.read("SELECT count(*) FROM embeddings")[0][0])))
            ingest(library, [notes], WordEmbedder)
            assert problems(library) == [], f"after completing {kill}"
            assert content(library) == expected, f"after completing {kill}"
    assert len(set(states)) >= 5, f"the kills fell on too few different states: {states}"
