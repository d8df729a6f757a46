"""Laying a job's files into ComfyUI's input folder, and taking them away afterwards.

A ComfyUI of our own gets them under their names, since some loaders list only the top of ``input/``.
Somebody else's ComfyUI gets them below ``input/.comfy-runpod/<job>/`` with the workflow's references
rewritten, so that no file of theirs is ever touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .contract import OWN_FOLDER, inside
from .errors import BadRequest, not_written
from .given import InputFile
from .sources import Sources

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Staged:
    """The workflow as ComfyUI is to run it, and what :meth:`remove` takes away again."""

    workflow: dict[str, Any]
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    #: Files that stood where ours had to go: where they wait, and where they belong.
    put_aside: list[tuple[Path, Path]] = field(default_factory=list)
    #: The job's folder in somebody else's ``input/``: what nodes left in it goes too.
    room: Path | None = None

    def remove(self) -> None:
        """Leave the folder as it was found. Blocks; what the system refuses is logged and left."""
        for path in self.files:
            with _logged(path):
                path.unlink(missing_ok=True)
        for waiting, home in self.put_aside:
            with _logged(home):
                waiting.replace(home)
        if self.room is not None:
            shutil.rmtree(self.room, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.room.parent.rmdir()
        for folder in reversed(self.folders):
            with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                folder.rmdir()


def stage(
    files: Sequence[InputFile],
    workflow: dict[str, Any],
    input_dir: Path,
    job_id: str,
    *,
    own: bool,
    sources: Sources | None = None,
    check_total: Callable[[int], None] = lambda _: None,
) -> Staged:
    """Write the files; blocks. Real files are written, never links. On failure nothing is left behind.

    ``check_total`` is called with the bytes written so far, and raises when they are too many.

    Raises:
        BadRequest: when a name would leave the folder, or a folder stands where a file must go.
        JobError: ``input_not_written`` when the disk refuses, and what ``sources`` raises.
    """
    if not files:
        return Staged(workflow)
    sources = sources or Sources()
    room = PurePosixPath(OWN_FOLDER, hashlib.sha256(job_id.encode()).hexdigest()[:16])
    staged = Staged(workflow)
    if not own:
        staged = Staged(rewritten(workflow, files, room), room=input_dir.joinpath(*room.parts))
        # An earlier, killed attempt at the same job may have left something there.
        staged.remove()
    total = 0
    try:
        for number, file in enumerate(files):
            name = file.name if own else room / file.name
            total += _write(staged, input_dir, name, file, room / f"{number}.kept", sources)
            check_total(total)
    except BaseException:
        staged.remove()
        raise
    return staged


def remove_leftovers(input_dir: Path, older_than_s: float) -> None:
    """Delete what a killed worker left staged in somebody else's input folder. Blocks."""
    ours = input_dir / OWN_FOLDER
    for folder in list(ours.iterdir()) if ours.is_dir() else ():
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > older_than_s:
                shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        ours.rmdir()


def rewritten(workflow: dict[str, Any], files: Sequence[InputFile], folder: PurePosixPath) -> dict[str, Any]:
    """A copy of the workflow in which inputs naming one of ``files`` name it below ``folder``."""
    names = {str(file.name) for file in files}

    def moved(value: Any) -> Any:
        named = isinstance(value, str) and value.removesuffix(" [input]") in names
        return f"{folder}/{value}" if named else value

    result = {}
    for node_id, node in workflow.items():
        inputs = node.get("inputs")
        if isinstance(inputs, dict):
            node = {**node, "inputs": {key: moved(value) for key, value in inputs.items()}}
        result[node_id] = node
    return result


def _write(
    staged: Staged,
    input_dir: Path,
    name: PurePosixPath,
    file: InputFile,
    waiting: PurePosixPath,
    sources: Sources,
) -> int:
    """The size of what was written."""
    try:
        target = inside(input_dir, name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    try:
        _make_folder(staged, target.parent)
        if target.is_dir():
            raise BadRequest(f"The input file {str(file.name)!r} cannot be written: a folder has that name.")
        if target.exists() or target.is_symlink():
            aside = input_dir.joinpath(*waiting.parts)
            _make_folder(staged, aside.parent)
            target.replace(aside)
            staged.put_aside.append((aside, target))
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        staged.files += [part, target]
        sources.write(file, part)
        part.replace(target)
        return target.stat().st_size
    except (FileExistsError, NotADirectoryError) as error:
        raise BadRequest(
            f"The input file {str(file.name)!r} cannot be written: a file stands where its folder must be."
        ) from error
    except OSError as error:
        raise not_written(repr(str(file.name)), error) from error


def _make_folder(staged: Staged, folder: Path) -> None:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        staged.folders.append(each)
    if not folder.is_dir():
        raise NotADirectoryError(str(folder))


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.warning("%s could not be cleaned up: %s", path, error)
