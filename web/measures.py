"""`mianpu eval` and `mianpu bench`: the figures behind every claim in the README."""

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from assistant.measures.evaluation import RankedQuestion, against, report, retrieve
from assistant.measures.labels import LabelledQuestion, SpanFinder, read_questions, squad_documents
from ingest.document import content_hash
from ingest.errors import MianpuError, UsageError
from ingest.models.embedding import SentenceEmbedder, load_embedder
from ingest.models.model_files import cache_folder, chat_model_path, embedding_model_folder
from ingest.pipeline import ingest
from ingest.progress import Progress, TerminalProgress
from ingest.storage.library import Library
from kg.concepts import Glossary
from kg.graph import ConceptGraph

STARTS = 5  # questions that a server is started for, twice each


def evaluate(args: argparse.Namespace) -> int:
    """Measure retrieval on a labelled file, or answers, marking, follow-ups, as the options say."""
    progress = TerminalProgress()
    if args.grading:
        from assistant.measures.grading_evaluation import evaluate_grading

        return _print(args, evaluate_grading(args.file, load_embedder(args.embedding_model, progress)))
    if args.dialogue:
        from assistant.measures.dialogue_evaluation import evaluate_dialogue

        return _print(args, evaluate_dialogue(args.file, Glossary.load()))
    questions = read_questions(args.file)[: args.limit]
    if args.precision:
        from assistant.measures.precision import compare_precisions

        if args.documents is None or not args.documents.exists():
            raise UsageError("name the folder of the documents the labels speak of with --documents")
        model = embedding_model_folder(args.embedding_model, progress)
        return _print(args, compare_precisions(questions, args.documents, model, Glossary.load(), progress))
    earlier = _earlier(args.against) if args.against else {}
    embedder = load_embedder(args.embedding_model, progress)
    with _library_of(args, questions, embedder) as library:
        graph = ConceptGraph.build(library, Glossary.load())
        finder = SpanFinder({d.name: library.document(d.name).text for d in library.documents()})
        missing = sorted({gold.document for q in questions for gold in q.gold} - {d.name for d in library.documents()})
        if missing:
            raise UsageError(f"the labels speak of {missing[0]}, which the library does not hold: name its folder with --documents")
        rows = retrieve(questions, library, embedder, graph, progress)
        value = report(rows, finder)
        if args.fit:
            from assistant.measures.fitting import fit_answerable, fit_ranking

            more = _also(args, embedder, progress) if args.also else []
            value["fit"] = {"ranking": fit_ranking(rows, finder), "answerable": fit_answerable([*rows, *more])}
        if args.against:
            value["against"] = against(value, earlier)
        if args.answers:
            from assistant.engine.llama import LlamaChat
            from assistant.engine.states import StateStore
            from assistant.measures.answer_evaluation import measure_answers

            with tempfile.TemporaryDirectory() as folder:
                chat = LlamaChat(chat_model_path(args.chat_model, progress), states=StateStore(Path(folder), 2**31))
                try:
                    value["answers"] = measure_answers(questions, library, embedder, graph, chat, progress)
                finally:
                    chat.close()
    if not args.json:
        value.pop("per_question")
    return _print(args, value)


def _also(args: argparse.Namespace, embedder: SentenceEmbedder, progress: TerminalProgress) -> list[RankedQuestion]:
    """The questions of ``--with``, searched for among the contexts of their own file."""
    if args.also.suffix != ".json":
        raise UsageError(f"{args.also} is not a SQuAD file (.json): --with takes one")
    questions = read_questions(args.also)
    own = argparse.Namespace(**{**vars(args), "file": args.also, "documents": None, "limit": None})
    with _library_of(own, questions, embedder) as library:
        return retrieve(questions, library, embedder, ConceptGraph.build(library, Glossary.load()), progress)


def _earlier(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"{path} is not a report: give a file that `mianpu eval FILE --json` wrote")
    return value


@contextmanager
def _library_of(args: argparse.Namespace, questions: list[LabelledQuestion], embedder: SentenceEmbedder) -> Iterator[Library]:
    """The library that is measured: the one named, or one kept in the cache for ``--documents`` or for a SQuAD file's contexts."""
    squad = args.file.suffix == ".json"
    if args.documents is None and not squad:
        with Library.open(args.library) as library:
            yield library
        return
    if args.documents is not None and not args.documents.exists():
        raise UsageError(f"{args.documents} does not exist: name the folder of the documents the labels speak of")
    source = args.file if squad else args.documents
    folder = cache_folder() / "eval" / content_hash(str(source.resolve()))[:16]
    with tempfile.TemporaryDirectory() as temporary, Library.open(folder, create=True) as library:
        documents = args.documents
        if squad:
            documents = Path(temporary)
            wanted = {gold.document for question in questions for gold in question.gold}
            for name, context in squad_documents(args.file).items():
                if name in wanted or args.limit is None:
                    (documents / name).write_text(context, encoding="utf-8")
        summary = ingest(library, [documents], lambda: embedder, TerminalProgress())
        if summary.failed:
            raise MianpuError(f"{summary.failed[0][0]} could not be ingested: {summary.failed[0][1]}")
        yield library


def bench(args: argparse.Namespace) -> int:
    """Measure speed; assistant/measures/benchmark.py and web/startup.py say what each figure means."""
    from assistant.measures.benchmark import measure, spread
    from assistant.measures.growth import measure_growth, write_corpus
    from web.commands import starter_notes
    from web.startup import measure_start

    progress = TerminalProgress()
    if args.growth:
        return _print(args, measure_growth(progress))
    if args.search_at is not None:
        return _print(args, _bench_search(args, progress))
    documents = args.documents or starter_notes()
    if not documents.exists():
        raise UsageError(f"{documents} does not exist: name a folder of documents")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "library"
        if args.passages:
            documents = Path(temporary) / "corpus"
            write_corpus(documents, args.passages)
        report = measure(folder, documents, args.embedding_model, args.chat_model, progress)
        with Library.open(folder) as library:
            questions = spread([pair.question for pair in library.all_pairs() if pair.answer], STARTS)
        if questions:
            given = {"--embedding-model": args.embedding_model, "--chat-model": args.chat_model}
            options = [word for name, value in given.items() if value for word in (name, value)]
            report["start"] = measure_start(folder, questions, options, progress)
    return _print(args, report)


def _bench_search(args: argparse.Namespace, progress: Progress) -> dict[str, object]:
    from assistant.measures.scale import SIZES, measure_scale

    if args.keep is not None and args.keep.exists() and not args.keep.is_dir():
        raise UsageError(f"{args.keep} is not a folder: name one for the generated libraries with --keep")
    embedder = load_embedder(args.embedding_model, progress)
    with tempfile.TemporaryDirectory() as temporary:
        return measure_scale(args.keep or Path(temporary), args.search_at or SIZES, embedder, Glossary.load(), progress)


def _print(args: argparse.Namespace, value: Mapping[str, object]) -> int:
    print(json.dumps(value, ensure_ascii=False, indent=2) if args.json else "\n".join(_lines(value)))
    return 0


def _lines(value: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """A nested report as indented lines; a row of figures goes on one line."""
    for name, item in value.items():
        if isinstance(item, Mapping) and any(isinstance(inner, Mapping) for inner in item.values()):
            yield f"{indent}{name}"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, Mapping):
            yield f"{indent}{name:12s} " + "  ".join(f"{key} {figure}" for key, figure in item.items())
        elif isinstance(item, list) and item and isinstance(item[0], str):
            yield f"{indent}{name}"
            yield from (f"{indent}  {line}" for line in item)
        else:
            yield f"{indent}{name:12s} {item}"
