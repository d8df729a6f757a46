"""Where ComfyUI and its nodes come from: each at its version, laid into a cache and from there on used."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shutil
import stat
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import requests

from .. import __version__
from ..comfyui.repositories import Git, remove_tree
from ..errors import BadInput, Refused, Unreachable
from ..threads import go_on, in_thread
from .model import NodePin

#: The Comfy Registry.
REGISTRY = "https://api.comfy.org"
_LARGEST_ZIP = 512 << 20
_LARGEST_PACK = 2 << 30
_MOST_FILES = 50_000
_TIMEOUT_S = 30.0
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


class Sources:
    """A cache of what images are made of, by pin. What is whole there is never asked for again.

    Args:
        folder: of the cache.
        registry: the address of the Comfy Registry.
    """

    def __init__(self, folder: Path, git: Git, *, registry: str = REGISTRY) -> None:
        self._folder = folder
        self._git = git
        self._registry = registry.rstrip("/")

    async def fetch(self, pin: NodePin, on_part: Callable[[float], None] | None = None) -> Path:
        """The folder of a pin, without what belongs to git. Cancelling leaves nothing half done.

        Raises:
            ComfyRunPodError: when it cannot be had.
        """
        folder = self._folder / _UNSAFE.sub("_", f"{pin.name}-{pin.commit[:12] or pin.version}")
        if await asyncio.to_thread(folder.is_dir):
            return folder
        half = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        try:
            if pin.repository:
                await self._git.clone(pin.repository, pin.commit, half, on_part)
                await asyncio.to_thread(remove_tree, half / ".git")
            else:
                await in_thread(lambda stop: _download(self._registry, pin, half, lambda: go_on(stop)))
            # Two that fetch the same: the first one's is as good.
            with contextlib.suppress(FileExistsError, OSError):
                await asyncio.to_thread(half.rename, folder)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, half))
        return folder


def _download(registry: str, pin: NodePin, into: Path, check: Callable[[], None]) -> None:
    """Blocks. Raises Unreachable, Refused or BadInput."""
    answer = _ask(f"{registry}/nodes/{pin.registry_id}/install", {"version": pin.version})
    try:
        data: Any = answer.json()
    except ValueError:
        data = None
    address = data.get("downloadUrl") if isinstance(data, dict) else None
    if not isinstance(address, str) or not address.startswith(("https://", f"{registry}/")):
        raise BadInput(f"The Comfy Registry has no {pin.registry_id} {pin.version} to download.")
    packed = into.with_suffix(".zip")
    into.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _ask(address, None, stream=True) as body, packed.open("wb") as file:
            size = 0
            for piece in body.iter_content(1 << 20):
                check()
                size += len(piece)
                if size > _LARGEST_ZIP:
                    raise BadInput(f"{pin.name} {pin.version} has more than {_LARGEST_ZIP >> 20} MB.")
                file.write(piece)
        unpack(packed, into, pin.name, check)
    except (requests.RequestException, OSError) as error:
        raise Unreachable(f"{pin.name} could not be downloaded: {type(error).__name__}.") from error
    finally:
        packed.unlink(missing_ok=True)


def _ask(address: str, query: dict[str, str] | None, *, stream: bool = False) -> requests.Response:
    try:
        answer = requests.get(
            address,
            params=query,
            timeout=_TIMEOUT_S,
            stream=stream,
            headers={"User-Agent": f"comfy-runpod/{__version__}"},
        )
    except requests.RequestException as error:
        raise Unreachable(
            f"The Comfy Registry cannot be reached: {type(error).__name__}.", hint="Check the connection."
        ) from None
    if answer.status_code != 200:
        raise Refused(f"The Comfy Registry refused this ({answer.status_code}).", status=answer.status_code)
    return answer


def unpack(packed: Path, into: Path, name: str, check: Callable[[], None] = lambda: None) -> None:
    """Unpack an archive into a new folder; nothing of it leaves the folder, and none is a link. Blocks.

    Raises:
        BadInput: for an archive that is damaged, too large or would write elsewhere.
    """
    try:
        with zipfile.ZipFile(packed) as archive:
            members = archive.infolist()
            if len(members) > _MOST_FILES or sum(each.file_size for each in members) > _LARGEST_PACK:
                raise BadInput(f"The archive of {name} is too large.")
            into.mkdir()
            for member in members:
                check()
                _unpack_one(archive, member, into, name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BadInput(f"The archive of {name} is damaged.", reason=str(error)) from error


def _unpack_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path, name: str) -> None:
    path = PurePosixPath(member.filename.replace("\\", "/"))
    mode = member.external_attr >> 16
    bad = path.is_absolute() or ".." in path.parts or ":" in member.filename or not path.parts
    if bad or "\0" in member.filename or stat.S_ISLNK(mode):
        raise BadInput(f"The archive of {name} holds {member.filename[:80]!r}, which leaves its folder.")
    target = into.joinpath(*path.parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("xb") as file:
        # The size in the archive's head may be a lie.
        while piece := source.read(min(1 << 20, left + 1)):
            left -= len(piece)
            if left < 0:
                raise BadInput(f"The archive of {name} is damaged.")
            file.write(piece)
    if mode & 0o100:
        target.chmod(0o755)


def copied(source: Path, into: Path, *, without: Sequence[str] = ()) -> None:
    """Copy a source into a build context, without caches and what belongs to git. Blocks.

    Args:
        without: names at its top that stay behind.
    """
    usual = shutil.ignore_patterns(".git", ".github", "__pycache__", "*.pyc", ".venv")

    def passed_over(folder: str, names: list[str]) -> set[str]:
        at_top = {name for name in names if name in without} if Path(folder) == source else set()
        return {*usual(folder, names), *at_top}

    shutil.copytree(source, into, symlinks=True, ignore=passed_over)
