"""What an installation is to be, its steps, and the note in a half installed ComfyUI on how far it is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from ..errors import BadInput
from ..files import write_private
from .repositories import checked_address, checked_version, remove_tree

COMFYUI = "https://github.com/comfyanonymous/ComfyUI.git"
#: A folder that holds this file is no ComfyUI yet.
MARKER = ".comfy-runpod-installing"
VENV = ".venv"


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What is to be installed, and where.

    Attributes:
        folder: does not exist, is empty, or holds an installation that did not come to its end.
        address: where git finds ComfyUI.
        version: a tag, branch or commit; empty for the newest release, else the default branch.
        torch_index: the address of a Python index for PyTorch in place of the usual one; may be empty.
        python: a version such as ``3.12``, or the path of a Python.

    Raises:
        BadInput: when one of them cannot be used.
    """

    folder: Path
    # A private repository's address and a private index may hold a key.
    address: str = field(default=COMFYUI, repr=False)
    version: str = ""
    torch_index: str = field(default="", repr=False)
    python: str = "3.12"

    def __post_init__(self) -> None:
        try:
            folder = self.folder.expanduser().absolute()
        except RuntimeError:
            raise BadInput(f"There is no home folder for {self.folder}.") from None
        if not folder.name or folder.name == "..":
            raise BadInput(f"{folder} cannot be ComfyUI's folder.")
        index, python = self.torch_index.strip(), self.python.strip()
        if index and not re.fullmatch(r"(https?://|file:///)[^\s?#]+", index):
            raise BadInput(
                "The index for PyTorch is no address that begins with http://, https:// or file://."
            )
        if not python or python.startswith("-") or not python.isprintable():
            raise BadInput(f"{python!r} is no version of Python.")
        for name, value in (
            ("folder", folder),
            ("address", checked_address(self.address)),
            ("version", checked_version(self.version)),
            ("torch_index", index),
            ("python", python),
        ):
            object.__setattr__(self, name, value)


@dataclass(frozen=True, slots=True)
class Installed:
    """A ComfyUI that is ready to run.

    Attributes:
        version: ComfyUI's own; None when it does not say.
        torch: PyTorch's version.
        device: what PyTorch computes on: a name of a GPU, ``mps`` or ``cpu``.
    """

    folder: Path
    python: Path
    version: str | None
    torch: str
    device: str


class Step(StrEnum):
    """In the order in which they are done."""

    DOWNLOAD = "download"
    ENVIRONMENT = "environment"
    TORCH = "torch"
    REQUIREMENTS = "requirements"
    CHECK = "check"


class StepState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is.

    Attributes:
        part: from 0 to 1; None when it cannot be told.
        text: what it does now, what it made, or why it failed.
    """

    step: Step
    state: StepState = StepState.WAITING
    part: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What is done in a half installed folder.

    Attributes:
        done: for each finished step what it was done with.
        files: the files that the download brought, with ``/`` between folders.
        was_there: the empty folder was there before us.
    """

    done: Mapping[Step, str] = field(default_factory=dict)
    files: frozenset[str] = frozenset()
    was_there: bool = False

    def with_done(self, step: Step, given: str) -> Note:
        return replace(self, done={**self.done, step: given})

    def still_done(self, given: Mapping[Step, str]) -> Note:
        """Without the steps that were done with something else, and those that came after."""
        done: dict[Step, str] = {}
        for step in Step:
            if self.done.get(step) != given[step]:
                break
            done[step] = given[step]
        return replace(self, done=done)

    def only(self, step: Step) -> Note:
        return replace(self, done={step: self.done[step]})

    def save(self, folder: Path) -> None:
        """Blocks."""
        raw = {"done": self.done, "files": sorted(self.files), "was_there": self.was_there}
        write_private(folder / MARKER, json.dumps(raw))


def is_unfinished(folder: Path) -> bool:
    """Whether an installation into a folder has begun and not come to its end. Blocks."""
    return (folder / MARKER).is_file()


def read_note(folder: Path) -> Note | None:
    """The note in a folder; None when there is none. Blocks.

    Raises:
        BadInput: when it cannot be read.
    """
    try:
        raw = json.loads((folder / MARKER).read_text("utf-8"))
        done = {Step(step): str(given) for step, given in raw["done"].items()}
        return Note(done, frozenset(map(str, raw["files"])), bool(raw["was_there"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadInput(
            f"The note {MARKER} in {folder} cannot be read, so the installation cannot go on.",
            hint="Remove the folder when nothing in it is yours.",
        ) from error


def files_below(folder: Path) -> frozenset[str]:
    """The files of a clone, without git's own, with ``/`` between folders. Blocks."""
    found = set()
    for place, folders, names in os.walk(folder):
        if Path(place) == folder and ".git" in folders:
            folders.remove(".git")
        below = Path(place).relative_to(folder)
        found |= {(below / name).as_posix() for name in names}
        found |= {(below / name).as_posix() for name in folders if (Path(place) / name).is_symlink()}
    return frozenset(found)


def take_away(folder: Path, note: Note) -> bool:
    """Remove what an installation made; whether nothing is left. Files of others stay. Blocks."""
    for name in (VENV, ".git"):
        remove_tree(folder / name)
    for place, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            path = Path(place) / name
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(folder).as_posix() in note.files:
                path.unlink()
    (folder / MARKER).unlink(missing_ok=True)
    if any(folder.iterdir()):
        return False
    if not note.was_there:
        folder.rmdir()
    return True
