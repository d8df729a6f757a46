"""From a file to a workflow, in both its forms. File contents are untrusted."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from . import not_workflows
from .convert import CannotConvert, Converted, NodeCatalogue, Note, convert
from .convert.texts import Choose
from .embedded import Embedded, Kind, kind_of
from .embedded import look_into as look_into_texts
from .refusal import NotAWorkflow

_MAX_FILE = 64 * 1024 * 1024
#: More than any workflow has. Whatever walks through one (copying, writing) has a limit not far above.
_MAX_DEPTH = 100
_HEAD = 64
#: What is left of a web address that was taken for a path.
_ADDRESS = re.compile(r"(?:.*[\\/])?(?:https?|ftp):[\\/]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Workflow:
    """``prompt`` is the API format; ``ui`` the browser's form of it when the file had that too.

    ``warnings`` are of the conversion, when ``prompt`` was made from ``ui``.
    """

    name: str
    prompt: dict[str, dict[str, Any]]
    ui: dict[str, Any] | None = None
    warnings: tuple[Note, ...] = ()


class MissingNodes(NotAWorkflow):
    """A workflow in the browser's form with nodes that this ComfyUI does not know: ``types``, each once."""

    def __init__(self, name: str, notes: tuple[Note, ...]) -> None:
        self.notes = notes
        self.types = tuple(dict.fromkeys(note.node_type for note in notes))
        shown = ", ".join(self.types[:5]) + (
            f" and {len(self.types) - 5} more" if len(self.types) > 5 else ""
        )
        super().__init__(
            f"{name} needs other nodes",
            f"This ComfyUI does not have: {shown}.",
            f"{name} cannot be converted: this ComfyUI does not have {shown}.",
            hint="Install the custom nodes that bring them, or use 'Export (API)' where they are installed.",
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds: the API form, the browser's form, or both; never none.

    ``source`` is the kind of file: ``json``, ``png``, ``webp``, ``jpeg``, ``mp4`` and so on.
    """

    name: str
    prompt: dict[str, dict[str, Any]] | None
    ui: dict[str, Any] | None
    source: str
    file_name: str

    @property
    def is_ui_only(self) -> bool:
        """Whether it must be converted before it can run."""
        return self.prompt is None

    def converted(
        self, catalogue: NodeCatalogue, *, now: datetime | None = None, choose: Choose | None = None
    ) -> Workflow:
        """The workflow that runs: the file's own API form if it has one, else one made of the browser's.

        Takes some ten milliseconds.

        Raises:
            MissingNodes: for nodes that the catalogue does not have.
            NotAWorkflow: when it cannot be converted, or nothing in it would run.
        """
        if self.prompt is not None:
            return Workflow(self.name, self.prompt, self.ui)
        made = self._made(catalogue, now, choose)
        if made.missing:
            raise MissingNodes(self.file_name, made.missing)
        if not made.prompt:
            raise not_workflows.nothing_runs(self.file_name)
        return Workflow(self.name, made.prompt, self.ui, made.warnings)

    def _made(self, catalogue: NodeCatalogue, now: datetime | None, choose: Choose | None) -> Converted:
        try:
            return convert(self.ui or {}, catalogue, now=now, choose=choose)
        except CannotConvert as error:
            raise error.named(self.file_name) from error


def look_into(path: Path) -> Found:
    """Read what a file holds: JSON in either form, or a picture, video, sound or tensor file with either.

    Blocks, for a second at most: all sizes are bounded.

    Raises:
        NotAWorkflow: saying what was found and what is accepted.
    """
    name = path.name
    try:
        if not path.is_file():
            raise not_workflows.address(path) if _ADDRESS.match(str(path)) else not_workflows.no_file(path)
        with path.open("rb") as file:
            head, size = file.read(_HEAD), file.seek(0, 2)
        kind = kind_of(head, size)
        if kind is not None:
            return _from_texts(path, kind, look_into_texts(path, kind))
        if size > _MAX_FILE:
            raise not_workflows.too_large(name)
        content = path.read_bytes()
    except OSError as error:
        raise not_workflows.unreadable(path, error) from error
    return _from_json(path, content)


def _from_json(path: Path, content: bytes) -> Found:
    name = path.name
    if not content.strip():
        raise not_workflows.empty(name)
    text = content.decode("utf-8-sig", "replace")
    known = not_workflows.recognised(name, text)
    if known is not None:
        raise known
    raw = _json(text, name)
    _check_depth(raw, name)
    ui = _ui_beside(raw)
    if isinstance(raw, dict) and isinstance(raw.get("prompt"), dict) and "class_type" not in raw:
        raw = raw["prompt"]
    if _is_ui(raw):
        return Found(path.stem, None, raw, "json", name)
    return Found(path.stem, _checked(raw, name), ui, "json", name)


def _ui_beside(raw: Any) -> dict[str, Any] | None:
    """The browser's form that is posted along with a prompt."""
    for key in ("extra_data", "extra_pnginfo", "workflow"):
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw if _is_ui(raw) else None


def _from_texts(path: Path, kind: Kind, embedded: Embedded) -> Found:
    name, texts = path.name, embedded.texts
    ui = _ui_of(texts["workflow"]) if "workflow" in texts else None
    if "prompt" in texts:
        try:
            raw = _json(texts["prompt"], name)
            _check_depth(raw, name)
            return Found(path.stem, _checked(raw, name), ui, kind.name, name)
        except NotAWorkflow:
            if ui is None:
                raise
    if ui is not None:
        return Found(path.stem, None, ui, kind.name, name)
    if embedded.is_damaged:
        raise not_workflows.damaged(name, kind.noun)
    if "parameters" in texts:
        raise not_workflows.settings_only(name, kind.noun)
    raise not_workflows.nothing_embedded(name, kind.noun)


def _ui_of(text: str) -> dict[str, Any] | None:
    try:
        raw = _json(text, "")
        _check_depth(raw, "")
    except NotAWorkflow:
        return None
    return raw if _is_ui(raw) else None


def _is_ui(raw: Any) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("nodes"), list)


def _json(text: str, name: str) -> Any:
    """JSON; the NaN that old versions wrote is null, since nothing else would take it; so is 1e999."""
    try:
        return json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except RecursionError as error:
        raise not_workflows.too_deep(name) from error
    except ValueError as error:
        why = str(error)
        if isinstance(error, json.JSONDecodeError):
            why = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise not_workflows.no_json(name, why) from error


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


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
    raise not_workflows.too_deep(name)


def _checked(raw: Any, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, dict) or not raw:
        raise not_workflows.other_json(name)
    for node_id, node in raw.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise not_workflows.bad_node(name, f"{node_id!r} is no node with a 'class_type'.")
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise not_workflows.bad_node(name, f"the inputs of node {node_id!r} are no object.")
    return raw
