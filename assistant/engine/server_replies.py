"""What an OpenAI-compatible server sends: events with pieces of text, thinking that is not the answer, refusals, broken streams."""

import json
import re
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

_LONGEST_EVENT = 1 << 20  # characters; an event is a few hundred


class Refused(Exception):
    """A line for the reader; ``passing``: another attempt may go better; ``after``: the seconds the server asks to wait."""

    def __init__(self, line: str, passing: bool, after: float | None = None) -> None:
        super().__init__(line)
        self.passing, self.after = passing, after


class Broken(Exception):
    """A stream that is no stream, or ended before its end; the text goes behind the server's address."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One event: a piece of text (may be empty), and whether the model was at work in it (thinking counts)."""

    text: str
    alive: bool = False


async def pieces_of(response: httpx.Response) -> AsyncIterator[Reply]:
    """The events of a streamed answer, or the one of a server that does not stream. Raises Broken, httpx.HTTPError."""
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/json":
        try:
            yield Reply(str(json.loads(await response.aread())["choices"][0]["message"]["content"] or ""))
        except (ValueError, KeyError, TypeError, IndexError):
            raise Broken("answers something that is no chat completion: check the address") from None
        return
    if kind and kind != "text/event-stream":
        raise Broken(f"answers with {kind} instead of a stream of JSON: check the address")
    ended = False
    data: list[str] = []
    async for line in _lines(response):
        if line.startswith("data:"):
            data.append(line[5:].lstrip(" "))
            continue
        if line or not data:
            continue  # comments keep the connection alive; names and numbers of events say nothing here
        text, data = "\n".join(data), []
        if text.strip() == "[DONE]":
            return
        reply, last = _event(text)
        ended = ended or last
        yield reply
    if data and "".join(data).strip() == "[DONE]":
        return
    if not ended:
        raise Broken("ended its stream in the middle")


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines of a stream, as they arrive; httpx's own would also split at characters that stand inside of JSON strings."""
    rest = ""
    async for text in response.aiter_text():
        rest += text
        *lines, rest = rest.replace("\r\n", "\n").split("\n")
        for line in lines:
            yield line
        if len(rest) > _LONGEST_EVENT:
            raise Broken("sends an event without end: check the address")
    if rest:
        yield rest
    yield ""


def _event(text: str) -> tuple[Reply, bool]:
    try:
        value = json.loads(text)
        if isinstance(value, dict) and value.get("error"):
            error = value["error"]
            line = " ".join(str(error.get("message", error) if isinstance(error, dict) else error).split())
            raise Broken(f"failed while answering: {line[:200]}")
        choices = value["choices"]
        if not choices:
            return Reply(""), False  # the figures of use, which some send last
        delta = choices[0].get("delta") or {}
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        return Reply(str(delta.get("content") or ""), bool(thought)), choices[0].get("finish_reason") is not None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise Broken("sends what is not JSON of a chat completion: check the address") from None


# Control tokens of the chat templates in use: ChatML, Llama 2-4, Gemma, Mistral, DeepSeek, Phi, GLM, Command R.
_CONTROL = re.compile(
    r"<[|｜](?=[^\s<>|｜]{1,40}[|｜]>)|<(?=/?s>|(?:start|end)_of_turn>|(?:bos|eos|pad|unk)>|/?SYS>>|<SYS>>)"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|gMASK|sop|eop)\])"
)


def inert(text: str) -> str:
    """A text that is nothing but text to any server: what looks like a control token gets a space behind its first character.

    In this process texts are tokenised with control tokens switched off; a server is sent text, and most of them read control
    tokens in it.

    >>> inert("a<|im_end|>b")
    'a< |im_end|>b'
    """
    return _CONTROL.sub(lambda match: f"{match.group()[0]} {match.group()[1:]}", text)


def complaint(error: httpx.HTTPError, address: str) -> str:
    """One line on why there was no exchange with a server."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None or chain[-1].__context__ is not None:
        chain.append(chain[-1].__cause__ or chain[-1].__context__ or error)
    reason = " ".join(str(error).split()) or type(error).__name__
    if any(isinstance(e, ssl.SSLError) for e in chain):
        return f"no secure connection to {address} ({reason}): check the address (http or https?) and the server's certificate"
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return f"{address} does not answer: check the address, or start the server"
    if isinstance(error, httpx.ConnectError):
        return f"no server at {address} ({reason}): start it, or check the address"
    if isinstance(error, httpx.ProxyError | httpx.UnsupportedProtocol):
        return f"{address} cannot be reached through the proxy of the environment ({reason}): check HTTPS_PROXY"
    return f"{address} broke the connection ({reason}): ask again"


def retry_after(response: httpx.Response) -> float | None:
    """The seconds a server asks to wait, from its Retry-After (seconds or a date); None when it does not say."""
    value = response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
