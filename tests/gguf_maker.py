"""Writes GGUF files of tiny models with random weights: engines of any template and kind in a few kilobytes, to run by the hundred.

The format: magic, version 3, counts, typed key-value pairs, tensor descriptions, and the data, aligned to 32 bytes. The vocabulary
is SentencePiece's with a token for every byte, so any text can be read; what such a model writes means nothing.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float32]

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONTROL = ("<|im_start|>", "<|im_end|>", "<turn>", "</turn>")
_WIDTH, _LAYERS, _HEADS = 64, 2, 2


def tiny_llama(path: Path, template: str | None = CHATML, *, context: int = 4096, seed: int = 0) -> Path:
    """A transformer of two layers, 64 wide."""
    random = np.random.default_rng(seed)
    tensors: dict[str, Values] = {}
    for n in range(_LAYERS):
        for name, rows in {"attn_q": 64, "attn_k": 64, "attn_v": 64, "attn_output": 64, "ffn_gate": 128, "ffn_up": 128}.items():
            tensors[f"blk.{n}.{name}.weight"] = _weights(random, rows, _WIDTH)
        tensors[f"blk.{n}.ffn_down.weight"] = _weights(random, _WIDTH, 128)
        tensors[f"blk.{n}.attn_norm.weight"] = np.ones(_WIDTH, np.float32)
        tensors[f"blk.{n}.ffn_norm.weight"] = np.ones(_WIDTH, np.float32)
    keys: dict[str, object] = {
        "general.architecture": "llama", "llama.block_count": _LAYERS, "llama.context_length": context,
        "llama.embedding_length": _WIDTH, "llama.feed_forward_length": 128, "llama.attention.head_count": _HEADS,
        "llama.attention.head_count_kv": _HEADS, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": _WIDTH // _HEADS,
    }  # fmt: skip
    return _write(path, keys, tensors, template, random)


def tiny_mamba(path: Path, template: str | None = CHATML, *, context: int = 4096, seed: int = 0) -> Path:
    """A state space model: it has one state for all it has read, and no part of it can be taken back."""
    random = np.random.default_rng(seed)
    tensors: dict[str, Values] = {}
    inner, state, rank = 2 * _WIDTH, 16, 4
    for n in range(_LAYERS):
        shapes = {"ssm_in": (2 * inner, _WIDTH), "ssm_conv1d": (inner, 4), "ssm_x": (rank + 2 * state, inner), "ssm_dt": (inner, rank),
                  "ssm_out": (_WIDTH, inner)}  # fmt: skip
        for name, (rows, columns) in shapes.items():
            tensors[f"blk.{n}.{name}.weight"] = _weights(random, rows, columns)
        tensors[f"blk.{n}.ssm_conv1d.bias"] = np.zeros(inner, np.float32)
        tensors[f"blk.{n}.ssm_dt.bias"] = np.zeros(inner, np.float32)
        tensors[f"blk.{n}.ssm_a"] = -np.ones((inner, state), np.float32)
        tensors[f"blk.{n}.ssm_d"] = np.ones(inner, np.float32)
        tensors[f"blk.{n}.attn_norm.weight"] = np.ones(_WIDTH, np.float32)
    keys: dict[str, object] = {
        "general.architecture": "mamba", "mamba.block_count": _LAYERS, "mamba.context_length": context,
        "mamba.embedding_length": _WIDTH, "mamba.feed_forward_length": 0, "mamba.attention.head_count": 0,
        "mamba.attention.layer_norm_rms_epsilon": 1e-5, "mamba.ssm.conv_kernel": 4, "mamba.ssm.inner_size": inner,
        "mamba.ssm.state_size": state, "mamba.ssm.time_step_rank": rank,
    }  # fmt: skip
    return _write(path, keys, tensors, template, random)


def _weights(random: np.random.Generator, rows: int, columns: int) -> Values:
    values: Values = (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)
    return values


def _write(
    path: Path, keys: dict[str, object], tensors: dict[str, Values], template: str | None, random: np.random.Generator
) -> Path:
    tokens = ["<unk>", "<s>", "</s>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    kinds = [2, 3, 3, *[3] * len(CONTROL), *[6] * 256, *[1] * (len(tokens) - 259 - len(CONTROL))]
    keys |= {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": [0.0] * len(tokens),
        "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_space_prefix": False,
    }  # fmt: skip
    if template is not None:
        keys["tokenizer.chat_template"] = template
    tensors["token_embd.weight"] = _weights(random, len(tokens), _WIDTH)
    tensors["output_norm.weight"] = np.ones(_WIDTH, np.float32)
    tensors["output.weight"] = _weights(random, len(tokens), _WIDTH)
    path.write_bytes(_file(keys, tensors))
    return path


def _file(keys: Mapping[str, object], tensors: Mapping[str, Values]) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for key, value in keys.items():
        head += _string(key) + _value(value)
    offset, data = 0, b""
    for name, values in tensors.items():
        head += _string(name) + struct.pack("<I", values.ndim)
        head += b"".join(struct.pack("<Q", n) for n in reversed(values.shape)) + struct.pack("<IQ", 0, offset)
        raw = values.tobytes()
        raw += bytes(-len(raw) % 32)
        data += raw
        offset += len(raw)
    return head + bytes(-len(head) % 32) + data


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: object) -> bytes:
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [_value(item) for item in value]
        kind = struct.pack("<I", 5) if isinstance(value[0], int) else items[0][:4]  # whole numbers in arrays are signed
        return struct.pack("<I", 9) + kind + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case _:
            return struct.pack("<I", 8) + _string(str(value))
