"""Serving the page: models load side by side while Gradio is imported, and the page answers as soon as it can be shown."""

import contextlib
import logging
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn

from assistant.answers.answering import Assistant
from assistant.engine.choice import EngineChoice, open_engine, saved_choice
from assistant.engine.llama import LlamaChat
from assistant.engine.openai_server import ServerChat
from assistant.engine.preparing import prepare
from assistant.engine.states import STATES_MB, StateStore, library_states
from ingest.errors import MianpuError
from ingest.models.embedding import Embedder
from ingest.models.embedding_process import start_embedder
from ingest.pipeline import ingest
from ingest.progress import Progress, TerminalProgress
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph
from web.guard import LOOPBACK


def serve(
    library_folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    engine: EngineChoice | None = None,
    embedding_model: str | None = None,
    open_browser: bool = False,
    states_mb: int = STATES_MB,
) -> None:
    """Open the library (a new one where there is none) and serve the page until Ctrl-C; prints the address once the page answers.

    Raises MianpuError when the port is taken, the library is damaged or a model that was named cannot be had. Without a
    chat model the page still searches and quotes, and says so.
    """
    with contextlib.ExitStack() as stack:
        # The port first: nobody wants to wait for models to hear that it is taken.
        listening = stack.enter_context(contextlib.closing(listen(host, port)))
        progress = TerminalProgress()
        library = stack.enter_context(Library.open(library_folder, create=True))
        embedder = stack.enter_context(contextlib.closing(start_embedder(embedding_model, progress)))
        renew_vectors(library, embedder, progress)
        choice = engine or saved_choice(library)
        with ThreadPoolExecutor(1) as other:
            loading = other.submit(_chat_model, engine is not None, choice, progress, library_states(library.folder, states_mb))
            from web.app import application  # imports Gradio, which takes as long as the models
            from web.desk import Desk

            graph = ConceptGraph.build(library, Glossary.load())
            model = loading.result()
        if model is not None:
            stack.callback(model.close)
        assistant = Assistant(library, embedder, graph, model)
        desk = Desk(assistant, local=host in LOOPBACK, engine=choice, states_mb=states_mb)
        stack.callback(desk.close)
        address = _address(host, listening.getsockname()[1])
        config = uvicorn.Config(application(desk, host), log_level="warning", timeout_graceful_shutdown=2, access_log=False)
        server = _Server(config, address, open_browser)
        # uvicorn ends with the signal that stopped it, which would skip the cleaning up below this stack.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        warming = _Warming(assistant, server.stop)
        warming.start()
        stack.callback(warming.join, 10)
        server.run(sockets=[listening])
        if warming.error is not None:
            raise warming.error


class _Warming(threading.Thread):
    """Does ahead of the first question what would make it slow; a model that cannot be loaded ends the server."""

    def __init__(self, assistant: Assistant, stop: Callable[[], None]) -> None:
        super().__init__(name="warm", daemon=True)
        self.error: MianpuError | None = None
        self._assistant, self._stop = assistant, stop

    def run(self) -> None:
        try:
            self._assistant.warm()
            if isinstance(self._assistant.chat_model, LlamaChat):
                prepare(self._assistant.library, self._assistant.chat_model)
        except MianpuError as error:
            self.error = error
            self._stop()


def renew_vectors(library: Library, embedder: Embedder, progress: Progress) -> bool:
    """Embed a library again whose vectors an earlier Mianpu made with the same model, so that nobody is left without a search.

    Returns whether that was needed. Vectors of another model stay: whoever named it by mistake would wait for nothing.
    """
    known = library.meta("embedding_model")
    if known is None or known == embedder.fingerprint or known.partition("+")[0] != embedder.fingerprint.partition("+")[0]:
        return False
    ingest(library, [], lambda: embedder, progress, fingerprint=embedder.fingerprint)
    return True


class _Server(uvicorn.Server):
    """Says where the page is as soon as it answers."""

    def __init__(self, config: uvicorn.Config, address: str, open_browser: bool) -> None:
        super().__init__(config)
        self._address, self._open_browser = address, open_browser
        # A page that is still open holds a stream open; that it is cut when the server ends is no error.
        logging.getLogger("uvicorn.error").addFilter(lambda _: not self.should_exit)

    def stop(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(f"Mianpu: {self._address}  (Ctrl-C stops it)", flush=True)
        if self._open_browser:
            webbrowser.open(self._address)


def _chat_model(
    named: bool, choice: EngineChoice, progress: TerminalProgress, states: StateStore | None
) -> LlamaChat | ServerChat | None:
    """The model of a choice; None when it cannot be had and is the library's own, not one that was ``named`` just now."""
    try:
        return open_engine(choice, states, progress)
    except MianpuError as error:
        if named:
            raise
        print(f"mianpu: no chat model, so answers are quotations only: {error}", file=sys.stderr)
        return None


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to the address; port 0 takes a free one. Raises MianpuError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else "ports end at 65535"
        raise MianpuError(f"cannot listen on {host}:{port} ({reason}): choose another --port or --host") from None
    listening.set_inheritable(True)
    return listening


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
