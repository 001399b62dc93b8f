"""The README tells the truth: its commands run, its files exist, its targets are in the Makefile."""

import re
import shlex
from pathlib import Path

import pytest

from web.cli import main, parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
LINES = [line.split("  #")[0].strip() for line in BLOCKS.splitlines() if line.strip()]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("mianpu ")]
# Measuring takes minutes; the same code runs on a few questions in test_measures.py. Serving is what tests/browser does.
LONG = {"eval", "bench", "serve", "interview"}


def test_every_line_is_a_command_we_know() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in LINES:
        first, second = line.split()[:2]
        assert first == "mianpu" or (first == "make" and second in targets), line
    for command in COMMANDS:
        parser().parse_args(command)


def test_every_command_is_documented() -> None:
    commands = next(a for a in parser()._actions if a.dest == "command")
    assert isinstance(commands.choices, dict)
    for name in commands.choices:
        assert f"mianpu {name}" in README, name


def test_every_path_it_names_exists() -> None:
    for path in re.findall(r"`((?:ingest|kg|assistant|web|tests|\.ci)/[\w./-]*)`", README) + re.findall(
        r"\]\(([\w./-]+)\)", README
    ):
        assert (ROOT / path).exists(), path


@pytest.mark.model
def test_the_commands_run_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIANPU_LIBRARY", str(tmp_path / "library"))
    for folder in ("ingest", "tests"):  # what the commands write stays out of the checkout
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        if command[0] not in LONG:
            assert main(command) == 0, command
            assert capsys.readouterr().out.strip(), command
