"""The page as a server: who may ask, what is sent, what can be read. The browser has its own tests."""

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ingest.errors import MianpuError
from tests import web_desk
from web import app, server
from web.desk import Desk

shared, client = web_desk.shared, web_desk.client  # fixtures


# --- the server -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepts", "lang", "word"), [("zh-CN,zh;q=0.9", "zh-CN", "面试"), ("en-US,en;q=0.9", "en", "Interview")])
def test_the_page_speaks_the_browsers_language(client: TestClient, accepts: str, lang: str, word: str) -> None:
    page = client.get("/", headers={"accept-language": accepts})
    assert page.status_code == 200
    assert f'lang="{lang}"' in page.text and word in page.text
    other = client.get(
        "/", headers={"accept-language": accepts, "cookie": "mianpu_language=" + ("en" if lang == "zh-CN" else "zh")}
    )
    assert f'lang="{lang}"' not in other.text


def test_the_page_names_no_other_host(client: TestClient) -> None:
    for path in ("/", "/zh/", "/en/"):
        page = client.get(path).text.replace("http://127.0.0.1:7860", "")
        assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", page)


def test_every_script_of_the_page_has_the_nonce_of_the_policy(client: TestClient) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    nonce = re.search(r"'nonce-([\w-]+)'", policy)
    assert nonce and "default-src 'self'" in policy and "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert page.text.count("<script") == page.text.count(f'<script nonce="{nonce.group(1)}"') > 2
    assert client.get("/").headers["content-security-policy"] != policy
    assert page.headers["x-content-type-options"] == "nosniff"


def test_what_the_page_loads_is_there(client: TestClient) -> None:
    page = client.get("/").text
    loaded = re.findall(r'(?:href|src|data-katex|data-katex-style)="(/[^"]+)"', page)
    assert any("katex" in address for address in loaded) and any("app.js" in address for address in loaded)
    for address in loaded:
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:7860"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_strangers_are_turned_away(client: TestClient, headers: dict[str, str]) -> None:
    for path in ("/", "/mianpu/zh/document?name=推理.md", "/zh/config"):
        assert client.get(path, headers=headers).status_code == 403
    assert client.post("/zh/gradio_api/queue/join", headers=headers, json={}).status_code == 403


@pytest.mark.parametrize("headers", [{"host": "localhost:7860"}, {"host": "[::1]:7860"}, {"origin": "http://127.0.0.1:7860"}])
def test_this_computer_is_let_in(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get("/mianpu/zh/document?name=推理.md", headers=headers).status_code == 200


def test_a_link_from_elsewhere_may_open_the_page(client: TestClient) -> None:
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_a_server_for_the_network_takes_its_own_name_but_no_foreign_origin(shared: Desk) -> None:
    with TestClient(app.application(shared, "0.0.0.0"), base_url="http://mianpu.lan:7860") as client:
        assert client.get("/mianpu/zh/document?name=推理.md").status_code == 200
        assert client.get("/", headers={"origin": "https://evil.example"}).status_code == 403


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_document_opens_at_its_span(client: TestClient, shared: Desk) -> None:
    text = shared.library.document("推理.md").text
    start = text.index("显存占用")
    page = client.get("/mianpu/zh/document", params={"name": "推理.md", "start": start, "end": start + 4})
    assert "<mark>显存占用</mark>" in page.text
    assert "<mark>" not in client.get("/mianpu/zh/document", params={"name": "推理.md", "start": "x", "end": "-1"}).text


def test_a_hostile_document_is_text(client: TestClient) -> None:
    page = client.get("/mianpu/zh/document", params={"name": "hostile.md"}).text
    assert "<img" not in page and "<script" not in page and "&lt;img src=x onerror=" in page


def test_a_document_that_is_gone_says_so(client: TestClient) -> None:
    page = client.get("/mianpu/en/document", params={"name": "<b>x"})
    assert page.status_code == 404 and "&lt;b&gt;x is no longer" in page.text


def test_a_concept_has_a_page_and_a_map(client: TestClient) -> None:
    page = client.get("/mianpu/zh/concept", params={"key": "kv 缓存"}).text
    assert "KV 缓存为什么能加速解码" in page and 'class="mention"' in page and 'data-key="自注意力"' in page
    data = client.get("/mianpu/zh/map", params={"key": "kv 缓存"}).json()
    assert data["centre"] == "kv 缓存" and {"自注意力", "旋转位置编码"} <= {node["key"] for node in data["nodes"]}
    assert len(data["layouts"]["wide"]["positions"]) == len(data["nodes"])
    assert client.get("/mianpu/zh/map", params={"key": "没有"}).status_code == 404
    assert "&lt;b&gt;" in client.get("/mianpu/zh/concept", params={"key": "<b>"}).text


def test_a_path_between_concepts_shows_its_passages(client: TestClient) -> None:
    def path(a: str, b: str) -> str:
        return client.get("/mianpu/zh/path", params={"a": a, "b": b}).text

    assert 'class="evidence"' in path("KV 缓存", "RoPE")
    assert "没有叫“&lt;i&gt;”的概念" in path("<i>", "RoPE")
    assert "同一个概念" in path("RoPE", "旋转位置编码")
    assert "没有把" in path("RoPE", "LoRA")


# --- serving ----------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    with server.listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MianpuError, match=f"127.0.0.1:{port}.*--port"):
            server.serve(tmp_path, port=port)
    with pytest.raises(MianpuError, match="65535"):
        server.serve(tmp_path, port=70_000)
