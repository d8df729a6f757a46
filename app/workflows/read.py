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
_ACCEPTED = "Give a workflow exported with 'Export (API)' (.json), or a .png or .webp that ComfyUI saved."
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


class NotAWorkflow(BadInput):
    """A file that holds no workflow that can be run.

    Args:
        title: what is wrong in a few words, with the file's name.
        text: one or two sentences more.
    """

    def __init__(self, title: str, text: str, summary: str, *, hint: str = _ACCEPTED) -> None:
        super().__init__(summary, hint=hint)
        self.title = title
        self.text = text


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
            raise NotAWorkflow(f"{name} is {found}", _ACCEPTED, f"{path} is {found}.")
        if path.stat().st_size > _MAX_FILE:
            text = f"{name} is larger than 64 MB, too large for a workflow."
            raise NotAWorkflow(f"{name} is too large", "No workflow is larger than 64 MB.", text)
        content = path.read_bytes()
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}."
        raise NotAWorkflow(f"{name} cannot be read", f"{error.strerror}.", text) from error
    for begins, read in _PICTURES:
        if begins(content):
            return read(path)
    return _from_json(path, content)


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


def _from_png(path: Path) -> Workflow:
    def texts(image: Image.Image) -> dict[str, str]:
        image.load()
        return dict(getattr(image, "text", {}))

    return _from_picture(path, texts)


def _from_webp(path: Path) -> Workflow:
    """ComfyUI writes ``prompt:{…}`` and ``workflow:{…}`` into texts of the Exif data."""

    def texts(image: Image.Image) -> dict[str, str]:
        values = [value for value in image.getexif().values() if isinstance(value, str)]
        named = [value.rstrip("\0").partition(":") for value in values]
        return {key: text for key, separator, text in named if separator and key in ("prompt", "workflow")}

    return _from_picture(path, texts)


def _from_picture(path: Path, texts_of: Callable[[Image.Image], dict[str, str]]) -> Workflow:
    name = path.name
    try:
        with Image.open(path) as image:
            texts = texts_of(image)
    except _DAMAGED as error:
        text = f"{name} is a damaged picture."
        raise NotAWorkflow(f"{name} is damaged", "The picture cannot be read.", text) from error
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


_PICTURES: tuple[tuple[Callable[[bytes], bool], Callable[[Path], Workflow]], ...] = (
    (lambda content: content.startswith(b"\x89PNG"), _from_png),
    (lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _from_webp),
)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise _too_deep(name) from error
    except ValueError as error:
        raise NotAWorkflow(
            f"{name} is not a workflow",
            f"It is not JSON: {error}.",
            f"{name} is no workflow: it is not JSON ({error}).",
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
