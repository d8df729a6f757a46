"""What worker and panel say to each other: names, shapes and limits. The panel imports this and nothing else.

The request and the answer are the format of worker-comfyui 5.x and a superset of it. Names and files that
come from the other side are data: :func:`safe_name` is the only way from such a name to a relative path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

FileKind = Literal["base64", "s3_url", "volume"]

#: The answer's lists of files, in the order in which clients should show them.
FILE_LISTS = ("images", "videos", "audio", "files")
#: Everything of ours on a volume, and below the user's ComfyUI ``input/`` in attach mode.
OWN_FOLDER = ".comfy-runpod"
#: Rooms in our own folder on a volume that clients may use; the others are the workers' books. Inputs lie
#: under their SHA-256, results below their job's key.
INPUTS, RESULTS = "inputs", "results"
#: In bytes: what ``put`` and ``get`` carry at most. As base64 the platform lets it through.
MAX_CHUNK = 6 << 20

#: Tells the interception node of ComfyUI that a prompt is to run there, wherever the Queue button is routed.
LOCAL_HEADER = "X-Comfy-RunPod-Local"

_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RESERVED = {"con", "prn", "aux", "nul", "conin$", "conout$"}
_RESERVED |= {port + number for port in ("com", "lpt") for number in "123456789¹²³"}
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]')
#: In bytes: one part of a name, and the whole of it.
_MAX_NAME, _MAX_PATH = 255, 1000
#: More than any workflow has; a number from outside may have thousands of digits.
_MAX_COUNT = 2**53
_LONGEST_KEY = 80


def safe_name(name: object) -> PurePosixPath:
    """A file name from outside as a relative path that stays in its folder on every system.

    Raises:
        ValueError: with a sentence naming the offender: absolute paths, ``..``, NUL and control characters,
            backslashes, drive letters, names that Windows reserves, trailing dots and blanks, empty parts.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"The file name {name!r} is empty or no text.")
    shown = name if len(name) <= 120 else name[:117] + "..."
    if _FORBIDDEN.search(name):
        raise ValueError(f"The file name {shown!r} has characters that not every system allows.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"The file name {shown!r} is no valid Unicode text.") from error
    if size > _MAX_PATH:
        raise ValueError(f"The file name {shown!r} is too long.")
    parts = name.split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise ValueError(f"The file name {shown!r} would leave its folder.")
        if part != part.rstrip(". ") or part.split(".")[0].strip().casefold() in _RESERVED:
            raise ValueError(f"The file name {shown!r} has a part that Windows does not allow.")
        if len(part.encode()) > _MAX_NAME:
            raise ValueError(f"The file name {shown!r} is too long.")
    return PurePosixPath(*parts)


def inside(folder: Path, relative: PurePosixPath) -> Path:
    """``relative`` below ``folder``, links resolved.

    Raises:
        ValueError: when it, or a link in it, leads outside.
    """
    target = folder.joinpath(*relative.parts)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"The file name {str(relative)!r} would leave its folder.")
    return target


def checked_job_id(value: object) -> str:
    """A client's job id: 1 to 64 letters, digits, ``-`` and ``_``.

    Raises:
        ValueError: for anything else.
    """
    if not isinstance(value, str) or not _JOB_ID.fullmatch(value):
        raise ValueError("client_job_id must be 1 to 64 letters, digits, '-' or '_'.")
    return value


def job_note(client_job_id: str) -> PurePosixPath:
    """What a worker writes when it takes a job: ``{"id": <platform's job id>}``. Relative to the volume."""
    return _job_folder(client_job_id) / "job.json"


def job_answer(client_job_id: str) -> PurePosixPath:
    """A job's answer as the worker keeps it: ``{"input_sha256", "answer"}``. Relative to the volume."""
    return _job_folder(client_job_id) / "result.json"


def _job_folder(client_job_id: str) -> PurePosixPath:
    return PurePosixPath(OWN_FOLDER, "jobs", checked_job_id(client_job_id))


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an answer.

    ``data`` is base64, a URL, or a path relative to the volume's root, by ``type``. ``size`` is in bytes.
    ``key`` is the name under which the node told of the file: ``images``, ``gifs``, ``audio`` …; ``shown``:
    ComfyUI only shows it, as PreviewImage's pictures.
    """

    filename: str
    type: FileKind
    data: str
    subfolder: str = ""
    node_id: str = ""
    media_type: str = "application/octet-stream"
    size: int | None = None
    sha256: str | None = None
    key: str = ""
    shown: bool = False

    def to_json(self) -> dict[str, Any]:
        return {field: getattr(self, field) for field in self.__slots__}

    @classmethod
    def parse(cls, raw: object) -> FileEntry:
        """Read an entry; entries of worker-comfyui 5.x have only ``filename``, ``type`` and ``data``.

        Raises:
            ValueError: when it is no file entry, or its name would leave its folder.
        """
        if not isinstance(raw, Mapping):
            raise ValueError("A file entry of the answer is no object.")
        kind, data = raw.get("type"), raw.get("data")
        if kind not in ("base64", "s3_url", "volume") or not isinstance(data, str):
            raise ValueError("A file entry of the answer has no known type or no data.")
        subfolder = raw.get("subfolder") or ""
        if subfolder:
            safe_name(subfolder)
        size, digest = raw.get("size"), raw.get("sha256")
        return cls(
            filename=str(safe_name(raw.get("filename"))),
            type=kind,
            data=data,
            subfolder=str(subfolder),
            node_id=str(raw.get("node_id") or ""),
            media_type=str(raw.get("media_type") or "application/octet-stream"),
            size=size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None,
            sha256=digest if isinstance(digest, str) and re.fullmatch("[0-9a-f]{64}", digest) else None,
            key=str(raw.get("key") or "")[:_LONGEST_KEY],
            shown=raw.get("shown") is True,
        )


def files_of(answer: Mapping[str, Any]) -> list[FileEntry]:
    """All file entries of an answer, in its order.

    Raises:
        ValueError: when an entry is malformed.
    """
    entries: list[FileEntry] = []
    for key in FILE_LISTS:
        listed = answer.get(key) or []
        if not isinstance(listed, list):
            raise ValueError(f"'{key}' of the answer is no list.")
        entries.extend(FileEntry.parse(item) for item in listed)
    return entries


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is; RunPod shows it as the ``output`` of a job IN_PROGRESS.

    ``step`` of ``steps`` counts inside the node ``node_id``; ``nodes_done`` of ``nodes_total`` counts nodes.
    ``title`` is the name that the workflow's author gave the node, if any.
    ``preview`` is a JPEG or PNG in base64; the picture has at most 64 KiB, as most of ComfyUI's have.
    """

    node_id: str = ""
    class_type: str = ""
    step: int = 0
    steps: int = 0
    nodes_done: int = 0
    nodes_total: int = 0
    preview: str | None = None
    title: str = ""

    @property
    def fraction(self) -> float:
        """0 to 1: whole nodes plus the part of the current one."""
        if self.nodes_total <= 0:
            return 0.0
        part = min(self.step / self.steps, 1.0) if self.steps > 0 else 0.0
        return min((self.nodes_done + part) / self.nodes_total, 1.0)

    def to_json(self) -> dict[str, Any]:
        values = {field: getattr(self, field) for field in self.__slots__}
        if self.preview is None:
            del values["preview"]
        values["fraction"] = round(self.fraction, 4)
        return {"progress": values}

    @classmethod
    def parse(cls, raw: object) -> Progress | None:
        """The progress in a job's ``output``, or None when another worker posted something else."""
        values = raw.get("progress") if isinstance(raw, Mapping) else None
        if not isinstance(values, Mapping):
            return None

        def number(key: str) -> int:
            value = values.get(key)
            if not isinstance(value, int) or isinstance(value, bool):
                return 0
            return value if 0 <= value <= _MAX_COUNT else 0

        preview = values.get("preview")
        return cls(
            node_id=str(values.get("node_id") or ""),
            class_type=str(values.get("class_type") or ""),
            step=number("step"),
            steps=number("steps"),
            nodes_done=number("nodes_done"),
            nodes_total=number("nodes_total"),
            preview=preview if isinstance(preview, str) else None,
            title=str(values.get("title") or ""),
        )
