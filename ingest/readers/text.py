"""Plain text and Markdown, and the encodings of both.

Line ends become ``\\n`` and characters that would make spans lie (NUL, lone surrogates, other control characters) are replaced,
so every later offset counts visible characters of one well-formed string.
"""

import re
from collections import Counter
from functools import cache

from ingest.document import RawText
from ingest.errors import MianpuError

# The first bytes of files that are sometimes saved under a text suffix: naming the real kind tells the person what to do.
_MAGIC = (
    (b"%PDF-", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "utf-32"),
    (b"\xff\xfe", "utf-16", "utf-16"),
    (b"\xfe\xff", "utf-16", "utf-16"),
)
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x85\u2028\u2029]")
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")  # soft hyphen, zero width space, word joiner, stray byte order mark
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_MARKDOWN = re.compile(r"^(?:#{1,6} +\S|```|~~~)|\*\*[^*\n]+\*\*|\]\(https?:", re.MULTILINE)


def read_text(data: bytes) -> RawText:
    """A .txt file; one that is Markdown by its marks is read as Markdown."""
    text, encoding = decode(data)
    # Notes are often Markdown under a .txt suffix; a heading or a fence of one has at least a second mark somewhere.
    marks = sum(1 for _ in zip(range(3), _MARKDOWN.finditer(text), strict=False))
    return RawText(text, encoding, "markdown" if marks >= 3 else "text")


def read_markdown(data: bytes) -> RawText:
    """A Markdown file."""
    text, encoding = decode(data)
    return RawText(text, encoding, "markdown")


def read_plain(data: bytes) -> RawText:
    """Source code or data that the person named: its marks mean something else than those of Markdown."""
    text, encoding = decode(data)
    return RawText(text, encoding, "text")


def decode(data: bytes) -> tuple[str, str]:
    """Bytes -> (normalised text, name of the encoding).

    In this order: a byte order mark; UTF-32 and UTF-16 without one; strict UTF-8; UTF-8 with a few damaged bytes (a page cut in the
    middle of a character); then GB18030, Big5, Shift-JIS, EUC-JP, UTF-16 or Windows-1252, whichever reads like a text. Raises
    MianpuError when the bytes are not text.
    """
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise MianpuError(f"this is {kind}, not text: save its text as a .txt or .md file")
    text, encoding = _decode(data)
    text, replaced = normalised(text)
    if replaced > 2 + len(text) // 100:
        raise MianpuError("this is binary data, not text: save its text as a .txt or .md file")
    if not text.strip():
        raise MianpuError("the file holds only white space: there is nothing to ingest")
    return text, encoding


def normalised(text: str) -> tuple[str, int]:
    """A text with plain line ends and without invisible characters, and how many control characters were replaced in it."""
    return _CONTROL.subn("\ufffd", _INVISIBLE.sub("", _LINE_ENDS.sub("\n", text)))


def _decode(data: bytes) -> tuple[str, str]:
    for mark, codec, name in _BOMS:
        if data.startswith(mark):
            return data.decode(codec, "replace"), name
    wide = _zeros(data)
    if wide:
        return data.decode(wide, "replace"), wide[:6]
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    damaged = data.decode("utf-8", "replace")
    sound = sum(1 for _ in re.finditer("[^\x00-\x7f\ufffd]", damaged))
    if damaged.count("\ufffd") * 20 <= sound:
        return damaged, "utf-8"
    codec = _guess(data)
    if codec:
        return data.decode(codec, "replace"), _NAMES.get(codec, codec)
    raise MianpuError("its encoding is unknown, or it is binary data: save it as UTF-8 text")


def _zeros(data: bytes) -> str:
    """UTF-32 and UTF-16 without a byte order mark, told by their zero bytes: '' when there are none where they would be."""
    if len(data) % 4 == 0:
        for codec, high, plane in (("utf-32-le", data[3::4], data[2::4]), ("utf-32-be", data[::4], data[1::4])):
            if not any(high) and max(plane, default=99) <= 0x10:
                return codec
    if len(data) % 2 == 0:
        for codec, zeros in (("utf-16-le", data[1::2]), ("utf-16-be", data[::2])):
            if zeros.count(0) * 4 > len(zeros) and data.count(0) < len(zeros) * 1.1:
                return codec  # every other byte of ASCII letters is zero
    return ""


# --- encodings that have to be guessed ------------------------------------------------------------------------------

_SAMPLE = 1 << 16
_NAMES = {
    "cp950": "big5",
    "cp932": "shift_jis",
    "euc_jp": "euc-jp",
    "cp1252": "windows-1252",
    "utf-16-le": "utf-16",
    "utf-16-be": "utf-16",
}
# Some 300 characters make up half of any Chinese text, in either script; a text read in a wrong encoding has few of them.
_FREQUENT = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教"
    "儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市"
    "直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边"
    "这個們來為國說時會對發後裡種經麼學現當沒動還進樣開實與長機軍無關點業將兩間問應戰頭體見產話門兒東聲員論處義幾認條氣題爾別變總"
    "何電數報結務場計許區隊決馬書則聽卻達強難權設記類據邊層訓練權輸模型注意權重參數量化層網絡输入出函数矩阵向量训练推理模型层"
)
_ASCII = frozenset(map(chr, range(128)))
_HANZI = range(0x4E00, 0xA000)
_PUNCTUATION = frozenset("，。、？：；！“”‘’（）《》【】「」『』…—·～％＋－＝／")
_WESTERN = frozenset("“”„‘’‚–—…•€£©®°·«»")


def _level(codec: str, leads: range, trails: range) -> frozenset[str]:
    pairs = (bytes((lead, trail)).decode(codec, "ignore") for lead in leads for trail in trails)
    return frozenset(char for char in pairs if char)


@cache
def _common() -> frozenset[str]:
    """The characters of everyday use: level 1 of GB 2312 and of Big5."""
    return _level("gb2312", range(0xB0, 0xD8), range(0xA1, 0xFF)) | _level("big5", range(0xA4, 0xC7), range(0x40, 0xFF))


def _guess(data: bytes) -> str:
    """The encoding whose reading looks most like a text; '' when none does.

    ``tests/bench/encodings.py`` measures it beside charset-normalizer.
    """
    first = next((n for n, byte in enumerate(data) if byte >= 0x80), 0) & ~1  # where UTF-16 stays in step
    sample = data[first : first + _SAMPLE]
    ascii_share = sum(1 for byte in sample if 0x20 <= byte < 0x7F) / len(sample)
    codecs = ["gb18030", "cp950", "cp932", "euc_jp"]
    if len(data) % 2 == 0 and ascii_share < 0.9:  # pairs of ASCII letters are hanzi in UTF-16
        codecs += ["utf-16-le", "utf-16-be"]
    scores = {codec: _score(sample, codec) for codec in codecs}
    if ascii_share >= 0.75 and 0 not in data:
        scores["cp1252"] = _western(sample)
    best = max(scores, key=lambda codec: scores[codec])
    # A few words may consist of rare characters only, a paragraph may not.
    varied = best != "cp1252" and len(set(sample.decode(best, "replace")) - _ASCII) >= 20
    return best if scores[best] > (0.33 if varied else 0.12) else ""


def _score(sample: bytes, codec: str) -> float:
    """How much the reading in an encoding looks like Chinese or Japanese text: about 0.5 for real text, below 0 for a wrong one."""
    text = sample.decode(codec, "replace")
    text = text[:-1] if text.endswith("\ufffd") and len(sample) > 8 else text  # cut inside a character
    counts = Counter(text)
    total = sum(n for char, n in counts.items() if char > "\x7f" or (char < " " and char not in "\t\n\r\f\x1a"))
    if not total:
        return 0.0
    score = sum(
        _weight(char, codec) * n for char, n in counts.items() if char > "\x7f" or (char < " " and char not in "\t\n\r\f\x1a")
    )
    return score / total + (0.05 if codec == "gb18030" else 0.0)  # by far the most frequent, where two are alike


def _weight(char: str, codec: str) -> float:
    code = ord(char)
    if char in _FREQUENT or char in _PUNCTUATION:
        return 1.0
    if code in _HANZI:
        return 0.2 if char in _common() else -0.5
    if 0x3040 <= code < 0x3100:  # kana
        return 0.6 if codec in ("cp932", "euc_jp") else 0.2
    if code == 0xFFFD or 0xE000 <= code < 0xF900 or 0xD800 <= code < 0xE000 or code < 0x20 or 0x80 <= code < 0xA0:
        return -3.0
    if codec == "gb18030" and (code > 0xFFFF or 0x3400 <= code < 0x4DC0):
        return 0.2  # four bytes of a narrow form, which chance does not make
    if 0xFF01 <= code < 0xFF5F or 0x2000 <= code < 0x2700 or 0x391 <= code < 0x3CA:  # full width, signs, Greek
        return 0.2
    return -0.5


def _western(sample: bytes) -> float:
    """How much the bytes look like a Western text: single accented letters inside words, and typographic signs."""
    text = sample.decode("cp1252", "replace")
    score = total = 0.0
    for n, char in enumerate(text):
        if char > "\x7f":
            total += 1
            beside = text[max(0, n - 1) : n] + text[n + 1 : n + 2]
            if char in _WESTERN:
                score += 0.5
            elif (
                char >= "\xc0"
                and char.isalpha()
                and any(other.isascii() and other.isalpha() for other in beside)
                and "\x7f" not in beside
            ):
                score += 0.5 if all(other <= "\x7f" or other in _WESTERN for other in beside) else -0.5
            else:
                score -= 0.5
    return score / total if total else 0.0


def decode_name(data: bytes) -> str:
    """File names of unknown encoding, as zip archives hold them: UTF-8, else GBK or Big5, else the IBM PC's own."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    best = max(("gb18030", "cp950"), key=lambda codec: _score(data, codec))
    return data.decode(best if _score(data, best) > 0 else "cp437", "replace")
