"""Failures of a job, as the contract's structured answer describes them."""

from __future__ import annotations

from typing import Any

from .falls import Fall


class JobError(Exception):
    """A job that ends FAILED.

    Args:
        code: a stable word for programs (``bad_input``, ``validation_failed``, ``execution_failed`` …).
        summary: the one sentence that becomes RunPod's ``error``.
        hint: what to do about it.
        details: plain values that explain the failure.
        node: ``{"id", "class_type", "input"}`` of the node that failed.
        node_errors: ComfyUI's own validation answer, unchanged.
        traceback: ComfyUI's traceback lines, unchanged.
    """

    def __init__(
        self,
        code: str,
        summary: str,
        *,
        hint: str = "",
        details: Any = None,
        node: dict[str, Any] | None = None,
        node_errors: dict[str, Any] | None = None,
        traceback: list[str] | None = None,
    ) -> None:
        super().__init__(summary)
        self.code = code
        self.summary = summary
        self.hint = hint
        self.details = details
        self.node = node
        self.node_errors = node_errors
        self.traceback = traceback
        #: ComfyUI's history entry of what was made before it failed, when there is one.
        self.entry: dict[str, Any] | None = None
        #: The answer's lists of files that were done before it failed.
        self.finished: dict[str, list[dict[str, Any]]] = {}


class BadRequest(JobError):
    """The request cannot be understood; nothing was run."""

    def __init__(self, summary: str, *, hint: str = "", details: Any = None) -> None:
        super().__init__("bad_input", summary, hint=hint, details=details)


class ComfyUnavailable(JobError):
    """ComfyUI is not answering, or ended."""

    def __init__(self, summary: str, *, code: str = "comfyui_unavailable", hint: str = "") -> None:
        super().__init__(code, summary, hint=hint)


class ComfyLost(ComfyUnavailable):
    """ComfyUI ended while it had our prompt. ``produced``: a node had left something behind by then."""

    def __init__(
        self, summary: str = "", *, hint: str = "", produced: bool = False, fall: Fall | None = None
    ) -> None:
        super().__init__(
            summary or "ComfyUI ended while it ran this workflow.",
            code="comfyui_died",
            hint=hint or "The last log lines say why; out of memory is the usual reason.",
        )
        self.produced = produced
        self.fall = fall

    @property
    def may_run_again(self) -> bool:
        """Whether nothing was made yet and the same may well succeed the next time."""
        return not self.produced and self.fall is not None and self.fall.may_pass


def not_written(name: str, error: OSError) -> JobError:
    """The disk refused an input file."""
    return JobError(
        "input_not_written",
        f"The input file {name} could not be written: {error.strerror or error}.",
        hint="Is there room on the disk of ComfyUI's input folder, and may the worker write there?",
    )
