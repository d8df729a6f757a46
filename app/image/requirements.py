"""What ComfyUI and its nodes ask for: their ``requirements.txt``, as uv takes it from a project file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from ..errors import BadInput

REQUIREMENTS = "requirements.txt"
_LARGEST = 1 << 20
_DEEPEST = 5
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_INCLUDE = re.compile(r"(?:-r|--requirement)[\s=]+(.+)")
_CONSTRAINT = re.compile(r"(?:-c|--constraint)[\s=]+(.+)")
#: Where packages come from is the manifest's matter, and hashes are the lock's.
_PASSED_OVER = re.compile(
    r"(?:--extra-index-url|--index-url|-i|--find-links|-f|--trusted-host|--pre|--prefer-binary|--no-binary"
    r"|--only-binary|--no-cache-dir|--upgrade|-U)\b.*"
)
_EGG = re.compile(r"#(?:.*&)?egg=([A-Za-z0-9._-]+)")
_GIT = re.compile(r"git\+https://\S+")
_OPTIONS = re.compile(r"\s+(?:--hash|--global-option|--config-settings)[\s=].*$")


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody's requirements ask for.

    Attributes:
        requirements: in the form of PEP 508.
        passed_over: lines that say where to take packages from, which the manifest does.
    """

    requirements: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()


def asked_by(folder: Path, whose: str) -> Asked:
    """Read the requirements of a checked out repository; none is fine. Blocks.

    Raises:
        BadInput: for a line that uv could not lock, such as a path.
    """
    requirements: list[str] = []
    passed_over: list[str] = []
    for line in _lines(folder / REQUIREMENTS, folder.resolve(), whose, _DEEPEST):
        if _PASSED_OVER.fullmatch(line):
            passed_over.append(line)
        else:
            requirements.append(requirement_of(line, whose))
    return Asked(tuple(dict.fromkeys(requirements)), tuple(passed_over))


def requirement_of(line: str, whose: str) -> str:
    """A line in the form of PEP 508; raises BadInput when it has none."""
    text = " ".join(_OPTIONS.sub("", line).split())
    if _GIT.match(text):
        egg = _EGG.search(text)
        if egg is None:
            raise BadInput(
                f"{whose} asks for {text[:120]}, without the package's name.",
                hint="Name the package under overrides, as in `name @ git+https://…`.",
            )
        text = f"{egg[1]} @ {text.partition('#')[0]}"
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        raise BadInput(
            f"{whose} asks for {line[:120]!r}, which cannot be locked.",
            hint="Only names with versions, and https or git addresses with a name can.",
        ) from None
    if requirement.url is not None and not re.match(r"(?:git\+)?https://", requirement.url):
        raise BadInput(f"{whose} asks for {line[:120]!r}: only https addresses are used.")
    return text


def _lines(path: Path, root: Path, whose: str, deeper: int) -> Iterator[str]:
    """The lines of a file and of those it includes, of which none leads out of its repository."""
    try:
        within = path.resolve().is_relative_to(root)
        text = path.read_bytes()[: _LARGEST + 1] if within and path.is_file() else b""
    except OSError as error:
        raise BadInput(f"The requirements of {whose} cannot be read: {error.strerror}.") from error
    if len(text) > _LARGEST or not within or not deeper:
        raise BadInput(f"The requirements of {whose} cannot be used: too large, or outside of its folder.")
    joined = text.decode("utf-8-sig", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    for raw in joined.splitlines():
        line = raw.strip() if _GIT.match(raw.strip()) else _COMMENT.sub("", raw).strip()
        if not line or line.startswith("#"):
            continue
        if match := _INCLUDE.fullmatch(line) or _CONSTRAINT.fullmatch(line):
            yield from _lines(path.parent / match[1].strip(), root, whose, deeper - 1)
        else:
            yield line
