"""What is wrong with one node's inputs, judged as ComfyUI judges them and never more strictly.

ComfyUI leaves an input alone that the node's class checks itself, which its description does not tell. Of
ComfyUI's own nodes it is known; of all others such a problem is only suspected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from .object_info import COMBO, InputSpec, NodeSpec, ObjectInfo
from .places import MEDIA_SUFFIXES, MODEL_SUFFIXES, Folders, annotated, elsewhere, kind_of
from .problems import Problem, closest, shown

#: Core nodes which take any file that is there; the list of their options is not looked at.
_FILE_EXISTS = {
    ("LoadImage", "image"),
    ("LoadImageMask", "image"),
    ("LoadImageOutput", "image"),
    ("LoadAudio", "audio"),
    ("LoadVideo", "file"),
    ("LoadLatent", "latent"),
}
#: Core nodes that check this input themselves, in their own way.
_OWN_CHECK = {("LoadImageSetNode", "images"), ("LoadImageSetNode", "resize_method")}
#: The first version that checks new-style lists too.
_CHECKS_NEW_STYLE = (0, 6)
#: Types of outputs that some version of ComfyUI may let into a list.
_MAY_BE_CHOICES = {"STRING", "INT", "FLOAT", "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class Link:
    """``certain`` is whether ComfyUI is known to follow it."""

    node_id: str
    certain: bool


@dataclass(slots=True)
class Found:
    """What the look at one node brought. ``deadly``: a run that comes here would end ComfyUI's working."""

    problems: list[Problem] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    deadly: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a node is checked against. ``models`` are the names by kind, as far as they are known."""

    workflow: Mapping[str, Any]
    info: ObjectInfo
    folders: Folders
    models: Mapping[str, Sequence[str]]

    def spec_of(self, node_id: Any) -> NodeSpec | None:
        node = self.workflow.get(node_id) if isinstance(node_id, str) else None
        class_type = node.get("class_type") if isinstance(node, dict) else None
        return self.info.nodes.get(class_type) if isinstance(class_type, str) else None


def called(node_id: str, node: Mapping[str, Any]) -> str:
    """A node as sentences name it."""
    title, class_type = title_of(node), str(node.get("class_type"))[:100]
    return (
        f"Node {label(node_id)} ({class_type}{f', {title[:60]!r}' if title and title != class_type else ''})"
    )


def label(node_id: str) -> str:
    return " ".join(node_id[:40].split())


def title_of(node: Mapping[str, Any]) -> str:
    meta = node.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    return title if isinstance(title, str) else ""


def looked_at(node_id: str, spec: NodeSpec, around: Surroundings) -> Found:
    """All problems of one node whose type is known, and the links it has."""
    node = around.workflow[node_id]
    given, found = node.get("inputs"), Found()
    about = Problem("bad_node", "", node_id, str(node.get("class_type")), title_of(node))
    if not isinstance(given, dict):
        found.problems.append(replace(about, text=f"{called(node_id, node)} has no 'inputs'."))
        return found
    for name, input_spec in spec.inputs.items():
        if name in given:
            continue
        # Inputs that grow: theirs are called "name.first", and so on.
        grows = input_spec.type.startswith("COMFY_") and not input_spec.type.startswith("COMFY_MATCHTYPE")
        if input_spec.required and not grows:
            text = f"{called(node_id, node)} lacks its input {name!r}."
            found.problems.append(replace(about, kind="missing_input", text=text, input=name))
    for name, value in given.items():
        known = spec.inputs.get(name)
        if known is None:
            if _looks_like_link(value):
                if value[0] in around.workflow:
                    # Looked at only where it belongs to an input that grows.
                    found.links.append(Link(value[0], certain=False))
                else:
                    # ComfyUI would take it, follow it, and never again run anything.
                    found.deadly = True
                    at = f"{called(node_id, node)}, input {name!r}"
                    text = f"{at}: it is linked to node {shown(value[0])}, which is not there."
                    found.problems.append(
                        replace(about, kind="bad_link", text=text, input=str(name), wanted=value)
                    )
            continue
        here = replace(about, input=str(name), wanted=value)
        if isinstance(value, list):
            found.problems.extend(_link(here, value, known, spec, around, found))
        else:
            found.problems.extend(_value(here, value, known, spec, around))
    return found


def _looks_like_link(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int | float)
    )


def _link(
    about: Problem, value: list[Any], spec: InputSpec, node: NodeSpec, around: Surroundings, found: Found
) -> Iterator[Problem]:
    at = f"{called(about.node_id, around.workflow[about.node_id])}, input {about.input!r}"

    def bad(why: str, *, certain: bool = True) -> Problem:
        return replace(about, kind="bad_link", text=f"{at}: {why}.", certain=certain)

    if len(value) != 2:
        yield bad("a link is a list of a node and one of its outputs")
        return
    source, slot = value
    if not isinstance(source, str) or source not in around.workflow:
        yield bad(f"it is linked to node {shown(source)}, which is not there")
        return
    found.links.append(Link(source, certain=True))
    from_spec = around.spec_of(source)
    if from_spec is None or from_spec.outputs is None:
        return
    outputs = from_spec.outputs
    if not isinstance(slot, int):
        yield bad(f"it is linked to the output {shown(slot)} of node {label(source)}, which is no number")
    elif not -len(outputs) <= slot < len(outputs):
        # Some custom nodes have outputs that are not told.
        why = f"it is linked to output {shown(slot)} of node {label(source)}, which has {len(outputs)}"
        yield bad(why, certain=from_spec.core)
    elif not _fits(outputs[slot], spec.type):
        why = f"it takes {spec.type}, and is linked to {outputs[slot]} of node {label(source)}"
        yield bad(why, certain=from_spec.core and node.core)


def _fits(given: str, taken: str) -> bool:
    """Whether the types go together, as far as can be told: some are equal to everything."""
    if given == taken or not given or not taken or COMBO in given:
        return True
    if taken == COMBO:
        return given in _MAY_BE_CHOICES or "*" in given or "COMFY_" in given
    if "*" in given + taken or "COMFY_" in given + taken:
        return True
    return not {each.strip() for each in given.split(",")}.isdisjoint(
        each.strip() for each in taken.split(",")
    )


def _value(
    about: Problem, value: Any, spec: InputSpec, node: NodeSpec, around: Surroundings
) -> Iterator[Problem]:
    if isinstance(value, dict):
        if "__value__" not in value:
            return
        value = value["__value__"]
        about = replace(about, wanted=value)
    at = f"{called(about.node_id, around.workflow[about.node_id])}, input {about.input!r}"
    if spec.type in ("INT", "FLOAT"):
        try:
            number = int(value) if spec.type == "INT" else float(value)
        except (TypeError, ValueError, OverflowError):
            text = f"{at}: {shown(value)} is no number."
            yield replace(about, kind="bad_value", text=text)
            return
        if spec.low is not None and number < spec.low:
            text = f"{at}: the smallest value is {spec.low}, not {shown(value)}."
            yield replace(about, kind="too_small", text=text, certain=node.core)
        if spec.high is not None and number > spec.high:
            text = f"{at}: the largest value is {spec.high}, not {shown(value)}."
            yield replace(about, kind="too_large", text=text, certain=node.core)
    elif spec.type == COMBO:
        yield from _choice(about, value, spec, node, around, at)


def _choice(
    about: Problem, value: Any, spec: InputSpec, node: NodeSpec, around: Surroundings, at: str
) -> Iterator[Problem]:
    which = (about.class_type, about.input)
    if node.core and which in _FILE_EXISTS:
        if isinstance(value, str) and around.folders.lacks(value):
            yield _lacking(about, value, spec, at, certain=True)
        return
    if spec.options is None or isinstance(value, list | dict) or value in spec.options:
        return
    certain = node.core and not spec.upload and which not in _OWN_CHECK
    certain = certain and (spec.old_style or around.info.version >= _CHECKS_NEW_STYLE)
    suffix = PurePosixPath(annotated(value)[0]).suffix.lower() if isinstance(value, str) else ""
    kind = kind_of(*which, spec, around.models)
    if isinstance(value, str) and (kind is not None or suffix in MODEL_SUFFIXES):
        folder = f"models/{kind}" if kind else "models"
        text = f"{at}: the model {shown(value)} is not in {folder}{elsewhere(value, kind, around.models)}."
        near = closest(value, spec.options)
        yield replace(about, kind="missing_model", text=text, closest=near, folder=folder, certain=certain)
    elif isinstance(value, str) and (spec.upload or (suffix in MEDIA_SUFFIXES and not node.core)):
        if around.folders.lacks(value):
            yield _lacking(about, value, spec, at, certain=certain)
    else:
        text = f"{at}: {shown(value)} is none of its {len(spec.options)} options."
        yield replace(
            about, kind="bad_option", text=text, closest=closest(value, spec.options), certain=certain
        )


def _lacking(about: Problem, value: str, spec: InputSpec, at: str, *, certain: bool) -> Problem:
    folder = annotated(value)[1]
    return replace(
        about,
        kind="missing_input_file",
        text=f"{at}: the file {shown(value)} is not in ComfyUI's {folder} folder.",
        closest=closest(value, spec.options or ()),
        folder=folder,
        certain=certain,
    )
