"""From ComfyUI's history to the answer: files read from disk, hashed, packed or laid on the volume."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
import re
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .config import Config
from .contract import FILE_LISTS, OWN_FOLDER, FileEntry, inside, safe_name
from .errors import JobError
from .validation import OutputMode

_SIZE_OF_THE_REST = 200_000
#: In bytes: ours is longer by a number and ``.part``.
_LONGEST_RESULT_NAME = 200


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file that a node wrote, where it lies on disk."""

    path: Path
    filename: str
    subfolder: str
    node_id: str

    @property
    def media_type(self) -> str:
        return mimetypes.guess_type(self.filename)[0] or "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a prompt left behind: kept files (no previews) and texts, in the order of the workflow's nodes."""

    files: tuple[OutputFile, ...]
    texts: tuple[dict[str, str], ...]

    def missing(self) -> list[OutputFile]:
        """The files that history knows and the disk does not. Blocks."""
        return [file for file in self.files if not file.path.is_file()]


def collect(entry: Mapping[str, Any], workflow: Mapping[str, Any], output_dir: Path) -> Collected:
    """Read ``outputs`` of a history entry. Names are data: one that leaves the output folder fails the job.

    Raises:
        JobError: ``bad_output_name``.
    """
    outputs = entry.get("outputs")
    outputs = outputs if isinstance(outputs, Mapping) else {}
    order = {node_id: place for place, node_id in enumerate(workflow)}
    files: list[OutputFile] = []
    texts: list[dict[str, str]] = []
    for node_id in sorted(outputs, key=lambda n: order.get(str(n).split(":")[0], len(order))):
        values = outputs[node_id]
        if not isinstance(values, Mapping):
            continue
        for key, listed in values.items():
            for item in listed if isinstance(listed, list) else []:
                if isinstance(item, Mapping) and "filename" in item:
                    if item.get("type", "output") == "output":
                        files.append(_output_file(item, str(node_id), output_dir))
                elif key == "text" and isinstance(item, str):
                    texts.append({"node_id": str(node_id), "text": item})
    return Collected(tuple(files), tuple(texts))


def _output_file(item: Mapping[str, Any], node_id: str, output_dir: Path) -> OutputFile:
    name, subfolder = str(item["filename"] or ""), str(item.get("subfolder") or "").replace("\\", "/")
    try:
        path = inside(output_dir, PurePosixPath(subfolder, name))
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


def pack(
    files: Iterable[OutputFile], config: Config, mode: OutputMode, key: str
) -> dict[str, list[dict[str, Any]]]:
    """The answer's lists of files. Blocks: reads, hashes and copies.

    ``auto`` answers in base64 while the whole stays under the limit, else by files on the volume.

    Raises:
        JobError: ``result_too_large`` or ``no_volume`` when neither way is open, ``result_not_written`` when
            the disk refuses; the files stay where ComfyUI put them.
    """
    try:
        entries = _packed(list(files), config, mode, key)
    except OSError as error:
        raise JobError(
            "result_not_written",
            f"The results could not be handed over: {error.strerror or error}.",
            hint="Is there room on the network volume? The files are still in ComfyUI's output folder.",
        ) from error
    answer: dict[str, list[dict[str, Any]]] = {name: [] for name in FILE_LISTS}
    for entry in entries:
        answer[_list_for(entry.media_type)].append(entry.to_json())
    return answer


def _packed(files: list[OutputFile], config: Config, mode: OutputMode, key: str) -> list[FileEntry]:
    total = sum(_base64_size(file.path.stat().st_size) for file in files) + _SIZE_OF_THE_REST
    fits = total <= config.max_inline_bytes
    if mode == "base64" or (mode == "auto" and fits):
        if fits:
            return [_as_base64(file) for file in files]
        raise JobError(
            "result_too_large",
            f"The results would be {total / 1e6:.1f} MB in base64, more than RunPod lets through.",
            hint="Ask for output mode 'auto' or 'volume'. The files are still in ComfyUI's output folder.",
            details=[file.filename for file in files],
        )
    if config.volume is not None:
        return [_onto_volume(file, config.volume, key, n) for n, file in enumerate(files)]
    raise JobError(
        "no_volume" if fits else "result_too_large",
        f"The results ({total / 1e6:.1f} MB as an answer) need a network volume; none is mounted.",
        hint="Attach a network volume to the endpoint. The files are still in ComfyUI's output folder.",
        details=[file.filename for file in files],
    )


def remove_old(files: Iterable[Path]) -> None:
    """Delete files whose answer has been delivered. Blocks."""
    for path in files:
        with contextlib.suppress(OSError):  # on Windows somebody may be looking at it
            path.unlink(missing_ok=True)


def prune_volume(volume: Path, older_than_s: float, now: float | None = None) -> None:
    """Delete results and job notes on the volume that nobody fetched in time. Blocks."""
    limit = (time.time() if now is None else now) - older_than_s
    for room in ("results", "jobs"):
        folder = volume / OWN_FOLDER / room
        for entry in list(folder.iterdir()) if folder.is_dir() else ():
            with contextlib.suppress(OSError):  # another worker prunes too, and was faster
                if entry.stat().st_mtime < limit:
                    shutil.rmtree(entry)


def _base64_size(size: int) -> int:
    return (size + 2) // 3 * 4


def _as_base64(file: OutputFile) -> FileEntry:
    content = file.path.read_bytes()
    return FileEntry(
        file.filename,
        "base64",
        base64.b64encode(content).decode("ascii"),
        file.subfolder,
        file.node_id,
        file.media_type,
        len(content),
        hashlib.sha256(content).hexdigest(),
    )


def _onto_volume(file: OutputFile, volume: Path, key: str, number: int) -> FileEntry:
    name = PurePosixPath(file.filename).name
    if len(name.encode()) > _LONGEST_RESULT_NAME:
        name = PurePosixPath(name).suffix[-_LONGEST_RESULT_NAME // 8 :]
    relative = Path(OWN_FOLDER, "results", key, f"{number:04d}-{name}")
    target = volume / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(target.name + ".part")
    digest = hashlib.sha256()
    size = 0
    with file.path.open("rb") as source, aside.open("wb") as copy:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            size += copy.write(chunk)
    aside.replace(target)
    return FileEntry(
        file.filename,
        "volume",
        relative.as_posix(),
        file.subfolder,
        file.node_id,
        file.media_type,
        size,
        digest.hexdigest(),
    )


def _list_for(media_type: str) -> str:
    kind = media_type.split("/")[0]
    return {"image": "images", "video": "videos", "audio": "audio"}.get(kind, "files")
