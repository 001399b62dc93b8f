"""What each subcommand does. Results go to stdout (as text or JSON), progress and errors to stderr."""

import argparse
import json
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.errors import Interrupted, UsageError
from ingest.progress import TerminalProgress
from ingest.storage.library import Library
from kg.concepts import Glossary, refresh_mentions
from kg.graph import ConceptGraph

if TYPE_CHECKING:
    from ingest.models.embedding import Embedder


def run(args: argparse.Namespace) -> int:
    """Run the subcommand named in ``args.command``; returns the exit status."""
    handlers: dict[str, Callable[[argparse.Namespace], int]] = {
        "ingest": _ingest,
        "list": _list,
        "show": _show,
        "keep": _keep,
        "questions": _questions,
        "remove": _remove,
        "search": _search,
        "ask": _ask,
        "concept": _concept,
        "path": _path,
        "interview": _interview,
        "serve": _serve,
        "eval": _eval,
        "bench": _bench,
        "models": _models,
        "doctor": _doctor,
        "export": _export,
        "restore": _restore,
    }
    return handlers[args.command](args)


def starter_notes() -> Path:
    """The folder of the notes that come with Mianpu."""
    return Path(str(files("ingest").joinpath("samples")))


def load_graph(library: Library) -> ConceptGraph:
    """The concept graph of the library, its mentions brought up to date first."""
    glossary = Glossary.load()
    refresh_mentions(library, glossary, TerminalProgress())
    return ConceptGraph.build(library, glossary)


def _print(args: argparse.Namespace, value: object, text: str) -> int:
    print(json.dumps(value, ensure_ascii=False, indent=2) if args.json else text)
    return 0


# --- the library ------------------------------------------------------------------------------------------------


def _ingest(args: argparse.Namespace) -> int:
    from ingest.models.embedding import load_embedder, model_fingerprint
    from ingest.models.model_files import embedding_model_folder
    from ingest.pipeline import ingest

    paths = [*args.paths, *([starter_notes()] if args.starter_notes else [])]
    if not paths:
        raise UsageError("name the files or folders to ingest, or --starter-notes")
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise UsageError(f"{missing[0]} does not exist: name files or folders that do")
    progress = TerminalProgress()
    folder = embedding_model_folder(args.embedding_model, progress)
    fingerprint = model_fingerprint(folder)
    with Library.open(args.library, create=True) as library:
        if args.watch:
            return _watch(library, paths, cache(lambda: load_embedder(str(folder))), fingerprint)
        summary = ingest(library, paths, lambda: load_embedder(str(folder)), progress, fingerprint=fingerprint)
        load_graph(library)
    lines = [
        f"{len(summary.added)} added, {len(summary.updated)} updated, {len(summary.renamed)} renamed, "
        f"{len(summary.removed)} removed, {len(summary.unchanged)} unchanged, {len(summary.duplicates)} duplicates, "
        f"{len(summary.failed) + len(summary.skipped)} not ingested",
        f"{summary.passages} passages and {summary.pairs} questions added or updated; {summary.embedded} texts embedded, "
        f"{summary.seconds['total']:.1f} s",
        *(f"duplicate: {path} is the same as {name}" for path, name in summary.duplicates),
        *(f"not ingested: {path}: {reason}" for path, reason in (*summary.failed, *summary.skipped)),
        *(f"in part: {path}: {reason}" for path, reason in summary.incomplete),
    ]
    _print(args, asdict(summary), "\n".join(lines))
    return 1 if summary.failed and not (summary.added or summary.updated or summary.unchanged or summary.renamed) else 0


def _watch(library: Library, paths: Sequence[Path], load: "Callable[[], Embedder]", fingerprint: str) -> int:
    from ingest.pipeline import IngestSummary, ingest
    from ingest.watch import Watcher

    def once(present: Sequence[Path]) -> IngestSummary:
        with TerminalProgress() as progress:
            summary = ingest(library, present, load, progress, fingerprint=fingerprint)
            refresh_mentions(library, Glossary.load(), progress)
        return summary

    watcher = Watcher(library.folder, paths, once, lambda line: print(line, flush=True), threading.Event())
    with suppress(KeyboardInterrupt, Interrupted):
        watcher.run()
    print(f"\nstopped following: {watcher.summary()}", flush=True)
    return 0


def _list(args: argparse.Namespace) -> int:
    with Library.open(args.library) as library:
        documents = library.documents()
    lines = [
        f"{d.passages:5d} passages {d.pairs:4d} questions {d.cuts:4d} cuts  {d.format:8s} {d.encoding:8s}  {d.name}  {d.title}"
        for d in documents
    ]
    return _print(args, [asdict(d) for d in documents], "\n".join(lines) or "the library is empty: `mianpu ingest PATH`")


def _show(args: argparse.Namespace) -> int:
    from ingest.cleaning.corrections import corrections
    from ingest.cleaning.restoring import listed_cuts
    from ingest.cleaning.rules import reason_name

    with Library.open(args.library) as library:
        document = library.document(args.document)
        corrected = corrections(library, args.document)
    cuts = listed_cuts(document)
    lines = [f"--- cut {number} ({reason_name(cut.reason)}): {_brief(cut.text, 120)}" for number, cut in enumerate(cuts, start=1)]
    lines += [
        f"--- {'restored' if c.kind == 'restore' else 'cut by you'} (correction {c.id}): {_brief(c.text, 120)}" for c in corrected
    ]
    if cuts:
        lines.append(f"put a cut back: mianpu keep {document.name} NUMBER")
    value = {
        **asdict(document),
        "numbered_cuts": [{"number": number, **asdict(cut)} for number, cut in enumerate(cuts, start=1)],
        "corrections": [asdict(correction) for correction in corrected],
    }
    return _print(args, value, "\n".join([document.text, *lines]))


def _keep(args: argparse.Namespace) -> int:
    from ingest.cleaning.restoring import restore, undo
    from ingest.models.embedding import load_embedder

    progress = TerminalProgress()
    with Library.open(args.library) as library:
        if args.undo:
            undo(library, args.number, lambda: load_embedder(args.embedding_model, progress), document=args.document)
            return _print(args, {"undone": args.number}, f"correction {args.number} of {args.document} is taken back")
        kept = restore(library, args.document, args.number, lambda: load_embedder(args.embedding_model, progress))
    return _print(
        args,
        asdict(kept),
        f"kept in {args.document}: {_brief(kept.text)}\ntake it back: mianpu keep {args.document} {kept.id} --undo",
    )


def _questions(args: argparse.Namespace) -> int:
    from assistant.interviews.questions import question_bank, topic_name

    with Library.open(args.library) as library:
        glossary = Glossary.load()
        refresh_mentions(library, glossary, TerminalProgress())
        questions = question_bank(library, glossary).of_topic(args.topic or "")
    topics: dict[str, list[str]] = {}
    for question in questions:
        topics.setdefault(topic_name(question.topic), []).append(question.text)
    lines = [line for topic, texts in topics.items() for line in (f"# {topic}", *(f"  {text}" for text in texts))]
    return _print(args, [asdict(q) for q in questions], "\n".join(lines) or "no document of the library holds questions")


def _remove(args: argparse.Namespace) -> int:
    from ingest.pipeline import PIPELINE

    with Library.open(args.library) as library:
        known = {d.name for d in library.documents()}
        unknown = [name for name in args.documents if name not in known]
        if unknown:
            raise UsageError(f"no document is named {unknown[0]}: `mianpu list` shows the names")
        with library.writer():
            library.publish([], PIPELINE, removed=args.documents)
            library.forget_unused_embeddings()
    return _print(args, {"removed": args.documents}, f"{len(args.documents)} removed; the files themselves stay")


def _doctor(args: argparse.Namespace) -> int:
    from assistant.interviews.schedule import mend_cards
    from ingest.storage.checks import problems
    from ingest.storage.repair import repair

    done: list[str] = []
    with Library.open(args.library) as library:
        if args.repair:
            with library.writer():
                done = repair(library)
                if cards := mend_cards(library):
                    done.append(f"{cards} cards are made again from their reviews")
        found = problems(library)
    lines = [*(f"repaired: {line}" for line in done), *(found or ["everything holds together"])]
    _print(args, {"problems": found, "repaired": done}, "\n".join(lines))
    return 1 if found else 0


def _export(args: argparse.Namespace) -> int:
    from ingest.storage.backup import backup

    if args.backup is None:
        raise UsageError("say what to write: --backup FILE.zip")
    with Library.open(args.library) as library:
        size = backup(library, args.backup, force=args.force)
    return _print(args, {"file": str(args.backup), "bytes": size}, f"{args.backup}: {size / 1e6:,.1f} MB")


def _restore(args: argparse.Namespace) -> int:
    from ingest.storage.backup import restore

    notes = restore(args.file, args.library, force=args.force)
    with Library.open(args.library) as library:
        value = {"documents": len(library.documents()), "passages": library.passage_count(), "notes": notes}
    lines = [f"{value['documents']} documents with {value['passages']} passages are in {args.library}", *notes]
    return _print(args, value, "\n".join(lines))


def _models(args: argparse.Namespace) -> int:
    from web.model_commands import models

    return models(args)


# --- search, answers, concepts ----------------------------------------------------------------------------------


def _search(args: argparse.Namespace) -> int:
    from assistant.retrieval.search import search
    from ingest.models.embedding import load_embedder

    _require_words(args.question)
    with Library.open(args.library) as library:
        graph = load_graph(library)
        result = search(args.question, library, load_embedder(args.embedding_model, TerminalProgress()), graph, args.k)
    value = {
        "question": result.question,
        "answerable": round(result.answerable, 4),
        "answered": result.answered,
        "sure": result.sure,
        "understood": result.understood,
        "parts": list(result.parts),
        "features": {name: round(figure, 4) for name, figure in result.features.items()},
        "nearest_concepts": [concept.name for concept in result.nearest_concepts],
        "hits": [
            {
                "document": hit.passage.document,
                "start": hit.passage.start,
                "end": hit.passage.end,
                "line": hit.passage.line,
                "headings": list(hit.passage.headings),
                "text": hit.passage.text,
                "score": round(hit.score, 4),
                "cosine": round(hit.cosine, 4),
                "scores": {name: round(score, 4) for name, score in hit.scores.items()},
                "gave": {name: round(part, 4) for name, part in hit.gave.items()},
                "also": [asdict(copy) for copy in hit.also],
            }
            for hit in result.hits
        ],
    }
    lines = [f"chance that the library holds the answer: {result.answerable:.0%}"]
    if result.understood != result.question:
        lines.append(f"understood as: {result.understood}")
    if args.explain:
        lines += [f"part: {part}" for part in result.parts]
        lines.append("signs of an answer: " + "  ".join(f"{name} {figure:.2f}" for name, figure in result.features.items()))
    for number, hit in enumerate(result.hits, start=1):
        lines.append(f"\n[{number}] {_place(hit.passage.document, hit.passage.headings)}  score {hit.score:.2f}")
        if args.explain:
            gave = sorted(hit.gave.items(), key=lambda item: -abs(item[1]))
            lines.append("    " + "  ".join(f"{name} {part:+.2f}" for name, part in gave if abs(part) >= 0.005))
        lines.append(hit.passage.text)
        lines += [f"    also in {copy.document}, line {copy.line}" for copy in hit.also]
    return _print(args, value, "\n".join(lines))


def _ask(args: argparse.Namespace) -> int:
    from assistant.answers.answering import Assistant, answer, answer_to_json
    from assistant.engine.choice import saved_choice
    from assistant.engine.states import library_states
    from ingest.models.embedding import load_embedder
    from web.model_commands import given_engine, opened_engine
    from web.terminal import print_answer

    _require_words(args.question)
    progress = TerminalProgress()
    given = given_engine(args)
    with Library.open(args.library) as library:
        graph = load_graph(library)
        choice = given or saved_choice(library)
        with closing(opened_engine(choice, library_states(library.folder, args.states_mb))) as chat:
            assistant = Assistant(library, load_embedder(args.embedding_model, progress), graph, chat)
            events = answer(args.question, (), assistant, threading.Event())
            done = print_answer(events, None if args.json else sys.stdout)
    if args.json:
        print(json.dumps(answer_to_json(done), ensure_ascii=False, indent=2))
    return 0


def _concept(args: argparse.Namespace) -> int:
    with Library.open(args.library) as library:
        graph = load_graph(library)
        page = graph.page(args.name)
    concept = page.concept
    lines = [f"{concept.name}  {concept.en}", concept.definition]
    lines += ["别名: " + "、".join(concept.aliases)] if concept.aliases else []
    lines += [f"\n相邻概念 ({len(page.neighbours)}):"] if page.neighbours else []
    lines += [f"  {n.concept.name}  PMI {n.pmi:.2f}, {n.count} passages" for n in page.neighbours]
    lines += [f"\n问题 ({len(page.pairs)}):"] if page.pairs else []
    lines += [f"  {pair.question}" for pair in page.pairs]
    lines += [f"\n段落 ({len(page.passages)}):"] if page.passages else ["\n资料中还没有提到这个概念"]
    lines += [f"  {_place(p.document, p.headings)} 第 {p.line} 行: {_brief(p.text)}" for p in page.passages]
    value = {
        "concept": asdict(concept),
        "mentions": page.mentions,
        "neighbours": [{"name": n.concept.name, "pmi": round(n.pmi, 4), "count": n.count} for n in page.neighbours],
        "questions": [pair.question for pair in page.pairs],
        "passages": [asdict(p) for p in page.passages],
    }
    return _print(args, value, "\n".join(lines))


def _path(args: argparse.Namespace) -> int:
    with Library.open(args.library) as library:
        graph = load_graph(library)
        steps = graph.path(args.a, args.b)
    lines = []
    for step in steps:
        lines.append(f"{step.a.name} → {step.b.name}")
        lines += [f"  {_place(p.document, p.headings)} 第 {p.line} 行: {_brief(p.text)}" for p in step.passages]
    value = [{"a": s.a.name, "b": s.b.name, "passages": [asdict(p) for p in s.passages]} for s in steps]
    return _print(args, value, "\n".join(lines))


def _place(document: str, headings: Sequence[str]) -> str:
    return " › ".join([document, *headings])


def _brief(text: str, length: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _require_words(question: str) -> None:
    if not question.strip():
        raise UsageError("the question is empty: write one")


# --- interview, page, measures ----------------------------------------------------------------------------------


def _interview(args: argparse.Namespace) -> int:
    from assistant.interviews.session import InterviewSession, saved_interviews
    from ingest.models.embedding import load_embedder
    from web.terminal import Terminal

    with Library.open(args.library) as library:
        glossary = Glossary.load()
        refresh_mentions(library, glossary, TerminalProgress())
        session = InterviewSession(library, load_embedder(args.embedding_model, TerminalProgress()), glossary)
        if args.resume:
            open_ones = [saved.id for saved in saved_interviews(library) if saved.ended_at is None]
            if not open_ones:
                raise UsageError("no interview was interrupted: start one with `mianpu interview`")
            Terminal(session).run(session.resume(open_ones[0]))
        else:
            Terminal(session).run(session.begin(args.topic or "", args.count))
    return 0


def _serve(args: argparse.Namespace) -> int:
    from web.model_commands import given_engine
    from web.server import serve

    if args.starter_notes:
        _fill_with_starter_notes(args)
    serve(
        args.library, host=args.host, port=args.port, engine=given_engine(args), embedding_model=args.embedding_model,
        open_browser=args.open, states_mb=args.states_mb,
    )  # fmt: skip
    return 0


def _fill_with_starter_notes(args: argparse.Namespace) -> None:
    """A first start: models on disk, our notes in the library. A library that holds anything is left alone."""
    from ingest.models.embedding import load_embedder
    from ingest.models.model_files import fetch_models
    from ingest.pipeline import ingest

    progress = TerminalProgress()
    fetch_models(progress)
    with Library.open(args.library, create=True) as library:
        if not library.documents():
            ingest(library, [starter_notes()], lambda: load_embedder(args.embedding_model, progress), progress)


def _eval(args: argparse.Namespace) -> int:
    from web.measures import evaluate

    return evaluate(args)


def _bench(args: argparse.Namespace) -> int:
    from web.measures import bench

    return bench(args)
