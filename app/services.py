"""The one place where services are built and joined. No Qt."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .comfyui.bridge import Bridge, Mode, local_key
from .comfyui.house import House
from .comfyui.installation import Installation
from .comfyui.locate import Folders, folders_of
from .comfyui.status import ComfyState
from .comfyui.surroundings import Surroundings
from .endpoint.client import JobClient
from .endpoint.config import EndpointConfig
from .endpoint.local import Access, LocalEndpoint, peek
from .endpoint.model import Health
from .endpoint.rates import RateCard, is_managed
from .errors import BadInput, NeedsSetup, ProcessFailed
from .jobs.carriers.base import Carrier
from .jobs.carriers.choice import remote_carrier
from .jobs.carriers.folder import LocalFolder
from .jobs.control import ControlServer, RunnerLock
from .jobs.money import Money
from .jobs.request import OVERHEAD_MS, Limits
from .jobs.runner import Runner
from .jobs.store import JobStore
from .jobs.targets import DEMO, LOCAL, Target
from .preflight.report import Report
from .preflight.sources import Sources
from .preflight.worker import asked_worker
from .routing import Routing
from .settings import OF_COMFYUI, Settings, save_settings
from .vault import API_KEY, S3_ACCESS_KEY, S3_SECRET_KEY, with_keys

if TYPE_CHECKING:
    from .endpoint.account import AccountClient

log = logging.getLogger(__name__)

_ENDPOINT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{3,63}")
#: How long a local endpoint that nobody asks anything and that has nothing to do stays, in seconds.
_IDLE_EXIT_S = 30.0
#: How long a local endpoint that answered is believed to be there still, in seconds.
_SURE_S = 2.0
#: The settings that prices and the limit hang on.
_OF_MONEY = ("daily_limit_usd", "runpod_api_key", "runpod_api_url", "runpod_base_url")
_LOCAL_POLL_S, _REMOTE_POLL_S = 0.03, 1.0
#: RunPod takes 1,000 jobs in 10 s from a user, wherever they come from.
_REMOTE_SEND_S = 0.0125


class EndpointTarget:
    """A target that is a local endpoint: the demo engine, or the user's own ComfyUI.

    Args:
        stays: the endpoint does not end by itself when it has nothing to do.
    """

    poll_s, send_s = _LOCAL_POLL_S, 0.0
    is_ours = True
    #: Its endpoint and its workers have them.
    limits: Limits | None = None

    def __init__(self, name: str, settings: Settings, *, port: int = 0, stays: bool = False) -> None:
        self.name = name
        self._settings = settings
        self._port = port
        self._stays = stays
        self._folder = settings.data_dir / "endpoints" / name
        self.carrier: Carrier = LocalFolder(self._folder / "volume")
        self._endpoint: LocalEndpoint | None = None
        self._access: Access | None = None
        self._client: JobClient | None = None
        self._sure_until = 0.0
        self._making_sure = asyncio.Lock()

    async def client(self) -> JobClient:
        async with self._making_sure:
            if self._client is None or time.monotonic() > self._sure_until:
                self._client = await self._ensured_client()
                self._sure_until = time.monotonic() + _SURE_S
            return self._client

    async def peek(self) -> Health | None:
        """How the endpoint is, when it runs; it is neither started nor kept from ending by that."""
        return await peek(self._folder, self.name)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
        if self._endpoint is not None and await self._endpoint.stop_if_idle():
            await self._stopped()

    async def serve(self) -> Access:
        """Have the endpoint up; how to reach it."""
        await self.client()
        if self._access is None:
            raise ProcessFailed("The local endpoint did not start.")
        return self._access

    async def stop(self) -> None:
        """End the endpoint, busy or not. Its unfinished jobs go on when it is started again."""
        if self._client is not None:
            await self._client.close()
        if self._endpoint is not None:
            await self._endpoint.stop()
            await self._stopped()

    async def _ensured_client(self) -> JobClient:
        if self._endpoint is None:
            self._endpoint = LocalEndpoint(self._config(await self._worker_env()))
        access = await self._endpoint.ensure()
        if self._client is not None and access == self._access:
            return self._client
        if self._client is not None:
            await self._client.close()
        self._access = access
        return JobClient(access.base_url, access.endpoint_id, access.api_key, attempts=2, backoff_s=0.1)

    def _config(self, worker_env: dict[str, str]) -> EndpointConfig:
        settings, volume = self._settings, self._folder / "volume"
        volume.mkdir(parents=True, exist_ok=True)
        return EndpointConfig(
            endpoint_id=self.name,
            data_dir=self._folder,
            worker_argv=(sys.executable, "-m", "worker"),
            worker_env={"EXECUTION_TIMEOUT": f"{settings.execution_timeout_s:g}", **worker_env},
            volume_dir=volume,
            # One worker per attached ComfyUI; several only with own instances.
            workers=settings.workers if self.name == DEMO else 1,
            execution_timeout_ms=int(settings.execution_timeout_s * 1000) + OVERHEAD_MS,
            idle_exit_s=None if self._stays else _IDLE_EXIT_S,
            port=self._port,
        )

    async def _stopped(self) -> None:
        """The endpoint has ended, and nothing of ours runs any more."""

    async def _worker_env(self) -> dict[str, str]:
        return demo_worker_env(self._folder)


class ComfyTarget(EndpointTarget):
    """ "This computer": a worker attached to the ComfyUI at COMFYUI_URL, or to the one that we start.

    Args:
        house: the owner of that ComfyUI; one of its own when there is none to share.
    """

    def __init__(
        self, settings: Settings, *, house: House | None = None, port: int = 0, stays: bool = False
    ) -> None:
        super().__init__(LOCAL, settings, port=port, stays=stays)
        self._house = house or make_house(settings)
        self._url: str | None = None

    async def _ensured_client(self) -> JobClient:
        if self._url is None or self._settings.comfyui_url is None:
            self._house.in_use = True
            url = await self._house.ensure()
            if url != self._url:
                # A worker is given the address at its start: an endpoint with the old one is replaced.
                self._url, self._endpoint = url, None
        return await super()._ensured_client()

    async def close(self) -> None:
        if self._endpoint is None and self._house.in_use:
            # We were ended, or failed, between starting ComfyUI and the endpoint. One of an earlier run may
            # be busy with it; else nobody would end it.
            self._endpoint = LocalEndpoint(self._config({}))
        await super().close()

    async def _stopped(self) -> None:
        self._house.in_use = False
        await self._house.end()

    async def _worker_env(self) -> dict[str, str]:
        url = self._url or await self._house.ensure()
        key = await asyncio.to_thread(local_key, self._settings.data_dir)
        return attach_worker_env(url, await folders_of(url, self._settings.comfyui_dir), key)


def make_house(settings: Settings, *, before: House | None = None) -> House:
    """The owner of the ComfyUI that the settings name; see :class:`House` for ``before``."""
    folder, python, args = settings.comfyui_dir, settings.comfyui_python, settings.comfyui_args
    return House(
        settings.comfyui_url,
        None if folder is None else lambda: Installation.at(folder, python, args),
        settings.data_dir / "comfyui",
        around=Surroundings(
            settings.data_dir, settings.models_dir, settings.comfyui_env, settings.comfyui_port
        ),
        before=before,
    )


class RunPodTarget:
    """An endpoint on RunPod."""

    poll_s, send_s = _REMOTE_POLL_S, _REMOTE_SEND_S
    is_ours = False

    def __init__(self, endpoint_id: str, settings: Settings) -> None:
        self.name = endpoint_id
        self.limits: Limits | None = Limits(settings.execution_timeout_s, settings.job_ttl_s)
        self.carrier = remote_carrier(endpoint_id, settings, self.client)
        self._settings = settings
        self._client: JobClient | None = None

    async def client(self) -> JobClient:
        if self._client is None:
            settings = self._settings
            if not settings.runpod_api_key:
                settings = await asyncio.to_thread(with_keys, settings, API_KEY)
            if not settings.runpod_api_key:
                raise NeedsSetup(
                    f"No RunPod API key is set, so the endpoint {self.name} cannot be asked.",
                    hint="Set RUNPOD_API_KEY, or keep the key with `comfy-runpod key set`.",
                )
            self._client = JobClient(settings.runpod_base_url, self.name, settings.runpod_api_key.reveal())
        return self._client

    async def close(self) -> None:
        await self.carrier.close()
        if self._client is not None:
            await self._client.close()


def make_target(name: str, settings: Settings, house: House | None = None) -> Target:
    """The target of a name: ``demo``, ``local`` (with its ComfyUI's owner), or an endpoint's id on RunPod.

    Raises:
        BadInput: when it can be none of them.
    """
    if name == DEMO:
        return EndpointTarget(DEMO, settings)
    if name == LOCAL:
        return ComfyTarget(settings, house=house)
    if _ENDPOINT_ID.fullmatch(name):
        return RunPodTarget(name, settings)
    raise BadInput(f"There is no target {name!r}.", hint="Use demo, local, or the id of a RunPod endpoint.")


def make_rates(settings: Settings) -> RateCard | None:
    """Where prices come from; None where the job API is somebody else's than RunPod's."""
    if not is_managed(settings):
        return None

    async def client() -> AccountClient | None:
        # Only here: it brings an HTTP library that jobs on this computer do not need.
        from .endpoint.account import AccountClient

        known = settings
        if not known.runpod_api_key:
            known = await asyncio.to_thread(with_keys, known, API_KEY)
        return AccountClient(known.runpod_api_url, known.runpod_api_key) if known.runpod_api_key else None

    return RateCard(client)


def make_sources(
    settings: Callable[[], Settings],
    *,
    local_url: Callable[[], Awaitable[str | None]],
    name: Callable[[str], str],
) -> Sources:
    """What is known of the places to run: see there. Keys that only the keyring has are not asked for."""

    def carrier(target: str) -> Carrier:
        return RunPodTarget(target, settings()).carrier

    return Sources(settings, local_url=local_url, carrier=carrier, name=name)


async def ask_worker(
    settings: Settings, target: str, prompt: dict[str, Any], names: Collection[str]
) -> Report:
    """What a worker of the target says of a workflow, which is billed on RunPod; see ``preflight.worker``."""
    place = make_target(target, settings)
    try:
        return await asked_worker(await place.client(), prompt, target, names=names)
    finally:
        await place.close()


def demo_worker_env(folder: Path) -> dict[str, str]:
    """Workers that own a demo engine each, on any free port, with folders of its own."""
    engine = folder / "engines" / "$RUNPOD_POD_ID"
    return {
        "COMFYUI_COMMAND": json.dumps([sys.executable, "-m", "app.demo", "--preview-method", "auto"]),
        "COMFYUI_PORT": "0",
        "COMFYUI_DIR": str(engine),
    }


def attach_worker_env(url: str, folders: Folders, key: str) -> dict[str, str]:
    """A worker that speaks to somebody else's ComfyUI; by ``key`` its interception node knows the worker."""
    return {
        "COMFYUI_LOCAL_KEY": key,
        "COMFYUI_URL": url,
        "COMFYUI_INPUT_DIR": str(folders.input_dir),
        "COMFYUI_OUTPUT_DIR": str(folders.output_dir),
    }


class Services:
    """The runner with what it needs. Only the holder of the runner's lock may build one.

    Args:
        on_window: called when another process wants the window, with files for it; None: there is no window.

    Attributes:
        house: the owner of this computer's ComfyUI; another one after :meth:`use` when its settings changed.
        routing: where ComfyUI's own Queue button leads.
    """

    def __init__(self, settings: Settings, *, on_window: Callable[[list[Path]], None] | None = None) -> None:
        self._settings = settings
        self.house = make_house(settings)
        self.store = JobStore(settings.data_dir / "jobs.sqlite")
        self.money = Money(self.store, make_rates(settings), settings.daily_limit_usd)
        self.runner = Runner(self.store, self._make_target, settings.data_dir / "inputs", purse=self.money)
        self._control = ControlServer(self.runner, settings.data_dir, on_window=on_window)
        sources = make_sources(lambda: self._settings, local_url=self.local_url, name=lambda target: target)
        self.routing = Routing(self.runner, lambda: self._settings, sources, keep=self._keep_mode)
        self._bridge = Bridge(self.routing, settings.data_dir)

    @classmethod
    async def start(
        cls, settings: Settings, *, on_window: Callable[[list[Path]], None] | None = None
    ) -> Self:
        if settings.runpod_volume_id and not settings.runpod_s3_access_key:
            # Only then the keyring is asked for them: it takes a while.
            settings = await asyncio.to_thread(with_keys, settings, S3_ACCESS_KEY, S3_SECRET_KEY)
        services = cls(settings, on_window=on_window)
        await services.store.open()
        try:
            # What is left comes before what is new.
            await services.runner.start()
            await services._control.start()
            await services._bridge.start()
        except BaseException:
            await services.close()
            raise
        return services

    def use(self, settings: Settings) -> None:
        """Make targets with these settings from now on; the data folder stays what it was."""
        old, self._settings = self._settings, settings
        if any(getattr(old, name) != getattr(settings, name) for name in _OF_MONEY):
            self.money.use(make_rates(settings), settings.daily_limit_usd)
        if any(getattr(old, name) != getattr(settings, name) for name in OF_COMFYUI):
            self.house = make_house(settings, before=self.house)
        self.routing.settings_changed()

    async def close(self, *, limit_s: float | None = None) -> None:
        """End everything; ``limit_s``: what the runner has not ended after so many seconds is left."""
        try:
            await self._control.close()
            await self._bridge.close()
            await self.routing.close()
            await self.runner.close(limit_s=limit_s)
            await self.house.close()
        finally:
            await self.store.close()

    async def local_url(self) -> str | None:
        """The address of this computer's ComfyUI while it runs; looked at anew."""
        status = await self.house.look()
        return status.url if status.state is ComfyState.RUNNING else None

    async def _keep_mode(self, mode: Mode) -> None:
        await self._bridge.note_mode()
        if self._settings.keep_routing:
            await asyncio.to_thread(save_settings, self._settings.config_file, {"routing": mode})

    def _make_target(self, name: str) -> Target:
        return make_target(name, self._settings, self.house)


async def become_runner(
    settings: Settings, *, on_window: Callable[[list[Path]], None] | None = None
) -> tuple[RunnerLock, Services] | None:
    """The services, when no other process runs the jobs; release the lock after closing them."""
    lock = RunnerLock(settings.data_dir)
    acquiring = asyncio.create_task(asyncio.to_thread(lock.acquire), name="runner-lock")
    try:
        if not await asyncio.shield(acquiring):
            return None
        return lock, await Services.start(settings, on_window=on_window)
    except BaseException:
        # Cancelled while the thread was at it, it may have got the lock all the same.
        await asyncio.wait([acquiring])
        lock.release()
        raise
