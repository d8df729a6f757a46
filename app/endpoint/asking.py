"""A job whose answer is waited for at once: a question to a worker. On RunPod it is billed like any job."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from ..errors import ComfyRunPodError
from .client import JobClient
from .model import JobReply

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_CANCEL_S = 2.0


async def asked(client: JobClient, request: Mapping[str, Any]) -> JobReply:
    """Queue the request and wait for its end. Cancelled, it takes the job out of the queue again.

    Raises:
        ComfyRunPodError: as the client does.
    """
    reply, pause_s = await client.run(request), _FIRST_PAUSE_S
    try:
        while not reply.is_final:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
            reply = await client.status(reply.id)
    except asyncio.CancelledError:
        # Nobody wants it any more; left in the queue it would start a worker for nothing.
        with contextlib.suppress(ComfyRunPodError, TimeoutError):
            async with asyncio.timeout(_CANCEL_S):
                await client.cancel(reply.id)
        raise
    return reply
