"""Pages saved as one file: written by hand, and by a real Chromium."""

import base64
import os
import quopri
import shutil
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.errors import MianpuError
from ingest.readers.mhtml import read_mhtml

P1 = "投机解码让一个小模型先写几个词元，再由大模型一次检查，接受的部分与逐个解码的分布相同。"
P2 = "接受率越高，省下的时间越多；草稿太长而接受率低时，反而会变慢。"
HTML = f"<html><body><nav><a href='/'>首页</a></nav><article><h1>投机解码</h1><p>{P1}</p></article></body></html>"
ADDRESS = "https://example.org/spec"


def saved(
    *parts: bytes, kind: str = 'multipart/related; type="text/html"; boundary="--b=1--"', end: bytes = b"\r\n----b=1----\r\n"
) -> bytes:
    head = f"From: <Saved by Blink>\r\nSnapshot-Content-Location: {ADDRESS}\r\nSubject: =?utf-8?Q?spec?=\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n"
    return head.encode() + b"".join(b"\r\n----b=1--\r\n" + part for part in parts) + end


def part(
    html: str, *, location: str = ADDRESS, charset: str = "", transfer: str = "quoted-printable", codec: str = "utf-8"
) -> bytes:
    body = html.encode(codec)
    body = {
        "quoted-printable": lambda b: quopri.encodestring(b).replace(b"\n", b"\r\n"),
        "base64": base64.encodebytes,
        "8bit": bytes,
    }[transfer](body)
    named = f"; charset={charset}" if charset else ""
    return (
        f"Content-Type: text/html{named}\r\nContent-Transfer-Encoding: {transfer}\r\nContent-Location: {location}\r\n\r\n".encode()
        + body
    )


PICTURE = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-Location: https://example.org/x.png\r\n\r\niVBORw0KGgo="


@pytest.mark.parametrize(
    "data",
    [
        saved(part(HTML), PICTURE),
        saved(PICTURE, part(HTML, transfer="base64")),
        saved(part("<p>一个框架里的广告，说了很多很多很多与文章无关的话。</p>", location="https://ads.example"), part(HTML, transfer="8bit")),
        saved(part(HTML, charset="gb2312", codec="gb18030")),
        saved(part(HTML)).replace(b"\r\n", b"\n"),
        saved(b'Content-Type: multipart/alternative; boundary=c\r\n\r\n--c\r\nContent-Type: text/plain\r\n\r\nx\r\n--c\r\n' + part(HTML) + b"\r\n--c--"),
        f"MIME-Version: 1.0\r\nSnapshot-Content-Location: {ADDRESS}\r\n".encode() + part(HTML),
    ],
    ids=["Chrome", "base64", "an advertisement first", "GB2312", "line feeds", "nested", "one part"],
)  # fmt: skip
def test_the_page_in_the_message(data: bytes) -> None:
    raw = read_mhtml(data)
    assert raw.text == f"- 首页\n\n# 投机解码\n\n{P1}\n".replace("- 首页", "首页")
    assert raw.furniture == ((0, 2, "navigation"),)
    assert raw.metadata == (("title", "投机解码"), ("address", ADDRESS))
    assert raw.format == "mhtml"


def test_the_encoding_that_the_part_names() -> None:
    text = "投機的デコードは小さなモデルが下書きを作り、大きなモデルがまとめて検査する方法です。"
    raw = read_mhtml(saved(part(f"<p>{text}</p>", charset="shift_jis", codec="shift_jis")))
    assert (raw.text.strip(), raw.encoding) == (text, "shift_jis")


def test_the_root_that_the_message_names() -> None:
    kind = 'multipart/related; start="<two@x>"; boundary="--b=1--"'
    other = part("<p>别的页面，不是正文，只是被嵌进来的一小段话而已。</p>", location="https://example.org/other")
    raw = read_mhtml(saved(other, b"Content-ID: <two@x>\r\n" + part(HTML, location="cid:two"), kind=kind))
    assert "投机解码" in raw.text and "别的页面" not in raw.text


def test_a_page_of_frames_has_its_text_in_one_of_them() -> None:
    raw = read_mhtml(saved(part("<frameset><frame src='cid:f'></frameset>"), part(HTML, location="cid:f")))
    assert P1 in raw.text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (saved(part(HTML), PICTURE)[:600], "cut off in the middle"),
        (saved(end=b""), "cut off before"),
        (saved(PICTURE), "no web page"),
        (b"<html><p>text", "no saved page"),
        (saved(part("<div id=app></div><script>x</script>")), "a script draws it"),
        (saved(part("<p></p>")), "no text"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(data: bytes, words: str) -> None:
    with pytest.raises(MianpuError, match=words) as caught:
        read_mhtml(data)
    assert "\n" not in str(caught.value)


def test_a_message_cut_behind_its_page_is_read() -> None:
    data = saved(part(HTML), PICTURE)
    assert P1 in read_mhtml(data[: data.index(b"iVBOR") + 4]).text


def test_a_message_nested_without_end() -> None:
    data = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(2000))
    with pytest.raises(MianpuError):
        read_mhtml(data)


PIECES = st.sampled_from(
    [
        saved(part(HTML))[:300],
        b"\r\n----b=1--\r\n",
        b"\r\n\r\n",
        part(HTML),
        PICTURE,
        b'Content-Type: multipart/related; boundary="--b=1--"\r\n',
        b"--",
        b"=",
        b"\x00\xff",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.lists(PIECES, max_size=8).map(b"".join)))
def test_any_bytes_give_text_or_one_clear_line(data: bytes) -> None:
    try:
        raw = read_mhtml(data)
    except MianpuError as error:
        assert "\n" not in str(error)
    else:
        assert raw.text.strip()
        assert all(0 <= start < end <= len(raw.text) for start, end, _ in raw.furniture)


def test_parts_are_decoded_as_pythons_own_mail_package_would() -> None:
    message = EmailMessage()
    message.set_content(HTML, subtype="html", cte="quoted-printable")
    assert P1 in read_mhtml(message.as_bytes()).text


# --- a real browser -------------------------------------------------------------------------------------------------

PAGE = f"""<!DOCTYPE html><html lang="zh"><head><meta charset="utf-8"><title>投机解码 - 面谱博客</title><meta name="author" content="戊">
<style>.menu {{ color: red }} .gone {{ display: none }}</style></head>
<body><div class="menu"><ul><li><a href="/a">首页</a></li><li><a href="/b">归档</a></li></ul></div>
<main><article><h1>投机解码</h1><div class="entry-content"><p>{P1}</p><pre><code class="language-python">def draft(n):
    return [0] * n
</code></pre><div id="late"></div><table><tr><th>草稿</th><th>加速</th></tr><tr><td>4</td><td>2.1×</td></tr></table></div></article></main>
<footer>版权所有</footer><script>document.getElementById("late").innerHTML = "<p>{P2}</p>"</script></body></html>"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(PAGE, encoding="utf-8")
    with sync_playwright() as playwright:
        executable = found or playwright.chromium.executable_path
        if not Path(executable).exists():
            missing = "no Chromium was found: install the package chromium, or run `playwright install chromium`"
            if os.environ.get("CI"):
                pytest.fail(missing)
            pytest.skip(missing)
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(path.as_uri())
        session = page.context.new_cdp_session(page)
        data: str = session.send("Page.captureSnapshot", {"format": "mhtml"})["data"]
        browser.close()
    yield data.encode("utf-8")


@pytest.mark.browser
def test_a_page_that_chromium_saved(snapshot: bytes) -> None:
    raw = read_mhtml(snapshot)
    content = raw.text
    for start, end, _ in reversed(raw.furniture):
        content = content[:start] + content[end:]
    assert content.strip() == (
        f"# 投机解码\n\n{P1}\n\n```python\ndef draft(n):\n    return [0] * n\n```\n\n{P2}\n\n| 草稿 | 加速 |\n| --- | --- |\n| 4 | 2.1× |"
    )
    assert raw.metadata == (("title", "投机解码"), ("author", "戊"))
