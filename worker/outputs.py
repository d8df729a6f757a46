"""From ComfyUI's history to files and texts: all that nodes can leave behind, in the graph's order."""

from __future__ import annotations

import io
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from .contract import inside, safe_name
from .errors import JobError

#: Keys of a node's output that say how to show the rest and are nothing by themselves.
_HINTS = {"animated"}
#: In characters: a longer text is handed over as a file.
_LONGEST_TEXT = 100_000
#: What a system's own table may lack or call otherwise.
_MEDIA_TYPES = {
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".jxl": "image/jxl",
    ".exr": "image/x-exr",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".opus": "audio/ogg",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".m4a": "audio/mp4",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".obj": "model/obj",
    ".stl": "model/stl",
    ".ply": "model/ply",
    ".fbx": "model/fbx",
    ".usdz": "model/vnd.usdz+zip",
    ".splat": "application/octet-stream",
    ".ksplat": "application/octet-stream",
    ".spz": "application/octet-stream",
    ".latent": "application/octet-stream",
    ".safetensors": "application/octet-stream",
}
_SOLID = {".glb", ".gltf", ".obj", ".stl", ".ply", ".fbx", ".usdz", ".splat", ".ksplat", ".spz"}


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a node wrote, where it lies on disk; or a long text that is handed over as one.

    ``key`` is the name under which the node told of it, ``images`` mostly; ``shown`` says that ComfyUI only
    shows it, and does not keep it.
    """

    path: Path
    filename: str
    subfolder: str
    node_id: str
    text: str | None = None
    key: str = ""
    shown: bool = False

    @property
    def media_type(self) -> str:
        known = _MEDIA_TYPES.get(PurePosixPath(self.filename).suffix.lower())
        return known or mimetypes.guess_type(self.filename)[0] or "application/octet-stream"

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.text is None else len(self.text.encode("utf-8", "replace"))

    def open(self) -> BinaryIO:
        if self.text is None:
            return self.path.open("rb")
        return io.BytesIO(self.text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Collected:
    """What a prompt left behind: files and texts, in the order of the workflow's nodes."""

    files: tuple[OutputFile, ...]
    texts: tuple[dict[str, Any], ...]

    def missing(self) -> list[OutputFile]:
        """The files that history knows and the disk does not. Blocks."""
        return [file for file in self.files if file.text is None and not file.path.is_file()]

    def on_disk(self) -> list[Path]:
        return [file.path for file in self.files if file.text is None]


def collect(
    entry: Mapping[str, Any],
    workflow: Mapping[str, Any],
    output_dir: Path,
    previews_dir: Path | None = None,
) -> Collected:
    """Read ``outputs`` of a history entry. Names are data: one that leaves the output folder fails the job.

    ``previews_dir`` is where files are that nodes only show; without it they are left out.

    Raises:
        JobError: ``bad_output_name``.
    """
    folders = {"output": output_dir}
    if previews_dir is not None:
        folders["temp"] = previews_dir
    found: dict[Path, OutputFile] = {}
    texts: list[dict[str, Any]] = []
    for node_id, key, value in _values(entry, workflow):
        if isinstance(value, Mapping):
            kind = str(value.get("type", "output"))
            folder = folders.get(kind) if "filename" in value else None
            if folder is not None:
                file = replace(_output_file(value, node_id, folder), key=key, shown=kind == "temp")
                found.setdefault(file.path, file)
        elif isinstance(value, str | int | float):
            solid = _solid(value, node_id, output_dir) if key == "result" else None
            if solid is not None:
                found.setdefault(solid.path, replace(solid, key=key))
            elif isinstance(value, str) and len(value) > _LONGEST_TEXT:
                place = Path(f"{node_id}/{len(texts)}-{len(found)}")
                name = re.sub(r"[^A-Za-z0-9_-]", "_", f"text_{node_id}_{key}")[:80] + ".txt"
                found[place] = OutputFile(place, name, "", node_id, value)
            else:
                texts.append(_said(node_id, key, value))
    return Collected(tuple(found.values()), tuple(texts))


def _values(entry: Mapping[str, Any], workflow: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Node, key and value of all that history holds, the nodes in the workflow's order."""
    outputs = entry.get("outputs")
    outputs = outputs if isinstance(outputs, Mapping) else {}
    order = {node_id: place for place, node_id in enumerate(workflow)}
    for node_id in sorted(outputs, key=lambda n: order.get(str(n).split(":")[0], len(order))):
        values = outputs[node_id]
        for key, listed in values.items() if isinstance(values, Mapping) else ():
            if key not in _HINTS:
                for value in listed if isinstance(listed, list) else [listed]:
                    yield str(node_id), str(key), value


def _said(node_id: str, key: str, value: str | float) -> dict[str, Any]:
    """A text; of a value that is none, or that came under another name than ``text``, what it was too."""
    text = value if isinstance(value, str) else json.dumps(value)
    told: dict[str, Any] = {"node_id": node_id, "text": text}
    if key != "text":
        told["key"] = key
    if not isinstance(value, str):
        told["value"] = value if value == value and value not in (float("inf"), -float("inf")) else text
    return told


def _solid(value: object, node_id: str, output_dir: Path) -> OutputFile | None:
    """A 3D file that a preview node names by its path alone."""
    if not isinstance(value, str):
        return None
    name = PurePosixPath(value.removesuffix(" [output]").replace("\\", "/"))
    if name.suffix.lower() not in _SOLID or name.is_absolute():
        return None
    parent = "" if str(name.parent) == "." else str(name.parent)
    try:
        file = _output_file({"filename": name.name, "subfolder": parent}, node_id, output_dir)
        return file if file.path.is_file() else None
    except (JobError, OSError, ValueError):
        return None  # a text like any other


def _output_file(item: Mapping[str, Any], node_id: str, folder: Path) -> OutputFile:
    name, subfolder = str(item["filename"] or ""), str(item.get("subfolder") or "").replace("\\", "/")
    try:
        path = inside(folder, PurePosixPath(subfolder, name))
        shown = safe_name(_portable(name))
        shown_folder = str(safe_name(_portable(subfolder))) if subfolder else ""
    except (ValueError, OSError) as error:
        raise JobError(
            "bad_output_name",
            f"Node {node_id} named an output that cannot be used. {error}",
            hint="Is it below ComfyUI's output folder? Links that lead out of it are not followed.",
        ) from error
    return OutputFile(path, str(shown), shown_folder, node_id)


def _portable(name: str) -> str:
    """What the answer calls a file: a colon in a file name, say, is no reason to lose the file."""
    parts = re.sub(r'[\x00-\x1f<>:"|?*\\]', "_", name).split("/")
    for place, part in enumerate(parts):
        if part not in ("", ".", ".."):
            try:
                safe_name(part)
            except ValueError:
                parts[place] = "_" + part.rstrip(". ")
    return "/".join(parts)
