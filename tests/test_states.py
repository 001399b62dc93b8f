"""States on disk: the budget, the order of forgetting, and everything that may have happened to a file meanwhile."""

import json
import os
from pathlib import Path

import pytest

from assistant.engine.states import STATES, StateFigures, StateStore, library_states, states_figures
from web import cli

HEAD = 10  # bytes before the state in its file


def store(folder: Path, room: int = 3) -> StateStore:
    """Room for so many states of 100 bytes."""
    return StateStore(folder, room * (100 + HEAD))


def state(n: int) -> bytes:
    return bytes([n]) * 100


def test_what_was_put_is_there_also_for_the_next_process(tmp_path: Path) -> None:
    first = store(tmp_path)
    assert first.get("a-1") is None
    assert first.put("a-1", state(1))
    assert first.get("a-1") == state(1)
    assert "a-1" in first and "b-1" not in first
    figures = first.figures()
    assert (figures.states, figures.size, figures.hits, figures.misses) == (1, 110, 1, 1)
    assert store(tmp_path).get("a-1") == state(1)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for n, key in enumerate("abc"):
        kept.put(key, state(n))
    assert kept.get("a") == state(0)
    kept.put("d", state(4))
    assert [key for key in "abcd" if key in kept] == ["a", "c", "d"]
    assert sorted(path.stem for path in tmp_path.glob("*.state")) == ["a", "c", "d"]


def test_the_order_of_use_outlives_the_process(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for n, key in enumerate("abc"):
        kept.put(key, state(n))
        os.utime(tmp_path / f"{key}.state", ns=(n * 10**9, n * 10**9))
    kept.get("a")
    again = store(tmp_path)
    again.put("d", state(4))
    assert [key for key in "abcd" if key in again] == ["a", "c", "d"]


def test_a_state_larger_than_the_budget_is_not_kept(tmp_path: Path) -> None:
    assert not store(tmp_path, 1).put("a", bytes(200))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"MPST1\n", b"rubbish" * 20])
def test_a_damaged_file_is_dropped_not_used(tmp_path: Path, damage: bytes) -> None:
    kept = store(tmp_path)
    kept.put("a", state(1))
    path = tmp_path / "a.state"
    path.write_bytes(damage)
    assert kept.get("a") is None
    assert "a" not in kept
    assert not path.exists() or not damage


def test_one_flipped_bit_is_noticed(tmp_path: Path) -> None:
    kept = store(tmp_path)
    kept.put("a", state(1))
    data = bytearray((tmp_path / "a.state").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.state").write_bytes(data)
    assert kept.get("a") is None


def test_a_killed_process_leaves_nothing_that_counts(tmp_path: Path) -> None:
    part = tmp_path / "a.1.part"
    part.write_bytes(b"MPST1\nhalf")
    os.utime(part, (0, 0))
    kept = store(tmp_path)
    assert "a" not in kept and not part.exists()


def test_a_disk_that_cannot_be_written_only_forgets(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = store(tmp_path / "file")
    assert not kept.put("a", state(1))
    assert kept.get("a") is None


def test_states_of_passages_that_are_gone_go_too(tmp_path: Path) -> None:
    kept = store(tmp_path)
    for key in ("one-x", "two-x", "two-y"):
        kept.put(key, state(1))
    assert kept.retain({"one"}) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["one-x.state"]


def test_a_library_keeps_its_states_below_itself_or_not_at_all(tmp_path: Path) -> None:
    assert library_states(tmp_path, 0) is None
    found = library_states(tmp_path, 1)
    assert found is not None and found.folder == tmp_path / STATES
    assert 0 < found.budget <= 2**20


def test_hits_and_misses_are_counted_across_processes(tmp_path: Path) -> None:
    first, second = store(tmp_path), store(tmp_path)
    first.put("a", state(1))
    assert (first.get("a"), first.get("b"), second.get("a")) == (state(1), None, state(1))
    figures = store(tmp_path).figures()
    assert (figures.hits, figures.misses, figures.hit_rate) == (2, 1, 2 / 3)
    assert first.figures() == figures
    assert [path.name for path in tmp_path.glob("*.part")] == []


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"hits": "many", "misses": 0, "budget": 1}'])
def test_damaged_counts_begin_anew(tmp_path: Path, damage: str) -> None:
    kept = store(tmp_path)
    kept.get("a")
    (tmp_path / "counts.json").write_text(damage)
    assert kept.figures().hit_rate is None
    kept.get("a")
    assert store(tmp_path).figures().misses == 1


def test_what_could_not_be_written_is_counted_later(tmp_path: Path) -> None:
    (tmp_path / "states").write_text("in the way")
    kept = store(tmp_path / "states")
    assert kept.get("a") is None and kept.figures().misses == 1
    (tmp_path / "states").unlink()
    assert kept.get("a") is None
    assert store(tmp_path / "states").figures().misses == 2


def test_the_command_shows_what_the_states_hold_and_how_often_they_helped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*more: str) -> str:
        assert cli.main(["models", "--library", str(tmp_path), *more]) == 0
        return capsys.readouterr().out

    assert "0 attention states" in told() and "none was asked for" in told()
    kept = store(tmp_path / STATES, 7)
    kept.put("a", state(1))
    for key in ("a", "a", "a", "b"):
        kept.get(key)
    line = told().splitlines()[-1]
    assert line.startswith("states ") and "1 attention states" in line and "3 of the 4 asked for were there (75 %)" in line
    assert json.loads(told("--json"))["attention_states"] == {
        "states": 1, "size": 110, "budget": 770, "hits": 3, "misses": 1, "hit_rate": 0.75,
    }  # fmt: skip
    assert states_figures(tmp_path) == StateFigures(1, 110, 770, 3, 1)
