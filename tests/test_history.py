"""Chats in the library: order, search, export, deletion."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from assistant.answers import history
from ingest.errors import UsageError
from ingest.storage.library import Library

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", create=True) as library:
        yield library


def test_messages_come_back_in_order_with_their_detail(library: Library) -> None:
    chat = history.new_chat(library, "KV 缓存", NOON)
    history.add_message(library, chat, "user", "什么是 KV 缓存？", now=NOON)
    history.add_message(library, chat, "assistant", "保存键和值。", '{"answered": true}', NOON + timedelta(seconds=3))
    one, two = history.messages(library, chat)
    assert (one.role, one.content, one.detail) == ("user", "什么是 KV 缓存？", "{}")
    assert (two.role, two.content, two.detail) == ("assistant", "保存键和值。", '{"answered": true}')
    assert datetime.fromisoformat(two.created_at) == NOON + timedelta(seconds=3)


def test_the_chat_last_written_to_comes_first(library: Library) -> None:
    first, second = history.new_chat(library, "一", NOON), history.new_chat(library, "二", NOON + timedelta(minutes=1))
    assert [chat.id for chat in history.chats(library)] == [second, first]
    # the same moment in another time zone is the same moment
    later = (NOON + timedelta(minutes=2)).astimezone(timezone(timedelta(hours=8)))
    history.add_message(library, first, "user", "?", now=later)
    assert [chat.id for chat in history.chats(library)] == [first, second]
    assert history.chats(library)[0].updated_at > history.chats(library)[0].created_at


def test_without_a_time_it_is_now(library: Library) -> None:
    before = datetime.now(UTC)
    history.new_chat(library, "一")
    assert before <= datetime.fromisoformat(history.chats(library)[0].created_at) <= datetime.now(UTC)


def test_rename_and_delete(library: Library) -> None:
    chat, other = history.new_chat(library, "一", NOON), history.new_chat(library, "二", NOON)
    history.add_message(library, chat, "user", "?", now=NOON)
    history.rename_chat(library, chat, "新名")
    assert {c.title for c in history.chats(library)} == {"新名", "二"}
    history.delete_chat(library, chat)
    history.delete_chat(library, chat)
    assert [c.id for c in history.chats(library)] == [other]
    assert history.messages(library, chat) == []
    assert library.read("SELECT count(*) FROM messages") == [(0,)]


def test_a_chat_that_is_gone(library: Library) -> None:
    for call in (
        lambda: history.add_message(library, 7, "user", "?", now=NOON),
        lambda: history.rename_chat(library, 7, "x"),
        lambda: history.export_markdown(library, 7),
    ):
        with pytest.raises(UsageError, match="there is no chat 7"):
            call()
    assert library.read("SELECT count(*) FROM messages") == [(0,)]


def test_an_unknown_role_is_a_bug(library: Library) -> None:
    with pytest.raises(ValueError, match="role"):
        history.add_message(library, history.new_chat(library, "x", NOON), "system", "?")


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        ("缓存", ["显存", "KV 缓存"]),
        ("kv 键", ["KV 缓存"]),
        ("KV 显存", []),
        ("100%", ["显存"]),
        ("a_b", []),
        ("", []),
    ],
)
def test_search(library: Library, words: str, titles: list[str]) -> None:
    one = history.new_chat(library, "KV 缓存", NOON)
    history.add_message(library, one, "user", "保存键和值 axb", now=NOON)
    two = history.new_chat(library, "显存", NOON + timedelta(minutes=1))
    history.add_message(library, two, "user", "够吗", now=NOON + timedelta(minutes=2))
    history.add_message(library, two, "assistant", "缓存占用 100%!", now=NOON + timedelta(minutes=3))
    assert [chat.title for chat, _ in history.search_chats(library, words)] == titles


def test_search_shows_where_it_was_found(library: Library) -> None:
    chat = history.new_chat(library, "显存", NOON)
    history.add_message(library, chat, "user", "够吗", now=NOON)
    history.add_message(library, chat, "assistant", "缓存占用一半", now=NOON)
    assert [text for _, text in history.search_chats(library, "缓存")] == ["缓存占用一半"]
    assert [text for _, text in history.search_chats(library, "显存")] == [""]


def test_export(library: Library) -> None:
    chat = history.new_chat(library, "KV\n缓存", NOON)
    history.add_message(library, chat, "user", "什么是\nKV 缓存？", now=NOON)
    history.add_message(library, chat, "assistant", "- 键\n- 值\n", now=NOON)
    assert history.export_markdown(library, chat) == (
        "# KV 缓存\n\n*2026-03-01T12:00:00.000000+00:00*\n\n## 什么是 KV 缓存？\n\n- 键\n- 值\n"
    )
