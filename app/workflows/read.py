"""From a file to an API-format workflow. File contents are untrusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .pictures import embedded, is_picture
from .refusal import ACCEPTED, NotAWorkflow

_MAX_FILE = 64 * 1024 * 1024
#: More than any workflow has. Whatever walks through one (copying, writing) has a limit not far above.
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Workflow:
    """``prompt`` is the API format; ``ui`` the browser's form of it when the file had that too."""

    name: str
    prompt: dict[str, dict[str, Any]]
    ui: dict[str, Any] | None = None


def read_workflow(path: Path) -> Workflow:
    """Read an API-format ``.json``, or a PNG or WebP with an embedded prompt. Blocks.

    Raises:
        NotAWorkflow: saying what was found and what is accepted.
    """
    name = path.name
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "not there"
            raise NotAWorkflow(f"{name} is {found}", ACCEPTED, f"{path} is {found}.")
        if path.stat().st_size > _MAX_FILE:
            text = f"{name} is larger than 64 MB, too large for a workflow."
            raise NotAWorkflow(f"{name} is too large", "No workflow is larger than 64 MB.", text)
        content = path.read_bytes()
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}."
        raise NotAWorkflow(f"{name} cannot be read", f"{error.strerror}.", text) from error
    return _from_picture(path) if is_picture(content) else _from_json(path, content)


def _from_json(path: Path, content: bytes) -> Workflow:
    if not content.strip():
        raise NotAWorkflow(
            f"{path.name} is empty", "There is nothing in it.", f"{path.name} is no workflow: it is empty."
        )
    raw = _json(content.decode("utf-8-sig", "replace"), path.name)
    _check_depth(raw, path.name)
    if isinstance(raw, dict) and isinstance(raw.get("prompt"), dict) and "class_type" not in raw:
        raw = raw["prompt"]
    return Workflow(path.stem, _checked(raw, path.name))


def _from_picture(path: Path) -> Workflow:
    name, texts = path.name, embedded(path)
    if "prompt" not in texts:
        raise NotAWorkflow(
            f"No workflow in {name}",
            "ComfyUI pictures carry one. This picture has none.",
            f"{name} is a picture without an embedded workflow.",
        )
    raw = _json(texts["prompt"], name)
    ui = _json(texts["workflow"], name) if "workflow" in texts else None
    _check_depth([raw, ui], name)
    prompt = _checked(raw, name)
    return Workflow(path.stem, prompt, ui if isinstance(ui, dict) else None)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep(name) from error
    except ValueError as error:
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise NotAWorkflow(
            f"{name} is not a workflow",
            f"It is not JSON ({why}).",
            f"{name} is no workflow: it is not JSON ({why}).",
        ) from error


def _too_deep(name: str) -> NotAWorkflow:
    text = f"{name} is nested too deeply for a workflow."
    return NotAWorkflow(f"{name} is not a workflow", "It is nested too deeply for one.", text)


def _check_depth(raw: Any, name: str) -> None:
    level = [raw]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep(name)


def _checked(raw: Any, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, dict) or not raw:
        raise NotAWorkflow(
            f"{name} is not a workflow", "It is JSON, but no workflow.", f"{name} is JSON, but no workflow."
        )
    if isinstance(raw.get("nodes"), list):
        hint = "In ComfyUI, choose 'Export (API)' and use that file."
        raise NotAWorkflow(
            f"{name} is in the browser's format",
            f"That cannot be run yet. {hint}",
            f"{name} is in the browser's format, which cannot be run yet.",
            hint=hint,
        )
    for node_id, node in raw.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise _bad_node(name, f"{node_id!r} is no node with a 'class_type'.")
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise _bad_node(name, f"the inputs of node {node_id!r} are no object.")
    return raw


def _bad_node(name: str, why: str) -> NotAWorkflow:
    return NotAWorkflow(
        f"{name} is not a workflow", f"{why[0].upper()}{why[1:]}", f"{name} is no workflow: {why}"
    )
