"""Following folders: whenever something in them changes, and has been quiet for a moment, they are ingested again."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import watchfiles

from ingest.errors import Interrupted, LibraryBusy, MianpuError
from ingest.pipeline import IngestSummary

DEBOUNCE_MS = 800
"""So long must be quiet before an ingest starts: an editor writes a file in several steps."""
_LOOK_MS = 1000  # how often it is asked whether a folder went or came back
_AGAIN_S = 1.0  # pause before another try while another program writes


class Watcher:
    """Follows files and folders until ``stop`` is set.

    ``ingest`` brings the library (in ``folder``) up to date with the paths that exist; ``say`` takes one line for each change.
    A folder that vanishes keeps its documents and is followed again when it comes back. While another ingest holds the library,
    this one waits.
    """

    def __init__(
        self,
        folder: Path,
        paths: Sequence[Path],
        ingest: Callable[[Sequence[Path]], IngestSummary],
        say: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._folder = Path(os.path.abspath(folder))
        self._paths = [Path(os.path.abspath(path)) for path in paths]
        self._ingest, self._say, self._stop = ingest, say, stop
        self._told: set[str] = set()  # failures told already: a file that cannot be read is named once, not at every change
        self.counts = dict.fromkeys(("added", "updated", "renamed", "removed"), 0)

    def run(self) -> None:
        """Ingest, then follow. Returns when ``stop`` is set; Ctrl-C passes through as KeyboardInterrupt."""
        gone: set[Path] = set()
        while not self._stop.is_set():
            here = self._identities()
            for path in self._paths:
                if path not in here and path not in gone:
                    self._say(f"{path} is gone: its documents stay, and it is followed again when it comes back")
                elif path in here and path in gone:
                    self._say(f"{path} is back")
            gone = set(self._paths) - here.keys()
            if here:
                self._bring_up_to_date(list(here))
            self._follow(here)

    def summary(self) -> str:
        """What was done since the start, in one line."""
        return ", ".join(f"{count} {name}" for name, count in self.counts.items())

    def _identities(self) -> dict[Path, tuple[int, int]]:
        """The paths that exist, with device and inode: a folder made anew under the same name is another one."""
        found = {}
        for path in self._paths:
            try:
                status = path.stat()
            except OSError:
                continue
            found[path] = (status.st_dev, status.st_ino)
        return found

    def _follow(self, here: dict[Path, tuple[int, int]]) -> None:
        """Wait for changes and ingest after each; returns when a path went, came back, or is another one now."""
        if not here:
            self._stop.wait(_LOOK_MS / 1000)
            return
        try:
            for changes in watchfiles.watch(
                *here,
                watch_filter=self._concerns,
                debounce=60_000,
                step=DEBOUNCE_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                stop_event=self._stop,
                ignore_permission_denied=True,
            ):
                if self._identities().keys() != here.keys() or self._changed_folders(here):
                    return
                if changes:
                    self._bring_up_to_date(list(here))
        except FileNotFoundError:
            return  # it went between being seen and being watched
        except (OSError, RuntimeError) as error:
            raise MianpuError(f"the folders cannot be followed ({error}): follow fewer, or ingest without --watch") from None

    def _changed_folders(self, here: dict[Path, tuple[int, int]]) -> bool:
        """Whether a folder is another than the one that is watched. Editors replace single files: those are no other ones."""
        now = self._identities()
        return any(path.is_dir() and now.get(path) != identity for path, identity in here.items())

    def _concerns(self, change: watchfiles.Change, name: str) -> bool:
        """Hidden files and folders below what is followed are not ingested, so nothing happens for them; nor for the library."""
        path = Path(name)
        if path.is_relative_to(self._folder):
            return False
        for root in self._paths:
            if path.is_relative_to(root):
                return not any(part.startswith(".") for part in path.relative_to(root).parts)
        return True

    def _bring_up_to_date(self, paths: Sequence[Path]) -> None:
        waiting = False
        while not self._stop.is_set():
            try:
                self._tell(self._ingest(paths))
                return
            except LibraryBusy as error:
                if not waiting:
                    self._say(f"waiting: {error}")
                waiting = True
                self._stop.wait(_AGAIN_S)
            except Interrupted:
                raise
            except MianpuError as error:
                self._say(f"not ingested: {error}")  # a full disk, a folder that went this moment: the next change tries again
                return

    def _tell(self, summary: IngestSummary) -> None:
        for what in self.counts:
            names: tuple[str, ...] = getattr(summary, what)
            self.counts[what] += len(names)
            for name in names:
                self._say(f"{what}: {name}")
        failures = {f"not ingested: {path}: {reason}" for path, reason in (*summary.failed, *summary.skipped)} | {
            f"in part: {path}: {reason}" for path, reason in summary.incomplete
        }
        for line in sorted(failures - self._told):
            self._say(line)
        self._told = failures
