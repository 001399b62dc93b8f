"""Traditional characters as Simplified ones, so that notes and questions in either script find each other."""

from functools import lru_cache
from typing import Any


class _Table(dict[int, str]):
    """Code point -> its Simplified character, asked of OpenCC when first met. One character stays one: offsets hold."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        found = character
        if code >= 0x3400:
            found = _converter().convert(_converter().convert(character))  # a few become one that is Traditional itself: 薴, 苧, 苎
        self[code] = found = found if len(found) == 1 else character
        return found


@lru_cache(maxsize=1)
def _converter() -> Any:
    import opencc  # imported here: most texts need it only for a few characters, many for none

    return opencc.OpenCC("t2s")


_TABLE = _Table()


def simplified(text: str) -> str:
    """The text with every Traditional character as its Simplified one; equally long.

    >>> simplified("注意力機制"), simplified("RoPE")
    ('注意力机制', 'RoPE')
    """
    return text if text.isascii() else text.translate(_TABLE)
