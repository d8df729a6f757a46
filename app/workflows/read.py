"""From a file to an API-format workflow. File contents are untrusted."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from worker.contract import safe_name

from ..errors import BadInput

_MAX_FILE = 64 * 1024 * 1024
#: More than any workflow has. Whatever walks through one (copying, writing) has a limit not far above.
_MAX_DEPTH = 100
_ACCEPTED = "Give a workflow exported with 'Export (API)' (.json), or a .png that ComfyUI saved."
#: What Pillow raises for pictures that are none, or broken off, or bent at any place.
_DAMAGED = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    TypeError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Workflow:
    """``prompt`` is the API format; ``ui`` the browser's form of it when the file had that too."""

    name: str
    prompt: dict[str, dict[str, Any]]
    ui: dict[str, Any] | None = None


def read_workflow(path: Path) -> Workflow:
    """Read an API-format ``.json`` or a PNG with an embedded prompt. Blocks.

    Raises:
        BadInput: saying what was found and what is accepted.
    """
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "not there"
            raise BadInput(f"{path} is {found}.", hint=_ACCEPTED)
        if path.stat().st_size > _MAX_FILE:
            raise BadInput(f"{path.name} is larger than 64 MB, too large for a workflow.", hint=_ACCEPTED)
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.", hint=_ACCEPTED) from error
    if content.startswith(b"\x89PNG"):
        return _from_png(path)
    return _from_json(path, content)


def _from_json(path: Path, content: bytes) -> Workflow:
    raw = _json(content.decode("utf-8-sig", "replace"), path.name)
    _check_depth(raw, path.name)
    if isinstance(raw, dict) and isinstance(raw.get("prompt"), dict) and "class_type" not in raw:
        raw = raw["prompt"]
    return Workflow(path.stem, _checked(raw, path.name))


def _from_png(path: Path) -> Workflow:
    try:
        with Image.open(path) as image:
            image.load()
            texts = dict(getattr(image, "text", {}))
    except _DAMAGED as error:
        raise BadInput(f"{path.name} is a damaged picture.", hint=_ACCEPTED) from error
    if "prompt" not in texts:
        raise BadInput(f"{path.name} is a picture without an embedded workflow.", hint=_ACCEPTED)
    raw = _json(texts["prompt"], path.name)
    ui = _json(texts["workflow"], path.name) if "workflow" in texts else None
    _check_depth([raw, ui], path.name)
    prompt = _checked(raw, path.name)
    return Workflow(path.stem, prompt, ui if isinstance(ui, dict) else None)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BadInput(f"{name} is nested too deeply for a workflow.", hint=_ACCEPTED) from error
    except ValueError as error:
        raise BadInput(f"{name} is no workflow: it is not JSON ({error}).", hint=_ACCEPTED) from error


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
    raise BadInput(f"{name} is nested too deeply for a workflow.", hint=_ACCEPTED)


def _checked(raw: Any, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(raw, dict) or not raw:
        raise BadInput(f"{name} is JSON, but no workflow.", hint=_ACCEPTED)
    if isinstance(raw.get("nodes"), list):
        raise BadInput(
            f"{name} is in the browser's format, which cannot be run yet.",
            hint="In ComfyUI, choose 'Export (API)' and use that file.",
        )
    for node_id, node in raw.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise BadInput(
                f"{name} is no workflow: {node_id!r} is no node with a 'class_type'.", hint=_ACCEPTED
            )
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise BadInput(
                f"{name} is no workflow: the inputs of node {node_id!r} are no object.", hint=_ACCEPTED
            )
    return raw


def referenced(prompt: Mapping[str, Any]) -> set[str]:
    """All texts in the workflow that could name an input file, without their `` [input]`` mark."""
    return {
        value.removesuffix(" [input]")
        for node in prompt.values()
        for value in node.get("inputs", {}).values()
        if isinstance(value, str)
    }


def inputs_from(given: Iterable[str], prompt: Mapping[str, Any]) -> dict[str, Path]:
    """Input files by the name the workflow uses, from ``NAME=PATH`` and ``DIR`` arguments. Blocks.

    Of a folder those files are taken that the workflow names.

    Raises:
        BadInput: for a name that leaves its folder, or a file that is not there.
    """
    files: dict[str, Path] = {}
    names = referenced(prompt)
    for argument in given:
        folder = Path(argument)
        if _is(folder, Path.is_dir):
            files |= {name: folder / name for name in names if _is_file_below(folder, name)}
            continue
        name, separator, path = argument.partition("=")
        if not separator:
            raise BadInput(f"{argument!r} is no folder and not of the form NAME=PATH.")
        try:
            safe_name(name)
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not _is(Path(path), Path.is_file):
            raise BadInput(f"The input file {path} for {name!r} is not there.")
        files[name] = Path(path)
    return files


def _is_file_below(folder: Path, name: str) -> bool:
    try:
        path = folder.joinpath(*safe_name(name).parts)
    except ValueError:
        return False
    return _is(path, Path.is_file)


def _is(path: Path, what: Callable[[Path], bool]) -> bool:
    """``what`` of a path that may be any text, a prompt of ten thousand letters among them."""
    try:
        return what(path)
    except (OSError, ValueError):
        return False
