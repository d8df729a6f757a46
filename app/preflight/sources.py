"""Where catalogues and lists of models come from, without waking a worker: it would be billed.

This computer's ComfyUI is asked while it runs. An endpoint's own worker has laid its catalogue on the volume,
where the models are, too; both are read there. What was read is kept for when nobody can be asked.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from worker.contract import OWN_FOLDER

from ..comfyui.locate import folders_of
from ..comfyui.status import object_info, system_stats
from ..errors import BadInput, ComfyRunPodError
from ..jobs.carriers.base import Carrier
from ..jobs.targets import DEMO, LOCAL, is_remote
from ..s3.data_centres import MODELS
from ..s3.pace import Pace
from ..settings import Settings
from ..workflows.inputs import ComfyFolders
from .catalogue import MOST_READ, Catalogue, Source, catalogue_of, shipped
from .judging import Here, Place

log = logging.getLogger(__name__)

CATALOGUES = PurePosixPath(OWN_FOLDER, "catalogue")
_FRESH_S = 10.0
#: A volume is listed again after so long, in seconds.
_LISTED_S = 60.0
#: What a volume does not answer within so many seconds is not known.
_PATIENCE_S = 8.0


@dataclass(frozen=True, slots=True)
class _Known:
    place: Place
    at: float


class Sources:
    """Asked for each workflow; what is known is kept for some seconds.

    Args:
        settings: those in force.
        local_url: the address of this computer's ComfyUI while it runs.
        carrier: the way to an endpoint's volume.
        name: a target as people call it.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        local_url: Callable[[], Awaitable[str | None]],
        carrier: Callable[[str], Carrier],
        name: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._local_url = local_url
        self._carrier = carrier
        self._name = name
        self._places: dict[str, _Known] = {}
        self._read: dict[str, Catalogue] = {}
        #: By the address of the ComfyUI that uses them: finding them out may take a while.
        self._folders: dict[str, ComfyFolders] = {}
        #: One for each target: a volume that is slow to answer keeps nobody else waiting.
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def place(self, target: str) -> Place:
        """What is known of a target. Never fails: what cannot be had is not known."""
        async with self._asking[target]:
            known = self._places.get(target)
            limit_s = _LISTED_S if is_remote(target) else _FRESH_S
            if known is not None and target == LOCAL and not _is_running(known.place):
                # Started meanwhile it knows more, and looking costs nothing.
                known = None
            if known is None or time.monotonic() - known.at > limit_s:
                known = _Known(await self._look(target), time.monotonic())
                self._places[target] = known
            return known.place

    async def here(self) -> Here:
        """What this computer has."""
        settings = self._settings()
        own = None if settings.comfyui_dir is None else settings.comfyui_dir / "models"
        pace = await asyncio.to_thread(Pace(settings.data_dir).last)
        folders = tuple(each for each in (settings.models_dir, own) if each is not None)
        return Here((await self.place(LOCAL)).catalogue, folders, pace)

    async def folders(self) -> ComfyFolders:
        """The folders of this computer's ComfyUI: those it uses while it runs, else those where it lies."""
        comfyui_dir, url = self._settings().comfyui_dir, await self._local_url()
        if url is None:
            return ComfyFolders.of(comfyui_dir)
        if url not in self._folders:
            try:
                found = await folders_of(url, comfyui_dir)
            except ComfyRunPodError as error:
                log.info("%s", error)
                return ComfyFolders.of(comfyui_dir)
            temp = None if comfyui_dir is None else comfyui_dir / "temp"
            self._folders[url] = ComfyFolders(found.input_dir, found.output_dir, temp)
        return self._folders[url]

    async def converting(self, target: str) -> list[Catalogue]:
        """Catalogues for converting, the best one first; the last one is that of ComfyUI's own nodes."""
        own, here = await self.place(target), await self.here()
        found = [own.catalogue] if own.catalogue is not None else []
        if here.catalogue is not None and here.catalogue is not own.catalogue:
            found.append(here.catalogue)
        return [*found, await asyncio.to_thread(shipped)]

    def forget(self) -> None:
        """Ask anew: settings have changed, or models were brought to a volume."""
        self._places.clear()
        self._folders.clear()

    async def _look(self, target: str) -> Place:
        if target == DEMO:
            return Place(target, self._name(target), await asyncio.to_thread(self._demo))
        if target == LOCAL:
            return Place(target, self._name(target), await self._of_this_computer())
        return await self._of_volume(target)

    def _demo(self) -> Catalogue:
        from ..demo.catalogue import descriptions

        content = json.dumps(descriptions()).encode()
        # As a running one's: it has no models, and says so.
        return self._parsed(content, Source.RUNNING, "the demo engine")

    async def _of_this_computer(self) -> Catalogue | None:
        url = await self._local_url()
        content = None if url is None else await object_info(url, MOST_READ)
        if url is None or content is None:
            return await asyncio.to_thread(self._kept, LOCAL, "ComfyUI on this computer")
        stats = await system_stats(url)
        system = (stats or {}).get("system")
        version = str(system.get("comfyui_version") or "") if isinstance(system, dict) else ""
        about = f"ComfyUI {version} on this computer".replace("  ", " ")
        try:
            found = await asyncio.to_thread(self._parsed, content, Source.RUNNING, about, version)
        except BadInput as error:
            log.warning("%s", error)
            return None
        await asyncio.to_thread(self._keep, LOCAL, content)
        return found

    async def _of_volume(self, target: str) -> Place:
        carrier, name = self._carrier(target), self._name(target)
        catalogue: Catalogue | None = None
        models: dict[str, frozenset[str]] | None = None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                laid = await carrier.listed(CATALOGUES)
                newest = max(laid or (), key=lambda each: each.changed_at, default=None)
                content = None if newest is None else await carrier.read(newest.path)
                if content is not None:
                    catalogue = await asyncio.to_thread(
                        self._parsed, content, Source.KEPT, f"the worker of {name}"
                    )
                    await asyncio.to_thread(self._keep, target, content)
                there = await carrier.listed(MODELS)
                # A volume without the folder may be mounted elsewhere, or hold no models: that is not known.
                if there:
                    models = _by_kind([each.path for each in there])
        except (ComfyRunPodError, TimeoutError) as error:
            log.info("What %s has is not known: %s", target, error)
        finally:
            await carrier.close()
        if catalogue is None:
            catalogue = await asyncio.to_thread(self._kept, target, f"the worker of {name}")
        return Place(target, name, catalogue, models)

    def _parsed(self, content: bytes, source: Source, about: str, version: str = "") -> Catalogue:
        """Read once for as long as it stays the same. Blocks."""
        mark = hashlib.sha256(content).hexdigest() + about + source
        if mark not in self._read:
            self._read[mark] = catalogue_of(content, source, about, version=version)
        return self._read[mark]

    def _file(self, target: str) -> Path:
        return self._settings().data_dir / "catalogues" / f"{target}.json.gz"

    def _keep(self, target: str, content: bytes) -> None:
        file = self._file(target)
        packed = gzip.compress(content, 6, mtime=0)
        aside = file.with_name(f".{file.name}.part")
        try:
            if file.is_file() and file.read_bytes() == packed:
                return
            file.parent.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(packed)
            aside.replace(file)
        except OSError as error:
            log.warning("The list of node types of %s cannot be kept: %s", target, error)

    def _kept(self, target: str, about: str) -> Catalogue | None:
        try:
            content = self._file(target).read_bytes()
            return self._parsed(content, Source.KEPT, f"{about}, as last seen")
        except FileNotFoundError:
            return None
        except (OSError, BadInput) as error:
            log.warning("%s", error)
            return None


def _is_running(place: Place) -> bool:
    return place.catalogue is not None and place.catalogue.source is Source.RUNNING


def _by_kind(paths: list[PurePosixPath]) -> dict[str, frozenset[str]]:
    """Model files by the folder that they lie in; names as ComfyUI's lists have them."""
    found: dict[str, set[str]] = {}
    for path in paths:
        inner = path.relative_to(MODELS).parts
        if len(inner) > 1:
            found.setdefault(inner[0], set()).add("/".join(inner[1:]))
    return {kind: frozenset(names) for kind, names in found.items()}
