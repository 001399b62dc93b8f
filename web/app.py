"""The page: one Gradio app a language, a few read-only routes of our own, and the guard in front of them.

Reading (documents, concepts, the map, paths) goes through plain GET routes that return escaped HTML or JSON, so it stays quick
while an answer is being written. What changes something goes through Gradio's events.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import: Gradio reads it there

import asyncio
from html import escape
from importlib.resources import files
from pathlib import Path

import gradio as gr
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.staticfiles import StaticFiles

from assistant.answers.history import export_markdown
from ingest.cleaning.corrections import corrections
from ingest.document import content_hash
from ingest.errors import MianpuError
from web import chat, concepts, engines, interview, library, progress
from web.desk import Desk
from web.guard import Guard
from web.render import attributes, button, document_page, notice, panel
from web.texts import LANGUAGES, Texts, texts

STATIC = Path(str(files("web").joinpath("static")))
_SCRIPTS = ("app.js", "map.js")


def application(desk: Desk, host: str = "127.0.0.1") -> Guard:
    """The whole web application, ready for an ASGI server. ``host`` is the address it will be reached at."""
    # Gradio makes an event loop for every lock it makes outside of one, and never closes it.
    return asyncio.run(_application(desk, host))


async def _application(desk: Desk, host: str) -> Guard:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/mianpu/static", StaticFiles(directory=STATIC))
    _chat_route(app, desk)
    for language in LANGUAGES:
        _routes(app, desk, language)
        gr.mount_gradio_app(
            app,
            pages(desk, language),
            path=f"/{language}",
            server_name=host,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            show_error=True,
            max_file_size="50mb",
            theme=_theme(),
        )
    return Guard(app, host=host, head={language: _head(language) for language in LANGUAGES})


def pages(desk: Desk, language: str) -> gr.Blocks:
    """The page in one language: five views under one bar."""
    t = texts(language)
    with gr.Blocks(title=t("title"), fill_width=True, analytics_enabled=False) as blocks:
        panel(_top(t, language), js="mianpu.connect('ready', trigger)", elem_id="top")
        interview_bus = interview.signals()
        with gr.Tabs(elem_id="views", selected="chat", overflow_behavior="wrap"):
            with _tab(t, "chat"):
                talk = chat.view(t, language, desk)
            with _tab(t, "interview") as interview_tab:
                intro, topics = interview.view(t, language, desk, interview_bus)
            with _tab(t, "concepts"):
                index = concepts.view(t, language, desk)
            with _tab(t, "library") as library_tab:
                shelf = library.view(t, desk)
            with _tab(t, "progress") as progress_tab:
                history = progress.view(t, language, desk)
        _wire(blocks, desk, t, language, talk, intro, topics, index, shelf, history, interview_tab, library_tab, progress_tab)
        blocks.queue(default_concurrency_limit=32)
    return blocks


def _wire(
    blocks: gr.Blocks,
    desk: Desk,
    t: Texts,
    language: str,
    talk: chat.ChatView,
    intro: gr.HTML,
    topics: gr.Radio,
    index: gr.HTML,
    shelf: library.LibraryView,
    history: gr.HTML,
    interview_tab: gr.Tab,
    library_tab: gr.Tab,
    progress_tab: gr.Tab,
) -> None:
    """Let every view see what changed elsewhere: documents read in or removed, answers reviewed."""

    def interview_parts() -> list[object]:
        return [interview.setup_page(desk, t, language), gr.update(choices=interview.topic_choices(desk, t, language))]

    def library_parts() -> list[object]:
        """Everything that shows the library, as it is now."""
        documents = library.document_list(desk.library.documents(), t)
        return [documents, concepts.index_page(desk.graph, t, language), chat.welcome(desk, t, language), *interview_parts()]

    def job_parts() -> list[object]:
        running = desk.job.running
        return [library.job_page(desk.job, t), gr.update(visible=running), gr.Timer(active=running)]

    def tick() -> list[object]:
        return [*job_parts(), *([gr.skip()] * 5 if desk.job.running else library_parts())]

    def loaded() -> list[object]:
        return [*job_parts(), *library_parts(), chat.chat_list(desk, 0, t), progress.page(desk, t, language, progress.local_now())]

    def left(request: gr.Request) -> None:
        desk.leave_answer(str(request.session_hash))

    job = [shelf.state, shelf.stop, shelf.timer]
    shown = [shelf.documents, index, talk.hello, intro, topics]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shelf.timer.tick(tick, None, [*job, *shown], **quiet)
    shelf.removed.then(lambda: library_parts()[1:], None, shown[1:], **quiet)
    interview_tab.select(interview_parts, None, [intro, topics], **quiet)
    progress_tab.select(lambda: progress.page(desk, t, language, progress.local_now()), None, history, **quiet)
    if shelf.states is not None:
        gr.on([library_tab.select, blocks.load], lambda: engines.states_text(desk.states, t), None, shelf.states, **quiet)
    blocks.load(loaded, None, [*job, *shown, talk.chats, history], **quiet)
    blocks.unload(left)


def _tab(t: Texts, name: str) -> gr.Tab:
    return gr.Tab(t(f"tab.{name}"), id=name, elem_id=f"view-{name}")


def _top(t: Texts, language: str) -> str:
    other = next(name for name in LANGUAGES if name != language)
    switch = button(t("language"), kind="quiet language", data_act="language", data_value=other)
    return f'<div class="bar-inner"><div class="brand"><span class="seal">谱</span><b>{escape(t("title"))}</b></div>{switch}</div>'


def _head(language: str) -> str:
    """What the start page loads of ours: style, scripts, and where KaTeX lies among Gradio's files."""
    katex = _gradio_asset("katex-*.js")
    style = _gradio_asset("katex-*.css")
    settings = attributes(
        name="mianpu",
        data_language=language,
        data_lang=LANGUAGES[language],
        data_katex=f"/{language}/assets/{katex}" if katex and style else None,
        data_katex_style=f"/{language}/assets/{style}" if katex and style else None,
    )
    styles = [f"/mianpu/static/style.css?{_version('style.css')}", *([f"/{language}/assets/{style}"] if katex and style else [])]
    links = "".join(f'<link rel="stylesheet"{attributes(href=address)}>' for address in styles)
    scripts = "".join(f"<script defer{attributes(src=f'/mianpu/static/{name}?{_version(name)}')}></script>" for name in _SCRIPTS)
    return f'<meta{settings}><link rel="icon" href="/mianpu/static/seal.svg">{links}{scripts}'


def _version(name: str) -> str:
    return content_hash((STATIC / name).read_text(encoding="utf-8"))[:12]


def _gradio_asset(pattern: str) -> str:
    """The name of one of the files Gradio brings along; "" when this Gradio has none of that kind."""
    found = sorted(Path(gr.__file__).parent.joinpath("templates", "frontend", "assets").glob(pattern))
    return found[0].name if found else ""


def _theme() -> gr.themes.Base:
    # System fonts: Gradio's own themes would fetch theirs from elsewhere.
    fonts = ("system-ui", "sans-serif")
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="stone", font=fonts, font_mono=("ui-monospace", "monospace"))
    return theme.set(
        body_background_fill="var(--paper)",
        body_background_fill_dark="var(--paper)",
        body_text_color="var(--ink)",
        body_text_color_dark="var(--ink)",
        color_accent="var(--accent)",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        input_background_fill="var(--surface)",
        input_background_fill_dark="var(--surface)",
        border_color_primary="var(--line)",
        border_color_primary_dark="var(--line)",
    )


# --- our own routes -------------------------------------------------------------------------------------------------


def _chat_route(app: FastAPI, desk: Desk) -> None:
    @app.get("/mianpu/chat.md")
    def chat_markdown(number: str = "") -> Response:
        try:
            text = export_markdown(desk.library, _offset(number) or 0)
        except MianpuError as error:
            return Response(str(error), status_code=404, media_type="text/plain")
        disposition = f'attachment; filename="mianpu-{_offset(number)}.md"'
        return Response(text, media_type="text/markdown; charset=utf-8", headers={"Content-Disposition": disposition})


def _routes(app: FastAPI, desk: Desk, language: str) -> None:
    """Reading, in one language. Every text in an answer is escaped where it is rendered."""
    t = texts(language)
    base = f"/mianpu/{language}"

    @app.get(f"{base}/document")
    def document(name: str, start: str = "", end: str = "") -> HTMLResponse:
        try:
            found = desk.library.document(name)
        except MianpuError:
            return HTMLResponse(notice(t("document.gone", name=name), "bad"), status_code=404)
        known = corrections(desk.library, name)
        return HTMLResponse(document_page(found, t, language, _offset(start), _offset(end), known))

    @app.get(f"{base}/concept")
    def concept(key: str) -> HTMLResponse:
        return HTMLResponse(concepts.concept_page(desk.graph, key, t, language))

    @app.get(f"{base}/welcome")
    def concepts_welcome() -> HTMLResponse:
        return HTMLResponse(concepts.welcome(desk.graph, t, language))

    @app.get(f"{base}/map")
    def concept_map(key: str) -> Response:
        data = concepts.map_data(desk.graph, key, t, language)
        return JSONResponse(data) if data is not None else JSONResponse({}, status_code=404)

    @app.get(f"{base}/path")
    def path(a: str, b: str) -> HTMLResponse:
        return HTMLResponse(concepts.path_page(desk.graph, a, b, t, language))


def _offset(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None
