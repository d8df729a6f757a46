"""The inputs of a workflow that people change: which there are, what they may hold, and changing them."""

from __future__ import annotations

import copy
import math
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, Literal, TypeGuard

from ..errors import BadInput
from .collect import PICTURES
from .conditioning import text_places
from .convert import NodeCatalogue
from .convert.classes import Allowed, WidgetSlot
from .expect import output_nodes
from .graph import Graph
from .inputs import is_input_name
from .parameters import (
    MODEL_NAMES,
    before,
    first_sampler,
    guide_of,
    is_sampler,
    method_node,
    model_nodes,
    schedule_nodes,
    seed_inputs,
    service,
)

Kind = Literal["text", "lines", "whole", "number", "choice", "switch", "picture"]
Scalar = str | int | float | bool
#: A node's id and the name of one of its inputs.
Place = tuple[str, str]

#: A primitive that hands on another one's value, and so on: how far we follow.
_MAX_HOPS = 20
#: Far more than any workflow has; what is beyond is not offered.
_MAX_INPUTS, _MAX_WIDGETS, _MAX_TUNABLES, _MAX_NAMES = 200, 2_000, 20_000, 20
_KINDS: Mapping[str, Kind] = {"INT": "whole", "FLOAT": "number", "BOOLEAN": "switch", "STRING": "text"}
#: A prompt writes 1.0 as 1. By these names a whole number is one of the other sort.
_FRACTIONS = re.compile(
    r"cfg|denoise|strength|guidance|weight|ratio|scale|shift|factor|percent|opacity", re.I
)
_CHOICES = frozenset({"Model", "LoRA", "Sampler", "Scheduler"})
_ELSEWHERE = (" [output]", " [temp]")
#: Labels, and the inputs that they may be.
_OF_SERVICE = (
    ("Prompt", "prompt", "prompt_text"),
    ("Negative prompt", "negative_prompt"),
    ("Model", "model"),
)
_SIZES = (("Width", "width"), ("Height", "height"), ("Batch size", "batch_size"))
#: Of these there can be several; the others are told apart by their nodes' titles.
_NUMBERED = frozenset({"Prompt", "Negative prompt", "Seed", "Picture"})


@dataclass(frozen=True, slots=True)
class Tunable:
    """One input that can be changed.

    Attributes:
        title: the node's own, else its class.
        label: what people call it, as ``Steps``; the input's name when it is not one of the main ones.
        kind: ``lines`` is a text of several lines, ``picture`` the name of a picture in the input folder.
        value: what the workflow holds.
        minimum, maximum, step: of numbers; None when there is none or it is not known.
        choices: None when they are not known.
        is_main: whether it is one of those that most people look for.
    """

    node_id: str
    input: str
    class_type: str
    title: str
    label: str
    kind: Kind
    value: Scalar
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: tuple[Scalar, ...] | None = None
    is_main: bool = False

    @property
    def where(self) -> str:
        return f"{self.node_id}.{self.input}"

    @property
    def place(self) -> Place:
        return self.node_id, self.input


def tunables(prompt: Mapping[str, Any], catalogue: NodeCatalogue | None = None) -> tuple[Tunable, ...]:
    """Every input that holds a text, a number or a switch; the main ones first. Never raises.

    The main ones come in the order Prompt, Negative prompt, Model, LoRA with its strength, Seed, Steps, CFG,
    Sampler, Scheduler, Denoise, Width, Height, Batch size, Picture; all but seeds and pictures of the first
    sampler behind the results. A second prompt, seed or picture has its input or title behind its label.
    The others come in the workflow's order.

    Args:
        catalogue: says what an input may hold. An input that it does not know is judged by its value.
    """
    workflow = _Workflow(prompt, catalogue)
    main = {tunable.place: tunable for tunable in workflow.main()}
    others = (workflow.tunable(place) for place in workflow.places() if place not in main)
    return (*main.values(), *islice(others, _MAX_TUNABLES))


def known(prompt: Mapping[str, Any], place: Place, catalogue: NodeCatalogue | None) -> Tunable | None:
    """What a catalogue says of one input, be it linked now or not; None when it does not know it."""
    workflow = _Workflow(prompt, catalogue)
    return None if workflow.slot(place) is None else workflow.tunable(place)


def seeds_of(prompt: Mapping[str, Any]) -> tuple[Tunable, ...]:
    """The seeds of all samplers, that of the first one first. Never raises."""
    workflow = _Workflow(prompt, None)
    return tuple(workflow.tunable(place, "Seed") for place in dict.fromkeys(_seeds(workflow.graph)))


def prompts_of(prompt: Mapping[str, Any]) -> tuple[Tunable, ...]:
    """The prompts of all samplers, the main one first. Never raises."""
    workflow = _Workflow(prompt, None)
    return tuple(workflow.tunable(place, "Prompt") for place in dict.fromkeys(_prompts(workflow.graph)))


def changed(prompt: Mapping[str, Any], changes: Mapping[Place, Scalar]) -> dict[str, dict[str, Any]]:
    """A copy of the workflow with other values in it; a value takes the place of a link, too.

    Raises:
        BadInput: for a node or an input that is not there.
    """
    result: dict[str, dict[str, Any]] = copy.deepcopy(dict(prompt))
    for (node_id, key), value in changes.items():
        node = result.get(node_id)
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            raise BadInput(f"The workflow has no node {node_id!r}.")
        if key not in inputs:
            raise BadInput(f"Node {node_id!r} has no input {key!r}.")
        inputs[key] = value
    return result


def _is_scalar(value: Any) -> TypeGuard[Scalar]:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


# -- one workflow ----------------------------------------------------------------------------------------


class _Workflow:
    """A prompt with what a catalogue says of its inputs."""

    def __init__(self, prompt: Mapping[str, Any], catalogue: NodeCatalogue | None) -> None:
        self.graph = Graph(prompt)
        self._prompt = prompt
        self._catalogue = catalogue
        self._slots: dict[str, dict[str, WidgetSlot]] = {}

    def main(self) -> Iterator[Tunable]:
        """Those of the sampler, then the pictures; each place once."""
        seen: dict[Place, None] = {}
        first: dict[str, Place] = {}
        for label, place in (*_main(self.graph), *(("Picture", place) for place in self._pictures())):
            if place in seen:
                continue
            seen[place] = None
            one = first.setdefault(label, place)
            shown = label
            if one != place and label in _NUMBERED:
                shown = f"{label} ({place[1] if one[0] == place[0] else self._title(place[0])})"
            yield self.tunable(place, label, shown)

    def places(self) -> Iterator[Place]:
        """Every input that holds a value, in the workflow's order."""
        for node in self.graph:
            for key, value in islice(self.graph.inputs(node).items(), _MAX_INPUTS):
                if isinstance(key, str) and key and _is_scalar(value):
                    yield node, key

    def tunable(self, place: Place, main: str = "", label: str = "") -> Tunable:
        """``main`` is its label among the main ones, when it is one."""
        node, key = place
        held = self.graph.inputs(node).get(key)
        value = held if _is_scalar(held) else ""
        slot = self.slot(place)
        kind = self._kind(place, value, main)
        allowed = Allowed() if slot is None else slot.allowed
        return Tunable(
            node_id=node,
            input=key,
            class_type=self.graph.kind(node),
            title=self._title(node),
            label=label or main or key,
            kind=kind,
            value=value,
            minimum=allowed.minimum,
            maximum=allowed.maximum,
            step=allowed.step,
            choices=allowed.choices,
            is_main=bool(main),
        )

    def slot(self, place: Place) -> WidgetSlot | None:
        node, key = place
        if node not in self._slots:
            self._slots[node] = dict(self._slots_of(node))
        return self._slots[node].get(key)

    def _slots_of(self, node: str) -> Iterator[tuple[str, WidgetSlot]]:
        """With those that the values of dynamic lists bring with them."""
        node_class = None if self._catalogue is None else self._catalogue.get(self.graph.kind(node))
        waiting = deque(node_class.inputs.slots if node_class is not None else ())
        for _ in range(_MAX_WIDGETS):
            if not waiting:
                return
            slot = waiting.popleft()
            if slot.is_sent:
                yield slot.name, slot
            chosen = self.graph.inputs(node).get(slot.name)
            brought = slot.choices.get(chosen) if isinstance(chosen, str) else None
            waiting.extend(brought.slots if brought is not None else ())

    def _kind(self, place: Place, value: Scalar, main: str) -> Kind:
        slot = self.slot(place)
        if slot is not None and slot.type == "COMBO":
            return "picture" if slot.allowed.is_picture else "choice"
        if slot is not None and slot.type == "STRING" and slot.is_text_area:
            return "lines"
        if slot is not None and slot.type in _KINDS:
            return _KINDS[slot.type]
        if isinstance(value, str) and slot is None and self._is_picture(place, value):
            return "picture"
        return _guessed(place[1], value, main)

    def _is_picture(self, place: Place, value: str) -> bool:
        """Whether the name of an input and its value say that it is a picture."""
        kind, key = self.graph.kind(place[0]), place[1].casefold()
        if kind in ("LoadImage", "LoadImageMask"):
            return key == "image"
        name = value.removesuffix(" [input]")
        return (
            "load" in kind.casefold()
            and "image" in key
            and not value.endswith(_ELSEWHERE)
            and is_input_name(name)
            and PurePosixPath(name).suffix.casefold() in PICTURES
        )

    def _pictures(self) -> Iterator[Place]:
        """Of the pictures that go into the results, or of all when there are none."""
        results = output_nodes(self.graph)
        behind = set(self.graph.upstream(results, lambda _: False)) if results else set(self.graph)
        for place in self.places():
            value = self.graph.inputs(place[0])[place[1]]
            if place[0] in behind and isinstance(value, str) and self._kind(place, value, "") == "picture":
                yield place

    def _title(self, node: str) -> str:
        about = self._prompt[node].get("_meta")
        title = about.get("title") if isinstance(about, Mapping) else None
        return title if isinstance(title, str) and title.strip() else self.graph.kind(node)


def _guessed(key: str, value: Scalar, main: str) -> Kind:
    if isinstance(value, bool):
        return "switch"
    if isinstance(value, str):
        if main in _CHOICES:
            return "choice"
        return "lines" if main in ("Prompt", "Negative prompt") or "\n" in value else "text"
    if isinstance(value, float) or (main != "Seed" and _FRACTIONS.search(key)):
        return "number"
    return "whole"


# -- the main ones ---------------------------------------------------------------------------------------


def _main(graph: Graph) -> Iterator[tuple[str, Place]]:
    """The labels and places of the main inputs in their order; a place may come twice."""
    sampler, asked = first_sampler(graph), service(graph)
    if sampler is not None:
        yield from _of_sampler(graph, sampler)
    elif asked is not None:
        # A service's node has all in its own inputs.
        for label, *keys in _OF_SERVICE:
            yield from ((label, place) for key in keys for place in _held(graph, asked, key, str))
        yield from (("Seed", place) for place in _seeds(graph))
    yield from _size(graph, [sampler] if sampler is not None else output_nodes(graph))


def _of_sampler(graph: Graph, sampler: str) -> Iterator[tuple[str, Place]]:
    guide = guide_of(graph, sampler)
    yield from (("Prompt", place) for place in text_places(graph, guide, "positive"))
    yield from (("Negative prompt", place) for place in text_places(graph, guide, "negative"))
    nodes = list(model_nodes(graph, sampler))
    models = [place for node in nodes for place in _first(graph, [node], MODEL_NAMES, str)]
    yield from (("Model", place) for place in models[:_MAX_NAMES])
    # In the order in which they are applied.
    loras = [node for node in nodes if any(_held(graph, node, "lora_name", str))][:_MAX_NAMES]
    for node in reversed(loras):
        yield from (("LoRA", place) for place in _held(graph, node, "lora_name", str))
        yield from (("LoRA strength", place) for place in _held(graph, node, "strength_model", float))
    yield from (("Seed", place) for place in _seeds(graph))
    timed = (node for node in schedule_nodes(graph, sampler) if any(_held(graph, node, "steps", int)))
    schedule = next(timed, sampler)
    yield from (("Steps", place) for place in _held(graph, schedule, "steps", int))
    yield from (("CFG", place) for place in _first(graph, [guide, sampler], ["cfg"], float))
    method = method_node(graph, sampler)
    yield from (("Sampler", place) for place in _held(graph, method, "sampler_name", str))
    yield from (("Scheduler", place) for place in _held(graph, schedule, "scheduler", str))
    yield from (("Denoise", place) for place in _held(graph, schedule, "denoise", float))


def _size(graph: Graph, starts: list[str]) -> Iterator[tuple[str, Place]]:
    """Of the nearest node before the sampler that has a size of its own."""
    for start in starts:
        node, seen = before(graph, start), {start}
        while node is not None and node not in seen:
            seen.add(node)
            if any(key in graph.inputs(node) for key in ("width", "height")):
                for label, key in _SIZES:
                    yield from ((label, place) for place in _held(graph, node, key, int))
                return
            node = before(graph, node)


def _samplers(graph: Graph) -> list[str]:
    """All of them, that which decides what is seen first; without one, the service that is asked."""
    first = first_sampler(graph)
    if first is None:
        asked = service(graph)
        return [] if asked is None else [asked]
    return [first, *(node for node in graph if node != first and is_sampler(graph, node))]


def _seeds(graph: Graph) -> Iterator[Place]:
    for number, node in enumerate(_samplers(graph)):
        # One that adds no noise has no use for its seed.
        if number == 0 or graph.value(node, "add_noise") not in ("disable", False):
            seeds = (place for at, key in seed_inputs(graph, node) for place in _held(graph, at, key, int))
            yield from islice(seeds, 1)


def _prompts(graph: Graph) -> Iterator[Place]:
    is_service = first_sampler(graph) is None
    for node in _samplers(graph):
        if is_service:
            yield from (place for key in _OF_SERVICE[0][1:] for place in _held(graph, node, key, str))
        else:
            yield from text_places(graph, guide_of(graph, node), "positive")


def _first(graph: Graph, nodes: Sequence[str], keys: Sequence[str], kind: type) -> Iterator[Place]:
    return islice((place for node in nodes for key in keys for place in _held(graph, node, key, kind)), 1)


def _held(graph: Graph, node: str, key: str, kind: type) -> Iterator[Place]:
    """Where the value of an input is written: there, or in the node behind its link that holds it.

    Nothing when it is none of this kind; ``float`` takes whole numbers as well.
    """
    for _ in range(_MAX_HOPS):
        link = graph.link(node, key)
        if link is None:
            value = graph.inputs(node).get(key)
            if _is_scalar(value) and (type(value) is kind or (kind is float and type(value) is int)):
                yield node, key
            return
        inputs = graph.inputs(link.node)
        names = [name for name in ("value", key) if name in inputs]
        if not names and len(inputs) == 1:
            # A primitive of a custom node.
            names = [name for name in inputs if isinstance(name, str) and name]
        if not names:
            return
        node, key = link.node, names[0]
