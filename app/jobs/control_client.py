"""Speaking to the runner of another process, by the loopback socket that ``control`` serves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput, ComfyRunPodError, Refused, Unreachable
from .model import Job, JobEvent, JobSpec

if TYPE_CHECKING:
    # Imported where it is used: it is large, and the window is in sight before it is needed.
    import aiohttp

TOKEN_HEADER = "X-Comfy-RunPod-Token"
#: In the place of ids: all jobs.
ALL = "*"
#: A job with its texts and the diagnostics of its error is one line.
_LONGEST_LINE = 1 << 25


class RunnerGone(Unreachable):
    """The runner ended; whoever asked can become the runner."""

    code = "runner_gone"


class NoWindow(ComfyRunPodError):
    """The process that runs the jobs is a command, so no window can be shown."""

    code = "no_window"


class ControlClient:
    """Speaks to the runner of another process.

    Every method raises RunnerGone when there is none or it ended, BadInput when it refused, and Refused when
    it failed: asking again would not help then.
    """

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "control.json"

    async def submit(self, spec: JobSpec) -> Job:
        return Job.from_json(await self._post("/jobs", spec.to_json()))

    async def cancel(self, job_id: str) -> Job:
        return Job.from_json(await self._post(f"/jobs/{job_id}/cancel", {}))

    async def retry(self, job_id: str, *, new_id: str | None = None) -> Job:
        return Job.from_json(await self._post(f"/jobs/{job_id}/retry", {"new_id": new_id}))

    async def run_again(self, job_id: str, target: str | None = None, *, new_id: str | None = None) -> Job:
        body = {"target": target, "new_id": new_id}
        return Job.from_json(await self._post(f"/jobs/{job_id}/run_again", body))

    async def remove(self, ids: Collection[str]) -> list[Job]:
        return [Job.from_json(raw) for raw in await self._post("/jobs/remove", {"ids": list(ids)})]

    async def open_window(self, paths: Sequence[Path]) -> bool:
        """Have the runner's window shown with these files; False when it has none."""
        try:
            await self._post("/window", {"files": [str(path) for path in paths]})
        except NoWindow:
            return False
        return True

    async def events(self, ids: Collection[str]) -> AsyncGenerator[JobEvent, None]:
        """The jobs as they are, then each event of theirs."""
        async with self._stream(",".join(ids)) as events:
            async for event in events:
                yield event

    @asynccontextmanager
    async def all_events(self) -> AsyncIterator[AsyncIterator[JobEvent]]:
        """The events of all jobs; none is missed from the moment on that the block is entered."""
        async with self._stream(ALL) as events:
            yield events

    @asynccontextmanager
    async def _stream(self, ids: str) -> AsyncIterator[AsyncIterator[JobEvent]]:
        import aiohttp

        base, headers = self._where()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with aiohttp.ClientSession(
            timeout=timeout, headers=headers, read_bufsize=_LONGEST_LINE
        ) as session:
            try:
                response = await session.get(f"{base}/events", params={"ids": ids})
                response.raise_for_status()
            except (aiohttp.ClientError, OSError) as error:
                raise RunnerGone("The running panel does not answer.") from error
            async with response, aclosing(_events_in(response)) as events:
                yield events

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        import aiohttp

        base, headers = self._where()
        try:
            timeout = aiohttp.ClientTimeout(total=60, sock_connect=5)
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(base + path, json=body) as response,
            ):
                if response.status >= 500:
                    raise Refused("The running panel failed to do that.", status=response.status)
                answer = await response.json()
                if response.status in (400, 409) and isinstance(answer, Mapping):
                    kind = NoWindow if answer.get("code") == NoWindow.code else BadInput
                    raise kind(str(answer.get("summary")), hint=str(answer.get("hint") or ""))
                response.raise_for_status()
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise RunnerGone("The running panel does not answer.") from error

    def _where(self) -> tuple[str, dict[str, str]]:
        try:
            raw = json.loads(self._file.read_text("utf-8"))
            return f"http://127.0.0.1:{int(raw['port'])}", {TOKEN_HEADER: str(raw["token"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunnerGone("No panel is running.") from error


async def _events_in(response: aiohttp.ClientResponse) -> AsyncGenerator[JobEvent, None]:
    import aiohttp

    try:
        async for line in response.content:
            yield JobEvent.from_json(json.loads(line))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RunnerGone("The running panel ended.") from error
    raise RunnerGone("The running panel ended.")
