"""What ComfyUI says when it does not take a workflow, as a failure that names the node and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .errors import JobError

#: Added to a hint when a part of the workflow could be run.
ALLOW_PARTIAL = " Or send 'allow_partial' to have the other outputs made."
_HINTS = {
    "value_not_in_list": "Choose a value this ComfyUI offers; a missing model must be there first.",
    "custom_validation_failed": "Send the file with the job, or name one in ComfyUI's input folder.",
    "required_input_missing": "Connect or fill the input.",
}


def refused(status: int, answer: Any) -> JobError:
    """The failure for an answer of ``POST /prompt`` other than 200."""
    error, node_errors = _object(_object(answer).get("error")), _object(_object(answer).get("node_errors"))
    if status != 400 or not error:
        return JobError(
            "comfyui_error",
            f"ComfyUI could not read the workflow: it answered with status {status}.",
            hint="The last log lines show the cause.",
            details=answer,
        )
    for node_id, entry in node_errors.items():
        problems = _object(entry).get("errors")
        for problem in problems if isinstance(problems, list) else []:
            return _node_refused(node_id, _object(entry), _object(problem), error, node_errors)
    hint = ""
    if error.get("type") == "invalid_prompt":
        hint = "Install the custom node that brings this type, or take the node out of the workflow."
    return JobError(
        "validation_failed",
        f"ComfyUI refused the workflow: {_said(error, ' ')}",
        hint=hint,
        details=error,
        node_errors=node_errors,
    )


def _node_refused(
    node_id: str,
    entry: Mapping[str, Any],
    problem: Mapping[str, Any],
    error: dict[str, Any],
    node_errors: dict[str, Any],
) -> JobError:
    class_type = str(entry.get("class_type") or "")
    return JobError(
        "validation_failed",
        f"ComfyUI refused the workflow: node {node_id} ({class_type}): {_said(problem)}.",
        hint=_HINTS.get(str(problem.get("type")), "Correct the node's input."),
        details=error,
        node={
            "id": node_id,
            "class_type": class_type,
            "input": _object(problem.get("extra_info")).get("input_name"),
        },
        node_errors=node_errors,
    )


def partly_refused(node_errors: dict[str, Any]) -> JobError:
    """The failure for a workflow of which ComfyUI would run a part only."""
    node_id, entry = next(iter(node_errors.items()))
    errors = _object(entry).get("errors")
    problem = _object(errors[0]) if isinstance(errors, list) and errors else {}
    failed = _node_refused(node_id, _object(entry), problem, {}, node_errors)
    failed.hint += ALLOW_PARTIAL
    return failed


def left_out(node_id: str, entry: object) -> str:
    """The warning about outputs that ComfyUI leaves out of a workflow that it runs otherwise."""
    errors = _object(entry).get("errors")
    first = _object(errors[0]) if isinstance(errors, list) and errors else {}
    return f"Outputs that depend on node {node_id} were left out. {_said(first)}".rstrip()


def _said(problem: Mapping[str, Any], between: str = ": ") -> str:
    return between.join(str(problem[key]) for key in ("message", "details") if problem.get(key))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
