"""Fuzzing of everything that meets a stranger's bytes: detection, archives, every reader, cleaning and splitting.

    python tests/fuzz/fuzz_readers.py -max_total_time=600

needs ``pip install atheris`` and takes libFuzzer's options; folders named behind them are its corpus. Seeds are made in code. What
must hold for any bytes: only MianpuError escapes; cuts and text together are what was read; every span is the text it claims; and
one input takes no more than ``SECONDS``. ``--only KIND`` fuzzes one kind.
"""

import importlib.util
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

with atheris.instrument_imports(include=["ingest"]):
    from ingest.cleaning import clean as cleaning
    from ingest.document import Document, RawText
    from ingest.errors import MianpuError
    from ingest.sources import archives, detection, reading
    from ingest.structure import splitting

SECONDS = 20.0
"""Of processor time. An input has at most 64 kB; what takes longer than this, slowed down by watching it, grows too fast."""
MAX_LENGTH = 1 << 16
NOTE = """---
title: 注意力机制
---
# 一、注意力

## 1. 什么是注意力？
答：查询与键的相似度，$\\frac{QK^T}{\\sqrt{d}}$。

- 第一点
- 第二点

| a | b |
|---|---|
| 1 | 2 |

```python
print(1)
```
点赞 收藏 阅读 100
问题：为什么要缓存？
回答：少算一遍。
"""
PAGE = (
    "<!doctype html><html><head><meta charset=utf-8><title>题</title></head><body><nav><a href=x>首页</a></nav><article><h1>注意力</h1>"
    "<p>正文<b>粗</b><code>x</code></p><ul><li>一<li>二</ul><pre><code class=language-python>print(1)</code></pre><table><tr><th>a<td>b"
    "</table><img src=a.png alt=图><math><mfrac><mi>a</mi><mi>b</mi></mfrac></math></article><footer>版权</footer></body></html>"
)
MHTML = (
    'From: <Saved by Blink>\r\nSubject: =?utf-8?Q?=E9=A2=98?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; type="text/html";'
    ' boundary="B"\r\n\r\n--B\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\nContent-Location: http://a/\r\n'
    "\r\n<html><body><article><p>=E6=AD=A3=E6=96=87</p></article></body></html>\r\n--B--\r\n"
)
NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"language": "python"}},
    "cells": [
        {"cell_type": "markdown", "id": "a", "metadata": {}, "source": ["# 题\n", "正文"]},
        {
            "cell_type": "code",
            "id": "b",
            "metadata": {},
            "execution_count": 1,
            "source": "1+1",
            "outputs": [{"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": ["2"]}}],
        },
    ],
}
PDF = b"""%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>endobj
4 0 obj<</Length 76>>stream
BT /F 18 Tf 20 250 Td (Attention) Tj 0 -40 Td /F 10 Tf (What is it?) Tj ET
endstream endobj
5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj
trailer<</Root 1 0 R/Size 6>>
%%EOF
"""


def zipped(members: dict[str, bytes | str]) -> bytes:
    """A zip archive of the members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def office(kind: str) -> list[bytes]:
    """A small document, made by the library whose absence leaves the reader without a seed."""
    buffer = io.BytesIO()
    if kind == "docx" and importlib.util.find_spec("docx"):
        import docx

        document = docx.Document()
        document.add_heading("注意力", 1)
        document.add_paragraph("正文", style="List Bullet")
        document.add_table(2, 2).cell(0, 0).text = "格"
        document.save(buffer)
    elif kind == "pptx" and importlib.util.find_spec("pptx"):
        import pptx

        slides = pptx.Presentation()
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = "注意力"
        slide.placeholders[1].text = "正文"
        slides.save(buffer)
    return [buffer.getvalue()] if buffer.getvalue() else []


def seeds() -> dict[str, list[bytes]]:
    """Sound files of every kind."""
    texts = [NOTE.encode(codec) for codec in ("utf-8", "gb18030", "utf-16", "utf-16-le")] + ["注意力機制是什麼".encode("big5")]
    container = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="a.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
    package = '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="c" href="c.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="c"/></spine></package>'
    page = PAGE.replace("<!doctype html><html>", '<html xmlns="http://www.w3.org/1999/xhtml">')
    book = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "a.opf": package, "c.xhtml": page}
    return {
        "text": texts,
        "markdown": texts,
        "plain": texts,
        "html": [PAGE.encode(), PAGE.encode("gb18030")],
        "mhtml": [MHTML.encode()],
        "ipynb": [json.dumps(NOTEBOOK).encode()],
        "pdf": [PDF],
        "epub": [zipped({**book})],
        "docx": office("docx"),
        "pptx": office("pptx"),
        "zip": [zipped({"a.md": NOTE, "b/c.txt": NOTE, "d.zip": zipped({"e.md": NOTE})})],
    }


SEEDS = seeds()
KINDS = sorted(
    kind
    for kind in SEEDS
    if kind not in reading.READERS or (ROOT / "ingest/readers" / f"{reading.READERS[kind].split('.')[0]}.py").exists()
)
WORDS = [
    word.encode()
    for word in (
        "\n",
        "```",
        "$$",
        "# ",
        "- ",
        "| ",
        "问题：",
        "回答：",
        "目录\n",
        "点赞\n",
        "1. ",
        "**",
        "<div>",
        "</p>",
        "<pre>",
        "\\begin{",
        "[](",
        "---\n",
        "> ",
    )
]
with atheris.instrument_imports(include=["ingest"]):
    _READ = {kind: reading.reader_of(kind) for kind in KINDS if kind != "zip"}


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Bytes are changed inside what they are packed in: a member of a container is unpacked, changed and packed again."""
    chance = random.Random(seed)
    if len(data) < 2 or chance.random() < 0.02:
        kind = chance.randrange(len(KINDS))
        return bytes((kind,)) + chance.choice(SEEDS[KINDS[kind]] or [b""])
    kind, body = data[0] % len(KINDS), data[1:]
    room = min(max_size, MAX_LENGTH) - 1
    change = _inside if detection.is_zip(body) and chance.random() < 0.8 else _change
    return bytes((kind,)) + change(body, chance, room)[:room]


def _inside(body: bytes, chance: random.Random, room: int) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist() if info.file_size < 1 << 20}
    except Exception:  # it is no sound archive any more, so its bytes are all there is to change
        return _change(body, chance, room)
    if members:
        name = chance.choice(sorted(members))
        members[name] = _change(members[name], chance, room)
    return zipped({**members})


def _change(body: bytes, chance: random.Random, room: int) -> bytes:
    how = chance.random()
    at = chance.randrange(len(body) + 1)
    if how < 0.2:
        return body[:at] + chance.choice(WORDS) * chance.choice((1, 1, 2, 50, 1000)) + body[at:]
    if how < 0.3:  # a piece again and again
        piece = body[at : at + chance.randrange(1, 60)]
        return body[:at] + piece * chance.choice((2, 10, 500)) + body[at:]
    if how < 0.4:
        end = min(len(body), at + chance.randrange(1, 200))
        return body[:at] + body[end:]
    return bytes(atheris.Mutate(body, max(room, 1)))


def check_archive(data: bytes) -> None:
    """Members are listed and read, or refused."""
    with archives.Archive(io.BytesIO(data)) as archive:
        for name, size in archive.members.items():
            assert not name.startswith("/") and ".." not in name.split("/")
            if size <= 1 << 22:
                assert len(archive.read(name)) == size


def check_text(raw: RawText) -> None:
    """Cleaning and splitting keep every character and every span."""
    raw.text.encode("utf-8")
    for start, end, reason in raw.furniture:
        assert 0 <= start <= end <= len(raw.text) and reason
    assert list(raw.pages) == sorted(raw.pages) and all(0 <= page <= len(raw.text) for page in raw.pages)
    cleaned = cleaning.clean(raw.text, raw.markup, raw.furniture)
    parts, at, taken = [], 0, 0
    for cut in cleaned.cuts:
        kept = cut.start - at
        parts += [cleaned.text[taken : taken + kept], cut.text]
        taken, at = taken + kept, cut.end
        assert raw.text[cut.start : cut.end] == cut.text
    assert "".join(parts) + cleaned.text[taken:] == raw.text
    pages = tuple(cleaned.offset(page) for page in raw.pages)
    assert list(pages) == sorted(pages)
    splitting.title_of(cleaned.text, raw.markup, "a.md", cleaned.metadata)
    document = Document("a", "/a", "a", cleaned.text, "", raw.format, raw.encoding, cleaned.cuts, (), pages)
    parsed = splitting.split(document)
    end = 0
    for passage in parsed.passages:
        assert passage.start >= end and cleaned.text[passage.start : passage.end] == passage.text
        end = passage.end
    for pair in parsed.pairs:
        assert cleaned.text[pair.question_start : pair.question_end] == pair.question
        assert cleaned.text[pair.answer_start : pair.answer_end] == pair.answer


def one_input(kind: str) -> Callable[[bytes], None]:
    """What libFuzzer calls; ``kind`` '' lets the first byte choose."""

    def test(data: bytes) -> None:
        if not data:
            return
        chosen, body = kind or KINDS[data[0] % len(KINDS)], data[1:]
        started = time.process_time()
        try:
            reading.detect_data(body, "a." + chosen)
        except MianpuError as error:
            assert "\n" not in str(error)
        try:
            if chosen == "zip":
                check_archive(body)
            else:
                if chosen in ("docx", "pptx", "epub"):
                    archives.check_container(body)
                check_text(_READ[chosen](body))
        except MianpuError as error:
            assert "\n" not in str(error), str(error)
        seconds = time.process_time() - started
        assert seconds < SECONDS, f"{chosen}: {len(body)} bytes took {seconds:.1f} s"

    return test


def main() -> None:
    """Write the seeds to a folder and fuzz from there."""
    arguments, kind = sys.argv, ""
    if "--only" in arguments:
        at = arguments.index("--only")
        kind = arguments[at + 1]
        arguments = arguments[:at] + arguments[at + 2 :]
    with tempfile.TemporaryDirectory() as folder:
        for n, name in enumerate(KINDS):
            for m, data in enumerate(SEEDS[name] if kind in ("", name) else []):
                (Path(folder) / f"{name}-{m}").write_bytes(bytes((n,)) + data)
        print(f"fuzzing {kind or ', '.join(KINDS)}", flush=True)
        options = [f"-max_len={MAX_LENGTH}", "-timeout=600", "-rss_limit_mb=4096"]
        atheris.Setup([arguments[0], *options, *arguments[1:], folder], one_input(kind), custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
