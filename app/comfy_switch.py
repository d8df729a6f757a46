"""The switch of ComfyUI's Queue button in the window, and what is known of the interception node."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .comfyui.status import ComfyState, ComfyStatus
from .desk import Desk
from .settings import Settings
from .ui.comfyui.shown import NodeFacts
from .ui.frame.routing import NO_NODE, Mode, first_time_popover
from .ui.frame.window import Window
from .ui.state import WindowState
from .ui.tasks import TaskScope
from .ui.theme import Theme

if TYPE_CHECKING:
    from .routing import Routing, RoutingStatus

_TOLD_KEY = "routing_told"


@dataclass(frozen=True, slots=True)
class Ties:
    """What this needs of the panel.

    Attributes:
        change: saves settings and puts them in force. set_up: shows the first steps.
        name: a target as people call it. running: the name of a job that runs on this ComfyUI, or empty.
    """

    settings: Callable[[], Settings]
    change: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]
    set_up: Callable[[], object]
    name: Callable[[str], str]
    running: Callable[[], str]


class QueueSwitch:
    """Shows where the button leads, and turns it.

    Args:
        comfy: how ComfyUI is.
    """

    def __init__(
        self,
        theme: Theme,
        window: Window,
        desk: Desk,
        state: WindowState,
        scope: TaskScope,
        ties: Ties,
        comfy: Callable[[], ComfyStatus],
    ) -> None:
        self._theme, self._window, self._desk = theme, window, desk
        self._state, self._scope, self._ties, self._comfy = state, scope, ties, comfy
        self._routing: Routing | None = None
        self._pending: Mode | None = None
        window.topbar.routing.wanted.connect(self._turn)

    def look(self) -> None:
        """Follow whoever decides where the button leads, once this process runs the jobs."""
        services = self._desk.services
        if services is not None and services.routing is not self._routing:
            self._routing = services.routing
            self._routing.watch(lambda _: self.show())

    def show(self) -> None:
        """As it is now."""
        routing, settings = self._routing, self._ties.settings()
        status = None if routing is None else routing.status
        mode: Mode = "local" if status is None else status.mode
        tip = self._not_switchable(status, settings)
        self._window.topbar.routing.show_mode(
            self._pending or mode, pending=self._pending is not None, enabled=not tip, tip=tip
        )
        self._window.comfyui.show_node(self._node_facts(status, settings))

    def _not_switchable(self, status: RoutingStatus | None, settings: Settings) -> str:
        """Why the switch cannot be turned now; empty: it can."""
        if status is None:
            return "Comfy RunPod is just starting, or another one runs the jobs."
        if settings.comfyui_url is not None:
            return "This ComfyUI was started elsewhere. Restart it with routing on the ComfyUI page."
        if self._comfy().state is not ComfyState.RUNNING:
            return "ComfyUI is not running. The switch is applied at its next start."
        return "" if status.node is not None and status.node.active else NO_NODE

    def _node_facts(self, status: RoutingStatus | None, settings: Settings) -> NodeFacts:
        if settings.comfyui_url is not None:
            return NodeFacts("watched")
        node = None if status is None else status.node
        mode = "Local" if status is None or status.mode == "local" else "RunPod"
        endpoint = settings.runpod_endpoint_id
        where = f"RunPod · {self._ties.name(endpoint)}" if mode == "RunPod" and endpoint else mode
        at = None if status is None else status.last_job_at
        return NodeFacts(
            "active" if node is not None and node.active else "inactive",
            where,
            node.version if node is not None else "",
            "" if at is None else time.strftime("%H:%M:%S", time.localtime(at)),
        )

    def _turn(self, wanted: str) -> None:
        self._scope.start(self._turned("runpod" if wanted == "runpod" else "local"), "routing")

    async def _turned(self, mode: Mode) -> None:
        if self._routing is None:
            return
        self._pending = mode
        self.show()
        try:
            await self._routing.choose(mode)
        finally:
            self._pending = None
            self.show()
        if mode == "runpod" and not self._state.text(_TOLD_KEY):
            self._state.put(_TOLD_KEY, "yes")
            place = self._ties.name(self._ties.settings().runpod_endpoint_id or "")
            popover = first_time_popover(self._theme, place, undo=lambda: self._turn("local"))
            popover.open_under(self._window.topbar.routing)
