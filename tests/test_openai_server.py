"""A chat model behind an address: against small servers that go wrong in every way, and against a real one."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant.engine.choice import check
from assistant.engine.llm import Prompt, Thinking, Turn
from assistant.engine.openai_server import Patience, ServerChat, estimated_tokens, messages
from assistant.engine.server_address import base_address, host_of, is_here, is_open
from assistant.engine.server_replies import inert
from ingest.errors import MianpuError, UsageError
from ingest.models.model_files import chat_model_path
from tests.chat_servers import Act, Handler, ScriptedServer, free_port, llama_cpp_server, refuses, says, scripted, with_certificate

QUESTION = Prompt("系统", ("【资料】一\n", "【资料】二\n"), (Turn("user", "先问"), Turn("assistant", "先答")), "问题")
QUICK = Patience(connect=2, first=1, between=0.4, pause=0.01)


def ask(server: ScriptedServer, prompt: Prompt = QUESTION, key: str = "") -> str:
    chat = ServerChat(server.address, "m", key=key, patience=QUICK)
    return "".join(chat.stream(prompt, max_tokens=20, stop=threading.Event(), waiting=lambda n: None))


def fails(server: ScriptedServer, key: str = "") -> str:
    with pytest.raises(MianpuError) as caught:
        ask(server, key=key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_answer_comes_in_pieces_and_the_prompt_goes_as_messages() -> None:
    with scripted(says("巴", "", "黎。")) as server:
        assert ask(server) == "巴黎。"
        (body,) = server.asked
    assert body["stream"] is True and body["temperature"] == 0 and body["max_tokens"] == 20 and body["model"] == "m"
    assert body["messages"] == [
        {"role": "system", "content": "系统"},
        {"role": "user", "content": "【资料】一\n【资料】二\n先问"},
        {"role": "assistant", "content": "先答"},
        {"role": "user", "content": "问题"},
    ]


def test_the_key_goes_along_and_stands_in_no_error() -> None:
    with scripted(refuses(400, "bad key sk-secret-1 given")) as server:
        told = fails(server, key="sk-secret-1")
        assert all(headers["Authorization"] == "Bearer sk-secret-1" for _, headers, _ in server.seen)
    assert "sk-secret" not in told and "400" in told
    with scripted(says("x")) as server:
        ask(server)
        assert all("Authorization" not in headers for _, headers, _ in server.seen)


def test_no_model_named_takes_the_first_listed_and_its_room() -> None:
    with scripted(says("x"), models=[{"id": "first", "max_model_len": 700}, {"id": "second"}]) as server:
        chat = ServerChat(server.address, patience=QUICK)
        assert chat.models() == ["first", "second"]
        list(chat.stream(QUESTION, max_tokens=20, stop=threading.Event(), waiting=lambda n: None))
        assert chat.name == server.asked[0]["model"] == "first"
        with pytest.raises(MianpuError, match="680 tokens"):
            list(chat.stream(Prompt("", ("长" * 700,), (), "问"), max_tokens=20, stop=threading.Event(), waiting=lambda n: None))


def test_a_server_that_lists_nothing_answers_a_named_model() -> None:
    with scripted(says("好"), models=None) as server:
        assert ask(server) == "好"
        with pytest.raises(MianpuError, match="no OpenAI-compatible server"):
            ServerChat(server.address).models()


def test_nobody_listens() -> None:
    began = time.monotonic()
    with pytest.raises(MianpuError, match=r"no server at http://127\.0\.0\.1:\d+/v1 .*: start it"):
        ServerChat(f"127.0.0.1:{free_port()}", "m").models()
    with pytest.raises(MianpuError, match="start it"):
        list(
            ServerChat(f"127.0.0.1:{free_port()}", "m").stream(
                QUESTION, max_tokens=9, stop=threading.Event(), waiting=lambda n: None
            )
        )
    assert time.monotonic() - began < 3


def garbage(handler: Handler) -> None:
    handler.begin()
    handler.event("{not json")


def other_json(handler: Handler) -> None:
    handler.begin()
    handler.event({"hello": 1})


def inside(handler: Handler) -> None:
    handler.begin()
    handler.piece("a")
    handler.event({"error": {"message": "out of memory"}})


def torn(handler: Handler) -> None:
    handler.begin()
    handler.piece("abc")


def endless(handler: Handler) -> None:
    handler.begin()
    handler.wfile.write(b"data: " + b"x" * (2 << 20))


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (refuses(401, "no"), "wants an API key"),
        (refuses(403, "no"), "wants an API key"),
        (refuses(404, "no such"), "knows no chat completions"),
        (refuses(400, "context length exceeded"), "status 400: context length exceeded"),
        (refuses(429, "slow down", retry_after="600"), "asks to wait 600 s"),
        (refuses(307, "", location="http://example.com/"), "sends us elsewhere"),
        (lambda h: h.reply(200, b"<html>hello</html>", "text/html"), "text/html instead of"),
        (lambda h: h.reply(200, b"[1]"), "no chat completion"),
        (lambda h: h.reply(502, b"Bad Gateway", "text/plain"), "status 502"),
        (garbage, "not JSON of a chat completion"),
        (other_json, "not JSON of a chat completion"),
        (inside, "failed while answering: out of memory"),
        (torn, "ended its stream in the middle after 3 characters"),
        (endless, "an event without end"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_one_line(act: Act, told: str) -> None:
    with scripted(act) as server:
        assert told in fails(server)


def test_a_refused_key_is_told_apart_from_a_missing_one() -> None:
    with scripted(refuses(401)) as server:
        assert "refuses the API key" in fails(server, key="k")


def test_an_unknown_model_names_those_there_are() -> None:
    with scripted(refuses(404, "model m not found"), models=[{"id": "qwen"}, {"id": "llama"}]) as server:
        assert "has no model m; it has qwen, llama" in fails(server)


def test_a_certificate_nobody_signed_is_refused(tmp_path: Path) -> None:
    with scripted() as server, with_certificate(server, tmp_path), pytest.raises(MianpuError, match="no secure connection"):
        ServerChat(f"https://{server.address}", "m", patience=QUICK).models()


@pytest.mark.parametrize(
    "act", [refuses(503), refuses(429, retry_after="0"), lambda h: h.connection.shutdown(socket.SHUT_RDWR), garbage]
)
def test_before_the_first_token_it_tries_again(act: Act) -> None:
    with scripted(act, act, says("ja")) as server:
        assert ask(server) == "ja"
        assert len(server.asked) == 3


@pytest.mark.parametrize(("act", "attempts"), [(refuses(503), 4), (refuses(400), 1), (inside, 1), (torn, 1)])
def test_it_tries_no_longer_than_it_helps(act: Act, attempts: int) -> None:
    with scripted(act) as server:
        fails(server)
        assert len(server.asked) == attempts


def test_it_waits_as_long_as_the_server_asks() -> None:
    with scripted(refuses(429, retry_after="1"), says("ja")) as server:
        began = time.monotonic()
        assert ask(server) == "ja"
        assert 1 <= time.monotonic() - began < 3


def silent(handler: Handler) -> None:
    handler.begin()
    handler.server.gone.wait(10)


def pausing(handler: Handler) -> None:
    handler.begin()
    handler.piece("ab")
    handler.server.gone.wait(10)


def test_silence_has_a_limit_before_and_between_tokens() -> None:
    with scripted(silent) as server:
        assert "silent for 1 s after no token" in fails(server)
        server.gone.set()
    with scripted(pausing) as server:
        began = time.monotonic()
        assert "after 2 characters" in fails(server)
        assert time.monotonic() - began < 1.5
        server.gone.set()


def writing(handler: Handler) -> None:
    handler.begin()
    for n in range(2000):
        handler.piece(f"{n} ")
        time.sleep(0.01)


@pytest.mark.parametrize("leave", [False, True])
def test_stopping_closes_the_connection(leave: bool) -> None:
    with scripted(writing) as server:
        stop = threading.Event()
        stream = ServerChat(server.address, "m").stream(QUESTION, max_tokens=20, stop=stop, waiting=lambda n: None)
        next(stream)
        began = time.monotonic()
        if leave:
            stream.close()  # type: ignore[attr-defined]
        else:
            stop.set()
            assert list(stream) == []
        assert time.monotonic() - began < 1
        assert server.gone.wait(3), "the server still writes to us"


def test_stopping_while_nothing_comes_is_quick() -> None:
    with scripted(silent) as server:
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        began = time.monotonic()
        chat = ServerChat(server.address, "m")
        assert list(chat.stream(QUESTION, max_tokens=20, stop=stop, waiting=lambda n: None)) == []
        assert time.monotonic() - began < 1.3
        server.gone.set()
    assert not [thread for thread in threading.enumerate() if thread.name == "chat-server"]


def test_four_at_once_and_the_fifth_knows_its_place() -> None:
    with scripted(pausing) as server:
        chat = ServerChat(server.address, "m")
        stops = [threading.Event() for _ in range(6)]
        told: list[list[int]] = [[] for _ in stops]

        def asking(number: int) -> None:
            for _ in chat.stream(QUESTION, max_tokens=9, stop=stops[number], waiting=told[number].append):
                pass

        threads = []
        for number in range(6):
            threads.append(threading.Thread(target=asking, args=(number,)))
            threads[-1].start()
            deadline = time.monotonic() + 5
            while not told[number] and time.monotonic() < deadline:
                time.sleep(0.01)
        assert [first[0] for first in told] == [0, 0, 0, 0, 4, 5]
        stops[0].set()
        deadline = time.monotonic() + 5
        while told[4][-1] != 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert told[4][-1] == 0 and told[5][-1] == 4
        for stop in stops:
            stop.set()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        server.gone.set()


def test_a_server_that_does_not_stream_is_understood() -> None:
    with scripted(lambda h: h.reply(200, b'{"choices": [{"message": {"content": "whole"}}]}')) as server:
        assert ask(server) == "whole"


def test_lines_are_split_at_line_feeds_only_and_comments_pass() -> None:
    def act(handler: Handler) -> None:
        handler.begin()
        handler.wfile.write(b": still here\r\n\r\nid: 7\r\n")
        handler.wfile.write('data: {"choices":[{"delta":{"content":"a\u2028b"}}]}\r\n\r\n'.encode())
        handler.event({"choices": [], "usage": {}})
        handler.event("[DONE]")

    with scripted(act) as server:
        assert ask(server) == "a\u2028b"


def test_thinking_is_not_the_answer() -> None:
    def act(handler: Handler) -> None:
        handler.begin()
        handler.event({"choices": [{"delta": {"reasoning_content": "hm"}}]})
        for piece in ("<think>let me", " see</think>", "\n\n", "Yes"):
            handler.piece(piece)
        handler.event("[DONE]")

    with scripted(act) as server:
        assert ask(server) == "Yes"
    assert Thinking().feed("<b>") == "<b>"
    held = Thinking()
    assert (held.feed("<"), held.finish()) == ("", "<")


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("localhost:11434", "http://localhost:11434/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("models.example", "https://models.example/v1"),
        ("https://models.example/compatible/v1/chat/completions", "https://models.example/compatible/v1"),
    ],
)
def test_addresses_as_people_write_them(given: str, address: str) -> None:
    assert base_address(given) == address
    assert base_address(address) == address


@pytest.mark.parametrize(
    "given", ["", "ftp://x", "http://", "http://a b", "http://user:pw@host/v1", "host:99999", "http://h/v1?key=1"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        base_address(given)


def test_what_leaves_this_computer() -> None:
    assert [is_here(a) for a in ("http://127.8.0.1/v1", "http://[::1]:8/v1", "http://localhost/v1")] == [True] * 3
    assert [is_here(a) for a in ("http://10.0.0.1/v1", "https://localhost.example.com/v1", "http://0.0.0.0/v1")] == [False] * 3
    assert is_open("http://10.0.0.1/v1") and not is_open("https://models.example/v1") and not is_open("http://localhost/v1")
    assert host_of("https://models.example/v1") == "models.example"


def test_a_proxy_of_the_environment_never_sees_what_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with scripted(says("direct")) as server:
        assert ask(server) == "direct"


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "<|im_start|>system",
        "<｜User｜>",
        "<s>",
        "</s>",
        "[INST]",
        "[/INST]",
        "<<SYS>>",
        "<start_of_turn>user",
        "<|eot_id|>",
    ],
)
def test_text_of_documents_is_no_control_token(text: str) -> None:
    made = inert(f"前{text}后")
    assert text not in made and made.replace(" ", "") == f"前{text}后".replace(" ", "")
    assert all(text not in m["content"] for m in messages(Prompt("s", (text,), (Turn("user", text),), text), 2000))


def test_what_is_no_control_token_is_left_alone() -> None:
    for text in ("a < b | c > d", "[1] 见 <b>", "x<|y", "|<>|", "List<T>", "arr[i]"):
        assert inert(text) == text


def test_the_oldest_turns_go_when_there_is_no_room() -> None:
    said = tuple(Turn(role, f"{n}" * 90) for n in range(100) for role in ("user", "assistant"))
    made = messages(Prompt("系统", ("资料",), said, "问题"), 1000)
    assert sum(estimated_tokens(m["content"]) for m in made) < 1000
    assert [m["role"] for m in made[:3]] == ["system", "user", "assistant"]
    assert made[1]["content"].startswith("资料") and made[-1]["content"] == "问题"
    assert made[-2]["content"] == "99" * 90


# --- a real server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    try:
        path = chat_model_path(os.environ.get("MIANPU_TEST_GGUF"), fetch=False)
    except MianpuError as error:
        pytest.skip(str(error))
    with llama_cpp_server(path, "sesame", tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.mark.model
def test_the_real_server_answers_from_the_passages(real: str) -> None:
    chat = ServerChat(real, key="sesame")
    assert chat.models() == ["qwen"]
    prompt = Prompt("你是助手,用一句话回答。", ("【资料】面谱的端口是 7860。\n\n",), (), "问题:面谱用哪个端口?")
    pieces = list(chat.stream(prompt, max_tokens=30, stop=threading.Event(), waiting=lambda n: None))
    assert "7860" in "".join(pieces) and len(pieces) > 2
    assert chat.last_timings is not None and 0 < chat.last_timings.first_token_s < chat.last_timings.total_s
    assert "answers; first token after" in check(chat)


@pytest.mark.model
def test_the_real_server_is_free_soon_after_a_stop(real: str) -> None:
    chat = ServerChat(real, "qwen", key="sesame")
    stop = threading.Event()
    long = Prompt("写作助手。", (), (), "写一篇两千字的文章,介绍注意力机制。")
    stream = chat.stream(long, max_tokens=1500, stop=stop, waiting=lambda n: None)
    next(stream)
    stop.set()
    began = time.monotonic()
    assert list(stream) == []
    assert time.monotonic() - began < 1
    short = Prompt("用一个词回答。", (), (), "法国的首都是哪座城市?")
    assert "巴黎" in "".join(chat.stream(short, max_tokens=12, stop=threading.Event(), waiting=lambda n: None))
    assert time.monotonic() - began < 30  # 1500 tokens would take minutes


@pytest.mark.model
def test_the_real_server_wants_its_key(real: str) -> None:
    with pytest.raises(MianpuError, match="refuses the API key"):
        check(ServerChat(real, "qwen", key="wrong"))
    with pytest.raises(MianpuError, match="wants an API key"):
        ServerChat(real, "qwen").models()
