"""What the ComfyUI at hand can do, asked once per process of it and kept on the volume for the panel."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from .contract import OWN_FOLDER
from .errors import ComfyUnavailable, JobError
from .object_info import NodeSpec, ObjectInfo, entries, node_spec, parsed

log = logging.getLogger(__name__)

#: Types asked for one by one; more of them are cheaper in one go.
_MOST_SINGLE = 24
#: What was asked anew so recently is not asked again, in seconds.
_FRESH_S = 2.0


class AsksComfyUI(Protocol):
    """What is needed of :class:`~worker.comfyui.ComfyClient`."""

    @property
    def version(self) -> tuple[int, ...]: ...

    async def object_info(self, class_type: str | None = None) -> str: ...

    async def replaced_types(self) -> list[str]: ...


class Catalogue:
    """The node types of one ComfyUI. :meth:`forget` when its process is a new one.

    Args:
        volume: where the description is laid for the panel, as ``.comfy-runpod/catalogue/<sha256>.json``.
    """

    def __init__(self, volume: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._volume = volume
        self._clock = clock
        self._known: ObjectInfo | None = None
        self._asking: asyncio.Task[ObjectInfo] | None = None
        self._fresh: dict[str, float] = {}
        self._whole_at = -1e9

    @property
    def known(self) -> ObjectInfo | None:
        """What is known by now, without asking anybody."""
        return self._known

    @property
    def sha256(self) -> str | None:
        """Of the node types with their inputs' names and types; models and input files are left out."""
        return self._known.sha256 if self._known is not None else None

    def prefetch(self, client: AsksComfyUI) -> None:
        """Begin to ask in the background, so that the first job need not wait. A failure is no harm."""
        if self._known is None:
            self._task(client)

    async def current(self, client: AsksComfyUI, patience_s: float | None = None) -> ObjectInfo:
        """The description, asked for if it is not known yet. Going on in the background is fine.

        Raises:
            TimeoutError: when it is not there within ``patience_s``; ComfyUI goes on to be asked.
            ComfyUnavailable: when ComfyUI does not answer.
        """
        while self._known is None:
            task = self._task(client)
            done, _ = await asyncio.wait({task}, timeout=patience_s)
            if not done:
                raise TimeoutError
            if not task.cancelled():  # forgotten meanwhile: then once more
                task.result()
        return self._known

    async def refreshed(self, client: AsksComfyUI, class_types: Iterable[str]) -> ObjectInfo:
        """The description with these types asked anew: their lists of models and files may have changed.

        Raises:
            ComfyUnavailable: when ComfyUI does not answer.
        """
        info = await self.current(client)
        limit = self._clock() - _FRESH_S
        stale = [name for name in dict.fromkeys(class_types) if self._fresh.get(name, self._whole_at) < limit]
        if not stale:
            return info
        if len(stale) > _MOST_SINGLE:
            self.forget()
            return await self.current(client)
        began = self._clock()
        found: dict[str, NodeSpec | None] = {}
        elusive: list[str] = []
        for name, answer in zip(
            stale, await asyncio.gather(*(_one(client, name) for name in stale)), strict=True
        ):
            if answer is None:
                elusive.append(name)
            else:
                found[name] = answer.get(name)
        if self._known is info:  # not forgotten meanwhile
            self._known = info = info.with_nodes(found, elusive)
            self._fresh.update(dict.fromkeys(stale, began))
        return info

    def forget(self) -> None:
        """Everything: ComfyUI was started anew."""
        self._known = None
        self._fresh.clear()
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    async def close(self) -> None:
        """End what goes on in the background."""
        task = self._asking
        self.forget()
        if task is not None:
            with contextlib.suppress(asyncio.CancelledError, JobError):
                await task

    def _task(self, client: AsksComfyUI) -> asyncio.Task[ObjectInfo]:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask(client), name="object_info")
            self._asking.add_done_callback(self._asked)
        return self._asking

    async def _ask(self, client: AsksComfyUI) -> ObjectInfo:
        began, at = time.monotonic(), self._clock()
        text = await client.object_info()
        replaced = await client.replaced_types()
        try:
            info = await asyncio.to_thread(parsed, text, version=client.version, elusive=replaced)
        except (ValueError, RecursionError) as error:
            raise ComfyUnavailable("ComfyUI's list of node types cannot be read.") from error
        log.info("ComfyUI knows %d node types (asked %.1f s).", len(info.nodes), time.monotonic() - began)
        if self._volume is not None:
            await asyncio.to_thread(_lay_down, self._volume, info.sha256, text)
        self._known, self._whole_at = info, at
        return info

    def _asked(self, task: asyncio.Task[ObjectInfo]) -> None:
        if self._asking is task:
            self._asking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("ComfyUI's node types are not known: %s", error)


async def _one(client: AsksComfyUI, name: str) -> dict[str, NodeSpec] | None:
    """The type by its name; empty when ComfyUI does not know it, None when it fails to describe it."""
    try:
        text = await client.object_info(name)
        return {found: node_spec(raw) for found, raw in entries(text) if isinstance(raw, dict)}
    except (ComfyUnavailable, ValueError, RecursionError):
        return None


def catalogue_file(volume: Path, sha256: str) -> Path:
    """Where a volume has the ``/object_info`` with this hash.

    Raises:
        ValueError: when it is no SHA-256.
    """
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError("It is no SHA-256.")
    return volume / OWN_FOLDER / "catalogue" / f"{sha256}.json"


def lay_down(volume: Path, sha256: str, text: str) -> Path:
    """Write the description, whole or not at all. Blocks.

    Raises:
        OSError: when the volume refuses.
    """
    path = catalogue_file(volume, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _lay_down(volume: Path, sha256: str, text: str) -> None:
    """Once; a volume that refuses costs no job."""
    try:
        if not catalogue_file(volume, sha256).is_file():
            lay_down(volume, sha256, text)
    except OSError as error:
        log.warning("The list of node types cannot be kept on the volume: %s", error)
