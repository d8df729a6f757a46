"""Names of images as a person or a file gives them, checked before they become words of a command."""

from __future__ import annotations

import re

from ..errors import BadInput
from ..image_names import is_host

#: What Docker means by a name without a registry.
HUB = "docker.io"

_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
#: Without a dot or a port it would be an account of Docker Hub.
_HOST = (
    r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+|[A-Za-z0-9-]+(?=:)|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_NAME = re.compile(
    rf"(?P<path>(?:{_HOST}/)?{_PART}(?:/{_PART})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?"
)
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{12,64}")
_LONGEST = 400


def checked_name(text: str) -> str:
    """An image's name, with or without registry and tag.

    Raises:
        BadInput: when Docker would not take it.
    """
    name = text.strip()
    if len(name) > _LONGEST or not _NAME.fullmatch(name):
        raise BadInput(
            f"{text[:_LONGEST]!r} cannot be the name of an image.",
            hint="Names look like marta/comfy-worker:1 or ghcr.io/marta/comfy-worker:1.",
        )
    return name


def checked_reference(text: str) -> str:
    """A name, a name with a digest, or an image's id. Raises BadInput."""
    name = text.strip()
    if len(name) <= _LONGEST and _ID.fullmatch(name):
        return name
    bare = _DIGEST.sub("", name)
    return checked_name(name) if bare == name else checked_name(bare) + name[len(bare) :]


def registry_of(name: str) -> str:
    """The registry's host; ``docker.io`` for a name without one."""
    host, stroke, _ = name.partition("/")
    return host if stroke and is_host(host) else HUB
