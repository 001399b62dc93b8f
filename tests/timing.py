"""Times that a test may compare: of the processor, the best of three, for the machine is shared and memory is swept now and then."""

import time
from collections.abc import Callable


def processor_seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """The least processor time of this process that the work took."""

    def once() -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    return min(once() for _ in range(rounds))


def in_step(seconds: Callable[[int], float], size: int, *, times: int = 2, slack: float = 1.5, floor: float = 0.0) -> bool:
    """Whether work of ``times`` the size takes at most ``slack`` as much more time, or less than ``floor`` seconds.

    A shared processor slows one measurement and not the next, so both are measured until the least times of each say so; work that
    grows with the square of its size never gets there.
    """
    small = large = float("inf")
    for _ in range(5):
        small, large = min(small, seconds(size)), min(large, seconds(times * size))
        if large < max(slack * times * small, floor):
            return True
    return False
