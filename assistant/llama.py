"""The chat model in this process: llama.cpp through the low-level interface of llama-cpp-python.

The low-level interface, because the program decides itself what stays in the attention cache: the fixed system texts are evaluated
once and kept, and a prompt is tokenised block by block, so that what was computed for a passage can be kept the same way.

Everything that touches the context runs in the one worker thread of ``FairQueue``; tokenising only reads the vocabulary and may be
called from any thread.
"""

import codecs
import ctypes
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from assistant.llm import LoopGuard, Prompt, Timings, Turn
from assistant.queue import FairQueue
from ingest.errors import MianpuError

# llama.cpp's threads meet at a barrier several times a layer and spin there by default. When another process wants a core as well,
# the spinning takes it from the thread everyone waits for: measured with two threads on two busy cores, 0.2-0.5 tokens/s spinning,
# 3.7-6.3 sleeping. The OpenMP library reads this once, when it is loaded, so it stands at the top of the module.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_BATCH = 256  # tokens evaluated at once; larger is not faster here (measured 128 to 512), smaller is stopped sooner
_SPARE_CELLS = 768  # room in the attention cache for the kept system texts
_KEPT_PREFIXES = 4
_PREFIX_BLOCKS = 3  # opening, system text, opening of the user's message
_PREFIX_SEQUENCES = range(1, 1 + _KEPT_PREFIXES)
_MARK = re.compile("\x1a(\\d+)\x1a")
_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR
_log: deque[str] = deque(maxlen=20)
_callbacks: list[Any] = []  # ctypes callbacks that llama.cpp holds on to must never be collected


class LlamaChat:
    """A GGUF chat model. Threads may share it: they are served one after the other, in the order they came.

    ``context`` is the number of tokens of prompt and answer together; ``threads`` defaults to the physical cores this process may
    use. Raises MianpuError when the file is missing, damaged or no chat model.
    """

    def __init__(self, path: Path, *, context: int = 4096, threads: int | None = None) -> None:
        _check_file(path)
        # Imported here: it takes most of a second, and only the commands that answer need it.
        import llama_cpp

        self._api: Any = llama_cpp
        self.name = path.stem
        self.last_timings: Timings | None = None
        _silence(llama_cpp)
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.n_gpu_layers = 0
        # Repacking the weights made nothing faster on AVX2 and costs 3 s at every start and a second copy in memory.
        options.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), options)
        if not self._model:
            raise MianpuError(f"{path} cannot be loaded as a model{_last_error()}: remove the file and fetch it again")
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._template = llama_cpp.llama_model_chat_template(self._model, None)
        self._context_size = min(context, llama_cpp.llama_model_n_ctx_train(self._model))
        # The flag is a C string of length 0 or 1, and the callback is C's strlen: llama.cpp asks before every operation, from the
        # computing thread, and a Python callback would wait for the interpreter's lock a thousand times a token.
        self._flag = ctypes.create_string_buffer(2)
        self._context = self._new_context(threads or physical_cores())
        if not self._context:
            llama_cpp.llama_model_free(self._model)
            raise MianpuError(f"not enough memory for a context of {context} tokens{_last_error()}: close other programs")
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self._sampler, llama_cpp.llama_sampler_init_greedy())
        self._tokens = (llama_cpp.llama_token * _BATCH)()
        self._cells: list[int] = []  # the tokens of sequence 0 of the attention cache, in order
        # kept system texts -> the sequence that holds them, least recently used first
        self._prefixes: OrderedDict[tuple[int, ...], int] = OrderedDict()
        self._queue = FairQueue(lambda: self._raise_flag(False), lambda: self._raise_flag(True))
        try:
            self._blocks(Prompt("s", ("p",), (), "q"))
        except MianpuError:
            self.close()
            raise

    def close(self) -> None:
        """Stop what runs and free the memory; the object is of no use after it."""
        self._queue.close()
        if self._context:
            self._api.llama_sampler_free(self._sampler)
            self._api.llama_free(self._context)
            self._api.llama_model_free(self._model)
            self._context = self._model = None

    def token_count(self, text: str) -> int:
        """The number of tokens of a text, special tokens in it counted as the characters they are."""
        return len(self._tokenise(text, special=False))

    def warm(self, system: str) -> None:
        """Evaluate a system text and keep it, so that no question waits for it. Waits for answers that are being written."""

        def work(halted: Callable[[], bool]) -> Iterator[str]:
            prefix = _joined(self._blocks(Prompt(system, (), (), ""))[:_PREFIX_BLOCKS])
            if tuple(prefix) not in self._prefixes and self._evaluate(prefix, halted):
                self._keep_prefix(prefix)
            yield from ()

        for _ in self._queue.stream(work, threading.Event(), lambda ahead: None):
            pass

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        """The answer, greedily decoded, in pieces; see ``ChatModel.stream``. Raises MianpuError when the prompt does not fit."""
        prompt = self._fitting(prompt, max_tokens)
        return self._queue.stream(lambda halted: self._generate(prompt, max_tokens, halted), stop, waiting)

    # --- prompts ------------------------------------------------------------------------------------------------

    def _fitting(self, prompt: Prompt, max_tokens: int) -> Prompt:
        """The prompt, without the oldest turns if there is no room for them."""
        while self._size(prompt) + max_tokens > self._context_size:
            if not prompt.history:
                raise MianpuError(
                    f"the question is too long for the chat model, which reads {self._context_size - max_tokens} tokens: shorten it"
                )
            rest = prompt.history[1:]
            while rest and rest[0].role != "user":
                rest = rest[1:]
            prompt = replace(prompt, history=rest)
        return prompt

    def _size(self, prompt: Prompt) -> int:
        return len(_joined(self._blocks(prompt)))

    def _blocks(self, prompt: Prompt) -> list[list[int]]:
        """The tokens of the prompt, block by block: what comes before the first passage (``_PREFIX_BLOCKS``), passages, the rest.

        The passages open the first message of the user. (In the system message, where they read as well, the model used them
        less: 18 of 26 key points against 22.)

        The model's own template says how messages are joined. It is applied to marks, and the marks are replaced by what people
        and documents wrote, tokenised with special tokens switched off: no text can end its own message and begin another.
        """
        turns = [*prompt.history, Turn("user", prompt.question)]
        roles = ["system", *(turn.role for turn in turns)]
        asked = (*prompt.passages, turns[0].text)
        contents: list[tuple[str, ...]] = [(prompt.system,), asked, *((turn.text,) for turn in turns[1:])]
        rendered = self._render([(role, f"\x1a{number}\x1a") for number, role in enumerate(roles)])
        parts = _MARK.split(rendered)
        if [int(n) for n in parts[1::2]] != list(range(len(roles))):
            raise MianpuError(f"the chat template of {self.name} cannot be used (it drops messages): choose another chat model")
        blocks = []
        for number, part in enumerate(parts):
            if number % 2:
                blocks += [self._tokenise(text, special=False) for text in contents[int(part)]]
            else:
                blocks.append(self._tokenise(part, special=True))
        if self._api.llama_vocab_get_add_bos(self._vocab):
            first = self._api.llama_vocab_bos(self._vocab)
            blocks[0] = [first, *(t for t in blocks[0] if t != first)]
        return blocks

    def _render(self, messages: Sequence[tuple[str, str]]) -> str:
        array = (self._api.llama_chat_message * len(messages))()
        for slot, (role, content) in zip(array, messages, strict=True):
            slot.role, slot.content = role.encode(), content.encode()
        size = 256 * len(messages) + 1024
        buffer = ctypes.create_string_buffer(size)
        # None as the template would mean ChatML, which another model may never have seen.
        length = -1 if not self._template else self._api.llama_chat_apply_template(
            self._template, array, len(messages), True, buffer, size
        )  # fmt: skip
        if not 0 <= length <= size:
            raise MianpuError(f"{self.name} has no chat template that llama.cpp knows: choose an instruction-tuned model")
        return buffer.raw[:length].decode("utf-8")

    def _tokenise(self, text: str, *, special: bool) -> list[int]:
        data = text.encode("utf-8", "replace")
        room = len(data) + 8
        tokens = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
        if count < 0:
            raise MianpuError("a text is too long for the chat model: shorten it")
        return list(tokens[:count])

    # --- evaluation (worker thread only) --------------------------------------------------------------------------

    def _generate(self, prompt: Prompt, max_tokens: int, halted: Callable[[], bool]) -> Iterator[str]:
        began = time.perf_counter()
        blocks = self._blocks(prompt)
        tokens = _joined(blocks)
        reused = self._reuse(tokens)
        generated, first_s = 0, 0.0
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        guard = LoopGuard()
        try:
            more = self._evaluate(tokens, halted)
            if more:
                self._keep_prefix(_joined(blocks[:_PREFIX_BLOCKS]))
            while more and generated < max_tokens and not halted():
                token = self._api.llama_sampler_sample(self._sampler, self._context, -1)
                if self._api.llama_vocab_is_eog(self._vocab, token):
                    break
                generated += 1
                first_s = first_s or time.perf_counter() - began
                piece = decoder.decode(self._piece(token))
                if piece:
                    yield piece
                    if guard.add(piece):
                        break
                tokens.append(token)
                more = generated < max_tokens and self._evaluate(tokens, halted)
            rest = decoder.decode(b"", final=True)
            if rest.strip("\ufffd"):
                yield rest
        finally:
            seconds = time.perf_counter() - began
            self.last_timings = Timings(len(_joined(blocks)), reused, generated, first_s, seconds)

    def _reuse(self, tokens: Sequence[int]) -> int:
        """Bring sequence 0 to the longest beginning of ``tokens`` that is in the cache; returns its length."""
        best, source = _common(self._cells, tokens), 0
        for prefix, sequence in self._prefixes.items():
            shared = _common(prefix, tokens)
            if shared > best:
                best, source = shared, sequence
        best = min(best, len(tokens) - 1)  # the last token is always evaluated: its logits are wanted
        if source:
            self._api.llama_memory_seq_rm(self._memory, 0, -1, -1)
            self._api.llama_memory_seq_cp(self._memory, source, 0, 0, best)
            self._cells = list(tokens[:best])
        else:
            self._cut(best)
        return len(self._cells)

    def _evaluate(self, tokens: Sequence[int], halted: Callable[[], bool]) -> bool:
        """Evaluate what of ``tokens`` is not in sequence 0 yet; False when it was stopped before the end."""
        if self._cells != list(tokens[: len(self._cells)]):
            self._reuse(tokens)
        while len(self._cells) < len(tokens):
            if halted():
                return False
            at = len(self._cells)
            part = list(tokens[at : at + _BATCH])
            self._tokens[: len(part)] = part
            status = self._api.llama_decode(self._context, self._api.llama_batch_get_one(self._tokens, len(part)))
            if status == 0:
                self._cells += part
                continue
            self._cut(at)  # an interrupted call may leave cells that were never computed
            if status == 2:
                return False
            self._forget()
            raise MianpuError(f"the chat model failed (llama.cpp status {status}{_last_error()}): ask again")
        return True

    def _cut(self, length: int) -> None:
        if not self._api.llama_memory_seq_rm(self._memory, 0, length, -1):
            self._api.llama_memory_seq_rm(self._memory, 0, -1, -1)  # a model that cannot drop part of a sequence
            length = 0
        del self._cells[length:]

    def _forget(self) -> None:
        self._api.llama_memory_clear(self._memory, False)
        self._cells.clear()
        self._prefixes.clear()

    def _keep_prefix(self, prefix: Sequence[int]) -> None:
        """Keep the beginning of sequence 0 in a sequence of its own; copying shares the cells and costs nothing."""
        key = tuple(prefix)
        if key in self._prefixes:
            self._prefixes.move_to_end(key)
            return
        kept = sum(map(len, self._prefixes))
        while self._prefixes and (len(self._prefixes) == _KEPT_PREFIXES or kept + len(key) > _SPARE_CELLS):
            old, sequence = self._prefixes.popitem(last=False)
            self._api.llama_memory_seq_rm(self._memory, sequence, -1, -1)
            kept -= len(old)
        if len(key) <= _SPARE_CELLS:
            free = next(s for s in _PREFIX_SEQUENCES if s not in self._prefixes.values())
            self._api.llama_memory_seq_cp(self._memory, 0, free, 0, len(key))
            self._prefixes[key] = free

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        length = self._api.llama_token_to_piece(self._vocab, token, buffer, 64, 0, False)
        if length < 0:
            buffer = ctypes.create_string_buffer(-length)
            length = self._api.llama_token_to_piece(self._vocab, token, buffer, -length, 0, False)
        return buffer.raw[:length]

    def _new_context(self, threads: int) -> Any:
        options = self._api.llama_context_default_params()
        options.n_ctx = self._context_size + _SPARE_CELLS
        options.n_batch = options.n_ubatch = _BATCH
        options.n_seq_max = 1 + _KEPT_PREFIXES
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


def physical_cores() -> int:
    """The physical cores this process may use: a second thread on one core makes llama.cpp slower, not faster."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = {_core(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def _core(cpu: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return (topology / "physical_package_id").read_text().strip(), (topology / "core_id").read_text().strip()
    except OSError:
        return str(cpu), ""


def _quota() -> int:
    """The whole cores a container is granted (cgroup v2); very many when there is no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return 1 << 16 if limit == "max" else max(1, int(limit) // int(period))
    except (OSError, ValueError):
        return 1 << 16


def _joined(blocks: Sequence[Sequence[int]]) -> list[int]:
    return [token for block in blocks for token in block]


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def _check_file(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MianpuError(f"the chat model {path} cannot be read ({reason}): run `mianpu models`") from None
    if magic != b"GGUF":
        raise MianpuError(f"{path} is not a GGUF model file: choose another with --chat-model, or remove it and fetch it again")


def _silence(api: Any) -> None:
    """Keep llama.cpp's errors for our own messages and let nothing through to the terminal."""
    if _callbacks:
        return

    @api.llama_log_callback  # type: ignore[untyped-decorator]
    def keep(level: int, text: bytes, _: object) -> None:
        if level == _ERROR_LEVEL and text.strip():
            _log.append(text.decode("utf-8", "replace").strip())

    _callbacks.append(keep)
    api.llama_log_set(keep, ctypes.c_void_p(0))


def _last_error() -> str:
    """What llama.cpp said last when it failed, for a message: " (…)" or nothing."""
    if not _log:
        return ""
    line = _log[0].splitlines()[0].rpartition("error loading model: ")[2]
    _log.clear()
    return f" ({line})"
