"""The text of one PDF page as positioned fragments, and its ruling lines: the only module that calls PDFium.

A fragment is a stretch of characters on one baseline in one style. Coordinates are points in the direction of reading: x grows to
the right, y grows downwards from the top of the page; a page whose text runs sideways is turned first.
"""

import ctypes
import math
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as api

_BOLD = re.compile(r"bold|heavy|black|demi|simhei|heiti|黑体", re.I)
_MONOSPACED = re.compile(r"mono|courier|consolas|menlo|inconsolata|typewriter|fixed|cmtt|sourcecode|firacode|jetbrains", re.I)
_PAGE_CHARACTERS = 400_000  # of one page; a page of dense print has 10,000
_LARGEST = 2000.0  # points of a font; a damaged file may claim any size
_MOST_BULLETS = 400  # small shapes of one page; more of them are a drawing
_PAGE_OBJECTS = 20_000  # drawn objects of one page that are looked at for ruling lines

# Radicals that fonts use for whole characters and that NFKC leaves alone (EquivalentUnifiedIdeograph.txt of Unicode 15).
_RADICALS_FROM = (
    "⺁⺅⺈⺌⺗⺘⺙⺝⺟⺠⺨⺩⺪⺭⺮⺯⺾⻁⻄⻅⻆⻈⻉⻋⻌⻏⻐⻑⻓⻔⻕⻖⻗⻘⻙⻚⻛⻜⻝⻠⻢⻣⻤⻥⻦⻧⻨⻩⻪⻫⻬⻭⻮⻯⻰⻱⻲⻳"
)
_RADICALS_TO = (
    "厂亻刀小心扌攵月母民犭王疋示竹糹艹虎西见角讠贝车辶阝钅長长門阜阝雨青韦页风飞食饣马骨鬼鱼鸟卤麦黄黾斉齐歯齿竜龙龜亀龟"
)
_RADICALS = dict(zip(_RADICALS_FROM, _RADICALS_TO, strict=True))
# Symbol fonts put their bullets into the private area.
_BULLET_CODES = "\uf0b7• \uf0a7▪ \uf0d8➢ \uf0fc✓ \uf076❖ \uf06c● \uf06e■ \uf0a8▪ \ue00c•"
_BULLETS = {pair[0]: pair[1] for pair in _BULLET_CODES.split(" ")}
# Radicals, compatibility ideographs, ligatures, the italic and bold letters of formulas.
_COMPATIBLE = (("\u2e80", "\u2fdf"), ("\uf900", "\ufaff"), ("\ufb00", "\ufb06"), ("\U0001d400", "\U0001d7ff"))
_CJK = (("\u2e80", "\u9fff"), ("\uf900", "\ufaff"), ("\uff00", "\uffef"), ("\U00020000", "\U0003ffff"))


@dataclass(frozen=True, slots=True)
class Fragment:
    """Characters of one style on one baseline: their box, baseline and font size in points."""

    text: str
    x0: float
    x1: float
    baseline: float
    size: float
    bold: bool
    mono: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line or the edge of a box, horizontal (``y0 == y1``) or vertical (``x0 == x1``)."""

    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class PageText:
    """What stands on one page: its size, the fragments in the order of the file, its ruling lines, and text that lies across it."""

    width: float
    height: float
    fragments: tuple[Fragment, ...]
    rules: tuple[Rule, ...]
    slanted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Glyph:
    text: str
    x0: float
    x1: float
    y: float
    size: float
    bold: bool
    mono: bool
    space: bool = False  # white space stands before it
    broken: bool = False  # PDFium begins a line here


@dataclass(frozen=True, slots=True)
class _Style:
    size: float
    bold: bool
    mono: bool
    angle: int  # degrees, counted against the clock, 0 to 359
    visible: bool


def page_text(document: Any, index: int) -> PageText:
    """Read one page. The caller holds the lock: PDFium is not thread safe."""
    page = document[index]
    try:
        text_page = page.get_textpage()
        try:
            # What the page shows: the crop box, or the media box where it says nothing.
            box = page.get_bbox()
            glyphs = _glyphs(text_page, box)
        finally:
            text_page.close()
        turned, slanted, angle = _upright(glyphs)
        width, height = _turn(box, angle)[2:]
        fragments = _fragments(turned, box, angle)
        rules, dots = _drawn(page, box) if turned and not angle else ([], [])
        return PageText(width, height, (*fragments, *_bullets(dots, fragments)), tuple(rules), slanted)
    finally:
        page.close()


def normalise(text: str) -> str:
    """Ligatures, radicals and compatibility ideographs become ordinary letters; soft hyphens and private characters go.

    >>> normalise("eﬃcient ⼀⻅")
    'efficient 一见'
    """
    if text.isascii():
        return text
    out = []
    for char in text:
        if char in _RADICALS:
            out.append(_RADICALS[char])
        elif any(first <= char <= last for first, last in _COMPATIBLE):
            out.append(unicodedata.normalize("NFKC", char))
        elif char not in "\u00ad\u200b\u200c\u200d\u2060\ufeff" and unicodedata.category(char) not in ("Cc", "Cs", "Co", "Cn"):
            out.append(char)
    return "".join(out)


def _glyphs(text_page: Any, box: tuple[float, float, float, float]) -> list[tuple[_Glyph, _Style]]:
    """The visible characters inside the page, in the order of the file."""
    raw = text_page.raw
    x, y, rect = ctypes.c_double(), ctypes.c_double(), api.FS_RECTF()
    styles: dict[int, _Style] = {}
    out: list[tuple[_Glyph, _Style]] = []
    space = broken = False
    high = 0
    for i in range(min(text_page.count_chars(), _PAGE_CHARACTERS)):
        code = api.FPDFText_GetUnicode(raw, i)
        if code in (10, 13):
            broken = True
            continue
        if code in (0, 9, 32, 160, 0x3000):
            space = space or code != 0
            continue
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000 and high:
            code = 0x10000 + ((high - 0xD800) << 10) + code - 0xDC00
        high = 0
        holder = api.FPDFText_GetTextObject(raw, i)
        key = ctypes.cast(holder, ctypes.c_void_p).value or 0
        style = styles.get(key)
        if style is None:
            style = styles[key] = _style(raw, i, holder if key else None)
        api.FPDFText_GetCharOrigin(raw, i, x, y)
        if not (box[0] - 1 <= x.value <= box[2] + 1 and box[1] - 1 <= y.value <= box[3] + 1) or not 1 <= style.size <= _LARGEST:
            continue
        api.FPDFText_GetLooseCharBox(raw, i, rect)
        if not (text := _character(code)):
            continue
        x0, y0, x1 = _along(rect, x.value, y.value, style.angle)
        if not (math.isfinite(x0) and math.isfinite(x1)):
            continue
        x1 = min(max(x0, x1), x0 + 4 * style.size)
        last = out[-1][0] if out else None
        if last and last.text == text and abs(last.x0 - x0) < 0.12 * style.size and abs(last.y - y0) < 0.12 * style.size:
            continue  # drawn twice to look bold
        out.append((_Glyph(text, x0, x1, y0, style.size, style.bold, style.mono, space, broken), style))
        space = broken = False
    if sum(style.visible for _, style in out) * 2 > len(out):  # else an invisible layer over a scan, which is its text
        out = [pair for pair in out if pair[1].visible]
    return out


def _character(code: int) -> str:
    """The text of a character code; PDFium writes a hyphen at the end of a line as U+FFFE or U+0002."""
    if code in (0xFFFE, 2):
        return "-"
    char = chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    return normalise(_BULLETS.get(char, char))


def _along(rect: Any, x: float, y: float, angle: int) -> tuple[float, float, float]:
    """Start of a character along its direction of writing, baseline, end, in a frame turned by that direction."""
    if angle == 90:
        return rect.bottom, -x, rect.top
    if angle == 180:
        return -rect.right, -y, -rect.left
    if angle == 270:
        return -rect.top, x, -rect.bottom
    return rect.left, y, rect.right


def _style(raw: Any, i: int, holder: Any) -> _Style:
    matrix = api.FS_MATRIX()
    if not api.FPDFText_GetMatrix(raw, i, matrix):
        matrix.a, matrix.b, matrix.c, matrix.d = 1, 0, 0, 1
    size = api.FPDFText_GetFontSize(raw, i) * math.hypot(matrix.c, matrix.d)
    angle = round(math.degrees(math.atan2(matrix.b, matrix.a))) % 360
    angle = next((right for right in (0, 90, 180, 270) if min(abs(angle - right), 360 - abs(angle - right)) <= 2), angle)
    name, flags, weight, visible = "", 0, 0, True
    if holder is not None:
        font = api.FPDFTextObj_GetFont(holder)
        buffer = ctypes.create_string_buffer(256)
        api.FPDFFont_GetBaseFontName(font, buffer, 256)
        name = buffer.value.decode("utf-8", "replace")
        flags, weight = api.FPDFFont_GetFlags(font), api.FPDFFont_GetWeight(font)
        visible = api.FPDFTextObj_GetTextRenderMode(holder) != api.FPDF_TEXTRENDERMODE_INVISIBLE
    cjk = re.search(r"cjk|song|sun|fang|kai|hei|ming|gothic", name, re.I)  # many are marked as of one width
    mono = bool(_MONOSPACED.search(name)) or bool(flags > 0 and flags & 1 and not cjk)
    return _Style(size, weight >= 600 or bool(_BOLD.search(name)), mono, angle, visible)


def _upright(glyphs: list[tuple[_Glyph, _Style]]) -> tuple[list[_Glyph], tuple[str, ...], int]:
    """The characters written in the page's main direction, the other text (watermarks, stamps), and that direction."""
    angles = Counter(style.angle for _, style in glyphs)
    angle = max((a for a in angles if a in (0, 90, 180, 270)), key=lambda a: angles[a], default=0)
    slanted: dict[int, str] = {}
    for glyph, style in glyphs:
        if style.angle != angle:
            slanted[style.angle] = slanted.get(style.angle, "") + " " * (glyph.space or glyph.broken) + glyph.text
    upright = [glyph for glyph, style in glyphs if style.angle == angle]
    return upright, tuple(text.strip() for text in slanted.values() if text.strip()), angle


def _turn(box: tuple[float, float, float, float], angle: int) -> tuple[float, float, float, float]:
    """The left edge and the top of a page in the turned frame, and its width and height there."""
    left, bottom, right, top = box
    corners = {0: (left, top), 90: (bottom, -left), 180: (-right, -bottom), 270: (-top, right)}
    width, height = right - left, top - bottom
    return (*corners[angle], height, width) if angle % 180 else (*corners[angle], width, height)


def _fragments(glyphs: list[_Glyph], box: tuple[float, float, float, float], angle: int) -> list[Fragment]:
    left, top, _, _ = _turn(box, angle)
    out: list[Fragment] = []
    run: list[_Glyph] = []
    for glyph in glyphs:
        if run:
            last = run[-1]
            size = max(last.size, glyph.size)
            gap = glyph.x0 - last.x1
            style = (last.bold, last.mono) == (glyph.bold, glyph.mono) and abs(last.size - glyph.size) < 0.1 * size
            if glyph.broken or not style or abs(last.y - glyph.y) > 0.1 * size or gap > 0.45 * size or gap < -0.6 * size:
                out.append(_fragment(run, left, top))
                run = []
        run.append(glyph)
    if run:
        out.append(_fragment(run, left, top))
    return out


def _fragment(run: list[_Glyph], left: float, top: float) -> Fragment:
    parts = [run[0].text]
    first = run[0]
    for last, glyph in pairwise(run):
        gap = glyph.x0 - last.x1
        if glyph.mono and gap > 0.3 * glyph.size:
            parts.append(" " * min(max(1, round(gap / max(last.x1 - last.x0, 0.3 * glyph.size))), 40))
        elif glyph.space and not (is_cjk(last.text[-1]) and is_cjk(glyph.text[0]) and gap < 0.2 * glyph.size):
            parts.append(" ")
        parts.append(glyph.text)
    return Fragment("".join(parts), first.x0 - left, run[-1].x1 - left, top - first.y, first.size, first.bold, first.mono)


def is_cjk(char: str) -> bool:
    """Ideographs, kana and the punctuation that is set with them."""
    return any(first <= char <= last for first, last in _CJK)


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _drawn(page: Any, box: tuple[float, float, float, float]) -> tuple[list[Rule], list[_Box]]:
    """Lines, thin boxes and the edges of other boxes; and small round or square shapes, which may be bullets."""
    left, top, width, height = _turn(box, 0)
    out: list[Rule] = []
    dots: list[_Box] = []
    objects = page.get_objects(filter=(api.FPDF_PAGEOBJ_PATH,), max_depth=3)
    for _, path in zip(range(_PAGE_OBJECTS), objects, strict=False):
        try:
            x0, bottom, x1, upper = path.get_bounds()
        except pdfium.PdfiumError:
            continue
        x0, x1, y0, y1 = x0 - left, x1 - left, top - upper, top - bottom
        if not all(-width - height < place < 2 * (width + height) for place in (x0, y0, x1, y1)):
            continue
        if 1.5 < x1 - x0 < 9 and abs((x1 - x0) - (y1 - y0)) < 0.2 * (x1 - x0):
            dots.append((x0, y0, x1, y1))
        elif api.FPDFPath_CountSegments(path.raw) > 10:
            continue
        elif y1 - y0 <= 2.5 and x1 - x0 > 8:
            out.append(Rule(x0, (y0 + y1) / 2, x1, (y0 + y1) / 2))
        elif x1 - x0 <= 2.5 and y1 - y0 > 5:
            out.append(Rule((x0 + x1) / 2, y0, (x0 + x1) / 2, y1))
        elif 8 < x1 - x0 < width * 0.95 and 5 < y1 - y0 < height * 0.9 and _stroked(path):
            out += [Rule(x0, y0, x1, y0), Rule(x0, y1, x1, y1), Rule(x0, y0, x0, y1), Rule(x1, y0, x1, y1)]
    return out, dots


def _bullets(dots: Sequence[_Box], fragments: Sequence[Fragment]) -> list[Fragment]:
    """Browsers draw the bullets of lists: a dot just before the first text of a line becomes a character."""
    if not dots or len(dots) > _MOST_BULLETS:
        return []
    order = sorted(fragments, key=lambda f: f.baseline)
    baselines = [f.baseline for f in order]
    out = []
    for x0, y0, x1, y1 in dots:
        middle = (y0 + y1) / 2
        near = order[bisect_left(baselines, middle) : bisect_right(baselines, middle + 30)]
        line = [f for f in near if f.baseline - 0.8 * f.size < middle]
        after = min((f for f in line if f.x0 >= x1 - 1), key=lambda f: f.x0, default=None)
        fits = after is not None and after.x0 - x1 < 2.5 * after.size and x1 - x0 < 0.7 * after.size
        if after is not None and fits and not any(f.x1 <= x0 + 1 and x0 - f.x1 < 3 * f.size for f in line):
            out.append(Fragment("•", x0, x1, after.baseline, after.size, False, False))
    return out


def _stroked(path: Any) -> bool:
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    return bool(api.FPDFPath_GetDrawMode(path.raw, fill, stroke) and stroke.value)
