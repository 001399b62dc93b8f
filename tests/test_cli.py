"""The command: exit status and one clear line for whatever is wrong; results with the fake-free commands that need no model."""

import json
from pathlib import Path

import pytest

from ingest.storage.library import Library
from tests.small_library import parsed, publish
from web.cli import default_library, main, parser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Library.open(tmp_path / "library", create=True) as library:
        publish(
            library,
            parsed(
                "a.md",
                ["自注意力与多头注意力。KV 缓存。", "多头注意力用 KV 缓存。"],
                [("什么是自注意力？", "序列内部互相计算权重。")],
            ),
            parsed("b.md", ["LoRA 冻结原权重。"]),
        )
    return tmp_path / "library"


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["list"], 1, "there is no library"),
        (["ingest"], 2, "name the files or folders"),
        (["ingest", "no/such/folder"], 2, "does not exist"),
        (["ask", "  "], 2, "the question is empty"),
        (["search", ""], 2, "the question is empty"),
        (["eval", "none.jsonl"], 2, "cannot be read"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], status: int, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments, "--library", tmp_path / "none") == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert line in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not (tmp_path / "none" / "library.db").exists()


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["search"], ["search", "q", "-k", "0"], ["models", "drop"]])
def test_unknown_words_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: mianpu" in capsys.readouterr().err


def test_a_file_that_is_no_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "library.db").write_text("not a database, but long enough to look at" * 30)
    assert run("list", "--library", tmp_path) == 1
    assert "is not a library" in capsys.readouterr().err


def test_list_and_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--library", folder, "--json") == 0
    assert [(d["name"], d["passages"], d["pairs"]) for d in json.loads(capsys.readouterr().out)] == [("a.md", 3, 1), ("b.md", 1, 0)]
    assert run("show", "b.md", "--library", folder) == 0
    assert "LoRA 冻结原权重。" in capsys.readouterr().out
    assert run("show", "none.md", "--library", folder) == 1
    assert "no document is named none.md" in capsys.readouterr().err


def test_questions_by_topic(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("questions", "--library", folder) == 0
    assert "什么是自注意力？" in capsys.readouterr().out
    assert run("questions", "--topic", "没有的", "--library", folder) == 2
    assert "no question is about 没有的" in capsys.readouterr().err


def test_concept_and_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("concept", "KV cache", "--library", folder, "--json") == 0
    page = json.loads(capsys.readouterr().out)
    assert page["mentions"] == 2 and len(page["passages"]) == 2
    assert run("path", "self-attention", "KV cache", "--library", folder) == 0
    assert "→" in capsys.readouterr().out
    assert run("concept", "自注意", "--library", folder) == 2
    assert "自注意力" in capsys.readouterr().err  # the closest name is suggested
    assert run("path", "LoRA", "KV cache", "--library", folder) == 2


def test_remove_keeps_the_rest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("remove", "none.md", "--library", folder) == 2
    assert run("remove", "a.md", "--library", folder) == 0
    capsys.readouterr()
    assert run("list", "--library", folder, "--json") == 0
    assert [d["name"] for d in json.loads(capsys.readouterr().out)] == ["b.md"]
    assert run("doctor", "--library", folder) == 0


def test_every_command_has_help_and_a_library() -> None:
    commands = next(a for a in parser()._actions if a.dest == "command")
    assert isinstance(commands.choices, dict)
    for name, sub in commands.choices.items():
        assert sub.description, name
        assert any(action.dest == "library" for action in sub._actions), name


def test_the_default_library_can_be_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIANPU_LIBRARY", "/somewhere")
    assert default_library() == Path("/somewhere")
    monkeypatch.delenv("MIANPU_LIBRARY")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_library() == Path("/data/mianpu/library")


def test_a_mention_out_of_its_passage_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("concept", "KV cache", "--library", folder) == 0  # looks the mentions up and stores them
    run("doctor", "--library", folder)
    assert "mentions" not in capsys.readouterr().out.splitlines()[-1]
    with Library.open(folder) as library, library.transaction() as connection:
        connection.execute('UPDATE mentions SET "end" = "end" + 10000')
    capsys.readouterr()
    assert run("doctor", "--library", folder) == 1
    assert "mentions outside their passage" in capsys.readouterr().out
