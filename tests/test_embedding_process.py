"""The embedding model in its own process: the same vectors, one line when it dies, nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from ingest.errors import MianpuError
from ingest.models.embedding import load_embedder
from ingest.models.embedding_process import EmbedderProcess, start_embedder
from ingest.models.model_files import embedding_model_folder

ROOT = Path(__file__).parent.parent
TEXTS = ["KV 缓存把算过的键和值留下来。", "Attention weighs every position."]


@pytest.fixture(scope="module")
def process() -> Iterator[EmbedderProcess]:
    with closing(start_embedder()) as started:
        yield started


def child(process: EmbedderProcess) -> int:
    pool = process._pool
    assert pool is not None
    return int(next(iter(pool._processes)))


@pytest.mark.model
def test_it_gives_the_vectors_of_the_model(process: EmbedderProcess) -> None:
    here = load_embedder()
    assert (process.fingerprint, process.dimension) == (here.fingerprint, here.dimension)
    assert np.allclose(process.encode_passages(TEXTS), here.encode_passages(TEXTS), atol=1e-5)
    assert np.allclose(process.encode_questions(TEXTS), here.encode_questions(TEXTS), atol=1e-5)
    assert process.encode_passages([]).shape == (0, here.dimension)


@pytest.mark.model
def test_a_process_that_was_killed_is_told_in_one_line_and_replaced(process: EmbedderProcess) -> None:
    assert process.dimension
    killed = child(process)
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(MianpuError, match="ended: ask again") as error:
        for _ in range(100):  # until the pool has noticed
            process.encode_questions(TEXTS)
    assert "\n" not in str(error.value)
    assert process.encode_questions(TEXTS).shape == (2, 384)
    assert child(process) != killed


def test_a_model_that_cannot_be_loaded_is_told_by_whatever_needs_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with closing(EmbedderProcess(tmp_path)) as started:
        with pytest.raises(MianpuError, match="cannot be loaded"):
            started.encode_questions(TEXTS)
        with pytest.raises(MianpuError, match="cannot be loaded"):
            _ = started.dimension
    with pytest.raises(MianpuError, match="closed"):
        started.encode_questions(TEXTS)


@pytest.mark.model
def test_it_ends_with_its_parent() -> None:
    script = f"""
import sys, time
from pathlib import Path
from ingest.models.embedding_process import EmbedderProcess
if __name__ == "__main__":
    process = EmbedderProcess(Path({str(embedding_model_folder(fetch=False))!r}))
    process.dimension
    print(next(iter(process._pool._processes)), flush=True)
    time.sleep(60)
"""
    path = ROOT / ".pytest_cache" / "parent.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert psutil.pid_exists(orphan)
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(orphan).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return
    pytest.fail("the child outlives its parent")
