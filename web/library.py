"""The library view: which documents are there, what they say, what was cut from them, and adding more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from ingest.errors import MianpuError
from ingest.progress import label
from ingest.sources.detection import readable_suffixes
from ingest.storage.library import DocumentInfo
from web import engines
from web.desk import Desk, JobState, starter_notes
from web.markdown import inline
from web.render import attributes, bar, button, element, empty, format_name, notice, panel
from web.texts import TEXTS, Texts

_FILTERED = 8  # documents from which on the list has a box to narrow it


@dataclass(frozen=True, slots=True)
class LibraryView:
    """The parts that the page fills. The timer runs while documents are read in; its last tick tells the other views."""

    documents: gr.HTML
    state: gr.HTML
    stop: gr.Button
    timer: gr.Timer
    removed: gr.events.Dependency
    states: gr.HTML | None


def view(t: Texts, desk: Desk) -> LibraryView:
    """Build the view."""
    with gr.Row(elem_id="library"):
        with gr.Column(elem_id="library-list"):
            documents = panel(document_list(desk.library.documents(), t), js=_BUS, elem_id="documents")
        with gr.Column(elem_id="library-add"):
            panel(f'<h3>{escape(t("library.add"))}</h3><p class="quiet">{escape(t("library.add.text"))}</p>')
            upload = gr.File(
                show_label=False,
                file_count="multiple",
                file_types=readable_suffixes(),
                height=132,
                elem_id="upload",
                container=False,
            )
            # Gradio's own example for a file is an address on another host, and stands in the page.
            upload.example_payload = upload.example_value = lambda: None
            path = gr.Textbox(
                label=t("library.path"),
                placeholder=t("library.path.hint"),
                lines=1,
                max_lines=1,
                visible=desk.local,
                elem_id="path",
            )
            with gr.Row(elem_classes="buttons"):
                start = gr.Button(t("library.start"), variant="primary", elem_id="ingest")
                starter = gr.Button(t("library.starter"), variant="secondary", elem_id="starter")
                stop = gr.Button(t("stop"), variant="stop", visible=False, elem_id="stop-ingest")
            state = panel("", elem_id="job", js="watch('value', () => mianpu.mended(element))")
            states = engines.view(t, desk) if desk.local else None
    timer = gr.Timer(0.6, active=False)
    outputs = [state, stop, timer]

    def begin(paths: Sequence[Path]) -> list[object]:
        if not desk.start_ingest(paths):
            return [notice(t("library.busy"), "bad"), gr.update(visible=True), gr.Timer(active=True)]
        return [job_page(desk.job, t), gr.update(visible=True), gr.Timer(active=True)]

    def start_reading(uploaded: list[str] | None, typed: str) -> list[object]:
        paths = [Path(typed.strip()).expanduser()] if desk.local and typed.strip() else []
        if paths and not paths[0].exists():
            return [notice(t("library.missing", path=paths[0]), "bad"), gr.update(), gr.update(), gr.update()]
        try:
            paths += [desk.keep_uploads([Path(name) for name in uploaded])] if uploaded else []
        except OSError as error:
            return [notice(t("library.copyfailed", reason=error), "bad"), gr.update(), gr.update(), gr.update()]
        if not paths:
            return [notice(t("library.nothing"), "bad"), gr.update(), gr.update(), gr.update()]
        return [*begin(paths), None]

    def remove(event: gr.EventData) -> tuple[str, str]:
        try:
            desk.remove_document(str(event._data["value"]))
        except MianpuError as error:
            return document_list(desk.library.documents(), t), notice(str(error), "bad")
        return document_list(desk.library.documents(), t), notice(t("library.removed", name=event._data["value"]), "good")

    def mend(event: gr.EventData, how: Callable[[str, int], None]) -> tuple[str, str]:
        number, _, name = str(event._data["value"]).partition(" ")
        try:
            how(name, int(number))
        except MianpuError as error:
            return document_list(desk.library.documents(), t), notice(str(error), "bad")
        # The page notices a new value only; two corrections in a row say the same.
        mark = element("span", "", hidden=True, data_generation=desk.library.generation())
        return document_list(desk.library.documents(), t), notice(t("document.mended", name=name), "good") + mark

    def put_back(event: gr.EventData) -> tuple[str, str]:
        return mend(event, desk.restore_cut)

    def undo(event: gr.EventData) -> tuple[str, str]:
        return mend(event, desk.undo_correction)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    start.click(start_reading, [upload, path], [*outputs, upload], **quiet)
    starter.click(lambda: begin([starter_notes()]), None, outputs, **quiet)
    stop.click(desk.stop_ingest, None, None, **quiet)
    removed = documents.remove(remove, None, [documents, state], **quiet)
    documents.restore(put_back, None, [documents, state], **quiet)
    documents.undo(undo, None, [documents, state], **quiet)
    return LibraryView(documents, state, stop, timer, removed, states)


_BUS = "mianpu.connect('library', trigger, ['remove', 'restore', 'undo'])"


def document_list(documents: Sequence[DocumentInfo], t: Texts) -> str:
    """The documents as a list; each opens, each can be taken out."""
    if not documents:
        return empty(t("library.none"), t("library.none.text"))
    rows = "".join(_row(document, t) for document in documents)
    total = t(
        "library.total",
        documents=len(documents),
        passages=sum(d.passages for d in documents),
        pairs=sum(d.pairs for d in documents),
    )
    head = element("h2", t("library.title")) + element("p", total)
    label = t("library.filter", n=len(documents))
    search = f'<input type="search" autocomplete="off" data-filter="#documents"{attributes(placeholder=label, aria_label=label)}>'
    none = f'<p class="none" hidden>{escape(t("library.nomatch"))}</p>'
    body = f'<ul class="rows">{rows}</ul>'
    return f'<header class="list-head">{head}</header>' + (search + body + none if len(documents) > _FILTERED else body)


def _row(document: DocumentInfo, t: Texts) -> str:
    names = f"{document.title} {document.name}".lower()
    return (
        f'<li{attributes(data_names=names)}><button type="button" class="row"{attributes(data_open=document.name)}>'
        f"<b>{inline(document.title or document.name)}</b>"
        f'<span class="trail">{escape(document.name)} · {escape(_facts(document, t))}</span></button>'
        f"{_remove_button(document, t)}</li>"
    )


def _remove_button(document: DocumentInfo, t: Texts) -> str:
    return button(
        t("delete"), kind="quiet remove", data_send="library:remove", data_value=document.name, data_sure=t("delete.sure")
    )


def _facts(document: DocumentInfo, t: Texts) -> str:
    facts = t("library.facts", passages=document.passages, pairs=document.pairs, n=f"{document.characters:,}")
    return " · ".join([facts, format_name(document.format), *([t("library.cuts", n=document.cuts)] if document.cuts else [])])


def job_page(job: JobState, t: Texts) -> str:
    """How far reading documents in is, or how it ended."""
    if job.running:
        name, _ = label(job.stage)
        stage = t(f"stage.{name}") if f"stage.{name}" in TEXTS else name or t("stage.start")
        count = f" {job.done}/{job.total}" if job.total else ""
        return bar(job.done / job.total if job.total else -1, f"{stage}{count}")
    if job.error:
        return notice(job.error, "bad")
    if job.stopped:
        return notice(t("library.stopped"))
    if job.summary is None:
        return ""
    s = job.summary
    counts = {
        "added": s.added, "updated": s.updated, "renamed": s.renamed, "removedcount": s.removed, "unchanged": s.unchanged,
    }  # fmt: skip
    told = [t(f"library.{name}", n=len(names)) for name, names in counts.items() if names]
    same = [(path, t("library.sameas", name=name)) for path, name in s.duplicates]
    lists = {
        "failed": (s.failed, "bad"), "incomplete": (s.incomplete, "bad"), "skipped": (s.skipped, "note"), "same": (same, "note"),
    }  # fmt: skip
    left = "".join(_left_out(what, files, kind, t) for what, (files, kind) in lists.items())
    if not told:
        return (notice(t("library.empty"), "bad") if not left else "") + left
    return notice(t("comma").join(told), "good") + left


def _left_out(what: str, files: Sequence[tuple[str, str]], kind: str, t: Texts) -> str:
    """What was not read in, by name and reason."""
    if not files:
        return ""
    rows = "".join(f"<li><b>{escape(str(path))}</b> {escape(reason)}</li>" for path, reason in files)
    head = f'<summary class="notice {kind}">{escape(t(f"library.{what}", n=len(files)))}</summary>'
    return f'<details class="left-out"{attributes(open=kind == "bad")}>{head}<ul class="failed">{rows}</ul></details>'
