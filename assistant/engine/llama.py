"""The chat model in this process: llama.cpp through the low-level interface of llama-cpp-python.

The low-level interface, because the program decides itself what stays in the attention cache: the fixed system texts are evaluated
once and kept, and a prompt is tokenised block by block, so that what was computed for a passage can be kept the same way.

Everything that touches the context runs in the one worker thread of ``FairQueue``; tokenising only reads the vocabulary and may be
called from any thread.
"""

import codecs
import ctypes
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from assistant.engine import tuning
from assistant.engine.attention import BATCH, SEQUENCES, SPARE_CELLS, Attention
from assistant.engine.cores import physical_cores
from assistant.engine.drafting import PromptLookup
from assistant.engine.llama_log import last_error, silence
from assistant.engine.llm import LoopGuard, Prompt, Thinking, Timings, ends_sentence
from assistant.engine.prompt_tokens import PromptFormat, PromptTokens, block_name
from assistant.engine.queue import FairQueue
from assistant.engine.states import StateStore
from ingest.errors import MianpuError

# llama.cpp's threads meet at a barrier several times a layer and spin there by default. When another process wants a core as well,
# the spinning takes it from the thread everyone waits for: measured with two threads on two busy cores, 0.2-0.5 tokens/s spinning,
# 3.7-6.3 sleeping. The OpenMP library reads this once, when it is loaded, so it stands at the top of the module.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_JOINING = 16  # tokens of a passage that are read again when its state is joined behind another passage
_PREFIX = "prefix"  # what the name of a prefix's state begins with
_OPENING_TOKENS, _OPENING_LEAST = 80, 6  # of a sentence that is written before all passages are read
_MISSING = 16  # passages of recent answers that wait for an idle moment to have their state made
_ATTEMPTS = 5  # at measuring the machine, until the next start
_FULL = 0.9  # share of the budget up to which idle time fills the store


class LlamaChat:
    """A GGUF chat model. Threads may share it: they are served one after the other, in the order they came.

    ``context`` is the number of tokens of prompt and answer together; ``threads`` defaults to the physical cores this process may
    use, or what was measured on this machine and is kept in the file ``tuned``, or is measured in the first idle moment and kept
    there; ``states`` keeps what was computed for passages (without it every prompt is read whole). The first passage of a prompt
    comes from its state exactly as if it were read; ``join`` takes the others from theirs as well, which is faster and costs facts:
    over 24 questions the generated text had .33 of the key points instead of .58. Raises MianpuError when the file is missing,
    damaged or no chat model.
    """

    def __init__(
        self,
        path: Path,
        *,
        context: int = 4096,
        threads: int | None = None,
        states: StateStore | None = None,
        join: bool = False,
        tuned: Path | None = None,
    ) -> None:
        _check_file(path)
        # Imported here: it takes most of a second, and only the commands that answer need it.
        import llama_cpp

        self._api: Any = llama_cpp
        self.name = path.stem
        self.last_timings: Timings | None = None
        silence(llama_cpp)
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        # Repacking the weights made nothing faster on AVX2 and costs 3 s at every start and a second copy in memory.
        options.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), options)
        if not self._model:
            raise MianpuError(f"{path} cannot be loaded as a model{last_error()}: remove the file and fetch it again")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._context_size = min(context, llama_cpp.llama_model_n_ctx_train(self._model))
        # A recurrent model has one state for all it has read: no part of it can be kept, moved or taken back.
        self._whole = bool(llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model))
        try:
            self._format = PromptFormat(llama_cpp, self._model, self.name, self._context_size)
        except MianpuError:
            llama_cpp.llama_model_free(self._model)
            raise
        # The flag is a C string of length 0 or 1, and the callback is C's strlen: llama.cpp asks before every operation, from the
        # computing thread, and a Python callback would wait for the interpreter's lock a thousand times a token.
        self._flag = ctypes.create_string_buffer(2)
        self._identity = _identity(path) if states is not None or tuned is not None else b""
        self._tuned = tuned if threads is None else None
        self._attempts = 0  # at measuring this machine
        known = tuning.load(self._tuned).get(tuning.machine_key(self._identity)) if self._tuned else None
        self._context = self._new_context(threads or physical_cores())
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise MianpuError(f"not enough memory for a context of {context} tokens{last_error()}: close other programs")
        self.attention = Attention(llama_cpp, self._context)
        self.tuning: tuning.Tuning | None = None
        if known is not None:
            self._use(known)
        self._sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self._sampler, llama_cpp.llama_sampler_init_greedy())
        self.states = None if self._whole else states
        self.join = join
        self.notes = (
            *self._format.notes,
            *(["a recurrent model: prompts are read whole, no states are kept"] if self._whole else []),
        )
        self._missing: deque[tuple[str, tuple[int, ...], tuple[int, ...]]] = deque(maxlen=_MISSING)
        self._wanted: Iterator[Prompt | None] = iter(())
        self._queue = FairQueue(lambda: self._raise_flag(False), lambda: self._raise_flag(True))

    def close(self) -> None:
        """Stop what runs and free the memory; the object is of no use after it."""
        self._queue.close()
        if self._context:
            self._api.llama_sampler_free(self._sampler)
            self.attention.close()
            self._api.llama_free(self._context)
            self._api.llama_model_free(self._model)
            self._context = self._model = None

    def token_count(self, text: str) -> int:
        """The number of tokens of a text, special tokens in it counted as the characters they are."""
        return len(self._format.tokenise(text, special=False))

    def warm(self, system: str) -> None:
        """Evaluate a system text and keep it, so that no question waits for it. Waits for answers that are being written."""

        def work(halted: Callable[[], bool]) -> Iterator[str]:
            self._keep_prefix(self._format.tokens(Prompt(system, (), (), "")).prefix, halted)
            yield from ()

        self._do(work)

    def prepare(self, prompts: Iterable[Prompt]) -> None:
        """Make the states of the passages that these prompts begin with, now. Waits for answers that are being written."""

        def work(halted: Callable[[], bool]) -> Iterator[str]:
            for prompt in prompts:
                self._make_state(*self._format.tokens(prompt).first_passage(), halted)
            yield from ()

        self._do(work)

    def forget(self) -> None:
        """Empty the attention cache, as it is after a start; states on disk stay."""

        def work(halted: Callable[[], bool]) -> Iterator[str]:
            self.attention.forget()
            yield from ()

        self._do(work)

    def _do(self, work: Callable[[Callable[[], bool]], Iterator[str]]) -> None:
        for _ in self._queue.stream(work, threading.Event(), lambda ahead: None):
            pass

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        """The answer, greedily decoded, in pieces; see ``ChatModel.stream``. Raises MianpuError when the prompt does not fit."""
        prompt = self._format.fitting(prompt, max_tokens)
        return self._queue.stream(lambda halted: self._generate(prompt, max_tokens, halted), stop, waiting)

    def fill_when_idle(self, wanted: Iterator[Prompt | None]) -> None:
        """Make the states of passages while nobody asks: each prompt names one passage; None: there is nothing to do for now."""
        self._wanted = wanted
        self._queue.when_idle(self._fill)

    def keep_only_states_of(self, passages: Iterable[str]) -> None:
        """Drop the states of all other passages; ``passages`` are the blocks as prompts hold them."""
        if self.states is not None:
            self.states.retain({block_name(passage) for passage in passages} | {_PREFIX})

    # --- evaluation (worker thread only) --------------------------------------------------------------------------

    def _generate(self, prompt: Prompt, max_tokens: int, halted: Callable[[], bool]) -> Iterator[str]:
        began = time.perf_counter()
        read = self._format.tokens(prompt)
        generated, first_s = 0, 0.0
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        guard, thinking = LoopGuard(), Thinking()
        before = self.attention.evaluated
        evaluated = 0
        try:
            for token in self._written(prompt, read, max_tokens, halted):
                generated += 1
                if not first_s:
                    first_s = time.perf_counter() - began
                    evaluated = self.attention.evaluated - before
                piece = thinking.feed(decoder.decode(self._piece(token)))
                if piece:
                    yield piece
                    if guard.add(piece):
                        break
            rest = thinking.finish() + decoder.decode(b"", final=True)
            if rest.strip("\ufffd"):
                yield rest
        finally:
            seconds = time.perf_counter() - began
            self.last_timings = Timings(len(read.tokens), max(0, len(read.tokens) - evaluated), generated, first_s, seconds)
            self._save_first(read)

    def _written(self, prompt: Prompt, read: PromptTokens, most: int, halted: Callable[[], bool]) -> Iterator[int]:
        """The tokens of the answer, without the one that ends it.

        Its first sentence is written when the first ``prompt.opening`` passages are read. Then the whole prompt is read, with that
        sentence behind it, and the answer goes on: what follows is written exactly as if everything had been read at the start.
        """
        opening: list[int] = []
        if 0 < prompt.opening < len(prompt.passages) and not self._whole:
            first = self._format.tokens(replace(prompt, passages=prompt.passages[: prompt.opening]))
            if not self._take_in(first, halted):
                return
            text = b""
            for token in self._continued(first.tokens, min(_OPENING_TOKENS, most), halted):
                if self._ends(token):
                    break
                opening.append(token)
                yield token
                text += self._piece(token)
                if len(opening) >= _OPENING_LEAST and ends_sentence(text.decode("utf-8", "replace")):
                    break
        if len(opening) == most or not self._take_in(read, halted, opening):
            return
        for token in self._continued([*read.tokens, *opening], most - len(opening), halted):
            if self._ends(token):
                return
            yield token

    def _ends(self, token: int) -> bool:
        return bool(self._api.llama_vocab_is_eog(self._vocab, token))

    def _continued(self, prompt: Sequence[int], most: int, halted: Callable[[], bool]) -> Iterator[int]:
        """The tokens that follow a prompt just taken in, greedily, at most so many; they end when it is stopped."""
        attention, lookup = self.attention, PromptLookup(prompt)
        tokens = list(prompt)
        left, draft = most, list[int]()
        while True:
            for i in range(len(draft) + 1):
                token = self._api.llama_sampler_sample(self._sampler, self._context, i - len(draft) - 1)
                tokens.append(token)
                lookup.add(token)
                left -= 1
                yield token
                if left == 0 or i == len(draft) or token != draft[i]:
                    break
            lookup.checked(draft, i)
            if left == 0:
                return
            draft = [] if self._whole else lookup.draft(left - 1)
            if halted() or not attention.evaluate([*tokens, *draft], halted, outputs=len(draft) + 1):
                return

    def _take_in(self, read: PromptTokens, halted: Callable[[], bool], written: Sequence[int] = ()) -> bool:
        """Bring a prompt, and what was ``written`` behind it, into sequence 0, from states where there are any; False when it was
        stopped."""
        attention, tokens = self.attention, [*read.tokens, *written]
        self._keep_prefix(read.prefix, halted, evaluate=False)
        attention.reuse(tokens)
        for number, (name, start, end) in enumerate(read.passages):
            if len(attention.cells) >= end or self.states is None or (number and not self.join):
                continue
            passage = read.tokens[start:end]
            skip = _JOINING if number else 0  # the first passage stands where its state was made: nothing is lost there
            state = self.states.get(self._key(name, read.prefix, passage)) if skip < len(passage) else None
            if state is None:
                if number:
                    self._missing.append((name, read.prefix, passage))
                continue
            # Up to here, and the passage's first tokens, everything has to be in the cache.
            if not attention.evaluate(tokens[: start + skip], halted):
                return False
            attention.join(state, passage, len(read.prefix), len(attention.cells) - start)
        if not attention.evaluate(tokens, halted):
            return False
        self._keep_prefix(read.prefix, halted)
        return True

    def _keep_prefix(self, prefix: Sequence[int], halted: Callable[[], bool], *, evaluate: bool = True) -> None:
        """Give a prefix a sequence of its own, from its state on disk, or by reading it."""
        if self._whole:
            return
        attention, key = self.attention, self._key(_PREFIX, prefix, ())
        known = attention.keeps(prefix)
        if not known and self.states is not None and key in self.states:
            state = self.states.get(key)
            known = state is not None and attention.put_prefix(prefix, state)
        if known or (evaluate and attention.evaluate(prefix, halted)):
            attention.keep(prefix)
            if not known and self.states is not None:
                self.states.put(key, attention.save(0, len(prefix)))

    # --- states of passages ----------------------------------------------------------------------------------------

    def _key(self, name: str, prefix: Sequence[int], passage: Sequence[int]) -> str:
        """The name of a passage's state: what the passage is, then the model, the prefix and the very tokens."""
        digest = hashlib.blake2b(self._identity, digest_size=16)
        for tokens in (prefix, passage):
            digest.update(len(tokens).to_bytes(4, "little") + b"".join(t.to_bytes(4, "little") for t in tokens))
        return f"{name}-{digest.hexdigest()}"

    def _save_first(self, read: PromptTokens) -> None:
        """Keep the state of the first passage of a prompt just answered: it was read behind the prefix, so it is exact."""
        if self.states is None or not read.passages:
            return
        name, start, end = read.passages[0]
        key = self._key(name, read.prefix, read.tokens[start:end])
        if key not in self.states and tuple(self.attention.cells[:end]) == read.tokens[:end]:
            self.states.put(key, self.attention.save(start, end))

    def _fill(self, halted: Callable[[], bool]) -> bool:
        """Measure what suits the machine, then make the state of one passage; False when there is nothing to do.

        Runs in the worker thread while nobody asks.
        """
        if self._tuned is not None and self.tuning is None and self._attempts < _ATTEMPTS and self._tune(halted):
            return True
        store = self.states
        if store is None:
            return False
        if not self._missing:
            figures = store.figures()
            prompt = next(self._wanted, None) if figures.size < _FULL * figures.budget else None
            if prompt is None:
                return False
            self._missing.append(self._format.tokens(prompt).first_passage())
        wanted = self._missing.popleft()
        if not self._make_state(*wanted, halted) and halted():
            self._missing.append(wanted)
        return True

    def _tune(self, halted: Callable[[], bool]) -> bool:
        """Measure threads and batches and use what is best; False when it was stopped: then it is tried again later."""

        def probe(threads: int, batch: int, tokens: int) -> float | None:
            self._api.llama_set_n_threads(self._context, threads, threads)
            return self.attention.seconds([self._format.tokenise("的", special=False)[0]] * tokens, batch, halted)

        self._attempts += 1
        found = tuning.measure(self.name, tuning.stoppable(halted, probe), tuning.thread_counts())
        if found is None:
            self._api.llama_set_n_threads(self._context, physical_cores(), physical_cores())
            return False
        self._use(found)
        if self._tuned is not None:
            tuning.save(self._tuned, tuning.machine_key(self._identity), found)
        return True

    def _use(self, found: tuning.Tuning) -> None:
        self._api.llama_set_n_threads(self._context, found.threads, found.reading_threads)
        self.attention.batch = min(found.batch, BATCH)
        self.tuning = found

    def _make_state(self, name: str, prefix: Sequence[int], passage: Sequence[int], halted: Callable[[], bool]) -> bool:
        """Keep the state of a passage, if it is not kept yet; False when it could not be made."""
        key = self._key(name, prefix, passage)
        if self.states is None or key in self.states:
            return self.states is not None
        self._keep_prefix(prefix, halted)
        state = self.attention.state_of(prefix, passage, halted)
        return state is not None and self.states.put(key, state)

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        length = self._api.llama_token_to_piece(self._vocab, token, buffer, 64, 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = self._api.llama_token_to_piece(self._vocab, token, buffer, -length, 0, False)
        return buffer.raw[:length]

    def _new_context(self, threads: int) -> Any:
        options = self._api.llama_context_default_params()
        options.n_ctx = self._context_size + SPARE_CELLS
        options.n_batch = options.n_ubatch = BATCH
        options.n_seq_max = SEQUENCES
        options.kv_unified = True  # sequences share cells, so a kept prefix costs its cells once
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = 1
        options.no_perf = True
        strlen = ctypes.cast(ctypes.CDLL("msvcrt" if os.name == "nt" else None).strlen, ctypes.c_void_p).value
        options.abort_callback = type(options.abort_callback)(strlen)
        options.abort_callback_data = ctypes.addressof(self._flag)
        return self._api.llama_init_from_model(self._model, options)

    def _raise_flag(self, up: bool) -> None:
        self._flag[0] = b"\x01" if up else b"\x00"


def _identity(path: Path) -> bytes:
    """Tells model files apart without reading a gigabyte: 64 pieces spread over the file, and its size."""
    size = path.stat().st_size
    digest = hashlib.blake2b(size.to_bytes(8, "little"))
    with open(path, "rb") as file:
        for piece in range(64):
            file.seek(piece * max(0, size - 65536) // 63)
            digest.update(file.read(65536))
    return digest.digest()


def _check_file(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MianpuError(f"the chat model {path} cannot be read ({reason}): run `mianpu models`") from None
    if magic != b"GGUF":
        raise MianpuError(f"{path} is not a GGUF model file: choose another with --chat-model, or remove it and fetch it again")
