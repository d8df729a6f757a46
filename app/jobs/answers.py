"""What an endpoint's answers mean for a job, as plain values: errors to show, texts, the worker's note."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from worker.contract import FILE_LISTS

from ..endpoint.client import JobClient
from ..endpoint.errors import SubmitUnanswered, UnknownJob
from ..endpoint.model import JobReply
from ..errors import ComfyRunPodError
from .model import Job

RESULT_LOST = {
    "summary": "The job ran, but its result was lost: RunPod takes none of that size.",
    "hint": "Attach a network volume, so that large results are kept there.",
    "code": "result_lost",
}
JOB_UNKNOWN = {
    "summary": "The endpoint no longer knows this job.",
    "hint": "RunPod keeps results for 30 minutes. Run the job again.",
    "code": "job_unknown",
}
CANCELLED_ELSEWHERE = {
    "summary": "Cancelled at the endpoint, not from here.",
    "hint": "Run the job again.",
    "code": "cancelled_elsewhere",
}


async def ask(client: JobClient, job: Job) -> JobReply | ComfyRunPodError | None:
    """The platform's word on a job, None when it knows no such job, or why it cannot be had.

    An error is a value here: what is wrong with one job is no news about the others.
    """
    try:
        return await client.status(job.remote_id or "")
    except UnknownJob:
        return None
    except ComfyRunPodError as error:
        return error


def problem_json(error: ComfyRunPodError) -> dict[str, Any]:
    problem = error.problem
    details = json.loads(json.dumps(dict(problem.details), default=str))
    return {"summary": problem.summary, "hint": problem.hint, "code": problem.code, "details": details}


def maybe_sent(job: Job, cause: SubmitUnanswered | None, *, sought: bool = False) -> dict[str, Any]:
    """Why a job whose submit got no answer waits for the user; ``sought``: it may be found on the volume."""
    also = "When a worker takes it, that is seen on the volume, and it goes on by itself. " if sought else ""
    return {
        "summary": "The request was sent and no answer came: the job may be running already.",
        "hint": f"{also}`comfy-runpod jobs retry {job.id[:8]}` sends it again, which may be charged twice.",
        "code": "maybe_sent",
        "details": {"sought": sought, **({} if cause is None else problem_json(cause))},
    }


def never_heard_of(job: Job, ttl_s: float) -> dict[str, Any]:
    """Why a job whose submit got no answer ends: its time has passed without a sign of it."""
    return {
        "summary": "The request got no answer, and nothing was heard of the job in the time it had to live.",
        "hint": "Run the job again.",
        "code": "never_heard_of",
        "details": {"ttl_s": ttl_s, **({} if job.error is None else {"first": dict(job.error)})},
    }


def error_of(reply: JobReply) -> dict[str, Any]:
    """A failed job's error: our worker's structured one, or whatever another handler said.

    Pictures that came with it are left out: the list of jobs is no place for megabytes.
    """
    output: Mapping[str, Any] = reply.output if isinstance(reply.output, dict) else {}
    try:
        said = reply.error_message
    except RecursionError:
        said = reply.error
    summary = said or f"The job ended as {reply.status} without a reason."
    details = {key: value for key, value in output.items() if key not in FILE_LISTS}
    if not details and reply.error != summary:
        details = {"raw": reply.error}
    code = str(output.get("code") or "") or reply.status.lower()
    return {"summary": summary, "hint": str(output.get("hint") or ""), "code": code, "details": details}


def lacks_input(reply: JobReply) -> bool:
    """Whether a failed job did not run since an input is not in the volume's store."""
    return isinstance(reply.output, dict) and reply.output.get("code") == "input_missing"


def texts_of(output: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The texts of an answer, the nodes they are from, and its warnings."""
    if not isinstance(output, dict):
        return (), (), ()
    listed, warned = output.get("text"), output.get("warnings")
    told = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return (
        tuple(str(each.get("text", "")) for each in told),
        tuple(str(each.get("node_id") or "") for each in told),
        tuple(str(warning) for warning in warned) if isinstance(warned, list) else (),
    )


def disk_error(error: OSError | ComfyRunPodError, job: Job) -> str:
    if isinstance(error, ComfyRunPodError):
        return str(error)
    return f"The results cannot be written to {job.output_dir}: {error.strerror or error}."
