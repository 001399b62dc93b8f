"""One worker, many askers: jobs run one at a time, first come first served, and each asker knows how many are ahead.

The work runs in a thread of its own, not in the asker's: an asker who stops reading cannot hold up those behind him, and a job
can be stopped while it is inside one long call.
"""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator

from ingest.errors import MianpuError

IDLE_AFTER = 2.0
"""Seconds without a job after which idle time begins."""
_REST = 60.0  # seconds until idle work that had nothing to do is asked again
_POLL = 0.05  # seconds between two looks at a stop signal; well under the second within which it must act


class TooMany(MianpuError):
    """More questions at once than one user, or everyone together, may have; ``mine``: they are the user's own."""

    def __init__(self, line: str, mine: bool) -> None:
        super().__init__(line)
        self.mine = mine


class UserLimit:
    """At most ``most`` questions of one user being answered or waiting, and ``whole`` of all users. Threads may share it."""

    def __init__(self, most: int = 3, whole: int = 32) -> None:
        self.most, self.whole = most, whole
        self._lock = threading.Lock()
        self._users: Counter[str] = Counter()

    def enter(self, user: str) -> None:
        """Count one more question of a user. Raises TooMany, and counts nothing, when there is no room."""
        with self._lock:
            if self._users[user] >= self.most:
                raise TooMany(f"{self.most} of your questions are being answered already: wait for one, or stop one", True)
            if self._users.total() >= self.whole:
                raise TooMany(f"{self.whole} questions are waiting already: ask again in a minute", False)
            self._users[user] += 1

    def leave(self, user: str) -> None:
        """One question of a user has ended."""
        with self._lock:
            self._users[user] -= 1
            if self._users[user] <= 0:
                del self._users[user]

    def asking(self, user: str) -> int:
        """How many questions of a user are being answered or waiting."""
        with self._lock:
            return self._users.get(user, 0)


class _Job:
    def __init__(self, work: Callable[[Callable[[], bool]], Iterable[str]], stop: threading.Event) -> None:
        self.work = work
        self.stop = stop
        self.given_up = False
        self.pieces: deque[str] = deque()
        self.error: BaseException | None = None
        self.finished = False

    def halted(self) -> bool:
        return self.given_up or self.stop.is_set()


class FairQueue:
    """Runs jobs that produce pieces of text. ``begin`` is called before each job; ``interrupt``, from any thread, to cut the
    running job's current call short. Neither is called for another job than the one it is meant for."""

    def __init__(self, begin: Callable[[], None], interrupt: Callable[[], None]) -> None:
        self._begin = begin
        self._interrupt = interrupt
        self._changed = threading.Condition()
        self._jobs: list[_Job] = []  # the first one is running
        self._idle: Callable[[Callable[[], bool]], bool] | None = None
        self._idling = False
        self._closed = False
        self._worker = threading.Thread(target=self._run, name="chat-model", daemon=True)
        self._worker.start()

    def stream(
        self, work: Callable[[Callable[[], bool]], Iterable[str]], stop: threading.Event, waiting: Callable[[int], None]
    ) -> Iterator[str]:
        """Queue the work and yield its pieces. Leaving the iterator early gives the job up, as ``stop`` does.

        ``work`` gets a function that says whether it should end. An exception of the work is raised here. The place in the queue
        is taken with the first ``next``.
        """
        job = _Job(work, stop)
        with self._changed:
            if self._closed:
                raise MianpuError("the chat model is closed: start the program again")
            self._jobs.append(job)
            if self._idling:
                self._interrupt()
            self._changed.notify_all()
        told = -1
        try:
            while not stop.is_set():
                with self._changed:
                    ahead = self._jobs.index(job) if job in self._jobs else 0
                    if ahead == told and not job.pieces and not job.finished:
                        self._changed.wait(_POLL)
                        continue
                    pieces, finished = list(job.pieces), job.finished
                    job.pieces.clear()
                if ahead != told:
                    told = ahead
                    waiting(ahead)
                yield from pieces
                if finished:
                    if job.error is not None:
                        raise job.error
                    return
        finally:
            self._give_up(job)

    def when_idle(self, work: Callable[[Callable[[], bool]], bool]) -> None:
        """Call ``work`` again and again while nobody asks; a job that comes interrupts it.

        It gets a function that says whether it should end, does one piece of work, and says whether there may be more.
        """
        with self._changed:
            self._idle = work
            self._changed.notify_all()

    def close(self) -> None:
        """Stop what runs, refuse what comes, wait for the worker."""
        with self._changed:
            self._closed = True
            jobs = list(self._jobs)
            if self._idling:
                self._interrupt()
        for job in jobs:
            self._give_up(job)
        with self._changed:
            self._changed.notify_all()
        self._worker.join()

    def _give_up(self, job: _Job) -> None:
        with self._changed:
            if job not in self._jobs:
                return
            job.given_up = True
            if self._jobs[0] is job:
                self._interrupt()  # under the lock: the worker cannot have gone on to the next job meanwhile
            else:
                self._jobs.remove(job)
                job.finished = True
                self._changed.notify_all()

    def _run(self) -> None:
        patience = IDLE_AFTER
        while True:
            with self._changed:
                while not self._jobs and not self._closed:
                    if not self._changed.wait(patience if self._idle is not None else None):
                        break
                if self._closed and not self._jobs:
                    return
                job = self._jobs[0] if self._jobs else None
                self._idling = job is None
                self._begin()
                if job is not None and job.given_up:
                    self._interrupt()
            if job is None:
                patience = 0.0 if self._rest() else _REST
            else:
                self._work(job)
                patience = IDLE_AFTER

    def _work(self, job: _Job) -> None:
        try:
            for piece in job.work(job.halted):
                with self._changed:
                    job.pieces.append(piece)
                    self._changed.notify_all()
                if job.halted():
                    break
        except BaseException as error:  # it belongs to the asker, not to the worker
            job.error = error
        with self._changed:
            self._jobs.remove(job)
            job.finished = True
            self._changed.notify_all()

    def _rest(self) -> bool:
        """One piece of idle work; whether there may be more."""
        assert self._idle is not None
        try:
            return self._idle(lambda: bool(self._jobs) or self._closed)
        except Exception:  # nobody asked for it, so nobody is told; whoever asks next will meet the same failure
            return False
        finally:
            with self._changed:
                self._idling = False
