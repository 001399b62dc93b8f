"""The queue of the chat model: order, places, stopping, failures. Events, not clocks, hold the jobs where a test wants them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from assistant.engine import queue as queue_module
from assistant.engine.queue import FairQueue
from ingest.errors import MianpuError


class Bench:
    """A queue that notes when a job began and was interrupted."""

    def __init__(self) -> None:
        self.begun = 0
        self.interrupted = threading.Event()
        self.queue = FairQueue(self._begin, self.interrupted.set)

    def _begin(self) -> None:
        self.begun += 1
        self.interrupted.clear()

    def ask(self, work: Callable[[Callable[[], bool]], Iterable[str]], stop: threading.Event | None = None) -> "Asker":
        return Asker(self.queue, work, stop or threading.Event())


class Asker:
    """Someone who asks in a thread of his own, and notes what he was told."""

    def __init__(self, queue: FairQueue, work: Callable[[Callable[[], bool]], Iterable[str]], stop: threading.Event) -> None:
        self.stop = stop
        self.told: list[int] = []
        self.pieces: list[str] = []
        self.error: BaseException | None = None
        self._queue, self._work = queue, work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self.told or not self._thread.is_alive())

    def _run(self) -> None:
        try:
            for piece in self._queue.stream(self._work, self.stop, self.told.append):
                self.pieces.append(piece)
        except BaseException as error:
            self.error = error

    def join(self) -> "Asker":
        self._thread.join(5)
        assert not self._thread.is_alive()
        return self


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline, "nothing happened for 5 s"
        time.sleep(0.005)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.queue.close()


def says(*pieces: str) -> Callable[[Callable[[], bool]], Iterable[str]]:
    return lambda halted: iter(pieces)


def held(release: threading.Event, *pieces: str) -> Callable[[Callable[[], bool]], Iterable[str]]:
    def work(halted: Callable[[], bool]) -> Iterator[str]:
        release.wait(5)
        yield from pieces

    return work


def test_pieces_come_in_order_and_the_turn_is_told(bench: Bench) -> None:
    asker = bench.ask(says("a", "b", "c"))
    asker.join()
    assert asker.pieces == ["a", "b", "c"]
    assert asker.told == [0]


def test_first_come_first_served_and_everyone_knows_his_place(bench: Bench) -> None:
    gates = [threading.Event() for _ in range(3)]
    askers = [bench.ask(held(gate, str(n))) for n, gate in enumerate(gates)]
    assert [asker.told for asker in askers] == [[0], [1], [2]]
    gates[0].set()
    askers[0].join()
    wait_until(lambda: askers[2].told == [2, 1])
    gates[2].set()  # the third is ready, but it is the second's turn
    time.sleep(0.1)
    assert askers[2].pieces == []
    gates[1].set()
    for asker in askers:
        asker.join()
    assert [asker.told for asker in askers] == [[0], [1, 0], [2, 1, 0]]
    assert [asker.pieces for asker in askers] == [["0"], ["1"], ["2"]]


def test_stopping_while_waiting_leaves_the_queue(bench: Bench) -> None:
    gate = threading.Event()
    first, second, third = bench.ask(held(gate, "1")), bench.ask(says("2")), bench.ask(says("3"))
    second.stop.set()
    second.join()
    wait_until(lambda: third.told == [2, 1])
    gate.set()
    third.join()
    first.join()
    assert (first.pieces, second.pieces, third.pieces) == (["1"], [], ["3"])
    assert bench.begun == 2


def test_stopping_the_running_job_interrupts_it_and_only_it(bench: Bench) -> None:
    def endless(halted: Callable[[], bool]) -> Iterator[str]:
        while not bench.interrupted.wait(5):
            pass
        assert halted()
        yield "late"

    first = bench.ask(endless)
    second = bench.ask(lambda halted: iter([f"interrupted: {bench.interrupted.is_set()}"]))
    began = time.monotonic()
    first.stop.set()
    first.join()
    second.join()
    assert time.monotonic() - began < 1
    assert first.pieces == []
    assert second.pieces == ["interrupted: False"]


def test_an_asker_who_stops_reading_does_not_hold_up_the_others(bench: Bench) -> None:
    stream = bench.queue.stream(says(*"abcdef"), threading.Event(), lambda n: None)
    assert next(stream) == "a"  # and then reads no further
    second = bench.ask(says("x"))
    second.join()
    assert second.pieces == ["x"]
    assert list(stream) == ["b", "c", "d", "e", "f"]


def test_leaving_early_gives_the_job_up(bench: Bench) -> None:
    def endless(halted: Callable[[], bool]) -> Iterator[str]:
        yield "a"
        assert bench.interrupted.wait(5)

    stream = bench.queue.stream(endless, threading.Event(), lambda n: None)
    assert next(stream) == "a"
    stream.close()  # type: ignore[attr-defined]
    second = bench.ask(says("b"))
    second.join()
    assert second.pieces == ["b"]


def test_a_failure_reaches_its_asker_and_nobody_else(bench: Bench) -> None:
    def fails(halted: Callable[[], bool]) -> Iterator[str]:
        yield "so far"
        raise MianpuError("broken")

    first = bench.ask(fails)
    first.join()
    assert first.pieces == ["so far"]
    assert isinstance(first.error, MianpuError)
    second = bench.ask(says("fine"))
    second.join()
    assert (second.pieces, second.error) == (["fine"], None)


def test_a_closed_queue_ends_everyone_and_refuses_the_next() -> None:
    bench = Bench()

    def endless(halted: Callable[[], bool]) -> Iterator[str]:
        bench.interrupted.wait(5)
        yield from ()

    first, second = bench.ask(endless), bench.ask(says("never"))
    bench.queue.close()
    first.join()
    second.join()
    assert second.pieces == []
    with pytest.raises(MianpuError, match="closed"):
        next(bench.queue.stream(says("x"), threading.Event(), lambda n: None))


# --- idle time --------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "IDLE_AFTER", 0.02)


@pytest.mark.usefixtures("quick")
def test_idle_work_goes_on_while_nobody_asks_and_ends_when_there_is_none(bench: Bench) -> None:
    left = 3
    calls: list[int] = []

    def work(halted: Callable[[], bool]) -> bool:
        assert not halted()
        calls.append(bench.begun)
        return len(calls) < left

    bench.queue.when_idle(work)
    wait_until(lambda: len(calls) == left)
    time.sleep(0.1)
    assert len(calls) == left
    assert "".join(bench.ask(says("a")).join().pieces) == "a"
    wait_until(lambda: len(calls) == left + 1)  # after a question there may be something new


@pytest.mark.usefixtures("quick")
def test_a_question_interrupts_idle_work(bench: Bench) -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(halted: Callable[[], bool]) -> bool:
        begun.set()
        assert bench.interrupted.wait(5)
        assert halted()
        ended.set()
        return True

    bench.queue.when_idle(work)
    assert begun.wait(5)
    asker = bench.ask(says("a")).join()
    assert ended.is_set() and asker.pieces == ["a"] and asker.told == [0]


@pytest.mark.usefixtures("quick")
def test_idle_work_that_fails_stops_nobody(bench: Bench) -> None:
    failed = threading.Event()

    def work(halted: Callable[[], bool]) -> bool:
        failed.set()
        raise RuntimeError("out of memory")

    bench.queue.when_idle(work)
    assert failed.wait(5)
    assert bench.ask(says("a")).join().pieces == ["a"]


@pytest.mark.usefixtures("quick")
def test_closing_interrupts_idle_work() -> None:
    bench = Bench()
    begun = threading.Event()

    def work(halted: Callable[[], bool]) -> bool:
        begun.set()
        return bench.interrupted.wait(5)

    bench.queue.when_idle(work)
    assert begun.wait(5)
    bench.queue.close()
    assert bench.interrupted.is_set()
