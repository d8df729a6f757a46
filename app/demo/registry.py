"""What a node is, and the table of all nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from app.demo.files import Folders
from app.demo.pictures import Picture

Batch = list[Picture]
"""Several images or masks as one value."""


class Interrupted(Exception):
    """The client asked to stop."""


class Call(Protocol):
    """What a running node may use of the engine."""

    @property
    def folders(self) -> Folders: ...

    def step(self, done: int, total: int, preview: Picture | None = None) -> None:
        """Between two images: reports progress. Raises Interrupted when the client asked to stop."""


@dataclass(frozen=True)
class Shown:
    """What an output node shows: the ``output`` of its ``executed`` message."""

    ui: dict[str, Any]
    outputs: tuple[Any, ...] = ()


_Run = TypeVar("_Run", bound=Callable[..., "tuple[Any, ...] | Shown"])


@dataclass(frozen=True)
class Node:
    """One class of nodes.

    Args:
        run: executes it.
        checks: for these inputs, what is wrong with a value (None: nothing); replaces the usual check.
        fingerprint: what its result depends on beside its inputs, e.g. a file's content.
    """

    run: Callable[..., tuple[Any, ...] | Shown]
    checks: dict[str, Callable[[Folders, Any], str | None]] = field(default_factory=dict)
    fingerprint: Callable[[Folders, dict[str, Any]], str] | None = None


NODES: dict[str, Node] = {}


def node(class_type: str) -> Callable[[_Run], _Run]:
    """Register a function as the node of that class."""

    def register(run: _Run) -> _Run:
        NODES[class_type] = Node(run)
        return run

    return register
