"""Many jobs from one workflow: the same with other seeds, values, prompts or pictures.

Reads small files, and blocks for that; everything has a limit.
"""

from __future__ import annotations

import json
import math
import random as randomness
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from typing import Any

from worker.contract import safe_name

from ..errors import BadInput
from .collect import PICTURES, natural
from .convert import NodeCatalogue, javascript
from .edit import place_of
from .entered import checked
from .graph import Graph
from .inputs import is_so
from .tuning import Place, Scalar, Tunable, changed, known, prompts_of, seeds_of, tunables

#: Values of one axis.
_MAX_VALUES = 1_000
#: In bytes: of a file with prompts.
_MAX_TEXT = 1_000_000
_MAX_ENTRIES = 20_000
#: What every node takes for a seed; some have room for no more.
_SEEDS = 2**32
_LONGEST_SHOWN = 60
_NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})"
_RANGE = re.compile(rf"\s*({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?\s*")
#: One item of a list with what ends it; in quotes it may hold commas.
_ITEM = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")\s*(?=,|\Z)|([^,]*))(,|\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that varies. All its places get the same value.

    Attributes:
        places: (node, input) of each.
        files: the input files that values name, by name.
    """

    places: tuple[Place, ...]
    label: str
    values: tuple[Scalar, ...]
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Variation:
    """One job: its workflow, what is special about it (``seed 42 · cfg 6.5``), and its own input files."""

    prompt: dict[str, dict[str, Any]]
    label: str
    files: Mapping[str, Path] = field(default_factory=dict)


def variations(
    prompt: Mapping[str, Any], axes: Sequence[Axis], *, most: int = 1_000
) -> tuple[Variation, ...]:
    """The workflow with every combination of the axes' values; the first axis changes last.

    Without an axis there is one, unchanged and without a label.

    Raises:
        BadInput: when there are more than ``most``, when two axes change the same input, or when two
            pictures have one name.
    """
    seen: set[Place] = set()
    for place in (place for axis in axes for place in axis.places):
        if place in seen:
            raise BadInput(f"{place[0]}.{place[1]} is changed twice.")
        seen.add(place)
    count = math.prod(len(axis.values) for axis in axes)
    if count > most:
        raise BadInput(f"That makes {count} jobs; the most is {most}.")
    return tuple(_variation(prompt, axes, values) for values in product(*(axis.values for axis in axes)))


def _variation(prompt: Mapping[str, Any], axes: Sequence[Axis], values: tuple[Scalar, ...]) -> Variation:
    pairs = list(zip(axes, values, strict=True))
    files: dict[str, Path] = {}
    for axis, value in pairs:
        path = axis.files.get(value) if isinstance(value, str) else None
        if path is not None and files.setdefault(str(value), path) != path:
            raise BadInput(f"Two pictures are called {value!r}.", hint="Rename one of them.")
    changes = {place: value for axis, value in pairs for place in axis.places}
    label = " · ".join(f"{axis.label} {_shown(value)}".strip() for axis, value in pairs)
    return Variation(changed(prompt, changes), label, files)


def _shown(value: Scalar) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    text = " ".join(value.split()) if isinstance(value, str) else _written(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"


def _written(number: int | float) -> str:
    return str(number) if isinstance(number, int) else javascript.text(number)


# -- values that are written out -------------------------------------------------------------------------


def axis(prompt: Mapping[str, Any], text: str, catalogue: NodeCatalogue | None = None) -> Axis:
    """An axis from ``NODE.INPUT=VALUES``.

    NODE is a node's id, or its title or class when only one node has it. VALUES is a range,
    ``1..10``, ``10..1`` or ``1..2:0.25`` with a step, which has its end too when a step meets it; or a list,
    ``a,b,c``, whose items in double quotes may hold commas. An input that holds a text gets texts.

    Raises:
        BadInput: for an input that is not there, or a value that the catalogue says it cannot hold.
    """
    where, equals, values = text.partition("=")
    graph = Graph(prompt)
    place = place_of(
        {node: prompt[node] for node in graph},
        where if equals else "",
        given=text,
        form="NODE.INPUT=VALUES",
    )
    if not values.strip():
        raise BadInput(f"{text!r} names no values.")
    held = graph.inputs(place[0])[place[1]]
    found: Iterator[Scalar]
    numbers = _range(values)
    if numbers is None:
        found = _listed(values, keep_texts=isinstance(held, str))
    else:
        found = (_written(number) if isinstance(held, str) else number for number in numbers)
    made = tuple(islice(found, _MAX_VALUES + 1))
    if len(made) > _MAX_VALUES:
        raise BadInput(f"{where} has more than {_MAX_VALUES} values.")
    tunable = known(prompt, place, catalogue)
    if tunable is not None:
        made = tuple(checked(tunable, value) for value in made)
    return Axis((place,), place[1], made)


def _range(text: str) -> Iterator[int | float] | None:
    """The numbers of a range, counted in its smallest decimal so that none is off; None when it is none."""
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    digits = max(len(number.partition(".")[2]) for number in found.groups() if number is not None)
    unit = 10**digits
    start, end = (_units(number, digits) for number in found.group(1, 2))
    step = (unit if start <= end else -unit) if found[3] is None else _units(found[3], digits)
    if step == 0:
        raise BadInput(f"The step of {text.strip()} is 0.")
    if (end - start) * step < 0:
        raise BadInput(f"The step of {text.strip()} leads away from its end.")
    count = (end - start) // step + 1
    if count > _MAX_VALUES:
        raise BadInput(f"{text.strip()} makes {count} values; the most is {_MAX_VALUES}.")
    numbers = (start + n * step for n in range(count))
    return (number // unit if number % unit == 0 else number / unit for number in numbers)


def _units(number: str, digits: int) -> int:
    whole, _, part = number.partition(".")
    return int(f"{whole}{part.ljust(digits, '0')}")


def _listed(text: str, *, keep_texts: bool) -> Iterator[Scalar]:
    for found in _ITEM.finditer(text):
        quoted, plain, end = found.groups()
        if quoted is not None:
            yield _unquoted(quoted)
        else:
            plain = plain.strip()
            yield plain if keep_texts else _parsed(plain)
        if not end:
            return


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except ValueError:
        # A path with backslashes, perhaps.
        return quoted[1:-1]


def _parsed(text: str) -> Scalar:
    """A number or a switch as JSON writes it; anything else is a text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_scalar = isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_scalar else text


# -- seeds -----------------------------------------------------------------------------------------------


def seeds(prompt: Mapping[str, Any], count: int, *, random: randomness.Random | None = None) -> Axis:
    """``count`` different seeds, the workflow's own first; for every sampler that has that one.

    Raises:
        BadInput: for a workflow without a seed, and for no count from 1 to 1000.
    """
    if not 1 <= count <= _MAX_VALUES:
        raise BadInput(f"The number of seeds must be from 1 to {_MAX_VALUES}.")
    found = seeds_of(prompt)
    if not found:
        raise BadInput("The workflow has no seed that can be changed.")
    source = random if random is not None else randomness.Random()
    values = {found[0].value: None}
    while len(values) < count:
        values[source.randrange(_SEEDS)] = None
    return Axis(tuple(each.place for each in found if each.value == found[0].value), "seed", tuple(values))


# -- prompts ---------------------------------------------------------------------------------------------


def prompt_lines(prompt: Mapping[str, Any], path: Path) -> Axis:
    """A prompt for each line of a UTF-8 text file that is not empty. Blocks.

    They go into the main prompt, and into those of other samplers and encoders that hold the same text.

    Raises:
        BadInput: for a workflow without a prompt, and a file that is not there, no text, empty or too large.
    """
    found = prompts_of(prompt)
    if not found:
        raise BadInput("The workflow has no prompt that can be changed.")
    lines = [line for raw in re.split(r"\r\n|\r|\n", _text_of(path)) if (line := raw.strip())]
    if not lines:
        raise BadInput(f"{path.name} holds no prompts.")
    if len(lines) > _MAX_VALUES:
        raise BadInput(f"{path.name} holds {len(lines)} prompts; the most is {_MAX_VALUES}.")
    places = (each.place for each in found if each is found[0] or each.value == found[0].value)
    return Axis(tuple(places), "prompt", tuple(lines))


def _text_of(path: Path) -> str:
    if not is_so(path, Path.is_file):
        raise BadInput(f"The file {path} is not there.")
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TEXT + 1)
    except OSError as error:
        raise BadInput(f"The file {path} cannot be read ({error.strerror}).") from error
    if len(content) > _MAX_TEXT:
        raise BadInput(f"{path.name} is larger than 1 MB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path.name} is no UTF-8 text.") from error
    if "\0" in text:
        raise BadInput(f"{path.name} is no UTF-8 text.")
    return text


# -- pictures --------------------------------------------------------------------------------------------


def pictures(
    prompt: Mapping[str, Any],
    folder: Path,
    *,
    where: str | None = None,
    catalogue: NodeCatalogue | None = None,
) -> Axis:
    """Every picture that is directly in a folder, in natural order, as one input picture. Blocks.

    Hidden files, and links that lead out of the folder, are passed over.

    Args:
        where: ``NODE.INPUT`` of the picture; by default the first one.

    Raises:
        BadInput: for a workflow without such an input, and a folder that is not there or holds no pictures,
            too many, or one whose name not every system can have.
    """
    tunable = _picture_input(prompt, where, catalogue)
    found = sorted(_pictures_in(folder), key=natural)
    if not found:
        raise BadInput(f"There are no pictures in {folder}.")
    if len(found) > _MAX_VALUES:
        raise BadInput(f"There are {len(found)} pictures in {folder}; the most is {_MAX_VALUES}.")
    for path in found:
        try:
            safe_name(path.name)
        except ValueError as error:
            raise BadInput(str(error), hint="Rename it.") from error
    files = {path.name: path for path in found}
    return Axis((tunable.place,), "picture", tuple(files), files)


def _picture_input(prompt: Mapping[str, Any], where: str | None, catalogue: NodeCatalogue | None) -> Tunable:
    if where is None:
        first = next((each for each in tunables(prompt, catalogue) if each.kind == "picture"), None)
        if first is None:
            raise BadInput("The workflow has no input picture.")
        return first
    place = place_of({node: prompt[node] for node in Graph(prompt)}, where)
    chosen = next((each for each in tunables(prompt, catalogue) if each.place == place), None)
    # A custom node's input may be one, though nothing says so.
    if chosen is None or chosen.kind not in ("picture", "text"):
        raise BadInput(f"{where} is no input picture.")
    return chosen


def _pictures_in(folder: Path) -> Iterator[Path]:
    if not is_so(folder, Path.is_dir):
        raise BadInput(f"The folder {folder} is not there.")
    try:
        entries = list(islice(folder.iterdir(), _MAX_ENTRIES + 1))
        inside = folder.resolve()
    except OSError as error:
        raise BadInput(f"The folder {folder} cannot be read ({error.strerror}).") from error
    if len(entries) > _MAX_ENTRIES:
        raise BadInput(f"The folder {folder} holds more than {_MAX_ENTRIES} files.")
    for entry in entries:
        if entry.name.startswith(".") or entry.suffix.casefold() not in PICTURES:
            continue
        if is_so(entry, lambda path: path.resolve().is_relative_to(inside) and path.is_file()):
            yield entry
