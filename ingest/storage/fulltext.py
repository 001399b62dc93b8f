"""Text -> the words of the full-text index: Latin words, jieba words and bigrams of Chinese characters.

Bigrams find what jieba's dictionary cuts differently in question and passage; words keep the ranking sharp.
The same function serves the index and the question, so both sides always agree.
"""

import logging
import re
import unicodedata
import warnings
from contextlib import suppress
from functools import lru_cache
from typing import Any

from ingest.variants import simplified

_RUN = re.compile(r"[a-z0-9]+(?:[.+#][a-z0-9]+)*\+*|[\u3400-\u4dbf\u4e00-\u9fff]+")


@lru_cache(maxsize=1)
def _jieba() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba 0.42 compiles with invalid escapes and imports pkg_resources
        import jieba  # imported here: reading its dictionary takes most of a second

        from ingest.models.model_files import cache_folder

        jieba.setLogLevel(logging.CRITICAL)  # it logs a traceback when its cache cannot be written, and goes on without
        folder = cache_folder()
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        jieba.dt.tmp_dir = str(folder)  # by default a file of /tmp, which anyone may have put there, is read as marshalled objects
        jieba.initialize()
    return jieba


def words(text: str) -> list[str]:
    """The index words of a text, in order, repeated as often as they occur.

    Latin words are lower-cased and NFKC-folded, Traditional characters become Simplified ones; «gpt-3» gives ``gpt`` and ``3``,
    «3.5» stays whole but gives its parts too.
    """
    folded = simplified(unicodedata.normalize("NFKC", text).lower())
    found: list[str] = []
    for match in _RUN.finditer(folded):
        run = match.group()
        if run[0].isascii():
            parts = re.findall(r"[a-z0-9]+", run)
            found.extend(parts)
            if len(parts) > 1:
                found.append("_".join(parts))
        else:
            found.extend(_chinese(run))
    return found


def _chinese(run: str) -> list[str]:
    if len(run) == 1:
        return [run]
    bigrams = [run[i : i + 2] for i in range(len(run) - 1)]
    longer = [word for word in _jieba().cut_for_search(run) if len(word) > 2]
    return bigrams + longer
