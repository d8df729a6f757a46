"""``comfy-runpod image``: manifest, lock, build, test, scan, push and deploy, without a window."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from ..docker.model import BuildProgress, PushProgress, StepState
from ..errors import BadInput, ComfyRunPodError, NeedsSetup
from ..image.deploy import Progress
from ..image.guard import SecretsFound
from ..image.history import Event
from ..image.lock import Conflict
from ..image.manifest import manifest_text
from ..image.model import Compared, NodePin, Parity, counts
from ..imaging import Imaging, Tested
from ..settings import Settings

_BADGES = {
    Parity.SAME: "same", Parity.DIFFERS: "differs", Parity.LOCAL_ONLY: "not in the image",
    Parity.IMAGE_ONLY: "image only", Parity.UNKNOWN: "unknown",
}  # fmt: skip


async def image(arguments: argparse.Namespace, settings: Settings) -> int:
    """0 for success; of ``test`` only when the image is as this computer, as far as that is known."""
    folder = await asyncio.to_thread(Path(arguments.folder).absolute) if arguments.folder else None
    imaging = Imaging(lambda: settings, folder)
    act: Mapping[str, Callable[..., Any]] = {
        "manifest": _manifest, "lock": _lock, "build": _build, "test": _test, "scan": _scan, "push": _push,
        "deploy": _deploy, "history": _history, "layers": _layers,
    }  # fmt: skip
    code: int = await act[arguments.action](imaging, settings, arguments)
    return code


async def _manifest(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    if not arguments.match_local:
        manifest = await imaging.manifest()
        compared: tuple[Compared, ...] = ()
        try:
            compared = await imaging.compared()
        except NeedsSetup as error:
            _say(f"Not compared with this computer: {error.summary}")
        if arguments.json:
            _print(
                {"file": str(imaging.manifest_file), "digest": manifest.digest, "compared": _told(compared)}
            )
        else:
            sys.stdout.write(f"{imaging.manifest_file}\n{manifest_text(manifest)}")
            _tell_compared(compared)
        return 0
    match = await imaging.match()
    if arguments.json:
        _print({"changes": list(match.changes), "left_out": dict(match.left_out), "written": arguments.yes})
    else:
        sys.stdout.writelines(f"{each}.\n" for each in match.changes)
        for name, why in match.left_out.items():
            _say(f"{name} cannot be taken over: {why}.")
    if not match.changes:
        _say("The manifest is as this computer.")
    elif arguments.yes:
        await imaging.save(match.manifest)
        _say(f"Written to {imaging.manifest_file}. Lock it with `comfy-runpod image lock`.")
    else:
        _say("Nothing is written yet: say --yes to write it.")
    return 0


async def _lock(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    try:
        lock = await imaging.lock(
            prefer_local=arguments.prefer_local,
            upgrade=arguments.upgrade,
            on_source=None if arguments.json else _source_teller(),
        )
    except Conflict as error:
        if not arguments.json:
            sys.stderr.writelines(f"  {line}\n" for line in error.details["explanation"])
        raise ComfyRunPodError(error.summary, hint=error.hint) from error
    if arguments.json:
        _print({"folder": str(lock.folder), "manifest": lock.manifest, "packages": dict(lock.packages)})
    else:
        _say(f"{len(lock.packages)} packages are locked, in {lock.folder}.")
    return 0


async def _build(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    name = imaging.name(arguments.tag or await imaging.propose_tag(), arguments.registry)
    engine = await imaging.engine()
    shown = _BuildShown(as_json=arguments.json)
    built = await imaging.build(
        engine, name, no_cache=arguments.no_cache, network=arguments.network, on_source=shown.source,
        on_progress=shown.progress, on_line=shown.line,
    )  # fmt: skip
    info = await engine.inspect(name)
    size = info.size if info is not None else 0
    cached = sum(step.cached for step in built.steps)
    if arguments.json:
        _print({
            "event": "done", "image": name, "id": built.image_id, "seconds": round(built.seconds, 1),
            "size": size, "steps": len(built.steps), "cached": cached,
        })  # fmt: skip
    else:
        _say(
            f"{size / 1e9:.2f} GB in {built.seconds:.0f} s, {cached} of {len(built.steps)} steps from cache."
        )
        sys.stdout.write(f"{name}\n")
    return 0


async def _test(imaging: Imaging, settings: Settings, arguments: argparse.Namespace) -> int:
    name = await _meant(imaging, arguments)
    engine = await imaging.engine()
    request = await _request(arguments.workflow, settings) if arguments.workflow else None
    url = await _local_url(settings)
    tested = await imaging.test(
        engine, name, request, local_url=url, on_line=lambda line: None if arguments.json else _say(line)
    )
    if arguments.output:
        _write_made(tested, Path(arguments.output))
    if arguments.json:
        _print({"image": name, **tested.to_json()})
    else:
        _tell_tested(tested)
    return 0 if tested.report is None or not tested.report.differing else 1


async def _scan(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    scan = await imaging.scan(await _meant(imaging, arguments) if arguments.tag else None)
    refused: tuple[str, ...] = ()
    unseen = "" if await imaging.locked() is not None else "it is not locked"
    try:
        if not unseen:
            await imaging.context()
    except SecretsFound as error:
        refused = error.files
    except ComfyRunPodError as error:
        unseen = error.summary.rstrip(".")
    if arguments.json:
        _print({**scan.to_json(), "secrets": list(refused), "secrets_looked_for": not unseen})
    else:
        for each in scan.findings:
            fixed = f", fixed in {each.fixed_in}" if each.fixed_in else ""
            about = f"{each.package} {each.version}: {each.id}{fixed}"
            sys.stdout.write(f"{each.severity.name.lower():9}{about} ({each.where}) {each.title}\n")
        looked_at = ", ".join(scan.looked_at) or "nothing"
        _say(f"{len(scan.findings)} known vulnerabilities found. Looked at: {looked_at}.")
        for note in scan.notes:
            _say(note)
        if unseen:
            _say(f"Secrets in what the image would be built of were not looked for: {unseen}.")
        elif not refused:
            _say("No secret and no private key is in what the image would be built of.")
        sys.stdout.writelines(f"{'refused':9}{file}\n" for file in refused)
    return 1 if refused else 0


async def _push(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    name = await _meant(imaging, arguments)
    engine = await imaging.engine()
    shown = _PushShown(as_json=arguments.json)
    pushed = await imaging.push(engine, name, shown.progress)
    if arguments.json:
        _print({"event": "done", "image": name, "digest": pushed.digest})
    else:
        sys.stdout.write(f"{name.rpartition(':')[0]}@{pushed.digest}\n")
    return 0


async def _deploy(imaging: Imaging, settings: Settings, arguments: argparse.Namespace) -> int:
    endpoint = arguments.endpoint or settings.runpod_endpoint_id
    if not endpoint:
        raise BadInput("No endpoint is given.", hint="Name it with --endpoint, or set RUNPOD_ENDPOINT_ID.")
    if arguments.back:
        last = await imaging.back(endpoint)
        if last is None:
            raise BadInput("There is nothing to go back to: no deployment of the last day is on record.")
        name = last.before
    else:
        name = arguments.image or await _meant(imaging, arguments)

    def told(progress: Progress) -> None:
        if arguments.json:
            _print({
                "event": "progress", "version": progress.version, "on_latest": progress.on_latest,
                "total": progress.total, "note": progress.note,
            })  # fmt: skip
        else:
            version = f" on version {progress.version}" if progress.version is not None else ""
            note = f" ({progress.note})" if progress.note else ""
            _say(f"{progress.on_latest} of {progress.total} workers{version}{note}")

    deployed = await imaging.deploy(endpoint, name, told)
    if arguments.json:
        _print({
            "event": "done", "endpoint": endpoint, "image": deployed.image, "before": deployed.before,
            "version": deployed.version,
        })  # fmt: skip
    else:
        _say(f"{endpoint} runs {deployed.image}. It ran {deployed.before or 'nothing'} before.")
    return 0


async def _history(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    events = imaging.history.events()
    if arguments.json:
        _print([_event_json(each) for each in events])
    else:
        for each in events:
            where = f" to {each.endpoint_id}" if each.endpoint_id else ""
            note = f" {each.note}" if each.note else ""
            sys.stdout.write(f"{_moment(each.at)}  {each.what.value:9}{each.image}{where}{note}\n")
    return 0


async def _layers(imaging: Imaging, _settings: Settings, arguments: argparse.Namespace) -> int:
    layers = await imaging.layers(await imaging.engine(), await _meant(imaging, arguments))
    if arguments.json:
        _print([{"title": each.title, "size": each.size, "contents": dict(each.contents)} for each in layers])
    else:
        for each in layers:
            sys.stdout.write(f"{each.size / 1e6:10.1f} MB  {each.title}\n")
            for name, size in each.contents[:5]:
                sys.stdout.write(f"{'':15}{size / 1e6:10.1f} MB  {name}\n")
    return 0


async def _meant(imaging: Imaging, arguments: argparse.Namespace) -> str:
    """The image of the tag given, else the one that was built last, else that of the settings."""
    if arguments.tag:
        return imaging.name(arguments.tag, arguments.registry)
    base = imaging.name("x", arguments.registry).rpartition(":")[0]
    built = (each.image for each in imaging.history.events() if each.what.value == "built")
    return next((each for each in built if each.rpartition(":")[0] == base), None) or imaging.name(
        None, arguments.registry
    )


async def _request(workflow: str, settings: Settings) -> Mapping[str, Any]:
    """What a worker is sent for a workflow file with its inputs."""
    # Only here: it brings the whole way from a file to a job.
    from ..jobs.request import request_of
    from ..jobs.targets import LOCAL
    from .intake import handed_over, make_intake

    taken = await make_intake(settings).take(handed_over(workflow), LOCAL)
    return request_of(taken.spec(str(settings.output_dir), anyway=True))


async def _local_url(settings: Settings) -> str | None:
    from ..comfyui.status import ComfyState
    from ..services import make_house

    if settings.comfyui_url is None and settings.comfyui_dir is None:
        return None
    status = await make_house(settings).look()
    return status.url if status.state is ComfyState.RUNNING else None


def _write_made(tested: Tested, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for made in tested.trial.made:
        # A name out of an image that somebody else may have made.
        (folder / Path(made.name.replace("\\", "/")).name).write_bytes(made.content)


def _tell_tested(tested: Tested) -> None:
    trial = tested.trial
    made = f"{len(trial.made)} file{'s' * (len(trial.made) != 1)}"
    gpu = "" if trial.gpu else " Tested without GPU."
    _say(f"Ready after {trial.ready_s:.1f} s, {made} in {trial.job_s:.1f} s.{gpu}")
    if tested.report is None:
        _say("Not compared with this computer: its ComfyUI does not run.")
    else:
        _tell_compared(tested.report.packs)
        _say(f"{tested.report.same_types} of {tested.report.node_types} node types are the same.")
    other = [each for each in tested.packages if each.parity is Parity.DIFFERS or each.note]
    same = counts(tested.packages)[Parity.SAME]
    for each in other:
        note = f" ({each.note})" if each.note else ""
        sys.stdout.write(f"{'differs':18}{each.name} {each.image} · local {each.local}{note}\n")
    _say(f"{same} of {len(tested.packages)} Python packages have the version of this computer.")


def _tell_compared(lines: tuple[Compared, ...]) -> None:
    for each in lines:
        local = f" · local {each.local}" if each.parity is Parity.DIFFERS else ""
        note = f" ({each.note})" if each.note else ""
        sys.stdout.write(f"{_BADGES[each.parity]:18}{each.name} {each.image or each.local}{local}{note}\n")


def _told(lines: tuple[Compared, ...]) -> list[dict[str, str]]:
    return [
        {
            "kind": each.kind.value, "name": each.name, "image": each.image, "local": each.local,
            "parity": each.parity.value, "note": each.note,
        }
        for each in lines
    ]  # fmt: skip


def _event_json(event: Event) -> dict[str, Any]:
    return {**asdict(event), "what": event.what.value}


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _source_teller() -> Callable[[NodePin, float], None]:
    told: set[str] = set()

    def tell(pin: NodePin, _part: float) -> None:
        if pin.name not in told:
            told.add(pin.name)
            _say(f"Fetching {pin.name} {pin.commit[:7] or pin.version}")

    return tell


class _BuildShown:
    """Tells each step once when it begins and once when it has ended, and what it says meanwhile."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._states: dict[str, StepState] = {}
        self.source = _source_teller() if not as_json else None

    def progress(self, progress: BuildProgress) -> None:
        for step in progress.steps:
            if self._states.get(step.key) == step.state:
                continue
            self._states[step.key] = step.state
            if step.state is StepState.WAITING:
                continue
            if self._as_json:
                _print({
                    "event": "step", "title": step.title, "state": step.state.value, "cached": step.cached,
                    "seconds": step.seconds, "part": progress.part,
                })  # fmt: skip
            elif step.state is not StepState.RUNNING:
                took = "cached" if step.cached else f"{step.seconds or 0:.1f} s"
                _say(f"{step.state.value:8}{took:>8}  {step.title}")

    def line(self, _step: str | None, text: str) -> None:
        if not self._as_json and text.strip():
            _say(f"    {text}")


class _PushShown:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last = ""

    def progress(self, progress: PushProgress) -> None:
        done = sum(layer.done or 0 for layer in progress.layers)
        total = sum(layer.total or 0 for layer in progress.layers)
        if self._as_json:
            _print({
                "event": "progress", "done": done, "total": total, "part": progress.part,
                "note": progress.note,
            })  # fmt: skip
            return
        text = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB {progress.note}".rstrip()
        if text != self._last:
            self._last = text
            _say(text)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _print(data: Any) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()
