"""How often the encoding of a text is told rightly, beside charset-normalizer on the same texts.

    python tests/bench/encodings.py

The texts are cut from the starter notes (and their traditional form), and written here for other languages: 5 to 5,000 characters in
every encoding that :func:`ingest.readers.text.decode` knows. A text counts when every character is right.
"""

import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import charset_normalizer
import opencc

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from ingest.errors import MianpuError  # noqa: E402
from ingest.readers import text as reader  # noqa: E402

LENGTHS = (5, 8, 12, 20, 50, 100, 300, 1000, 5000)
EACH = 20
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")
JAPANESE = (
    "自己注意機構とは何ですか。クエリとキーの内積を計算し、ソフトマックスで重みを求めます。位置エンコーディングは順序の情報を与えます。"
    "キャッシュを使うと、推論が速くなります。学習率を下げると、損失が安定することが多いです。"
) * 80
WESTERN = (
    "The naïve “baseline” doesn’t use a café-style cache – it’s a résumé of attention: “scaled dot-product” costs £5 or 3 €. " * 60
)
ENGLISH = "The KV cache stores keys and values; see section 3.2 for details. " * 80


def texts() -> Iterator[tuple[str, str, str, bytes]]:
    """(what, encoding, the text as it can be written in the encoding, its bytes)."""
    notes = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "ingest" / "samples").glob("*.md")))
    mixed = "\n".join(line.strip() for line in notes.split("\n") if len(re.findall("[\u4e00-\u9fff]", line)) > 5)
    pure = re.sub("[^\u4e00-\u9fff，。？：、]", "", notes)
    traditional = opencc.OpenCC("s2t")
    chance = random.Random(3)

    def part(text: str, length: int) -> str:
        start = chance.randrange(max(1, len(text) - length))
        return text[start : start + length]

    old = {"pure": traditional.convert(pure), "mixed": traditional.convert(mixed)}
    for length in LENGTHS:
        for _ in range(EACH):
            samples = {
                "simplified": part(pure, length),
                "simplified, mixed": part(mixed, length),
                "English, few hanzi": part(ENGLISH, length) + part(pure, max(2, length // 20)),
                "simplified, rare": part(pure, length) + "㐂𠮷😀",
            }
            chosen = [(what, codec, text) for what, text in samples.items() for codec in (*UNICODE, "gb18030")]
            for what, text in old.items():
                chosen += [(f"traditional, {what}", codec, part(text, length)) for codec in ("cp950", "gb18030", "utf-16-le")]
            chosen += [("Japanese", codec, part(JAPANESE, length)) for codec in ("cp932", "euc_jp", "utf-16-le")]
            chosen.append(("Western", "cp1252", part(WESTERN, length)))
            for what, codec, text in chosen:
                data = text.encode(codec, "ignore")
                yield what, codec, data.decode(codec), data


def ours(data: bytes) -> str | None:
    """The text, or None where the encoding is refused."""
    try:
        return reader.decode(data)[0]
    except MianpuError:
        return None


def theirs(data: bytes) -> str | None:
    """The same by charset-normalizer."""
    best = charset_normalizer.from_bytes(data).best()
    return None if best is None else str(best)


def same(text: str) -> str:
    """A text as every reader gives it, whatever its line ends and invisible characters."""
    return reader.normalised(text)[0]


def count(read: Callable[[bytes], str | None]) -> Counter[tuple[str, str]]:
    """(length class, «right», «wrong» or «refused») -> how many texts."""
    counts: Counter[tuple[str, str]] = Counter()
    for _, _, text, data in texts():
        if not same(text).strip():
            continue
        found = read(data)
        outcome = "refused" if found is None else "right" if same(found) == same(text) else "wrong"
        counts["up to 15" if len(text) <= 15 else "up to 105" if len(text) <= 105 else "longer", outcome] += 1
    return counts


def main() -> None:
    """Print both."""
    for name, read in (("ours", ours), ("charset-normalizer", theirs)):
        counts = count(read)
        for size in ("up to 15", "up to 105", "longer"):
            row = {outcome: counts[size, outcome] for outcome in ("right", "wrong", "refused")}
            print(f"{name:20} {size:10} characters: {row} {row['right'] / max(1, sum(row.values())):.1%}")


if __name__ == "__main__":
    main()
