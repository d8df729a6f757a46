"""One job from a file, without a platform: to try a worker, an image or a workflow."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .handler import Worker

_ID = "local_test"


def read_job(path: Path) -> dict[str, Any]:
    """The job in a file: a whole job with ``input``, an input, or a workflow alone.

    Raises:
        ValueError: when the file has no JSON object.
        OSError: when it cannot be read.
    """
    raw = json.loads(path.read_text("utf-8"))
    if not isinstance(raw, dict):
        raise ValueError(f"{path} has no JSON object.")
    if "input" in raw:
        return {"id": _ID, **raw}
    known = raw.keys() & {"workflow", "prompt", "command"}
    # A workflow's nodes may be called anything, and are objects with a class.
    is_workflow = all(isinstance(node, dict) and "class_type" in node for node in raw.values())
    return {"id": _ID, "input": raw if known and not is_workflow else {"workflow": raw}}


def run_once(worker: Worker, job: dict[str, Any], answer_to: Path | None) -> int:
    """Run the job and write its answer; the exit code: 0 for a success, 1 for a failure."""

    async def run() -> dict[str, Any]:
        try:
            return await worker.handle(job)
        finally:
            await worker.close()

    answer = asyncio.run(run())
    answer.pop("refresh_worker", None)
    text = json.dumps(answer, indent=1) + "\n"
    if answer_to is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        answer_to.write_text(text, encoding="utf-8")
    return 1 if "error" in answer else 0
