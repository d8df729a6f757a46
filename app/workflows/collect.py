"""What a drop means: which files are workflows, which are inputs of one, and why the others are neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from .inputs import is_input_name, named_in_ui, referenced
from .read import Found, look_into
from .refusal import ACCEPTED, NotAWorkflow

_MAX_DEPTH, _MAX_FILES, _MAX_ENTRIES = 3, 500, 20_000
#: By which a file in a folder is taken for one that may hold a workflow; a file by itself is looked into.
_SUFFIXES = frozenset(
    {".json", ".png", ".apng", ".webp", ".jpg", ".jpeg", ".mp4", ".m4v", ".mov", ".webm", ".mkv"}
    | {".flac", ".mp3", ".opus", ".ogg", ".latent"}
)
#: Pictures that a workflow can take as its input.
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file with a workflow, and what the user handed over along with it.

    Attributes:
        given: files by their own names. roots: the folder that it came in, when it was one.
    """

    path: Path
    found: Found
    given: Mapping[str, Path] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """What is no workflow, and why: a title and a sentence for a person."""

    path: Path
    title: str
    text: str

    @property
    def is_picture(self) -> bool:
        """Whether a workflow could take it as its input."""
        return self.path.suffix.lower() in PICTURES


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything of one drop, in the natural order of the names."""

    workflows: tuple[Dropped, ...] = ()
    refused: tuple[Refused, ...] = ()


def may_be_workflow(path: Path) -> bool:
    """Whether a name could be a workflow's; the file is not looked into. A folder could hold some."""
    return path.suffix.lower() in _SUFFIXES or path.is_dir()


def collect(paths: Sequence[Path]) -> Collected:
    """Look into files and folders for workflows. Blocks.

    A given file that a given ``.json`` names is its input and nothing else.
    """
    found: list[tuple[Path, Found, tuple[Path, ...]]] = []
    refused: list[Refused] = []
    for path in sorted(dict.fromkeys(paths), key=natural):
        if path.is_dir():
            _take_folder(path, found, refused)
            continue
        try:
            found.append((path, _read(path), ()))
        except NotAWorkflow as error:
            refused.append(Refused(path, error.title, error.text))
    given = {path.name: path for path in paths if path.is_file()}
    dropped = [
        Dropped(path, each, _others_named(path, each, given), (*roots[1:], *roots[:1]))
        for path, each, roots in found
    ]
    used = {file for each in dropped for file in each.given.values()}
    inputs = {file for each in dropped if _is_json(each.path) for file in each.given.values()}
    return Collected(
        tuple(each for each in dropped if each.path not in inputs or _is_json(each.path)),
        tuple(each for each in refused if each.path not in used),
    )


def _is_json(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _read(path: Path) -> Found:
    try:
        return look_into(path)
    except NotAWorkflow as error:
        if not path.is_file() or path.suffix.lower() in _SUFFIXES | PICTURES or "damaged" in error.title:
            raise
        raise NotAWorkflow(
            f"{path.name} is not a workflow", ACCEPTED, f"{path.name} is not a workflow."
        ) from error


def _others_named(path: Path, found: Found, given: Mapping[str, Path]) -> dict[str, Path]:
    """The files handed over that the workflow names, in whatever folder of ComfyUI's it says they are."""
    named = referenced(found.prompt) if found.prompt is not None else named_in_ui(found.ui or {})
    bare = {name.rpartition("/")[2] for name in named if is_input_name(name)}
    return {name: file for name, file in given.items() if name in bare and file != path}


def _take_folder(
    folder: Path, found: list[tuple[Path, Found, tuple[Path, ...]]], refused: list[Refused]
) -> None:
    candidates = list(islice(_files_below(folder, _MAX_DEPTH), _MAX_FILES + 1))
    good = 0
    for path in candidates[:_MAX_FILES]:
        try:
            found.append((path, look_into(path), tuple(dict.fromkeys((folder, path.parent)))))
        except NotAWorkflow:
            continue
        good += 1
    others = min(len(candidates), _MAX_FILES) - good
    if not candidates:
        refused.append(Refused(folder, f"No workflows in {folder.name}", ACCEPTED))
    elif others:
        where = f"in {folder.name}/"
        one = f"1 file {where} is not a workflow"
        title = one if others == 1 else f"{others} files {where} are not workflows"
        refused.append(Refused(folder, title, "The others are queued." if good else ACCEPTED))
    if len(candidates) > _MAX_FILES:
        text = f"Only the first {_MAX_FILES} were looked at. Drop a smaller folder or single files."
        refused.append(Refused(folder, f"{folder.name} holds too many files", text))


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Files that could be workflows, in natural order; hidden ones and links to folders are passed over."""
    try:
        entries = sorted(islice(folder.iterdir(), _MAX_ENTRIES), key=natural)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() in _SUFFIXES and entry.is_file():
            yield entry
        elif depth > 1 and entry.is_dir() and not entry.is_symlink():
            yield from _files_below(entry, depth - 1)


def natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """``2.json`` before ``10.json``."""
    parts = _DIGITS.split(path.name.casefold())
    numbered = [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]
    return numbered, str(path)
