"""What is wrong with a workflow, before it is run: one value per problem, and the failure made of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from .errors import JobError

ProblemKind = Literal[
    "unknown_node",
    "missing_model",
    "missing_input_file",
    "bad_option",
    "bad_value",
    "too_small",
    "too_large",
    "missing_input",
    "bad_link",
    "cycle",
    "bad_node",
    "no_outputs",
]
#: ComfyUI's own type and message for a problem.
_COMFYUI_WORDS = {
    "missing_model": ("value_not_in_list", "Value not in list"),
    "bad_option": ("value_not_in_list", "Value not in list"),
    "missing_input_file": ("custom_validation_failed", "Custom validation failed for node"),
    "bad_value": ("invalid_input_type", "Failed to convert an input value"),
    "too_small": ("value_smaller_than_min", "Value smaller than min"),
    "too_large": ("value_bigger_than_max", "Value bigger than max"),
    "missing_input": ("required_input_missing", "Required input is missing"),
    "bad_link": ("bad_linked_input", "Bad linked input"),
    "cycle": ("dependency_cycle", "Dependency cycle"),
}
#: Of a failure or an answer: what is beyond is only counted.
MOST_PROBLEMS = 100
_CLOSEST = 3
#: Comparing is slow, and nobody has so many models.
_MOST_COMPARED = 5000
_LONGEST_COMPARED = 300
_LONGEST_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of one input or node.

    ``certain`` is whether ComfyUI is known to refuse it too: a node may check its inputs itself, which
    ``/object_info`` does not tell. ``folder`` is where a missing file belongs, ``closest`` what is there.
    """

    kind: ProblemKind
    text: str
    node_id: str = ""
    class_type: str = ""
    title: str = ""
    input: str = ""
    wanted: Any = None
    closest: tuple[str, ...] = ()
    folder: str = ""
    certain: bool = True

    def to_json(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.__slots__}
        plain = self.wanted is None or isinstance(self.wanted, str | int | float)
        wanted = self.wanted if plain and len(str(self.wanted)) <= _LONGEST_COMPARED else shown(self.wanted)
        return values | {"wanted": wanted, "closest": list(self.closest)}


def refusal_of(problems: Sequence[Problem], *, node_errors: Mapping[str, Any] | None = None) -> JobError:
    """The failure of a job that has these problems, of which there is at least one.

    ``node_errors`` is ComfyUI's own answer, when it was asked; else the same is told in its form.
    """
    first = problems[0]
    summary, more = first.text, len(problems) - 1
    if more:
        summary = f"{summary.removesuffix('.')} (and {more} more {'problem' if more == 1 else 'problems'})."
    listed = [problem.to_json() for problem in problems[:MOST_PROBLEMS]]
    details: dict[str, Any] = {"problems": listed}
    if len(problems) > MOST_PROBLEMS:
        details["not_listed"] = len(problems) - MOST_PROBLEMS
    node = {"id": first.node_id, "class_type": first.class_type, "input": first.input or None}
    return JobError(
        "validation_failed",
        summary,
        hint=hint_of(first),
        details=details,
        node=node if first.node_id else None,
        node_errors=dict(node_errors) if node_errors else _as_comfyui_tells(problems[:MOST_PROBLEMS]) or None,
    )


def _as_comfyui_tells(problems: Sequence[Problem]) -> dict[str, Any]:
    """For clients that know ComfyUI's ``node_errors``. It has none for a type that it does not know."""
    told: dict[str, Any] = {}
    for problem in problems:
        kind, message = _COMFYUI_WORDS.get(problem.kind, ("", ""))
        if not kind or not problem.node_id:
            continue
        entry = told.setdefault(
            problem.node_id, {"class_type": problem.class_type, "errors": [], "dependent_outputs": []}
        )
        value = problem.to_json()["wanted"]
        details = problem.input if value is None else f"{problem.input}: {shown(value)}"
        extra = {"input_name": problem.input, "received_value": value}
        entry["errors"].append({"type": kind, "message": message, "details": details, "extra_info": extra})
    return told


def hint_of(problem: Problem) -> str:
    """What to do about it."""
    nearest = f" The closest that is there: {shown(problem.closest[0])}." if problem.closest else ""
    match problem.kind:
        case "unknown_node":
            hint = "Install the custom node that brings this type, or take the node out of the workflow."
        case "missing_model":
            hint = f"Put the file into {problem.folder}, or choose one that is there."
        case "missing_input_file":
            hint = "Send the file with the job, or name one that is there."
        case "bad_option":
            hint = "Choose a value that this ComfyUI offers."
        case "bad_value" | "too_small" | "too_large":
            hint = "Correct the value."
        case "missing_input":
            hint = "Connect or fill the input."
        case "bad_link" | "cycle":
            hint = "Connect the input anew, and export the workflow again."
        case "no_outputs":
            hint = "Add a node that saves or shows something."
        case "bad_node":
            hint = "Export the workflow again in API format."
    return hint + nearest


def shown(value: Any) -> str:
    """A value from outside within a sentence."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def closest(wanted: Any, available: Iterable[Any]) -> tuple[str, ...]:
    """The closest names: the same in another case, folder or with another ending first, then similar ones."""
    names = [name for name in available if isinstance(name, str)]
    if not isinstance(wanted, str) or len(wanted) > _LONGEST_COMPARED:
        return ()
    forms = (
        _folded,
        lambda name: PurePosixPath(_folded(name)).name,
        lambda name: PurePosixPath(_folded(name)).stem,
    )
    found: dict[str, None] = {}
    for form in forms:
        mine = form(wanted)
        found.update(dict.fromkeys(name for name in names if mine and form(name) == mine))
    if len(found) < _CLOSEST and len(names) <= _MOST_COMPARED:
        by_form: dict[str, str] = {}
        for name in names:
            by_form.setdefault(_folded(name), name)
        similar = difflib.get_close_matches(_folded(wanted), by_form, _CLOSEST)
        found.update(dict.fromkeys(by_form[name] for name in similar))
    return tuple(found)[:_CLOSEST]


def _folded(name: str) -> str:
    return name.replace("\\", "/").strip().casefold()
