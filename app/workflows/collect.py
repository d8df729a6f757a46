"""What a drop means: which files are workflows, which are inputs of one, and why the others are neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .read import NotAWorkflow, Workflow, inputs_from, read_workflow, referenced

_MAX_DEPTH, _MAX_FILES = 3, 500
_SUFFIXES = {".json", ".png", ".webp"}
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
    return path.suffix.lower() in _SUFFIXES or (not path.suffix and path.is_dir())


def collect(paths: Sequence[Path], *, input_dirs: Sequence[Path] = ()) -> Collected:
    """Read the workflows among files and folders, and find the inputs they name. Blocks.

    An input is looked for among the files given, then beside the workflow, then in ``input_dirs``.
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
    names = {name for _, workflow in found for name in referenced(workflow.prompt)}
    given = {path.name: path for path in paths if path.name in names and path.is_file()}
    workflows = tuple(
        Dropped(path, workflow, _inputs(path, workflow, given, input_dirs)) for path, workflow in found
    )
    used = {path for dropped in workflows for path in dropped.files.values()}
    return Collected(workflows, tuple(each for each in refused if each.path not in used))


def _read(path: Path) -> Workflow:
    if path.exists() and path.suffix.lower() not in _SUFFIXES:
        raise NotAWorkflow(
            f"{path.name} is not a workflow",
            "Accepted are workflows in API format (.json) and pictures made with ComfyUI (.png, .webp).",
            f"{path.name} is not a workflow.",
        )
    return read_workflow(path)


def _take_folder(folder: Path, found: list[tuple[Path, Workflow]], refused: list[Refused]) -> None:
    others, seen = 0, 0
    for path in _files_below(folder, _MAX_DEPTH):
        seen += 1
        if seen > _MAX_FILES:
            text = f"Only the first {_MAX_FILES} were looked at. Drop a smaller folder or single files."
            refused.append(Refused(folder, f"{folder.name} holds too many files", text))
            break
        try:
            found.append((path, read_workflow(path)))
        except NotAWorkflow:
            others += 1
    if not seen:
        text = "Accepted are workflows in API format (.json) and pictures made with ComfyUI (.png, .webp)."
        refused.append(Refused(folder, f"No workflows in {folder.name}", text))
    elif others:
        count = "1 file" if others == 1 else f"{others} files"
        are = "is not a workflow" if others == 1 else "are not workflows"
        refused.append(
            Refused(
                folder, f"{count} in {folder.name} {are}", "The others are queued." if others < seen else ""
            )
        )


def _files_below(folder: Path, depth: int) -> Iterator[Path]:
    """Files that could be workflows, in natural order; hidden ones and links to folders are passed over."""
    try:
        entries = sorted(folder.iterdir(), key=_natural)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if depth > 1 and not entry.is_symlink():
                yield from _files_below(entry, depth - 1)
        elif entry.suffix.lower() in _SUFFIXES:
            yield entry


def _inputs(
    path: Path, workflow: Workflow, given: Mapping[str, Path], input_dirs: Sequence[Path]
) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in (*reversed(input_dirs), path.parent):
        files |= inputs_from([str(folder)], workflow.prompt)
    wanted = referenced(workflow.prompt)
    return files | {name: source for name, source in given.items() if name in wanted and source != path}


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """``2.json`` before ``10.json``."""
    parts = _DIGITS.split(path.name.casefold())
    return [(int(part), "") if part.isdecimal() and part.isascii() else (-1, part) for part in parts], str(
        path
    )
