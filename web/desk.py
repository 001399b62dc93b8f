"""What the views of one server share: the library with everything derived from it, and the work that goes on in the background."""

import shutil
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path

from assistant.answers.answering import Assistant
from assistant.engine.choice import EngineChoice, check, open_engine, save_choice
from assistant.engine.llama import LlamaChat
from assistant.engine.openai_server import ServerChat
from assistant.engine.preparing import prepare
from assistant.engine.queue import TooMany, UserLimit
from assistant.engine.states import STATES_MB, StateFigures, library_states
from assistant.interviews.questions import Bank, question_bank
from assistant.interviews.schedule import cards_due
from ingest.cleaning.restoring import restore, undo
from ingest.errors import Interrupted, MianpuError
from ingest.pipeline import PIPELINE, IngestSummary, ingest
from ingest.storage.backup import UPLOADS
from ingest.storage.library import Library
from kg.graph import ConceptGraph


@dataclass(frozen=True, slots=True)
class JobState:
    """How far reading documents in is; ``total`` 0: unknown. ``error`` is for the reader; ``summary`` is there when all is done."""

    running: bool = False
    stage: str = ""
    done: int = 0
    total: int = 0
    stopped: bool = False
    error: str = ""
    summary: IngestSummary | None = None


@dataclass(frozen=True, slots=True)
class AnswerSignal:
    """``stop``: write no more. ``left``: nobody looks at it any more. ``ended``: it is kept in the library."""

    stop: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    user: str = ""


@dataclass(slots=True)
class Desk:
    """One per server. ``local`` says that only this computer can reach the page, so paths on its disk may be read in."""

    assistant: Assistant
    local: bool = True
    engine: EngineChoice = field(default_factory=EngineChoice)
    states_mb: int = STATES_MB
    limit: UserLimit = field(default_factory=UserLimit)
    _answering: dict[str, AnswerSignal] = field(default_factory=dict)
    _bank: tuple[int, Bank] = (-1, Bank((), {}))
    _job: JobState = JobState()
    _job_stop: threading.Event = field(default_factory=threading.Event)
    _worker: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opened: LlamaChat | ServerChat | None = None
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def library(self) -> Library:
        """The library everyone reads."""
        return self.assistant.library

    @property
    def graph(self) -> ConceptGraph:
        """The concept graph of the library as it is now."""
        return self.assistant.graph

    @property
    def bank(self) -> Bank:
        """The question bank as it is now; the questions are gathered again when documents have changed."""
        generation = self.library.generation()
        known, bank = self._bank
        if known != generation:
            bank = question_bank(self.library, self.graph.glossary)
            self._bank = (generation, bank)
        return replace(bank, due=cards_due(self.library))

    # --- answers that are being written --------------------------------------------------------------------------

    def begin_answer(self, session: str, user: str = "") -> AnswerSignal:
        """The signals of a new answer. ``user`` is who the limit counts, the session where nothing else is known.

        Raises TooMany while the session has an answer already, or the user as many as one may have.
        """
        with self._lock:
            if session in self._answering:
                raise TooMany("the last question of this page is still being answered: wait for it, or stop it", True)
            signal = AnswerSignal(user=user or session)
            self.limit.enter(signal.user)
            self._answering[session] = signal
            return signal

    def answers(self, session: str) -> bool:
        """Whether an answer of the session is being written."""
        with self._lock:
            return session in self._answering

    def stop_answer(self, session: str) -> None:
        """Stop the session's answer, if one is being written; the page still shows how it ended."""
        with self._lock:
            signal = self._answering.get(session)
        if signal is not None:
            signal.stop.set()

    def leave_answer(self, session: str) -> None:
        """Like ``stop_answer``, but the page has turned to something else; returns when the answer has ended (or after 5 s)."""
        with self._lock:
            signal = self._answering.get(session)
        if signal is not None:
            signal.left.set()
            signal.stop.set()
            signal.ended.wait(timeout=5)

    def end_answer(self, session: str, signal: AnswerSignal) -> None:
        """The answer with these signals has ended and is kept."""
        with self._lock:
            if self._answering.get(session) is signal:
                del self._answering[session]
                self.limit.leave(signal.user)
        signal.ended.set()

    # --- which model answers -------------------------------------------------------------------------------------

    def test_engine(self, choice: EngineChoice) -> str:
        """Whether the chat model of a choice answers, in one line. Raises MianpuError when it does not."""
        if choice == self.engine and self.assistant.chat_model is not None:
            return check(self.assistant.chat_model)
        with closing(open_engine(choice, None)) as model:
            return check(model)

    def use_engine(self, choice: EngineChoice) -> str:
        """Let another chat model answer, now and after the next start; it is tested first. Answers being written are stopped.

        Raises MianpuError when it does not answer; then the old one stays.
        """
        with self._changing:
            model = open_engine(choice, library_states(self.library.folder, self.states_mb))
            try:
                line = check(model)
            except BaseException:
                model.close()
                raise
            save_choice(self.library, choice)
            self.engine = choice
            old, self.assistant.chat_model = self.assistant.chat_model, model
            self._opened = model
        if isinstance(old, LlamaChat | ServerChat):
            old.close()
        if isinstance(model, LlamaChat):
            prepare(self.library, model)
        return line

    @property
    def states(self) -> StateFigures | None:
        """What the chat model keeps of what it has read, and how often that helped; None where it keeps nothing."""
        model = self.assistant.chat_model
        return model.states.figures() if isinstance(model, LlamaChat) and model.states is not None else None

    # --- reading documents in ------------------------------------------------------------------------------------

    @property
    def job(self) -> JobState:
        """The state of the last ingest, running or done."""
        return self._job

    def start_ingest(self, paths: Sequence[Path]) -> bool:
        """Read paths in, in a thread of its own; False when that is going on already."""
        with self._lock:
            if self._job.running:
                return False
            self._job = JobState(running=True)
            self._job_stop = threading.Event()
        self._worker = threading.Thread(target=self._ingest, args=(tuple(paths),), name="ingest", daemon=True)
        self._worker.start()
        return True

    def stop_ingest(self) -> None:
        """Ask the ingest to stop; what is finished stays."""
        self._job_stop.set()

    def close(self) -> None:
        """Stop everything that is going on, and wait for it."""
        with self._lock:
            signals = list(self._answering.values())
        for signal in signals:
            signal.stop.set()
        self._job_stop.set()
        if self._worker is not None:
            self._worker.join(timeout=30)
        if self._opened is not None:
            self._opened.close()

    def keep_uploads(self, uploaded: Sequence[Path]) -> Path:
        """Copy dropped files to where the library keeps them (a file of the same name is replaced); returns that folder."""
        folder = self.library.folder / UPLOADS
        folder.mkdir(exist_ok=True)
        for path in uploaded:
            shutil.copyfile(path, folder / path.name)
        return folder

    def remove_document(self, name: str) -> None:
        """Take a document out of the library, and its copy if it was dropped onto the page. Raises MianpuError."""
        with self.library.writer():
            sources = [Path(d.source) for d in self.library.documents() if d.name == name]
            self.library.publish([], PIPELINE, removed=[name])
            self.library.forget_unused_embeddings()
        uploads = (self.library.folder / UPLOADS).resolve()
        for source in sources:
            if source.resolve().parent == uploads:
                source.unlink(missing_ok=True)

    def restore_cut(self, name: str, number: int) -> None:
        """Put back what cleaning cut out of a document: the cut of this number. Raises MianpuError."""
        restore(self.library, name, number, lambda: self.assistant.embedder)

    def undo_correction(self, name: str, correction: int) -> None:
        """Take a correction of a document back. Raises MianpuError."""
        undo(self.library, correction, lambda: self.assistant.embedder, name)

    def _ingest(self, paths: Sequence[Path]) -> None:
        try:
            embedder = self.assistant.embedder
            summary = ingest(
                self.library, paths, lambda: embedder, self._progress, self._job_stop, fingerprint=embedder.fingerprint
            )
            self._progress("graph", 0, 0)
            _ = self.assistant.graph  # built here, so that the next reader does not wait for it
            self._job = replace(self._job, running=False, summary=summary)
        except Interrupted:
            self._job = replace(self._job, running=False, stopped=True)
        except MianpuError as error:
            self._job = replace(self._job, running=False, error=str(error))
        except BaseException as error:
            # Whatever went wrong must not leave the page waiting for ever.
            self._job = replace(self._job, running=False, error=f"{type(error).__name__}: {error}")
            raise

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._job = replace(self._job, stage=stage, done=done, total=total)


def starter_notes() -> Path:
    """The folder of the notes that come with Mianpu."""
    return Path(str(files("ingest").joinpath("samples")))
