"""Where the engine's files are, and that no name from a client leaves those folders."""

from __future__ import annotations

import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

_ANNOTATIONS = {"[output]": "output", "[input]": "input", "[temp]": "temp"}
KINDS = ("output", "input", "temp")
IMAGE_SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".avif",
        ".heic",
        ".ico",
        ".svg",
        ".ppm",
    }
)


class OutsideFolder(ValueError):
    """A name that would leave its folder, or that no file can have."""


@dataclass(frozen=True)
class SavePlace:
    """Where the next files of a prefix go."""

    folder: Path
    stem: str
    counter: int
    subfolder: str

    def name(self, number: int) -> str:
        """The ``number``-th file's name, from 0."""
        stem = self.stem.replace("%batch_num%", str(number))
        return f"{stem}_{self.counter + number:05}_.png"


@dataclass(frozen=True)
class Folders:
    """The engine's folders: what clients call ``input``, ``output`` and ``temp``."""

    base: Path
    input: Path
    output: Path
    temp: Path

    @classmethod
    def below(
        cls,
        base: Path,
        *,
        input_dir: Path | None = None,
        output_dir: Path | None = None,
        temp_parent: Path | None = None,
    ) -> Folders:
        """Like ComfyUI's options: each one overrides the base, temporary files go to ``temp_parent/temp``."""
        base = base.resolve()
        return cls(
            base,
            (input_dir or base / "input").resolve(),
            (output_dir or base / "output").resolve(),
            ((temp_parent or base) / "temp").resolve(),
        )

    def prepare(self) -> None:
        self.empty_temp()
        for folder in (self.input, self.output, self.temp):
            folder.mkdir(parents=True, exist_ok=True)

    def empty_temp(self) -> None:
        shutil.rmtree(self.temp, ignore_errors=True)

    def of_kind(self, kind: str) -> Path | None:
        return {"output": self.output, "input": self.input, "temp": self.temp}.get(kind)

    def annotated(self, name: str) -> Path:
        """The path of a name as LoadImage takes it: ``sub/x.png``, ``x.png [output]``.

        Raises OutsideFolder for a name that leaves the folder.
        """
        bare, kind = split_annotation(name)
        return inside(self.of_kind(kind or "input") or self.input, bare)

    def top_files(self, kind: str) -> list[str]:
        """The names of the files at the top of a folder, sorted."""
        folder = self.of_kind(kind)
        if folder is None or not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())

    def save_place(self, prefix: str, kind: str, size: tuple[int, int]) -> SavePlace:
        """Where files with this prefix go; the folder is created. Raises OutsideFolder."""
        root = self.of_kind(kind) or self.output
        # ComfyUI's own splitting, with the system's separators: a Path would lose a leading "./" or "//".
        subfolder, stem = os.path.split(os.path.normpath(_fill(prefix, size)))
        folder = inside(root, subfolder)
        inside(folder, stem)
        folder.mkdir(parents=True, exist_ok=True)
        flags = re.IGNORECASE if os.name == "nt" else 0
        numbered = re.compile(rf"{re.escape(stem)}_(\d+)(?:_|$)", flags)
        used = [int(match[1]) for entry in folder.iterdir() if (match := numbered.match(entry.name))]
        return SavePlace(folder, stem, max(used, default=0) + 1, subfolder)


def split_annotation(name: str) -> tuple[str, str | None]:
    """``x.png [temp]`` as name and kind; kind is None without an annotation."""
    for mark, kind in _ANNOTATIONS.items():
        if name.endswith(mark):
            return name[: -len(mark) - 1], kind
    return name, None


def inside(root: Path, name: str) -> Path:
    """``root/name``, normalised. Raises OutsideFolder when that leaves ``root``, links included."""
    if "\0" in name:
        raise OutsideFolder("A file name cannot hold a NUL character")
    path = Path(os.path.normpath(root / name))
    for candidate in (path, Path(os.path.realpath(path))):
        if not candidate.is_relative_to(root):
            raise OutsideFolder(f"{name!r} leaves its folder")
    return path


def _fill(prefix: str, size: tuple[int, int]) -> str:
    now = time.localtime()
    values = {
        "width": str(size[0]),
        "height": str(size[1]),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(rf"%({'|'.join(values)})%", lambda match: values[match[1]], prefix)
