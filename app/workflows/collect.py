"""What a drop means: which files are workflows, which are inputs of one, and why the others are neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from .inputs import inputs_from, is_input_name, referenced
from .read import Workflow, read_workflow
from .refusal import NotAWorkflow

_MAX_DEPTH, _MAX_FILES, _MAX_ENTRIES = 3, 500, 20_000
_SUFFIXES = frozenset({".json", ".png", ".webp"})
_OTHER_PICTURES = frozenset(
    {".jpg", ".jpeg", ".gif", ".bmp", ".avif", ".heic", ".jxl", ".tif", ".tiff", ".svg"}
)
_ACCEPTED = "Accepted are workflows in API format (.json) and pictures made with ComfyUI (.png, .webp)."
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A workflow with the input files that were found for it, by the names it uses."""

    path: Path
    workflow: Workflow
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """What is no workflow, and why: a title and a sentence for a person."""

    path: Path
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Collected:
    """Everything of one drop, in the natural order of the names."""

    workflows: tuple[Dropped, ...] = ()
    refused: tuple[Refused, ...] = ()


def may_be_workflow(path: Path) -> bool:
    """Whether a name could be a workflow's; the file is not looked into. A folder could hold some."""
    return path.suffix.lower() in _SUFFIXES or path.is_dir()


def collect(paths: Sequence[Path], *, input_dirs: Sequence[Path] = ()) -> Collected:
    """Read the workflows among files and folders, and find the inputs they name. Blocks.

    An input is looked for among the files given, then beside the workflow, then in those of ``input_dirs``
    that there are. A given
    file that a given ``.json`` names is its input and nothing else.
    """
    found: list[tuple[Path, Workflow]] = []
    refused: list[Refused] = []
    for path in sorted(dict.fromkeys(paths), key=_natural):
        if path.is_dir():
            _take_folder(path, found, refused)
            continue
        try:
            found.append((path, _read(path)))
        except NotAWorkflow as error:
            refused.append(Refused(path, error.title, error.text))
    given = {path.name: path for path in paths if path.is_file()}
    dropped = [
        Dropped(path, workflow, _inputs(path, workflow, given, input_dirs)) for path, workflow in found
    ]
    used = {file for each in dropped for file in each.files.values()}
    inputs = {
        file for each in dropped if each.path.suffix.lower() == ".json" for file in each.files.values()
    } & set(given.values())
    return Collected(
        tuple(each for each in dropped if each.path not in inputs or each.path.suffix.lower() == ".json"),
        tuple(each for each in refused if each.path not in used),
    )


def _read(path: Path) -> Workflow:
    suffix = path.suffix.lower()
    if not path.exists() or suffix in _SUFFIXES:
        return read_workflow(path)
    if suffix in _OTHER_PICTURES:
        raise NotAWorkflow(
            f"No workflow in {path.name}",
            f"Pictures of this kind ({suffix}) cannot be read yet. {_ACCEPTED}",
            f"{path.name} is a picture of a kind that cannot be read yet.",
        )
    raise NotAWorkflow(f"{path.name} is not a workflow", _ACCEPTED, f"{path.name} is not a workflow.")


def _take_folder(folder: Path, found: list[tuple[Path, Workflow]], refused: list[Refused]) -> None:
    candidates = list(islice(_files_below(folder, _MAX_DEPTH), _MAX_FILES + 1))
    good = 0
    for path in candidates[:_MAX_FILES]:
        try:
            found.append((path, read_workflow(path)))
        except NotAWorkflow:
            continue
        good += 1
    others = min(len(candidates), _MAX_FILES) - good
    if not candidates:
        refused.append(Refused(folder, f"No workflows in {folder.name}", _ACCEPTED))
    elif others:
        where = f"in {folder.name}/"
        one = f"1 file {where} is not a workflow"
        title = one if others == 1 else f"{others} files {where} are not workflows"
        refused.append(Refused(folder, title, "The others are queued." if good else _ACCEPTED))
    if len(candidates) > _MAX_FILES:
        text = f"Only the first {_MAX_FILES} were looked at. Drop a smaller folder or single files."
        refused.append(Refused(folder, f"{folder.name} holds too many files", text))


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Files that could be workflows, in natural order; hidden ones and links to folders are passed over."""
    try:
        entries = sorted(islice(folder.iterdir(), _MAX_ENTRIES), key=_natural)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() in _SUFFIXES and entry.is_file():
            yield entry
        elif depth > 1 and entry.is_dir() and not entry.is_symlink():
            yield from _files_below(entry, depth - 1)


def _inputs(
    path: Path, workflow: Workflow, given: Mapping[str, Path], input_dirs: Sequence[Path]
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    # A ComfyUI that never ran has no folder of inputs yet.
    for folder in (*filter(Path.is_dir, reversed(input_dirs)), path.parent):
        files |= inputs_from([str(folder)], workflow.prompt)
    for name in referenced(workflow.prompt):
        # Named in a folder of ComfyUI's, the file may lie anywhere here.
        source = given.get(name.rpartition("/")[2])
        if source is not None and is_input_name(name):
            files[name] = source
    return {name: source for name, source in files.items() if source != path}


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """``2.json`` before ``10.json``."""
    parts = _DIGITS.split(path.name.casefold())
    numbered = [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts]
    return numbered, str(path)
