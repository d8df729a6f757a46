"""Which value each widget of a node holds, as frontend 1.58.1 takes it from ``widgets_values``."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import javascript
from .classes import Inputs, WidgetSlot

if TYPE_CHECKING:
    from .scheme import Input, Node

#: More widgets than any node has; dynamic ones could bring each other for ever.
_MAX_WIDGETS = 2_000


@dataclass(frozen=True, slots=True)
class Held:
    """A widget with what was saved for it. ``is_saved`` False: it holds the definition's value, or none."""

    slot: WidgetSlot
    raw: Any
    is_saved: bool

    @property
    def value(self) -> Any:
        """The value as a browser writes it; of the saved one a copy."""
        return javascript.value(self.raw) if self.is_saved else self.slot.default


def held_by(node: Node) -> Iterator[Held]:
    """The widgets of a node of a known class with the values saved for them, in their order."""
    if node.node_class is None:
        return
    saved = _Saved(node.values, node.node_class.inputs)
    waiting = deque(node.node_class.inputs.slots)
    for at in range(_MAX_WIDGETS):
        if not waiting:
            return
        slot = waiting.popleft()
        is_saved, raw = saved.at(at, slot.name)
        held = Held(slot, _migrated(node.type, raw), is_saved)
        yield held
        key = held.raw if is_saved else slot.default
        brought = slot.choices.get(key) if isinstance(key, str) else None
        if brought is not None:
            waiting.extendleft(reversed(brought.slots))


def slot_named(node: Node, name: str) -> WidgetSlot | None:
    """The widget of this name, when the node's class has it."""
    held = node.held.get(name)
    return None if held is None else held.slot


def is_widget(node: Node, each: Input) -> bool:
    """Whether an input stands for a widget. The class says so: what the file says may be of another one."""
    slot = slot_named(node, each.widget or each.name)
    return slot is not None and slot.is_sent


def left_over(values: Any) -> Iterator[tuple[str, Any]]:
    """The values of a node of an unknown class, by the names that frontend 1.58.1 makes up for them."""
    if not isinstance(values, list):
        return
    for at, raw in enumerate(values[:_MAX_WIDGETS]):
        shown = javascript.value(raw)
        if not isinstance(raw, str | int | float):
            shown = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
        yield f"UNKNOWN_{at}" if at else "UNKNOWN", shown


class _Saved:
    """``widgets_values``: a list by position, or an object by name or position."""

    def __init__(self, raw: Any, inputs: Inputs) -> None:
        self._list: list[Any] = raw if isinstance(raw, list) else []
        self._named: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
        # Old files have an entry for each socket that could have been a widget.
        if sum(entries for _, entries in inputs.counted) == len(self._list):
            forced = {at for at, (is_forced, _) in enumerate(inputs.counted) if is_forced}
            self._list = [value for at, value in enumerate(self._list) if at not in forced]

    def at(self, position: int, name: str) -> tuple[bool, Any]:
        if position < len(self._list):
            return True, self._list[position]
        for key in (name, str(position)) if self._named else ():
            if key in self._named:
                return True, self._named[key]
        return False, None


def _migrated(node_type: str, raw: Any) -> Any:
    """Samplers that were renamed once."""
    if node_type in ("KSampler", "KSamplerAdvanced") and isinstance(raw, str):
        return raw.removeprefix("sample_")
    return raw


def rounded(slot: WidgetSlot, value: Any) -> Any:
    """A number as the browser rounds it when something other than the file writes it into a widget."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    raw = float(value)
    if slot.type == "INT" and slot.step:
        shift = math.fmod(slot.low or 0.0, slot.step)
        return javascript.number(javascript.half_up((raw - shift) / slot.step) * slot.step + shift)
    if slot.type == "FLOAT" and slot.round_to:
        digits = len(f"{slot.round_to:.9f}".rstrip("0").partition(".")[2])
        near = round(javascript.half_up(raw / slot.round_to) * slot.round_to, digits)
        near = near if slot.low is None else max(near, slot.low)
        return javascript.number(near if slot.high is None else min(near, slot.high))
    return value
