"""Finding a Docker that can build: which program, how it builds, and the engine behind it."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..comfyui.programs import Ended
from ..errors import NeedsSetup, ProcessFailed
from .cli import Cli, environment, json_in
from .errors import BuildxMissing, DaemonNotRunning, DockerMissing, DockerUnusable, unusable
from .model import Builder

#: Docker Desktop answers late, or not at all, while its machine starts.
_PATIENCE_S = 20.0
#: BuildKit in a client without buildx: from 18.09 until 23.
_FIRST_CLASSIC, _FIRST_WITHOUT = (18, 9), (23,)
_FIRST_RAWJSON = (0, 13)
_BUILDX = re.compile(r"buildx\S* v?(\d{1,4})\.(\d{1,4})")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A Docker that can build; see :class:`app.docker.engine.Engine`."""

    cli: Cli
    builder: Builder
    client_version: str
    server_version: str
    root: Path | None
    os: str
    arch: str
    has_gpu: bool


async def find(program: Path | None, extra: Mapping[str, str] | None) -> Found:
    """The first Docker that can build, on the path or in the usual places.

    Args:
        program: the one to take, and no other.
        extra: for its environment, such as ``DOCKER_HOST``.

    Raises:
        DockerMissing, DaemonNotRunning, DockerNotAllowed, BuildxMissing, DockerUnusable: the clearest reason
            when none can.
    """
    problems: list[DockerUnusable] = []
    for place in [program] if program is not None else await asyncio.to_thread(lambda: list(_places())):
        try:
            return await _looked_at(Cli(place, environment(place, extra)))
        except DockerUnusable as problem:
            problems.append(problem)
        except (NeedsSetup, ProcessFailed) as problem:
            if program is not None:
                raise
            problems.append(DockerMissing(program=str(place), reason=problem.summary))
    if not problems:
        raise DockerMissing
    # An engine that is not reached says more than a program that cannot build.
    raise min(problems, key=lambda problem: isinstance(problem, DockerMissing | BuildxMissing))


def _places() -> Iterator[Path]:
    """The programs named docker, each once. Blocks."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *_usual_folders()]
    seen: set[Path] = set()
    for folder in folders:
        found = shutil.which("docker", path=folder) if folder else None
        if found and (real := Path(found).resolve()) not in seen:
            seen.add(real)
            yield Path(found)


def _usual_folders() -> list[str]:
    if sys.platform == "win32":
        programs = os.environ.get("PROGRAMFILES", "C:/Program Files")
        return [f"{programs}/Docker/Docker/resources/bin"]
    home = os.environ.get("HOME", "")
    mac = ["/Applications/Docker.app/Contents/Resources/bin"] if sys.platform == "darwin" else []
    return ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", f"{home}/.docker/bin", *mac]


async def _looked_at(cli: Cli) -> Found:
    commands = (
        ("version", "--format", "{{json .}}"),
        ("info", "--format", "{{json .}}"),
        ("buildx", "version"),
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            said = await asyncio.gather(*(cli.run(*words) for words in commands), return_exceptions=True)
    except TimeoutError:
        raise DaemonNotRunning(program=str(cli.program), patience_s=_PATIENCE_S) from None
    for ended in said:
        if isinstance(ended, BaseException):
            raise ended
    version, info, buildx = (ended for ended in said if isinstance(ended, Ended))
    programs, facts = _facts(cli, version), _facts(cli, info)
    here = await asyncio.to_thread(_is_here, facts)
    return Found(
        cli,
        _builder(cli, programs, buildx),
        _text(programs, "Client", "Version"),
        _text(programs, "Server", "Version"),
        Path(_text(facts, "DockerRootDir")) if here else None,
        _text(facts, "OSType"),
        _text(facts, "Architecture"),
        await asyncio.to_thread(_has_gpu, facts),
    )


def _facts(cli: Cli, ended: Ended) -> Mapping[str, Any]:
    """The JSON that the engine's answer is."""
    if problem := unusable(ended.lines):
        raise problem
    said = json_in(ended.lines)
    if ended.code or not isinstance(said, dict):
        answer = f"it answered {ended.lines[-1][:_LONGEST]!r}" if ended.lines else "it does not answer"
        raise DockerUnusable(f"Docker cannot be used: {answer}.", program=str(cli.program))
    return said


def _builder(cli: Cli, version: Mapping[str, Any], answer: Ended) -> Builder:
    buildx = None if answer.code else _BUILDX.search("\n".join(answer.lines))
    if buildx:
        new = (int(buildx[1]), int(buildx[2])) >= _FIRST_RAWJSON
        return Builder.BUILDX_RAWJSON if new else Builder.BUILDX_PLAIN
    client, server = (_number(_text(version, side, "Version")) for side in ("Client", "Server"))
    if _FIRST_CLASSIC <= client < _FIRST_WITHOUT and server >= _FIRST_CLASSIC:
        return Builder.CLASSIC
    raise BuildxMissing(program=str(cli.program))


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,5}", version)[:2])


def _text(said: Any, *names: str) -> str:
    for name in names:
        said = said.get(name) if isinstance(said, dict) else None
    return said if isinstance(said, str) else ""


def _is_here(info: Mapping[str, Any]) -> bool:
    """Whether the engine's folders are this computer's, and not those of a machine in it. Blocks."""
    here = platform.uname()
    return (
        sys.platform == "linux"
        and (_text(info, "Name"), _text(info, "KernelVersion")) == (here.node, here.release)
        and Path(_text(info, "DockerRootDir")).is_absolute()
    )


def _has_gpu(info: Mapping[str, Any]) -> bool:
    """Whether containers can have an NVIDIA card: through its runtime, or a CDI description. Blocks."""
    runtimes, devices = info.get("Runtimes"), info.get("DiscoveredDevices")
    if isinstance(runtimes, dict) and "nvidia" in runtimes:
        return True
    listed = devices if isinstance(devices, list) else []
    if any(_text(device, "ID").startswith("nvidia.com/gpu") for device in listed):
        return True
    folders = info.get("CDISpecDirs")
    if not isinstance(folders, list) or not _is_here(info):
        return False
    return any(
        "nvidia" in path.name
        for folder in folders
        if isinstance(folder, str)
        for path in _files(Path(folder))
    )


def _files(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir()) if folder.is_absolute() else []
    except OSError:
        return []
