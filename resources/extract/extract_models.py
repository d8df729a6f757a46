#!/usr/bin/env python3
"""Lay models that `runpodctl receive` brought into ComfyUI's models folder on a pod, and check each one.

    python3 comfy-1a2b3c4d-extract.py [--target FOLDER] [--overwrite] [--partial]

It finds the received files beside itself, wherever it is run from. Python 3.8 or later, nothing else.

A batch is laid in place when all of it is there and right, so that a broken transfer can go on with the
files that it has; --partial takes what is right at once. Files are moved where that costs nothing, else
copied to a name that ends in .part and renamed. Nothing is ever deleted, and no other file is replaced
unless --overwrite says so. The exit status is 0 only when every file of every batch is in place.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import zipfile
from pathlib import Path
from typing import IO, Any, Callable, NamedTuple, Optional  # noqa: UP035 - Python 3.8

PLACES = (("/runpod-volume", "comfyui/models"), ("/workspace", "comfyui/models"))
MANIFEST = re.compile(r"comfy-([0-9a-f]{8})-([1-9][0-9]{0,4})-of-([1-9][0-9]{0,4})\.json")
OWN_NAME = re.compile(r"comfy-([0-9a-f]{8})-extract\.py")
LARGEST_MANIFEST = 64 << 20
PIECE = 1 << 20
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)

#: The words that lines begin with, and how the last line counts them.
WORDS = {
    "ok": "laid in place",
    "same": "there already",
    "WAITS": "waiting",
    "MISSING": "missing",
    "BAD": "bad",
    "CONFLICT": "in conflict",
    "REFUSED": "refused",
    "ERROR": "failed",
}


class Problem(Exception):
    """A file that cannot be laid in place: the word for its line, and why."""

    def __init__(self, word: str, why: str) -> None:
        super().__init__(why)
        self.word = word
        self.why = why


class Entry(NamedTuple):
    """A listed file that was judged: below the target, with its size in bytes and its SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Ready(NamedTuple):
    """A file that can be laid in place: from a received file, or from the member of its path in a zip."""

    entry: Entry
    source: Path
    zipped: bool


def say(word: str, text: str, why: str = "") -> None:
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    sys.stdout.write(f"{word:<9} {shown}{': ' if why else ''}{why}\n")
    sys.stdout.flush()


# -- what is listed: judged before anything is touched -------------------------------------------------


def checked_path(path: Any) -> str:
    if not isinstance(path, str) or not path or len(path) > 1000:
        raise Problem("REFUSED", "it is no path below the models folder")
    if "\\" in path or any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) <= 0xDFFF for c in path):
        raise Problem("REFUSED", "its name holds a backslash or a control character")
    # A path that begins with / has an empty first part.
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or re.match(r"[A-Za-z]:", path):
        raise Problem("REFUSED", "it is no path below the models folder")
    if any(len(part.encode()) > 255 for part in parts):
        raise Problem("REFUSED", "its name is too long")
    return path


def checked_name(name: Any) -> str:
    """The name of a file beside this script."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}", name):
        raise Problem("REFUSED", "it is not named as a received file")
    return name


def checked_entry(raw: Any) -> Entry:
    if not isinstance(raw, dict):
        raise Problem("REFUSED", "it is no entry of a list")
    path, size, digest = checked_path(raw.get("path")), raw.get("size"), raw.get("sha256")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise Problem("REFUSED", "its size is no number")
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise Problem("REFUSED", "its SHA-256 is none")
    return Entry(path, size, digest)


def called(raw: Any) -> str:
    """What the line of an entry calls it, also of one that is refused."""
    return str(raw.get("path") if isinstance(raw, dict) else raw)[:300]


def read_manifest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(LARGEST_MANIFEST + 1)
    if len(text) > LARGEST_MANIFEST:
        raise ValueError("it is too large")
    raw = json.loads(text.decode("utf-8"))
    if not isinstance(raw, dict) or raw.get("version") != 1:
        raise ValueError("it is not of this version; use the script that came with it")
    files, zips = raw.get("files"), raw.get("zips")
    if not isinstance(files, list) or not isinstance(zips, list):
        raise ValueError("it lists no files")
    if not all(isinstance(packed, dict) and isinstance(packed.get("files"), list) for packed in zips):
        raise ValueError("it lists no files")
    return raw


# -- reading and writing ---------------------------------------------------------------------------------


def check_content(file: IO[bytes], entry: Entry, out: Optional[IO[bytes]] = None) -> None:  # noqa: UP045
    """Read an open file to its end, copy it to ``out``, and raise a Problem unless it is the entry's."""
    digest, length = hashlib.sha256(), 0
    while True:
        piece = file.read(PIECE)
        length += len(piece)
        if not piece or length > entry.size:
            break
        digest.update(piece)
        if out is not None:
            out.write(piece)
    if length != entry.size:
        raise Problem("BAD", "it is too long" if length > entry.size else "it is cut off")
    if digest.hexdigest() != entry.sha256:
        raise Problem("BAD", "its SHA-256 is wrong")


def holds(place: Path, entry: Entry) -> bool:
    """Whether the file at ``place`` has the content of ``entry``."""
    try:
        found = place.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != entry.size:
            return False
        with place.open("rb") as file:
            check_content(file, entry)
    except (OSError, Problem):
        return False
    return True


def place_of(target: Path, path: str) -> Path:
    """Where a path goes; a Problem when a symbolic link leads out of the target."""
    base = os.path.realpath(target)
    place = target.joinpath(*path.split("/"))
    for there in (os.path.realpath(place.parent), os.path.realpath(place)):
        if there != base and not there.startswith(base.rstrip(os.sep) + os.sep):
            raise Problem("REFUSED", "a symbolic link in the models folder leads out of it")
    return place


def copy(file: IO[bytes], entry: Entry, place: Path) -> None:
    """Copy an open file to ``place``, where it is whole and right, or not at all."""
    name = place.name
    while len(name.encode()) > 200:
        name = name[:-1]
    part = place.with_name(f"{name}.{entry.sha256[:8]}.part")
    if os.path.lexists(part) and not stat.S_ISREG(part.lstat().st_mode):
        raise Problem("ERROR", f"{part.name} is in the way")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | NO_FOLLOW, 0o666)
    try:
        with os.fdopen(handle, "wb") as out:
            check_content(file, entry, out)
            out.flush()
            os.fsync(out.fileno())
        part.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


class Run:
    """One run: from where to where, what may be replaced, and what came of each file."""

    def __init__(self, folder: Path, target: Path, overwrite: bool, partial: bool) -> None:
        self.folder, self.target = folder, target
        self.overwrite, self.partial = overwrite, partial
        self.counts: dict[str, int] = {}
        self.left: set[str] = set()

    def count(self, word: str, text: str, why: str = "") -> None:
        self.counts[word] = self.counts.get(word, 0) + 1
        say(word, text, why)

    def everything(self, own_set: Optional[str]) -> None:  # noqa: UP045
        found: dict[tuple[str, int], dict[int, Path]] = {}
        for path in sorted(self.folder.iterdir()):
            match = MANIFEST.fullmatch(path.name)
            if match and own_set in (None, match[1]):
                found.setdefault((match[1], int(match[3])), {})[int(match[2])] = path
        if not found:
            self.count("MISSING", str(self.folder), "no list of received files (comfy-….json) is here")
        for (set_id, of), batches in sorted(found.items()):
            for number in range(1, of + 1):
                label = f"batch {number} of {of}" + ("" if own_set else f" of {set_id}")
                if number not in batches:
                    self.count("MISSING", label, "it was not received here")
                    continue
                try:
                    raw = read_manifest(batches[number])
                except (OSError, ValueError, RecursionError) as error:
                    self.count("BAD", label, f"its list cannot be read ({error})")
                    continue
                self.batch(raw, label)

    # -- a batch: first looked at, then laid in place ------------------------------------------------

    def batch(self, raw: dict[str, Any], label: str) -> None:
        ready: list[Ready] = []
        whole = True
        for listed in raw["files"]:
            whole &= self.look_at(listed, self.flat, ready)
        for packed in raw["zips"]:
            whole &= self.look_at_zip(packed, ready)
        if not whole and not self.partial:
            for one in ready:
                self.count("WAITS", one.entry.path, f"{label} is not whole")
        elif ready and self.has_room(ready):
            for one in ready:
                self.lay(one)

    def look_at(
        self, raw: Any, check: Callable[[Any], Optional[Ready]], ready: list[Ready]  # noqa: UP045
    ) -> bool:  # fmt: skip
        """Judge one listed file; False when the transfer of it is not whole."""
        try:
            found = check(raw)
        except Problem as problem:
            self.count(problem.word, called(raw), problem.why)
            return problem.word == "CONFLICT"
        except OSError as error:
            self.count("ERROR", called(raw), error.strerror or str(error))
            return False
        if found is not None:
            ready.append(found)
        return True

    def look_at_zip(self, packed: dict[str, Any], ready: list[Ready]) -> bool:
        source, wrong = None, None
        try:
            source = self.received(packed.get("name"))
            check_zip(source, packed["files"])
            self.left.add(source.name)
        except Problem as problem:
            wrong = problem

        def check(raw: Any) -> Optional[Ready]:  # noqa: UP045
            entry = checked_entry(raw)
            if self.in_place(entry):
                return None
            if source is None or wrong is not None:
                raise wrong or Problem("MISSING", "its zip is not here")
            return Ready(entry, source, True)

        whole = True
        for listed in packed["files"]:
            whole &= self.look_at(listed, check, ready)
        if wrong is not None and wrong.word == "REFUSED":
            self.count("REFUSED", called(packed.get("name")), wrong.why)
            return False
        return whole

    def flat(self, raw: Any) -> Optional[Ready]:  # noqa: UP045
        entry = checked_entry(raw)
        name = checked_name(raw.get("name"))
        if self.in_place(entry):
            if os.path.lexists(self.folder / name):
                self.left.add(name)
            return None
        source = self.received(name)
        with source.open("rb") as file:
            check_content(file, entry)
        return Ready(entry, source, False)

    def received(self, name: Any) -> Path:
        path = self.folder / checked_name(name)
        if not os.path.lexists(path):
            raise Problem("MISSING", f"{path.name} is not here")
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Problem("REFUSED", f"{path.name} is no regular file")
        return path

    def in_place(self, entry: Entry) -> bool:
        """Whether the entry is at the target. A Problem when another file is that may not be replaced."""
        place = place_of(self.target, entry.path)
        if holds(place, entry):
            self.count("same", entry.path)
            return True
        if os.path.lexists(place):
            if place.is_dir():
                raise Problem("CONFLICT", "a folder is there")
            if not self.overwrite:
                raise Problem("CONFLICT", "another file is there; --overwrite replaces it")
        return False

    def has_room(self, ready: list[Ready]) -> bool:
        there = self.target
        while not there.exists():
            there = there.parent
        device = there.stat().st_dev
        # What is moved within one file system takes no room.
        needed = sum(one.entry.size for one in ready if one.zipped or one.source.stat().st_dev != device)
        free = shutil.disk_usage(there).free
        if needed <= free:
            return True
        for one in ready:
            self.count("ERROR", one.entry.path, f"no room: {needed} bytes are needed, {free} are free")
        return False

    def lay(self, one: Ready) -> None:
        try:
            place = place_of(self.target, one.entry.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            # Again: what was laid before it, or somebody else, may have put a file there.
            if os.path.lexists(place) and self.in_place(one.entry):
                return
            if one.zipped:
                with zipfile.ZipFile(one.source) as archive, archive.open(one.entry.path) as member:
                    copy(member, one.entry, place)
            elif not moved(one.source, place):
                with one.source.open("rb") as file:
                    copy(file, one.entry, place)
                self.left.add(one.source.name)
            self.count("ok", one.entry.path)
        except Problem as problem:
            self.count(problem.word, one.entry.path, problem.why)
        except (zipfile.BadZipFile, RuntimeError, EOFError) as error:
            self.count("BAD", one.entry.path, str(error))
        except OSError as error:
            self.count("ERROR", one.entry.path, error.strerror or str(error))

    def summary(self) -> int:
        good = bool(self.counts) and not set(self.counts) - {"ok", "same"}
        if good and self.left:
            say("note", f"not needed any more in {self.folder}: {' '.join(sorted(self.left))}")
        if "WAITS" in self.counts:
            say("note", "send that batch again: it goes on with what is here. --partial takes what is right")
        told = ", ".join(f"{self.counts[word]} {text}" for word, text in WORDS.items() if word in self.counts)
        say("done" if good else "NOT DONE", f"{told}; models folder {self.target}")
        return 0 if good else 1


def check_zip(source: Path, listed: list[Any]) -> None:
    """A Problem when a zip is damaged, or does not hold exactly what is listed."""
    sizes = {}
    for raw in listed:
        # One that is refused has a line of its own.
        with contextlib.suppress(Problem):
            entry = checked_entry(raw)
            sizes[entry.path] = entry.size
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise Problem("BAD", f"its zip is damaged or cut off ({error})") from error
    for info in members:
        # zipfile cuts a name at a zero byte.
        if info.filename not in sizes or info.orig_filename != info.filename:
            raise Problem("REFUSED", f"the zip holds {info.orig_filename!r}, which is not listed")
        if info.file_size != sizes[info.filename] or info.compress_type != zipfile.ZIP_STORED:
            raise Problem("BAD", "its zip is not as it was packed")
    if sorted(sizes) != sorted(info.filename for info in members) or len(sizes) != len(listed):
        raise Problem("BAD", "its zip does not hold what is listed")


def moved(source: Path, place: Path) -> bool:
    """Move within one file system; False when that cannot be."""
    if source.stat().st_dev != place.parent.stat().st_dev:
        return False
    try:
        source.replace(place)
    except OSError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--target", help="the models folder, an absolute path")
    parser.add_argument("--overwrite", action="store_true", help="replace other files of the same name")
    parser.add_argument("--partial", action="store_true", help="lay in place what is right of a broken batch")
    args = parser.parse_args()
    # The language of a pod may have no ü.
    getattr(sys.stdout, "reconfigure", lambda errors: None)(errors="backslashreplace")
    target = args.target
    if target is None:
        target = next((f"{volume}/{models}" for volume, models in PLACES if Path(volume).is_dir()), None)
    if target is None:
        parser.error("neither /runpod-volume nor /workspace is here: give the models folder with --target")
    if not Path(target).is_absolute():
        parser.error("--target must be an absolute path")
    own = Path(os.path.realpath(__file__))
    named = OWN_NAME.fullmatch(own.name)
    run = Run(own.parent, Path(os.path.normpath(target)), args.overwrite, args.partial)
    run.everything(named and named[1])
    return run.summary()


if __name__ == "__main__":
    sys.exit(main())
