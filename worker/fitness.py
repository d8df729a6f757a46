"""What is looked at before the first job is taken: a worker that fails here is replaced by the platform.

Only what another machine may do better fails it. A ComfyUI that cannot be started would fail everywhere: the
worker takes the job then, so that its client learns why.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import Config
from .engine import Engine, Wish
from .errors import ComfyUnavailable, JobError
from .monitor import raise_for_verdict
from .supervisor import OwnComfy

log = logging.getLogger(__name__)

_NO_GPU = ("", "none", "void")
_DRIVER = Path("/dev/nvidiactl")


class Unfit(Exception):
    """This machine cannot do the work; the sentence says why."""


async def check(config: Config, own: OwnComfy, env: Mapping[str, str] = os.environ) -> None:
    """Look at volume, ComfyUI and GPU, and warm up.

    Raises:
        Unfit: when the volume that was promised is not mounted, or no GPU is seen where there must be one.
    """
    if config.volume is None and (env.get("VOLUME_PATH") or env.get("RUNPOD_VOLUME_ID")):
        raise Unfit(f"The network volume is not mounted at {env.get('VOLUME_PATH') or '/runpod-volume'}.")
    if config.volume is not None and not config.models_dir.is_dir():
        log.warning("There is no models folder at %s: the volume brings no models.", config.models_dir)
    engine = Engine(config, own)
    try:
        await engine.ready()
        if promises_gpu(env) and not has_gpu(engine.stats):
            raise Unfit("ComfyUI sees no GPU on this machine.")
        if config.supervision.warm_up is not None:
            await _warm_up(engine, config)
    except ComfyUnavailable as error:
        log.error("%s The first job will tell its client.", error.summary)  # noqa: TRY400 - a sentence will do
    finally:
        await engine.close()


def promises_gpu(env: Mapping[str, str]) -> bool:
    """Whether the platform says that there is a GPU for us."""
    if env.get("RUNPOD_GPU_COUNT", "").isdecimal():
        return int(env["RUNPOD_GPU_COUNT"]) > 0
    named = env.get("NVIDIA_VISIBLE_DEVICES", "").strip().lower()
    # CUDA's own images say "all", wherever they run: that is a promise only where there is a driver.
    return _DRIVER.exists() if named == "all" else named not in _NO_GPU


def has_gpu(stats: Mapping[str, Any]) -> bool:
    """Whether ComfyUI names a device that is not the CPU."""
    devices = stats.get("devices")
    listed = devices if isinstance(devices, list) else []
    return any(isinstance(each, Mapping) and each.get("type") not in (None, "cpu") for each in listed)


async def _warm_up(engine: Engine, config: Config) -> None:
    """Run the workflow that loads what most jobs need. Its results are thrown away, its failures logged."""
    path = config.supervision.warm_up
    if path is None:
        return
    try:
        workflow = json.loads(await asyncio.to_thread(path.read_text, "utf-8"))
        wish = Wish({}, config.execution_timeout_s)
        ran = await engine.run(str(uuid.uuid4()), workflow, wish, lambda _progress, _preview: None)
        raise_for_verdict(ran.entry, workflow)
        await engine.discard(ran)
        log.info("Warmed up with %s.", path.name)
    except (OSError, ValueError) as error:
        log.warning("The warm-up workflow %s cannot be read: %s", path, error)
    except JobError as error:
        log.warning("The warm-up workflow failed: %s", error.summary)
