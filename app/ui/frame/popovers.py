"""What opens under the chips of the top bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...comfyui.status import ComfyState, ComfyStatus
from ...health import EndpointStatus
from ...jobs.words import duration
from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, column, hairline, row
from ..widgets.floating import Popover
from ..widgets.small import Bar, PillLabel
from .run_bars import RunBar, RunBars

_STATE = {
    ComfyState.NOT_SET_UP: ("Not set up", "grey", ""),
    ComfyState.STOPPED: ("Stopped", "grey", "square"),
    ComfyState.STARTING: ("Starting", "amber", "hourglass"),
    ComfyState.RUNNING: ("Running", "green", "check"),
    ComfyState.CRASHED: ("Crashed", "red", "x"),
}
_LABEL_W = 92


def comfy_popover(
    theme: Theme,
    status: ComfyStatus,
    *,
    start: Callable[[], object],
    stop: Callable[[], object],
    browse: Callable[[], object],
    set_up: Callable[[], object],
    details: Callable[[], object],
) -> Popover:
    """Address, how long it has been up, its memory, and starting and stopping it."""
    popover = Popover(theme, 320)
    head = row(Text(theme, "ComfyUI on this computer", "section"), None)
    head.addWidget(PillLabel(theme, *_STATE[status.state]))
    popover.body.addLayout(head)
    lines = [("Address", status.url or ""), ("Version", status.version or ""), ("Memory", status.vram or "")]
    if status.since is not None and status.state is ComfyState.RUNNING:
        lines.append(("Running for", duration(time.time() - status.since)))
    _add_lines(theme, popover, lines)
    if status.detail:
        role = "red" if status.state is ComfyState.CRASHED else "text2"
        popover.body.addWidget(Wrapped(theme, status.detail, "caption", role))
    if status.state is ComfyState.NOT_SET_UP:
        why = "Choose its folder in Settings. Workflows run on the demo engine meanwhile."
        popover.body.addWidget(Wrapped(theme, why, "body", "text2"))
        _add_buttons(theme, popover, [("Open settings", set_up)])
    elif status.state is ComfyState.RUNNING:
        _add_buttons(theme, popover, [("Open in browser", browse), ("Stop", stop), ("Details", details)])
    elif status.state is not ComfyState.STARTING:
        _add_buttons(theme, popover, [("Start", start), ("Details", details)])
    return popover


@dataclass(frozen=True, slots=True)
class EndpointView:
    """What the endpoint's popover shows beside its figures.

    Attributes:
        most: how many workers there may be, when that is known.
        lines: names and values, in the order shown.
        repair: what is wrong with how the endpoint is set, and what a click does about it.
        acts: further buttons.
        runs: the latest ones, the oldest first, and their percentiles in words.
    """

    name: str
    most: int | None = None
    lines: Sequence[tuple[str, str]] = ()
    repair: tuple[str, str, Callable[[], object]] | None = None
    acts: Sequence[tuple[str, Callable[[], object]]] = ()
    runs: Sequence[RunBar] = ()
    typical: str = ""


def endpoint_popover(theme: Theme, view: EndpointView, status: EndpointStatus) -> tuple[Popover, Wrapped]:
    """Workers by state, the queue, money and how old the figures are; and a text for what comes later."""
    popover = Popover(theme, 336)
    head = row(Text(theme, view.name, "section"), None)
    head.addWidget(PillLabel(theme, *health_pill(status, view.most)))
    popover.body.addLayout(head)
    counts = row(gap=0)
    for word in ("running", "starting", "idle", "throttled"):
        count: int = getattr(status, word)
        strong = word in ("starting", "throttled") and count
        number = Text(theme, str(count), "title", "amber" if strong else "text")
        counts.addLayout(column(number, Text(theme, word, "caption", "text2")), 1)
    popover.body.addLayout(counts)
    busy = status.running + status.starting
    workers = view.most if view.most is not None else busy + status.idle
    bar = Bar(theme)
    bar.set_part(min(busy / workers, 1.0) if workers else 0.0)
    popover.body.addWidget(bar)
    in_use = f"{busy} of {workers} workers in use" if workers else "No worker is up"
    popover.body.addWidget(Text(theme, in_use, "caption", "text2"))
    later = Wrapped(theme, "", "caption", "text2")
    later.hide()
    popover.body.addWidget(later)
    if view.repair is not None:
        why, what, act = view.repair
        popover.body.addWidget(Wrapped(theme, why, "body", "amber"))
        _add_buttons(theme, popover, [(what, act)])
    popover.body.addWidget(hairline())
    checked = duration(max(time.time() - status.checked_at, 0)) + " ago" if status.checked_at else "not yet"
    _add_lines(theme, popover, [*view.lines, ("Checked", checked)])
    if view.runs:
        popover.body.addWidget(hairline())
        popover.body.addWidget(RunBars(theme, view.runs, view.typical))
        popover.body.addWidget(Wrapped(theme, view.typical, "caption", "text2"))
    _add_buttons(theme, popover, list(view.acts))
    return popover, later


def health_pill(status: EndpointStatus, most: int | None) -> tuple[str, str, str]:
    """How an endpoint is: word, colour and icon; ``most``: how many workers it may have, if that is known."""
    if most == 0:
        return "Switched off", "amber", "triangle-alert"
    if status.tone == "amber":
        return "Throttled", "amber", "triangle-alert"
    if status.tone == "red":
        return "Unreachable", "red", "x"
    return ("Healthy", "green", "check") if status.reachable else ("Asleep", "grey", "")


def _add_lines(theme: Theme, popover: Popover, lines: list[tuple[str, str]]) -> None:
    for label, value in lines:
        if value:
            name = Text(theme, label, "caption", "text3")
            name.setFixedWidth(_LABEL_W)
            line = row(name)
            line.addWidget(Wrapped(theme, value), 1)
            popover.body.addLayout(line)


def _add_buttons(theme: Theme, popover: Popover, buttons: list[tuple[str, Callable[[], object]]]) -> None:
    popover.body.addSpacing(4)
    for first in range(0, len(buttons), 2):
        line = row()
        for text, act in buttons[first : first + 2]:
            button = Button(theme, text)
            button.clicked.connect(popover.close)
            button.clicked.connect(act)
            line.addWidget(button, 1)
        popover.body.addLayout(line)
