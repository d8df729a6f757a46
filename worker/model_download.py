"""The ``download`` command: a model from the internet or a bucket into the models folder, once and whole.

Workers that want the same file wait for each other; one that was killed is gone on from by the next.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import upkeep
from .config import Config
from .contract import OWN_FOLDER, Progress, inside
from .download import Downloader, Stop
from .errors import BadRequest, JobError
from .ledger import Ledger
from .model_fetch import Fetch, Fetched, exists
from .model_part import sha256_of
from .model_request import ModelWish, parse_wish
from .model_sources import FromBucket, FromWeb, Source, no_bucket
from .tasks import to_the_end

#: How often progress is told, in seconds.
_REPORT_S = 0.25


@dataclass(frozen=True, slots=True)
class Downloads:
    """What the command needs. ``folders`` is where ComfyUI looks for each kind, as far as it is known.

    ``report`` is called in the event loop. ``downloader`` brings the ways to the network, not the limits.
    """

    config: Config
    downloader: Downloader
    report: Callable[[Progress, bytes | None], None]
    folders: Mapping[str, Any] = field(default_factory=dict)
    pause_s: float = 1.0


async def download_model(source: Mapping[str, Any], use: Downloads) -> dict[str, Any]:
    """Answer the command; the model is in its place then.

    Raises:
        JobError: ``download_not_allowed``, ``bad_input``, and what :class:`Fetch` and a wait raise.
    """
    rules = use.config.model_downloads
    if not rules.allowed:
        raise JobError(
            "download_not_allowed",
            "This worker does not fetch models.",
            hint="Set ALLOW_MODEL_DOWNLOAD to true on the worker, or lay the model onto the volume yourself.",
        )
    wish = parse_wish(source, use.folders, pickles=rules.pickles)
    where = _source(wish, use)
    began = time.monotonic()
    target, warnings = await asyncio.to_thread(_target, wish, use)

    async def run() -> dict[str, Any]:
        known = await asyncio.to_thread(_already_there, wish, target, use.config)
        fetched = known or await _fetched(wish, target, where, use)
        return _answer(wish, target, fetched, use.config, already=known is not None) | {"warnings": warnings}

    # Of one target, so that a second request for it waits and then finds the file.
    name = "model-" + hashlib.sha256(str(target).encode()).hexdigest()[:32]
    ledger = Ledger(upkeep.jobs_folder(use.config.volume or use.config.models_dir), use.config.worker_id)
    answer = await ledger.once(name, name, run, patience_s=rules.timeout_s, usable=lambda _: False)
    return answer | {"seconds": round(time.monotonic() - began, 3)}


def _source(wish: ModelWish, use: Downloads) -> Source:
    rules = use.config.model_downloads
    if wish.url is None:
        if use.config.bucket is None:
            raise no_bucket()
        return FromBucket(use.config.bucket, wish.bucket, wish.key)
    downloader = dataclasses.replace(
        use.downloader, max_bytes=rules.max_bytes, timeout_s=rules.timeout_s, what="model"
    )
    return FromWeb(wish.url, downloader, rules)


def _target(wish: ModelWish, use: Downloads) -> tuple[Path, list[str]]:
    """Where the file goes: where ComfyUI looks for its kind within the models folder."""
    root, known = use.config.models_dir, [Path(folder) for folder in use.folders.get(wish.kind) or ()]
    try:
        below = next((each for each in known if each.resolve().is_relative_to(root.resolve())), None)
        # A link may be the kind's folder, and lead where the administrator wants; none below it may.
        target = inside(below or root / wish.kind, wish.name)
        if target.is_dir():
            raise BadRequest(f"The model {str(wish.name)!r} cannot be written: a folder has that name.")
    except (ValueError, OSError) as error:
        raise BadRequest(f"The model's name {str(wish.name)!r} leads out of its folder.") from error
    if below is not None or not known:
        return target, []
    return target, [f"ComfyUI does not look for models of the kind {wish.kind} in {root / wish.kind}."]


async def _fetched(wish: ModelWish, target: Path, where: Source, use: Downloads) -> Fetched:
    loop, stop, last = asyncio.get_running_loop(), Stop(), [0.0]

    def report(there: int, whole: int) -> None:
        if time.monotonic() - last[0] >= _REPORT_S:
            last[0] = time.monotonic()
            told = Progress(
                node_id=str(wish.name), class_type="download", step=there, steps=whole, nodes_total=1
            )
            loop.call_soon_threadsafe(use.report, told, None)

    fetch = Fetch(
        wish,
        target,
        where,
        use.config.model_downloads.max_bytes,
        use.config.limits.free_disk,
        report,
        stop,
        use.pause_s,
    )
    fetched = await to_the_end(asyncio.to_thread(fetch.run), stop.set)
    await asyncio.to_thread(_remember, wish, target, fetched, use.config)
    return fetched


def _already_there(wish: ModelWish, target: Path, config: Config) -> Fetched | None:
    """The file that has the name, when it is the one that is wanted. Blocks.

    Raises:
        JobError: ``model_exists`` when it is another one, or cannot be told from one.
    """
    try:
        state = target.stat()
    except OSError:
        return None
    try:
        known = _remembered(target, config)
        same_state = known.get("size") == state.st_size and known.get("changed_at") == state.st_mtime_ns
        digest = known.get("sha256") if same_state else None
        if wish.sha256 is not None and wish.size in (None, state.st_size):
            digest = digest or sha256_of(target)
            if digest == wish.sha256:
                return Fetched(state.st_size, digest, state.st_size)
        elif isinstance(digest, str) and wish.sha256 is None and known.get("source") == wish.source:
            return Fetched(state.st_size, digest, state.st_size)
    except OSError as error:
        raise exists(wish) from error
    if wish.overwrite:
        return None
    raise exists(wish)


def _answer(
    wish: ModelWish, target: Path, fetched: Fetched, config: Config, *, already: bool
) -> dict[str, Any]:
    model = {"kind": wish.kind, "name": str(wish.name), "size": fetched.size, "sha256": fetched.sha256}
    if config.volume is not None and target.is_relative_to(config.volume):
        model["volume_path"] = target.relative_to(config.volume).as_posix()
    return {"status": "success", "model": model, "already_there": already, "resumed_from": fetched.went_on}


def _record(target: Path, config: Config) -> Path:
    base = config.volume or config.models_dir
    return base / OWN_FOLDER / "downloads" / f"{hashlib.sha256(str(target).encode()).hexdigest()[:32]}.json"


def _remember(wish: ModelWish, target: Path, fetched: Fetched, config: Config) -> None:
    """Note what the file is, so that the same request need not read it again. Only a help."""
    path = _record(target, config)
    try:
        state = target.stat()
        note = {
            "source": wish.source,
            "sha256": fetched.sha256,
            "size": state.st_size,
            "changed_at": state.st_mtime_ns,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{uuid.uuid4().hex}.part")
        aside.write_text(json.dumps(note), encoding="utf-8")
        aside.replace(path)
    except OSError:
        return


def _remembered(target: Path, config: Config) -> dict[str, Any]:
    try:
        note = json.loads(_record(target, config).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}
