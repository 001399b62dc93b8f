"""A follow-up («那它的缺点呢？», «和 GQA 比呢», "what about its drawbacks?") becomes a question that stands alone, by rules.

What is talked about is the subject of the question before: the first concept it names, or what its frame («什么是 …», "explain …")
holds. A follow-up points to it with a pronoun, leaves it out, or puts something else in its place; each of these has a rule below,
tried in the order of ``_RULES``. A question that names its own subject and points nowhere stays as it is, so a new topic is simply
a question no rule applies to. Nothing is generated: a rule costs microseconds, and a reader can see and change what it made.

>>> from kg.concepts import Glossary
>>> resolve("那 LoRA 呢", ["QLoRA 的缺点是什么"], Glossary.load()).text
'LoRA 的缺点是什么'
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assistant.answers.prompts import language
from kg.concepts import Concept, Glossary

_REMEMBERED = 8  # questions back; what was talked about before those is not meant any more


@dataclass(frozen=True, slots=True)
class Resolved:
    """A question as it is understood; ``changed`` when it is not word for word what was asked."""

    text: str
    changed: bool


@dataclass(frozen=True, slots=True)
class _Named:
    """Something a question names, as it is written there."""

    text: str
    start: int
    end: int
    concept: Concept | None


@dataclass(frozen=True, slots=True)
class _Talk:
    """A follow-up and what came before. ``body`` is the question without «那», "and" in front; ``opened`` says it had one."""

    body: str
    opened: bool
    lang: str
    named: tuple[_Named, ...]
    last: str
    subjects: tuple[_Named, ...]
    earlier: tuple[_Named, ...]


def resolve(question: str, earlier: Sequence[str], glossary: Glossary) -> Resolved:
    """The question as it stands alone; ``earlier`` are the questions of the conversation, oldest first, as they were asked."""
    understood = ""
    subjects: tuple[_Named, ...] = ()
    before: tuple[_Named, ...] = ()
    if not earlier:
        return Resolved(question, False)
    for asked in earlier[-_REMEMBERED:]:
        resolved = _resolved(" ".join(asked.split()), understood, subjects, before, glossary)
        before = subjects or before
        understood, subjects = resolved, _subjects(resolved, glossary) or subjects
    plain = " ".join(question.split())
    resolved = _resolved(plain, understood, subjects, before, glossary)
    return Resolved(resolved, True) if resolved != plain else Resolved(question, False)


def _resolved(asked: str, last: str, subjects: tuple[_Named, ...], earlier: tuple[_Named, ...], glossary: Glossary) -> str:
    if not last:
        return asked
    lang = language(asked)
    opening = _OPENING.match(asked)
    body = asked[opening.end() :] if opening and opening.end() < len(asked) else asked
    talk = _Talk(body, body is not asked, lang, _named(body, glossary), last, subjects, earlier)
    for rule in _RULES:
        made = rule(talk)
        if made is not None:
            return " ".join(made.split())
    return asked


# --- what a question names --------------------------------------------------------------------------------------------

_ASPECT_KINDS = {"metric", "phenomenon", "hardware", "theory"}  # «吞吐量呢» asks for an aspect of what is talked about
_FRAMES = (
    re.compile(
        r"^(?:请|能|可以)?(?:什么是|何谓|(?:介绍|解释|讲|说|谈)(?:一下|讲|说|谈)?)(?P<name>[^，,。？?！!的]{2,24})[？?。]?$"
    ),
    re.compile(
        r"^(?P<name>[^，,。？?！!的和]{2,24}?)(?:是什么|是啥|指什么|有哪些|有什么|怎么|如何|为什么|为何|能|会|需要|要不要|的)"
    ),
    re.compile(r"^为什么(?P<name>[A-Za-z][\w.+-]*)"),
    re.compile(
        r"^(?:what(?:'s| is| are| does| do)|explain|describe|tell me about|how (?:does|do|is|are|much .{2,24} does)"
        r"|why (?:does|do|is|are)"
        r"|does|do|is|are|can) (?:the |an? )?(?P<name>[\w+.-]+(?: [\w+.-]+){0,3}?)"
        r"(?= (?:work|do|use|need|save|help|hurt|so|better|worse|faster|an?|in|for|on|computed|trained)\b|[?.!]|$)",
        re.I,
    ),
)


def _named(text: str, glossary: Glossary) -> tuple[_Named, ...]:
    return tuple(_Named(text[m.start : m.end], m.start, m.end, glossary.concepts[m.concept]) for m in glossary.find(text))


def _subjects(text: str, glossary: Glossary) -> tuple[_Named, ...]:
    """What a question is about, the subject first: things that have properties before properties."""
    named = _named(text, glossary)
    things = [n for n in named if not _is_aspect(n)]
    unknown = _framed(text)
    latin = text.isascii()
    if unknown is not None and not (latin and things) and not any(n.start < unknown.end and unknown.start < n.end for n in named):
        things = [unknown, *things]
    elif unknown is not None and not things and named:
        things = list(named)
    return tuple(things or named)


def _framed(text: str) -> _Named | None:
    """The subject of a question that no glossary knows, by the frame it stands in."""
    for frame in _FRAMES:
        match = frame.search(text)
        if match:
            start, end = match.span("name")
            name = text[start:end].strip()
            if name and not _GENERIC.fullmatch(name) and not _POINTING.search(name):
                start += len(text[start:end]) - len(text[start:end].lstrip())
                return _Named(name, start, start + len(name), None)
    return None


def _is_aspect(named: _Named) -> bool:
    return named.concept is not None and named.concept.kind in _ASPECT_KINDS


# --- words ------------------------------------------------------------------------------------------------------------

_OPENING = re.compile(
    r"^(?:那么?(?![个种些样里大小多少长短高低快慢深强难复])|所以|然后|另外|还有(?!呢)|(?:and|so|then|but|ok|okay|well)\b,?)\s*[，,]?\s*",
    re.I,
)
_END = r"[？?。.！!\s]*$"
_ASPECTS = (
    "缺点|优点|优缺点|好处|坏处|优势|劣势|局限性?|不足|问题|原理|公式|作用|意义|区别|应用场景|应用|场景|复杂度|开销|成本|代价|效果|"
    "性能|精度|质量|速度|显存占用|显存|内存|带宽|通信量|延迟|吞吐|步骤|流程|参数量?|实现|例子|训练速度|推理速度|训练时?|推理时?|"
    "思路|做法|结构|假设|前提|条件|损失函数?|损失|梯度|收敛|稳定性|变体|改进|历史|大小|数量|超参数?|配置|细节|时间复杂度|空间复杂度|代码"
)
_ASPECT = re.compile(f"(?:{_ASPECTS})$")
# Words that say nothing about what is asked about: a question made of these alone leaves its subject out.
_GENERIC = re.compile(
    f"(?:{_ASPECTS}|什么|哪些|哪个|哪里|哪一?种|多少|怎么样?|如何|为什么|为啥|为何|是不是|是|有没有|有|会|能不能|能否|能|可以|需要|要|"
    r"一般|通常|具体|主要|常见|其他|别的|更|最|几|分|步|个|种|类|做|算|实现|计算|得到|选|用|适合|使用|设置|调|解决|处理|训练|推理|时候|时|"
    r"的|了|吗|呢|吧|啊|呀|在|里|上|下|中|去|来|到|被|把|对|从|不|没|也|还|又|都|就|说|讲|一下|详细|举个?|例说明?|例|请|再|一点|些|"
    r"场景|情况|缺|优|样|多|少|大|小|快|慢|好|坏|[\s，,。？?！!、：:]|"
    r"\b(?:what|which|how|why|when|where|is|are|was|were|does|do|did|can|could|should|would|will|has|have|the|an?|any|some|its?|of|for|"
    r"to|in|on|at|about|main|there|i|you|we|one|give|me|an|example|examples|more|detail|details|use|used|work|works|so|then|and|"
    r"drawbacks?|disadvantages?|advantages?|benefits?|limits?|limitations?|pros|cons|costs?|complexity|formula|steps?|memory|speed|"
    r"much|many|long|slow|slower|fast|faster|better|worse|training|inference|computed|implemented|trained|good|bad|please|explain)\b)+",
    re.I,
)
_METHOD = (
    "方法|技术|算法|机制|模型|架构|策略|方案|结构|概念|东西|思路|做法|优化|technique|method|approach|algorithm|model|mechanism|idea"
)
_POINTING = re.compile(
    r"它们?|他们|其(?![他中余实次])|前者|后者|两者|二者|这(?![两几一]?[年月周天次里么些]|两年)|那[个种些]|上述|上面|前面|刚才"
    r"|\b(?:it|its|they|their|them|this|that|these|those|former|latter)\b",
    re.I,
)
_COMPARING = re.compile(r"(?:和|跟|与|同|比|对比|相比|比起|较|than|with|to|and|versus|vs\.?)\s*$", re.I)
_DUMMY_IT = re.compile(
    r"\bis it (?:possible|true|better|worth|necessary|ok|safe|hard|easy)\b"
    r"|\bit (?:take|takes|is|'s) (?:to|possible|true|worth|better)\b"
    r"|\b(?:does|will|would|did) it take\b",
    re.I,
)


def _spaced(left: str, right: str) -> str:
    """Two pieces side by side, with the space that is written between Latin letters and Chinese ones."""
    if not left or not right or left[-1].isspace() or right[0].isspace() or right[0] in "，,。？?！!、'":
        return left + right
    latin = [c.isascii() and c.isalnum() for c in (left[-1], right[0])]
    return left + (" " if any(latin) else "") + right


def _call(named: _Named, lang: str) -> str:
    """What a question in this language calls it: as it was called, unless that is Chinese in an English question."""
    if lang == "en" and named.concept is not None and not named.text.isascii():
        return next((name for name in (named.concept.en, *named.concept.aliases) if name and name.isascii()), named.text)
    return named.text


def _put(text: str, start: int, end: int, name: str) -> str:
    return _spaced(_spaced(text[:start].rstrip(" ") if not text[:start].isascii() else text[:start], name), text[end:].lstrip(" ")
                   if not text[end:].isascii() else text[end:])  # fmt: skip


def _both(named: Sequence[_Named], lang: str) -> str:
    text = _call(named[0], lang)
    for one in named[1:3]:
        text = _spaced(_spaced(text, "和" if lang == "zh" else "and"), _call(one, lang))
    return text


# --- the rules: each gives the question as understood, or None when it does not apply --------------------------------------


def _says_more(talk: _Talk) -> str | None:
    """«为什么？», «举个例子», «还有呢», "why?", "go on": more about the question before, which is kept whole."""
    if re.fullmatch(r"(?:这是|又是)?(?:为什么|为啥|为何)(?:会?这样)?(?:呢|啊|呀)?[？?。！!\s]*", talk.body):
        return re.sub(_END, "", talk.last) + "？为什么？"
    more = (
        r"(?:还有(?:吗|呢|哪些|别的)?|继续|接着说|(?:能|请|可以)?(?:再)?(?:详细|具体|展开)(?:一?点)?(?:说|讲|解释|介绍)(?:说|讲)?(?:一下)?"
        r"|(?:能|请|可以)?(?:给?我?举)(?:一?个|些)?例子?(?:说明)?(?:一下)?|有(?:具体的?)?例子|说详细点)(?:吗|呢|吧)?"
    )
    more_en = (
        r"(?:why(?: is (?:that|this|it))?(?: so)?|how so|how come|go on|continue"
        r"|(?:can|could) you (?:give|show)(?: me)? (?:an?|some) examples?"
        r"|give (?:me )?an example|for example|(?:an? )?examples?|tell me more|more details?|anything else|what else|elaborate)"
    )
    if re.fullmatch(f"(?:{more}|{more_en})[？?。.！!\\s]*", talk.body, re.I):
        return f"{re.sub(_END, '', talk.last)}{'？' if language(talk.last) == 'zh' else '? '}{talk.body[0].upper()}{talk.body[1:]}"
    return None


def _pair(talk: _Talk) -> str | None:
    """«前者», «后者», «它们», «两者», "both", "the latter": the things the question before names side by side."""
    match = re.search(
        r"(?P<first>前者)|(?P<second>后者)"
        r"|(?P<both>它们|他们|(?:这|那)?(?:两者|二者|两个|两种|几个|几种|俩)(?:方法|技术|算法|模型|方案)?)(?!人)"
        r"|\bthe (?P<former>former)\b|\bthe (?P<latter>latter)\b|\b(?P<them>(?:they|them|both|these two|the two)(?: of them)?)\b",
        talk.body, re.I,
    )  # fmt: skip
    if match is None or _names_before(talk, match.start()):
        return None
    pair = talk.subjects[:2] if len(talk.subjects) > 1 else (*talk.earlier[:1], *talk.subjects[:1])
    if len(pair) < 2:
        if match.group().lower() in ("它们", "他们", "they", "them") and talk.subjects:
            return _put(talk.body, match.start(), match.end(), _call(talk.subjects[0], talk.lang))
        return None
    if match.group("first") or match.group("former"):
        name = _call(pair[0], talk.lang)
    elif match.group("second") or match.group("latter"):
        name = _call(pair[1], talk.lang)
    else:
        name = _both(talk.subjects if len(talk.subjects) > 1 else pair, talk.lang)
    return _put(talk.body, match.start(), match.end(), name)


def _demonstrative(talk: _Talk) -> str | None:
    """«这个方法», «上面的公式», "this technique": the subject itself, or something of it."""
    match = re.search(
        rf"(?:这|那)(?:个|种|些|套|一)?(?P<method>{_METHOD})|(?:这个?|那个|这种|这些|上述的?|上面(?:说|提到)?的?|前面(?:说|提到)?的?|刚才(?:说|提到)?的?)"
        rf"(?P<aspect>{_ASPECTS})|\b(?:this|that|the same) (?P<method_en>{_METHOD})\b",
        talk.body, re.I,
    )  # fmt: skip
    if match is None or not talk.subjects or _names_before(talk, match.start()):
        return None
    aspect = match.group("aspect")
    if aspect:
        whole = _both(talk.subjects, talk.lang) if len(talk.subjects) > 1 else _call(talk.subjects[0], talk.lang)
        return _put(talk.body, match.start(), match.end(), _spaced(whole, "的" + aspect))
    return _put(talk.body, match.start(), match.end(), _call(talk.subjects[0], talk.lang))


def _pronoun(talk: _Talk) -> str | None:
    """«它», «其», "it", "its": the subject."""
    match = re.search(r"它的?|其(?![他中余实次它])的?|(?<![一-鿿])(?:这|这个)(?=和|跟|与|比|有|会|能|是|怎|为)"
        r"|\bits\b|\bit\b|\b(?:this|that)(?=\s*[?.!]*$)",
                      talk.body, re.I)  # fmt: skip
    if match is None or not talk.subjects or _DUMMY_IT.search(talk.body):
        return None
    if _names_before(talk, match.start()) and not _COMPARING.search(talk.body[: match.start()]):
        return None
    name = _call(talk.subjects[0], talk.lang)
    if match.group().lower() == "its":
        return _put(talk.body, match.start(), match.end(), name + "'s")
    owns = match.group().endswith("的") or (match.group() == "其" and not re.match("是|为|会|能|有", talk.body[match.end() :]))
    rest = talk.body
    if re.fullmatch(r".{1,12}呢[？?]?", rest[match.end() :]) and talk.lang == "zh" and owns:
        rest = re.sub(r"呢([？?]?)$", r"是什么\1", rest)
    return _put(rest, match.start(), match.end(), _spaced(name, "的") if owns else name)


def _comparison(talk: _Talk) -> str | None:
    """«和 GQA 比呢», «比 GQA 好在哪», "vs GQA?", "compared to GQA?": the subject stands on the other side."""
    if len([n for n in talk.named if not _is_aspect(n)]) > 1 or not talk.subjects:
        return None
    name = _call(talk.subjects[0], talk.lang)
    zh = re.match(r"(?P<with>和|跟|与|同|相比于?|对比|比起|比|较之)\s*(?P<what>.{1,40})", talk.body)
    if zh and talk.lang == "zh" and (talk.named and talk.named[0].start <= zh.start("what") + 1):
        rest = zh.group("what").strip()
        other = talk.body[talk.named[0].start : talk.named[0].end]
        tail = talk.body[talk.named[0].end :].strip()
        if zh.group("with") in ("和", "跟", "与", "同") and not re.match(
            r"(?:相?比|比起来|的?(?:区别|差别|不同|关系|差异)|有(?:什么|啥|何|哪些)|哪|谁|怎么|能|可以|差|比较|对比|一样|冲突|兼容)",
            tail,
        ):
            return None
        if re.fullmatch(r"(?:相?比(?:起来|较)?)?(?:呢|怎么样|如何)?[？?。\s]*", tail):
            return f"{_spaced(_spaced(_spaced(name, '和'), other), '比较')}"
        if zh.group("with") in ("相比", "相比于", "对比", "比起", "较之"):
            return _spaced(_spaced(_spaced(name, "和"), other), "相比" + tail)
        if re.fullmatch(r"的(?:区别|差别|不同|关系|差异)呢[？?。\s]*", tail):
            return _spaced(_spaced(_spaced(name, "和"), other), re.sub("呢", "是什么", tail))
        return _spaced(name, zh.group("with") + (" " if rest[:1].isascii() else "") + rest)
    en = re.match(r"(?:how (?:about|is (?:that|it))\s+)?(?:(?:as )?compared (?:to|with)|versus|vs\.?|than|relative to)"
        r"\s+(?P<what>.{2,60})$",
                  talk.body, re.I)  # fmt: skip
    if en:
        return f"{name} {en.group(0)}"
    return None


def _instead(talk: _Talk) -> str | None:
    """«那 LoRA 呢», "what about LoRA?": the question before, with this in the place of its subject."""
    match = re.fullmatch(r"(?P<what>[^，,。？?]{1,30}?)\s*(?:呢|怎么样|又如何)[？?。\s]*", talk.body) or re.fullmatch(
        r"(?:(?:what|how) about|and)\s+(?:for |in |with |the )?(?P<what>[^,.?]{1,40})[?.\s]*", talk.body, re.I
    )
    if match is None and talk.opened:
        match = re.fullmatch(
            r"(?:for |in |with |the )?(?P<what>[A-Za-z][A-Za-z0-9+.-]*(?: [A-Za-z0-9+.-]+){0,2})[?.\s]*", talk.body
        )
    if match is None or not talk.subjects:
        return None
    what = match.group("what").strip()
    whole = [n for n in talk.named if n.text.strip() == what or (n.end - n.start) * 1.6 >= len(what)]
    the = re.search(r"\bthe " + re.escape(what), talk.body, re.I)  # «and the backward pass?» is a part of what is talked about
    if whole and (the or _is_aspect(whole[0])) and not any(_is_aspect(n) for n in talk.subjects):
        return _of(talk, what)
    if not whole and (
        talk.named or _ASPECT.search(what) or _GENERIC.fullmatch(what) or (talk.lang == "en" and not _one_name(what))
    ):
        return _of(talk, what)
    old = (
        talk.subjects[-1]
        if len(talk.subjects) > 1 and re.search("区别|比较|不同|difference|compare| vs", talk.last)
        else talk.subjects[0]
    )
    at = talk.last.find(old.text)
    if at < 0:
        return _spaced(re.sub(_END, "", talk.last), what)
    made = _put(talk.last, at, at + len(old.text), what)
    return _without_repeats(made, old.text, what)


def _without_repeats(text: str, old: str, new: str) -> str:
    return text.replace(old, new) if old not in new else text


def _one_name(what: str) -> bool:
    return " " not in what or any(c.isupper() for c in what)


def _of(talk: _Talk, what: str) -> str:
    name = _both(talk.subjects, talk.lang) if len(talk.subjects) > 1 and "区别" in talk.last else _call(talk.subjects[0], talk.lang)
    if talk.lang == "en":
        return f"What about the {what.removeprefix('the ')} of {name}?"
    if what.endswith("时"):
        asked = re.search("怎么|如何|为什么|会|要|有", talk.last)
        return _spaced(name, what + (re.sub(_END, "", talk.last[asked.start() :]) if asked else "怎么样") + "？")
    return _spaced(name, "的") + what + "是什么？"


def _left_out(talk: _Talk) -> str | None:
    """«有什么缺点», «怎么算大小», "any drawbacks?": a question without a subject is about the one before."""
    if not talk.subjects or any(not _is_aspect(n) for n in talk.named):
        return None
    name = _call(talk.subjects[0], talk.lang)
    body = re.sub(_END, "", talk.body)
    generic = sum(len(match.group()) for match in _GENERIC.finditer(body))
    alone = len(body) - generic
    if talk.lang == "zh":
        if alone > (6 if talk.opened else 1) or len(body) > (20 if talk.opened else 14):
            return None
        return _spaced(
            name, ("的" if _ASPECT.match(body) or re.match(f"(?:{_ASPECTS})(?:是|有|呢|怎|如)", body) else "") + talk.body
        )
    if alone > 0:
        return None
    return f"{body[0].upper()}{body[1:]} ({name})?" if re.match(r"(?:what|how|when|why|which|where)\b", body, re.I) else (
        f"{body[0].upper()}{body[1:]} of {name}?"
    )  # fmt: skip


def _points_somewhere(talk: _Talk) -> str | None:
    """What still points back is searched together with the question it points to."""
    if talk.named or not _POINTING.search(talk.body) or _DUMMY_IT.search(talk.body) or len(talk.body) > 40:
        return None
    return f"{re.sub(_END, '', talk.last)}{'？' if language(talk.last) == 'zh' else '? '}{talk.body}"


def _names_before(talk: _Talk, at: int) -> bool:
    """Whether the question names something itself before this place: then a pronoun there points to that."""
    return any(n.end <= at for n in talk.named)


_RULES: tuple[Callable[[_Talk], str | None], ...] = (
    _says_more, _pair, _demonstrative, _pronoun, _comparison, _instead, _left_out, _points_somewhere,
)  # fmt: skip
