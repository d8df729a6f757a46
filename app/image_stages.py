"""How far building, testing, pushing and deploying are, as the Image page shows them. Knows no Qt."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from PIL import Image, UnidentifiedImageError

from .docker.model import BuildProgress, Built, Layer, LayerState, PushProgress, Step, StepState
from .errors import ComfyRunPodError
from .image.deploy import Progress
from .image.model import Parity
from .image.trial import Made
from .imaging import Tested
from .jobs.figures import size
from .ui.image import shown
from .ui.image.shown import Stage, StageShown, StageState
from .workflows.collect import PICTURES

_STEPS: Final[Mapping[StepState, shown.StepState]] = {
    StepState.WAITING: shown.StepState.WAITING,
    StepState.RUNNING: shown.StepState.RUNNING,
    StepState.DONE: shown.StepState.DONE,
    StepState.FAILED: shown.StepState.FAILED,
    StepState.CANCELLED: shown.StepState.CANCELLED,
}
_LAYERS: Final[Mapping[LayerState, shown.PushState]] = {
    LayerState.WAITING: shown.PushState.WAITING,
    LayerState.EXISTS: shown.PushState.EXISTS,
    LayerState.SENDING: shown.PushState.PUSHING,
    LayerState.SENT: shown.PushState.PUSHED,
    LayerState.RETRYING: shown.PushState.RETRYING,
    LayerState.FAILED: shown.PushState.FAILED,
}
#: What is wrong in 2 to 5 words, by an error's code; else by the stage.
_TITLES: Final[Mapping[str, str]] = {
    "docker_missing": "Docker is not installed",
    "docker_not_running": "Docker is not running",
    "docker_not_allowed": "No permission for Docker",
    "buildx_missing": "Docker cannot build images",
    "docker_unusable": "Docker cannot be used",
    "conflict": "Packages do not fit together",
    "not_signed_in": "Registry refused the push",
    "push_failed": "The push broke off",
    "roll_out_stalled": "The roll-out stands still",
}
_FAILED: Final[Mapping[Stage, str]] = {
    Stage.BUILD: "The build failed",
    Stage.TEST: "The test failed",
    Stage.PUSH: "The push failed",
    Stage.DEPLOY: "The deployment failed",
}
DONE: Final[Mapping[Stage, str]] = {
    Stage.BUILD: "Image built",
    Stage.TEST: "Image tested",
    Stage.PUSH: "Image pushed",
    Stage.DEPLOY: "Image deployed",
}
_THUMB = 256
#: In pixels: a picture out of an image that somebody else may have made.
_LARGEST = 64_000_000
_MOST_PICTURES = 4


# Building.


def step_of(step: Step) -> shown.StepShown:
    state = _STEPS[step.state]
    if step.cached and state is shown.StepState.DONE:
        state = shown.StepState.CACHED
    return shown.StepShown(step.key, step.title, state, step.seconds, _moved(step))


def _moved(step: Step) -> str:
    if step.state is not StepState.RUNNING or step.done is None:
        return ""
    return f"{size(step.done)} of {size(step.total)}" if step.total else size(step.done)


def building(progress: BuildProgress) -> StageShown:
    ended = sum(each.state is StepState.DONE for each in progress.steps)
    # Before BuildKit has told all of them, their number means nothing.
    detail = (
        f"{ended} of {len(progress.steps)} steps" if progress.part is not None else "Looking at the steps"
    )
    return StageShown(Stage.BUILD, StageState.RUNNING, detail, part=progress.part)


def built(done: Built) -> StageShown:
    count, cached = len(done.steps), sum(each.cached for each in done.steps)
    return StageShown(
        Stage.BUILD,
        StageState.DONE,
        _counted(count, "step"),
        f"{_counted(count, 'step')}, {cached} from cache",
    )


# Testing.


def tested(done: Tested) -> StageShown:
    made = f"1 workflow, {_counted(len(done.trial.made), 'file')}, {done.trial.job_s:.1f} s"
    return StageShown(Stage.TEST, StageState.DONE, "1 workflow passed", made)


def result_of(done: Tested, pictures: Sequence[shown.MadePicture]) -> shown.ResultShown:
    trial = done.trial
    made = _counted(len(pictures), "image") if pictures else _counted(len(trial.made), "file")
    text = f"1 workflow, {made}, {trial.job_s:.1f} s, ready after {trial.ready_s:.1f} s"
    parity, role = _parity_of(done)
    note, hint = ("", "") if trial.gpu else ("Tested without GPU", "Docker has no GPU support here.")
    return shown.ResultShown(tuple(pictures), text, note, hint, parity, role)


def _parity_of(done: Tested) -> tuple[str, shown.Role]:
    unlocked = sum(bool(each.note) for each in done.packages)
    more = f", {_counted(unlocked, 'package')} not as locked" if unlocked else ""
    if done.report is None:
        return f"Nodes not compared: no ComfyUI runs here{more}", "red" if unlocked else "plain"
    report = done.report
    text = f"{report.same_types} of {report.node_types} node types are the same"
    if others := report.differing:
        text += f", {_counted(others, 'pack')} {'differs' if others == 1 else 'differ'}"
    missing = any(each.parity is Parity.LOCAL_ONLY for each in report.packs)
    return text + more, "red" if unlocked or missing else "amber" if others else "green"


def kept_pictures(made: Sequence[Made], folder: Path) -> tuple[shown.MadePicture, ...]:
    """Write the pictures that a test made into a folder of its own, and make thumbnails. Blocks.

    Their names come out of the image and become no paths; what is no picture to Pillow is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept: list[shown.MadePicture] = []
    for each in made:
        suffix = PurePosixPath(each.name).suffix.lower()
        thumbnail = _thumbnail(each.content) if suffix in PICTURES else None
        if thumbnail is not None and len(kept) < _MOST_PICTURES:
            path = folder / f"{len(kept) + 1}{suffix}"
            path.write_bytes(each.content)
            kept.append(shown.MadePicture(str(path), thumbnail, each.name))
    return tuple(kept)


def _thumbnail(content: bytes) -> bytes | None:
    made = io.BytesIO()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > _LARGEST:
                return None
            picture.draft("RGB", (_THUMB, _THUMB))
            picture.thumbnail((_THUMB, _THUMB))
            picture.convert("RGBA").save(made, "PNG")
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError, Warning):
        return None
    return made.getvalue()


# Pushing and deploying.


def pushed_layer(layer: Layer, note: str, at: float) -> shown.PushedLayer:
    retrying = note if layer.state is LayerState.RETRYING else ""
    return shown.PushedLayer(layer.id, _LAYERS[layer.state], layer.done or 0, layer.total or 0, retrying, at)


def pushing(progress: PushProgress) -> StageShown:
    layers = progress.layers
    there = sum(each.state in (LayerState.SENT, LayerState.EXISTS) for each in layers)
    summary = f"{there} of {_counted(len(layers), 'layer')}"
    whole = sum(each.total or 0 for each in layers)
    known = whole and all(each.total is not None for each in layers)
    detail = f"{size(sum(each.done or 0 for each in layers))} of {size(whole)}" if known else summary
    return StageShown(Stage.PUSH, StageState.RUNNING, progress.note or detail, summary, part=progress.part)


def pushed(layers: Sequence[Layer]) -> StageShown:
    whole = sum(each.total or 0 for each in layers)
    there = sum(each.state is LayerState.EXISTS for each in layers)
    count = _counted(len(layers), "layer")
    summary = f"{count}, {there} were there" if there else count
    return StageShown(Stage.PUSH, StageState.DONE, size(whole) if whole else count, summary)


def deploying(progress: Progress) -> StageShown:
    detail = _on_version(progress)
    if progress.note:
        detail = f"{detail}. {progress.note}"
    return StageShown(Stage.DEPLOY, StageState.RUNNING, detail, part=progress.part)


def deployed(progress: Progress | None, version: int | None) -> StageShown:
    live = f"Version {version} is live" if version is not None else "Live"
    # An endpoint without a worker has it at once.
    summary = _on_version(progress) if progress is not None and progress.total else live
    return StageShown(Stage.DEPLOY, StageState.DONE, live, summary)


def _on_version(progress: Progress) -> str:
    version = f"version {progress.version}" if progress.version is not None else "the new image"
    return f"{progress.on_latest} of {_counted(progress.total, 'worker')} on {version}"


# Failures.


def failure_of(stage: Stage, error: ComfyRunPodError) -> shown.FailureShown:
    title = _TITLES.get(error.code, _FAILED[stage])
    if error.details.get("files"):
        title = "A secret was found"
    elif error.details.get("status") in (401, 403) and stage is Stage.DEPLOY:
        title = "API key not accepted"
    step = error.details.get("step")
    place = f"Step {step}" if isinstance(step, str) and step else ""
    return shown.FailureShown(stage, title, error.sentence, place)


def said_by(error: ComfyRunPodError) -> tuple[str, ...]:
    """What an error has to tell beside its sentence: lines for the log."""
    found = error.details.get("explanation") or error.details.get("log")
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
