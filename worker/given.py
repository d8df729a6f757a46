"""The files of a request: base64, data URIs, https addresses, or what already lies on the volume."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .contract import INPUTS, OWN_FOLDER, RESULTS, safe_name
from .download import checked_url
from .errors import BadRequest

_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*;base64,", re.ASCII)
_SHA256 = re.compile("[0-9a-f]{64}")
#: Rooms in our own folder on the volume that a request may read; the others are the workers' books.
_OPEN_ROOMS = (INPUTS, RESULTS)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be laid into ComfyUI's input folder before the workflow runs.

    Its content is here, at ``url``, at ``volume_path`` below the volume's root, or in the volume's store
    under ``sha256`` alone. ``sha256`` beside one of the others is checked, and the file kept in the store.
    """

    name: PurePosixPath
    content: bytes | None = None
    url: str | None = None
    volume_path: PurePosixPath | None = None
    sha256: str | None = None

    def identity(self) -> str:
        """Equal for equal files: the content's hash where it is known."""
        if self.sha256 is not None:
            return self.sha256
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        return self.url or f"volume:{self.volume_path}"


def stored_at(sha256: str) -> PurePosixPath:
    """Where the volume's store has the file with this hash, relative to the volume's root."""
    return PurePosixPath(OWN_FOLDER, INPUTS, sha256)


def files_of_request(source: Mapping[str, Any]) -> tuple[InputFile, ...]:
    """All files that a request brings, from its three fields.

    Raises:
        BadRequest: naming the field or the file that cannot be used.
    """
    files: list[InputFile] = []
    says = "'images' must be a list of objects with 'name' and 'image' keys."
    for item in _list(source.get("images"), says):
        if "name" not in item or "image" not in item:
            raise BadRequest(says)
        files.append(_picture(item))
    references = source.get("reference_images") or {}
    if not isinstance(references, dict):
        raise BadRequest("'reference_images' must be an object of file names and base64 texts.")
    files.extend(_picture({"name": name, "image": data}) for name, data in references.items())
    says = "'files' must be a list of objects with 'name' and one of 'data', 'url', 'volume_path', 'sha256'."
    for item in _list(source.get("files"), says):
        if "name" not in item or not {"data", "url", "volume_path", "sha256"} & item.keys():
            raise BadRequest(says)
        files.append(_any_file(item, says))
    _refuse_clashes(files)
    return tuple(files)


def _list(raw: object, says: str) -> list[dict[str, Any]]:
    listed = raw or []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise BadRequest(says)
    return listed


def _picture(item: Mapping[str, Any]) -> InputFile:
    name, data = _name(item["name"]), item["image"]
    if isinstance(data, str) and data[:8].lower().startswith(("https://", "http://")):
        return InputFile(name, url=_url(name, data), sha256=_hash(name, item))
    return InputFile(name, _decoded(name, data), sha256=_hash(name, item))


def _any_file(item: Mapping[str, Any], says: str) -> InputFile:
    name, digest = _name(item["name"]), _hash(_name(item["name"]), item)
    given = [key for key in ("data", "url", "volume_path") if item.get(key) is not None]
    if len(given) > 1 or (not given and digest is None):
        raise BadRequest(says)
    match given:
        case ["url"]:
            return InputFile(name, url=_url(name, item["url"]), sha256=digest)
        case ["volume_path"]:
            return InputFile(name, volume_path=_volume_path(name, item["volume_path"]), sha256=digest)
        case ["data"]:
            return InputFile(name, _decoded(name, item["data"]), sha256=digest)
    return InputFile(name, sha256=digest)


def _name(raw: object) -> PurePosixPath:
    try:
        return safe_name(raw)
    except ValueError as error:
        raise BadRequest(str(error)) from error


def _url(name: PurePosixPath, raw: object) -> str:
    try:
        return checked_url(raw).geturl()
    except ValueError as error:
        raise BadRequest(f"The address of {str(name)!r} cannot be used: {error}") from error


def _volume_path(name: PurePosixPath, raw: object) -> PurePosixPath:
    path = _name(raw)
    first, *rest = (part.casefold() for part in path.parts)
    if first == OWN_FOLDER and not (len(rest) > 1 and rest[0] in _OPEN_ROOMS):
        raise BadRequest(f"The volume_path of {str(name)!r} is not for requests to read: {str(path)!r}.")
    return path


def _hash(name: PurePosixPath, item: Mapping[str, Any]) -> str | None:
    digest = item.get("sha256")
    if digest is None:
        return None
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise BadRequest(f"The sha256 of {str(name)!r} is no SHA-256 in 64 small hexadecimal digits.")
    return digest


def _decoded(name: PurePosixPath, data: object) -> bytes:
    if not isinstance(data, str):
        raise BadRequest(
            f"The content of {str(name)!r} is no text.", hint="Send it as base64 or as a data URI."
        )
    head = _DATA_URI.match(data[:200])
    text = data[head.end() :] if head else data
    try:
        # Line breaks, which many programs put into base64, are no damage; anything else is.
        return base64.b64decode("".join(text.split()) if "\n" in text else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"The content of {str(name)!r} is neither base64 nor a base64 data URI.", details=str(error)
        ) from error


def _refuse_clashes(files: list[InputFile]) -> None:
    """As macOS and Windows compare names: there the second file would overwrite the first."""
    seen: dict[str, PurePosixPath] = {}
    folders: dict[str, PurePosixPath] = {}
    for file in files:
        twin = seen.setdefault(_folded(file.name), file.name)
        if twin is not file.name:
            raise BadRequest(f"Two input files have the same name: {str(twin)!r} and {str(file.name)!r}.")
        for parent in file.name.parents[:-1]:
            folders.setdefault(_folded(parent), file.name)
    for folded, inner in folders.items():
        if folded in seen:
            raise BadRequest(
                f"The input file {str(seen[folded])!r} cannot be written: "
                f"{str(inner)!r} needs a folder of that name."
            )


def _folded(name: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(name)).casefold()
