"""What the interception needs of the server it lives in. ComfyUI is one; the demo engine another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What validation says of a prompt: ComfyUI's own shapes.

    Attributes:
        error: None when at least one output can run.
        outputs: the output nodes that can run.
    """

    error: Json | None
    outputs: Sequence[str] = ()
    node_errors: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Ending:
    """How a prompt ended, for the history: ``outputs`` by node, and the messages that were sent of it."""

    outputs: Json
    meta: Json
    messages: Sequence[tuple[str, Json]]
    succeeded: bool


class Host(Protocol):
    """All methods are called in the server's loop."""

    @property
    def app(self) -> web.Application:
        """The server's application, not started yet when the node is hooked in."""

    def add_route(self, method: str, path: str, handler: Callable[[web.Request], Any]) -> None:
        """Serve ``path``, and ``/api`` before it."""

    def folders(self) -> Mapping[str, Path]:
        """The folders ``input``, ``output`` and ``temp``."""

    async def validate(self, prompt_id: str, prompt: Json, targets: Sequence[str] | None) -> Verdict:
        """Validate a prompt; it may be changed by that."""

    def knows(self, class_type: str) -> bool:
        """Whether there is a node type of this name."""

    def upload_inputs(self, class_type: str) -> Collection[str]:
        """The inputs of a node type that name a file of the user's."""

    def widened(self, names: Callable[[str], Sequence[str]]) -> AbstractContextManager[None]:
        """Have lists of model files hold these names too, by kind, in the calling task while it lasts."""

    def next_number(self) -> float:
        """The number of the next prompt."""

    def enter(self, key: str, item: tuple[Any, ...]) -> None:
        """Show a prompt as running; ``item`` as in ComfyUI's queue."""

    def leave(self, key: str, ending: Ending) -> None:
        """Move it to the history."""

    def send(self, event: str, data: Json, client_id: str | None = None) -> None:
        """Send to one page, or to all."""

    def send_preview(self, picture: bytes, about: Json, client_id: str | None) -> None:
        """Send a picture, JPEG or PNG, that a node shows while it works."""
