"""The first lines of a page, and what looks like them and is text."""

import pytest

from ingest.cleaning.clean import clean

TEXT = "注意力把每个位置与其他位置比较，再按相似程度取加权平均，因此长距离的依赖只要一步。"


def kept(*lines: str) -> list[str]:
    """The lines that stay, without blank ones."""
    return [line for line in clean("\n".join(lines), "text").text.split("\n") if line.strip()]


@pytest.mark.parametrize(
    "line",
    ["2024-12-03", "小灯 2019-01-25", "作者: 小灯", "编辑整理：青禾", "大约 13 分钟约 3891 字", "小灯2021-07-19  229", "分享"],
)
def test_an_early_line_about_the_page_goes_and_stays_further_down(line: str) -> None:
    text = [f"第{n}段。{TEXT}" for n in range(12)]
    assert kept("注意力机制小结", line, *text) == ["注意力机制小结", *text]
    assert line in kept("注意力机制小结", *text[:11], line, text[11])


def test_the_data_of_a_paper_stay() -> None:
    record = ["论文标题: 稀疏路由", "作者: 林某", "机构: 某大学", "发表时间: 2021年4月"]
    assert kept("论文笔记", *record, TEXT) == ["论文笔记", *record, TEXT]


def test_the_title_of_the_window_and_the_path_go_and_the_title_stays() -> None:
    assert kept("梯度裁剪的两种做法-小灯社区", "", "社区> 训练> 正文", "", "梯度裁剪的两种做法", "", TEXT) == [
        "梯度裁剪的两种做法",
        TEXT,
    ]
    assert kept("灯下", "训练", "首页 > 训练 > 梯度裁剪的两种做法", "", "梯度裁剪的两种做法", TEXT) == ["梯度裁剪的两种做法", TEXT]


@pytest.mark.parametrize(
    "line", [">>> a = model.fit(features)", "输入 -> 编码器 -> 解码器与损失函数", "--> 这里是解码器与损失函数"]
)
def test_an_arrow_is_no_path(line: str) -> None:
    lines = ["说明", line, "a = model.fit(features)", "解码器与损失函数", "这里是解码器与损失函数", TEXT]
    assert kept(*lines) == lines


def test_between_a_title_and_the_same_title_short_lines_go_and_text_stays() -> None:
    title = "混合专家模型的负载均衡办法"
    assert kept("模型笔记", title, "青禾", "编号七", title, TEXT) == [title, title, TEXT]
    assert kept(title, TEXT, "小结", title, TEXT) == [title, TEXT, "小结", title, TEXT]


def test_a_menu_that_comes_twice_goes() -> None:
    menu = ["首页", "  • 后端", "  • 前端", "  • 数据库", "  • 归档", "标签", "登录"]
    assert kept(*menu, *menu, "参数服务器与环形全归约", TEXT) == ["参数服务器与环形全归约", TEXT]
    items = [f"  • 方法{n}" for n in range(14)]
    assert kept("几种方法", *items, TEXT) == ["几种方法", *items, TEXT]


def test_a_card_about_the_author_goes_with_its_list() -> None:
    card = ["关于作者", "  • 领域：检索与生成", "  • 技术栈：Python 与数据库"]
    assert kept("检索的三步", TEXT, *card, "", TEXT) == ["检索的三步", TEXT, TEXT]


def test_what_follows_the_end_goes_unless_it_asks() -> None:
    text = [f"第{n}段。{TEXT}" for n in range(6)]
    assert kept("小结", *text, "Share this article", "Ada Example", "Engineer.") == ["小结", *text]
    below = ["Q2: 多头有什么用?", "分开看不同的关系。"]
    assert kept("小结", *text, "Share this article", *below)[-2:] == below


def test_terms_of_a_site_go_and_a_design_of_such_a_site_stays() -> None:
    terms = "1、本站文档由网友上传,付费下载后不退款,如侵犯著作权请点击版权申诉。"
    assert kept("题集", terms, TEXT) == ["题集", TEXT]
    design = "1、会员下载要先扣次数再生成链接，失败时退回次数。"
    assert kept("题集", design, TEXT) == ["题集", design, TEXT]


def test_a_list_whose_items_come_again_below_is_a_table_of_contents() -> None:
    items = ["绝对编码", "旋转编码", "外推办法", "实验设置"]
    sections = [line for item in items for line in (item, TEXT)]
    assert kept("位置编码", *(f"• {item}" for item in items), "", *sections) == ["位置编码", *sections]
    assert kept("位置编码", *(f"• {item}" for item in items), "", TEXT)[1:5] == [f"• {item}" for item in items]


def test_a_short_title_that_a_path_names_is_kept() -> None:
    dated = ["发布时间: 2023-08-31 05:02:27", "", "⑴ 数据挖掘小结(四)--聚类算法", "", "本文共计2680字,预计阅读时长七分钟"]
    shown = kept("当前位置:首页 » 系统 » 划分聚类算法", "", "划分聚类算法", "", *dated, "", "聚类算法", "", TEXT)
    assert shown == ["划分聚类算法", dated[2], "聚类算法", TEXT]
