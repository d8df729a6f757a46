"""Values as a browser reads and writes them: one kind of number, and its own way to text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

#: Whole numbers up to here are exact in a double.
_EXACT = 2**53
#: From here on a browser prints an exponent.
_EXPONENT = 1e21


def number(value: float) -> int | float | None:
    """A number after its way through a double: 512.0 is 512, what is not finite is null."""
    if isinstance(value, int):
        if -_EXACT <= value <= _EXACT:
            return value
        try:
            value = float(value)
        except OverflowError:
            return None
    if not math.isfinite(value):
        return None
    if value.is_integer() and abs(value) < _EXPONENT:
        return int(Decimal(repr(value)))
    return value


def value(raw: Any) -> Any:
    """A JSON value as ``JSON.stringify(JSON.parse(…))`` gives it; the given one is not changed.

    Depth is the caller's matter: files are checked for it when they are read.
    """
    if raw is None or isinstance(raw, bool | str):
        return raw
    if isinstance(raw, int | float):
        return number(raw)
    if isinstance(raw, Mapping):
        return {str(key): value(inner) for key, inner in raw.items()}
    if isinstance(raw, list | tuple):
        return [value(inner) for inner in raw]
    return str(raw)


def text(raw: Any) -> str:
    """A value as ``String(value)`` gives it."""
    if raw is None:
        return "null"
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, int | float):
        return _number_text(raw)
    if isinstance(raw, list | tuple):
        return ",".join("" if inner is None else text(inner) for inner in raw)
    return "[object Object]" if isinstance(raw, Mapping) else str(raw)


def _number_text(raw: float) -> str:
    known = number(raw)
    if known is None:
        return "NaN" if raw != raw else "Infinity" if raw > 0 else "-Infinity"
    if isinstance(known, int):
        return str(known)
    written = repr(known)
    digits, mark, exponent = written.partition("e")
    if not mark:
        return written
    power = int(exponent)
    if -7 < power < 0:
        return f"{Decimal(written):f}"
    return f"{digits.removesuffix('.0')}e{'+' if power > 0 else ''}{power}"


def half_up(raw: float) -> float:
    """``Math.round``: halves go up, also below zero. Python rounds them to even ones."""
    return float(math.floor(raw + 0.5)) if math.isfinite(raw) else raw


def index(raw: Any) -> int | None:
    """A position in a list, or None for what is none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    if isinstance(raw, float) and not raw.is_integer():
        return None
    return int(raw) if 0 <= raw < _EXACT else None


def key(raw: Any) -> str | None:
    """The id of a node or link as an object's key; ``1`` and ``"1"`` are one. None for what is no id."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    return _number_text(raw)


def weight(raw: Any) -> int:
    """How much a JSON value is, roughly: its letters, and twenty for each value, which takes longer."""
    if isinstance(raw, str):
        return len(raw) + 20
    if isinstance(raw, Mapping):
        return 20 + sum(len(name) + weight(inner) for name, inner in raw.items())
    if isinstance(raw, list | tuple):
        return 20 + sum(map(weight, raw))
    return 20


def members(raw: Any) -> int:
    """How many values there are in a JSON value, itself and all that are nested."""
    if isinstance(raw, Mapping):
        return 1 + sum(map(members, raw.values()))
    return 1 + sum(map(members, raw)) if isinstance(raw, list | tuple) else 1


def glance(raw: Any) -> Any:
    """``value`` for looking at only: lists and objects are the given ones, however large."""
    return raw if isinstance(raw, Mapping | list | tuple) else value(raw)
