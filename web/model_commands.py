"""`mianpu models` and the options that say which chat model answers."""

import argparse
import json
from contextlib import closing
from dataclasses import asdict

from assistant.engine.choice import EngineChoice, agree, check, chosen, open_engine, save_choice, saved_choice, use_key_file
from assistant.engine.llama import LlamaChat
from assistant.engine.openai_server import ServerChat
from assistant.engine.states import StateFigures, StateStore, states_figures
from ingest.errors import UsageError
from ingest.models.model_files import fetch_models, model_states
from ingest.progress import TerminalProgress
from ingest.storage.library import Library


def models(args: argparse.Namespace) -> int:
    """The model files and the library's attention states; ``use`` sets what answers there, ``test`` asks whether it does."""
    if args.action in ("use", "test"):
        return _engine(args)
    if args.action == "fetch":
        fetch_models(TerminalProgress())
    states = model_states()
    kept = states_figures(args.library)
    lines = [f"{s.state:8s} {s.size / 1e6:8.1f} MB  {s.name} ({s.licence})  {s.path}" for s in states]
    lines.append(_states_line(kept))
    value = {
        "models": [{**asdict(s), "path": str(s.path)} for s in states],
        "attention_states": {**asdict(kept), "hit_rate": kept.hit_rate},
    }
    print(json.dumps(value, ensure_ascii=False, indent=2) if args.json else "\n".join(lines))
    return 0


def _states_line(kept: StateFigures) -> str:
    """The library's attention states in one line.

    >>> _states_line(StateFigures(2, 5_000_000, 1_073_741_824, 3, 1))
    'states        5.0 MB  2 attention states, of at most 1073.7 MB; 3 of the 4 asked for were there (75 %)'
    """
    used = "none was asked for yet"
    if kept.hit_rate is not None:
        used = f"{kept.hits} of the {kept.hits + kept.misses} asked for were there ({100 * kept.hit_rate:.0f} %)"
    size, budget = kept.size / 1e6, kept.budget / 1e6
    return f"states   {size:8.1f} MB  {kept.states} attention states, of at most {budget:.1f} MB; {used}"


def _engine(args: argparse.Namespace) -> int:
    """Set what answers in this library, or see whether it does."""
    given = given_engine(args)
    with Library.open(args.library, create=args.action == "use") as library:
        choice = given or (EngineChoice() if args.action == "use" else saved_choice(library))
        with closing(opened_engine(choice, None)) as model:
            line = check(model)
        if args.action == "use":
            save_choice(library, choice)
    print(json.dumps({**asdict(choice), "answers": line}, ensure_ascii=False, indent=2) if args.json else line)
    return 0


def given_engine(args: argparse.Namespace) -> EngineChoice | None:
    """The chat model that the options name, consent and key file remembered; None when they name none."""
    choice = chosen(args.chat_model, args.server, args.model)
    if choice is None or choice.kind != "server":
        if args.key_file or args.send_notes:
            raise UsageError("--key-file and --send-notes are about a server: give its address with --server")
        return choice
    if args.key_file:
        use_key_file(choice.address, args.key_file)
    if args.send_notes:
        agree(choice.address)
    return choice


def opened_engine(choice: EngineChoice, states: StateStore | None) -> LlamaChat | ServerChat:
    """The chat model of a choice, loaded with a progress line on stderr."""
    return open_engine(choice, states, TerminalProgress())
