"""A built image, run here as RunPod runs it: as a worker of a local endpoint, with a real workflow."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from worker.contract import FILE_LISTS, OWN_FOLDER

from ..comfyui.repositories import remove_tree
from ..docker.engine import Engine
from ..docker.model import Mount
from ..endpoint.asking import asked
from ..endpoint.client import JobClient
from ..endpoint.config import EndpointConfig
from ..endpoint.local import LocalEndpoint
from ..endpoint.model import JobReply
from ..errors import ComfyRunPodError, ProcessFailed, Unreachable
from ..file_tail import FileTail
from ..threads import unbroken
from .context import INSIDE_ABOUT
from .lock import pins_in

#: On every container of a trial, with the trial's own value.
LABEL = "comfy-runpod.trial"
VOLUME = "/runpod-volume"
_MODELS = f"{VOLUME}/comfyui/models"
#: What a container calls the computer that it runs on.
_HOST = "host.docker.internal"
#: A first start unpacks Python's caches and may load models from a slow disk.
START_S, JOB_S = 300.0, 900.0
#: What the worker is told by the endpoint; the container gets these and nothing else of the environment.
_GIVEN = (
    "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_POST_OUTPUT", "RUNPOD_WEBHOOK_PING", "RUNPOD_AI_API_KEY",
    "RUNPOD_POD_ID", "RUNPOD_PING_INTERVAL", "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS", "RUNPOD_SKIP_GPU_CHECK",
    "RUNPOD_LOG_LEVEL", "EXECUTION_TIMEOUT", "COMFYUI_CPU",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the image made: its name, its media type, and what is in it."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Attributes:
        ready_s: from the start of the container to a worker that takes jobs.
        job_s: the workflow, from being sent to its answer.
        gpu: whether it ran on one.
        object_info: ComfyUI's node types, as ``/object_info`` has them.
        packages: version by name, of ComfyUI's environment in the image.
        about: what the image says it was made of.
    """

    made: tuple[Made, ...]
    ready_s: float
    job_s: float
    gpu: bool
    object_info: Mapping[str, Any]
    packages: Mapping[str, str]
    about: Mapping[str, Any]
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """What an image is tried with.

    Attributes:
        folder: for the endpoint and the volume; made and removed.
        models: the models folder of this computer, mounted read-only; None: none.
        request: what a worker is sent: the workflow with its inputs.
        gpu: give the container the GPUs.
        start_s, job_s: how long each may take.
    """

    folder: Path
    models: Path | None
    request: Mapping[str, Any]
    gpu: bool
    start_s: float = START_S
    job_s: float = JOB_S

    @property
    def log_file(self) -> Path:
        """What the container says."""
        return self.folder / "endpoint" / "logs" / "worker-1.log"


async def try_image(
    engine: Engine, image: str, setting: Setting, on_line: Callable[[str], None] = lambda _line: None
) -> Trial:
    """Run the image, the workflow through it, and ask what is in it. Leaves no container and no process.

    Raises:
        ProcessFailed: when the image does not start, or the workflow does not run in it.
        Unreachable: when it is too slow.
    """
    label = secrets.token_hex(8)
    try:
        log_file = setting.log_file
        begun = time.monotonic()
        async with _followed(log_file, on_line), _endpoint(engine, image, setting, label) as (client, volume):
            await _ready(client, setting, begun)
            ready_s = time.monotonic() - begun
            reply = await _within(setting.job_s, asked(client, setting.request), "The workflow")
            output = await asyncio.to_thread(_output, reply, setting)
            job_s = time.monotonic() - begun - ready_s
            info = await _within(setting.start_s, asked(client, {"command": "object_info"}), "ComfyUI")
            nodes = await _nodes(await asyncio.to_thread(_output, info, setting), volume)
        lines = await engine.run_once(image, ["uv", "pip", "freeze", "--python", "/opt/comfyui"])
        about = json.loads(await engine.copy_out(image, INSIDE_ABOUT))
    finally:
        await unbroken(_clear(engine, image, setting.folder, label))
    return Trial(
        made=await asyncio.to_thread(_made, output),
        ready_s=ready_s,
        job_s=job_s,
        gpu=setting.gpu,
        object_info=nodes,
        packages=pins_in("\n".join(lines)),
        about=about if isinstance(about, dict) else {},
        provenance=output.get("provenance") or {},
    )


@asynccontextmanager
async def _endpoint(
    engine: Engine, image: str, setting: Setting, label: str
) -> AsyncIterator[tuple[JobClient, Path]]:
    folder = setting.folder / "endpoint"
    volume = await asyncio.to_thread(_volume_in, setting)
    # Only where containers share the network of this computer, it has one name for both.
    shared = sys.platform == "linux" and engine.root is not None
    mounts = [Mount(volume, VOLUME, readonly=False)]
    if setting.models is not None:
        mounts.append(Mount(setting.models, _MODELS))
    name = f"comfy-runpod-trial-{label}"
    argv = engine.container_argv(
        image,
        name,
        labels=[f"{LABEL}={label}"],
        env_names=_GIVEN,
        mounts=mounts,
        network="host" if shared else None,
        gpus="all" if setting.gpu else None,
        hosts=[] if shared else [f"{_HOST}:host-gateway"],
        init=False,
    )
    env = {
        "EXECUTION_TIMEOUT": f"{setting.job_s:g}",
        "COMFYUI_CPU": "false" if setting.gpu else "true",
        # The endpoint gives its workers an empty home, where Docker would not find its settings.
        "DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker"),
    }
    config = EndpointConfig(
        endpoint_id="image-trial",
        data_dir=folder,
        worker_argv=(sys.executable, "-m", "app.image.container", name, *argv),
        worker_env={**engine.environment(), **env},
        volume_dir=volume,
        execution_timeout_ms=int(setting.job_s * 1000),
        # A container's first heartbeat may take as long as its start.
        worker_lost_after_s=setting.start_s,
        idle_exit_s=setting.start_s,
        listen="127.0.0.1" if shared else "0.0.0.0",
        worker_host="127.0.0.1" if shared else _HOST,
    )
    endpoint = LocalEndpoint(config)
    try:
        await endpoint.ensure()
        async with endpoint.client() as client:
            yield client, volume
    finally:
        await unbroken(endpoint.stop())


def _volume_in(setting: Setting) -> Path:
    volume = setting.folder / "volume"
    volume.mkdir(parents=True, exist_ok=True)
    if os.name == "posix":
        # Whoever the container runs as writes there. Nobody but us gets to the folder above it.
        setting.folder.chmod(0o700)
        volume.chmod(0o777)
    return volume


async def _ready(client: JobClient, setting: Setting, begun: float) -> None:
    log_file = setting.log_file
    while True:
        workers = (await client.health()).workers
        if workers.get("ready"):
            return
        late = time.monotonic() - begun > setting.start_s
        if workers.get("unhealthy") or late:
            lines = await asyncio.to_thread(_last, log_file)
            said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
            what = f"did not take a job within {setting.start_s:.0f} s" if late else "ended by itself"
            raise ProcessFailed(f"The image's worker {what}: {said.strip()[:300]}", log=lines)
        await asyncio.sleep(0.2)


async def _within(seconds: float, asking: Any, who: str) -> JobReply:
    try:
        async with asyncio.timeout(seconds):
            reply: JobReply = await asking
            return reply
    except TimeoutError:
        raise Unreachable(f"{who} in the image gave no answer within {seconds:.0f} s.") from None


def _output(reply: JobReply, setting: Setting) -> Mapping[str, Any]:
    """Raises ProcessFailed, in the worker's words, when the job failed."""
    output = reply.output if isinstance(reply.output, dict) else {}
    if reply.status == "COMPLETED":
        return output
    said = output.get("error") or reply.error_message or f"it ended as {reply.status}"
    hint = output.get("hint")
    raise ProcessFailed(
        f"The workflow failed in the image: {str(said)[:500]}",
        hint=hint if isinstance(hint, str) else "",
        answer=str(reply.error or output)[:5000],
        log=_last(setting.log_file),
    )


async def _nodes(output: Mapping[str, Any], volume: Path) -> Mapping[str, Any]:
    nodes = output.get("object_info")
    path = output.get("volume_path")
    if nodes is None and isinstance(path, str):
        place = await asyncio.to_thread((volume / PurePosixPath(path)).resolve)
        if place.is_relative_to((volume / OWN_FOLDER).resolve()):
            nodes = json.loads(await asyncio.to_thread(place.read_bytes))
    if not isinstance(nodes, dict):
        raise ProcessFailed("ComfyUI in the image did not tell its node types.")
    return nodes


def _made(output: Mapping[str, Any]) -> tuple[Made, ...]:
    """The files of an answer that came with it."""
    made: list[Made] = []
    for entry in (each for name in FILE_LISTS for each in output.get(name) or [] if isinstance(each, dict)):
        data = entry.get("data")
        if entry.get("type") == "base64" and isinstance(data, str):
            with contextlib.suppress(binascii.Error, ValueError):
                content = base64.b64decode(data, validate=True)
                made.append(Made(str(entry.get("filename")), str(entry.get("media_type")), content))
    return tuple(made)


@asynccontextmanager
async def _followed(log_file: Path, on_line: Callable[[str], None]) -> AsyncIterator[None]:
    """Tell what a growing log says, while the block runs and once more at its end."""
    tail = FileTail(log_file, 10_000)

    async def tell() -> None:
        with contextlib.suppress(OSError):
            for line in await asyncio.to_thread(tail.news):
                on_line(line.text)

    async def follow() -> None:
        while True:
            await tell()
            await asyncio.sleep(0.25)

    following = asyncio.create_task(follow(), name="trial-log")
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await unbroken(tell())


async def _clear(engine: Engine, image: str, folder: Path, label: str) -> None:
    with contextlib.suppress(ComfyRunPodError):
        await engine.stop_containers(f"{LABEL}={label}")
    try:
        await asyncio.to_thread(remove_tree, folder)
    except OSError:
        # On the volume are files of the user that the container ran as.
        mount = Mount(folder, "/trial", readonly=False)
        with contextlib.suppress(ComfyRunPodError):
            await engine.run_once(
                image, ["find", "/trial", "-mindepth", "1", "-delete"], mounts=[mount], user="0"
            )
        await asyncio.to_thread(remove_tree, folder)


def _last(path: Path, lines: int = 50) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []
