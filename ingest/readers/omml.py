"""Office's formulas (OMML, ISO/IEC 29500-1 part 22) -> LaTeX.

>>> element = etree.fromstring('<m:oMath xmlns:m="%s"><m:r><m:t>α</m:t></m:r><m:r><m:t>x</m:t></m:r></m:oMath>' % M[1:-1])
>>> latex(element)
'\\\\alpha x'
"""

import re
import unicodedata
from collections.abc import Callable

from lxml import etree

from ingest.readers.ooxml import M, W, local

_GREEK = """
α:alpha β:beta γ:gamma δ:delta ε:varepsilon ζ:zeta η:eta θ:theta ι:iota κ:kappa λ:lambda μ:mu ν:nu ξ:xi π:pi ρ:rho σ:sigma τ:tau
υ:upsilon φ:varphi χ:chi ψ:psi ω:omega ϵ:epsilon ϑ:vartheta ϕ:phi ϱ:varrho ϖ:varpi
Γ:Gamma Δ:Delta Θ:Theta Λ:Lambda Ξ:Xi Π:Pi Σ:Sigma Υ:Upsilon Φ:Phi Ψ:Psi Ω:Omega
"""
_SYMBOLS = """
∑:sum ∏:prod ∐:coprod ∫:int ∬:iint ∭:iiint ∮:oint ⋃:bigcup ⋂:bigcap ⨁:bigoplus ⨂:bigotimes ⋁:bigvee ⋀:bigwedge √:surd
×:times ·:cdot ⋅:cdot ÷:div ±:pm ∓:mp ∗:ast ∘:circ ⊙:odot ⊕:oplus ⊗:otimes ⊖:ominus †:dagger
≤:leq ≥:geq ≠:neq ≈:approx ≡:equiv ∼:sim ≃:simeq ≅:cong ∝:propto ≪:ll ≫:gg ≺:prec ≻:succ ≜:triangleq ⊥:perp ∥:parallel
∈:in ∉:notin ∋:ni ⊂:subset ⊆:subseteq ⊃:supset ⊇:supseteq ∪:cup ∩:cap ∖:setminus ∅:varnothing ∀:forall ∃:exists ¬:neg
∧:land ∨:lor ⊢:vdash ⊨:models →:to ←:leftarrow ↔:leftrightarrow ⇒:Rightarrow ⇐:Leftarrow ⇔:Leftrightarrow ↦:mapsto
↑:uparrow ↓:downarrow ⟶:longrightarrow ⟹:Longrightarrow ∞:infty ∂:partial ∇:nabla ∆:Delta ℓ:ell ℏ:hbar ℜ:Re ℑ:Im ℵ:aleph
∠:angle …:ldots ⋯:cdots ⋮:vdots ⋱:ddots ′:prime ⟨:langle ⟩:rangle ⌊:lfloor ⌋:rfloor ⌈:lceil ⌉:rceil ‖:| ∣:mid
∎:blacksquare ∴:therefore ∵:because □:square ★:star ⋆:star
"""
_COMMANDS = {pair[0]: "\\" + pair[2:] for pair in (_GREEK + _SYMBOLS).split()}
_ESCAPED = {"{": "\\{", "}": "\\}", "%": "\\%", "&": "\\&", "#": "\\#", "_": "\\_", "$": "\\$", "\\": "\\backslash", "~": "\\sim"}
_FUNCTION_NAMES = """
arccos arcsin arctan arg cos cosh cot csc deg det dim exp gcd hom inf ker lg lim liminf limsup ln log max min Pr sec sin sinh sup
tan tanh
"""
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_ACCENTS = {
    "\u0302": "hat", "^": "hat", "\u0303": "tilde", "~": "tilde", "\u0304": "bar", "\u0305": "overline", "¯": "bar", 
    "\u203e": "bar",
    "\u0307": "dot", "\u0308": "ddot", "\u20d7": "vec", "→": "vec", "\u030c": "check", "\u0306": "breve", "\u0301": "acute",
    "\u0300": "grave", "\u030a": "mathring", "\u0331": "underline", "\u20d6": "overleftarrow",
}  # fmt: skip
_GROUPS = {"⏟": "underbrace", "⏞": "overbrace", "→": "overrightarrow", "←": "overleftarrow", "\u0332": "underline", "¯": "overline"}
_SCRIPTS = {"double-struck": "mathbb", "script": "mathcal", "fraktur": "mathfrak", "sans-serif": "mathsf", "monospace": "mathtt"}
_NAME_END = re.compile(r"\\[A-Za-z]+$")
_LETTERED = re.compile(r"^[A-Za-z]")
_UPRIGHT_END = re.compile(r"\\mathrm\{\w{1,40}\}$")
_TALL = re.compile(r"\\(?:frac|genfrac|sum|prod|int|oint|sqrt|begin|left|overset|underset|under|over|big)")
_SINGLE = re.compile(r"^(?:[^\\\s]|\\[A-Za-z]+)$")


def latex(element: etree._Element) -> str:
    """The LaTeX of an ``m:oMath`` element (or of any part of one), without dollar signs, on one line."""
    return " ".join(_content(element).split())


def _content(element: etree._Element | None) -> str:
    """The LaTeX of an element's children, joined so that no command swallows the letter behind it."""
    if element is None:
        return ""
    out = ""
    for child in element:
        piece = _node(child)
        if _LETTERED.match(piece) and _NAME_END.search(out[-24:]):
            out += " "
        if piece.startswith("\\mathrm{") and _UPRIGHT_END.search(out):  # programs often write an upright name letter by letter
            out, piece = out[:-1], piece.removeprefix("\\mathrm{")
        out += piece
    return out


def _node(element: etree._Element) -> str:
    name = local(element)
    if not name or name.endswith("Pr") or name in ("del", "moveFrom"):
        return ""
    handler = _HANDLERS.get(name)
    if handler and element.tag.startswith(M):
        return handler(element)
    if element.tag == W + "t":
        return _symbols(element.text or "")
    return _content(element)


def _child(element: etree._Element, name: str) -> str:
    return _content(element.find(M + name))


def _braced(text: str) -> str:
    return "{" + text.strip() + "}"


def _script(text: str) -> str:
    text = text.strip()
    return text if len(text) == 1 and text.isalnum() else _braced(text)


def _base(text: str) -> str:
    """A base that scripts may follow: braces unless it is one symbol or a group that is closed already."""
    text = text.strip()
    return text if _SINGLE.match(text) or re.fullmatch(r"\\(?:math\w+|operatorname)\{[^{}]*\}", text) else _braced(text)


def _property(element: etree._Element, path: str, default: str = "") -> str:
    """The value of a property: its m:val, «1» when it stands there without one, ``default`` when it is absent."""
    found = element.find("/".join(M + step for step in path.split("/")))
    return default if found is None else found.get(M + "val", "1")


def _on(element: etree._Element, path: str) -> bool:
    return _property(element, path, "0").lower() in ("1", "on", "true")


def _symbols(text: str) -> str:
    out = ""
    for char in text:
        plain = unicodedata.normalize("NFKC", char) if "\U0001d400" <= char <= "\U0001d7ff" else char
        for one in plain:
            piece = _COMMANDS.get(one) or _ESCAPED.get(one) or {"−": "-", "\u2061": "", "\u2062": "", "\u2063": ","}.get(one, one)
            if _LETTERED.match(piece) and _NAME_END.search(out[-24:]):
                out += " "
            if unicodedata.name(char, "").startswith("MATHEMATICAL BOLD") and one.isalnum():
                piece = f"\\mathbf{{{piece}}}"
            elif unicodedata.name(char, "").startswith("MATHEMATICAL DOUBLE-STRUCK") and one.isalnum():
                piece = f"\\mathbb{{{piece}}}"
            out += piece
    return out


_LETTERLIKE = {"ℝ": "R", "ℕ": "N", "ℤ": "Z", "ℚ": "Q", "ℂ": "C", "ℙ": "P", "𝔼": "E"}


def _run(element: etree._Element) -> str:
    text = "".join(t.text or "" for t in element if local(t) == "t")
    if not text:
        return _content(element)
    if _on(element, "rPr/nor"):
        return f"\\text{{{text}}}" if text.strip() else text
    if text in _LETTERLIKE:
        return f"\\mathbb{{{_LETTERLIKE[text]}}}"
    symbols = _symbols(text)
    script = _SCRIPTS.get(_property(element, "rPr/scr"))
    if script and text.strip().isalnum():
        return f"\\{script}{{{symbols.strip()}}}"
    style = _property(element, "rPr/sty", "i")
    name = text.strip()
    if name.isascii() and name.isalpha() and len(name) > 1 and name in _FUNCTIONS and style == "p":
        return "\\" + name
    if style in ("b", "bi") and name.isalnum():
        return f"\\mathbf{{{symbols.strip()}}}"
    if style == "p" and name.isascii() and name.isalpha():
        return f"\\mathrm{{{name}}}"
    return symbols


def _fraction(element: etree._Element) -> str:
    above, below = _child(element, "num"), _child(element, "den")
    kind = _property(element, "fPr/type", "bar")
    if kind == "noBar":
        return f"\\genfrac{{}}{{}}{{0pt}}{{}}{_braced(above)}{_braced(below)}"
    if kind in ("lin", "skw"):
        return f"{_base(above)}/{_base(below)}"
    return f"\\frac{_braced(above)}{_braced(below)}"


def _scripts(element: etree._Element) -> str:
    out = _base(_child(element, "e"))
    for name, mark in (("sub", "_"), ("sup", "^")):
        if element.find(M + name) is not None:
            script = _child(element, name).strip()
            out += "'" * script.count("\\prime") if script and not script.replace("\\prime", "").strip() else mark + _script(script)
    return out


def _before(element: etree._Element) -> str:
    return f"{{}}_{_script(_child(element, 'sub'))}^{_script(_child(element, 'sup'))}{_base(_child(element, 'e'))}"


def _radical(element: etree._Element) -> str:
    degree = "" if _on(element, "radPr/degHide") else _child(element, "deg").strip()
    return (f"\\sqrt[{degree}]" if degree else "\\sqrt") + _braced(_child(element, "e"))


def _nary(element: etree._Element) -> str:
    sign = _property(element, "naryPr/chr", "∫")
    out = _COMMANDS.get(sign, sign)
    for name, mark in (("sub", "_"), ("sup", "^")):
        script = _child(element, name).strip()
        if script and not _on(element, f"naryPr/{name}Hide"):
            out += mark + _script(script)
    body = _child(element, "e").strip()
    return f"{out} {body}" if body else out


def _delimited(element: etree._Element) -> str:
    opening, closing = _property(element, "dPr/begChr", "("), _property(element, "dPr/endChr", ")")
    separator = _property(element, "dPr/sepChr", "|")
    inner = _symbols(separator).join(_content(e) for e in element.findall(M + "e"))
    only = element.find(M + "e/*")
    if only is not None and len(element.findall(M + "e/*")) == 1 and local(only) in ("m", "eqArr"):
        matrix = {("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("‖", "‖"): "Vmatrix", ("{", "}"): "Bmatrix"}
        name = "cases" if (opening, closing) == ("{", "") else matrix.get((opening, closing)) if local(only) == "m" else None
        if name:
            return _environment(name, only)
    before, after = _delimiter(opening), _delimiter(closing)
    if opening and closing and not _TALL.search(inner):
        return f"{_spaced(before, inner)}{inner.strip()}{after}"
    return f"\\left{_spaced(before, inner)}{inner.strip()}\\right{after}"


def _spaced(command: str, inner: str) -> str:
    return command + " " if _NAME_END.search(command) and _LETTERED.match(inner.strip()) else command


def _delimiter(char: str) -> str:
    return _symbols(char[:1]) if char else "."


def _environment(name: str, element: etree._Element) -> str:
    if local(element) == "eqArr":
        rows = [_content(row).replace("\\&", "&") for row in element.findall(M + "e")]
    else:
        rows = [" & ".join(_content(cell).strip() for cell in row.findall(M + "e")) for row in element.findall(M + "mr")]
    return f"\\begin{{{name}}} " + " \\\\ ".join(row.strip() for row in rows) + f" \\end{{{name}}}"


def _function(element: etree._Element) -> str:
    name = _child(element, "fName").strip()
    bare = re.fullmatch(r"\\mathrm\{(\w+)\}|(\w+)", name)
    if bare:
        word = bare[1] or bare[2]
        name = "\\" + word if word in _FUNCTIONS else f"\\operatorname{{{word}}}"
    body = _child(element, "e").strip()
    return f"{name} {body}" if _LETTERED.match(body) else name + body


def _limit(element: etree._Element) -> str:
    base, limit = _child(element, "e").strip(), _braced(_child(element, "lim"))
    mark = "_" if local(element) == "limLow" else "^"
    operator = re.fullmatch(r"\\mathrm\{(\w+)\}|\\operatorname\{(\w+)\}|\\?(\w+)", base)
    word = next(filter(None, operator.groups()), "") if operator else ""
    if word in _FUNCTIONS or base in ("\\sum", "\\prod", "\\int"):
        return f"\\{word or base[1:]}{mark}{limit}"
    if len(word) > 1 and not base.startswith("\\" + word):
        return f"\\operatorname*{{{word}}}{mark}{limit}"
    if base.startswith(("\\underbrace", "\\overbrace")):
        return f"{base}{mark}{limit}"
    return f"\\{'underset' if mark == '_' else 'overset'}{limit}{_braced(base)}"


def _accent(element: etree._Element) -> str:
    char = _property(element, "accPr/chr", "\u0302")
    inner = _child(element, "e").strip()
    name = _ACCENTS.get(char)
    if not name:
        return f"\\overset{_braced(_symbols(char))}{_braced(inner)}"
    wide = {"hat": "widehat", "tilde": "widetilde", "vec": "overrightarrow", "bar": "overline"}
    return f"\\{wide.get(name, name) if not _SINGLE.match(inner) else name}{_braced(inner)}"


def _bar(element: etree._Element) -> str:
    return ("\\overline" if _property(element, "barPr/pos", "bot") == "top" else "\\underline") + _braced(_child(element, "e"))


def _group(element: etree._Element) -> str:
    char = _property(element, "groupChrPr/chr", "⏟")
    name = {
        "⏟": "underbrace",
        "⏞": "overbrace",
        "→": "overrightarrow",
        "←": "overleftarrow",
        "\u0332": "underline",
        "¯": "overline",
    }.get(char)
    inner = _braced(_child(element, "e"))
    return f"\\{name}{inner}" if name else f"\\overset{_braced(_symbols(char))}{inner}"


_HANDLERS: dict[str, Callable[[etree._Element], str]] = {
    "r": _run,
    "f": _fraction,
    "sSub": _scripts,
    "sSup": _scripts,
    "sSubSup": _scripts,
    "sPre": _before,
    "rad": _radical,
    "nary": _nary,
    "d": _delimited,
    "m": lambda element: _environment("matrix", element),
    "eqArr": lambda element: _environment("aligned", element),
    "func": _function,
    "limLow": _limit,
    "limUpp": _limit,
    "acc": _accent,
    "bar": _bar,
    "groupChr": _group,
    "borderBox": lambda element: "\\boxed" + _braced(_child(element, "e")),
    "phant": lambda element: _content(element.find(M + "e")) if _property(element, "phantPr/show", "1") != "0" else "",
}
