"""Which chat model answers: Mianpu's own, a GGUF file, or a server. The choice is the library's; keys and consent are the person's.

A library can be copied from anywhere, so it names a model and nothing more. What a person agreed to, and where his keys are, stands
in his own settings folder: a library from elsewhere that names a server gets no passage and no key sent there.
"""

import json
import os
import stat
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.engine.llama import LlamaChat
from assistant.engine.llm import ChatModel, Prompt
from assistant.engine.openai_server import ServerChat
from assistant.engine.server_address import base_address, host_of, is_here, is_open
from assistant.engine.states import StateStore
from assistant.engine.tuning import tuning_file
from ingest.errors import MianpuError, UsageError
from ingest.models.model_files import chat_model_path
from ingest.progress import Progress, no_progress
from ingest.storage.library import Library

KEY_VARIABLE = "MIANPU_API_KEY"
KINDS = ("own", "gguf", "server")
_META = "chat_engine"


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """``kind`` "own"; "gguf" (``model``: a file or hub name); "server" (``address``; ``model`` "": the first it lists)."""

    kind: str = "own"
    model: str = ""
    address: str = ""


class NeedsConsent(UsageError):
    """Passages would leave this computer, and nobody agreed to that yet; ``address`` is where they would go."""

    def __init__(self, address: str) -> None:
        self.address = address
        way = ", unencrypted" if is_open(address) else ""
        super().__init__(
            f"your questions and passages of your notes would be sent to {host_of(address)}{way}, which is not this computer: "
            "say --send-notes once to agree, or use a model on this computer"
        )


def chosen(chat_model: str | None, server: str | None, model: str | None) -> EngineChoice | None:
    """The choice that options say, None when they say none. Raises UsageError when they contradict each other."""
    if server and chat_model:
        raise UsageError("--chat-model is a model in this process, --server one elsewhere: give one of them")
    if model and not server:
        raise UsageError("--model names a model of a server: give its address with --server")
    if server:
        return EngineChoice("server", model or "", base_address(server))
    return EngineChoice("gguf", chat_model) if chat_model else None


def saved_choice(library: Library) -> EngineChoice:
    """What the library was last set to; Mianpu's own model when nothing was, or nothing that can be read."""
    try:
        value = json.loads(library.meta(_META) or "{}")
        choice = EngineChoice(**{key: str(text) for key, text in value.items()})
        if choice.kind == "server":
            base_address(choice.address)
        return choice if choice.kind in KINDS else EngineChoice()
    except (ValueError, TypeError, AttributeError, UsageError):
        return EngineChoice()


def save_choice(library: Library, choice: EngineChoice) -> None:
    """Keep the choice in the library."""
    library.set_meta(**{_META: json.dumps(asdict(choice), ensure_ascii=False)})


def open_engine(choice: EngineChoice, states: StateStore | None, progress: Progress = no_progress) -> LlamaChat | ServerChat:
    """The chat model of a choice. Raises NeedsConsent before anything is sent to another computer, MianpuError otherwise."""
    if choice.kind == "server":
        require_consent(choice.address)
        return ServerChat(choice.address, choice.model, key=key_for(choice.address))
    return LlamaChat(chat_model_path(choice.model or None, progress), states=states, tuned=tuning_file())


def check(model: ChatModel) -> str:
    """Whether a model answers, in one line: its name and how long the first token took. Raises MianpuError when it does not."""
    began, first = time.perf_counter(), 0.0
    prompt = Prompt("Answer with one word.", (), (), "Say OK.")
    for piece in model.stream(prompt, max_tokens=8, stop=threading.Event(), waiting=lambda ahead: None):
        if piece.strip():
            first = first or time.perf_counter() - began
    if not first:
        raise MianpuError(f"{model.name} answers with no text: choose another model")
    where = f" at {model.address}" if isinstance(model, ServerChat) else ""
    notes = "".join(f"; {note}" for note in getattr(model, "notes", ()))
    return f"{model.name}{where} answers; first token after {first:.1f} s{notes}"


# --- consent and keys: the person's, not the library's --------------------------------------------------------------------


def settings_folder() -> Path:
    """The person's settings: ``$MIANPU_CONFIG``, else ``$XDG_CONFIG_HOME/mianpu``, else ``~/.config/mianpu``."""
    if own := os.environ.get("MIANPU_CONFIG"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CONFIG_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".config") / "mianpu"


def agreed(address: str) -> bool:
    """Whether passages may be sent there: always to this computer, elsewhere when the person agreed."""
    return is_here(address) or bool(_servers().get(address, {}).get("send_notes"))


def require_consent(address: str) -> None:
    """Raise NeedsConsent unless passages may be sent there."""
    if not agreed(address):
        raise NeedsConsent(address)


def agree(address: str) -> None:
    """Remember that passages may be sent to this address."""
    _remember(address, "send_notes", True)


def use_key_file(address: str, file: Path) -> None:
    """Remember which file holds the key for this address; the key itself is copied nowhere. Raises UsageError for an unfit file."""
    _key_in(file)
    _remember(address, "key_file", str(file.expanduser().resolve()))


def key_for(address: str) -> str:
    """The API key for an address: from the file remembered for it, else from ``$MIANPU_API_KEY``; "" when there is none."""
    file = _servers().get(address, {}).get("key_file")
    return _key_in(Path(file)) if isinstance(file, str) else os.environ.get(KEY_VARIABLE, "").strip()


def _key_in(file: Path) -> str:
    path = file.expanduser()
    try:
        status = path.stat()
        if os.name == "posix" and (stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid()):
            raise UsageError(f"others can read the key in {path}: chmod 600 {path}")
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the key in {path} cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    if not key or not key.isascii() or any(c.isspace() for c in key):
        raise UsageError(f"{path} holds no API key: put the key, and nothing else, into it")
    return key


def _servers() -> dict[str, dict[str, Any]]:
    try:
        value = json.loads((settings_folder() / "servers.json").read_text(encoding="utf-8"))
        return {k: v for k, v in value.items() if isinstance(v, dict)} if isinstance(value, dict) else {}
    except (OSError, ValueError):
        return {}


def _remember(address: str, key: str, value: object) -> None:
    servers = _servers()
    servers[address] = {**servers.get(address, {}), key: value}
    folder = settings_folder()
    part = folder / f"servers.json.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(servers, file, indent=2)
        os.replace(part, folder / "servers.json")
    except OSError as error:
        raise MianpuError(f"{folder} cannot be written ({error.strerror}): set MIANPU_CONFIG to another folder") from None
