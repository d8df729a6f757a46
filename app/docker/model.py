"""What is known of images and of the work on them. Sizes are in bytes, times in seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from ..errors import BadInput
from .names import checked_name

_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,126}[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,127}")


class Builder(StrEnum):
    """How this Docker builds with BuildKit."""

    BUILDX_RAWJSON = "buildx_rawjson"
    BUILDX_PLAIN = "buildx_plain"
    #: A client before 23, which has BuildKit in itself.
    CLASSIC = "classic"


class StepState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a build.

    Attributes:
        key: the same for a step as long as its build runs; says nothing in another build.
        title: such as ``COPY worker /worker``; with its stage in front when there are several.
        cached: its result was there from an earlier build.
        seconds: how long it took; None before its end.
        done, total: in bytes, for a step that moves them; None when that is not known.
    """

    key: str
    title: str
    state: StepState = StepState.WAITING
    cached: bool = False
    seconds: float | None = None
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is; ``part`` is from 0 to 1 and never falls, None before the first step is known."""

    steps: tuple[Step, ...] = ()
    part: float | None = None


class LayerState(StrEnum):
    WAITING = "waiting"
    EXISTS = "exists"
    SENDING = "sending"
    SENT = "sent"
    RETRYING = "retrying"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer on its way to a registry; ``id`` is the beginning of its digest."""

    id: str
    state: LayerState = LayerState.WAITING
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class PushProgress:
    """How far a push is; ``part`` is from 0 to 1, ``note`` a sentence about what holds it up, or empty."""

    layers: tuple[Layer, ...] = ()
    part: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    image_id: str
    seconds: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a registry has taken: the digest ``sha256:…`` of the image's manifest, and the manifest's size."""

    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image of the engine.

    Attributes:
        digests: ``repository@sha256:…`` for each registry that it came from or went to.
        created: in seconds since 1970; None when it is not told.
        layers: the digests of the unpacked layers, the lowest first.
    """

    id: str
    digests: tuple[str, ...]
    size: int
    created: float | None
    labels: Mapping[str, str]
    layers: tuple[str, ...]
    architecture: str


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One line of an image's history, with what it added in bytes; ``created`` in seconds since 1970."""

    command: str
    size: int
    created: float | None


class SignInState(StrEnum):
    SIGNED_IN = "signed_in"
    SIGNED_OUT = "signed_out"
    #: Docker's store cannot be asked.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SignIn:
    state: SignInState
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this computer at a place in a container."""

    host: Path
    inside: str
    readonly: bool = True


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What is to be built.

    Attributes:
        folder: the build context.
        dockerfile: None for ``Dockerfile`` in it.
        tags: names for the image, at least one.
        args: build arguments. They are seen in the list of processes and in the image's history, so none may
            be a secret.
        network: the network of ``RUN`` steps, such as ``host`` or ``none``; None for the engine's own.
        target: the stage to stop at; None for the last.

    Raises:
        BadInput: when one of them cannot be used.
    """

    folder: Path
    dockerfile: Path | None = None
    tags: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    no_cache: bool = False
    platform: str | None = "linux/amd64"
    network: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        if not self.tags:
            raise BadInput("An image needs a name.")
        for name in self.tags:
            checked_name(name)
        for name, value in self.args.items():
            _check(_ARGUMENT, name, "the name of a build argument")
            _check_value(name, value)
        for name, value in self.labels.items():
            _check(_LABEL, name, "the name of a label")
            _check_value(name, value)
        for word, what in (
            (self.platform, "a platform"),
            (self.network, "a network"),
            (self.target, "a stage"),
        ):
            if word is not None:
                _check(_WORD, word, what)


def _check(pattern: re.Pattern[str], text: str, what: str) -> None:
    if not pattern.fullmatch(text):
        raise BadInput(f"{text!r} cannot be {what}.")


def _check_value(name: str, value: str) -> None:
    if "\0" in value:
        raise BadInput(f"The value of {name} has a zero byte.")
