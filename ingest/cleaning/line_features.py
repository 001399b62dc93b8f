"""What a line of a page shows by itself, by its place and by its words: the evidence of the line model (see ``line_model``).

A feature is a name; a line has it or not. Numbers are put into bins, so that a weight can be read in the file of the weights.
"""

import math
import re
import tomllib
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

from ingest.cleaning.page import BULLET, Page

LONG = 60  # characters of a paragraph
_LONGEST = 300  # characters of a line whose words are looked at
_N_GRAM = 40  # characters of a line whose n-grams are looked at
_SENTENCE_END = "。！？!?；;.…"
_LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z'’]*")
_CJK = re.compile(r"[\u3400-\u9fff]")
_CJK_RUN = re.compile(r"[\u3400-\u9fff]+")
_DIGIT = re.compile(r"\d")
_SIGNS: tuple[tuple[str, re.Pattern[str], bool], ...] = (
    ("number alone", re.compile(r"[\d.,]+\s?[kKmMwW万+%]*\+?"), True),
    (
        "date",
        re.compile(
            r"(?:(?:19|20)\d\d\s?[-/.年]\s?\d{1,2}(?:\s?[-/.月]|\b)"
            r"|\b(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.? \d{1,2}\b)"
        ),
        False,
    ),
    ("clock", re.compile(r"\b\d{1,2}:\d\d\b"), False),
    ("address", re.compile(r"(?:https?://|www\.|\.(?:com|cn|net|org|io)\b)", re.I), False),
    ("mail", re.compile(r"[\w.+-]+@[\w-]+\.\w+"), False),
    ("tag", re.compile(r"[#＃]\s?\S{1,24}[#＃]?(?:\s*[#＃]\s?\S{1,24}[#＃]?)*"), True),
    ("at", re.compile(r"(?:^|\s)@\w+"), False),
    ("path", re.compile(r"[^。]{0,80}[>›»/|·•][^。]{0,80}"), True),
    ("copyright", re.compile(r"(?:©|\(c\)|Copyright)", re.I), False),
    ("formula", re.compile(r"(?:\$|\\[a-zA-Z(\[]|[=≈→∑∈√×^_{}])"), False),
    ("label", re.compile(r"[^。，,\s]{1,8}\s?[:：]\s*\S.{0,60}"), True),
    ("label alone", re.compile(r"[^。，,]{1,16}[:：]"), True),
    ("speaker", re.compile(r"(?:[问答QA]|面试官|候选人|Question|Answer)\s?[:：].*"), True),
    ("dots at the end", re.compile(r"(?:(?:\.\.\.|…{1,2}|\.\.))$"), False),
    ("you", re.compile(r"(?:你|您|大家|我们|我|\b(?:you|your|we|our|us|me|my)\b)", re.I), False),
    ("second person", re.compile(r"(?:您|你的|大家|\byour?\b)", re.I), False),
    ("exclaims", re.compile(r"[!！~～👇👉❤🎁]"), False),
    ("emoji", re.compile(r"[\U0001F300-\U0001FAFF\u2600-\u27bf]"), False),
    ("quotes", re.compile(r"[「“《【]"), False),
    ("reference", re.compile(r"\[\w{1,3}\]\s?:.*"), True),
    ("title case", re.compile(r"(?:[A-Z][\w'&.-]*[ ,]*){1,6}"), True),
)
_NAME = re.compile(r"\[([^\[\]]*)\]\(")
_TARGET = re.compile(r"\]\(\s*<?(?:https?:)?(?P<host>//[^/()\s?#>]+)?(?P<rest>[^()\s>]*)")
_TARGETS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("nowhere", re.compile(r"(?:javascript:.*|#|#top)?", re.I)),
    ("the page", re.compile(r"#.+")),
    (
        "a listing",
        re.compile(
            r".*(?:/(?:tags?|topics?|categor\w+|archives?|search|so|labels?|columns?|users?|u|people|authors?|profile|members?|home|posts"
            r"|follow\w+|stargazers|sponsors|s)(?:[/?#].*|$)|/[@~].*|[?&](?:q|tag|keyword|utm_\w+|source|from)=.*)",
            re.I,
        ),
    ),
    ("a site", re.compile(r"/?")),
)
_LENGTHS = (1, 2, 4, 6, 8, 12, 16, 20, 30, 40, 60, 90, 140, 220, 400)
_PLACES = (0, 1, 2, 4, 7, 12, 20, 40, 80)


@lru_cache(maxsize=1)
def _cues() -> tuple[dict[str, str], dict[str, int]]:
    """The kind of each word of ``cues.toml``, and the longest word that begins with a character."""
    table = tomllib.loads(resources.files("ingest.cleaning").joinpath("cues.toml").read_text("utf-8"))["words"]
    kinds: dict[str, str] = {}
    for kind, words in table.items():
        for word in words:
            kinds.setdefault(word.lower(), kind)
    longest: dict[str, int] = {}
    for word in kinds:
        longest[word[0]] = max(longest.get(word[0], 0), len(word))
    return kinds, longest


def cues_of(text: str) -> list[tuple[str, str]]:
    """The (word, kind) of the cues in a text, the longest at each place; a Latin word counts only as a whole word."""
    kinds, longest = _cues()
    text = text.lower()
    found = []
    at = 0
    while at < len(text):
        most = longest.get(text[at], 0)
        inside = at > 0 and text[at].isascii() and text[at].isalnum() and text[at - 1].isalnum()
        for size in range(0 if inside else most, 0, -1):
            word = text[at : at + size]
            if word in kinds and not (word.isascii() and text[at + size : at + size + 1].isalnum()):
                found.append((word, kinds[word]))
                at += size
                break
        else:
            at += 1
    return found


def binned(value: float, edges: Sequence[float]) -> int:
    """The number of edges that a value exceeds."""
    return bisect_left(edges, value)


def share_bin(share: float) -> int:
    """0 for none, 4 for nearly all."""
    return 0 if share <= 0 else 1 + binned(share, (0.25, 0.5, 0.8))


def line_features(page: Page) -> list[list[str]]:
    """The features of each line of ``page.filled``."""
    filled = page.filled
    texts = [page.core[i] for i in filled]
    times = Counter(text for text in texts if len(text) > 1)
    paragraphs = [n for n, i in enumerate(filled) if is_paragraph(page, i)]
    first, last = (paragraphs[0], paragraphs[-1]) if paragraphs else (0, len(filled) - 1)
    hosts = [_host(page.lines[i]) if linked(page, i) else "" for i in filled]
    linked_to = Counter(hosts)
    runs = _runs([len(text) <= 30 and text[-1:] not in _SENTENCE_END for text in texts])
    found = []
    for n, i in enumerate(filled):
        features = _by_itself(page, i)
        top, bottom = n, len(filled) - 1 - n
        features.append(f"from top {binned(top, _PLACES)}")
        features.append(f"from bottom {binned(bottom, _PLACES)}")
        features.append(f"page {min(3, 4 * n // len(filled))}")
        zone = "above" if n < first else "below" if n > last else "within"
        away = first - n if n < first else n - last if n > last else 0
        features.append(f"{zone} the paragraphs {binned(away, _PLACES)}")
        features.append(f"short run {binned(runs[n], (1, 2, 4, 8, 16))}")
        features.append(f"{zone} short run {binned(runs[n], (2, 6))}")
        if hosts[n]:
            features.append(f"host linked {binned(linked_to[hosts[n]], (1, 3, 8))} {zone}")
        if times[texts[n]] > 1:
            features.append(f"repeated {zone}")
        blank_above = n > 0 and filled[n - 1] < i - 1
        blank_below = n + 1 < len(filled) and filled[n + 1] > i + 1
        features.append(f"blank {int(blank_above)}{int(blank_below)}")
        found.append(features)
    return found


def is_paragraph(page: Page, i: int) -> bool:
    """Whether a line is written as text: a sentence of some length, code or a row of a table."""
    text = page.core[i]
    if page.code[i] or page.is_row(i):
        return True
    ends = text[-1:] in "。；;.：:" and not text.endswith("..")
    return len(text) >= LONG // 2 and ends and _is_long(text) and text.count("http") == 0 and not linked(page, i)


def linked(page: Page, i: int) -> bool:
    """Whether nearly all that the eye reads of a line is links."""
    line = page.lines[i]
    if i in page.in_link:
        return True
    if "](" not in line or page.code[i]:
        return False
    return sum(len(name) for name in _NAME.findall(line)) >= 0.7 * len(page.core[i])


def _host(line: str) -> str:
    """The site that the first link of a line leads to; «/» for the page's own."""
    found = _TARGET.search(line)
    return (found["host"] or "/") if found else ""


def _target(line: str) -> str:
    """What the first link of a line leads to, by its address."""
    found = _TARGET.search(line)
    if not found:
        return "an article"
    rest = found["rest"]
    return next(
        (name for name, pattern in _TARGETS if (rest or found["host"] or name != "a site") and pattern.fullmatch(rest)),
        "an article",
    )


def _is_long(text: str) -> bool:
    return len(text) >= LONG or len(_CJK.findall(text)) >= 20


def _runs(short: Sequence[bool]) -> list[int]:
    lengths = [0] * len(short)
    start = 0
    for n in range(len(short) + 1):
        if n == len(short) or not short[n]:
            for m in range(start, n):
                lengths[m] = n - start
            start = n + 1
    return lengths


def _by_itself(page: Page, i: int) -> list[str]:
    text = page.core[i]
    line = page.lines[i]
    size = len(text)
    latin = " latin" if text.isascii() else ""
    features = [f"length {binned(size, _LENGTHS)}{latin}"]
    end = text[-1:]
    kind = (
        "sentence"
        if end in "。！!."
        else "asks"
        if end in "?？"
        else "colon"
        if end in ":："
        else "semicolon"
        if end in ";；"
        else "bare"
    )
    features.append(f"ends {kind}")
    if kind in ("sentence", "bare"):
        features.append(f"ends {kind} {binned(size, (8, 20, 40, 100))}")
    stops = sum(text.count(sign) for sign in "。；") + text.count(". ")
    commas = sum(text.count(sign) for sign in "，,、")
    features.append(f"stops {min(stops, 3)}")
    features.append(f"commas {min(commas, 3)}")
    if size:
        features.append(f"digits {share_bin(len(_DIGIT.findall(text[:_LONGEST])) / min(size, _LONGEST))}")
    links = line.count("](")
    if links:
        whole = linked(page, i)
        features.append(f"links {min(links, 3)} {'whole' if whole else 'part'}")
        if whole:
            features.append(f"links to {_target(line)}")
            features.append(f"linked {binned(size, (4, 12, 30, 60, 120))}{' item' if BULLET.match(line.strip()) else ''}")
    if page.is_heading(i):
        features.append("heading")
    if page.is_numbered(i):
        features.append("numbered")
    if line.lstrip()[:1] == ">":
        features.append("quoted")
    if BULLET.match(line.strip()):
        features.append(f"bullet {binned(size, (6, 14, 40))}")
    if size <= _LONGEST:
        for name, pattern, whole in _SIGNS:
            if pattern.fullmatch(text) if whole else pattern.search(text):
                features.append(name)
    features += _words(text[:_LONGEST], size)
    return features


def _words(text: str, size: int) -> list[str]:
    counts: Counter[str] = Counter()
    covered = 0
    for word, kind in cues_of(text):
        counts[kind] += 1
        if kind not in ("content", "ask"):
            covered += len(word)
    short = size <= 20
    features = [f"words {kind}{' short' if short else ''}" for kind in counts]
    features += [f"words {kind} twice" for kind, times in counts.items() if times >= 2]
    kinds = len(counts.keys() - {"content", "ask"})
    features.append(f"kinds {min(kinds, 4)}")
    features.append(f"covered {share_bin(covered / max(size, 1))}")
    if not kinds and counts["content"]:
        features.append(f"content alone {min(counts['content'], 3)}")
    if size <= _N_GRAM:
        features += n_grams(text)
    return features


def n_grams(text: str) -> list[str]:
    """Pairs and triples of Chinese characters, and Latin words, of a short line: «=关注», «=sign in»."""
    found: set[str] = set()
    for run in _CJK_RUN.findall(text):
        found.update(run[k : k + 2] for k in range(len(run) - 1))
        found.update(run[k : k + 3] for k in range(len(run) - 2))
        if len(run) == 1 and len(text) <= 3:
            found.add(run)
    words = [word.lower() for word in _LATIN_WORD.findall(text)]
    found.update(words)
    found.update(" ".join(words[k : k + 2]) for k in range(len(words) - 1))
    return [f"={gram}" for gram in sorted(found)]


def context_features(page: Page, chance: Sequence[float], cut: Sequence[bool]) -> list[list[str]]:
    """What the lines around a line show, from each line's own chance of being furniture and from what the rules cut.

    Text above and below is counted in characters, so that a long paragraph is more than a name.
    """
    size = [min(len(page.core[i]), 200) for i in page.filled]
    seen = [max(c, 0.95) if gone else c for c, gone in zip(chance, cut, strict=True)]
    text = [(1 - c) ** 2 * s for c, s in zip(seen, size, strict=True)]
    total = sum(text) or 1.0
    above = 0.0
    found = []
    for n in range(len(seen)):
        features = [f"self {_tenth(chance[n])}"]
        for step in (-2, -1, 1, 2):
            m = n + step
            features.append(f"at {step} " + ("edge" if not 0 <= m < len(seen) else str(_tenth(seen[m]))))
        for width in (3, 8):
            around = [*seen[max(n - width, 0) : n], *seen[n + 1 : n + 1 + width]]
            features.append(f"mean {width} {_tenth(sum(around) / len(around)) if around else 'none'}")
        before, after = seen[max(n - 5, 0) : n], seen[n + 1 : n + 6]
        low = (min(before, default=1.0), min(after, default=1.0))
        features.append(f"least above {_tenth(low[0])}")
        features.append(f"least below {_tenth(low[1])}")
        features.append(
            f"self {_tenth(chance[n]) // 2} mean {_tenth((sum(before) + sum(after)) / max(len(before) + len(after), 1)) // 2}"
        )
        below = total - above - text[n]
        features.append(f"text above {_portion(above, total)}")
        features.append(f"text below {_portion(below, total)}")
        edge = min(above, below) / total
        features.append(f"self {_tenth(chance[n]) // 2} edge {binned(edge, (0.02, 0.1, 0.3))}")
        features.append(f"rules {int(any(cut[max(n - 2, 0) : n]))}{int(any(cut[n + 1 : n + 3]))}")
        features.append(f"length {binned(size[n], (4, 12, 30, 60, 120))}")
        features.append(f"length {binned(size[n], (12, 60))} edge {binned(edge, (0.02, 0.1, 0.3))}")
        above += text[n]
        found.append(features)
    return found


def _tenth(chance: float) -> int:
    logit = math.log(max(chance, 1e-6) / max(1 - chance, 1e-6))
    return binned(logit, (-4.0, -2.5, -1.5, -0.7, 0.0, 0.7, 1.5, 2.5, 4.0))


def _portion(part: float, total: float) -> int:
    return 0 if part < 20 else 1 + binned(part / total, (0.05, 0.2, 0.5, 0.8, 0.95))
