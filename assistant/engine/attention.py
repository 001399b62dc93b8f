"""The attention cache of a llama.cpp context: what it holds, and states of passages that were computed before.

Sequence 0 is the prompt being read. A kept prefix (the fixed system texts) has a sequence of its own that shares its cells. A state
is the keys and values of one passage read right behind such a prefix. Put back at that very place it is exact; behind another
passage it is moved there (the keys are rotated to their new positions), and what it lacks is that it never saw what now stands
before it. Most of that is lost in its first tokens, so those are read again at the new place and only the rest is joined
(compare EPIC, Hu et al. 2024). llama.cpp wants the positions of a sequence to grow, hence the order in ``join``.
"""

import ctypes
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from assistant.engine.llama_log import last_error
from ingest.errors import MianpuError

BATCH = 512  # tokens evaluated at once: 151 tokens/s against 118 with 256 (two cores with AVX-512; no difference on AVX2)
SPARE_CELLS = 1024  # room beside the prompt for kept prefixes and one passage
_KEPT_PREFIXES = 4
_PREFIX_CELLS = 512
_PREFIX_SEQUENCES = range(1, 1 + _KEPT_PREFIXES)
_WORK = 1 + _KEPT_PREFIXES  # the sequence in which a state is made, or unpacked
SEQUENCES = 2 + _KEPT_PREFIXES
_INTERRUPTED = 2  # what llama_decode returns


class Attention:
    """The cache of one context. ``cells`` are the tokens of sequence 0 in order. One thread at a time."""

    def __init__(self, api: Any, context: Any) -> None:
        self.api = api
        self.cells: list[int] = []
        self._context = context
        self._memory = api.llama_get_memory(context)
        self._batch = api.llama_batch_init(BATCH, 0, 1)
        # kept prefix -> the sequence that holds it, least recently used first
        self._prefixes: OrderedDict[tuple[int, ...], int] = OrderedDict()
        self.evaluated = 0  # tokens, since the start
        self._moved_from = -1  # where the first cells begin whose keys llama.cpp has still to rotate; -1: there are none
        self.batch = BATCH  # tokens evaluated at once, at most BATCH
        self.can_move = bool(api.llama_memory_can_shift(self._memory))

    def close(self) -> None:
        """Free the batch; the context belongs to the caller."""
        self.api.llama_batch_free(self._batch)

    # --- reading ------------------------------------------------------------------------------------------------

    def reuse(self, tokens: Sequence[int]) -> int:
        """Bring sequence 0 to the longest beginning of ``tokens`` that is in the cache; returns its length."""
        best, source = common(self.cells, tokens), 0
        for prefix, sequence in self._prefixes.items():
            shared = common(prefix, tokens)
            if shared > best:
                best, source = shared, sequence
        best = min(best, len(tokens) - 1)  # the last token is always evaluated: its logits are wanted
        if source:
            self.api.llama_memory_seq_rm(self._memory, 0, -1, -1)
            self.api.llama_memory_seq_cp(self._memory, source, 0, 0, best)
            self.cells = list(tokens[:best])
            self._moved_from = -1
        else:
            self._cut(best)
        return len(self.cells)

    def evaluate(self, tokens: Sequence[int], halted: Callable[[], bool], outputs: int = 1) -> bool:
        """Evaluate what of ``tokens`` sequence 0 does not begin with yet; False when it was stopped before the end.

        Of the last ``outputs`` tokens, at most a batch, there are logits then.
        """
        if common(self.cells, tokens) < min(len(self.cells), len(tokens)):
            self.reuse(tokens)
        while len(self.cells) < len(tokens):
            if halted():
                return False
            at = len(self.cells)
            part = tokens[at : at + self.batch]
            status = self._decode(part, at, 0, outputs)
            if status == 0:
                self.evaluated += len(part)
                self.cells += part
                self._moved_from = -1
                continue
            # An interrupted call may leave cells that were never computed, and keys that were never rotated.
            self._cut(at if self._moved_from < 0 else self._moved_from)
            if status == _INTERRUPTED:
                return False
            self.forget()
            raise MianpuError(f"the chat model failed (llama.cpp status {status}{last_error()}): ask again")
        return True

    def forget(self) -> None:
        """Empty the cache."""
        self.api.llama_memory_clear(self._memory, False)
        self.cells.clear()
        self._prefixes.clear()
        self._moved_from = -1

    # --- prefixes -----------------------------------------------------------------------------------------------

    def keeps(self, prefix: Sequence[int]) -> bool:
        """Whether a prefix has a sequence of its own."""
        return tuple(prefix) in self._prefixes

    def keep(self, prefix: Sequence[int]) -> None:
        """Keep the beginning of sequence 0 in a sequence of its own; copying shares the cells and costs nothing."""
        key = tuple(prefix)
        if self.keeps(key):
            self._prefixes.move_to_end(key)
        elif (free := self._free_sequence(len(key))) is not None:
            self.api.llama_memory_seq_cp(self._memory, 0, free, 0, len(key))
            self._prefixes[key] = free

    def put_prefix(self, prefix: Sequence[int], state: bytes) -> bool:
        """Keep a prefix whose state was saved before."""
        free = self._free_sequence(len(prefix))
        if free is None or not self._unpack(state, free, len(prefix)):
            return False
        self._prefixes[tuple(prefix)] = free
        return True

    def _free_sequence(self, cells: int) -> int | None:
        """A sequence for a prefix of so many cells; prefixes that were not used for long make room."""
        if cells > _PREFIX_CELLS:
            return None
        kept = sum(map(len, self._prefixes))
        while self._prefixes and (len(self._prefixes) == _KEPT_PREFIXES or kept + cells > _PREFIX_CELLS):
            old, sequence = self._prefixes.popitem(last=False)
            self.api.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            kept -= len(old)
        return next(s for s in _PREFIX_SEQUENCES if s not in self._prefixes.values())

    # --- states of passages -------------------------------------------------------------------------------------

    def save(self, start: int, end: int) -> bytes:
        """The state of the cells [start, end) of sequence 0, which must have been evaluated there."""
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        self.api.llama_memory_seq_cp(self._memory, 0, _WORK, start, end)
        return self._pack()

    def state_of(self, prefix: Sequence[int], passage: Sequence[int], halted: Callable[[], bool]) -> bytes | None:
        """Read a passage behind a kept prefix, beside sequence 0, and give its state; None when stopped or out of room."""
        source = self._prefixes.get(tuple(prefix))
        if source is None:
            return None
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        self.api.llama_memory_seq_cp(self._memory, source, _WORK, 0, len(prefix))
        for start in range(0, len(passage), self.batch):
            if halted() or self._decode(passage[start : start + self.batch], len(prefix) + start, _WORK) != 0:
                self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
                if self._moved_from >= 0:
                    self._cut(self._moved_from)
                return None
        self.api.llama_memory_seq_rm(self._memory, _WORK, 0, len(prefix))
        return self._pack()

    def join(self, state: bytes, passage: Sequence[int], made_at: int, skip: int) -> bool:
        """Put a passage's state, which was made at position ``made_at``, at the end of sequence 0, whose last ``skip`` tokens are
        the passage's first. False when the state does not fit: then the passage is to be read."""
        at = len(self.cells) - skip
        if at != made_at and not self.can_move:
            return False
        if not self._unpack(state, _WORK, len(passage), made_at):
            return False
        self.api.llama_memory_seq_rm(self._memory, _WORK, made_at, made_at + skip)
        if at != made_at:
            self.api.llama_memory_seq_add(self._memory, _WORK, made_at + skip, made_at + len(passage), at - made_at)
            self._moved_from = at + skip if self._moved_from < 0 else self._moved_from
        self.api.llama_memory_seq_cp(self._memory, _WORK, 0, at + skip, at + len(passage))
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        self.cells += passage[skip:]
        return True

    def seconds(self, tokens: Sequence[int], batch: int, halted: Callable[[], bool]) -> float | None:
        """Seconds to read these beside everything else, so many at once; nothing of it stays. None when stopped or full."""
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        began = time.perf_counter()
        done = all(
            not halted() and self._decode(tokens[start : start + batch], start, _WORK) == 0
            for start in range(0, len(tokens), batch)
        )
        taken = time.perf_counter() - began
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        if not done:
            last_error()  # it is no failure: there was no room
            self._cut(min(len(self.cells), self._moved_from) if self._moved_from >= 0 else len(self.cells))
        return taken if done else None

    def _pack(self) -> bytes:
        size = self.api.llama_state_seq_get_size(self._context, _WORK)
        buffer = (ctypes.c_uint8 * size)()
        written = self.api.llama_state_seq_get_data(self._context, buffer, size, _WORK)
        self.api.llama_memory_seq_rm(self._memory, _WORK, -1, -1)
        return bytes(memoryview(buffer)[:written])

    def _unpack(self, state: bytes, sequence: int, length: int, start: int = 0) -> bool:
        """Read a state into a sequence; False, and the sequence is empty, when it is not one of ``length`` cells from ``start``."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        read = self.api.llama_state_seq_set_data(self._context, buffer, len(state), sequence)
        first = self.api.llama_memory_seq_pos_min(self._memory, sequence)
        last = self.api.llama_memory_seq_pos_max(self._memory, sequence)
        if read == len(state) and (first, last) == (start, start + length - 1):
            return True
        last_error()  # it is no failure: the passage is read instead
        self.api.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return False

    # --- llama.cpp ----------------------------------------------------------------------------------------------

    def _decode(self, tokens: Sequence[int], position: int, sequence: int, outputs: int = 1) -> int:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = position + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = i + outputs >= len(tokens)
        return int(self.api.llama_decode(self._context, batch))

    def _cut(self, length: int) -> None:
        if not self.api.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.api.llama_memory_seq_rm(self._memory, 0, -1, -1)  # a model that cannot drop part of a sequence
            length = 0
        del self.cells[length:]
        if self._moved_from >= len(self.cells):
            self._moved_from = -1


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
