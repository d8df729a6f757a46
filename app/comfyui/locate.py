"""Finding the input and output folders of a ComfyUI that runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ..errors import NeedsSetup, Unreachable


@dataclass(frozen=True, slots=True)
class Folders:
    input_dir: Path
    output_dir: Path


async def folders_of(url: str, install_dir: Path | None = None) -> Folders:
    """The folders that the ComfyUI at ``url`` uses, proved by comparing its file lists with the disk.

    Args:
        install_dir: where ComfyUI lies, when that is known.

    Raises:
        Unreachable: when nothing answers at ``url``.
        NeedsSetup: when the folders are not on this computer, or cannot be told.
    """
    timeout = aiohttp.ClientTimeout(total=15)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            stats = await _json(session, f"{url}/system_stats")
            paths = await _json(session, f"{url}/internal/folder_paths")
            listed = {
                kind: await _json(session, f"{url}/internal/files/{kind}") for kind in ("input", "output")
            }
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise Unreachable(
            f"ComfyUI at {url} is not answering ({type(error).__name__}).",
            hint="Start ComfyUI, or correct COMFYUI_URL.",
        ) from error
    system = stats.get("system") if isinstance(stats, dict) else None
    argv = system.get("argv") if isinstance(system, dict) else None
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    bases = _bases(words, paths, install_dir)
    found = await asyncio.to_thread(_first_that_agrees, bases, words, listed)
    if found is not None:
        return found
    raise NeedsSetup(
        f"The folders of the ComfyUI at {url} cannot be found on this computer.",
        hint="Set COMFYUI_DIR to the folder that holds its main.py.",
    )


def _first_that_agrees(
    bases: Sequence[Path], words: Sequence[str], listed: Mapping[str, Any]
) -> Folders | None:
    """Blocks: looks for every file that ComfyUI lists."""
    if not isinstance(listed["input"], list):
        # This folder is there from ComfyUI's start: without its list nothing is proved.
        return None
    for base in bases:
        folders = Folders(
            _given(words, "--input-directory") or base / "input",
            _given(words, "--output-directory") or base / "output",
        )
        with contextlib.suppress(OSError):  # a folder that we may not read is not ours to use
            if _agrees(folders.input_dir, listed["input"]) and _agrees(folders.output_dir, listed["output"]):
                return folders
    return None


def _bases(words: Sequence[str], paths: Any, install_dir: Path | None) -> list[Path]:
    bases: list[Path] = []
    given = _given(words, "--base-directory")
    if given is not None:
        bases.append(given)
    if install_dir is not None:
        bases.append(install_dir)
    nodes = paths.get("custom_nodes") if isinstance(paths, dict) else None
    bases += [Path(str(path)).parent for path in (nodes if isinstance(nodes, list) else [])]
    return bases


def _given(words: Sequence[str], option: str) -> Path | None:
    for place, word in enumerate(words):
        if word.startswith(f"{option}="):
            return Path(word.partition("=")[2])
        if word == option and place + 1 < len(words):
            return Path(words[place + 1])
    return None


def _agrees(folder: Path, listed: Any) -> bool:
    """Whether ComfyUI's list of files, as ``name [kind]``, is what the folder holds at its top."""
    if not folder.is_absolute():
        return False
    if not isinstance(listed, list):
        # It answers with an error while the folder is not there: ComfyUI makes it with the first result.
        return folder.parent.is_dir() and not (folder.is_dir() and _has_files(folder))
    if not folder.is_dir():
        return False
    names = [item for item in listed if isinstance(item, str)]
    if not names:
        return not _has_files(folder)
    return all((folder / name).is_file() or (folder / name.rpartition(" [")[0]).is_file() for name in names)


def _has_files(folder: Path) -> bool:
    return any(entry.is_file() and not entry.name.startswith(".") for entry in folder.iterdir())


async def _json(session: aiohttp.ClientSession, url: str) -> Any:
    """The answer; None for an error status."""
    async with session.get(url) as response:
        return await response.json(content_type=None) if response.status == 200 else None
