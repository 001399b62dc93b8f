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
