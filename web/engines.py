"""The part of the library view that says which chat model answers: Mianpu's own, a GGUF file, or a server."""

from collections.abc import Callable, Iterator
from html import escape

import gradio as gr

from assistant.engine.choice import KINDS, EngineChoice, NeedsConsent, agree
from assistant.engine.server_address import base_address, host_of, is_open
from assistant.engine.states import StateFigures
from ingest.errors import MianpuError
from web.desk import Desk
from web.render import element, notice, panel
from web.texts import Texts


def view(t: Texts, desk: Desk) -> gr.HTML:
    """Build it; returns the line on what the model keeps, which the page fills.

    Only for a page that nobody else can reach: who may choose a server sends the passages there.
    """
    now = desk.engine
    panel(f"<h3>{escape(t('engine.title'))}</h3>", elem_id="engine-title")
    kind = gr.Radio(
        [(t(f"engine.{name}"), name) for name in KINDS], value=now.kind, show_label=False, elem_id="engine", elem_classes="pills"
    )
    file = gr.Textbox(
        label=t("engine.file"), placeholder=t("engine.file.hint"), lines=1, max_lines=1, elem_id="engine-file",
        value=now.model if now.kind == "gguf" else "", visible=now.kind == "gguf",
    )  # fmt: skip
    with gr.Column(visible=now.kind == "server") as server:
        address = gr.Textbox(
            label=t("engine.address"), placeholder=t("engine.address.hint"), lines=1, max_lines=1, elem_id="engine-address",
            value=now.address,
        )  # fmt: skip
        model = gr.Textbox(
            label=t("engine.model"), lines=1, max_lines=1, elem_id="engine-model", value=now.model if now.kind == "server" else ""
        )
        panel(f'<p class="quiet">{escape(t("engine.key"))}</p>')
        consent = gr.Checkbox(label=t("engine.agree"), value=False, visible=False, container=False, elem_id="engine-agree")
    with gr.Row(elem_classes="buttons"):
        test = gr.Button(t("engine.test"), variant="secondary", elem_id="engine-test")
        use = gr.Button(t("engine.use"), variant="primary", elem_id="engine-use")
    said = panel(in_use(desk, t), elem_id="engine-said")
    states = panel(states_text(desk.states, t), elem_id="engine-states")
    fields = [kind, file, address, model, consent]
    outputs = [said, consent]

    def tested(*values: str) -> Iterator[list[object]]:
        yield from answered(t, desk.test_engine, "engine.answers", *values)

    def used(*values: str) -> Iterator[list[object]]:
        yield from answered(t, desk.use_engine, "engine.kept", *values)

    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    kind.change(lambda k: [gr.update(visible=k == "gguf"), gr.update(visible=k == "server")], kind, [file, server], **quiet)
    address.change(lambda: gr.update(value=False, visible=False), None, consent, **quiet)
    test.click(tested, fields, outputs, **quiet)
    use.click(used, fields, outputs, **quiet)
    return states


def in_use(desk: Desk, t: Texts) -> str:
    """One line on what answers now."""
    model = desk.assistant.chat_model
    return notice(t("engine.inuse", name=model.name) if model is not None else t("engine.none"))


def states_text(kept: StateFigures | None, t: Texts) -> str:
    """The attention states in plain words; nothing where none are kept."""
    if kept is None:
        return ""
    told = t("engine.states", count=kept.states, size=f"{kept.size / 1e6:.0f}", budget=f"{kept.budget / 1e6:.0f}")
    if kept.hit_rate is not None:
        told += t("engine.states.rate", rate=f"{100 * kept.hit_rate:.0f}")
    return element("p", told, class_="quiet states")


def answered(
    t: Texts, act: Callable[[EngineChoice], str], told: str, kind: str, file: str, address: str, model: str, consent: bool | str
) -> Iterator[list[object]]:
    """The updates of the line below the buttons, and of the box to agree, while a choice is tested or taken up."""
    skip = gr.skip()
    yield [notice(t("engine.working")), skip]
    try:
        choice = EngineChoice("own")
        if kind == "gguf":
            choice = EngineChoice("gguf", file.strip())
        elif kind == "server":
            choice = EngineChoice("server", model.strip(), base_address(address))
            if consent is True:
                agree(choice.address)
        yield [notice(t(told, line=act(choice)), "good"), gr.update(visible=False)]
    except NeedsConsent as needed:
        text = t("engine.consent", host=host_of(needed.address)) + (t("engine.open") if is_open(needed.address) else "")
        yield [notice(text, "bad"), gr.update(visible=True, value=False)]
    except MianpuError as error:
        yield [notice(t("engine.fails", line=str(error)), "bad"), skip]
