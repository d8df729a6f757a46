"""What the requirements of a pack would change in a ComfyUI's environment, and who would be worse off."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from worker.process import clean_environment

from .causes import failed
from .environments import Unsolvable, Uv
from .programs import HOME, masked, run

_LINE = re.compile(r"\s*([-+])\s+([A-Za-z0-9][A-Za-z0-9._-]*)(?:==(\S+)| @ (\S+)).*")
#: Made for a kind of GPU: another version may know none, or not fit the others.
_OF_THE_GPU = ("torch", "torchaudio", "torchvision", "xformers")
#: Prints what markers are judged by, then a line for each installed package.
_ASK = """
import json, os, platform, sys
from importlib.metadata import distributions

print(json.dumps({
    "implementation_name": sys.implementation.name,
    "implementation_version": platform.python_version(),
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "platform_python_implementation": platform.python_implementation(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}))
for each in distributions():
    print(json.dumps([each.metadata["Name"], each.version, each.requires or []]))
"""


@dataclass(frozen=True, slots=True)
class Change:
    """A package that would have another version; ``before`` is None for a new one, ``after`` if it goes."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} {self.after} is new"
        return f"{self.name} {self.before} becomes {self.after}" if self.after else f"{self.name} goes"


@dataclass(frozen=True, slots=True)
class Need:
    """Somebody needs a package in certain versions."""

    who: str
    name: str
    versions: SpecifierSet

    def __str__(self) -> str:
        return f"{self.name}{self.versions}"


@dataclass(frozen=True, slots=True)
class Effects:
    """What installing requirements would do.

    Attributes:
        conflicts: a sentence for each that would be worse off.
        possible: whether uv found versions that go together at all.
    """

    changes: tuple[Change, ...] = ()
    conflicts: tuple[str, ...] = ()
    possible: bool = True


def changes_in(lines: Iterable[str]) -> tuple[Change, ...]:
    """What ``uv pip install --dry-run`` said that it would do, by name."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for line in lines:
        if match := _LINE.fullmatch(line):
            side = before if match[1] == "-" else after
            side[canonicalize_name(match[2])] = match[3] or masked(match[4])
    names = sorted(before.keys() | after.keys())
    changes = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in changes if change.before != change.after)


async def effects_of(
    uv: Uv, python: Path, requirements: Path, cwd: Path, files: Mapping[str, Path], constraints: Path
) -> Effects:
    """Try requirements without changing anything.

    Args:
        python: of ComfyUI's environment.
        cwd: what relative paths in the requirements begin at.
        files: other requirements that shall stay met: whose they are, and the file.
        constraints: written when it takes limits to spare the others; is to be given to uv then, too.

    Raises:
        ProcessFailed: when uv cannot tell, because there is no network for example.
    """
    try:
        plain = await _tried(uv, python, cwd, ["-r", str(requirements)])
    except Unsolvable as error:
        return Effects(conflicts=(f"{error.details['reason']}.",), possible=False)
    if not any(change.before for change in plain):
        return Effects(plain)
    needs = await _known_needs(uv, python, files)
    worse = conflicts_of(plain, needs)
    if not worse:
        return Effects(plain)
    limits = {str(need) for need in needs}
    limits |= {f"{each.name}=={each.before}" for each in plain if each.name in _OF_THE_GPU and each.before}
    await asyncio.to_thread(constraints.write_text, "\n".join(sorted(limits)), "utf-8")
    try:
        gentle = await _tried(uv, python, cwd, ["-r", str(requirements), "-c", str(constraints)])
    except Unsolvable:
        gentle = None
    if gentle is not None and not conflicts_of(gentle, needs):
        return Effects(gentle)
    await asyncio.to_thread(constraints.unlink)
    return Effects(plain, worse)


async def _tried(uv: Uv, python: Path, cwd: Path, words: Sequence[str]) -> tuple[Change, ...]:
    doing = "Looking at what would be installed"
    return changes_in(await uv.install(python, words, cwd, doing=doing, dry_run=True))


def conflicts_of(changes: Sequence[Change], needs: Iterable[Need]) -> tuple[str, ...]:
    """Whose needs the changes would no longer meet, and changes that may lose the GPU: a sentence each."""
    changed = {change.name: change for change in changes}
    said = []
    for need in needs:
        change = changed.get(need.name)
        # Whoever changes itself comes with other needs, and uv has looked at those.
        if change is not None and change.before is not None and canonicalize_name(need.who) not in changed:
            if change.after is None:
                said.append(f"{need.who} needs {need}, which would be removed.")
            elif not _meets(change.after, need.versions):
                said.append(f"{need.who} needs {need}, but {change.before} would become {change.after}.")
    for name in _OF_THE_GPU:
        if name in changed and changed[name].before is not None:
            change = changed[name]
            said.append(f"{name} would change from {change.before} to {change.after} and might lose the GPU.")
    return tuple(dict.fromkeys(said))


async def _known_needs(uv: Uv, python: Path, files: Mapping[str, Path]) -> list[Need]:
    """What installed packages and files of requirements need, as far as it is met now."""
    ended = await run(
        [str(python), "-I", "-c", _ASK], env=clean_environment(keep=HOME), cwd=python.parent, log_file=None
    )
    rows = [_json(line) for line in ended.lines]
    environment = next((row for row in rows if isinstance(row, dict)), None)
    if ended.code != 0 or environment is None:
        raise failed("Looking at what is installed", ended.lines)
    installed = [row for row in rows if isinstance(row, list) and len(row) == 3 and isinstance(row[0], str)]
    versions = {str(canonicalize_name(name)): str(version) for name, version, _ in installed}
    wanted = [(name, text) for name, _, texts in installed for text in texts]
    wanted += [(who, line) for who, path in files.items() for line in _requirement_lines(path)]
    needs = (need for who, text in wanted if (need := need_of(who, text, environment)))
    return [need for need in needs if need.name in versions and _meets(versions[need.name], need.versions)]


def need_of(who: str, text: str, environment: Mapping[str, str]) -> Need | None:
    """A requirement such as ``numpy>=2; python_version < "3.13"``; None when it limits nothing here."""
    try:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({**environment, "extra": ""})
    except (InvalidRequirement, ValueError, KeyError):
        return None
    if not applies or requirement.url or not requirement.specifier:
        return None
    return Need(who, canonicalize_name(requirement.name), requirement.specifier)


def _requirement_lines(path: Path) -> list[str]:
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    lines = (re.split(r"(?:^|\s)#", line, maxsplit=1)[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def _meets(version: str, versions: SpecifierSet) -> bool:
    """Whether a version is one of those; an address instead of a version may be any."""
    try:
        return versions.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
