"""Fit the weights of the line model (ingest/cleaning/line_weights.json) over labelled pages, cross-validated by site.

    python tests/bench/fit_lines.py [--out FILE] [--extra FOLDER …] [--start FILE] [--loss 0.004]

``--start`` are weights to begin with: what the pages at hand do not contradict stays as it was fitted on others.
Without ``--extra`` the pages are those of tests/pages. A further folder holds files of the same form; a line that begins with «? »
is neither furniture nor text for sure and is left out. «…» at the end of a line of such a file stands for more text.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.model_selection import GroupKFold

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ingest.cleaning import clean as cleaning  # noqa: E402
from ingest.cleaning.line_features import context_features, line_features  # noqa: E402
from ingest.cleaning.line_model import may_be_cut, title_line  # noqa: E402
from ingest.cleaning.page import Page  # noqa: E402

SITES = (
    "csdn",
    "zhihu",
    "wechat",
    "juejin",
    "cnblogs",
    "github",
    "medium",
    "jianshu",
    "nowcoder",
    "53ai",
    "infoq",
    "segment",
    "51cto",
)
Start = tuple[Mapping[str, float], Mapping[str, float]]
STRENGTH = 0.15  # the larger, the further a weight may go from where it began
DROPS = (0.3, 1.0)  # shares of the rules' cuts that are hidden, as on pages the rules do not know


@dataclass(frozen=True, slots=True)
class Labelled:
    """A page with its site, the labels of its filled lines (1 furniture, 0 text, -1 unknown), and which of them the rules cut."""

    site: str
    page: Page
    labels: tuple[int, ...]
    cut: tuple[bool, ...]
    weight: float
    markup: str = "text"


def read(path: Path, weight: float) -> list[Labelled]:
    """The pages of one file."""
    found: list[tuple[str, str, list[tuple[int, str]]]] = []
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("=== "):
            name, markup = line[4:].split()
            found.append((name, markup, []))
        elif found:
            label = {"~": 1, "?": -1}.get(line[:1], 0) if line[1:2] in (" ", "") else 0
            text = re.sub(r"[⟪⟫⟦⟧]", "", line[2:] if label or line[:2] == "  " else line)
            found[-1][2].append((label, text))
    return [_labelled(name, markup, lines, weight) for name, markup, lines in found]


def _labelled(name: str, markup: str, lines: list[tuple[int, str]], weight: float) -> Labelled:
    page, labels = Page("\n".join(text for _, text in lines)), [label for label, _ in lines]
    ruled = Page(page.raw)
    cleaning.cut_by_rules(ruled, markup)
    site = next(
        (site for site in SITES if site in name),
        re.sub(r"^(?:w|e|n|en-neg|neg)-|-(?:second|third|two)$|\.(?:com|cn|de|org).*", "", name),
    )
    return Labelled(
        site, page, tuple(labels[i] for i in page.filled), tuple(bool(ruled.reason[i]) for i in page.filled), weight, markup
    )


def rows(features: Sequence[Sequence[str]], index: dict[str, int]) -> csr_matrix:
    """The features of the lines as a matrix of zeros and ones."""
    columns = [[index[name] for name in line if name in index] for line in features]
    ends = np.cumsum([0, *map(len, columns)])
    flat = np.array([column for line in columns for column in line], dtype=np.int32)
    matrix = csr_matrix((np.ones(len(flat), dtype=np.float32), flat, ends), shape=(len(features), len(index)))
    matrix.data[:] = 1.0
    return matrix


def fitted(
    lines: Sequence[tuple[Sequence[str], int, float, str]], least: int, strength: float, start: Mapping[str, float]
) -> dict[str, float]:
    """Weights by name over (features, label, weight, site); a feature counts when it occurs on ``least`` sites.

    Logistic regression whose penalty, the squared distance from ``start`` over twice ``strength``, is the same for every weight.
    """
    sites: dict[str, set[str]] = {}
    for features, _, _, site in lines:
        for name in features:
            sites.setdefault(name, set()).add(site)
    names = sorted(name for name in sites if name in start or len(sites[name]) >= (least if name[0] == "=" else 2))
    matrix = rows([line[0] for line in lines], {name: n for n, name in enumerate(names)})
    labels, importance = np.array([line[1] for line in lines]), np.array([line[2] for line in lines])
    before = np.array([start.get("", 0.0), *(start.get(name, 0.0) for name in names)])

    def cost(weights: Any) -> tuple[float, Any]:
        score = matrix @ weights[1:] + weights[0]
        wrong = importance * (expit(score) - labels)
        away = (weights - before) / strength
        value = float(importance @ (np.logaddexp(0, score) - labels * score) + (weights - before) @ away / 2)
        return value, np.concatenate([[wrong.sum()], matrix.T @ wrong]) + away

    found = minimize(cost, before, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x
    weights = {**start, "": float(found[0]), **{name: float(w) for name, w in zip(names, found[1:], strict=True)}}
    return {name: round(w, 3) for name, w in weights.items() if abs(w) >= 0.02 or not name}


def weight_of(page: Labelled, n: int) -> float:
    """Longer lines count more, since characters are what is lost or removed."""
    return float(page.weight * (min(max(len(page.page.core[page.page.filled[n]]), 5), 80) / 20) ** 0.7)


@cache
def features_of(page: Page) -> list[list[str]]:
    """The features of a page, made once."""
    return line_features(page)


def fit_alone(pages: Sequence[Labelled], start: Mapping[str, float]) -> dict[str, float]:
    """The weights of a line alone."""
    lines = []
    for page in pages:
        for n, features in enumerate(features_of(page.page)):
            if page.labels[n] >= 0:
                lines.append((features, page.labels[n], weight_of(page, n), page.site))
    return fitted(lines, 3, STRENGTH, start)


def chances(weights: dict[str, float], features: Sequence[Sequence[str]]) -> list[float]:
    """The chance for each line."""
    return [
        1 / (1 + math.exp(-max(min(weights[""] + sum(weights.get(name, 0.0) for name in line), 30.0), -30.0))) for line in features
    ]


def alone_chances(weights: dict[str, float], page: Page) -> list[float]:
    """As :meth:`ingest.cleaning.line_model.LineModel.chances` makes them."""
    found = chances(weights, features_of(page))
    return [0.01 if page.code[i] or page.is_row(i) else c for i, c in zip(page.filled, found, strict=True)]


def fit(pages: Sequence[Labelled], start: Start = ({}, {})) -> tuple[dict[str, float], dict[str, float]]:
    """Both weights: the second over chances that the first gives for sites it was not fitted on."""
    random = np.random.default_rng(7)
    groups = [page.site for page in pages]
    lines = []
    for train, test in GroupKFold(3).split(groups, groups=groups):
        weights = fit_alone([pages[k] for k in train], start[0])
        for page in (pages[k] for k in test):
            alone = alone_chances(weights, page.page)
            for drop in DROPS:
                cut = [gone and random.random() >= drop for gone in page.cut]
                for n, features in enumerate(context_features(page.page, alone, cut)):
                    if page.labels[n] >= 0 and not cut[n]:
                        lines.append((features, page.labels[n], weight_of(page, n), page.site))
    return fit_alone(pages, start[0]), fitted(lines, 1, STRENGTH, start[1])


@dataclass(frozen=True, slots=True)
class Judged:
    """A line that was judged by a model not fitted on its site."""

    size: int
    label: int
    ruled: bool
    chance: float
    allowed: bool
    own: bool
    text: str


def judge(weights: tuple[dict[str, float], dict[str, float]], pages: Sequence[Labelled], rules: bool = True) -> list[Judged]:
    """Every labelled line of the pages; with ``rules`` False as if the rules had cut nothing."""
    found = []
    for page in pages:
        cut = list(page.cut) if rules else [False] * len(page.cut)
        found_chances = chances(weights[1], context_features(page.page, alone_chances(weights[0], page.page), cut))
        title = title_line(page.page, [2.0 if gone else c for gone, c in zip(cut, found_chances, strict=True)])
        for n, chance in enumerate(found_chances):
            text = page.page.core[page.page.filled[n]]
            size = len(re.sub(r"\s", "", page.page.lines[page.page.filled[n]]))
            if page.labels[n] >= 0:
                found.append(
                    Judged(
                        size,
                        page.labels[n],
                        cut[n],
                        chance,
                        n != title and may_be_cut(page.page, n),
                        page.weight == 1.0,
                        f"{page.site}: {text}",
                    )
                )
    return found


def figures(judged: Sequence[Judged], threshold: float) -> tuple[float, float]:
    """(recall, loss) in characters."""
    cut = [j for j in judged if j.ruled or (j.allowed and j.chance >= threshold)]
    furniture, text = sum(j.size for j in judged if j.label), sum(j.size for j in judged if not j.label)
    return sum(j.size for j in cut if j.label) / max(furniture, 1), sum(j.size for j in cut if not j.label) / max(text, 1)


def main() -> None:
    """Read, cross-validate, choose the threshold, fit on everything, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=ROOT / "ingest" / "cleaning" / "line_weights.json")
    parser.add_argument("--extra", type=Path, nargs="*", default=[])
    parser.add_argument("--start", type=Path, help="weights to begin with")
    parser.add_argument("--loss", type=float, default=0.004, help="the share of text that may be lost in cross-validation")
    parser.add_argument("--show", action="store_true", help="print the lines that are lost at the chosen threshold")
    arguments = parser.parse_args()
    pages = [page for path in sorted((ROOT / "tests" / "pages").glob("*.txt")) for page in read(path, 1.0)]
    pages += [
        _labelled(path.stem, "markdown", [(0, line) for line in path.read_text("utf-8").splitlines()], 0.3)
        for path in sorted((ROOT / "ingest" / "samples").glob("*.md"))
    ]
    own = len(pages)
    begun: dict[str, Any] = (
        json.loads(arguments.start.read_text("utf-8")) if arguments.start else {"alone": {}, "context": {}, "about": ""}
    )
    start = (begun["alone"], begun["context"])
    for folder in arguments.extra:
        pages += [page for path in sorted(folder.glob("*.txt")) for page in read(path, 1.0 if "real" in folder.name else 0.15)]
    groups = [page.site for page in pages]
    with_rules: list[Judged] = []
    without: list[Judged] = []
    for train, test in GroupKFold(5).split(groups, groups=groups):
        weights = fit([pages[k] for k in train], start)
        with_rules += judge(weights, [pages[k] for k in test])
        without += judge(weights, [pages[k] for k in test], rules=False)
    best = 1.0
    alone_figures = [figures([j for j in with_rules if j.own == own_page], 2.0) for own_page in (True, False)]
    print("rules alone: recall {:.3f} loss {:.4f}, other pages {:.3f} {:.4f}".format(*alone_figures[0], *alone_figures[1]))
    for threshold in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995):
        line = [f"{threshold:.3f}"]
        for name, judged in (("rules and model", with_rules), ("model alone", without)):
            mine, other = figures([j for j in judged if j.own], threshold), figures([j for j in judged if not j.own], threshold)
            line.append(f"{name}: recall {mine[0]:.3f} loss {mine[1]:.4f}, other pages {other[0]:.3f} {other[1]:.4f}")
        print("; ".join(line))
        if best == 1.0 and figures([j for j in without if j.own], threshold)[1] <= arguments.loss:
            best = threshold
    print(f"{own} own pages, {len(pages) - own} others, {len(set(groups))} sites, threshold {best}")
    if arguments.show:
        print(
            "\n".join(f"{j.chance:.3f} {j.text[:100]}" for j in without if not j.label and j.allowed and j.chance >= best and j.own)
        )
    alone, context = fit(pages, start)
    note = f"Fitted by tests/bench/fit_lines.py on {own} pages of this repository (tests/pages, ingest/samples)"
    note += f" and {len(pages) - own} further labelled pages that are not part of it." if len(pages) > own else "."
    note += f" Begun with weights that were: {begun['about']}" if arguments.start else ""
    table: dict[str, Any] = {"about": note, "threshold": best, "alone": alone, "context": context}
    arguments.out.write_text(json.dumps(table, ensure_ascii=False, indent=0, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
