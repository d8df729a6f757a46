"""The packs of nodes of a ComfyUI, as they lie on the disk: nothing of them is run to list them."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path, PureWindowsPath

from .installation import Installation
from .pack_logs import ImportResult
from .programs import masked

#: ComfyUI passes over what is named so; ComfyUI-Manager keeps packs in a folder of that name alone.
DISABLED = ".disabled"

_MOST_ENTRIES = 2_000
_LONGEST_TEXT = 1 << 20
_LONGEST_TOLD = 100
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"refs/[\w+-][\w./+@-]*", re.ASCII)
_SECTION = re.compile(r'\[\s*([\w.-]+)(?:\s+"((?:[^"\\\n]|\\.)*)")?\s*\]')
_URL = re.compile(r"url\s*=\s*(.*)", re.IGNORECASE)


class PackState(StrEnum):
    ENABLED = "enabled"
    DISABLED = "disabled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack of nodes: a folder, or a single Python file.

    Attributes:
        name: of its folder or file, without what disables it.
        repository: where git had it from, without a password; None when it is no clone.
        commit: 40 hexadecimal digits; None when it is not known.
        version, registry_id: what its ``pyproject.toml`` says; the second is its name in the Comfy Registry.
        state: ``failed`` when it is enabled and ComfyUI could not import it at its last start.
        import_s: how long its import took, in seconds.
        error: why it failed, in one line.
    """

    name: str
    folder: Path
    repository: str | None = None
    commit: str | None = None
    version: str | None = None
    registry_id: str | None = None
    state: PackState = PackState.ENABLED
    import_s: float | None = None
    error: str = ""
    traceback: str = ""


def node_folder(installation: Installation) -> Path:
    """Where ComfyUI looks for packs: below its own folder, or below the base that its arguments name."""
    base, args = installation.folder, installation.args
    for number, word in enumerate(args):
        if word == "--base-directory" and number + 1 < len(args):
            base = Path(args[number + 1])
        elif word.startswith("--base-directory="):
            base = Path(word.partition("=")[2])
    return installation.folder / base / "custom_nodes"


def list_packs(folders: Sequence[Path], results: Mapping[str, ImportResult] | None = None) -> list[Pack]:
    """The packs in folders of packs, by name. Blocks.

    Args:
        results: what :func:`~app.comfyui.pack_logs.import_results` found in ComfyUI's log.
    """
    by_path = {_plain(path): result for path, result in (results or {}).items()}
    packs = [_with_result(pack, by_path) for folder in folders for pack in _packs_in(folder)]
    return sorted(packs, key=lambda pack: (pack.name.casefold(), str(pack.folder)))


def _packs_in(folder: Path) -> Iterator[Pack]:
    for entry in _entries(folder):
        if entry.name.startswith((".", "__")):
            continue
        name = entry.name.removesuffix(DISABLED)
        state = PackState.ENABLED if name == entry.name else PackState.DISABLED
        if entry.is_dir():
            yield _described(name, entry, state)
        elif name.endswith(".py"):
            yield Pack(name, entry, state=state)
    for entry in _entries(folder / DISABLED):
        if entry.is_dir() and not entry.name.startswith("."):
            yield _described(entry.name.partition("@")[0], entry, PackState.DISABLED)


def _described(name: str, folder: Path, state: PackState) -> Pack:
    repository, commit = repository_of(folder)
    told = folder / "pyproject.toml"
    return Pack(name, folder, repository, commit, _told(told, "version"), _told(told, "name"), state)


def repository_of(folder: Path) -> tuple[str | None, str | None]:
    """Where git had a folder from, without a password, and its commit; None where it is no clone. Blocks."""
    git = folder / ".git"
    return _repository(git), _commit(git)


def _with_result(pack: Pack, by_path: Mapping[str, ImportResult]) -> Pack:
    result = by_path.get(_plain(str(pack.folder)))
    if result is None:
        # ComfyUI may have come to the same folder by another path; only one may have that name then.
        named = [each for path, each in by_path.items() if path.rpartition("/")[2] == pack.folder.name]
        result = named[0] if len(named) == 1 else None
    if result is None or pack.state is PackState.DISABLED:
        return pack
    state = PackState.ENABLED if result.loaded else PackState.FAILED
    return replace(pack, state=state, import_s=result.seconds, error=result.error, traceback=result.traceback)


def _plain(path: str) -> str:
    return PureWindowsPath(path).as_posix() if os.name == "nt" else path


def _repository(git: Path) -> str | None:
    """The address of the remote that git calls origin, else of the first."""
    remotes: dict[str, str] = {}
    remote = None
    for line in _text(git / "config").splitlines():
        stripped = line.strip()
        if section := _SECTION.match(stripped):
            remote = section[2] if section[1].lower() == "remote" else None
        elif remote is not None and (url := _URL.fullmatch(stripped)):
            remotes.setdefault(remote, masked(url[1].strip().strip('"')))
    address = remotes.get("origin") or next(iter(remotes.values()), "")
    return address if address and address.isprintable() else None


def _commit(git: Path) -> str | None:
    head = _text(git / "HEAD").strip()
    if _COMMIT.fullmatch(head):
        return head
    ref = head.removeprefix("ref:").strip()
    if not _REF.fullmatch(ref) or ".." in ref:
        return None
    loose = _text(git / ref).strip()
    if _COMMIT.fullmatch(loose):
        return loose
    packed = (line.partition(" ") for line in _text(git / "packed-refs").splitlines())
    return next((hash_ for hash_, _, name in packed if name == ref and _COMMIT.fullmatch(hash_)), None)


def _told(pyproject: Path, field: str) -> str | None:
    try:
        value = tomllib.loads(_text(pyproject)).get("project", {}).get(field)
    except (ValueError, AttributeError, RecursionError):
        return None
    usable = isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_TOLD
    return value if usable and value else None


def _entries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry, _ in zip(entries, range(_MOST_ENTRIES), strict=False)]
    except OSError:
        return []


def _text(path: Path) -> str:
    """The beginning of a file; empty when it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_TEXT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
