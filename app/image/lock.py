"""The lock: which versions of all Python packages go into an image, found together by uv before any build."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.utils import canonicalize_name

from ..comfyui.environments import Unsolvable, Uv, explained
from ..errors import BadInput, ProcessFailed
from ..files import write_private
from .model import Manifest
from .requirements import REQUIREMENTS, Asked, asked_by

#: All packages of ComfyUI's environment, and the part of it that PyTorch is.
LOCK, TORCH_LOCK = "comfyui.lock", "torch.lock"
#: Debian 12 and Ubuntu 22.04 have at least that C library.
_UV_PLATFORM = "x86_64-manylinux_2_28"
_TORCH = "torch"
_FAMILY = ("torch", "torchvision", "torchaudio")
MARK = re.compile(r"# manifest: ([0-9a-f]{64})\n?")
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")
_SAYS = "# Locked by `comfy-runpod image lock` for linux/amd64. Not to be edited."
_DEPENDS = re.compile(r"\b([a-z0-9-]+) depends? on ([^\s,]*[^\s,.])")
_KNOTS = re.compile(r"\b(of-image-)")


@dataclass(frozen=True, slots=True)
class Wants:
    """Somebody's requirements: ComfyUI's, a custom node's, or the manifest's own."""

    who: str
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock on disk.

    Attributes:
        manifest: the digest of the manifest that it was made for.
        packages: version by normalised name.
    """

    folder: Path
    manifest: str
    packages: Mapping[str, str] = field(default_factory=dict)


class Conflict(ProcessFailed):
    """No versions go together. ``details['explanation']`` says which node wants what, line by line."""

    code = "conflict"


def read_lock(folder: Path) -> Lock | None:
    """The lock in a folder; None when there is none, or only half of one. Blocks."""
    try:
        text = (folder / LOCK).read_text(encoding="utf-8")
        torch = (folder / TORCH_LOCK).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    mark, other = MARK.search(text), MARK.search(torch)
    if mark is None or other is None or mark[1] != other[1]:
        return None
    return Lock(folder, mark[1], pins_in(text))


def pins_in(text: str) -> dict[str, str]:
    """Version by normalised name, of the lines of a requirements file."""
    found = (match for line in text.splitlines() if (match := _PIN.match(line)))
    return {str(canonicalize_name(match[1])): match[2] for match in found}


def is_fresh(lock: Lock | None, manifest: Manifest) -> bool:
    """Whether a lock was made for this manifest."""
    return lock is not None and lock.manifest == manifest.digest


def wants_of(
    manifest: Manifest, folders: Mapping[str, Path]
) -> tuple[tuple[Wants, ...], Mapping[str, Asked]]:
    """Who asks for what, and all that their files say. Blocks.

    Args:
        folders: of the sources, by the name of their pin.

    Raises:
        BadInput: when one asks for what cannot be locked, or ComfyUI's source asks for nothing.
    """
    told = {pin.name: asked_by(folders[pin.name], _who(pin.name)) for pin in manifest.pins}
    if not told[manifest.comfyui.name].requirements:
        # A lock without them would make an image that fails on a GPU, which is late to learn it.
        raise BadInput(f"The source of ComfyUI has no {REQUIREMENTS}, so it is no ComfyUI.")
    torch = manifest.torch
    versions = zip(_FAMILY, (torch.version, torch.torchvision, torch.torchaudio), strict=True)
    family = tuple(f"{name}=={version}" for name, version in versions if version)
    wants = [Wants(name, asked.requirements) for name, asked in told.items()]
    return (Wants(_TORCH, family), *wants, Wants("manifest", manifest.python_packages)), told


async def lock(
    uv: Uv,
    manifest: Manifest,
    wants: Sequence[Wants],
    folder: Path,
    *,
    prefer: Mapping[str, str] | None = None,
    upgrade: bool = False,
) -> Lock:
    """Have uv find versions that suit all, and write both files; what was locked stays where it can.

    Args:
        folder: of ``comfyui.lock`` and ``torch.lock``.
        prefer: versions by name that are taken where nothing speaks against them, as those of this computer.
        upgrade: take the newest of everything.

    Raises:
        Conflict: when no versions go together, with who wants what.
        ProcessFailed: when uv cannot tell, for want of a network for example.
    """
    with tempfile.TemporaryDirectory(prefix="comfy-runpod-lock-") as name:
        place = Path(name)
        names = await asyncio.to_thread(_write_projects, place, manifest, wants)
        before = await asyncio.to_thread(_preferences, folder, prefer or {}, upgrade=upgrade)
        out, torch_out, limits = (place / f"{name}.txt" for name in ("all", "torch", "limits"))
        await asyncio.to_thread(out.write_text, before, encoding="utf-8")
        try:
            text = await _compiled(uv, manifest, place, names, out, [])
        except Unsolvable as error:
            raise _conflict(error, wants) from error
        pins = pins_in(text)
        # What PyTorch brings with it, as a layer of its own: gigabytes that seldom change.
        family = Wants("torch-alone", tuple(name for name in _FAMILY if name in pins))
        alone = await asyncio.to_thread(_write_projects, place, manifest, [family])
        await asyncio.to_thread(limits.write_text, _bare(pins), encoding="utf-8")
        torch = ""
        if family.requirements:
            torch = await _compiled(uv, manifest, place, alone, torch_out, ["-c", str(limits)])
    head = f"{_SAYS}\n# manifest: {manifest.digest}\n"
    await asyncio.to_thread(write_private, folder / TORCH_LOCK, head + torch)
    await asyncio.to_thread(write_private, folder / LOCK, head + text)
    return Lock(folder, manifest.digest, pins)


async def _compiled(
    uv: Uv, manifest: Manifest, place: Path, names: Sequence[str], out: Path, more: list[str]
) -> str:
    source = place / f"{out.stem}.in"
    lines = "".join(f"{name} @ ./{name}\n" for name in names)
    await asyncio.to_thread(source.write_text, lines, encoding="utf-8")
    words = [
        "pip", "compile", source.name, "--python-version", manifest.python, "--python-platform",
        _UV_PLATFORM, "--generate-hashes", "--no-header", "--annotation-style", "line", "--quiet",
        "--color", "never", "--output-file", str(out), *more,
    ]  # fmt: skip
    for name in names:
        words += ["--no-emit-package", name]
    if manifest.overrides:
        words += ["--override", "overrides.txt"]
    await uv.told("Finding Python packages that go together", words, place)
    text = await asyncio.to_thread(out.read_text, encoding="utf-8")
    return _KNOTS.sub("", text.partition("# The following packages were excluded")[0].rstrip() + "\n")


def _conflict(error: Unsolvable, wants: Sequence[Wants]) -> Conflict:
    told = [_plain(line) for line in explained(error.details["log"]) or (error.details["reason"],)]
    who = {_project(each.who): each.who for each in wants}
    wanted = [f"{who[name]} wants {what}" for name, what in _DEPENDS.findall("\n".join(told)) if name in who]
    reason = ", ".join(dict.fromkeys(wanted)) or told[0].rstrip(".")
    return Conflict(
        f"These requirements cannot be met together: {reason}.",
        hint="Take another version of one of these nodes, or name the version to use under overrides.",
        explanation=told,
        log=error.details["log"],
    )


def _plain(line: str) -> str:
    """uv's words without the projects that we made for it."""
    text = re.sub(r"\bonly of-image-[\w-]+ ?==0 is available and\s*", "", line)
    text = re.sub(r"(?:,| and) only of-image-[\w-]+ ?==0 is available\b", "", text)
    text = re.sub(r"\ball versions of (of-image-)", r"\1", text)
    return _KNOTS.sub("", re.sub(r"(of-image-[\w-]+)==0\b", r"\1", text))


def _write_projects(place: Path, manifest: Manifest, wants: Sequence[Wants]) -> list[str]:
    """A project for each that wants something, so that uv can say who it is; their names, torch's first."""
    index = ""
    if manifest.torch.index:
        sources = "\n".join(f'{name} = {{ index = "torch" }}' for name in _FAMILY)
        url = json.dumps(manifest.torch.index)
        index = (
            f'\n[[tool.uv.index]]\nname = "torch"\nurl = {url}\nexplicit = true\n'
            f"\n[tool.uv.sources]\n{sources}\n"
        )
    names: list[str] = []
    for each in wants:
        name = f"of-image-{_project(each.who)}"
        while name in names:
            name += "-2"
        names.append(name)
        (place / name).mkdir()
        asked = json.dumps(list(each.requirements), ensure_ascii=False)
        (place / name / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "0"\ndependencies = {asked}\n{index}', encoding="utf-8"
        )
    (place / "overrides.txt").write_text("\n".join(manifest.overrides), encoding="utf-8")
    return names


def _project(who: str) -> str:
    return str(canonicalize_name(re.sub(r"[^A-Za-z0-9]+", "-", who).strip("-") or "node"))


def _who(name: str) -> str:
    return "ComfyUI" if name == "comfyui" else name


def _preferences(folder: Path, prefer: Mapping[str, str], *, upgrade: bool) -> str:
    """What uv takes for what was locked before: it stays with that where it can."""
    locked = read_lock(folder) if not upgrade else None
    pins = {**(locked.packages if locked is not None else {}), **prefer}
    family = {str(canonicalize_name(name)) for name in _FAMILY}
    return "".join(f"{name}=={version}\n" for name, version in sorted(pins.items()) if name not in family)


def _bare(pins: Mapping[str, str]) -> str:
    """Pins as constraints, without hashes."""
    return "".join(f"{name}=={version}\n" for name, version in pins.items())
