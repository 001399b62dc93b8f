"""The terminal's progress line: what it says is computed by hand from an injected clock."""

import io

import pytest

from ingest.progress import BYTES, TerminalProgress, label, no_progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_no_progress_takes_every_call() -> None:
    no_progress("读取", 1, 0)


@pytest.mark.parametrize(("stage", "expected"), [("embedding", ("embedding", False)), ("chat model" + BYTES, ("chat model", True))])
def test_label(stage: str, expected: tuple[str, bool]) -> None:
    assert label(stage) == expected


def test_log_gets_sparse_lines_with_rate_and_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream, clock)
    for done in range(0, 101, 10):  # one call a second, ten things each
        progress("embedding", done, 100)
        clock.now += 1
    assert stream.getvalue().splitlines() == [
        "embedding  [############------------]  50%  50/100  10.0/s  0:05 left",
        "embedding  [########################] 100%  100/100  10.0/s  in 0:10",
    ]


def test_rate_counts_only_what_this_run_did(clock: Clock) -> None:
    stream = io.StringIO()
    progress = TerminalProgress(stream, clock)
    progress("model" + BYTES, 500_000_000, 1_000_000_000)  # resumed half way
    clock.now += 10
    progress("model" + BYTES, 600_000_000, 1_000_000_000)
    assert stream.getvalue() == "model  [##############----------]  60%  600.0/1,000.0 MB  10.0 MB/s  0:40 left\n"


def test_unknown_total_has_no_bar(clock: Clock) -> None:
    stream = io.StringIO()
    with TerminalProgress(stream, clock) as progress:
        progress("reading", 0, 0)
        clock.now += 2
        progress("reading", 6, 0)
    assert stream.getvalue() == "reading  6  3.0/s  in 0:02\n"


def test_terminal_rewrites_one_line_and_ends_it_once(clock: Clock) -> None:
    stream = Terminal()
    with TerminalProgress(stream, clock) as progress:
        for done in (0, 1, 2, 3, 4, 4):
            progress("读", done, 4)
            clock.now += 1
    text = stream.getvalue()
    assert text.count("\r") == 5 and text.count("\n") == 1 and text.endswith("\n")
    assert "读  [########################] 100%  4/4  1.0/s  in 0:04" in text.split("\r")[-1]


def test_terminal_is_not_flooded(clock: Clock) -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, clock)
    for done in range(1000):  # 1000 calls in one second
        progress("s", done, 2000)
        clock.now += 0.001
    assert 5 <= stream.getvalue().count("\r") <= 11


def test_shorter_line_covers_the_longer_one_before(clock: Clock) -> None:
    stream = Terminal()
    progress = TerminalProgress(stream, clock)
    progress("s", 0, 10)
    clock.now += 1000
    progress("s", 1, 10)  # "2:30:00 left"
    longer = stream.getvalue().split("\r")[-1]
    clock.now += 1
    progress("s", 9, 10)
    assert len(stream.getvalue().split("\r")[-1]) == len(longer)


def test_line_never_wraps(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    TerminalProgress(stream, clock)("面" * 30, 1, 2)
    assert stream.getvalue() == "\r" + "面" * 9  # 18 of 19 usable columns


def test_a_new_stage_leaves_the_last_state_of_the_old(clock: Clock) -> None:
    stream = io.StringIO()
    with TerminalProgress(stream, clock) as progress:
        progress("a", 1, 10)
        clock.now += 1
        progress("a", 3, 10)
        progress("b", 0, 5)
        progress("b", 5, 5)
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["a", "b"]
    assert "3/10" in lines[0] and "5/5" in lines[1]


def test_the_same_stage_may_start_again(clock: Clock) -> None:
    stream = io.StringIO()
    with TerminalProgress(stream, clock) as progress:
        progress("a", 2, 2)
        clock.now += 4
        progress("a", 0, 2)
        clock.now += 1
        progress("a", 2, 2)
    assert stream.getvalue().splitlines()[-1].endswith("2/2  2.0/s  in 0:01")
