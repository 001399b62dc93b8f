"""Passages with edited copies, and passages that only look alike: what the detection of copies is measured on.

The passages are those of the starter notes. Everything random comes from a seed.
"""

import random
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from ingest.pipeline import parse_document

SWAPS = {
    "因为": "由于", "所以": "因此", "可以": "能够", "需要": "必须", "问题": "难题", "通常": "一般", "使用": "采用", "但是": "不过", "如果": "倘若",
    "只需": "仅需", "每个": "各个", "之后": "以后", "减少": "降低", "提高": "提升", "常见": "普遍", "例如": "比如", "the": "this", "is": "was",
}  # fmt: skip
BOILERPLATE = (
    "本文转载自网络，版权归原作者所有，如有侵权请联系删除。",
    "点赞收藏加关注，下次不迷路！",
    "作者：某某 发布于 2024-03-01 阅读 1.2 万",
    "以上就是本节的全部内容，希望对你有帮助。",
    "相关推荐：大模型面试题汇总（持续更新）",
)
_LETTERS = "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么"


@lru_cache(maxsize=1)
def passages() -> tuple[str, ...]:
    """The passages of the starter notes."""
    found: list[str] = []
    for path in sorted(Path(str(files("ingest").joinpath("samples"))).glob("*.md")):
        found += [p.text for p in parse_document(path, path.name, path.read_bytes()).passages]
    return tuple(found)


def characters(rate: float) -> Callable[[str, random.Random], str]:
    """Replace, drop or insert so many of the characters."""

    def edit(text: str, chance: random.Random) -> str:
        made = []
        for character in text:
            if chance.random() >= rate or character.isspace():
                made.append(character)
            else:
                made.append(chance.choice(["", chance.choice(_LETTERS), character + chance.choice(_LETTERS)]))
        return "".join(made)

    return edit


def words(text: str, chance: random.Random) -> str:
    """Every second word of the list is replaced by another of its meaning."""
    for word, other in SWAPS.items():
        text = re.sub(word, lambda match, other=other: other if chance.random() < 0.5 else match.group(), text)  # type: ignore[misc]
    return text


def shape(text: str, chance: random.Random) -> str:
    """Full width, other punctuation, other spaces, no markup."""
    text = text.translate({ord("，"): ", ", ord("。"): ". ", ord("（"): "(", ord("）"): ")", ord("*"): None, ord("`"): None})
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and chance.random() < 0.5 else c for c in text)
    return re.sub(r"[ \n]+", lambda match: chance.choice([" ", "\n", "\u3000"]), wide)


def surrounded(text: str, chance: random.Random) -> str:
    """A site's own words before and behind."""
    before, after = chance.sample(BOILERPLATE, 2)
    return f"{before}\n\n{text}\n\n{after}"


def shortened(text: str, chance: random.Random) -> str:
    """One sentence in five is left out, and two change their places."""
    sentences = re.findall(r"[^。\n]*[。\n]+|[^。\n]+$", text)
    kept = [s for s in sentences if chance.random() >= 0.2] or sentences
    if len(kept) > 2:
        place = chance.randrange(len(kept) - 1)
        kept[place], kept[place + 1] = kept[place + 1], kept[place]
    return "".join(kept)


def combined(text: str, chance: random.Random) -> str:
    """What a careless site does: other words, a few characters, other shape, its own words around."""
    return surrounded(shape(characters(0.02)(words(text, chance), chance), chance), chance)


EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "1 % of characters": characters(0.01),
    "3 % of characters": characters(0.03),
    "5 % of characters": characters(0.05),
    "8 % of characters": characters(0.08),
    "words": words,
    "shape": shape,
    "surrounded": surrounded,
    "shortened": shortened,
    "combined": combined,
}


def copies(seed: int = 7) -> Iterator[tuple[str, str, str]]:
    """(name of the edit, passage, its copy)."""
    chance = random.Random(seed)
    for name, edit in EDITS.items():
        for text in passages():
            yield name, text, edit(text, chance)


REWORDED = (
    # Answers to the same question, by two people: the same facts, other words.
    (
        "解码时每步只新来一个词元，它的查询去和以前所有位置的键做内积，再按权重把值加起来。以前的查询用完就没用了，所以只需要把键和值留在显存里。",
        "KV 缓存保存历史位置的 K 与 V。生成新 token 时，只计算当前 token 的 Q，历史 Q 不会再参与任何运算，因此没有缓存的必要，而 K、V 每一步都要读。",
    ),
    (
        "LoRA 把权重的增量写成两个瘦长矩阵的乘积，训练时原权重不动，只更新这两个小矩阵，参数量和优化器状态都小得多，推理时可以并回去。",
        "在低秩适配里，预训练权重被冻结；旁路由降维矩阵 A 和升维矩阵 B 组成，秩 r 远小于隐藏维度。只训练旁路，合并之后没有额外延迟。",
    ),
    (
        "RMSNorm 省去了减均值这一步，只除以均方根再乘可学习的缩放，计算更省，效果和 LayerNorm 差不多，所以 LLaMA 一类模型都用它。",
        "和层归一化相比，均方根归一化不做中心化，也没有偏置，只保留缩放不变性；实验里质量相当而速度更快，是今天大模型的默认选择。",
    ),
    (
        "MoE 用路由器给每个词元挑选少数几个专家，总参数很多而每次激活的很少；难点在负载均衡，常加辅助损失，免得少数专家被挤爆。",
        "混合专家层里有许多并列的前馈网络，门控只让 top-k 个参与计算。容量因子与均衡损失用来防止路由塌缩，通信则靠 all-to-all 完成。",
    ),
    (
        "PPO 需要策略、参考、奖励和价值四个模型同时在显存里；DPO 把奖励写成策略的对数比，直接在偏好对上做分类，省去了奖励模型和采样。",
        "DPO 的好处是不用单独训练奖励模型，也不必在线采样：它从带 KL 约束的最优解反推，把偏好优化变成一个二分类损失，训练更稳也更便宜。",
    ),
)  # fmt: skip

TEMPLATES = (
    # The same frame around other facts: tables written out, steps of a recipe, cards of models.
    "{name} 共有 {a} 层，隐藏维度 {b}，注意力头 {c} 个，词表大小 {d}，上下文长度 {e}，用 RMSNorm 与 SwiGLU，位置编码为 RoPE。",
    "显存估算：参数量 {a}B，半精度权重占 {b} GB，批量 {c}、长度 {e} 时缓存约 {d} MB，再加激活与碎片，所以选用 {name} 时要留余量。",
    "What is {name}? It was released in {e}, has {a} billion parameters, was trained on {b} billion tokens and scores {c}.{d} on MMLU.",
)
NAMES = (
    "Qwen2",
    "LLaMA-3",
    "Mistral",
    "Baichuan2",
    "ChatGLM3",
    "DeepSeek-V2",
    "Yi",
    "InternLM2",
    "Falcon",
    "Gemma",
    "Phi-3",
    "OLMo",
)


def templates(seed: int = 7) -> list[list[str]]:
    """For every frame its fillings; no two of them are copies."""
    chance = random.Random(seed)
    return [[frame.format(name=name, **{key: chance.randint(2, 9999) for key in "abcde"}) for name in NAMES] for frame in TEMPLATES]
