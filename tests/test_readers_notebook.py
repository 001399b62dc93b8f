"""Notebooks of both formats, and what is none."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import MianpuError
from ingest.readers import notebook as reader
from ingest.readers.notebook import read_notebook


def notebook(*cells: dict[str, Any], **metadata: Any) -> bytes:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}, ensure_ascii=False).encode()


def code(source: str | list[str], *outputs: dict[str, Any]) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "outputs": outputs, "metadata": {}, "execution_count": 1}


def shown(**data: Any) -> dict[str, Any]:
    return {
        "output_type": "display_data",
        "data": {f"text/{key}" if key != "png" else "image/png": value for key, value in data.items()},
        "metadata": {},
    }


def test_cells_in_order() -> None:
    raw = read_notebook(
        notebook(
            {"cell_type": "markdown", "source": ["# 注意力\n", "\n", "缩放用 $\\sqrt{d}$。\n"]},
            code(["import torch\n", "x = 1"], {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]}),
            {"cell_type": "raw", "source": "原样"},
            code("  \n"),
            kernelspec={"language": "python", "name": "python3"},
            authors=[{"name": "甲"}],
            title="笔记",
        )
    )
    assert raw.text == "# 注意力\n\n缩放用 $\\sqrt{d}$。\n\n```python\nimport torch\nx = 1\n```\n\n```\n1\n2\n```\n\n原样\n"
    assert raw.metadata == (("title", "笔记"), ("author", "甲"))
    assert (raw.format, raw.encoding, raw.furniture) == ("notebook", "utf-8", ())


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (shown(plain="   a\n0  1", html="<table><tr><td>1</td></tr></table>"), "```\n   a\n0  1\n```"),
        (shown(html=["<p>损失<b>下降</b></p>", "<script>x</script>"]), "损失**下降**"),
        (shown(markdown="- 甲"), "- 甲"),
        (shown(latex="$x^2$", plain="x**2"), "$x^2$"),
        (shown(latex="x^2"), "$$x^2$$"),
        (shown(png="iVBOR", plain="<Figure size 640x480 with 1 Axes>"), ""),
        (
            {"output_type": "stream", "name": "stderr", "text": " 10%\r 50%\r100% 完成\n\x1b[31m红\x1b[0m"},
            "```\n100% 完成\n红\n```",
        ),
        (
            {"output_type": "error", "ename": "ValueError", "evalue": "形状不符", "traceback": ["x" * 9000]},
            "```\nValueError: 形状不符\n```",
        ),
        ({"output_type": "execute_result", "data": {"text/plain": "'```'"}}, "````\n'```'\n````"),
    ],
)
def test_outputs(output: dict[str, Any], expected: str) -> None:
    assert read_notebook(notebook(code("f()", output))).text.removeprefix("```python\nf()\n```").strip("\n") == expected


def test_a_long_output_keeps_its_ends_and_says_what_it_lacks() -> None:
    text = read_notebook(notebook(code("f()", {"output_type": "stream", "text": "\n".join(str(n) for n in range(1000))}))).text
    assert "\n39\n… (940 lines left out)\n980\n" in text and text.endswith("\n999\n```\n")
    wide = read_notebook(notebook(code("f()", {"output_type": "stream", "text": "甲" * 10_000}))).text
    assert "characters left out" in wide and wide.count("甲") <= reader.MAX_OUTPUT


def test_the_language_of_the_code() -> None:
    cells = [code("%%bash\nls"), code("1 + 1")]
    assert (
        read_notebook(notebook(*cells, language_info={"name": "julia"})).text
        == "```bash\n%%bash\nls\n```\n\n```julia\n1 + 1\n```\n"
    )


def test_version_three() -> None:
    old = {
        "nbformat": 3,
        "metadata": {"name": ""},
        "worksheets": [
            {
                "cells": [
                    {"cell_type": "heading", "level": 2, "source": "优化器"},
                    {
                        "cell_type": "code",
                        "language": "python",
                        "input": ["x = 1"],
                        "outputs": [{"output_type": "pyout", "text": ["1"]}],
                    },
                ]
            }
        ],
    }
    assert read_notebook(json.dumps(old).encode()).text == "## 优化器\n\n```python\nx = 1\n```\n\n```\n1\n```\n"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"{", "no Jupyter notebook"),
        (b"[1]", "no Jupyter notebook"),
        (b'{"a": 1}', "no Jupyter notebook"),
        (b"[" * 200_000, "no Jupyter notebook"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (notebook(), "no text and no code"),
        (notebook(code("")), "no text and no code"),
    ],
)
def test_what_is_no_notebook(data: bytes, words: str) -> None:
    with pytest.raises(MianpuError, match=words) as caught:
        read_notebook(data)
    assert "\n" not in str(caught.value)


def test_characters_that_would_make_spans_lie() -> None:
    raw = read_notebook(b'{"nbformat": 4, "cells": [{"cell_type": "markdown", "source": "a\\u0000b\\ud800c\\u2028d\\re"}]}')
    raw.text.encode("utf-8")
    assert not any(char in raw.text for char in "\x00\u2028\r")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.sampled_from(["code", "markdown", "heading", "stream", "```", "text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["cell_type", "source", "outputs", "output_type", "text", "data", "text/plain", "text/html", "level"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["nbformat", "cells", "metadata", "worksheets"]), JSON | st.lists(JSON, max_size=3)))
def test_any_json_gives_text_or_one_clear_line(value: dict[str, Any]) -> None:
    try:
        raw = read_notebook(json.dumps(value).encode())
    except MianpuError as error:
        assert "\n" not in str(error)
    else:
        assert raw.text.strip()
        raw.text.encode("utf-8")
