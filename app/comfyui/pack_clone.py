"""The clone of a pack: its name, what is the user's in it, what a commit brings, and changing to it."""

from __future__ import annotations

import asyncio
import re
import zipfile
from pathlib import Path
from urllib.parse import unquote

from ..errors import BadInput, ProcessFailed
from .pack_list import DISABLED
from .repositories import Git

REQUIREMENTS, SCRIPT = "requirements.txt", "install.py"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
#: Windows has no such folder, and what is here may be copied there.
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_STATUS = re.compile(r"[ MADRCUT]{2} (.+)")
_MOST_NAMED = 5


def name_of(address: str) -> str:
    """The folder's name for a repository.

    Raises:
        BadInput: when its last word is no name of a folder everywhere.
    """
    last = re.split(r"[/:]", unquote(address).rstrip("/"))[-1]
    name = last.removesuffix(".git").rstrip(".")
    if not _NAME.fullmatch(name) or RESERVED.fullmatch(name) or name.lower().endswith((DISABLED, ".py")):
        raise BadInput(f"{last!r} cannot be the name of a pack's folder.")
    return name


async def branch_of(git: Git, folder: Path) -> str:
    """The branch that a clone is on; empty when it is at a commit."""
    said = await git.told(folder, "Looking for the branch", "rev-parse", "--abbrev-ref", "HEAD")
    return "" if not said or said[-1] == "HEAD" else said[-1]


async def refuse_own_work(git: Git, folder: Path, name: str) -> None:
    """Raises BadInput when there are changes or commits of the user's. Files unknown to git are none."""
    words = ("status", "--porcelain", "--untracked-files=no")
    said = await git.told(folder, "Looking for changes", *words)
    files = [match[1] for line in said if (match := _STATUS.fullmatch(line))]
    if files:
        more = f" and {len(files) - _MOST_NAMED} more" if len(files) > _MOST_NAMED else ""
        raise BadInput(
            f"{name} has changes of yours, in {', '.join(files[:_MOST_NAMED])}{more}.",
            hint="Save them elsewhere and undo them with `git restore .` in its folder.",
            files=files,
        )
    branch = await branch_of(git, folder)
    tracked = f"refs/remotes/origin/{branch}"
    if not branch or await git.holds(folder, "merge-base", "--is-ancestor", "HEAD", tracked):
        return
    # Without their history commits cannot be compared; but those that begin one are not the user's.
    known = await asyncio.to_thread(_shallow, folder)
    if await git.commit_of(folder) not in known:
        raise BadInput(f"{name} has commits of its own, which an update would leave behind.")


async def brought_by(git: Git, folder: Path, commit: str, into: Path) -> tuple[Path | None, bool]:
    """The requirements of a commit, written into a folder, and whether it has an installation script."""
    doing = "Looking at what is new"
    brings = await git.told(folder, doing, "ls-tree", "--name-only", commit, SCRIPT, REQUIREMENTS)
    if REQUIREMENTS not in brings:
        return None, SCRIPT in brings
    packed = into / "new.zip"
    await git.told(folder, doing, "archive", "--format=zip", f"--output={packed}", commit, REQUIREMENTS)
    return await asyncio.to_thread(_unpacked, packed, into / REQUIREMENTS), SCRIPT in brings


async def check_out(git: Git, folder: Path, before: str, commit: str) -> None:
    """Change the files to a commit, and the branch with them. After an error they are as they were."""
    branch = await branch_of(git, folder)
    where = ["-B", branch] if branch else ["--detach"]
    try:
        await git.told(folder, "Changing the files", "checkout", *where, commit)
    except ProcessFailed:
        # Half of it may be done, when the disk is full for example.
        await git.holds(folder, "checkout", "--force", *where, before)
        raise


def _shallow(folder: Path) -> list[str]:
    path = folder / ".git" / "shallow"
    return path.read_text("ascii", "replace").split() if path.is_file() else []


def _unpacked(packed: Path, into: Path) -> Path:
    with zipfile.ZipFile(packed) as archive:
        into.write_bytes(archive.read(into.name))
    return into
