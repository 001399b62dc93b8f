"""Saved pages of the kinds people bring: the article whole, once, as Markdown, and nothing of the page around it.

The pages are ours; their class names and nesting are those of the sites.
"""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cleaning.clean import clean
from ingest.document import RawText
from ingest.errors import MianpuError
from ingest.readers.html import decode_html, read_html
from tests.timing import processor_seconds


def page(body: str, head: str = "") -> RawText:
    return read_html(f'<!DOCTYPE html><html><head><meta charset="utf-8">{head}</head><body>{body}</body></html>'.encode())


def content(raw: RawText) -> str:
    """What stays when the furniture alone is cut."""
    parts, at = [], 0
    for start, end, _ in raw.furniture:
        parts.append(raw.text[at:start])
        at = end
    text = "".join([*parts, raw.text[at:]])
    return "\n".join(line for line in text.split("\n") if line.strip())


def markdown(fragment: str) -> str:
    return page(f"<article>{fragment}</article>").text.strip("\n")


def check_spans(raw: RawText) -> None:
    last = 0
    for start, end, reason in raw.furniture:
        assert last <= start < end <= len(raw.text)
        assert reason
        last = end


# --- Markdown -------------------------------------------------------------------------------------------------------

BLOCKS = {
    "headings": ("<h1>甲</h1><h3>乙 <b>丙</b><a class='headerlink' href='#x'>¶</a></h3>", "# 甲\n\n### 乙 丙"),
    "paragraphs": ("<p>第一段\n  换行。</p><div>第二段 a\nb</div>", "第一段换行。\n\n第二段 a b"),
    "line breaks": ("<p>一<br>二<br><br>三</p>", "一\n二\n\n三"),
    "styles": ("<p><b>粗</b><strong>体</strong> <i>斜</i> <em> 空 </em>x <s>旧</s></p>", "**粗体** *斜 空* x ~~旧~~"),
    "style attributes": (
        '<p><span style="font-weight: 700">粗</span><b style="font-weight:normal">细</b></p>',
        "**粗**细",
    ),
    "a bold label": ("<p><strong>要点：</strong>内容</p>", "**要点**：内容"),
    "inline code": ("<p>用 <code>a_b</code> 和 <code>x`y</code></p>", "用 `a_b` 和 `` x`y ``"),
    "links": ('<p>见<a href="https://example.org/x">论文</a>。</p>', "见论文。"),
    "scripts": (
        "<p>x<sup>2</sup>+10<sup>-6</sup>,x<sub>model</sub>,1<sup>st</sup>见<sup><a href='#f'>3</a></sup></p>",
        "x^2+10^-6,x_{model},1st见[3]",
    ),
    "ruby": ("<p><ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby></p>", "漢(kan)"),
    "entities": ("<p>a&nbsp;&lt;b&gt; &amp; c&#8203;d&shy;e</p>", "a <b> & cde"),
    "marks that are text": (
        "<p># 不是标题</p><p>```</p><p>| 不是表</p><p>1. 是什么</p>",
        "\\# 不是标题\n\n\\```\n\n\\| 不是表\n\n1. 是什么",
    ),
    "lists": (
        "<ol start='3'><li>甲<ul><li>乙</li><li>丙</li></ul></li><li>丁</li></ol>",
        "3. 甲\n   - 乙\n   - 丙\n4. 丁",
    ),
    "a list of paragraphs": ("<ul><li><p>甲</p><p>乙</p></li><li><p>丙</p></li></ul>", "- 甲\n\n  乙\n\n- 丙"),
    "a list out of its item": ("<ul><li>甲</li><ul><li>乙</li></ul></ul>", "- 甲\n\n- 乙"),
    "code in a list": ("<ol><li>先<pre>pip\n  x</pre></li></ol>", "1. 先\n\n   ```\n   pip\n     x\n   ```"),
    "questions in a list": (
        "<ol><li><h3>为什么要缩放？</h3><p>方差。</p></li><li><h3>为什么多头？</h3><p>子空间。</p></li></ol>",
        "### 1. 为什么要缩放？\n\n方差。\n\n### 2. 为什么多头？\n\n子空间。",
    ),
    "tasks": (
        "<ul><li><input type='checkbox' checked> 做完</li><li><input type='checkbox'> 没做</li></ul>",
        "- [x] 做完\n- [ ] 没做",
    ),
    "definitions": ("<dl><dt>GQA</dt><dd>分组查询注意力</dd></dl>", "**GQA**\n\n分组查询注意力"),
    "quotes": ("<blockquote><p>一</p><blockquote>二</blockquote></blockquote>", "> 一\n>\n> > 二"),
    "folded": ("<details><summary>为什么？</summary><p>因为。</p></details>", "**为什么？**\n\n因为。"),
    "a rule": ("<p>一</p><hr><p>二</p>", "一\n\n---\n\n二"),
    "pictures": (
        '<p><img alt="多头注意力的结构"><img alt="image-2023.png"><img alt="在这里插入图片描述"><img alt="图 1"><img class="emoji" alt="🙂"></p>',
        "![多头注意力的结构]🙂",
    ),
    "lazy pictures": ('<p>图<noscript><img alt="缓存的布局"></noscript></p>', "图![缓存的布局]"),
    "a table": (
        "<table><caption>对比</caption><thead><tr><th>方法</th><th>显存</th></tr></thead>"
        "<tr><td>MHA</td><td>a|b<br>c</td></tr><tr><td colspan='2'>共同</td></tr></table>",
        "对比\n\n| 方法 | 显存 |\n| --- | --- |\n| MHA | a\\|b c |\n| 共同 |",
    ),
    "rows that a cell covers": (
        "<table><tr><th>a<th>b</tr><tr><td rowspan='2'>甲<td>1</tr><tr><td>2</tr></table>",
        "| a | b |\n| --- | --- |\n| 甲 | 1 |\n|  | 2 |",
    ),
    "a table of one cell": ("<table><tr><td><h2>题</h2><p>答</p></td></tr></table>", "## 题\n\n答"),
    "a table of one column": ("<table><tr><td>甲</td></tr><tr><td>乙</td></tr></table>", "甲\n\n乙"),
    "a table that lays out": ("<table><tr><td><pre>a\nb</pre></td><td>说明</td></tr></table>", "```\na\nb\n```\n\n说明"),
    "a wide row among many": (
        "<table><tr>" + "<td>x" * 3 + "</tr><tr><td>y</tr></table>",
        "| x | x | x |\n| --- | --- | --- |\n| y |",
    ),
}


@pytest.mark.parametrize(("html", "expected"), BLOCKS.values(), ids=BLOCKS)
def test_markdown(html: str, expected: str) -> None:
    assert markdown(html) == expected


CODE = {
    "CSDN": (
        '<pre data-index="0" class="set-code-show prettyprint"><code class="prism language-python has-numbering">def f(x):\n    return x  '
        '<span class="token comment"># 注释</span>\n<div class="hljs-button signin" data-title="登录后复制">登录后复制</div></code>'
        '<ul class="pre-numbering"><li>1</li><li>2</li></ul></pre>',
        "```python\ndef f(x):\n    return x  # 注释\n```",
    ),
    "CSDN, numbered by highlight.js": (
        '<pre><code class="hljs language-cpp"><table class="hljs-ln"><tbody><tr><td class="hljs-ln-line hljs-ln-numbers"><div class="hljs-ln-n">1</div></td>'
        '<td class="hljs-ln-line hljs-ln-code">int x;</td></tr><tr><td class="hljs-ln-numbers">2</td><td class="hljs-ln-code">  y();</td></tr></tbody></table></code></pre>',
        "```cpp\nint x;\n  y();\n```",
    ),
    "Juejin": (
        '<pre><div class="code-block-extension-header"><div class="code-block-extension-headerLeft"><span class="code-block-extension-lang">bash</span></div>'
        '<div>体验AI代码助手 代码解读<div class="code-block-extension-copyCodeBtn">复制代码</div></div></div>'
        '<code class="hljs language-bash" lang="bash">pip install vllm\n</code></pre>',
        "```bash\npip install vllm\n```",
    ),
    "WeChat": (
        '<section class="code-snippet__fix"><ul class="code-snippet__line-index code-snippet__js"><li></li><li></li></ul><pre class="code-snippet__js" data-lang="python">'
        '<code><span class="code-snippet_outer">def f():</span></code><code><span>&nbsp;&nbsp;return 1</span></code></pre></section>',
        "```python\ndef f():\n  return 1\n```",
    ),
    "GitHub": (
        '<div class="highlight highlight-source-shell notranslate"><pre>make  run</pre><div class="zeroclipboard-container"><button aria-label="Copy">Copy</button></div></div>',
        "```shell\nmake  run\n```",
    ),
    "a file on GitHub": (
        '<table class="highlight js-file-line-container"><tr><td class="blob-num" data-line-number="1"></td><td class="blob-code blob-code-inner">import os</td></tr>'
        '<tr><td class="blob-num">2</td><td class="blob-code blob-code-inner">  x</td></tr></table>',
        "```\nimport os\n  x\n```",
    ),
    "cnblogs": (
        '<div class="cnblogs_code"><div class="cnblogs_code_toolbar"><span class="cnblogs_code_copy"><a>复制代码</a></span></div><pre><span>1</span> x = 1\n<span>2</span>   y</pre></div>',
        "```\nx = 1\n  y\n```",
    ),
    "Hexo": (
        '<figure class="highlight python"><table><tr><td class="gutter"><pre><span class="line">1</span><br><span class="line">2</span></pre></td>'
        '<td class="code"><pre><span class="line">a = 1</span><br><span class="line">  b</span><br></pre></td></tr></table></figure>',
        "```python\na = 1\n  b\n```",
    ),
    "Docusaurus": (
        '<div class="language-ts"><pre class="prism-code language-ts"><code><span class="token-line" style="color:red">const a</span><br><span class="token-line">let b</span></code></pre>'
        '<div class="buttonGroup"><button class="clean-btn">Copy</button></div></div>',
        "```typescript\nconst a\nlet b\n```",
    ),
    "Sphinx": ('<div class="highlight-python notranslate"><div class="highlight"><pre><span></span>x = 1\n</pre></div></div>', "```python\nx = 1\n```"),
    "backticks": ("<pre>```\ncode\n```</pre>", "````\n```\ncode\n```\n````"),
    "numbers that are code": ("<pre>1 a\n2 b</pre>", "```\n1 a\n2 b\n```"),
}  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), CODE.values(), ids=CODE)
def test_code_of_each_site(html: str, expected: str) -> None:
    assert markdown(html) == expected


_KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>Q</mi></mrow><annotation encoding="application/x-tex">QK^T</annotation>'
    '</semantics></math></span><span class="katex-html" aria-hidden="true"><span>QKT</span></span></span>'
)
FORMULAS = {
    "KaTeX": (f"<p>设 {_KATEX} 为</p>", "设 $QK^T$ 为"),
    "KaTeX on a line": (f'<p>设<span class="katex-display">{_KATEX}</span>为</p>', "设\n\n$$QK^T$$\n\n为"),
    "CSDN": (f'<p>设<span class="katex--inline">{_KATEX}</span></p>', "设$QK^T$"),
    "MathJax 2": (
        '<p>设<span class="MathJax_Preview">q</span><span class="MathJax" id="MathJax-Element-2-Frame"><nobr>qi</nobr></span>'
        '<script type="math/tex" id="MathJax-Element-2">q_i</script>为</p><script type="math/tex; mode=display">\\sum_i\n\n x_i</script>',
        "设$q_i$为\n\n$$\n\\sum_i\nx_i\n$$",
    ),
    "MathJax 3": (
        '<mjx-container class="MathJax" jax="SVG" display="true"><svg></svg><mjx-assistive-mml><math display="block"><mfrac><mn>1</mn><msqrt><mi>d</mi></msqrt></mfrac></math>'
        "</mjx-assistive-mml></mjx-container>",
        "$$\\frac{1}{\\sqrt{d}}$$",
    ),
    "MathJax 3, drawn only": (
        '<p><mjx-container class="MathJax" jax="CHTML"><mjx-math><mjx-c class="mjx-c1D465"></mjx-c><mjx-c class="mjx-c3D"></mjx-c><mjx-c class="mjx-c31"></mjx-c></mjx-math></mjx-container></p>',
        "$x=1$",
    ),
    "Zhihu": (
        '<p>设<span class="ztext-math" data-eeimg="1" data-tex="x^2"><span class="MathJax_SVG" id="MathJax-Element-1-Frame"><svg></svg></span>'
        '<script type="math/tex;mode=inline" id="MathJax-Element-1">x^2</script></span>与<img src="https://www.zhihu.com/equation?tex=a%2Bb" alt="[公式]" eeimg="1"></p>',
        "设$x^2$与$a+b$",
    ),
    "WeChat": ('<section data-formula="a \\cdot b"><svg><g></g></svg></section>', "$a \\cdot b$"),
    "Wikipedia": (
        '<p><span class="mwe-math-element"><span style="display: none;"><math><semantics><mi>E</mi><annotation encoding="application/x-tex">{\\displaystyle E=mc^{2}}</annotation>'
        '</semantics></math></span><img class="mwe-math-fallback-image-inline" alt="{\\displaystyle E=mc^{2}}"></span></p>',
        "$E=mc^{2}$",
    ),
    "Sphinx": ('<div class="math notranslate">\\[y = Wx\\]</div>', "$$y = Wx$$"),
    "LaTeXML": ('<p><math alttext="p(x)"><mi>p</mi></math></p>', "$p(x)$"),
    "MathML alone": (
        "<p><math><msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup><mo>=</mo><mover><mi>y</mi><mo>^</mo></mover><mtext>若</mtext><munderover><mo>∑</mo><mi>k</mi><mn>10</mn></munderover></math></p>",
        "$x_i^2=\\hat{y}\\text{若}∑_k^{10}$",
    ),
    "written by hand": ("<p>损失 $L = -\\log p$ 与 \\(x\\)</p>", "损失 $L = -\\log p$ 与 \\(x\\)"),
}  # fmt: skip


@pytest.mark.parametrize(("html", "expected"), FORMULAS.values(), ids=FORMULAS)
def test_a_formula_is_read_once_as_tex(html: str, expected: str) -> None:
    assert markdown(html) == expected


# --- pages ----------------------------------------------------------------------------------------------------------

P1 = "键值缓存把已经算过的键和值留在显存里，解码下一个词元时只需要计算一个新的查询。"
P2 = "它的大小与层数、头数、序列长度成正比，因此长上下文的服务常常受显存而不是算力限制。"
P3 = "分组查询注意力让几个查询头共用一组键和值，缓存随之缩小，质量只有很小的损失。"

SITES = {
    "CSDN": (
        f"""<div id="csdn-toolbar"><a href="/">首页</a> <a href="/b">博客</a></div><div class="main_father"><main><div class="blog-content-box">
        <div class="article-header-box"><h1 class="title-article" id="articleContentId">键值缓存笔记</h1><div class="article-info-box"><div class="article-bar-top">
        <a class="follow-nickName">小林</a><span class="time">已于 2024-03-05 10:00:00 修改</span><span class="read-count">阅读量3.2k</span></div></div></div>
        <article class="baidu_pl"><div id="article_content" class="article_content"><div id="content_views" class="markdown_views">
        <h2><a name="t0"></a>原理</h2><p>{P1}</p><p>{P2}</p></div></div></article></div>
        <div class="recommend-box"><div class="recommend-item"><a href="x">大模型面试百题</a><p>{P3}</p></div></div>
        <div class="comment-box"><p>楼主这段写得特别清楚，帮我准备了一周的面试，谢谢分享。</p></div></main><aside class="blog_container_aside"><div>热门文章</div></aside></div>""",
        f"# 键值缓存笔记\n## 原理\n{P1}\n{P2}",
        (("title", "键值缓存笔记"), ("author", "小林"), ("date", "2024-03-05")),
    ),
    "a question on Zhihu": (
        f"""<header class="AppHeader"><a>知乎</a><button>登录</button></header><div class="QuestionPage"><div class="QuestionHeader"><h1 class="QuestionHeader-title">为什么需要键值缓存？</h1>
        <div class="QuestionRichText"><span class="RichText ztext">想知道它解决什么问题。</span></div><div class="QuestionHeaderActions"><button>写回答</button></div></div>
        <div class="List-item"><div class="ContentItem AnswerItem"><div class="AuthorInfo"><a class="UserLink-link">甲</a></div><div class="RichContent"><div class="RichContent-inner">
        <span class="RichText ztext CopyrightRichText-richText"><p>{P1}</p></span></div><div class="ContentItem-actions"><button>赞同 12</button><button>3 条评论</button></div></div></div></div>
        <div class="List-item"><div class="AnswerItem"><div class="RichContent"><span class="RichText ztext"><p>{P3}</p></span></div>
        <div class="Comments-container"><div class="CommentContent"><div class="RichText">说得对，我们线上就是这样做的。</div></div></div></div></div>
        <div class="Question-sideColumn"><div class="Card">相关问题</div></div></div>""",
        f"# 为什么需要键值缓存？\n想知道它解决什么问题。\n{P1}\n{P3}",
        (("title", "为什么需要键值缓存？"),),
    ),
    "an article on Zhihu": (
        f"""<div class="ColumnPageHeader"><a>写文章</a></div><article class="Post-Main"><header class="Post-Header"><h1 class="Post-Title">显存账本</h1><div class="AuthorInfo-name">乙</div></header>
        <div class="Post-RichTextContainer"><div class="RichText ztext Post-RichText"><p>{P1}</p><p>{P2}</p></div></div><div class="ContentItem-time">编辑于 2024-05-06 · IP 属地浙江</div></article>
        <div class="Recommendations-Main"><a>推荐阅读</a></div>""",
        f"# 显存账本\n{P1}\n{P2}",
        (("title", "显存账本"), ("author", "乙"), ("date", "2024-05-06")),
    ),
    "WeChat": (
        f"""<div class="rich_media_area_primary"><h1 class="rich_media_title" id="activity-name"> 显存都去哪了 </h1><div id="meta_content"><a id="js_name">面谱笔记</a><em id="publish_time">2024年1月2日 08:00</em></div>
        <div class="rich_media_content" id="js_content" style="visibility: hidden; opacity: 0; "><section style="padding:0"><section><p><span style="font-weight:bold">一、原理</span></p></section>
        <section><p><span>{P1}</span></p><p><img data-src="https://example.org/x.png" alt="图片"></p></section></section></div></div>
        <div id="js_pc_qr_code"><p>微信扫一扫关注该公众号</p></div><div class="rich_media_tool"><span>阅读</span><span>在看</span></div>""",
        f"# 显存都去哪了\n**一、原理**\n{P1}",
        (("title", "显存都去哪了"), ("author", "面谱笔记"), ("date", "2024-01-02")),
    ),
    "a README on GitHub": (
        f"""<div class="js-header-wrapper"><header role="banner"><nav><ul><li><a>Product</a></li></ul></nav></header></div><div class="application-main"><main id="js-repo-pjax-container">
        <div class="Layout-main"><table aria-labelledby="folders-and-files"><tr><td><a>src</a></td><td><a>Update</a></td></tr></table>
        <article class="markdown-body entry-content container-lg" itemprop="text"><div class="markdown-heading"><h1 class="heading-element">kv-notes</h1><a class="anchor" aria-label="Permalink: kv-notes" href="#kv"><svg></svg></a></div>
        <p>{P1}</p></article></div><div class="Layout-sidebar"><h2>About</h2><p>Notes on caches</p></div></main></div><footer class="footer"><p>© 2024 GitHub, Inc.</p></footer>""",
        f"# kv-notes\n{P1}",
        (("title", "kv-notes"),),
    ),
    "cnblogs": (
        f"""<div id="header"><div id="blogTitle"><h1><a>某人的博客</a></h1></div><div id="navigator"><ul id="navList"><li><a>首页</a></li></ul></div></div>
        <div id="main"><div id="mainContent"><div id="post_detail"><div class="post"><h1 class="postTitle"><a id="cb_post_title_url"><span>分组查询注意力</span></a></h1>
        <div class="postBody"><div id="cnblogs_post_body" class="blogpost-body"><p>{P3}</p><p>{P2}</p></div></div><div class="postDesc">posted @ <span id="post-date">2023-11-12 09:08</span></div></div></div>
        <div id="comment_form"><div class="commentform">发表评论</div></div></div><div id="sideBar"><div id="blog-calendar">日历</div></div></div>""",
        f"# 分组查询注意力\n{P3}\n{P2}",
        (("title", "分组查询注意力"), ("date", "2023-11-12")),
    ),
    "Juejin": (
        f"""<div class="view-container"><header class="main-header"><nav>首页</nav></header><main><div class="main-area"><article class="article" itemscope><meta itemprop="datePublished" content="2023-08-09T01:02:03.000Z">
        <h1 class="article-title">长上下文的代价</h1><div class="author-info-block"><span class="author-name">丙</span></div>
        <div id="article-root" class="article-viewer markdown-body result"><style>.x{{}}</style><p>{P2}</p><p>{P1}</p></div></article></div><div class="article-suspended-panel"><div>点赞</div></div></main></div>""",
        f"# 长上下文的代价\n{P2}\n{P1}",
        (("title", "长上下文的代价"), ("author", "丙"), ("date", "2023-08-09")),
    ),
    "a page of documentation": (
        f"""<nav class="navbar"><a>Docs</a></nav><div class="main-wrapper"><aside class="theme-doc-sidebar-container"><ul class="menu__list"><li><a>Intro</a></li></ul></aside><main>
        <article><nav class="theme-doc-breadcrumbs"><ul><li>Serving</li></ul></nav><div class="theme-doc-markdown markdown"><header><h1>Paged attention</h1></header><p>{P1}</p>
        <h2 id="comments">Comments<a class="hash-link" href="#comments">#</a></h2><p>{P2}</p><aside class="admonition">{P3}</aside></div>
        <footer class="theme-doc-footer"><a>Edit this page</a></footer></article><nav class="pagination-nav"><a>Next</a></nav></main></div>""",
        f"# Paged attention\n{P1}\n## Comments\n{P2}\n{P3}",
        (("title", "Paged attention"),),
    ),
    "a blog without known names": (
        f"""<div class="top"><ul><li><a href="/">主页</a></li><li><a href="/a">归档</a></li><li><a href="/t">标签</a></li></ul></div><div class="wrap"><h1>缓存的故事</h1><div><p>{P1}</p><p>{P2}</p></div>
        <div class="share-bar"><span>分享到微博</span></div></div><div id="sidebar"><h3>最新文章</h3></div><footer>ICP 备 123</footer>""",
        f"# 缓存的故事\n{P1}\n{P2}",
        (("title", "缓存的故事"),),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected", "metadata"), SITES.values(), ids=SITES)
def test_the_article_and_nothing_of_the_page(body: str, expected: str, metadata: tuple[tuple[str, str], ...]) -> None:
    raw = page(body)
    check_spans(raw)
    assert content(raw) == expected
    assert raw.metadata == metadata
    assert raw.format == "html"


def test_furniture_stays_in_the_text_with_its_reason() -> None:
    raw = page(SITES["CSDN"][0])
    cuts = {reason: raw.text[start:end] for start, end, reason in raw.furniture}
    assert "大模型面试百题" in cuts["navigation"]
    assert cuts["comments"].startswith("楼主这段写得")
    cleaned = clean(raw.text, raw.markup, raw.furniture)
    assert cleaned.text.strip() == f"# 键值缓存笔记\n\n## 原理\n\n{P1}\n\n{P2}"


def test_what_a_page_says_of_itself() -> None:
    raw = page(
        f"<article><h1>缓存</h1><p>{P1}</p></article>",
        '<title>缓存 - 某某博客</title><meta property="og:title" content="缓存 - 某某博客"><link rel="canonical" href="https://example.org/kv">'
        '<script type="application/ld+json">{"@graph": [{"@type": "BlogPosting", "author": {"name": "丁"}, "datePublished": "2022-02-03T04:05"}]}</script>',
    )
    assert raw.metadata == (("title", "缓存"), ("author", "丁"), ("date", "2022-02-03"), ("address", "https://example.org/kv"))


@pytest.mark.parametrize(
    ("head", "body", "title"),
    [
        ("<title>缓存 - 某某博客</title>", "<h2>别的</h2>", "缓存"),
        ("<title>缓存_某站</title>", "<h1>缓存</h1>", "缓存"),
        ("<title>01-notes</title>", "<h1>缓存</h1>", "缓存"),
        ("<title>缓存 - 知乎</title>", "<h1>一、背景</h1><h1>二、方法</h1>", "缓存"),
        (
            '<title>x</title><meta property="og:title" content="缓存 | 小站"><meta property="og:site_name" content="小站">',
            "",
            "缓存",
        ),
    ],
)
def test_titles(head: str, body: str, title: str) -> None:
    assert dict(page(f"<article>{body}<p>{P1}</p></article>", head).metadata)["title"] == title


def test_the_address_a_browser_notes() -> None:
    data = f"<!DOCTYPE html>\n<!-- saved from url=(0022)https://example.org/kv -->\n<html><body><p>{P1}</p></body></html>"
    assert read_html(data.encode()).metadata == (("address", "https://example.org/kv"),)


def test_text_that_stands_outside_a_known_container_is_kept() -> None:
    raw = page(
        f'<div class="markdown-body"><p>{P1 * 3}</p></div><div class="x"><p>{P2 * 4}</p></div><div class="y"><a href="/">更多</a></div>'
    )
    assert content(raw) == f"{P1 * 3}\n{P2 * 4}"


def test_names_of_furniture_do_not_cut_an_answer() -> None:
    raw = page(
        f'<article><div class="related-content"><p>{P1 * 3}</p><p>{P2 * 3}</p></div><section id="search"><h2>搜索</h2><p>{P3}</p></section></article>'
    )
    assert content(raw) == f"{P1 * 3}\n{P2 * 3}\n## 搜索\n{P3}"


def test_what_is_hidden_is_dropped_but_a_folded_answer_is_not() -> None:
    raw = page(
        f'<article><p>{P1}</p><p hidden>暗号</p><div style="display: none">模板</div><template><p>样板</p></template><svg><text>图</text></svg>'
        f'<div class="accordion-body" style="display:none"><p>{P2}</p></div><script>var x = "<p>脚本</p>"</script></article>'
    )
    assert raw.text.strip() == f"{P1}\n\n{P2}"


def test_a_contents_list_of_links_into_the_page() -> None:
    raw = page(
        f'<article><ul><li><a href="#a">甲节</a></li><li><a href="#b">乙节</a></li><li><a href="#c">丙节</a></li></ul><h2 id="a">甲节</h2><p>{P1}</p></article>'
    )
    assert [reason for *_, reason in raw.furniture] == ["contents"]
    assert content(raw) == f"## 甲节\n{P1}"


# --- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "codec", "name"),
    [
        ('<meta charset="utf-8">', "utf-8", "utf-8"),
        ('<meta charset="gb2312">', "gb18030", "gb18030"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=gbk">', "gb18030", "gb18030"),
        ("<META content='text/html; charset=big5' http-equiv=Content-Type>", "big5", "big5"),
        ('<meta charset="gb2312">', "utf-8", "utf-8"),  # a browser saved it as UTF-8 and left the declaration
        ("", "gb18030", "gb18030"),
        ("", "utf-16", "utf-16"),
        ("", "utf-8-sig", "utf-8"),
        ('<meta charset="no-such">', "gb18030", "gb18030"),
        ('<meta charset="hex">', "gb18030", "gb18030"),
    ],
)
def test_encodings(head: str, codec: str, name: str) -> None:
    traditional = "快取會佔用顯示記憶體，長文本的服務往往受它限制，這是面試常見的問題。"
    text = traditional if codec == "big5" else P1 * 20 + "€㐀" * (codec == "gb18030")
    raw = read_html(f"<html><head>{head}</head><body><p>{text}</p></body></html>".encode(codec))
    assert (raw.text.strip(), raw.encoding) == (text, name)


def test_a_declaration_that_the_bytes_belie_is_not_believed() -> None:
    assert decode_html(b'<meta charset="shift_jis">' + (P1 * 3).encode("gb18030"))[1] == "gb18030"


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('<div id="root"></div><script>render()</script>', "a script draws it"),
        (
            '<div id="app">Loading…</div><noscript>You need to enable JavaScript to run this app.</noscript><script src="x"></script>',
            "a script draws it",
        ),
        ("<style>p {}</style>", "holds no text"),
        ("<p></p>" * 500_001, "more than 500,000 elements"),
    ],
)
def test_a_page_without_text_says_what_to_do(body: str, words: str) -> None:
    with pytest.raises(MianpuError, match=words) as caught:
        page(body)
    assert "\n" not in str(caught.value)


DEEP = {
    "div": "<div>" * 100_000 + P1,
    "closed": "<div>" * 100_000 + P1 + "</div>" * 100_000,
    "unmatched": "<div>" * 100_000 + "</p>" * 100_000 + P1,
    "formats": "".join(f"<b id={n}>" for n in range(20_000)) + "<p>" * 10_000 + P1,
    "lists": "<ul><li>" * 50_000 + P1,
    "tables": "<table><tr><td>" * 30_000 + P1,
    "quotes": "<blockquote>" * 900 + f"<p>{P1}</p>" * 500,
    "spaces": "<p>" + "\u3000" * 200_000 + P1 + "\u3000" * 200_000,
}


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_a_page_nested_without_end_is_read_flat(body: str) -> None:
    started = time.process_time()
    raw = page(body)
    assert P1 in raw.text
    assert len(raw.text) < 4 * len(body)
    assert time.process_time() - started < 10


def test_the_time_grows_with_the_page_and_no_faster() -> None:
    part = f'<h2>节</h2><p>{P1}<b>{P2}</b><a href="/x">{P3}</a></p><ul><li>甲</li><li>乙</li></ul><pre><code>x = 1</code></pre>'

    def seconds(copies: int) -> float:
        return processor_seconds(lambda: page(f"<article>{part * copies}</article>"))

    seconds(50)
    assert seconds(4000) < 8 * max(seconds(1000), 0.05)


TOKENS = (
    "<p>", "</p>", "<div class='comment'>", "</div>", "<article>", "<ul><li>", "</li>", "</ul>", "<ol start=7>", "<table><tr><td>", "</table>", "<td colspan=9>", "<pre>", "<code>", "</code>",
    "</pre>", "<h2>", "</h2>", "<b>", "</b>", "<br>", "<nav>", "</nav>", "<a href=#x>", "</a>", "<math><mi>x</mi>", "</math>", "<span class=katex>", "</span>", "<img alt='图解'>", "<blockquote>",
    "</blockquote>", "<script>", "</script>", "<sup>", "</sup>", "<!--", "-->", "&#0;", "&#xD800;", "&nbsp;", "文字一段。", "word ", "\n", "`", "```", "|", "# ", "$", "<dl><dt>", "<dd>", "<button>",
    "<details><summary>", "<div hidden>", "<template>", "<svg>", "<noscript>", "<form>", "<li>", "<footer>",
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(TOKENS), max_size=60).map("".join))
def test_any_tags_give_text_whose_spans_hold(html: str) -> None:
    _check_any(html.encode())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_text_or_one_clear_line(data: bytes) -> None:
    _check_any(data)


def _check_any(data: bytes) -> None:
    try:
        raw = read_html(data)
    except MianpuError as error:
        assert "\n" not in str(error)
        return
    check_spans(raw)
    assert raw.text.strip()
    assert not any(char in raw.text for char in "\r\x00\x0b\u2028\ufeff")
    raw.text.encode("utf-8")
    clean(raw.text, raw.markup, raw.furniture)
