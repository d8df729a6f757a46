"""Names of container images, as Docker reads them: registry, image and tag, and the whole of them.

On the ground floor: settings are checked with it.
"""

from __future__ import annotations

import re
from typing import Any

_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]+)?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: Docker takes 255 letters before the tag: half of them for each of the two, and the stroke between them.
LONGEST_PART = 127


def is_host(word: str) -> bool:
    """Whether Docker takes the first word of a name for a registry's host; else it is an account's name."""
    return word == "localhost" or any(letter in ".:" for letter in word)


def registry(value: Any) -> str:
    """An account on Docker Hub, or a registry's host with what comes below it. Raises ValueError."""
    name = _short(value)
    host, stroke, rest = name.partition("/")
    # A word with capitals is a host to Docker, too, but hardly ever meant.
    if not is_host(host):
        return image(name)
    if not _HOST.fullmatch(host) or (stroke and not _PATH.fullmatch(rest)):
        raise ValueError("no registry")
    return name


def image(value: Any) -> str:
    """An image below its registry. Raises ValueError."""
    name = _short(value)
    if not _PATH.fullmatch(name):
        raise ValueError("no image's name")
    return name


def tag(value: Any) -> str:
    """Raises ValueError."""
    name = _text(value)
    if not _TAG.fullmatch(name):
        raise ValueError("no tag")
    return name


def full_name(registry_: str, image_: str, tag_: str) -> str:
    """What is pushed, and what an endpoint is given."""
    return f"{registry_}/{image_}:{tag_}"


def _short(value: Any) -> str:
    name = _text(value)
    if len(name) > LONGEST_PART:
        raise ValueError("too long")
    return name


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value.strip()
