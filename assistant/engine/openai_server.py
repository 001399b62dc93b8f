"""A chat model behind an address: any server that speaks OpenAI's chat completions (vLLM, llama.cpp's server, Ollama, a cloud).

Nothing is known of such a server but its answers, so everything that can go wrong has a line of its own, and a question that is
stopped closes its connection, which is how these servers learn that nobody waits any more. The passages of a prompt go over the
wire as text: ``is_here`` says whether that wire leaves this computer.
"""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from assistant.engine.exchange import Exchange, Line
from assistant.engine.llm import LoopGuard, Prompt, Thinking, Timings
from assistant.engine.server_address import base_address, is_here
from assistant.engine.server_replies import Broken, Refused, Reply, complaint, inert, pieces_of, retry_after
from ingest.errors import MianpuError

ROOM = 4096
"""Tokens of prompt and answer a server is taken to have room for when it does not say."""
_PARALLEL = 4  # questions sent at the same time; servers batch, and the rest waits here, where its place can be shown
_RETRIES = 3
_LONGEST_WAIT = 20.0  # seconds a server may ask us to wait before a retry; beyond that the reader is told
_AT_ONCE = (408, 409, 425, 500, 502, 503, 504)  # statuses that another attempt may cure


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: to connect, until the first token (a large model reads slowly), between two tokens, before the first retry."""

    connect: float = 5.0
    first: float = 120.0
    between: float = 30.0
    pause: float = 0.5


class _NoList(MianpuError):
    """The server answers, but not with a list of models."""


class ServerChat:
    """The chat model at ``address`` called ``model`` there; no model: the first one it lists. Threads may share it.

    ``key`` is sent as a bearer token and to this address only. Making one connects to nothing. Raises UsageError for an address
    that is none.
    """

    def __init__(self, address: str, model: str = "", *, key: str = "", patience: Patience = Patience()) -> None:
        self.address = base_address(address)
        self.model = model
        self.last_timings: Timings | None = None
        self._key = key
        self._patience = patience
        self._room = 0
        self._line = Line(_PARALLEL)

    @property
    def name(self) -> str:
        """The model as the server calls it."""
        return self.model or self.address

    def close(self) -> None:
        """Nothing is held open between two questions."""

    def token_count(self, text: str) -> int:
        """About the number of tokens, rather too many than too few: the server's tokenizer is not here."""
        return estimated_tokens(text)

    def models(self) -> list[str]:
        """The models the server lists. Raises MianpuError with one line on what is wrong."""
        return [str(row["id"]) for row in self._listed()]

    def stream(self, prompt: Prompt, *, max_tokens: int, stop: threading.Event, waiting: Callable[[int], None]) -> Iterator[str]:
        """The answer in pieces; see ``ChatModel.stream``. Raises MianpuError with one line on what is wrong."""
        with self._line.place(stop, waiting) as mine:
            if mine:
                yield from self._stream(prompt, max_tokens, stop)

    def _stream(self, prompt: Prompt, max_tokens: int, stop: threading.Event) -> Iterator[str]:
        """Run the exchange on an event loop of its own: cancelling it there closes the connection, whatever it waits for."""
        began = time.perf_counter()
        arrived: queue.SimpleQueue[str | BaseException | None] = queue.SimpleQueue()
        exchange = Exchange(self._pieces(prompt, max_tokens), arrived.put)
        guard, count, first = LoopGuard(), 0, 0.0
        try:
            while not stop.is_set():
                try:
                    item = arrived.get(timeout=0.05)
                except queue.Empty:
                    continue
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                count += 1
                first = first or time.perf_counter() - began
                yield item
                if guard.add(item):
                    return
        finally:
            exchange.cancel()
            self.last_timings = Timings(_size(prompt), 0, count, first, time.perf_counter() - began)

    async def _pieces(self, prompt: Prompt, max_tokens: int) -> AsyncIterator[str]:
        patience = self._patience
        async with self._client() as client:
            if not self.model or not self._room:
                await self._look(client)
            body = {
                "model": self.model, "stream": True, "temperature": 0, "max_tokens": max_tokens,
                "messages": messages(prompt, self._room - max_tokens),
            }  # fmt: skip
            for attempt in range(_RETRIES + 1):
                begun = False
                try:
                    async for piece in self._attempt(client, body):
                        begun = True
                        yield piece
                    return
                except Refused as refusal:
                    wait = refusal.after if refusal.after is not None else patience.pause * 2**attempt
                    again = refusal.passing and wait <= _LONGEST_WAIT
                    if begun or not again or attempt == _RETRIES:
                        raise MianpuError(self._without_key(str(refusal))) from None
                await asyncio.sleep(wait)

    async def _attempt(self, client: httpx.AsyncClient, body: dict[str, Any]) -> AsyncIterator[str]:
        """One exchange: pieces of text. Raises Refused; one that is ``passing`` may go better the next time."""
        thinking, length = Thinking(), 0
        patience = self._patience.first
        try:
            async with asyncio.timeout(self._patience.connect + self._patience.first):
                response = await client.send(
                    client.build_request("POST", f"{self.address}/chat/completions", json=body), stream=True
                )
            try:
                if response.status_code != 200:
                    await self._refused(client, response)
                replies = pieces_of(response)
                while True:
                    async with asyncio.timeout(patience):
                        reply: Reply | None = await anext(replies, None)
                    if reply is None:
                        break
                    text = thinking.feed(reply.text)
                    patience = self._patience.between if reply.text or reply.alive else patience
                    if text:
                        length += len(text)
                        yield text
                if rest := thinking.finish():
                    yield rest
            finally:
                await response.aclose()
        except Broken as error:
            raise Refused(
                f"{self.address} {error}" + (f" after {length} characters: ask again" if length else ""), not length
            ) from None
        except TimeoutError:
            said = f"{length} characters" if length else "no token"
            raise Refused(
                f"{self.address} was silent for {patience:.0f} s after {said}: ask again, or choose another model", False
            ) from None
        except httpx.HTTPError as error:
            if length:
                raise Refused(f"{self.address} broke off after {length} characters: ask again", False) from None
            # Where nobody listens, waiting does not help; a connection that broke may hold the next time.
            raise Refused(complaint(error, self.address), not isinstance(error, httpx.ConnectError)) from None

    async def _refused(self, client: httpx.AsyncClient, response: httpx.Response) -> None:
        status = response.status_code
        with suppress(httpx.HTTPError, TimeoutError):
            async with asyncio.timeout(self._patience.connect):
                await response.aread()
        told = pieces_error(response)
        if 300 <= status < 400:
            raise Refused(f"{self.address} sends us elsewhere (status {status}): give the address it names", False)
        if status in (401, 403):
            key = "refuses the API key" if self._key else "wants an API key"
            raise Refused(f"{self.address} {key} (status {status}): set MIANPU_API_KEY, or name a file with --key-file", False)
        if status == 404:
            listed: list[str] = []
            with suppress(MianpuError, httpx.HTTPError):
                listed = [str(row["id"]) for row in await self._list(client)]
            if listed and self.model not in listed:
                raise Refused(f"{self.address} has no model {self.model}; it has {', '.join(listed[:6])}: choose one", False)
            raise Refused(f"{self.address} knows no chat completions (status 404{told}): check the address and the model", False)
        if status == 429:
            after = retry_after(response)
            wait = f"; it asks to wait {after:.0f} s" if after else ""
            raise Refused(f"{self.address} takes no more questions for now (status 429{told}){wait}: ask again later", True, after)
        raise Refused(f"{self.address} failed (status {status}{told})", status in _AT_ONCE, retry_after(response))

    # --- what models there are --------------------------------------------------------------------------------------

    async def _look(self, client: httpx.AsyncClient) -> None:
        """Choose the first model where none was named, and take over how much it reads where the server says."""
        try:
            rows = await self._list(client)
        except _NoList:
            if not self.model:
                raise
            rows = []  # some servers list nothing and answer all the same
        if not self.model:
            if not rows:
                raise MianpuError(f"{self.address} lists no model: name one with --model")
            self.model = str(rows[0]["id"])
        row = next((row for row in rows if row["id"] == self.model), {})
        meta = row.get("meta")
        room = row.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
        self._room = room if isinstance(room, int) and room >= 512 else ROOM

    async def _list(self, client: httpx.AsyncClient) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(self._patience.connect + 10):
                response = await client.get(f"{self.address}/models")
        except TimeoutError:
            raise MianpuError(f"{self.address} does not answer: check the address, or start the server") from None
        except httpx.HTTPError as error:
            raise MianpuError(complaint(error, self.address)) from None
        if response.status_code in (401, 403):
            key = "refuses the API key" if self._key else "wants an API key"
            raise MianpuError(f"{self.address} {key}: set MIANPU_API_KEY, or name a file with --key-file")
        try:
            rows = response.json()["data"]
            return [row for row in rows if isinstance(row["id"], str)]
        except (ValueError, KeyError, TypeError):
            status = (
                f"status {response.status_code}" if response.status_code != 200 else "not the list of models that was asked for"
            )
            raise _NoList(f"{self.address} is no OpenAI-compatible server ({status}): check the address") from None

    def _listed(self) -> list[dict[str, Any]]:
        async def ask() -> list[dict[str, Any]]:
            async with self._client() as client:
                return await self._list(client)

        return asyncio.run(ask())

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        # A proxy of the environment is for the world outside; what is meant for this computer stays in it.
        try:
            return httpx.AsyncClient(
                headers=headers, timeout=httpx.Timeout(None, connect=self._patience.connect), trust_env=not is_here(self.address),
                follow_redirects=False,
            )  # fmt: skip
        except (ImportError, ValueError, OSError) as error:
            raise MianpuError(f"the proxy or certificates of the environment cannot be used: {error}") from None

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "•••") if len(self._key) >= 6 else text


def pieces_error(response: httpx.Response) -> str:
    """What a server says of its refusal, for the end of a line: «: …», at most 200 characters; nothing when it says nothing."""
    try:
        value = response.json()
        error = value.get("error", value) if isinstance(value, dict) else value
        text = error.get("message") or error.get("detail") or "" if isinstance(error, dict) else error
    except (ValueError, httpx.ResponseNotRead):
        return ""
    line = " ".join(str(text).split())
    return f": {line[:200]}" if line else ""


# --- prompts as messages ------------------------------------------------------------------------------------------------


def messages(prompt: Prompt, room: int) -> list[dict[str, str]]:
    """The prompt as chat messages of at most ``room`` tokens by estimate: the oldest turns go first. Raises MianpuError."""
    turns = list(prompt.history)
    fixed = _size(Prompt(prompt.system, prompt.passages, (), prompt.question))
    if fixed > room:
        raise MianpuError(f"the question with its passages is too long for the chat model, which reads {room} tokens: shorten it")
    while turns and fixed + sum(estimated_tokens(turn.text) + 8 for turn in turns) > room:
        turns = turns[1:]
        while turns and turns[0].role != "user":
            turns = turns[1:]
    said = [(turn.role, inert(turn.text)) for turn in turns] + [("user", inert(prompt.question))]
    passages = "".join(inert(passage) for passage in prompt.passages)
    said[0] = (said[0][0], passages + said[0][1])
    return [{"role": role, "content": text} for role, text in [("system", prompt.system), *said]]


def estimated_tokens(text: str) -> int:
    """A token a Chinese character and three characters a token else: some more than the tokenizers of today's models need.

    >>> estimated_tokens("KV 缓存"), estimated_tokens("attention")
    (3, 3)
    """
    wide = sum(ord(c) >= 0x2E80 for c in text)
    return wide + -(-(len(text) - wide) // 3)


def _size(prompt: Prompt) -> int:
    texts = [prompt.system, *prompt.passages, *(turn.text for turn in prompt.history), prompt.question]
    return sum(map(estimated_tokens, texts)) + 8 * (2 + len(prompt.history))
