"""Where ComfyUI's own Queue button leads: the switch, and prompts from ComfyUI's page as jobs like others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .comfyui.bridge import LOCAL_MODE, RUNPOD_MODE, Mode, Node, RoutedPrompt
from .errors import BadInput, NeedsSetup
from .jobs.model import FROM_COMFYUI, Job, JobEvent, JobSpec
from .jobs.runner import Runner
from .jobs.states import State
from .preflight.judging import Place, judged
from .preflight.sources import Sources
from .settings import Settings
from .workflows.inputs import ComfyFolders, gathered

log = logging.getLogger(__name__)

#: ComfyUI's own names for kinds of models that had another one.
_KINDS = {"unet": "diffusion_models", "clip": "text_encoders"}
_UNNAMED = "ComfyUI workflow"


@dataclass(frozen=True, slots=True)
class RoutingStatus:
    """What the window shows of it.

    Attributes:
        node: the interception node that is connected; None while there is none.
        last_job_at: when the last prompt came from ComfyUI's page, in seconds since 1970.
    """

    mode: Mode
    node: Node | None = None
    last_job_at: float | None = None


Watcher = Callable[[RoutingStatus], None]


class Routing:
    """Decides for the bridge. All methods belong to one loop.

    Args:
        settings: as they are now; the endpoint that is chosen there is where the button leads.
        sources: what is known of the endpoint.
        keep: notes a mode that was chosen.
    """

    def __init__(
        self,
        runner: Runner,
        settings: Callable[[], Settings],
        sources: Sources,
        *,
        keep: Callable[[Mode], Awaitable[None]],
    ) -> None:
        self._runner, self._settings, self._sources, self._keep = runner, settings, sources, keep
        known = settings()
        routed = known.keep_routing and known.routing == RUNPOD_MODE and known.runpod_endpoint_id
        self.status = RoutingStatus(RUNPOD_MODE if routed else LOCAL_MODE)
        self._watchers: list[Watcher] = []
        self._nodes: list[Node] = []
        self._news = asyncio.Event()
        self._place: Place | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def mode(self) -> Mode:
        return self.status.mode

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call ``watcher`` with each new status; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    async def choose(self, mode: Mode) -> dict[str, Any]:
        """Turn the switch. Prompts under way stay where they are.

        Raises:
            NeedsSetup: when there is no endpoint to lead to.
        """
        if mode == RUNPOD_MODE and not self._settings().runpod_endpoint_id:
            raise NeedsSetup("No RunPod endpoint is chosen.", hint="Choose one in Comfy RunPod's Settings.")
        if mode != self.mode:
            self._tell(replace(self.status, mode=mode))
            await self._keep(mode)
        self._announce()
        return self._state()

    def settings_changed(self) -> None:
        """The endpoint may be another one."""
        if self.mode == RUNPOD_MODE and not self._settings().runpod_endpoint_id:
            self._tell(replace(self.status, mode=LOCAL_MODE))
        self._place = None
        self._announce()

    async def states(self) -> AsyncGenerator[dict[str, Any]]:
        last: dict[str, Any] | None = None
        while True:
            news = self._news
            self._look_at_endpoint()
            if (state := self._state()) != last:
                last = state
                yield state
            await news.wait()

    def connected(self, node: Node) -> Callable[[], None]:
        self._nodes.append(node)
        self._show_node()

        def gone() -> None:
            self._nodes.remove(node)
            self._show_node()

        return gone

    def _show_node(self) -> None:
        self._tell(replace(self.status, node=self._nodes[-1] if self._nodes else None))

    async def take(self, prompt: RoutedPrompt) -> None:
        """Queue it on the endpoint that is chosen.

        Raises:
            BadInput: when the button does not lead there, an input cannot be read, or the endpoint is known
                to lack something.
        """
        target = self._settings().runpod_endpoint_id
        if self.mode != RUNPOD_MODE or not target:
            raise BadInput("The Queue button does not lead to RunPod.")
        spec = await asyncio.to_thread(self._spec, prompt, target)
        place, here = await self._sources.place(target), await self._sources.here()
        files = {name: Path(path) for name, path in spec.files.items()}
        report = await asyncio.to_thread(judged, spec.prompt, place, here, files=files, ui=spec.ui_workflow)
        if not report.is_ready:
            raise BadInput(next(lack.text for lack in report.lacks if lack.certain))
        job = await self._runner.submit(spec)
        self._tell(replace(self.status, last_job_at=job.created_at))

    async def cancel(self, prompt_id: str) -> None:
        await self._runner.cancel(await self._known(prompt_id))

    async def events(self, prompt_id: str) -> AsyncGenerator[dict[str, Any]]:
        job_id = await self._known(prompt_id)
        news: asyncio.Queue[JobEvent] = asyncio.Queue()

        def hear(event: JobEvent) -> None:
            if event.job.id == job_id:
                news.put_nowait(event)

        stop = self._runner.watch(hear)
        try:
            # After watching: what happens between the two is seen twice, and never missed.
            event = JobEvent(await self._runner.store.get(job_id))
            while True:
                yield told_of(event)
                if event.job.is_final or event.removed:
                    return
                event = await news.get()
        finally:
            stop()

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _known(self, prompt_id: str) -> str:
        job = await self._runner.store.find(prompt_id)
        if job is None or job.origin != FROM_COMFYUI:
            raise BadInput("Comfy RunPod does not know this prompt.")
        return job.id

    def _spec(self, prompt: RoutedPrompt, target: str) -> JobSpec:
        """Blocks: looks for the input files, which lie in ComfyUI's own folders and nowhere else."""
        folders = ComfyFolders(**prompt.folders)
        workflow, files = gathered(prompt.prompt, given={}, folders=folders)
        return JobSpec(
            id=prompt.id,
            name=prompt.name.removesuffix(".json") or _UNNAMED,
            target=target,
            prompt=workflow,
            output_dir=str(prompt.folders["output"]),
            files={name: str(path) for name, path in files.items()},
            ui_workflow=prompt.workflow,
            # As ComfyUI does, when one output of several can be made.
            anyway=True,
            origin=FROM_COMFYUI,
            shown_dir=str(shown_folder(self._settings().data_dir) / prompt.id),
        )

    def _state(self) -> dict[str, Any]:
        target = self._settings().runpod_endpoint_id or ""
        place = self._place if self._place is not None and self._place.target == target else None
        return {
            "mode": self.mode,
            "endpoint": target if place is None else place.name,
            "hosts": list(self._settings().comfyui_hosts),
            "models": _models_of(place),
            "types": None if place is None or place.catalogue is None else sorted(place.catalogue.info.nodes),
        }

    def _look_at_endpoint(self) -> None:
        """Find out what the endpoint has, while the button leads there. It costs nothing."""
        target = self._settings().runpod_endpoint_id
        known = self._place is not None and self._place.target == target
        busy = self._asking is not None and not self._asking.done()
        if self.mode == RUNPOD_MODE and target and not known and not busy:
            self._asking = asyncio.create_task(self._ask(target), name="routing-endpoint")

    async def _ask(self, target: str) -> None:
        self._place = await self._sources.place(target)
        self._announce()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _tell(self, status: RoutingStatus) -> None:
        if status == self.status:
            return
        self.status = status
        for watcher in tuple(self._watchers):
            watcher(status)


def told_of(event: JobEvent) -> dict[str, Any]:
    """One line for the node: a job's state, its progress, and its end with all that came of it."""
    job = event.job
    told: dict[str, Any] = {"state": str(job.state)}
    if event.progress is not None:
        told |= event.progress.to_json()
    if job.state is State.ON_HOLD and job.error is not None:
        told["note"] = str(job.error.get("summary") or "")
    if event.removed and not job.is_final:
        told["end"] = {"state": "cancelled"}
    elif job.is_final:
        told["end"] = _end_of(job)
    return told


def _end_of(job: Job) -> dict[str, Any]:
    match job.state:
        case State.DONE:
            nodes = [*job.text_nodes, *[""] * len(job.texts)]
            files = [
                {"path": each.path, "node_id": each.node_id, "key": each.key, "media_type": each.media_type}
                for each in job.outputs
            ]
            texts = [[node, text] for node, text in zip(nodes, job.texts, strict=False)]
            return {"state": "done", "files": files, "texts": texts}
        case State.CANCELLED if job.error is None:
            return {"state": "cancelled"}
        case _:
            return {"state": "failed", "error": dict(job.error or {"summary": "The job failed."})}


def _models_of(place: Place | None) -> Mapping[str, list[str]] | None:
    if place is None or place.models is None:
        return None
    return {_KINDS.get(kind, kind): sorted(names) for kind, names in place.models.items()}


def shown_folder(data_dir: Path) -> Path:
    """Where pictures lie that ComfyUI's nodes only show, by job."""
    return data_dir / "shown"
