"""Threads around an exchange with a server: an event loop that can be cancelled from outside, and a line with places."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress


class Exchange:
    """Runs an async iterator in a thread of its own and hands on what it gives; None at its end, or the error it ended with."""

    def __init__(self, pieces: AsyncIterator[str], put: Callable[[str | BaseException | None], None]) -> None:
        self._pieces, self._put = pieces, put
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._hand_on())
        self._thread = threading.Thread(target=self._run, name="chat-server", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End it, if it has not ended; its connection is closed when this returns (or after 2 s)."""
        with suppress(RuntimeError):  # the loop is closed: it has ended
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(timeout=2)

    def _run(self) -> None:
        try:
            with suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._task)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    async def _hand_on(self) -> None:
        try:
            async for piece in self._pieces:
                self._put(piece)
            self._put(None)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # raised again in the asker's thread
            self._put(error)


class Line:
    """At most ``places`` at once; who comes later waits in order and is told how many are ahead."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._changed = threading.Condition()
        self._waiting: list[object] = []
        self._busy = 0

    @contextmanager
    def place(self, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[bool]:
        """A place, held as long as the ``with``; False when the wait was stopped."""
        entered = self._enter(stop, waiting)
        try:
            yield entered
        finally:
            if entered:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _enter(self, stop: threading.Event, waiting: Callable[[int], None]) -> bool:
        mine = object()
        told = -1
        with self._changed:
            self._waiting.append(mine)
        try:
            while not stop.is_set():
                with self._changed:
                    first = self._waiting[0] is mine and self._busy < self._places
                    ahead = 0 if first else self._busy + self._waiting.index(mine)
                    if first:
                        self._busy += 1
                    elif ahead == told:
                        self._changed.wait(0.05)
                        continue
                told = ahead
                waiting(ahead)
                if first:
                    return True
            return False
        finally:
            with self._changed:
                self._waiting.remove(mine)
                self._changed.notify_all()
