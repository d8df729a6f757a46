"""What the models folder holds. Links are followed, loops are not."""

from __future__ import annotations

import fnmatch
import os
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from worker.contract import safe_name

from ..errors import BadInput
from ..s3.records import FileMark
from ..threads import go_on
from .model import LocalFile

#: Files that are nobody's models: half-written ones, and what systems and tools leave in folders.
_PASSED_OVER = (
    *("*.part", "*.tmp", "*.crdownload", "*.aria2", ".ds_store", "thumbs.db", "desktop.ini"),
    # ComfyUI's own placeholders.
    "put_*_here",
)
_FOLDERS_PASSED_OVER = {".cache", ".git", "__pycache__", ".huggingface", ".comfy-runpod"}
#: What the sync itself keeps in the models folder of a volume.
OWN_FILES = (".sync-manifest.json", "SHA256SUMS")
#: Links may nest; more levels than that are a loop in disguise.
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Rules:
    """Which files count: glob patterns for names or paths, in any letter case. No ``include``: all."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def take(self, path: PurePosixPath) -> bool:
        if str(path) in OWN_FILES or any(part.casefold() in _FOLDERS_PASSED_OVER for part in path.parts[:-1]):
            return False
        name = path.name.casefold()
        if any(fnmatch.fnmatchcase(name, each) for each in _PASSED_OVER):
            return False
        if self.include and not any(_fits(path, each) for each in self.include):
            return False
        return not any(_fits(path, each) for each in self.exclude)


def _fits(path: PurePosixPath, pattern: str) -> bool:
    """A pattern stands for names, for whole paths, or for all that lies in a folder."""
    wanted = unicodedata.normalize("NFC", pattern).casefold().strip("/")
    whole = str(path).casefold()
    return (
        fnmatch.fnmatchcase(path.name.casefold(), wanted)
        or fnmatch.fnmatchcase(whole, wanted)
        or fnmatch.fnmatchcase(whole, f"{wanted}/*")
    )


@dataclass(frozen=True, slots=True)
class Scan:
    """The files, and the paths that are left out, each with the reason."""

    files: tuple[LocalFile, ...]
    left_out: tuple[tuple[PurePosixPath, str, LocalFile | None], ...]


def scan(folder: Path, rules: Rules, stop: threading.Event) -> Scan:
    """Look at all files. Blocks.

    Raises:
        BadInput: when there is no such folder, or it cannot be read.
        Stopped: when asked to stop.
    """
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.", hint="Choose the folder with your models.")
    files: dict[PurePosixPath, LocalFile] = {}
    left_out: list[tuple[PurePosixPath, str, LocalFile | None]] = []
    unread: list[tuple[PurePosixPath, str]] = []
    for relative, place in _walk(folder, PurePosixPath(), (), stop, unread):
        path = PurePosixPath(unicodedata.normalize("NFC", str(relative)))
        if not rules.take(path):
            continue
        try:
            safe_name(str(path))
        except ValueError as error:
            left_out.append((path, str(error), None))
            continue
        try:
            found = LocalFile(path, place, FileMark.of(place))
        except OSError as error:
            left_out.append((path, f"It cannot be read: {error.strerror}.", None))
            continue
        if path in files:
            why = "Another file here has the same name, written with other signs for its accents."
            left_out.append((PurePosixPath(str(relative)), why, found))
            continue
        files[path] = found
    for path, why in unread:
        if path == PurePosixPath():
            raise BadInput(f"The folder {folder} cannot be read: {why}.", hint="Look at who may read it.")
        left_out.append((path, f"This folder cannot be read: {why}.", None))
    return Scan(tuple(sorted(files.values(), key=lambda each: str(each.path))), tuple(left_out))


def twins(paths: Iterator[PurePosixPath]) -> dict[PurePosixPath, PurePosixPath]:
    """Paths that differ in letter case or in how accents are written only, each with another.

    Some systems have room for one of them.
    """
    seen: dict[str, PurePosixPath] = {}
    found: dict[PurePosixPath, PurePosixPath] = {}
    for path in paths:
        other = seen.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), path)
        if other != path:
            found[path], found[other] = other, path
    return found


def _walk(
    folder: Path,
    relative: PurePosixPath,
    above: tuple[tuple[int, int], ...],
    stop: threading.Event,
    unread: list[tuple[PurePosixPath, str]],
) -> Iterator[tuple[PurePosixPath, Path]]:
    go_on(stop)
    try:
        stat = folder.stat()
        # Of names that are one in NFC the one that is so already comes first, and is taken.
        entries = sorted(
            os.scandir(folder), key=lambda each: (not unicodedata.is_normalized("NFC", each.name), each.name)
        )
    except OSError as error:
        unread.append((relative, str(error.strerror)))
        return
    here = (stat.st_dev, stat.st_ino)
    if (here in above and stat.st_ino) or len(above) > _DEEPEST:
        return
    for entry in entries:
        path = Path(entry.path)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:
            continue
        if is_folder:
            if entry.name.casefold() not in _FOLDERS_PASSED_OVER:
                yield from _walk(path, relative / entry.name, (*above, here), stop, unread)
        elif is_file:
            yield relative / entry.name, path
