"""Embedding: batching, precision and prefixes by hand; a tiny BERT through sentence-transformers; the real model where marked."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ingest.errors import MianpuError, UsageError
from ingest.models import embedding, model_files
from ingest.models.embedding import SentenceEmbedder, batches, choose_precision, folder_fingerprint

ROOT = Path(__file__).parent.parent
WORDS = [
    "<s>",
    "<pad>",
    "</s>",
    "<unk>",
    "query",
    "passage",
    ":",
    "attention",
    "is",
    "all",
    "you",
    "need",
    "注意力",
    "机制",
    "模型",
    "<mask>",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer BERT with random weights, written by hand into the folder that write_folder describes."""
    from safetensors.numpy import save_file

    from ingest.models import e5_weights

    folder = tmp_path_factory.mktemp("tiny-bert")
    sizes = e5_weights.Sizes(hidden=32, layers=2, heads=4, intermediate=64, vocabulary=16, positions=24, types=2, epsilon=1e-12)
    numbers = np.random.default_rng(3)
    tensors = {}
    for name, shape in e5_weights._shapes(sizes).items():
        value = numbers.normal(0, 0.2, shape)
        value = value + 1 if name.endswith("ln.w") else value
        tensors[e5_weights._standard_name(name)] = value.astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    special = [
        {"id": i, "content": WORDS[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for i in (0, 1, 2, 3, 15)
    ]
    sequence = [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    sequence.append({"SpecialToken": {"id": "</s>", "type_id": 0}})
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": sequence,
            "pair": [*sequence, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {token: {"id": token, "ids": [WORDS.index(token)], "tokens": [token]} for token in ("<s>", "</s>")},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "<unk>"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    e5_weights.write_folder(folder, sizes)
    return folder


@pytest.fixture(scope="module")
def tiny(folder: Path) -> SentenceEmbedder:
    return SentenceEmbedder(folder, precision="float32", threads=2)


TEXTS = ["attention is all you need", "模型", "注意力 机制", "need need need", "you", "attention 机制 : 模型 is all"]


Array = npt.NDArray[np.float64]


def reference(folder: Path, text: str) -> Array:
    """BERT of one text in NumPy and float64: post-norm encoder, mean over all tokens, unit length."""
    from safetensors.numpy import load_file

    w: dict[str, Array] = {name: value.astype(np.float64) for name, value in load_file(folder / "model.safetensors").items()}
    ids = [0, *(WORDS.index(word) for word in text.replace(":", " : ").split()), 2]

    def norm(x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        result: Array = x * w[name + ".weight"] + w[name + ".bias"]
        return result

    def linear(x: Array, name: str) -> Array:
        result: Array = x @ w[name + ".weight"].T + w[name + ".bias"]
        return result

    def erf(x: Array) -> Array:
        import math

        result: Array = np.vectorize(math.erf)(x)
        return result

    e = "embeddings."
    x = (
        w[e + "word_embeddings.weight"][ids]
        + w[e + "position_embeddings.weight"][: len(ids)]
        + w[e + "token_type_embeddings.weight"][0]
    )
    x = norm(x, e + "LayerNorm")
    for layer in range(2):
        p = f"encoder.layer.{layer}."
        q, k, v = (
            linear(x, p + "attention.self." + n).reshape(len(ids), 4, 8).transpose(1, 0, 2) for n in ("query", "key", "value")
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(8)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        context = (weights / weights.sum(-1, keepdims=True)) @ v
        x = norm(
            x + linear(context.transpose(1, 0, 2).reshape(len(ids), 32), p + "attention.output.dense"),
            p + "attention.output.LayerNorm",
        )
        h = linear(x, p + "intermediate.dense")
        h = h * 0.5 * (1 + erf(h / np.sqrt(2)))
        x = norm(x + linear(h, p + "output.dense"), p + "output.LayerNorm")
    mean: Array = x.mean(0)
    unit: Array = mean / np.linalg.norm(mean)
    return unit


# --- batching, precision, prefixes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "most_texts", "most_tokens", "expected"),
    [
        ([], 8, 100, []),
        ([5], 8, 1, [[0]]),  # a text longer than the budget goes alone
        ([10, 10, 10], 2, 100, [[0, 1], [2]]),
        ([10, 10, 10], 8, 20, [[0, 1], [2]]),
        ([5, 100, 6, 90], 8, 200, [[1, 3], [2, 0]]),
        ([100, 40], 8, 1000, [[0], [1]]),  # the short one would be padded to more than twice its length
    ],
)
def test_batches(tokens: list[int], most_texts: int, most_tokens: int, expected: list[list[int]]) -> None:
    assert batches(tokens, most_texts, most_tokens) == expected


@pytest.mark.parametrize(
    ("flags", "int8", "fingerprint", "expected"),
    [
        ({"avx2", "avx512_bf16"}, True, "multilingual-e5-small@1", "bfloat16"),
        ({"avx2", "amx_bf16"}, True, "other@1", "bfloat16"),
        ({"avx2"}, True, "multilingual-e5-small@1", "int8"),
        ({"avx2"}, False, "multilingual-e5-small@1", "float32"),
        ({"avx2"}, True, "multilingual-e5-small-mine@1", "float32"),  # int8 was measured on one model only
        (set(), True, "multilingual-e5-small@1", "float32"),
    ],
)
def test_choose_precision(flags: set[str], int8: bool, fingerprint: str, expected: str) -> None:
    assert choose_precision(frozenset(flags), lambda: int8, fingerprint) == expected


@pytest.mark.parametrize(
    ("prompts", "name", "expected"),
    [
        ({"query": "query: ", "document": "passage: "}, "any", ("query: ", "passage: ")),
        ({"query": "Q ", "passage": "P "}, "multilingual-e5-base", ("Q ", "P ")),
        ({"query": "", "document": ""}, "/c/models--intfloat--multilingual-e5-base/snapshots/1", ("query: ", "passage: ")),
        ({"query": "", "document": ""}, "intfloat/e5-large-v2", ("query: ", "passage: ")),
        ({}, "multilingual-e5-large-instruct", ("", "")),
        ({}, "all-MiniLM-L6-v2", ("", "")),
        ({}, "some-size5-model", ("", "")),
    ],
)
def test_prefixes(prompts: dict[str, str], name: str, expected: tuple[str, str]) -> None:
    assert embedding._prefixes(prompts, name) == expected


# --- through sentence-transformers ----------------------------------------------------------------------------------------


def test_vectors_are_those_of_bert(tiny: SentenceEmbedder, folder: Path) -> None:
    """Against BERT written out in NumPy, in batches of unlike lengths, so padding must not leak in."""
    questions, passages = tiny.encode_questions(TEXTS), tiny.encode_passages(TEXTS)
    assert questions.dtype == np.float32 and questions.shape == (6, 32) == (len(TEXTS), tiny.dimension)
    for text, question, passage in zip(TEXTS, questions, passages, strict=True):
        np.testing.assert_allclose(question, reference(folder, "query: " + text), atol=2e-5)
        np.testing.assert_allclose(passage, reference(folder, "passage: " + text), atol=2e-5)


def test_rows_have_unit_length_and_the_order_of_the_texts(tiny: SentenceEmbedder) -> None:
    texts = [" ".join(TEXTS[i % 6] for i in range(n % 5 + 1)) for n in range(40)]
    together = tiny.encode_passages(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(tiny.encode_passages([text])[0], row, atol=1e-5)


def test_no_texts(tiny: SentenceEmbedder) -> None:
    assert tiny.encode_passages([]).shape == (0, 32)


def test_odd_texts(tiny: SentenceEmbedder) -> None:
    """Empty, unknown, longer than the model's 24 positions, a lone surrogate's replacement: each gives a unit vector."""
    rows = tiny.encode_passages(["", "\0", "need " * 500, "\ufffd", "😀"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows[2], tiny.encode_passages(["need " * 600])[0], atol=1e-6)


def test_token_count(tiny: SentenceEmbedder) -> None:
    assert tiny.token_count("attention is 模型") == 3
    assert tiny.token_count("need " * 500) == 500  # counted, not cut
    assert tiny.token_count("") == 0


def test_threads_share_one_embedder(tiny: SentenceEmbedder) -> None:
    """The tokenizer keeps padding and truncation as state: counting and encoding at once must not disturb each other."""
    expected, failures = tiny.encode_passages(TEXTS), []

    def work(kind: int) -> None:
        try:
            for _ in range(30):
                if kind % 2:
                    assert tiny.token_count("need " * 30) == 30
                else:
                    np.testing.assert_allclose(tiny.encode_passages(TEXTS), expected, atol=1e-5)
        except BaseException as error:  # a thread's failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_tokenizer_is_never_touched_without_its_lock(tiny: SentenceEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    real, unlocked = tiny._model.tokenizer, list[str]()

    class Watched:
        def __call__(self, *arguments: object, **options: object) -> object:
            if not tiny._tokenizer_lock.locked():
                unlocked.append(str(arguments))
            return real(*arguments, **options)

        def __len__(self) -> int:
            return len(real)

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    monkeypatch.setattr(type(tiny._model), "tokenizer", Watched(), raising=False)
    tiny.encode_passages_and_tokens(TEXTS * 4)
    tiny.encode_questions_and_tokens(TEXTS)
    assert unlocked == []


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
def test_other_precisions_agree(tiny: SentenceEmbedder, folder: Path, precision: str) -> None:
    if precision == "int8" and not embedding._int8_available():
        pytest.skip("no integer kernels in this build of torch")
    other = SentenceEmbedder(folder, precision=precision)
    assert other.precision == precision and other.fingerprint == tiny.fingerprint
    cosine = (other.encode_passages(TEXTS) * tiny.encode_passages(TEXTS)).sum(1)
    assert cosine.min() > 0.995 and cosine.max() < 1 - 1e-9
    np.testing.assert_allclose(np.linalg.norm(other.encode_passages(TEXTS), axis=1), 1, atol=1e-5)


def test_int8_layer_is_close_to_its_linear_layer_even_with_one_huge_token() -> None:
    import torch

    from ingest.models import int8

    if not int8.available():
        pytest.skip("no integer kernels in this build of torch")
    torch.manual_seed(1)
    linear = torch.nn.Linear(64, 32)
    x = torch.nn.functional.gelu(torch.randn(10, 64))
    x[3] *= 1000
    with torch.inference_mode():
        truth = linear(x)
        scaled = (int8.Int8Linear(linear, scale_tokens=True)(x) - truth).norm(dim=1) / truth.norm(dim=1)
        plain = (int8.Int8Linear(linear, scale_tokens=False)(x) - truth).norm(dim=1) / truth.norm(dim=1)
    assert scaled.max() < 0.03  # every token is right
    assert plain[0] > 0.2  # which one scale for all of them cannot be


def test_int8_products_do_not_overflow_sixteen_bits() -> None:
    """All weights and activations at their limits: the case where pairs of 8 x 8 bit products would saturate."""
    import torch

    from ingest.models import int8

    if not int8.available():
        pytest.skip("no integer kernels in this build of torch")
    linear = torch.nn.Linear(512, 8, bias=False)
    torch.nn.init.ones_(linear.weight)
    with torch.inference_mode():
        y = int8.Int8Linear(linear, scale_tokens=False)(torch.ones(4, 512))
    np.testing.assert_allclose(y.numpy(), 512, rtol=0.01)


def test_unknown_precision(folder: Path) -> None:
    with pytest.raises(UsageError, match="'float16' is not a precision"):
        SentenceEmbedder(folder, precision="float16")


def test_folder_that_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        SentenceEmbedder(tmp_path / "nowhere")
    with pytest.raises(MianpuError, match="cannot be loaded") as caught:
        SentenceEmbedder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_damaged_model_is_one_line(tmp_path: Path, folder: Path, name: str) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / name).write_bytes(b"{ damaged")
    with pytest.raises(MianpuError, match="cannot be loaded") as caught:
        SentenceEmbedder(tmp_path / "copy")
    assert "\n" not in str(caught.value)


def test_fingerprint_is_the_weights(tmp_path: Path, folder: Path, tiny: SentenceEmbedder) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / folder.name)
    assert tiny.fingerprint == folder_fingerprint(folder) == folder_fingerprint(tmp_path / folder.name)
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / folder.name / "model.safetensors").write_bytes(data)
    assert folder_fingerprint(tmp_path / folder.name) != tiny.fingerprint


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_loading_is_silent_asks_no_network_and_imports_no_scikit_learn(folder: Path) -> None:
    """In a process of its own, with every connection forbidden and every warning an error; nothing may be printed."""
    done = run(
        "import socket, sys\n"
        "def connect(*_): raise AssertionError('network')\n"
        "socket.socket.connect = socket.getaddrinfo = connect\n"
        "from pathlib import Path\n"
        "from ingest.models.embedding import SentenceEmbedder\n"
        f"for precision in ('float32', 'int8'):\n    e = SentenceEmbedder(Path({str(folder)!r}), precision=precision)\n"
        "    assert e.encode_questions(['need']).shape == (1, 32)\n"
        "assert not {'sklearn', 'pandas'} & set(sys.modules), 'scikit-learn'\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_scikit_learn_is_real_afterwards(folder: Path) -> None:
    done = run(
        "from ingest.models.embedding import _quick_import\n"
        "with _quick_import():\n    from sentence_transformers.util import similarity\n"
        "print(similarity.pairwise_distances([[0., 2.]], [[1., 1.]], metric='manhattan')[0][0])\n"
        "import sklearn.metrics\nprint(sklearn.metrics.pairwise_distances is not similarity.pairwise_distances, sklearn.__version__ > '1')\n"
    )
    assert done.stdout.split() == ["2.0", "True", "True"], done.stderr


def test_importing_the_module_loads_no_torch() -> None:
    """Commands that embed nothing must start at once."""
    done = run("import sys, ingest.models.embedding\nprint({'torch', 'sentence_transformers', 'transformers'} & set(sys.modules))")
    assert done.stdout == "set()\n", done.stderr


# --- the real model -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> SentenceEmbedder:
    return embedding.load_embedder()


QUESTIONS = {
    "RoPE 为什么能外推到更长的上下文？": "旋转位置编码把位置信息写进查询和键的旋转角度，注意力只取决于相对距离，因此可以用插值扩展上下文长度。",
    "LoRA 为什么省显存？": "低秩适配冻结原始权重，只训练两个小矩阵的乘积，优化器状态和梯度都只为这些小矩阵保存。",
    "What does the KV cache store?": "在自回归解码中，每一层把已经算过的键和值保存下来，新词元只需要计算自己的查询。",
    "红烧肉怎么做才不腻？": "五花肉先焯水再小火慢炖，加入冰糖和黄酒，炖一个半小时后收汁。",
}


@pytest.mark.model
def test_real_model_finds_the_passage_of_each_question(real: SentenceEmbedder) -> None:
    assert real.dimension == 384 and real.fingerprint.startswith(model_files.EMBEDDING_MODEL.name + "@")
    scores = real.encode_questions(list(QUESTIONS)) @ real.encode_passages(list(QUESTIONS.values())).T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.model
def test_real_model_in_its_default_precision_agrees_with_float32(real: SentenceEmbedder) -> None:
    texts = [*QUESTIONS, *QUESTIONS.values()]
    exact = SentenceEmbedder(model_files.embedding_model_folder(), precision="float32")
    assert exact.fingerprint == real.fingerprint
    cosine = (exact.encode_passages(texts) * real.encode_passages(texts)).sum(1)
    assert cosine.min() > 0.995


@pytest.mark.model
def test_real_tokenizer_counts_as_published(real: SentenceEmbedder) -> None:
    """The ids of this text are those of XLM-RoBERTa's vocabulary."""
    ids: Any = real._model.tokenizer("query: hello world")["input_ids"]
    assert ids == [0, 41, 1294, 12, 33600, 31, 8999, 2]
    assert real.token_count("hello world") == 3
