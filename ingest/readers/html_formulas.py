"""Formulas of a page -> their TeX, once, however the page draws them.

KaTeX and MathJax keep the source in an annotation, a script or an attribute beside the drawn glyphs; sites that draw formulas as
pictures keep it in the picture's address or alternative text; MathML without a source is written as TeX.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from ingest.readers.html_tree import Element, parse_html

_SOURCE_ATTRIBUTES = ("data-tex", "data-formula", "data-latex", "data-katex", "data-equation", "data-math")
_NO_SOURCE = frozenset(("true", "false", "1", "0", "inline", "block", "display"))
_DRAWN = re.compile(r"katex(?:-display|--inline|--display)?|MathJax(?:_\w+)?|mwe-math-element|ztext-math|mjx-\w+|MJX\w*|MathJye")
_DISPLAY = re.compile(r"display|\bblock\b|math-block|equation-block|block-equation")
_MATH_CLASSES = frozenset(
    ("math", "arithmatex", "math-inline", "math-display", "math-block", "MathJax_Preview", "js-inline-math", "js-display-math")
)
_DELIMITED = re.compile(r"\s*(?:\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|\$(.*)\$)\s*", re.S)
_PICTURE_ADDRESS = re.compile(
    r"equation\?tex=([^&#]*)|[?&](?:tex|latex|chl)=([^&#]*)|codecogs\.com/\w+(?:\.latex)?\?([^#]*)|/tex/([^?&#]*)$"
)
_PICTURE_CLASS = frozenset(
    ("ee_img", "latex", "tex", "math", "equation", "mwe-math-fallback-image-inline", "mwe-math-fallback-image-display", "tex-image")
)
_WRAPPED = re.compile(r"\{\\(?:display|text)style\s?(.*)\}", re.S)
_FRAME = re.compile(r"MathJax-Element-(\d+)")
_GLYPH = re.compile(r"mjx-c([0-9A-F]{2,5})")
_ACCENTS = {
    "^": r"\hat",
    "ˆ": r"\hat",
    "~": r"\tilde",
    "˜": r"\tilde",
    "¯": r"\bar",
    "‾": r"\bar",
    "→": r"\vec",
    "⃗": r"\vec",
    "˙": r"\dot",
    "¨": r"\ddot",
}


@dataclass(frozen=True, slots=True)
class Formula:
    """The TeX of a formula, and whether it stands on a line of its own."""

    tex: str
    display: bool = False


def tex_scripts(scripts: Iterable[Element]) -> frozenset[str]:
    """The numbers of the formulas whose source stands in a script: their drawings are no second formula."""
    found = (_FRAME.match(e.get("id")) for e in scripts if e.get("type").startswith("math/"))
    return frozenset(match[1] for match in found if match)


def formula(element: Element, scripts: frozenset[str]) -> Formula | None:
    """The formula that an element is; one with empty TeX is a drawing whose source stands elsewhere; None: no formula."""
    tag = element.tag
    if tag == "img":
        return _picture(element)
    if tag == "script":
        kind = element.get("type")
        return (
            _made("".join(c for c in element.children if isinstance(c, str)), "display" in kind)
            if kind.startswith("math/tex")
            else None
        )
    if tag == "math":
        return _made(_tex_of_math(element), element.get("display") == "block" or element.get("mode") == "display")
    classes = element.classes
    drawn = tag in ("mjx-container", "math-renderer") or any(_DRAWN.fullmatch(name) for name in classes)
    display = bool(_DISPLAY.search(element.get("class"))) or element.get("display") in ("true", "block")
    if (drawn or "data-formula" in element.attrs or "data-tex" in element.attrs or _MATH_CLASSES.intersection(classes)) and (
        source := _source(element)
    ):
        return _made(source, display or source.rstrip().endswith("\\\\") or element.get("data-eeimg") == "2")
    if "MathJax_Preview" in classes and scripts:
        return Formula("")  # what is shown until the script has drawn
    if drawn:
        return _drawn(element, scripts, display)
    if _MATH_CLASSES.intersection(classes) and (match := _DELIMITED.fullmatch(element.text())):
        inline, *displayed = match.groups()
        return _made(next(part for part in match.groups() if part is not None), inline is None and any(displayed[:2]))
    return None


def _made(source: str, display: bool) -> Formula:
    """TeX without its delimiters, blank lines, and the line break at its end by which some editors mark a display."""
    tex = unicodedata.normalize("NFC", source).strip()
    if match := _DELIMITED.fullmatch(tex):
        tex = next(part for part in match.groups() if part is not None)
    if match := _WRAPPED.fullmatch(tex):
        tex = match[1]
    tex = tex.strip().removesuffix("\\\\").removesuffix("\\,").strip()
    tex = ("\n" if display else " ").join(line.strip() for line in tex.split("\n") if line.strip())
    return Formula(re.sub(r"(?<!\\)\$", "", tex), display)


def _source(element: Element) -> str:
    for name in _SOURCE_ATTRIBUTES:
        value = element.get(name).strip()
        if value and value.lower() not in _NO_SOURCE:
            encoded = not re.search(r"[\s\\]", value) and re.search("%[0-9A-Fa-f]{2}", value)
            return unquote(value) if encoded else value
    return ""


def _picture(element: Element) -> Formula | None:
    address = element.get("src") or element.get("data-src") or element.get("data-original")
    match = None if address.startswith("data:") else _PICTURE_ADDRESS.search(address)
    known = (
        bool(match)
        or bool(_PICTURE_CLASS.intersection(element.classes))
        or "eeimg" in element.attrs
        or "data-formula" in element.attrs
    )
    if not known:
        return None
    alt = element.get("alt").strip()
    tex = _source(element) or (alt if alt and alt not in ("[公式]", "公式") else "")
    if not tex and match:
        tex = unquote_plus(next(part for part in match.groups() if part is not None))
    if not tex:
        return None
    display = element.get("eeimg") == "2" or tex.rstrip().endswith("\\\\") or bool(_DISPLAY.search(element.get("class")))
    return _made(tex, display)


def _drawn(element: Element, scripts: frozenset[str], display: bool) -> Formula | None:
    maths: list[Element] = []
    glyphs: list[str] = []
    label = element.get("aria-label") or element.get("alt")
    for part in element.elements():
        if (frame := _FRAME.match(part.get("id"))) and frame[1] in scripts and part.tag != "script":
            return Formula("")
        display = display or bool(_DISPLAY.search(part.get("class"))) or part.get("display") == "true"
        if part.tag == "annotation" and "tex" in part.get("encoding").lower():
            return _made(part.text(), display)
        if part.tag == "script" and part.get("type").startswith("math/tex"):
            return formula(part, scripts)
        if part is not element and part.tag != "math" and (source := part.get("data-latex")):
            return _made(source, display)
        if part.tag == "math":
            maths.append(part)
        elif source := part.get("data-mathml"):
            maths += [e for e in parse_html(source[:100_000]).root.elements() if e.tag == "math"]
        code = part.get("data-c") or (match[1] if (match := _GLYPH.search(part.get("class"))) else "")
        if re.fullmatch("[0-9A-F]{2,5}", code):
            glyphs.append(chr(int(code, 16)))
    if maths:
        return _made(_tex_of_math(maths[0]), display or maths[0].get("display") == "block")
    if label or glyphs:
        return _made(label or unicodedata.normalize("NFKC", "".join(glyphs)), display)
    if element.tag in ("mjx-container", "math-renderer") or "MathJax" in element.classes or "katex" in element.classes:
        text = element.line()
        return _made(text, display) if text else Formula("")
    return Formula("") if not element.line() else None


def _tex_of_math(math: Element) -> str:
    """The TeX of a MathML element: its annotation, its alternative text, or its tree written as TeX."""
    for part in math.elements():
        if part.tag == "annotation" and "tex" in part.get("encoding").lower():
            return part.text()
    if alternative := math.get("alttext"):
        return alternative
    written: dict[int, str] = {}
    order = list(math.elements())
    for part in reversed(order):  # children before parents
        kids = [written.pop(id(child)) for child in part.children if isinstance(child, Element)]
        text = "".join(child for child in part.children if isinstance(child, str)).strip()
        written[id(part)] = _write(part, kids, text)
    return written[id(math)]


def _write(part: Element, kids: list[str], text: str) -> str:
    a, b, c = (*kids, "", "", "")[:3]
    match part.tag:
        case "annotation" | "annotation-xml" | "none" | "mprescripts" | "mphantom":
            return ""
        case "mtext":
            return rf"\text{{{text}}}" if text and not text.isspace() else " "
        case "mspace":
            return " "
        case "mfrac":
            return rf"\frac{{{a}}}{{{b}}}"
        case "msqrt":
            return rf"\sqrt{{{''.join(kids)}}}"
        case "mroot":
            return rf"\sqrt[{b}]{{{a}}}"
        case "msub" | "munder":
            return f"{_base(a)}_{_script(b)}"
        case "msup":
            return f"{_base(a)}^{_script(b)}"
        case "mover":
            return f"{_ACCENTS[b]}{{{a}}}" if b in _ACCENTS else f"{_base(a)}^{_script(b)}"
        case "msubsup" | "munderover":
            return f"{_base(a)}_{_script(b)}^{_script(c)}"
        case "mtable":
            return r"\begin{matrix}" + r" \\ ".join(kids) + r"\end{matrix}"
        case "mtr" | "mlabeledtr":
            return " & ".join(kids)
        case "mfenced":
            return part.attrs.get("open", "(") + ", ".join(kids) + part.attrs.get("close", ")")
        case "mi" if len(text) > 1 and text.isalpha() and text.isascii():
            return rf"\operatorname{{{text}}}"
        case "mo" | "mi" | "mn":
            return (
                unicodedata.normalize("NFKC", text)
                if len(text) == 1 and ord(text) > 0x1D3FF
                else re.sub("[\u2061-\u2064]", "", text)
            )
    return "".join(kids) + text


def _base(tex: str) -> str:
    return tex if len(tex) <= 1 or re.fullmatch(r"\\[a-z]+\{[^{}]*\}", tex) else f"{{{tex}}}"


def _script(tex: str) -> str:
    return tex if len(tex) == 1 else f"{{{tex}}}"
