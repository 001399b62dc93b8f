"""The bones: imports obey web -> assistant -> kg -> ingest, modules stay small, no network address stands in what a page is made of."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("ingest", "kg", "assistant", "web")
MODULES = sorted(path for folder in ORDER for path in (ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_from_its_right(path: Path) -> None:
    level = ORDER.index(path.relative_to(ROOT).parts[0])
    above = {*ORDER[level + 1 :], "tests"}
    assert not imported(path) & above


def test_the_values_import_nothing_of_ours() -> None:
    assert not imported(ROOT / "ingest" / "document.py") & {*ORDER, "tests"}


def test_only_embedding_knows_sentence_transformers() -> None:
    assert [p for p in MODULES if "sentence_transformers" in imported(p)] == [ROOT / "ingest" / "models" / "embedding.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 500


def test_what_the_page_is_made_of_holds_no_network_address() -> None:
    for path in sorted((ROOT / "web" / "static").rglob("*")):
        if path.is_file():
            # The name of the SVG namespace looks like an address; nothing is fetched from it.
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
            assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text), path
