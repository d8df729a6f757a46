"""One node class of ``/object_info``, kept as small as converting needs it.

Both styles of lists are read: ``[["a", "b"], {…}]`` and ``["COMBO", {"options": ["a", "b"]}]``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import javascript

#: Types that a browser shows as a widget; everything else is a socket.
WIDGET_TYPES = frozenset(
    {
        *("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"),
        *("WEBCAM", "AUDIO_RECORD", "LOAD_3D", "LOAD_3D_ANIMATION", "PREVIEW_3D", "IMAGEUPLOAD"),
        *("MARKDOWN", "TEXTAREA", "COLOR", "CURVE", "RANGE", "PAINTER", "BOUNDING_BOX", "IMAGECOMPARE"),
    }
)
DYNAMIC_COMBO, AUTOGROW = "COMFY_DYNAMICCOMBO_V3", "COMFY_AUTOGROW_V3"
_UPLOADS = ("image_upload", "video_upload", "audio_upload", "animated_image_upload", "mesh_upload")
_SEEDS = ("seed", "noise_seed")
#: Widgets that the browser adds to nodes of these classes, after the required ones; they are sent.
_ADDED: Mapping[str, str] = {"SaveGLB": "image", "Preview3D": "image", "Preview3DAnimation": "image"}
#: What only a browser can give, at the moment it queues.
CAPTURED = frozenset({"WEBCAM", "AUDIO_RECORD", "LOAD_3D", "LOAD_3D_ANIMATION"})
_MAX_NESTING = 8


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a class says that its widget may hold. Converting does not look at it; changing a value does.

    Attributes:
        minimum: exact, unlike ``WidgetSlot.low``: the largest seed is no double. So with ``maximum``.
        step: between two values of a number's arrows.
        choices: of a list; None when they are not known.
        is_picture: whether it names a picture in ComfyUI's input folder.
    """

    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[str | int | float | bool, ...] | None = None
    is_picture: bool = False


@dataclass(frozen=True, slots=True)
class WidgetSlot:
    """One entry of ``widgets_values``. ``is_sent`` is False for those that stay in the browser.

    ``default`` is what a widget holds when nothing is saved; ``has_default`` False means that there is no
    such value, and the input is left out. ``step``, ``round_to``, ``low`` and ``high`` are what the browser
    rounds a written number to. ``choices`` are the widgets and sockets that each value of a dynamic combo
    brings with it.
    """

    name: str
    type: str
    default: Any = None
    has_default: bool = True
    is_sent: bool = True
    is_text_area: bool = False
    has_choices: bool = False
    step: float | None = None
    round_to: float | None = None
    low: float | None = None
    high: float | None = None
    choices: Mapping[str, Inputs] = field(default_factory=dict)
    allowed: Allowed = field(default_factory=Allowed)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Sockets as (name, type), widget slots in the order of ``widgets_values``, and how old files counted.

    ``counted`` holds for each input that is a widget, or a socket by ``forceInput`` only: whether it is the
    latter, and the number of entries that it took in old files.
    """

    sockets: tuple[tuple[str, str], ...] = ()
    slots: tuple[WidgetSlot, ...] = ()
    counted: tuple[tuple[bool, int], ...] = ()


@dataclass(frozen=True, slots=True)
class NodeClass:
    """One node class: its inputs, the types of its outputs and its name on the screen."""

    name: str
    title: str
    inputs: Inputs
    outputs: tuple[str, ...]


def node_class(name: str, raw: Any) -> NodeClass | None:
    if not isinstance(raw, Mapping):
        return None
    given, order = _mapping(raw.get("input")), _mapping(raw.get("input_order"))
    outputs = raw.get("output")
    title = raw.get("display_name")
    return NodeClass(
        name,
        title if isinstance(title, str) and title else name,
        _inputs(given, order, name),
        tuple(kind if isinstance(kind, str) else "COMBO" for kind in outputs)
        if isinstance(outputs, list)
        else (),
    )


def _inputs(
    given: Mapping[str, Any], order: Mapping[str, Any], class_name: str = "", prefix: str = "", depth: int = 0
) -> Inputs:
    sockets: list[tuple[str, str]] = []
    slots: list[WidgetSlot] = []
    counted: list[tuple[bool, int]] = []
    for section in ("required", "optional"):
        uploads = False
        for name, kind, choices, options in _entries(given.get(section), order.get(section)):
            full = f"{prefix}{name}"
            forced = bool(options.get("forceInput"))
            if kind == AUTOGROW:
                continue  # its sockets are in the file, under their own names
            if forced or (kind not in WIDGET_TYPES and kind != DYNAMIC_COMBO):
                sockets.append((full, kind))
                if forced:
                    counted.append((True, 2 if _is_controlled(name, kind, options) else 1))
                continue
            new = list(_slots(full, name, kind, choices, options, depth))
            slots += new
            counted.append((False, 2 if _is_controlled(name, kind, options) else 1))
            uploads = uploads or any(options.get(flag) for flag in _UPLOADS)
        if section == "required" and class_name in _ADDED:
            slots.append(WidgetSlot(_ADDED[class_name], "PREVIEW_3D", default=""))
        if uploads:
            slots.append(WidgetSlot(f"{prefix}upload", "IMAGEUPLOAD", is_sent=False))
    return Inputs(tuple(sockets), tuple(slots), tuple(counted))


def _entries(section: Any, order: Any) -> Iterator[tuple[str, str, list[Any] | None, Mapping[str, Any]]]:
    """Name, type, options of a combo, and settings of each input; ``order`` says which is first."""
    section = _mapping(section)
    first = [name for name in order if name in section] if _is_names(order) else []
    for name in dict.fromkeys([*first, *section]):
        given = section[name]
        kind = given[0] if isinstance(given, list) and given else given
        options = _mapping(given[1]) if isinstance(given, list) and len(given) > 1 else {}
        if isinstance(kind, list):
            yield name, "COMBO", kind, options
        elif isinstance(kind, str):
            shown = options.get("widgetType")
            listed = options.get("options")
            yield (
                name,
                shown if isinstance(shown, str) else kind,
                listed if isinstance(listed, list) else None,
                options,
            )


def _slots(
    full: str, name: str, kind: str, choices: list[Any] | None, options: Mapping[str, Any], depth: int
) -> Iterator[WidgetSlot]:
    """The widget itself, and those that the browser puts behind it."""
    if kind == DYNAMIC_COMBO:
        brought = _brought(full, choices or [], depth)
        first = javascript.value(options.get("default", next(iter(brought), None)))
        yield WidgetSlot(
            full,
            "COMBO",
            default=first,
            has_default=bool(brought),
            choices=brought,
            allowed=Allowed(choices=_scalars(brought)),
        )
        return
    default, has_default = _default(kind, choices, options)
    step, round_to = _rounding(kind, options)
    yield WidgetSlot(
        full,
        kind,
        default=default,
        has_default=has_default,
        is_text_area=kind == "STRING" and bool(options.get("multiline")),
        has_choices=kind == "STRING" and bool(options.get("dynamicPrompts")),
        step=step,
        round_to=round_to,
        low=_number(options.get("min")),
        high=_number(options.get("max")),
        allowed=_allowed(kind, choices, options),
    )
    remote = _mapping(options.get("remote"))
    if remote.get("refresh_button"):
        yield WidgetSlot(f"{full} auto refresh", "BOOLEAN", is_sent=False)
        yield WidgetSlot("refresh", "BUTTON", default="refresh")
    if _is_controlled(name, kind, options):
        yield WidgetSlot(f"{full} control", "CONTROL", is_sent=False)
        if kind == "COMBO":
            yield WidgetSlot(f"{full} filter", "CONTROL", is_sent=False)


def _brought(full: str, choices: list[Any], depth: int) -> dict[str, Inputs]:
    found: dict[str, Inputs] = {}
    for choice in choices if depth < _MAX_NESTING else []:
        key = choice.get("key") if isinstance(choice, Mapping) else None
        if isinstance(key, str):
            given = _mapping(choice.get("inputs"))
            found[key] = _inputs(given, {}, prefix=f"{full}.", depth=depth + 1)
    return found


def _is_controlled(name: str, kind: str, options: Mapping[str, Any]) -> bool:
    if kind == "INT":
        return bool(options.get("control_after_generate", name in _SEEDS))
    return kind == "COMBO" and bool(options.get("control_after_generate"))


def _default(kind: str, choices: list[Any] | None, options: Mapping[str, Any]) -> tuple[Any, bool]:
    if "default" in options:
        return javascript.value(options["default"]), True
    if kind == "COMBO":
        return (javascript.value(choices[0]), True) if choices else (None, False)
    plain: Mapping[str, Any] = {"INT": 0, "FLOAT": 0, "STRING": "", "BOOLEAN": False}
    return plain.get(kind, ""), True


def _rounding(kind: str, options: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The step of whole numbers and the unit of others, as the browser rounds what is written by hand."""
    step = _number(options.get("step"))
    if kind == "INT":
        return step or 1, None
    if kind != "FLOAT" or options.get("round") is False:
        return None, None
    given = _number(options.get("round"))
    if given:
        return None, given
    return None, _unit(step or 0.5)


def _allowed(kind: str, choices: list[Any] | None, options: Mapping[str, Any]) -> Allowed:
    if kind in ("INT", "FLOAT"):
        low, high, step = (_exact(options.get(key)) for key in ("min", "max", "step"))
        return Allowed(low, high, step)
    if kind != "COMBO":
        return Allowed()
    # A widget can also list what ComfyUI made: nothing can be put there.
    is_picture = bool(options.get("image_upload")) and options.get("image_folder", "input") == "input"
    return Allowed(choices=_scalars(choices or ()), is_picture=is_picture)


def _exact(raw: Any) -> float | None:
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return raw if is_number and (isinstance(raw, int) or math.isfinite(raw)) else None


def _scalars(listed: Iterable[Any]) -> tuple[str | int | float | bool, ...] | None:
    """An empty list is one that is not known: it is filled when ComfyUI starts."""
    # Every loader lists the same files.
    found = (sys.intern(one) if type(one) is str else one for one in listed)
    return tuple(one for one in found if isinstance(one, str | int | float)) or None


def _unit(step: float) -> float:
    """The last decimal of a step: 0.01 for 0.05."""
    unit = 1.0
    while step < unit and unit > 1e-9:
        unit /= 10
    return round(unit, 9)


def _number(raw: Any) -> float | None:
    """A number to reckon with. One without an end, which some nodes have for a limit, is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _mapping(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _is_names(raw: Any) -> bool:
    return isinstance(raw, list) and all(isinstance(name, str) for name in raw)
