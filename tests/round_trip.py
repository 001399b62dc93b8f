"""One known text, the programs that write it in other formats, and what must come back of it."""

import io
import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from ingest.document import RawText, fold

NOTES = r"""---
title: 面试笔记 Interview Notes
author: 林小满
lang: zh
---

# 注意力机制

自注意力让每个位置直接读取其他所有位置，因此距离再远的两个词也只隔一步，这一点与循环网络完全不同，训练时还可以并行计算。

## 1. 为什么要除以维度的平方根？

点积的方差随维度增长，若不缩放，softmax 会进入饱和区，梯度几乎为零。缩放后方差回到一，公式如下。

$$A=\frac{QK^{T}}{\sqrt{d_k}}$$

## 2. What does the KV cache store?

It keeps the keys and values of every earlier position, so that each decoding step only computes one new row. The memory grows linearly
with the length of the sequence, and pre-training does not change that.

1. 预填充阶段
    - 一次算完整个提示
    - 受算力限制
2. 解码阶段
    - 每次只算一个词
    - 受带宽限制

## 3. 各方案的比较

| 方案 | 缓存大小 | 质量 |
|------|----------|------|
| MHA  | 100%     | 最好 |
| GQA  | 25%      | 接近 |
| MQA  | 3%       | 略差 |

# 实现与损失

## 4. 用代码写出缩放点积

先写函数，再看掩码。

```python
def attend(q, k, v, causal):
    scores = q @ k.T / math.sqrt(k.shape[-1])
    if causal:
        scores = mask(scores)

    return softmax(scores) @ v
```

行内公式 $\alpha_{i}=\sum_{j=1}^{n} x_j^2$ 表示加权和，**归一化**是重点。

## 5. 交叉熵是什么？

交叉熵等于负对数似然的平均值，最小化它就是最大化训练语料的概率。
"""
HEADINGS = [
    (1, "注意力机制"),
    (2, "1. 为什么要除以维度的平方根？"),
    (2, "2. What does the KV cache store?"),
    (2, "3. 各方案的比较"),
    (1, "实现与损失"),
    (2, "4. 用代码写出缩放点积"),
    (2, "5. 交叉熵是什么？"),
]
# Every sentence, in order; what lies between them is checked by kind.
SENTENCES = [
    "自注意力让每个位置直接读取其他所有位置，因此距离再远的两个词也只隔一步，这一点与循环网络完全不同，训练时还可以并行计算。",
    "点积的方差随维度增长，若不缩放，softmax 会进入饱和区，梯度几乎为零。",
    "缩放后方差回到一，公式如下。",
    "It keeps the keys and values of every earlier position, so that each decoding step only computes one new row.",
    "The memory grows linearly with the length of the sequence, and pre-training does not change that.",
    "预填充阶段",
    "一次算完整个提示",
    "受算力限制",
    "解码阶段",
    "每次只算一个词",
    "受带宽限制",
    "先写函数，再看掩码。",
    "表示加权和，归一化是重点。",
    "交叉熵等于负对数似然的平均值，最小化它就是最大化训练语料的概率。",
]
ROWS = [["方案", "缓存大小", "质量"], ["MHA", "100%", "最好"], ["GQA", "25%", "接近"], ["MQA", "3%", "略差"]]
CODE = """def attend(q, k, v, causal):
    scores = q @ k.T / math.sqrt(k.shape[-1])
    if causal:
        scores = mask(scores)

    return softmax(scores) @ v"""
ITEMS = [(1, "预填充阶段"), (2, "一次算完整个提示"), (2, "受算力限制"), (1, "解码阶段"), (2, "每次只算一个词"), (2, "受带宽限制")]
FORMULAS = [r"A=\frac{QK^T}{\sqrt{d_k}}", r"\alpha_i=\sum_{j=1}^n x_j^2"]

SLIDES = r"""---
title: 注意力入门
author: 林小满
---

# 第一部分

## 自注意力

- 每个位置读取所有位置
    - 一步到位
    - 可以并行
- 代价是平方复杂度

::: notes
追问时先说复杂度，再说稀疏化。
:::

## 方案比较

| 方案 | 缓存 |
|------|------|
| MHA  | 100% |
| MQA  | 3%   |

## Multi-head attention

Each head attends to its own subspace, and the results are concatenated.
"""
SLIDE_TITLES = ["注意力入门", "第一部分", "自注意力", "方案比较", "Multi-head attention"]

# For columns: only running text, long enough for two pages.
ARTICLE = "# 长文本的注意力\n\n" + "\n\n".join(
    f"## {n}. 第{n}种做法\n\n做法{n}把序列切成若干段，每段长度固定，段内做完整的注意力，段间只传递摘要，于是计算量从平方降到线性，编号 {n} 到此为止。\n\n"
    f"Method {n} keeps a window of recent tokens and a small set of global ones, so that the memory stays constant while the text "
    f"grows. It loses little on most tasks, but retrieval of exact quotes suffers. This is the end of method {n}.\n\n"
    f"Variant {n} adds a learned summary of what has left the window. Its size is fixed before training starts. "
    f"Nothing else changes in variant {n}."
    for n in range(1, 15)
)
ARTICLE_ENDS = [
    words for n in range(1, 15) for words in (f"编号 {n} 到此为止。", f"the end of method {n}.", f"changes in variant {n}.")
]


def program(name: str, *others: str) -> str:
    """The path of an installed program. Without it the test fails in CI and is skipped elsewhere."""
    found = next(filter(None, map(shutil.which, (name, *others))), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and CI must have it")
        pytest.skip(f"{name} is not installed")
    return found


def pandoc(text: str, target: Path, *options: str) -> Path:
    """Write a Markdown text in the format of the target's suffix."""
    command = [program("pandoc"), "-f", "markdown", "-o", str(target), *options]
    subprocess.run(
        command, input=text, text=True, encoding="utf-8", check=True, capture_output=True, timeout=120, cwd=target.parent
    )
    return target


def office(sources: list[Path], kind: str, folder: Path, options: str = "") -> list[Path]:
    """Convert files with LibreOffice in one run, with a profile of its own. ``options`` are those of its export filter."""
    folder.mkdir(exist_ok=True)
    command = [program("soffice", "libreoffice"), f"-env:UserInstallation={(folder / 'profile').as_uri()}", "--headless"]
    command += ["--convert-to", kind + options, "--outdir", str(folder), *map(str, sources)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    made = [folder / f"{source.stem}.{kind}" for source in sources]
    assert all(path.exists() for path in made)
    return made


def with_font(data: bytes, old: str, new: str) -> bytes:
    """A Word file whose styles name another font: the machine that writes the PDF may lack the first."""
    return _changed(data, "word/styles.xml", lambda part: part.replace(old, new))


def in_columns(data: bytes, count: int) -> bytes:
    """A Word file set in columns."""
    return _changed(data, "word/document.xml", lambda part: re.sub(r"<w:sectPr ?/>|</w:sectPr>", _columns(count), part, count=1))


def _columns(count: int) -> str:
    return f'<w:sectPr><w:cols w:num="{count}" w:space="500"/></w:sectPr>'


def _changed(data: bytes, name: str, change) -> bytes:  # type: ignore[no-untyped-def]
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == name:
                changed = change(content.decode("utf-8"))
                assert changed != content.decode("utf-8")
                content = changed.encode("utf-8")
            new.writestr(item, content)
    return out.getvalue()


# --- what must come back ---


def content(raw: RawText) -> str:
    """The text without what the reader marked as furniture."""
    parts, position = [], 0
    for start, end, _ in raw.furniture:
        assert position <= start < end <= len(raw.text)
        parts.append(raw.text[position:start])
        position = end
    assert list(raw.pages) == sorted(raw.pages)
    return "".join([*parts, raw.text[position:]])


def bare(text: str) -> str:
    """A text without Markdown marks and white space, folded."""
    return re.sub(r"[\s*`\\]|^#+|<[^>]*>", "", fold(text))


def in_order(text: str, sentences: list[str]) -> None:
    """Every sentence stands in the text, once where it is long, in this order."""
    flat, position = bare(text), 0
    for sentence in sentences:
        found = flat.find(bare(sentence), position)
        assert found >= 0, f"{sentence!r} is missing, or out of order, in {text}"
        position = found + len(bare(sentence))
        assert len(bare(sentence)) < 20 or flat.count(bare(sentence)) == 1


def headings(text: str) -> list[tuple[int, str]]:
    """Levels and titles of the headings, code left out."""
    prose = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.M | re.S)
    return [(len(found[1]), found[2].strip()) for found in re.finditer(r"^(#{1,6}) (.+)$", prose, re.M)]


def same_headings(text: str, expected: list[tuple[int, str]]) -> None:
    """The same titles with the same levels, counted from the highest level that is there; a title above them all may come first."""
    found = headings(text)
    found = [(level, title) for level, title in found if bare(title) in {bare(known) for _, known in expected}]
    top = min(level for level, _ in found)
    assert [(level - top + 1, bare(title)) for level, title in found] == [(level, bare(title)) for level, title in expected], text


def code_blocks(text: str) -> list[str]:
    """The contents of fenced blocks."""
    return [found[2].rstrip("\n") for found in re.finditer(r"^(`{3,})[^\n]*\n(.*?)^\1$", text, re.M | re.S)]


def table_rows(text: str) -> list[list[str]]:
    """The rows of the tables, without the line under the head."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.split("\n") if line.startswith("|")]
    return [row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]


def list_items(text: str) -> list[tuple[int, str]]:
    """Depth and text of the items of the known list."""
    known = {bare(words) for _, words in ITEMS}
    found = [(m[1], m[2]) for m in re.finditer(r"^([ \t]*)(?:[-*+]|\d+[.)])\s+(.+)$", text, re.M) if bare(m[2]) in known]
    return [(1 if not indent else 2, words.strip()) for indent, words in found]


def formulas(text: str) -> list[str]:
    """The formulas between dollar signs, written in one way."""
    return [plain_latex(found[1] or found[2]) for found in re.finditer(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", text, re.S)]


def plain_latex(text: str) -> str:
    """LaTeX without spaces and without braces around one symbol; the order of scripts is that of the text.

    >>> plain_latex(r"x_{j}^{2} + \\sqrt{d_{k}}")
    'x_j^2+\\\\sqrt{d_k}'
    """
    text = re.sub(r"\\(?:left|right|displaystyle|limits)(?![A-Za-z])|\s", "", text)
    return re.sub(r"([_^])\{(\w)\}", r"\1\2", text)
