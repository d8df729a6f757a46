"""Reading a request: everything that comes from outside is checked here, before anything is done with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from .config import Bucket
from .contract import checked_job_id, safe_name
from .download import checked_url
from .errors import BadRequest
from .given import InputFile, files_of_request

OutputMode = Literal["auto", "base64", "volume", "s3"]
#: The name under which ComfyUI's API nodes look for the user's key.
_API_KEY = "api_key_comfy_org"


@dataclass(frozen=True, slots=True)
class OutputWish:
    """Where the client wants its results. ``mode`` None is a client that knows of no choice."""

    mode: OutputMode | None = None
    prefix: PurePosixPath | None = None
    #: Whether what nodes only show is a result too.
    previews: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. ``timeout_s`` is None when the worker's own limit holds."""

    workflow: dict[str, Any]
    files: tuple[InputFile, ...] = ()
    output: OutputWish = OutputWish()
    client_job_id: str | None = None
    timeout_s: float | None = None
    extra_data: Mapping[str, Any] = field(default_factory=dict)
    #: Whether the outputs that ComfyUI accepts will do when it refuses others.
    allow_partial: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be in an answer or a log."""
        key = self.extra_data.get(_API_KEY)
        return (key,) if key else ()

    def digest(self) -> str:
        """The SHA-256 of what decides the result: not of keys and limits, which a second try may change."""
        told = {
            "workflow": self.workflow,
            "files": [[str(file.name), file.identity()] for file in self.files],
            "output": [self.output.mode, str(self.output.prefix), self.output.previews],
            "allow_partial": self.allow_partial,
            "extra": {key: value for key, value in self.extra_data.items() if key != _API_KEY},
        }
        canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def loaded(raw: object) -> dict[str, Any]:
    """A job's ``input``: an object, or a JSON string of one.

    Raises:
        BadRequest: when it is neither.
    """
    if raw is None:
        raise BadRequest("Please provide input: the job has no JSON object of that name.")
    return _loaded(raw, "The job's input")


def parse_request(raw: object) -> Request:
    """Check a job's ``input``.

    Raises:
        BadRequest: with a sentence that names the field and the offender.
    """
    source = loaded(raw)
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
        files=files_of_request(source),
        output=_output_wish(source, ours=client_job_id is not None),
        client_job_id=client_job_id,
        timeout_s=_timeout(source.get("timeout")),
        extra_data=_extra_data(source),
        allow_partial=_truth(source, "allow_partial"),
    )


def bucket_of(job: Mapping[str, Any]) -> Bucket | None:
    """The bucket that a job brings along for its results, as RunPod hands it through.

    Raises:
        BadRequest: when it cannot be used.
    """
    raw = job.get("s3Config")
    if not raw:
        return None
    names = ("endpointUrl", "accessId", "accessSecret")
    given = [raw.get(name) for name in names] if isinstance(raw, dict) else []
    if not given or not all(isinstance(value, str) and value for value in given):
        raise BadRequest(f"'s3Config' must be an object with the texts {', '.join(names)}.")
    endpoint, access_key, secret_key = map(str, given)
    name = raw.get("bucketName") or None
    if name is not None and not isinstance(name, str):
        raise BadRequest("'s3Config.bucketName' must be a text.")
    try:
        checked_url(endpoint)
    except ValueError as error:
        raise BadRequest(f"The address in 's3Config.endpointUrl' cannot be used: {error}") from error
    return Bucket(endpoint.rstrip("/"), access_key, secret_key, name)


def _truth(source: Mapping[str, Any], name: str) -> bool:
    value = source.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"'{name}' must be true or false.")
    return value


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


def _output_wish(source: Mapping[str, Any], *, ours: bool) -> OutputWish:
    output = source.get("output") or {}
    if not isinstance(output, dict):
        raise BadRequest('\'output\' must be an object like {"mode": "auto"}.')
    default = "volume" if source.get("return_base64") is False else None
    if default is None and (ours or source.get("return_base64") or "output" in source):
        default = "auto"
    mode = output.get("mode", default)
    if mode not in ("auto", "base64", "volume", "s3", None):
        raise BadRequest(f"Unknown output mode {mode!r}.", hint="Use 'auto', 'base64', 'volume' or 's3'.")
    previews = output.get("previews", False)
    if not isinstance(previews, bool):
        raise BadRequest("'output.previews' must be true or false.")
    prefix = output.get("prefix") or None
    try:
        return OutputWish(mode, None if prefix is None else safe_name(prefix), previews)
    except ValueError as error:
        raise BadRequest(f"'output.prefix' cannot be used. {error}") from error


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
