"""Chats kept in the library. What a message shows beside its text (citations, passages) is JSON its writer chooses: ``detail``."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ingest.errors import UsageError
from ingest.storage.library import Library

_ROLES = ("user", "assistant")


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation; times are ISO 8601 in UTC."""

    id: int
    title: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat; ``role`` is "user" or "assistant", ``detail`` a JSON object."""

    id: int
    role: str
    content: str
    detail: str
    created_at: str


def new_chat(library: Library, title: str, now: datetime | None = None) -> int:
    """Begin a chat; returns its id. ``now`` is the present unless given."""
    time = _stamp(now)
    with library.transaction() as connection:
        row = (title, time, time)
        cursor = connection.execute("INSERT INTO chats (title, created_at, updated_at) VALUES (?, ?, ?)", row)
    return int(cursor.lastrowid or 0)


def add_message(library: Library, chat_id: int, role: str, content: str, detail: str = "{}", now: datetime | None = None) -> int:
    """Add a message to a chat; returns the message's id. Raises UsageError when there is no such chat."""
    if role not in _ROLES:
        raise ValueError(f"role must be one of {_ROLES}, not {role!r}")
    time = _stamp(now)
    with library.transaction() as connection:
        if not connection.execute("UPDATE chats SET updated_at = ? WHERE id = ?", (time, chat_id)).rowcount:
            raise _unknown(chat_id)
        cursor = connection.execute(
            "INSERT INTO messages (chat_id, role, content, detail, created_at) VALUES (?, ?, ?, ?, ?)",
            (chat_id, role, content, detail, time),
        )
    return int(cursor.lastrowid or 0)


def chats(library: Library) -> list[Chat]:
    """Every chat, the one last written to first."""
    rows = library.read("SELECT id, title, created_at, updated_at FROM chats ORDER BY updated_at DESC, id DESC")
    return [Chat(*row) for row in rows]


def messages(library: Library, chat_id: int) -> list[Message]:
    """The messages of a chat, oldest first; none for a chat that does not exist."""
    rows = library.read("SELECT id, role, content, detail, created_at FROM messages WHERE chat_id = ? ORDER BY id", (chat_id,))
    return [Message(*row) for row in rows]


def rename_chat(library: Library, chat_id: int, title: str) -> None:
    """Give a chat another title. Raises UsageError when there is no such chat."""
    with library.transaction() as connection:
        if not connection.execute("UPDATE chats SET title = ? WHERE id = ?", (title, chat_id)).rowcount:
            raise _unknown(chat_id)


def delete_chat(library: Library, chat_id: int) -> None:
    """Delete a chat with its messages; one that is gone already is no error."""
    with library.transaction() as connection:
        connection.execute("DELETE FROM chats WHERE id = ?", (chat_id,))


def drop_last_question(library: Library, chat_id: int) -> None:
    """Take the last question of a chat and everything after it away, to be asked anew; nothing happens to a chat without one."""
    with library.transaction() as connection:
        connection.execute(
            "DELETE FROM messages WHERE chat_id = ? AND id >= (SELECT max(id) FROM messages WHERE chat_id = ? AND role = 'user')",
            (chat_id, chat_id),
        )


def search_chats(library: Library, words: str, limit: int = 50) -> list[tuple[Chat, str]]:
    """Chats in which every one of the words stands (in the title or any message), with the first message that has one of them.

    Case is ignored for ASCII letters; the chat last written to comes first. No words: no chats.
    """
    wanted = words.split()
    if not wanted:
        return []
    patterns = [f"%{_escaped(word)}%" for word in wanted]
    conditions = " AND ".join(
        ["(c.title LIKE ? ESCAPE '!' OR EXISTS (SELECT 1 FROM messages m WHERE m.chat_id = c.id AND m.content LIKE ? ESCAPE '!'))"]
        * len(patterns)
    )
    any_word = " OR ".join(["content LIKE ? ESCAPE '!'"] * len(patterns))
    rows = library.read(
        f"""SELECT id, title, created_at, updated_at, coalesce((SELECT content FROM messages
            WHERE chat_id = c.id AND ({any_word}) ORDER BY id LIMIT 1), '')
            FROM chats c WHERE {conditions} ORDER BY updated_at DESC, id DESC LIMIT ?""",
        [*patterns, *(p for pattern in patterns for p in (pattern, pattern)), limit],
    )
    return [(Chat(*row[:4]), str(row[4])) for row in rows]


def export_markdown(library: Library, chat_id: int) -> str:
    """A chat as Markdown: its title, then each question as a heading with the answer below. Raises UsageError for no such chat."""
    rows = library.read("SELECT title, created_at FROM chats WHERE id = ?", (chat_id,))
    if not rows:
        raise _unknown(chat_id)
    title, created = rows[0]
    parts = [f"# {_one_line(title)}", f"*{created}*"]
    for message in messages(library, chat_id):
        parts.append(f"## {_one_line(message.content)}" if message.role == "user" else message.content.strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def _stamp(now: datetime | None) -> str:
    # Microseconds keep the order of chats that are written to within one second.
    return (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")


def _escaped(word: str) -> str:
    return word.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _unknown(chat_id: int) -> UsageError:
    return UsageError(f"there is no chat {chat_id}: it may have been deleted")
