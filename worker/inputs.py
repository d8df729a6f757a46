"""Laying a job's files into ComfyUI's input folder, and taking them away afterwards.

A ComfyUI of our own gets them under their names, since some loaders list only the top of ``input/``.
Somebody else's ComfyUI gets them below ``input/.comfy-runpod/<job>/`` with the workflow's references
rewritten, so that no file of theirs is ever touched.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .contract import OWN_FOLDER, inside
from .errors import BadRequest
from .validation import InputFile


@dataclass(slots=True)
class Staged:
    """The workflow as ComfyUI is to run it, and what :meth:`remove` takes away again."""

    workflow: dict[str, Any]
    files: list[Path] = field(default_factory=list)
    folder: Path | None = None

    def remove(self) -> None:
        """Delete what was staged, and the folders that this leaves empty. Blocks."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.folder.parent.rmdir()
        for path in self.files:
            path.unlink(missing_ok=True)


def stage(
    files: Sequence[InputFile], workflow: dict[str, Any], input_dir: Path, job_id: str, *, own: bool
) -> Staged:
    """Write the files; blocks. Real files are written, never links.

    Raises:
        BadRequest: when a name would leave the folder, or a folder stands where a file must go.
        OSError: when the disk refuses.
    """
    if not files:
        return Staged(workflow)
    if own:
        written = [_write(input_dir, file) for file in files]
        return Staged(workflow, files=written)
    name = hashlib.sha256(job_id.encode()).hexdigest()[:16]
    folder = input_dir / OWN_FOLDER / name
    staged = Staged(rewritten(workflow, files, PurePosixPath(OWN_FOLDER, name)), folder=folder)
    try:
        for file in files:
            _write(folder, file)
    except BaseException:
        staged.remove()
        raise
    return staged


def remove_leftovers(input_dir: Path, older_than_s: float) -> None:
    """Delete what a killed worker left staged in somebody else's input folder. Blocks."""
    ours = input_dir / OWN_FOLDER
    for folder in ours.iterdir() if ours.is_dir() else ():
        if time.time() - folder.stat().st_mtime > older_than_s:
            shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        ours.rmdir()


def rewritten(workflow: dict[str, Any], files: Sequence[InputFile], folder: PurePosixPath) -> dict[str, Any]:
    """A copy of the workflow in which inputs naming one of ``files`` name it below ``folder``."""
    names = {str(file.name) for file in files}
    result = copy.deepcopy(workflow)
    for node in result.values():
        inputs = node.get("inputs")
        if not isinstance(inputs, dict):
            continue
        for key, value in inputs.items():
            if isinstance(value, str) and value.removesuffix(" [input]") in names:
                inputs[key] = f"{folder}/{value}"
    return result


def _write(folder: Path, file: InputFile) -> Path:
    try:
        target = inside(folder, file.name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise BadRequest(f"The input file {str(file.name)!r} cannot be written: a folder has that name.")
    except (FileExistsError, NotADirectoryError) as error:
        raise BadRequest(
            f"The input file {str(file.name)!r} cannot be written: a file stands where its folder must be."
        ) from error
    if target.is_symlink():
        target.unlink()
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    aside.write_bytes(file.content)
    aside.replace(target)
    return target
