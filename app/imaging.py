"""The image with the settings in force: manifest, lock, build, test, push, deployment, history. No Qt."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from .comfyui.environments import Uv
from .comfyui.installation import Installation
from .comfyui.programs import OnLine, find_git, find_uv, masked
from .comfyui.repositories import Git
from .comfyui.status import object_info
from .docker.building import OnBuild, OnStepLine
from .docker.engine import Engine
from .docker.model import BuildRequest, Built, ImageInfo, Pushed, SignIn
from .docker.names import checked_name, registry_of
from .docker.sending import OnPush
from .endpoint.account import AccountClient
from .errors import BadInput, ComfyRunPodError, NeedsSetup
from .files import resource
from .image.context import MANIFEST_LABEL, Context, lay_out
from .image.deploy import Deployed, Progress, checked_image, deploy
from .image.differences import changes, compare
from .image.guard import SecretsFound
from .image.history import Event, History, What, image_id_of, way_back
from .image.layers import LayerReport, layers_of
from .image.local import LocalSetup, look_at, matching
from .image.lock import LOCK, TORCH_LOCK, Lock, is_fresh, lock, read_lock, wants_of
from .image.manifest import FILE_NAME, read_manifest, write_manifest
from .image.model import Compared, Manifest, NodePin
from .image.parity import ParityReport, compare_nodes, compare_packages
from .image.scan import Scan, scan
from .image.sources import Sources
from .image.tags import proposed_tag
from .image.trial import LABEL, Setting, Trial, try_image
from .image_names import full_name
from .settings import Settings
from .syncing import models_folder
from .threads import to_its_end
from .vault import API_KEY, with_keys

#: What a build needs on the engine's disk: with PyTorch from nothing, and when only what is above it changed.
_ROOM_TORCH, _ROOM_LITTLE = 20_000_000_000, 3_000_000_000
_LARGEST_CATALOGUE = 200_000_000
OnSource = Callable[[NodePin, float], None]


@dataclass(frozen=True, slots=True)
class Match:
    """What matching this computer would make of the manifest.

    Attributes:
        changes: a sentence each, without the full stop.
        left_out: custom nodes that an image cannot be given, with the reason.
    """

    manifest: Manifest
    before: Manifest | None
    setup: LocalSetup
    changes: tuple[str, ...]

    @property
    def left_out(self) -> Mapping[str, str]:
        return self.setup.left_out


@dataclass(frozen=True, slots=True)
class Tested:
    """A trial of an image, held against this computer; ``report`` is None when no ComfyUI runs here."""

    trial: Trial
    report: ParityReport | None
    packages: tuple[Compared, ...]

    def to_json(self) -> dict[str, Any]:
        report = self.report or ParityReport((), (), 0, 0)
        told = replace(report, packages=self.packages).to_json()
        if self.report is None:
            told |= {"same": None}
        return {
            "ready_s": round(self.trial.ready_s, 2),
            "job_s": round(self.trial.job_s, 2),
            "gpu": self.trial.gpu,
            "made": [made.name for made in self.trial.made],
            "parity": told,
        }


class Imaging:
    """Args:
    settings: those in force.
    folder: of manifest and lock, and of files that are taken in place of the program's own; by default
        one in the data folder, which gets the shipped manifest and lock at first.
    """

    def __init__(self, settings: Callable[[], Settings], folder: Path | None = None) -> None:
        self._settings = settings
        self._own = folder

    @property
    def folder(self) -> Path:
        return self._own or self._data / "project"

    @property
    def manifest_file(self) -> Path:
        return self.folder / FILE_NAME

    @property
    def history(self) -> History:
        return History(self._data / "history.jsonl")

    @property
    def _data(self) -> Path:
        return self._settings().data_dir / "image"

    @property
    def _log(self) -> Path:
        return self._data / "work.log"

    # -- manifest and lock ------------------------------------------------------------------------------

    async def manifest(self) -> Manifest:
        """Raises BadInput when it cannot be used."""
        await asyncio.to_thread(self._seed)
        return await asyncio.to_thread(read_manifest, self.manifest_file)

    async def local(self) -> LocalSetup:
        """What this computer's ComfyUI consists of.

        Raises:
            NeedsSetup: when there is none.
        """
        return await look_at(await asyncio.to_thread(self._installation))

    async def compared(self) -> tuple[Compared, ...]:
        """The manifest held against this computer."""
        manifest = await self.manifest()
        return compare(manifest, await self.local())

    async def match(self) -> Match:
        """The manifest that is as this computer; nothing is written."""
        setup = await self.local()
        try:
            before = await self.manifest()
        except BadInput:
            before = None
        after = matching(setup, before)
        return Match(after, before, setup, changes(before, after))

    async def save(self, manifest: Manifest) -> None:
        await asyncio.to_thread(write_manifest, self.manifest_file, manifest)

    async def locked(self) -> Lock | None:
        """The lock; None when there is none, or it is of another manifest."""
        found = await asyncio.to_thread(read_lock, self.folder)
        return found if is_fresh(found, await self.manifest()) else None

    async def lock(
        self,
        *,
        prefer_local: bool = False,
        upgrade: bool = False,
        on_source: OnSource | None = None,
        on_line: OnLine | None = None,
    ) -> Lock:
        """Fetch what is to be locked, and lock it.

        Args:
            prefer_local: take the versions of this computer where nothing speaks against them.

        Raises:
            Conflict: with who wants what.
            ComfyRunPodError: when something cannot be had.
        """
        manifest = await self.manifest()
        sources = await self._sources(manifest, on_source)
        wants, told = await asyncio.to_thread(wants_of, manifest, sources)
        for name, asked in told.items():
            if asked.passed_over and on_line is not None:
                on_line(masked(f"Of {name} these are not used: {'; '.join(asked.passed_over)}"))
        prefer: Mapping[str, str] = {}
        if prefer_local:
            prefer = {name: each for name, each in (await self.local()).packages.items() if "+" not in each}
        return await lock(
            Uv(find_uv(), self._log, on_line), manifest, wants, self.folder, prefer=prefer, upgrade=upgrade
        )

    # -- build, test, push, deploy ----------------------------------------------------------------------

    async def engine(self) -> Engine:
        """Raises what the engine lacks, see there."""
        return await Engine.find(self._settings().docker_program)

    def name(self, tag: str | None = None, registry: str | None = None) -> str:
        """The image's whole name. Raises BadInput when Docker would not take it."""
        settings = self._settings()
        host = registry or settings.docker_registry
        return checked_name(full_name(host, settings.docker_image, tag or settings.docker_tag))

    async def propose_tag(self) -> str:
        events = await asyncio.to_thread(self.history.events)
        taken = {each.image.rpartition(":")[2] for each in events if each.what is What.BUILT}
        return proposed_tag(await self.manifest(), date.today(), taken)

    async def context(self, on_source: OnSource | None = None) -> Context:
        """The build context of the manifest as it is.

        Raises:
            NeedsSetup: when the lock is not of the manifest.
            SecretsFound: when a secret is in the context.
        """
        manifest = await self.manifest()
        sources = await self._sources(manifest, on_source)
        context = await asyncio.to_thread(
            lay_out, self._data / "context", manifest, sources, self.folder, self.folder
        )
        if context.secrets:
            raise SecretsFound(context.secrets)
        return context

    async def build(
        self,
        engine: Engine,
        name: str,
        *,
        no_cache: bool = False,
        network: str | None = None,
        on_source: OnSource | None = None,
        on_progress: OnBuild | None = None,
        on_line: OnStepLine | None = None,
    ) -> Built:
        """Build the image of the manifest under a name.

        Args:
            network: of the build's steps, such as ``host``; by default the engine's own.

        Raises:
            NeedsSetup: when the lock is of another manifest, a secret would go along, or the disk is full.
            BuildFailed: with the step that failed.
        """
        manifest = await self.manifest()
        context = await self.context(on_source)
        await self._check_room(engine, manifest)
        request = BuildRequest(
            context.folder,
            tags=(name,),
            args={**context.args, "IMAGE_NAME": name},
            labels=context.labels,
            no_cache=no_cache,
            network=network,
        )
        built = await engine.build(request, on_progress, on_line)
        info = await engine.inspect(name)
        await self._note(
            What.BUILT, name, info, manifest=manifest.digest, seconds=built.seconds, image_id=built.image_id
        )
        return built

    async def layers(self, engine: Engine, name: str) -> tuple[LayerReport, ...]:
        return await layers_of(engine, name)

    async def test(
        self,
        engine: Engine,
        name: str,
        request: Mapping[str, Any] | None = None,
        *,
        local_url: str | None = None,
        on_line: OnLine = lambda _line: None,
    ) -> Tested:
        """Run an image here as RunPod runs it, and hold it against this computer.

        Args:
            request: what the worker is sent; the shipped example without models by default.
            local_url: of this computer's ComfyUI, when it runs.

        Raises:
            ProcessFailed, Unreachable: as :func:`try_image` does.
        """
        if request is None:
            example = resource("workflows", "hello.json")
            request = {"workflow": json.loads(await asyncio.to_thread(example.read_text, encoding="utf-8"))}
        await engine.stop_containers(LABEL)
        models = await asyncio.to_thread(self._models)
        folder = self._data / "trial"
        trial = await try_image(engine, name, Setting(folder, models, request, engine.has_gpu), on_line)
        report = None
        if local_url is not None and (raw := await object_info(local_url, _LARGEST_CATALOGUE)) is not None:
            report = compare_nodes(trial.object_info, json.loads(raw))
        try:
            here: Mapping[str, str] = (await self.local()).packages
        except ComfyRunPodError:
            here = {}
        known = await asyncio.to_thread(read_lock, self.folder)
        same_lock = known is not None and known.manifest == trial.about.get("manifest")
        wanted = known.packages if known is not None and same_lock else trial.packages
        tested = Tested(trial, report, compare_packages(trial.packages, here, wanted))
        info = await engine.inspect(name)
        if info is not None:
            await asyncio.to_thread(self._keep_catalogue, info, trial.object_info)
        note = "" if report is None else f"{report.same_types} of {report.node_types} node types are the same"
        await self._note(What.TESTED, name, info, seconds=trial.ready_s + trial.job_s, note=note)
        return tested

    async def push(
        self, engine: Engine, name: str, on_progress: OnPush | None = None, on_line: OnLine | None = None
    ) -> Pushed:
        """Raises BadInput, NotSignedIn, PushFailed."""
        begun = time.monotonic()
        pushed = await engine.push(name, on_progress, on_line)
        info = await engine.inspect(name)
        took_s = time.monotonic() - begun
        await self._note(What.PUSHED, name, info, digest=pushed.digest, seconds=took_s)
        return pushed

    async def signed_in(self, engine: Engine, name: str) -> SignIn:
        return await engine.signed_in(registry_of(name))

    async def deploy(self, endpoint_id: str, image: str, on_progress: Callable[[Progress], None]) -> Deployed:
        """Give an endpoint an image that was pushed, and follow the roll-out.

        Raises:
            BadInput: for ``latest``.
            Stalled: when the roll-out does not move.
        """
        checked_image(image)
        client = await self.account()
        before = (await client.endpoint(endpoint_id)).image or ""
        at = time.time()

        def event(*, ok: bool, version: int | None, note: str = "") -> Event:
            return Event(
                What.DEPLOYED, at, image, endpoint_id=endpoint_id, before=before, version=version, ok=ok,
                note=note, seconds=time.time() - at,
            )  # fmt: skip

        seen: Progress | None = None

        def told(progress: Progress) -> None:
            nonlocal seen
            seen = progress
            on_progress(progress)

        try:
            deployed = await deploy(client, endpoint_id, image, told)
        except asyncio.CancelledError:
            if seen is not None:
                # The roll-out goes on without us, and there is something to go back from.
                left = event(ok=True, version=seen.version, note="Not followed to its end.")
                await to_its_end(self.history.add, left)
            raise
        except ComfyRunPodError as error:
            now = await _image_of(client, endpoint_id)
            # Once the endpoint has it, there is something to go back from.
            done = event(ok=now == image, version=None, note=error.summary)
            await asyncio.to_thread(self.history.add, done)
            raise
        await asyncio.to_thread(self.history.add, event(ok=True, version=deployed.version))
        await asyncio.to_thread(self._hand_on_catalogue, endpoint_id, image)
        return deployed

    async def back(self, endpoint_id: str) -> Event | None:
        """The deployment that can be undone by deploying its ``before``."""
        return way_back(await asyncio.to_thread(self.history.events), endpoint_id)

    async def scan(self, image: str | None) -> Scan:
        locks = [self.folder / LOCK, resource("docker", "worker.lock")]
        return await scan(find_uv(), [each for each in locks if each.is_file()], image)

    async def account(self) -> AccountClient:
        """Raises NeedsSetup without an API key."""
        settings = self._settings()
        if not settings.runpod_api_key:
            settings = await asyncio.to_thread(with_keys, settings, API_KEY)
        if not settings.runpod_api_key:
            raise NeedsSetup("No RunPod API key is set.", hint="Add it in Settings.")
        return AccountClient(settings.runpod_api_url, settings.runpod_api_key)

    # ---------------------------------------------------------------------------------------------------

    def _installation(self) -> Installation:
        settings = self._settings()
        if settings.comfyui_dir is None:
            raise NeedsSetup(
                "No ComfyUI is set up on this computer to compare with.",
                hint="Set it up on the ComfyUI page.",
            )
        return Installation.at(settings.comfyui_dir, settings.comfyui_python, settings.comfyui_args)

    def _seed(self) -> None:
        """The shipped manifest and its lock, where there is none yet."""
        if self._own is None and not self.manifest_file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in (LOCK, TORCH_LOCK, FILE_NAME):
                shutil.copyfile(resource("docker", name), self.folder / name)

    def _models(self) -> Path | None:
        folder = models_folder(self._settings())
        return folder if folder is not None and folder.is_dir() else None

    async def _sources(self, manifest: Manifest, on_source: OnSource | None) -> dict[str, Path]:
        sources = Sources(self._data / "sources", Git(find_git(), self._log))
        found: dict[str, Path] = {}
        for pin in manifest.pins:

            def told(part: float, pin: NodePin = pin) -> None:
                if on_source is not None:
                    on_source(pin, part)

            told(0.0)
            found[pin.name] = await sources.fetch(pin, told)
            told(1.0)
        return found

    async def _check_room(self, engine: Engine, manifest: Manifest) -> None:
        """Raises NeedsSetup before an hour's download that would end with a full disk."""
        free = await engine.free_bytes()
        if free is None:
            return
        events = await asyncio.to_thread(self.history.events)
        built = any(each.what is What.BUILT for each in events)
        known = await asyncio.to_thread(read_lock, self.folder)
        large = known is not None and "torch" in known.packages and not built
        need = _ROOM_TORCH if large else _ROOM_LITTLE
        if free < need:
            raise NeedsSetup(
                f"Docker's disk has {free / 1e9:.1f} GB left, and a build may take {need / 1e9:.0f} GB.",
                hint="Make room, for example with `docker system prune`.",
            )

    def _keep_catalogue(self, info: ImageInfo, nodes: Mapping[str, Any]) -> None:
        """The image's node types, for who asks later what it lacks, under the digests it is known by."""
        folder = self._data / "catalogues"
        folder.mkdir(parents=True, exist_ok=True)
        raw = gzip.compress(json.dumps(nodes).encode(), mtime=0)
        (folder / f"{info.id.rpartition(':')[2]}.json.gz").write_bytes(raw)

    def _hand_on_catalogue(self, endpoint_id: str, image: str) -> None:
        """An endpoint has the node types of its image, where that was tested here: preflight asks there."""
        image_id = image_id_of(self.history.events(), image)
        kept = self._data / "catalogues" / f"{image_id.rpartition(':')[2]}.json.gz"
        if image_id and kept.is_file():
            of_endpoints = self._settings().data_dir / "catalogues"
            of_endpoints.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(kept, of_endpoints / f"{endpoint_id}.json.gz")

    async def _note(
        self,
        what: What,
        name: str,
        info: ImageInfo | None,
        *,
        manifest: str = "",
        digest: str = "",
        image_id: str = "",
        seconds: float = 0.0,
        note: str = "",
    ) -> None:
        labels = info.labels if info is not None else {}
        event = Event(
            what, time.time(), name, image_id or (info.id if info else ""), digest,
            manifest or labels.get(MANIFEST_LABEL, ""), info.size if info else 0, seconds, note=note,
        )  # fmt: skip
        await asyncio.to_thread(self.history.add, event)


async def _image_of(client: AccountClient, endpoint_id: str) -> str | None:
    try:
        return (await client.endpoint(endpoint_id)).image
    except ComfyRunPodError:
        return None


def built_tags(events: Collection[Event], image: str) -> list[Event]:
    """The builds of an image by tag, the newest of each, the newest first."""
    seen: dict[str, Event] = {}
    for each in events:
        name, _, tag = each.image.rpartition(":")
        if each.what is What.BUILT and name == image:
            seen.setdefault(tag, each)
    return list(seen.values())
