"""The words of a job's state, as every surface shows them: the window's pills and the command line."""

from __future__ import annotations

from typing import Final

from .states import State

PILL: Final[dict[State, str]] = {
    State.PREPARING: "Preparing",
    State.ON_HOLD: "On hold",
    State.UPLOADING: "Uploading",
    State.SUBMITTING: "Sending",
    State.WAITING: "Waiting",
    State.STARTING: "Starting worker",
    State.RUNNING: "Running",
    State.CANCELLING: "Cancelling",
    State.DOWNLOADING: "Downloading",
    State.DONE: "Done",
    State.FAILED: "Failed",
    State.CANCELLED: "Cancelled",
    State.TIMED_OUT: "Timed out",
}
