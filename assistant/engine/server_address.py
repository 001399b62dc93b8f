"""Addresses of chat servers: how people write them, and whether they leave this computer."""

import ipaddress
import re
from urllib.parse import urlsplit

from ingest.errors import UsageError


def base_address(given: str) -> str:
    """The address below which ``/chat/completions`` stands.

    >>> base_address("localhost:8080"), base_address("https://models.example/api/v3/")
    ('http://localhost:8080/v1', 'https://models.example/api/v3')
    """
    text = given.strip()
    if not re.match(r"[a-z][a-z0-9+.-]*://", text, re.I):
        # What is on this computer speaks plain HTTP; what is elsewhere should not.
        text = ("http://" if is_here(f"http://{text}") else "https://") + text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise UsageError(f"{given} is not an address: give one like localhost:8080") from None
    host = parts.hostname or ""
    if parts.scheme.lower() not in ("http", "https") or not re.fullmatch(r"[\w.:%-]+", host) or parts.query or parts.fragment:
        raise UsageError(f"{given} is not the address of a server: give one like localhost:8080")
    if parts.username or parts.password:
        raise UsageError("an address holds no user name and no password: put the key into MIANPU_API_KEY or a file (--key-file)")
    where = f"[{host}]" if ":" in host else host
    path = re.sub(r"/(?:chat/completions|models)$", "", parts.path.rstrip("/")) or "/v1"
    return f"{parts.scheme.lower()}://{where}{f':{port}' if port else ''}{path}"


def is_here(address: str) -> bool:
    """Whether an address is this very computer's (a loopback address): what is sent there does not leave it.

    >>> is_here("http://127.0.0.1:8080/v1"), is_here("http://192.168.1.5:8080/v1"), is_here("http://localhost.example/v1")
    (True, False, False)
    """
    host = (urlsplit(address).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """The name of the server, for a sentence that people read."""
    return urlsplit(address).hostname or address


def is_open(address: str) -> bool:
    """Whether others on the way could read along: it leaves this computer without encryption."""
    return not is_here(address) and urlsplit(address).scheme == "http"
