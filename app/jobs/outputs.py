"""Fetching results: to a temporary file, checked, then moved into place. Names from a server are data."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from worker.contract import FILE_LISTS, FileEntry, files_of

from .addresses import download
from .carriers.base import Carrier, ResultDamaged, sha256_of
from .model import Job, OutputFile


def entries_of(output: Any) -> list[FileEntry]:
    """The files of an answer; an answer in a format we do not know is kept whole as one JSON file.

    Raises:
        ResultDamaged: when the answer names files in a way that cannot be used.
    """
    if isinstance(output, Mapping) and _is_known(output):
        try:
            return files_of(output)
        except ValueError as error:
            raise ResultDamaged(f"The worker's answer cannot be read: {error}") from error
    # Half of a surrogate pair is no UTF-8; as `\\udXXX` it is what JSON says too.
    content = json.dumps(output, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(content).hexdigest()
    data = base64.b64encode(content).decode("ascii")
    kind = "application/json"
    return [FileEntry("result.json", "base64", data, media_type=kind, size=len(content), sha256=digest)]


def plan(entries: list[FileEntry], job: Job, taken: Collection[str]) -> tuple[OutputFile, ...]:
    """Choose a free path for each file, beside what is on disk and in ``taken``. Blocks; writes nothing.

    What ComfyUI's own page asked for lies as ComfyUI would have laid it: in the nodes' subfolders, and what
    they only show elsewhere.
    """
    # Names that differ in case only are one file on many disks.
    used = {path.casefold() for path in taken}
    planned: list[OutputFile] = []
    for entry in entries:
        path = _free_path(*_place(entry, job), used)
        used.add(str(path).casefold())
        source = entry.data if entry.type == "volume" else ""
        told = (entry.node_id, entry.media_type, entry.size, entry.sha256)
        planned.append(OutputFile(entry.filename, str(path), *told, source, entry.key, entry.shown))
    return tuple(planned)


def is_plan_for(planned: Collection[OutputFile], entries: Collection[FileEntry]) -> bool:
    """Whether paths were chosen for these very files: an answer that was asked for again may be another."""
    return [(p.filename, p.sha256) for p in planned] == [(e.filename, e.sha256) for e in entries]


def answer_of(job: Job) -> dict[str, Any] | None:
    """The answer that a downloading job had, when all of its files lie on the volume; else None."""
    if not job.outputs or not all(planned.source for planned in job.outputs):
        return None
    files = [
        FileEntry(
            p.filename, "volume", p.source, "", p.node_id, p.media_type, p.size, p.sha256, p.key, p.shown
        ).to_json()
        for p in job.outputs
    ]
    nodes = [*job.text_nodes, *[""] * len(job.texts)]
    texts = [{"text": text, "node_id": node} for text, node in zip(job.texts, nodes, strict=False)]
    return {"images": files, "text": texts, "warnings": list(job.warnings)}


async def fetch(entry: FileEntry, planned: OutputFile, carrier: Carrier) -> None:
    """Bring one file to its planned path; does nothing when it is there already.

    What arrived of it stays beside that path when the rest cannot be had now.

    Raises:
        ResultDamaged: when size or hash differ, or the file is not where the answer says.
        OSError: when the disk refuses.
        ComfyRunPodError: what the carrier raises.
    """
    target = Path(planned.path)
    # Of a length that every disk allows, and found again after a crash.
    aside = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.part")
    if await asyncio.to_thread(_is_there, target, planned):
        await asyncio.to_thread(aside.unlink, missing_ok=True)
        return
    begun = await asyncio.to_thread(aside.exists)
    try:
        try:
            await _bring(entry, aside, carrier)
            await asyncio.to_thread(_settle, entry, aside, target)
        except ResultDamaged:
            if not begun:
                raise
            # What was there of it may have been of another file.
            await asyncio.to_thread(aside.unlink, missing_ok=True)
            await _bring(entry, aside, carrier)
            await asyncio.to_thread(_settle, entry, aside, target)
    except (ResultDamaged, OSError):
        await asyncio.to_thread(aside.unlink, missing_ok=True)
        raise


async def _bring(entry: FileEntry, aside: Path, carrier: Carrier) -> None:
    match entry.type:
        case "base64":
            await asyncio.to_thread(_write, aside, entry)
        case "volume":
            await carrier.fetch(entry, aside)
        case "s3_url":
            await download(entry, aside)


def _is_known(output: Mapping[str, Any]) -> bool:
    """Whether it is our format or worker-comfyui 5.x's. Others use the same keys for something else."""
    lists = [output[key] for key in FILE_LISTS if output.get(key)]
    told = isinstance(output.get("images"), list) or isinstance(output.get("text"), list) or bool(lists)
    return told and all(
        isinstance(item, Mapping) and "filename" in item for each in lists for item in _items(each)
    )


def _items(listed: Any) -> list[Any]:
    return listed if isinstance(listed, list) else [None]


def _place(entry: FileEntry, job: Job) -> tuple[Path, PurePosixPath]:
    """The folder in which a file shall lie, and its name there."""
    name = PurePosixPath(entry.filename)
    if entry.shown and job.shown_dir:
        return Path(job.shown_dir), name
    return Path(job.output_dir), PurePosixPath(entry.subfolder, name) if job.origin else name


def _free_path(folder: Path, name: PurePosixPath, used: Collection[str]) -> Path:
    number = 1
    while True:
        mark = "" if number == 1 else f" ({number})"
        path = folder.joinpath(*name.parent.parts, f"{name.stem}{mark}{name.suffix}")
        if str(path).casefold() not in used and not os.path.lexists(path):
            return path
        number += 1


def _decoded(entry: FileEntry) -> bytes:
    data = entry.data
    if data.startswith("data:"):
        head, comma, data = data.partition(",")
        if not comma or not head.endswith(";base64"):
            raise ResultDamaged(f"{entry.filename} arrived damaged: its data URI is not in base64.")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ResultDamaged(f"{entry.filename} arrived damaged: it is no base64.") from error


def _is_there(target: Path, planned: OutputFile) -> bool:
    """Whether it was fetched before; else there is a folder for it then."""
    if target.is_file() and planned.sha256 and sha256_of(target) == planned.sha256:
        return True
    target.parent.mkdir(parents=True, exist_ok=True)
    return False


def _write(path: Path, entry: FileEntry) -> None:
    content = _decoded(entry)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _settle(entry: FileEntry, aside: Path, target: Path) -> None:
    _check(aside, entry)
    aside.replace(target)


def _check(path: Path, entry: FileEntry) -> None:
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        raise ResultDamaged(f"{entry.filename} arrived with {size} bytes instead of {entry.size}.")
    if entry.sha256 is not None and sha256_of(path) != entry.sha256:
        raise ResultDamaged(f"{entry.filename} arrived damaged: its SHA-256 is another.")
