"""Author, date and address come from the lines that were cut."""

import pytest

from ingest.cleaning.clean import clean

BODY = "键和值留在缓存里，解码时不再重算，每一步只算新的一个 token，代价是显存随长度增长。"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("原创 阿正 正心算法 2024-05-01 19:00 北京", {"author": "阿正", "date": "2024-05-01"}),
        ("作者：李四", {"author": "李四"}),
        ("作者 | 王五", {"author": "王五"}),
        ("本文作者： 半亩方塘", {"author": "半亩方塘"}),
        ("本文链接：https://example.org/a/b.html", {"address": "https://example.org/a/b.html"}),
        ("原文链接：https://blog.example.net/u/1", {"address": "https://blog.example.net/u/1"}),
        ("版权声明：本文为博主「青柠」的原创文章，转载请附上出处", {"author": "青柠"}),
        ("发布于 2023-09-14 22:31・IP 属地上海", {"date": "2023-09-14"}),
        ("posted @ 2022-11-30 18:21  石头汤  阅读(3302)  评论(4)", {"author": "石头汤", "date": "2022-11-30"}),
        ("Written by Jane Roe", {"author": "Jane Roe"}),
        ("Published on Mar 3, 2024", {"date": "2024-03-03"}),
        ("© 2019 – 2024 半亩方塘", {}),
    ],
)
def test_forms(line: str, wanted: dict[str, str]) -> None:
    cleaned = clean(f"缓存笔记\n\n阅读量 12\n{line}\n收藏 3\n\n{BODY}", "text")
    assert cleaned.text == f"缓存笔记\n\n{BODY}"
    assert dict(cleaned.metadata) == wanted


def test_what_the_file_says_is_not_overridden() -> None:
    page = f"---\nauthor: 甲\n---\n# 笔记\n\n作者 | 乙\n\n发布于 2024-02-03\n\n{BODY}"
    assert dict(clean(page, "markdown").metadata) == {"author": "甲", "date": "2024-02-03"}


def test_publication_goes_before_an_edit() -> None:
    page = f"笔记\n\n已于 2024-05-11 22:14:08 修改\n阅读量1.1k\n于 2024-05-10 20:00:00 首次发布\n\n{BODY}"
    assert dict(clean(page, "text").metadata)["date"] == "2024-05-10"
