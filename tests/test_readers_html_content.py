"""What is content where the evidence is mixed: pages without known containers, folded parts, discussions, old layouts."""

import pytest

from tests.test_readers_html import P1, P2, P3, check_spans, content, page

PAGES = {
    "WordPress": (
        f"""<header id="masthead" class="site-header"><p class="site-title"><a>My Blog</a></p><nav id="site-navigation"><ul><li><a href="/">Home</a></li></ul></nav></header>
        <div id="content"><main id="main"><article id="post-1" class="post"><header class="entry-header"><h1 class="entry-title">KV cache</h1><div class="entry-meta">by <a rel="author">Ann</a></div></header>
        <div class="entry-content"><div id="toc_container" class="toc"><p>Contents</p><ul><li><a href="#a">A</a></li></ul></div><p>{P1}</p><div class="adsbygoogle">广告位</div><h2>结论</h2><p>{P2}</p>
        <div class="sharedaddy sd-sharing"><h3>Share this:</h3><ul><li><a>Twitter</a></li></ul></div><div class="jp-relatedposts"><h3>Related</h3><p><a>Other</a></p></div></div>
        <footer class="entry-footer">Posted in <a>ML</a></footer></article><nav class="post-navigation"><a>Previous</a></nav>
        <div id="comments" class="comments-area"><h2>3 thoughts</h2><ol><li><p>{P3}{P3}</p></li></ol><form><textarea></textarea></form></div></main></div>
        <aside class="widget-area"><h2>Recent</h2><ul><li><a>x</a></li></ul></aside><footer>Powered by</footer>""",
        f"# KV cache\n{P1}\n## 结论\n{P2}",
    ),
    "questions and answers": (
        f"""<header><a>Stack Overflow</a></header><div id="left-sidebar"><a>Questions</a></div><div id="content"><div id="question-header"><h1 itemprop="name"><a>How big is the KV cache?</a></h1></div>
        <div class="question"><div class="js-vote-count">12</div><div class="s-prose js-post-body" itemprop="text"><p>{P1}</p></div><div class="comments"><span>thanks a lot for this</span></div></div>
        <div class="answer"><div class="s-prose js-post-body"><p>{P2}</p></div></div><div class="answer"><div class="s-prose js-post-body"><p>不是。</p></div></div></div>""",
        f"# How big is the KV cache?\n{P1}\n{P2}\n不是。",
    ),
    "an issue on GitHub": (
        f"""<main><h1 class="gh-header-title"><bdi class="js-issue-title">OOM with long context</bdi></h1><div class="js-discussion"><div class="timeline-comment"><div class="timeline-comment-header">ann commented</div>
        <div class="comment-body markdown-body js-comment-body"><p>{P1}</p></div></div><div class="timeline-comment"><div class="comment-body markdown-body"><p>{P2}</p></div></div></div></main>""",
        f"# OOM with long context\n{P1}\n{P2}",
    ),
    "a forum": (
        f"""<div id="Main"><h1>大家怎么算显存？</h1><div class="topic_content"><div class="markdown_body"><p>{P1}</p></div></div><div class="cell"><div class="reply_content">{P2 * 4}</div></div></div>
        <div id="Rightbar"><div class="box">广告</div></div>""",
        f"# 大家怎么算显存？\n{P1}\n{P2 * 4}",
    ),
    "several articles": (
        f"<main><article><h2><a href=1>文一</a></h2><p>{P1}</p></article><article><h2><a href=2>文二</a></h2><p>{P2}</p></article></main>",
        f"## 文一\n{P1}\n## 文二\n{P2}",
    ),
    "a page laid out by a table": (
        f"""<table><tr><td width=150><a href=1>栏目一</a><br><a href=2>栏目二</a><br><a href=3>栏目三</a></td><td><font size=5><b>缓存的原理</b></font><br><br>　　{P1}<br><br>　　{P2}<br><br>{P3}</td></tr></table>""",
        f"**缓存的原理**\n{P1}\n{P2}\n{P3}",
    ),
    "text without paragraphs": (
        f"<div id='nav'><a href='/1'>a</a></div><div id='con'><h1>标题</h1>{P1}<br>{P2}<br><br>1. 什么是KV？<br>{P3}</div>",
        f"# 标题\n{P1}\n{P2}\n1. 什么是KV？\n{P3}",
    ),
    "tabs": (
        f"""<main><h1>安装</h1><div role="tabpanel"><pre><code class="language-bash">pip install vllm</code></pre></div><div role="tabpanel" hidden><pre><code class="language-bash">conda install -c conda-forge vllm</code></pre></div>
        <p>{P1}</p></main>""",
        f"# 安装\n```bash\npip install vllm\n```\n```bash\nconda install -c conda-forge vllm\n```\n{P1}",
    ),
    "folded answers": (
        f"""<main><h1>FAQ</h1><h3><button aria-expanded="false" aria-controls="c1">什么是 GQA？</button></h3><div id="c1" style="display:none"><p>{P3}</p></div></main>
        <div class="cookie-banner"><p>我们使用 cookie</p><button>接受</button></div>""",
        f"# FAQ\n### 什么是 GQA？\n{P3}",
    ),
    "a dialog over the page": (
        f"""<div id="root" aria-hidden="true"><main><article><h1>题</h1><p>{P1}</p></article></main></div><div role="dialog"><p>登录后查看更多优质内容，和更多人交流讨论这个问题的答案。</p></div>""",
        f"# 题\n{P1}",
    ),
    "a name like a sidebar's around most of the text": (
        f"<div class='markdown-body'><p>{P1 * 3}</p></div><div class='layout-sidebar'><p>{P2 * 9}</p></div>",
        f"{P1 * 3}\n{P2 * 9}",
    ),
    "nothing but furniture": (f"<nav><p>{P1}</p></nav>", P1),
    "a shadow root in a saved page": (f"<x-post><template shadowrootmode='open'><article><p>{P1}</p></article></template></x-post>", P1),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), PAGES.values(), ids=PAGES)
def test_content(body: str, expected: str) -> None:
    raw = page(body)
    check_spans(raw)
    assert content(raw) == expected
