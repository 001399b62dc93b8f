"""Code of a page: its exact white space, without the line numbers and buttons that highlighters put around it."""

import re

from ingest.readers.html_tree import Element

_GUTTER = re.compile(
    r"gutter|lineno|linenos|linenodiv|line-?numbers?(?:-rows|-wrapper)?|hljs-ln-numbers|hljs-ln-n|blob-num|pre-numbering|code-snippet__line-index|rouge-gutter|ln-num"
    r"|react-line-numbers?|CodeMirror-linenumber|linenumber|code-line-number|lnt|ln|line-num|codeblock-line-num|CodeMirror-gutter.*",
)
_BUTTON = re.compile(
    r"copy|clipboard|hljs-button|btn|button|toolbar|extension-header|code-?(?:block)?-?(?:head|header|tools|bar|toolbar|lang|language)|signin|fold",
    re.I,
)
_BUTTON_TEXT = re.compile(
    r"(?:[\w+#.-]{1,20}\s+)?(?:(?:体验)?AI代码助手|代码解读|(?:一?键)?复制(?:代码)?|复制(?:成功|失败)|已复制!?|拷贝(?:代码)?|点击复制|登录(?:后)?复制"
    r"|(?:Click to )?copy(?: code| to clipboard)?|copied!?|View raw|自动换行|\s)+",
    re.I,
)
_LANGUAGE_LABEL = re.compile(r"(?:code|hljs|highlight)\w*-{0,2}(?:lang|language)|lang(?:uage)?-(?:label|name|tag)", re.I)
_LANGUAGE = re.compile(r"(?:language|lang|brush|highlight-source|highlight-text|highlight|src)[-:]\s*([A-Za-z][\w+#.-]*)")
_NO_LANGUAGE = frozenset(
    [
        "plain",
        "plaintext",
        "text",
        "txt",
        "none",
        "nohighlight",
        "default",
        "highlight",
        "code",
        "prettyprint",
        "hljs",
        "prism",
        "source",
        "output",
        "console-output",
        "auto",
        "undefined",
        "null",
        "true",
        "copyable",
        "has-numbering",
        "number",
        "line",
        "numbers",
        "block",
        "wrapper",
        "notranslate",
        "lang",
        "language",
        "sourcecode",
        "src",
    ]
)
_LISTED = re.compile(
    r"python|python3|py|pycon|ipython3?|java|javascript|js|typescript|ts|cpp|c\+\+|c|csharp|cs|go|golang|rust|bash|shell|sh|console|sql|json|yaml|yml|toml|xml|html|css|scala|kotlin|swift"
    r"|php|ruby|r|lua|matlab|julia|perl|cuda|dockerfile|makefile|cmake|latex|tex|markdown|md|diff|ini|http|nginx|objectivec|mermaid|proto|protobuf|asm|haskell|verilog|vue|jsx|tsx"
)
_ALIASES = {
    "py": "python",
    "python3": "python",
    "ipython": "python",
    "ipython3": "python",
    "pycon": "python",
    "js": "javascript",
    "ts": "typescript",
    "c++": "cpp",
    "golang": "go",
    "yml": "yaml",
    "md": "markdown",
}
_LINES = frozenset(("div", "p", "li", "tr", "section", "figure"))


def is_gutter(element: Element) -> bool:
    """Whether an element holds nothing but line numbers beside code."""
    if element.tag not in ("td", "ul", "ol", "div", "span", "pre", "a", "figure") or not element.attrs.get("class"):
        return False
    return any(_GUTTER.fullmatch(name) for name in element.classes) and not element.line().replace(" ", "").strip("0123456789.:|")


def is_copy_button(element: Element) -> bool:
    """Whether an element is a button or a bar above code: its text is only what such buttons say, after the language's name."""
    if element.tag not in ("button", "div", "span", "a", "i", "svg", "p") or not 0 < element.length <= 40:
        return False
    if element.tag != "button" and not _BUTTON.search(element.get("class")):
        return False
    text = element.line()
    if _LISTED.fullmatch(text.lower()):
        return bool(_LANGUAGE_LABEL.search(element.get("class")))
    return bool(_BUTTON_TEXT.fullmatch(text))


def code_of(pre: Element) -> str:
    """The code below an element, line by line: ``br``, rows, blocks and ``code`` elements beside each other end a line."""
    codes = [child for child in pre.children if isinstance(child, Element) and child.tag == "code"]
    parts: list[str] = []
    stack: list[Element | str | None] = list(reversed(pre.children))  # None ends a line that has been begun
    while stack:
        item = stack.pop()
        if item is None:
            if parts and not parts[-1].endswith("\n"):
                parts.append("\n")
        elif isinstance(item, str):
            if item:
                parts.append(item)
        elif item.tag == "br":
            parts.append("\n")
        elif (
            item.tag in ("script", "style", "svg", "button", "template")
            or is_gutter(item)
            or is_copy_button(item)
            or (_BUTTON.search(item.get("class")) and item.tag == "div" and codes)
        ):
            continue
        elif item.tag in _LINES or (item.tag == "code" and len(codes) > 1) or "display:block" in item.get("style").replace(" ", ""):
            empty = item.length == 0 and not any(isinstance(child, str) for child in item.children)
            stack += [None, *reversed(item.children)]
            if empty and item.tag != "tr":
                stack[-1 - len(item.children)] = (
                    None if any(isinstance(c, Element) and c.tag == "br" for c in item.children) else "\n"
                )
            stack.append(None)
        else:
            stack.extend(reversed(item.children))
    code = "".join(parts).replace("\r\n", "\n").replace("\r", "\n")
    if _has_class(pre, "cnblogs_code"):
        code = _without_numbers(code)
    return code.strip("\n")


def _has_class(element: Element, name: str) -> bool:
    return name in element.classes or (element.parent is not None and name in element.parent.classes)


def _without_numbers(code: str) -> str:
    """Code whose every line begins with its own number."""
    lines = code.split("\n")
    found = [re.match(r"\s*(\d+)(?: |$)", line) for line in lines]
    if len(lines) < 2 or not all(match and int(match[1]) == n for n, match in enumerate(found, 1)):
        return code
    return "\n".join(line[match.end() :] for line, match in zip(lines, found, strict=True) if match)


def language_of(element: Element) -> str:
    """The language that a block of code is said to be in, '' when none is named: its own classes, those below and just above."""
    inner = [child for child in element.children if isinstance(child, Element)][:8]
    inner += [child for first in inner for child in first.children if isinstance(child, Element)][:8]
    above = element.parent
    around: list[Element] = []
    while above is not None and len(around) < 5 and above.tag not in ("body", "article", "main", "li"):
        around.append(above)
        above = above.parent
    for candidate in (*(c for c in inner if c.tag == "code"), element, *around):
        for name in (
            candidate.get("data-lang"),
            candidate.get("data-language"),
            candidate.get("lang") if candidate.tag in ("code", "pre") else "",
        ):
            if name and (language := _language(name)):
                return language
        for match in _LANGUAGE.finditer(candidate.get("class")):
            if language := _language(match[1]):
                return language
        if (
            candidate is element
            or candidate.tag in ("code", "figure")
            or "highlight" in candidate.classes
            or "sourceCode" in candidate.classes
        ):
            for name in candidate.classes:
                if _LISTED.fullmatch(name.lower()):
                    return _language(name)
    return ""


def _language(name: str) -> str:
    name = name.strip().lower().rstrip(";")
    if name in _NO_LANGUAGE or not re.fullmatch(r"[a-z][\w+#.-]{0,20}", name):
        return ""
    return _ALIASES.get(name, name)
