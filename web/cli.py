"""The command `mianpu`: one subcommand a task. Exit status 0, 2 for wrong use, 1 for a failure with one clear line."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ingest.errors import MianpuError, UsageError


def default_library() -> Path:
    """Where the library is when nothing is said: $MIANPU_LIBRARY, else the user's data folder."""
    given = os.environ.get("MIANPU_LIBRARY")
    if given:
        return Path(given).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "mianpu" / "library"


def parser() -> argparse.ArgumentParser:
    """Every subcommand with its options."""
    top = argparse.ArgumentParser(prog="mianpu", description="Notes in; cited answers, interviews and a concept map out. 面谱")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, *, json: bool = True, models: bool = False) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("--library", type=Path, default=None, metavar="DIR", help="the library's folder")
        if json:
            sub.add_argument("--json", action="store_true", help="print JSON")
        if models:
            sub.add_argument("--embedding-model", metavar="NAME", help="a sentence-transformers folder or hub name")
        return sub

    sub = add("ingest", "read files or folders into the library; only what changed is done again", models=True)
    sub.add_argument("paths", nargs="*", type=Path, metavar="PATH")
    sub.add_argument("--starter-notes", action="store_true", help="the notes that come with Mianpu")
    sub.add_argument("--watch", action="store_true", help="go on following the folders until Ctrl-C")
    add("list", "the documents of the library")
    sub = add("show", "a document's cleaned text, and what was cut out of it")
    sub.add_argument("document")
    sub = add("keep", "put back what was cut out of a document, for good", models=True)
    sub.add_argument("document")
    sub.add_argument("number", type=_positive, help="the number `mianpu show` gives the cut (with --undo: the correction)")
    sub.add_argument("--undo", action="store_true", help="take the correction of this number back")
    sub = add("questions", "the question bank")
    sub.add_argument("--topic", help="only questions of this topic")
    sub = add("remove", "take documents out of the library (the files stay)")
    sub.add_argument("documents", nargs="+", metavar="DOCUMENT")
    sub = add("search", "the passages that match a question", models=True)
    sub.add_argument("question")
    sub.add_argument("-k", type=_positive, default=10, help="how many (10)")
    sub.add_argument("--explain", action="store_true", help="what each feature gave to each passage's place, and to the chance")
    sub = add("ask", "an answer from the library, every sentence with its source", models=True)
    sub.add_argument("question")
    _chat_options(sub, server=True)
    _states_option(sub)
    sub = add("concept", "a concept's page: definition, passages, neighbours, questions")
    sub.add_argument("name")
    sub = add("path", "how two concepts hang together, with the passages behind each step")
    sub.add_argument("a")
    sub.add_argument("b")
    sub = add("interview", "a mock interview in the terminal", json=False, models=True)
    sub.add_argument("--topic", help="a topic of the question bank (default: everything)")
    sub.add_argument("--count", type=_positive, default=5, help="how many questions (5)")
    sub.add_argument("--resume", action="store_true", help="go on with the interview that was interrupted")
    sub = add("serve", "open the page", json=False, models=True)
    sub.add_argument("--host", default="127.0.0.1")
    sub.add_argument("--port", type=int, default=7860)
    sub.add_argument("--open", action="store_true", help="open it in the browser too")
    sub.add_argument("--starter-notes", action="store_true", help="fill an empty library with the notes that come with Mianpu")
    _states_option(sub)
    _chat_options(sub, server=True)
    sub = add("eval", "measure retrieval (and answers, grading) on a labelled file", models=True)
    sub.add_argument("file", type=Path)
    sub.add_argument("--documents", type=Path, metavar="FOLDER", help="measure over these documents in a library of their own")
    sub.add_argument("--answers", action="store_true", help="generate and measure answers too")
    sub.add_argument("--grading", action="store_true", help="the file holds graded answers: measure marking")
    sub.add_argument(
        "--dialogue", action="store_true", help="the file holds turns of conversations: measure how follow-ups are understood"
    )
    sub.add_argument(
        "--fit", action="store_true", help="fit the ranking and the chance of an answer on these labels; print both cross-validated"
    )
    sub.add_argument(
        "--with",
        dest="also",
        type=Path,
        metavar="FILE",
        help="with --fit: a SQuAD file whose questions the chance is fitted on too",
    )
    sub.add_argument("--against", type=Path, metavar="REPORT", help="an earlier report (--json): what changed since")
    text = "measure what the fast precision of the embedding model costs beside float32, nothing else"
    sub.add_argument("--precision", action="store_true", help=text)
    sub.add_argument("--limit", type=_positive, help="only the first so many questions")
    _chat_options(sub)
    sub = add("bench", "measure speed: start, ingest, search, first token", models=True)
    sub.add_argument("--documents", type=Path, metavar="FOLDER", help="documents to ingest (default: the starter notes)")
    sub.add_argument("--passages", type=_positive, metavar="N", help="ingest so many generated passages instead")
    sub.add_argument("--growth", action="store_true", help="how time and memory of an ingest grow with the library, nothing else")
    text = "how searching grows: measure it in generated libraries of so many passages, nothing else (2500 100000 1000000)"
    sub.add_argument("--search-at", nargs="*", type=_positive, metavar="N", help=text)
    sub.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the libraries of --search-at here, for the next run")
    _chat_options(sub)
    sub = add("models", "the model files, `models fetch`; what answers, `models use`; whether it does, `models test`", models=True)
    sub.add_argument("action", nargs="?", choices=("list", "fetch", "use", "test"), default="list")
    _chat_options(sub, server=True)
    sub = add("doctor", "check that everything in the library holds together")
    sub.add_argument("--repair", action="store_true", help="mend what can be mended")
    sub = add("export", "write the library to one file: a backup")
    sub.add_argument("--backup", type=Path, metavar="FILE", help="the ZIP file to write")
    sub.add_argument("--force", action="store_true", help="replace a file that exists")
    sub = add("restore", "make the library of a backup")
    sub.add_argument("file", type=Path)
    sub.add_argument("--force", action="store_true", help="replace the library that is there")
    return top


def _chat_options(sub: argparse.ArgumentParser, *, server: bool = False) -> None:
    sub.add_argument(
        "--chat-model", metavar="GGUF", help="a GGUF file, or OWNER/REPOSITORY[/FILE.gguf], to use instead of Mianpu's own"
    )
    if server:
        sub.add_argument("--server", metavar="ADDRESS", help="an OpenAI-compatible server that answers instead")
        sub.add_argument("--model", metavar="NAME", help="the server's model (default: its first)")
        text = "a file, readable by you alone, with the server's API key (else $MIANPU_API_KEY)"
        sub.add_argument("--key-file", type=Path, metavar="FILE", help=text)
        text = "agree, once, that questions and passages are sent to a server that is not this computer"
        sub.add_argument("--send-notes", action="store_true", help=text)


def _states_option(sub: argparse.ArgumentParser) -> None:
    text = "disk space for what the chat model computed for passages, so that it need not read them again (1024; 0: none)"
    sub.add_argument("--states-mb", type=_size, default=1024, metavar="MB", help=text)


def _size(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit status."""
    args = parser().parse_args(arguments)
    args.library = (args.library or default_library()).expanduser()
    from web import commands  # imported here: `mianpu --help` and wrong use answer at once

    try:
        return commands.run(args)
    except UsageError as error:
        print(f"mianpu: {error}", file=sys.stderr)
        return 2
    except MianpuError as error:
        print(f"mianpu: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mianpu: stopped; what was finished is kept", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of our output went away (`mianpu list | head`); nothing is wrong, but Python must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
