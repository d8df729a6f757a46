"""What a person entered for an input, as the input holds it, or a sentence that says why it cannot."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from decimal import Decimal

from ..errors import BadInput
from .convert import javascript
from .tuning import Scalar, Tunable

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_LONGEST_NUMBER = 400
_SWITCHES: Mapping[str, bool] = {
    **dict.fromkeys(("true", "on", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "no", "0"), False),
}
_MAX_COMPARED, _LONGEST_SHOWN = 5_000, 60


def checked(tunable: Tunable, value: Scalar) -> Scalar:
    """``value``, a text perhaps, as its input holds it.

    A number is written as a browser does it: 7.0 is 7. The step is no limit, for ComfyUI has none there.

    Raises:
        BadInput: with one sentence that says what the input may hold.
    """
    match tunable.kind:
        case "whole" | "number":
            return _number(tunable, value)
        case "switch":
            return _switch(tunable, value)
        case "choice":
            return _choice(tunable, value)
        case "picture":
            name = _as_text(value)
            if not name.strip():
                raise BadInput(f"{tunable.label} must be the name of a file.")
            return name
    return _as_text(value)


def _number(tunable: Tunable, value: Scalar) -> int | float:
    wanted = "a whole number" if tunable.kind == "whole" else "a number"
    exact = _exact(value)
    if exact is None or (tunable.kind == "whole" and exact != exact.to_integral_value()):
        raise BadInput(f"{tunable.label} must be {wanted}.")
    number: int | float = int(exact) if exact == exact.to_integral_value() else float(exact)
    if not _is_within(tunable, number):
        raise BadInput(f"{tunable.label} must be {_range(tunable)}.")
    if tunable.kind == "number" and isinstance(number, int):
        if abs(exact) > Decimal("1e308"):
            raise BadInput(f"{tunable.label} is too large.")
        number = javascript.number(number) or 0
    return number


def _exact(value: Scalar) -> Decimal | None:
    """A number or its text without what a double would lose; None for what is no number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        # Python writes no longer ones as a text.
        return Decimal(value) if abs(value) < 10**_LONGEST_NUMBER else None
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    text = value.strip()
    return Decimal(text) if len(text) <= _LONGEST_NUMBER and _NUMBER.fullmatch(text) else None


def _is_within(tunable: Tunable, number: int | float) -> bool:
    low, high = tunable.minimum, tunable.maximum
    return (low is None or number >= low) and (high is None or number <= high)


def _range(tunable: Tunable) -> str:
    low, high = (
        None if end is None else str(end) if isinstance(end, int) else javascript.text(end)
        for end in (tunable.minimum, tunable.maximum)
    )
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"{low} or more" if high is None else f"{high} or less"


def _switch(tunable: Tunable, value: Scalar) -> bool:
    if isinstance(value, bool):
        return value
    found = _SWITCHES.get(_as_text(value).strip().casefold())
    if found is None:
        raise BadInput(f"{tunable.label} must be on or off.")
    return found


def _choice(tunable: Tunable, value: Scalar) -> Scalar:
    """A choice by its value or its text; what the workflow holds already is never refused."""
    if tunable.choices is None:
        return value
    for one in (*tunable.choices, tunable.value):
        if type(one) is type(value) and one == value:
            return one
    text = _as_text(value)
    by_text = {_as_text(one): one for one in tunable.choices}
    if text in by_text:
        return by_text[text]
    raise BadInput(f"{tunable.label} cannot be {_short(text)!r}; {_instead(text, list(by_text))}.")


def _instead(text: str, choices: list[str]) -> str:
    by_key = {choice.casefold(): choice for choice in choices[:_MAX_COMPARED]}
    closest = difflib.get_close_matches(text[:_LONGEST_SHOWN].casefold(), by_key, n=1, cutoff=0.5)
    if closest:
        return f"the closest choice is {_short(by_key[closest[0]])!r}"
    some = ", ".join(map(_short, choices[:5]))
    return f"it can be {some}" + (f" and {len(choices) - 5} more" if len(choices) > 5 else "")


def _as_text(value: Scalar) -> str:
    return value if isinstance(value, str) else str(value) if type(value) is int else javascript.text(value)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
