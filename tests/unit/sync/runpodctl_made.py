"""For the tests of runpodctl: models, a staging of them, and the pod's side."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from app.sync.runpodctl.model import Batch, Item
from app.sync.runpodctl.staging import Limits, stage

Ran = tuple[int, str]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def models(folder: Path, contents: Mapping[str, bytes], *, hashed: bool = False) -> list[Item]:
    """Files in numbered places, so that any path can be told of also where this drive could not hold it."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for number, (path, data) in enumerate(contents.items()):
        place = folder / f"{number}.model"
        place.write_bytes(data)
        items.append(Item(PurePosixPath(path), place, len(data), sha256(data) if hashed else None))
    return items


def staged(items: Sequence[Item], folder: Path, **limits: int) -> list[Batch]:
    return asyncio.run(stage(items, folder, limits=Limits(**limits)))


def receive(batch: Batch, inbox: Path) -> None:
    """As croc does: each file flat into the current folder, over what is there."""
    inbox.mkdir(parents=True, exist_ok=True)
    for unit in batch.units:
        shutil.copyfile(batch.folder / unit.name, inbox / unit.name)


def extract_as_process(
    inbox: Path, batch: Batch, target: Path, *options: str, cwd: Path | None = None
) -> Ran:
    """Run the script that was received, as the user does; its exit status and what it printed."""
    ran = subprocess.run(
        [sys.executable, "-I", str(inbox / batch.script), "--target", str(target), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=cwd or inbox,
        encoding="utf-8",
        env={"PYTHONIOENCODING": "utf-8"},
    )
    return ran.returncode, ran.stdout


def extract(inbox: Path, batch: Batch, target: Path, *options: str) -> Ran:
    """The same file run in this process, which takes a tenth of the time."""
    script, before = str(inbox / batch.script), sys.argv
    out = io.StringIO()
    sys.argv = [script, "--target", str(target), *options]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    finally:
        sys.argv = before
    raise AssertionError("The script gave no exit status.")


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder with their content, by path."""
    if not folder.exists():
        return {}
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
