"""Where jobs run, as the runner sees it: something that gives a client of the job API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from .carriers.base import Carrier
from .request import Limits

if TYPE_CHECKING:
    from ..endpoint.client import JobClient

#: The targets on this computer; every other name is the id of an endpoint on RunPod.
DEMO: Final = "demo"
LOCAL: Final = "local"


def is_remote(target: str) -> bool:
    """Whether jobs of this target run on RunPod."""
    return target not in (DEMO, LOCAL)


class Target(Protocol):
    """One place to run.

    Attributes:
        poll_s: the shortest pause between looks at its jobs, in seconds.
        send_s: the shortest pause between two requests for jobs, in seconds.
        is_ours: nobody else sends to it, and what it says of its queue is true at that moment. When it is
            seen empty, and no worker has noted a job on the volume, then its request never arrived.
        limits: of jobs that come without limits of their own; None where the endpoint has them already.
        carrier: brings big inputs to the volume, and results from it; closing the target closes it.
    """

    name: str
    poll_s: float
    send_s: float
    is_ours: bool
    limits: Limits | None
    carrier: Carrier

    async def client(self) -> JobClient:
        """Have the target ready for a request, starting what must be started. Called often, so cheap.

        Raises:
            Unreachable: for a passing fault; it is tried again.
            ComfyRunPodError: for anything that the user must do something about.
        """

    async def close(self) -> None:
        """Let go; stops what was started here and has nothing left to do."""
