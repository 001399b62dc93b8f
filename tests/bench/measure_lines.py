"""How much furniture is removed from labelled pages and how much text is lost: the rules alone, and with the line model.

    python tests/bench/measure_lines.py [FOLDER OR FILE …] [--wrong]

Without arguments the pages are those of tests/pages, on which both were fitted. Figures are shares of characters without white space.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ingest.cleaning.clean import cut_by_rules  # noqa: E402
from ingest.cleaning.line_model import cut_learned  # noqa: E402
from ingest.cleaning.page import Page  # noqa: E402
from tests.bench.fit_lines import read  # noqa: E402


def main() -> None:
    """Print a line for each file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "tests" / "pages"])
    parser.add_argument("--wrong", action="store_true", help="print the lines that are lost (-) and kept (+) with the model")
    arguments = parser.parse_args()
    files = [file for path in arguments.paths for file in (sorted(path.glob("*.txt")) if path.is_dir() else [path])]
    totals = [0] * 6
    for file in files:
        counts = [0] * 6
        for labelled in read(file, 1.0):
            page = Page(labelled.page.raw)
            cut_by_rules(page, labelled.markup)
            ruled = [bool(page.reason[i]) for i in page.filled]
            cut_learned(page)
            for n, i in enumerate(page.filled):
                size, label = len("".join(page.lines[i].split())), labelled.labels[n]
                if label >= 0:
                    at = 0 if label else 3
                    counts[at] += size
                    counts[at + 1] += size * ruled[n]
                    counts[at + 2] += size * bool(page.reason[i])
                    if arguments.wrong and bool(page.reason[i]) != bool(label):
                        print(f"{'-' if page.reason[i] else '+'}{'r' if ruled[n] else ' '} {labelled.site}: {page.lines[i][:110]}")
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        if len(files) <= 20:
            show(file.name, counts)
    show("all", totals)


def show(name: str, counts: list[int]) -> None:
    """One line of figures."""
    furniture, text = max(counts[0], 1), max(counts[3], 1)
    print(
        f"{name}: {counts[0]} of furniture, {counts[3]} of text; rules: recall {counts[1] / furniture:.3f} loss {counts[4] / text:.4f};"
        f" with the model: recall {counts[2] / furniture:.3f} loss {counts[5] / text:.4f}"
    )


if __name__ == "__main__":
    main()
