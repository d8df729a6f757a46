"""Reading a request: everything that comes from outside is checked here, before anything is done with it."""

from __future__ import annotations

import base64
import binascii
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from .contract import checked_job_id, safe_name
from .errors import BadRequest

OutputMode = Literal["auto", "base64", "volume"]
#: The name under which ComfyUI's API nodes look for the user's key.
_API_KEY = "api_key_comfy_org"
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to be laid into ComfyUI's input folder before the workflow runs."""

    name: PurePosixPath
    content: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. ``timeout_s`` is None when the worker's own limit holds."""

    workflow: dict[str, Any]
    files: tuple[InputFile, ...] = ()
    output_mode: OutputMode = "auto"
    client_job_id: str | None = None
    timeout_s: float | None = None
    extra_data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be in an answer or a log."""
        key = self.extra_data.get(_API_KEY)
        return (key,) if key else ()


def parse_request(raw: object) -> Request:
    """Check a job's ``input``: an object, or a JSON string of one.

    Raises:
        BadRequest: with a sentence that names the field and the offender.
    """
    source = _loaded(raw, "The job's input")
    workflow = source.get("workflow")
    if workflow is None:
        workflow = source.get("prompt")
    if workflow is None:
        raise BadRequest("Missing 'workflow' parameter.", hint="Send an API-format workflow as 'workflow'.")
    try:
        client_job_id = checked_job_id(source["client_job_id"]) if source.get("client_job_id") else None
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return Request(
        workflow=_workflow(workflow),
        files=_files(source),
        output_mode=_output_mode(source),
        client_job_id=client_job_id,
        timeout_s=_timeout(source.get("timeout")),
        extra_data=_extra_data(source),
    )


def _loaded(raw: object, what: str) -> dict[str, Any]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise BadRequest(
                f"Invalid JSON format in input: {what} is a text, but no JSON ({error})."
            ) from error
    if not isinstance(raw, dict):
        raise BadRequest(f"{what} is no JSON object.", hint="Please provide input as an object.")
    return raw


def _workflow(raw: object) -> dict[str, Any]:
    workflow = _loaded(raw, "The workflow")
    if "nodes" in workflow and "links" in workflow:
        raise BadRequest(
            "The workflow is in the browser's format, not in the API format.",
            hint="Export it in ComfyUI with 'Export (API)'.",
        )
    if not workflow:
        raise BadRequest("The workflow has no nodes.")
    for node_id, node in workflow.items():
        if not isinstance(node, dict):
            raise BadRequest(f"Node {node_id!r} of the workflow is no object with 'class_type' and 'inputs'.")
        if not isinstance(node.get("inputs", {}), dict):
            raise BadRequest(f"The 'inputs' of node {node_id!r} of the workflow are no object.")
    return workflow


def _files(source: Mapping[str, Any]) -> tuple[InputFile, ...]:
    files: list[InputFile] = []
    images = source.get("images") or []
    if not isinstance(images, list):
        raise BadRequest("'images' must be a list of objects with 'name' and 'image' keys.")
    for item in images:
        if not isinstance(item, dict) or "name" not in item or "image" not in item:
            raise BadRequest("'images' must be a list of objects with 'name' and 'image' keys.")
        files.append(_file(item["name"], item["image"]))
    references = source.get("reference_images") or {}
    if not isinstance(references, dict):
        raise BadRequest("'reference_images' must be an object of file names and base64 texts.")
    files.extend(_file(name, data) for name, data in references.items())
    others = source.get("files") or []
    if not isinstance(others, list):
        raise BadRequest("'files' must be a list of objects with 'name' and 'data' keys.")
    for item in others:
        if not isinstance(item, dict) or "name" not in item or "data" not in item:
            raise BadRequest("'files' must be a list of objects with 'name' and 'data' keys.")
        files.append(_file(item["name"], item["data"]))
    seen: dict[str, PurePosixPath] = {}
    for file in files:
        # As macOS and Windows compare names: there the second file would overwrite the first.
        twin = seen.setdefault(unicodedata.normalize("NFC", str(file.name)).casefold(), file.name)
        if twin is not file.name:
            raise BadRequest(f"Two input files have the same name: {str(twin)!r} and {str(file.name)!r}.")
    return tuple(files)


def _file(name: object, data: object) -> InputFile:
    try:
        path = safe_name(name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if not isinstance(data, str):
        raise BadRequest(
            f"The content of {str(path)!r} is no text.", hint="Send it as base64 or as a data URI."
        )
    head = _DATA_URI.match(data[:200])
    text = data[head.end() :] if head else data
    try:
        # Line breaks, which many programs put into base64, are no damage; anything else is.
        content = base64.b64decode("".join(text.split()) if "\n" in text else text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(
            f"The content of {str(path)!r} is neither base64 nor a base64 data URI.", details=str(error)
        ) from error
    return InputFile(path, content)


def _output_mode(source: Mapping[str, Any]) -> OutputMode:
    output = source.get("output") or {}
    if not isinstance(output, dict):
        raise BadRequest('\'output\' must be an object like {"mode": "auto"}.')
    mode = output.get("mode", "auto" if source.get("return_base64") is not False else "volume")
    if mode not in ("auto", "base64", "volume"):
        raise BadRequest(f"Unknown output mode {mode!r}.", hint="Use 'auto', 'base64' or 'volume'.")
    return mode  # type: ignore[no-any-return]


def _timeout(raw: object) -> float | None:
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw <= 7 * 86_400:
        raise BadRequest("'timeout' must be a number of seconds above 0 and at most 7 days.")
    return float(raw)


def _extra_data(source: Mapping[str, Any]) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    key = source.get("comfy_org_api_key") or source.get(_API_KEY)
    if key:
        if not isinstance(key, str):
            raise BadRequest("'comfy_org_api_key' must be a text.")
        extra[_API_KEY] = key
    given = source.get("extra_pnginfo")
    if isinstance(given, dict):
        extra["extra_pnginfo"] = given
    return extra
