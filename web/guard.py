"""What stands between the browser and Gradio: who may ask, in which language, and what the page may load.

Gradio's start page names pictures and other things on other hosts. This middleware rewrites that one page, so that it names only
this server, and sends a Content-Security-Policy under which the browser would refuse anything else. Scripts run only from this
server or with the nonce of the page, so markup that slipped into the page could not bring a handler along.
"""

import html
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from web.texts import LANGUAGES, language_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_OWN_PATHS = ("/mianpu/", *(f"/{language}/" for language in LANGUAGES))
_REMOVED = re.compile(
    r'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>|<link\s+rel="(?:manifest|preconnect|dns-prefetch)"[^>]*>|<link[^>]+href="https?:[^>]*>',
    re.S,
)
_SCRIPT = re.compile(r"<script(?=[\s>])")


class Guard:
    """ASGI middleware. ``head`` is trusted HTML for the start page, by language."""

    def __init__(self, application: Application, *, host: str, head: Mapping[str, str]) -> None:
        self._application = application
        self._hosts = LOOPBACK | {host} if host in LOOPBACK else None
        self._head = head

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, rewrite or pass on one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        headers = _headers(scope)
        refusal = self._refusal(scope, headers)
        if refusal:
            await _answer(send, 403, refusal)
            return
        language = language_of(headers.get("cookie", ""), headers.get("accept-language", ""))
        path = str(scope["path"])
        if not path.startswith(_OWN_PATHS):
            path = f"/{language}{path}"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        page_of = next((name for name in LANGUAGES if path == f"/{name}/"), None)
        if page_of is None:
            await self._application(scope, receive, _with_headers(send, _policy(None)))
            return
        # Gradio's compression has to stay off: the page is changed on its way out.
        scope["headers"] = [(k, v) for k, v in scope["headers"] if k != b"accept-encoding"]
        page = _Page(send, page_of, self._head[page_of])
        await self._application(scope, receive, page.send)

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Why this request is not answered, or nothing.

        A foreign Host is a name that was rebound to this machine; a foreign Origin is another site's script.
        """
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return f"this page is served to this computer only, not to {html.escape(host)}"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return "requests from other sites are refused"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            return "requests from other sites are refused"
        return ""


class _Page:
    """Collects the start page and sends it rewritten."""

    def __init__(self, send: Send, language: str, head: str) -> None:
        self._send, self._language, self._head = send, language, head
        self._start: Message = {}
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body":
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        nonce = secrets.token_urlsafe(16)
        body = rewritten_page(self._body.decode(), self._language, self._head, nonce).encode()
        headers = [(k, v) for k, v in self._start["headers"] if k.lower() not in (b"content-length", b"vary")]
        headers += [(b"content-length", str(len(body)).encode()), (b"vary", b"accept-language, cookie"), *_policy(nonce)]
        await self._send({**self._start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def rewritten_page(page: str, language: str, head: str, nonce: str) -> str:
    """Gradio's start page without other hosts' addresses, in our language, with our ``head`` and a nonce on every script."""
    start, _, rest = page.partition("</head>")
    # The settings of the page are data inside a script; only the markup around them is changed.
    pieces = re.split(r"(<script>window\.gradio_config = .*?</script>)", start, maxsplit=1, flags=re.S)
    pieces = [piece if piece.startswith("<script>window.gradio_config") else _REMOVED.sub("", piece) for piece in pieces]
    page = "".join(pieces).replace('lang="en"', f'lang="{LANGUAGES[language]}"', 1) + head + "</head>" + rest
    return _SCRIPT.sub(f'<script nonce="{nonce}"', page)


def _policy(nonce: str | None) -> list[tuple[bytes, bytes]]:
    # Gradio compiles its templates with Function, hence 'unsafe-eval'; inline styles are everywhere in it. Inline scripts need the
    # nonce, so event handlers in markup never run.
    scripts = f"'self' 'nonce-{nonce}' 'unsafe-eval'" if nonce else "'self'"
    policy = (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:;"
        " font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self';"
        " form-action 'self'; frame-ancestors 'none'"
    )
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]


def _with_headers(send: Send, added: Sequence[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name for name, _ in added}
            kept = [(k, v) for k, v in message.get("headers", []) if k.lower() not in names]
            message = {**message, "headers": [*kept, *added]}
        await send(message)

    return sending


def _headers(scope: Scope) -> dict[str, str]:
    return {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}


def _host_name(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
