"""Chat templates as model files carry them: small Jinja programs that join messages.

llama.cpp knows the usual ones by heart. Any other is run here, as Hugging Face's ``apply_chat_template`` would: in Jinja's sandbox,
since a template comes with a file from anywhere. It is given marks instead of messages, so what it says never mixes with what
people and documents wrote.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ingest.errors import MianpuError

Message = tuple[str, str]
"""Role and content."""
Render = Callable[[Sequence[Message]], str]
_LONGEST = 100_000  # characters a template may make of a few marks


class _Refusal(Exception):
    """A template's own complaint about the messages it was given."""


def jinja_render(source: str, bos: str, eos: str) -> Render:
    """A function that joins messages as the template says and opens the assistant's answer. It raises MianpuError when it cannot.

    >>> jinja_render("{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}<me>", "", "")([("user", " hi ")])
    '<user>hi<me>'
    """

    def raise_exception(message: str) -> None:
        raise _Refusal(message)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": lambda form: datetime.now().strftime(form)}
    try:
        template = environment.from_string(source)
    except (jinja2.TemplateError, RecursionError) as error:
        raise MianpuError(f"its chat template is no Jinja ({_line(error)})") from None

    def render(messages: Sequence[Message]) -> str:
        given: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in messages]
        parts, length = [], 0
        try:
            # Models that think aloud unless told otherwise are told otherwise: the passages hold the answer.
            for part in template.generate(
                messages=given, add_generation_prompt=True, bos_token=bos, eos_token=eos, enable_thinking=False, tools=None
            ):
                parts.append(part)
                length += len(part)
                if length > _LONGEST:
                    raise MianpuError("its chat template writes without end")
        except MianpuError:
            raise
        except Exception as error:  # a template is a program of somebody else
            raise MianpuError(f"its chat template refuses the messages ({_line(error)})") from None
        return "".join(parts)

    return render


def without_system(render: Render) -> Render:
    """The same for a template that takes no system message: that text opens the first message of the user."""

    def merged(messages: Sequence[Message]) -> str:
        (_, system), (role, first), *rest = messages
        return render([(role, system + first), *rest])

    return merged


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
