"""Looking at a whole workflow before ComfyUI gets it: every problem at once, and no refusal that is false.

ComfyUI refuses a workflow with an unknown node anywhere, and one of whose output nodes none is valid. It
looks at nothing that no output node needs, and runs the valid part of the rest. So do we.

The panel examines workflows with this very module, before it sends them: one judge for both sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .node_check import Found, Surroundings, called, label, looked_at, title_of
from .object_info import InputSpec, NodeSpec, ObjectInfo, parsed
from .places import MODEL_SUFFIXES, Folders, annotated, kind_of
from .problems import Problem, closest, shown

__all__ = [
    "MODEL_SUFFIXES",
    "Folders",
    "InputSpec",
    "NodeSpec",
    "ObjectInfo",
    "Problem",
    "Verdict",
    "annotated",
    "examined",
    "kind_of",
    "parsed",
    "problems",
]


@dataclass(frozen=True, slots=True)
class Verdict:
    """``refused`` is whether ComfyUI is sure to refuse the workflow; the problems, certain ones first.

    ``partial`` is whether ComfyUI would run it and is sure to leave outputs out. Of a workflow that is
    neither, the problems are what may be wrong.
    """

    refused: bool
    problems: tuple[Problem, ...] = ()
    partial: bool = False


def problems(
    workflow: Mapping[str, Any],
    info: ObjectInfo,
    folders: Folders,
    models: Mapping[str, Sequence[str]] | None = None,
) -> list[Problem]:
    """Why ComfyUI would refuse the workflow; nothing when it would run it. Blocks: looks for input files."""
    verdict = examined(workflow, info, folders, models)
    return list(verdict.problems) if verdict.refused else []


def examined(
    workflow: Mapping[str, Any],
    info: ObjectInfo,
    folders: Folders,
    models: Mapping[str, Sequence[str]] | None = None,
) -> Verdict:
    """All that may be wrong, and whether that is enough for a refusal. Blocks: looks for input files.

    ``models`` are the names by kind; they say where a missing model belongs and where else it is.
    """
    around = Surroundings(workflow, info, folders, models or {})
    fatal, roots, outputs, elusive = _types(around)
    if not outputs and not fatal and not elusive:
        text = "The workflow has no node that saves or shows anything."
        return Verdict(True, (Problem("no_outputs", text),))
    seen = _reached(roots, around)
    cycles = _cycles(outputs, seen, around)
    for node_id, problem in cycles.items():
        seen[node_id].problems.append(problem)
    bad = _spread([each for each in seen if any(p.certain for p in seen[each].problems)], seen)
    # Other than a check, a run follows every link; and a deadly one spoils all outputs.
    deadly = _spread([each for each in seen if seen[each].deadly], seen, all_links=True)
    left = set(outputs) - (bad - deadly)
    refused = not elusive and (bool(fatal) or not left or not deadly.isdisjoint(left))
    partial = not elusive and not refused and len(left) < len(outputs)
    order = {node_id: number for number, node_id in enumerate(workflow)}
    listed = [problem for found in seen.values() for problem in found.problems]
    listed.sort(key=lambda problem: (not problem.certain, order[problem.node_id]))
    return Verdict(refused, (*fatal, *listed), partial)


def _types(around: Surroundings) -> tuple[list[Problem], list[str], list[str], bool]:
    """Nodes of unknown types; where to begin; the output nodes; whether a type cannot be judged."""
    fatal: list[Problem] = []
    roots: list[str] = []
    outputs: list[str] = []
    elusive = False
    for node_id, node in around.workflow.items():
        class_type = node.get("class_type") if isinstance(node, dict) else None
        spec = around.spec_of(node_id)
        if spec is not None:
            if spec.is_output:
                roots.append(node_id)
                outputs.append(node_id)
        elif isinstance(class_type, str) and class_type in around.info.elusive:
            elusive = True
        else:
            fatal.append(_unknown(node_id, node, class_type, around.info))
            roots.append(node_id)
    return fatal, roots, outputs, elusive


def _unknown(node_id: str, node: Any, class_type: Any, info: ObjectInfo) -> Problem:
    if not isinstance(class_type, str):
        text = f"Node {label(node_id)} has no type: what it was made with was missing when it was exported."
        return Problem("unknown_node", text, node_id)
    titled = title_of(node)
    near = closest(class_type, info.nodes)
    text = (
        f"Node {label(node_id)}{f' ({titled[:60]!r})' if titled else ''} is of the type {shown(class_type)}, "
    )
    text += "which this ComfyUI does not know."
    return Problem("unknown_node", text, node_id, class_type, titled, wanted=class_type, closest=near)


def _reached(roots: Sequence[str], around: Surroundings) -> dict[str, Found]:
    """Each node that is needed, with its problems."""
    seen: dict[str, Found] = {}
    waiting = list(reversed(roots))
    while waiting:
        node_id = waiting.pop()
        if node_id in seen:
            continue
        spec = around.spec_of(node_id)
        seen[node_id] = Found() if spec is None else looked_at(node_id, spec, around)
        if spec is not None:
            waiting.extend(link.node_id for link in seen[node_id].links)
        else:
            waiting.extend(_linked(around.workflow[node_id], around))
    return seen


def _linked(node: Any, around: Surroundings) -> list[str]:
    """What a node of unknown type seems to be linked to."""
    inputs = node.get("inputs") if isinstance(node, dict) else None
    values = inputs.values() if isinstance(inputs, dict) else ()
    pairs = [value for value in values if isinstance(value, list) and len(value) == 2]
    return [pair[0] for pair in pairs if isinstance(pair[0], str) and pair[0] in around.workflow]


def _cycles(outputs: Sequence[str], seen: Mapping[str, Found], around: Surroundings) -> dict[str, Problem]:
    """One problem for each way round, at the node where it closes."""
    found: dict[str, Problem] = {}
    done: set[str] = set()
    for root in outputs:
        path: dict[str, None] = {}
        steps = [(root, False)]
        while steps:
            node_id, leaving = steps.pop()
            if leaving:
                done.add(node_id)
                path.pop(node_id)
            elif node_id in path:
                closing = next(reversed(path))
                node = around.workflow[closing]
                about = Problem("cycle", "", closing, str(node.get("class_type")), title_of(node))
                text = f"{called(closing, node)} waits for its own result, by way of node {label(node_id)}."
                found.setdefault(closing, replace(about, text=text))
            elif node_id not in done:
                path[node_id] = None
                steps.append((node_id, True))
                links = [link.node_id for link in seen[node_id].links if link.certain]
                steps.extend((linked, False) for linked in links)
    return found


def _spread(bad: Sequence[str], seen: Mapping[str, Found], *, all_links: bool = False) -> set[str]:
    """The bad nodes, and all that need one of them."""
    users: dict[str, list[str]] = {}
    for node_id, found in seen.items() if bad else ():
        for link in found.links:
            if link.certain or all_links:
                users.setdefault(link.node_id, []).append(node_id)
    spread, waiting = set(bad), list(bad)
    while waiting:
        for user in users.get(waiting.pop(), ()):
            if user not in spread:
                spread.add(user)
                waiting.append(user)
    return spread
