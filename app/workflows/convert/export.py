"""The conversion itself: from the browser's form of a workflow to the form that ComfyUI runs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from . import javascript
from .catalogue import NodeCatalogue
from .classes import CAPTURED
from .frames import Frame, build
from .refusal import CannotConvert
from .resolve import Resolver
from .scheme import Kind, Node, Workflow
from .texts import Choose, chosen, with_tokens, without_comments
from .whole import read_workflow
from .widgets import Held, held_by, left_over

_NAMED_FILES = frozenset(
    {
        *("SaveImage", "SaveAnimatedWEBP", "SaveAnimatedPNG", "SaveWEBM", "SaveAudio", "SaveGLB"),
        *("SaveLatent", "CLIPSave", "VAESave", "ModelSave", "LoraSave"),
    }
)
_SR_NAME = "Node name for S&R"
#: Letters and values of a prompt, roughly; copies of one subgraph could multiply them without end.
_MAX_SIZE = 20_000_000


@dataclass(frozen=True, slots=True)
class Note:
    """Something about one node that the prompt does not show. ``node_id`` is its id in the prompt."""

    node_id: str
    node_type: str
    title: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Converted:
    """``prompt`` is the API form. Nodes of ``missing`` are in it without ``class_type``, as the browser
    writes them: ComfyUI refuses a prompt that has any. ``warnings`` are what a person may want to know.
    """

    prompt: dict[str, dict[str, Any]]
    missing: tuple[Note, ...] = ()
    warnings: tuple[Note, ...] = ()


def convert(
    ui: Mapping[str, Any],
    object_info: NodeCatalogue,
    *,
    now: datetime | None = None,
    choose: Choose | None = None,
) -> Converted:
    """Make the API form of a workflow in the browser's form (0.4 or 1), as frontend 1.58.1 does.

    ``ui`` is not changed, and nothing of it is shared with the result. ``now`` is the local time that goes
    into file names; ``choose`` picks one of n texts where a text offers several (by chance if not given).

    Raises:
        CannotConvert: when it is no workflow, or one whose subgraphs hold themselves or grow too large.
    """
    workflow = read_workflow(ui, object_info)
    return _Export(workflow, now or datetime.now().astimezone(), choose or random.randrange).run()


class _Export:
    """One conversion: the frames, and what has been found on the way."""

    def __init__(self, workflow: Workflow, now: datetime, choose: Choose) -> None:
        self._now, self._choose = now, choose
        self._top = build(workflow)
        self._resolver = Resolver()
        self._size = 0
        self._left_over: dict[int, tuple[tuple[str, Any], ...]] = {}
        self._missing: list[Note] = []
        self._warnings: list[Note] = []

    def run(self) -> Converted:
        prompt: dict[str, dict[str, Any]] = {}
        for frame in self._top.walk():
            self._check_ends(frame)
            for node in frame.graph.nodes.values():
                if node.is_active and node.kind in (Kind.REAL, Kind.UNKNOWN):
                    prompt[frame.prefix + node.id] = self._node(frame, node)
        return Converted(prompt, tuple(self._missing), tuple(self._warnings))

    def _node(self, frame: Frame, node: Node) -> dict[str, Any]:
        values = self._values(frame, node) if node.kind is Kind.REAL else self._of_unknown(frame, node)
        inputs: dict[str, Any] = {}
        for name, value in values:
            self._grow(frame, node, value)
            inputs[name] = {"__value__": value} if isinstance(value, list) else value
        for index, each in enumerate(node.inputs):
            found = self._resolver.source(frame, node, index)
            if found is not None:
                inputs[each.name] = [found.node, found.slot]
            elif each.link is not None and each.link not in frame.graph.links:
                self._warn(frame, node, f"Its input {each.name!r} is linked to nothing.")
        about = {"title": node.title}
        if node.kind is Kind.UNKNOWN:
            self._missing.append(Note(frame.prefix + node.id, node.type, node.title))
            return {"inputs": inputs, "_meta": about}
        return {"inputs": inputs, "class_type": node.type, "_meta": about}

    def _values(self, frame: Frame, node: Node) -> Iterator[tuple[str, Any]]:
        """The widgets that are sent, by name."""
        given, written = frame.values.get(node.id, {}), frame.written.get(node.id, {})
        for held in held_by(node):
            name = held.slot.name
            if not held.slot.is_sent:
                continue
            if held.slot.type in CAPTURED:
                self._warn(
                    frame, node, f"Its value {name!r} is made in the browser, at the time of queueing."
                )
            if name in given:
                yield name, javascript.value(given[name])
            elif name in written:
                yield name, self._sent(frame, node, held, javascript.value(written[name]))
            elif held.is_saved or held.slot.has_default:
                yield name, self._sent(frame, node, held, held.value)

    def _of_unknown(self, frame: Frame, node: Node) -> Iterator[tuple[str, Any]]:
        """What an unknown class leaves to say: the saved values, and what reaches it from outside."""
        if id(node) not in self._left_over:
            self._left_over[id(node)] = tuple(left_over(node.values))
        yield from self._left_over[id(node)]
        given = frame.values.get(node.id, {})
        for each in node.inputs if given else ():
            name = each.widget or each.name
            if each.link is not None and name in given:
                yield each.name, javascript.value(given[name])

    def _sent(self, frame: Frame, node: Node, held: Held, value: Any) -> Any:
        """A widget's value with the changes that the browser makes when it sends it."""
        slot = held.slot
        if slot.is_text_area and not isinstance(value, str):
            self._grow(frame, node, value)  # writing it as text takes longer than the text shows
            value = "" if value is None else javascript.text(value)
        if not isinstance(value, str):
            return value
        if slot.has_choices:
            return chosen(without_comments(value), self._choose)
        if slot.name == "filename_prefix" and node.type in _NAMED_FILES and "%" in value:
            return with_tokens(value, self._lookup, self._now)
        return value

    def _lookup(self, name: str, widget: str) -> str | None:
        """The value of the first node's widget that ``%name.widget%`` means."""
        by_name, by_title = self._named
        found = by_name.get(name) or by_title.get(name)
        if found is None:
            return None
        frame, node = found
        held = node.held.get(widget)
        if held is None:
            return None
        given, written = frame.values.get(node.id, {}), frame.written.get(node.id, {})
        value = given.get(widget, written.get(widget, held.value))
        return "" if value is None else javascript.text(value)

    @cached_property
    def _named(self) -> tuple[dict[str, tuple[Frame, Node]], dict[str, tuple[Frame, Node]]]:
        """The first node of each name for search and replace, and of each title."""
        by_name: dict[str, tuple[Frame, Node]] = {}
        by_title: dict[str, tuple[Frame, Node]] = {}
        for frame in self._top.walk():
            for node in frame.graph.nodes.values():
                name = node.properties.get(_SR_NAME)
                if isinstance(name, str):
                    by_name.setdefault(name, (frame, node))
                by_title.setdefault(node.title, (frame, node))
        return by_name, by_title

    def _check_ends(self, frame: Frame) -> None:
        """A group node loses the links to the reroutes inside it; the browser does not say so."""
        for child in frame.children.values():
            node = child.instance
            if node is None or child.graph.promoted is None:
                continue
            for each in node.inputs:
                if each.link is not None and child.graph.input_index(each.name) is None:
                    self._warn(frame, node, f"Its input {each.name!r} leads to nothing inside the group.")

    def _warn(self, frame: Frame, node: Node, text: str) -> None:
        self._warnings.append(Note(frame.prefix + node.id, node.type, node.title, text))

    def _grow(self, frame: Frame, node: Node, value: Any) -> None:
        self._size += javascript.weight(value)
        if self._size > _MAX_SIZE:
            raise CannotConvert(
                "It grows too large", reason="size", node_id=frame.prefix + node.id, node_type=node.type
            )
