"""The design's pictures as whole windows: a real panel over a real store of made-up jobs, nothing running.

For tests and for a script that takes pictures alike:

    async with scene("queue_running", theme, folder, (1440, 900)) as panel:
        panel.window.grab().save("queue-running.png")
"""

from __future__ import annotations

import base64
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QApplication

from app.account_watch import AccountStatus, Listed
from app.comfyui.find import Found
from app.comfyui.status import ComfyState, ComfyStatus
from app.endpoint.account_model import Endpoint, LiveWorkers, RollOut, Volume
from app.endpoint.prices import GpuType, Price, Rate
from app.health import EndpointStatus
from app.jobs import runs
from app.jobs.model import Job, JobEvent, JobSpec, Move, OutputFile
from app.jobs.states import State
from app.log_lines import LineReader
from app.panel import Panel
from app.settings import Secret, Settings
from app.ui.comfyui.shown import Figures, InstallFacts, NodeFacts, Options, PackRow
from app.ui.image.page import ImagePage
from app.ui.models.page import ModelsPage
from app.ui.notices import Notice
from app.ui.theme import Theme
from app.workflows.parameters import Expected
from tests.gui import image_made_up, models_made_up
from tests.gui.harness import settled, until
from worker.contract import Progress

FULL, SMALL = (1440, 900), (1024, 640)
#: A quarter to three of a Wednesday: what is 20 minutes old is still of today.
NOW = time.mktime((2026, 10, 14, 14, 32, 0, 0, 0, -1))
ENDPOINT = "comfy-flux-prod"
RATE = Rate(0.00053, 5.0, "ADA_48_PRO")
PICTURES = Path(__file__).parents[2] / "resources" / "workflows" / "previews"
_VIEWS = [PICTURES / f"{name}.jpg" for name in ("hello", "batch", "photo", "variations")]
_MISSING = "sd3.5_large_fp8_scaled.safetensors"


@dataclass(frozen=True)
class Made:
    """One job of a scene: as the store has it, and how far it is."""

    job: Job
    progress: Progress | None = None
    prompt: dict[str, Any] = field(default_factory=dict)
    moves: Sequence[Move] = ()


def portrait(
    prompt: str = "Studio portrait, warm rim light, 85 mm, shallow depth of field",
) -> dict[str, Any]:
    """A workflow whose parameters are worth showing."""
    sampler = {
        "seed": 482117336, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple",
        "denoise": 1.0, "model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0],
        "latent_image": ["5", 0],
    }  # fmt: skip
    lora = {"lora_name": "film-portrait-v3.safetensors", "strength_model": 0.75, "strength_clip": 0.75}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("CheckpointLoaderSimple", {"ckpt_name": "flux1-dev-fp8.safetensors"}),
        "2": ("LoraLoader", {**lora, "model": ["1", 0], "clip": ["1", 1]}),
        "3": ("CLIPTextEncode", {"text": prompt, "clip": ["2", 1]}),
        "4": ("CLIPTextEncode", {"text": "blurry, text", "clip": ["2", 1]}),
        "5": ("EmptyLatentImage", {"width": 896, "height": 1152, "batch_size": 4}),
        "6": ("KSampler", sampler),
        "7": ("VAEDecode", {"samples": ["6", 0], "vae": ["1", 2]}),
        "8": ("SaveImage", {"filename_prefix": "portrait", "images": ["7", 0]}),
    }
    return {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in nodes.items()}


def made(
    number: int, name: str, state: State, *, target: str = ENDPOINT, waited: float = 0, ran: float = 0,
    ago: float = 0, files: int = 1, size: int = 1_700_000, wide: int = 1024, high: int = 1024,
    kind: str = "image", progress: Progress | None = None, **values: Any,
) -> Made:  # fmt: skip
    """A job that has waited and run so many seconds, and ended ``ago`` seconds before now."""
    final = state in (State.DONE, State.FAILED, State.CANCELLED, State.TIMED_OUT)
    begun = final or state is State.RUNNING
    created = NOW - ago - waited - ran
    job_id = str(values.pop("id", f"{number:08x}")).ljust(32, "0")
    media = {"image": "image/jpeg", "video": "video/mp4", "audio": "audio/flac"}[kind]
    paths = [_VIEWS[(number + n) % len(_VIEWS)] for n in range(files)]
    if kind != "image":
        paths = [path.with_suffix(f".{media.partition('/')[2]}") for path in paths]
    outputs = tuple(OutputFile(path.name, str(path), "8", media, size // max(files, 1)) for path in paths)
    base: dict[str, Any] = {
        "id": job_id, "seq": number, "name": name, "target": target, "output_dir": str(PICTURES),
        "state": state, "created_at": created, "changed_at": NOW - ago,
        "started_at": created + waited if begun else None, "ended_at": NOW - ago if final else None,
        "outputs": outputs if state is State.DONE else (), "expected": Expected(kind, files, wide, high),
        "execution_ms": int(ran * 1000) if final and begun else None, "delay_ms": int(waited * 1000),
        "worker_id": f"w{number % 2}", "workflow": name, "cold": False,
    }  # fmt: skip
    if target == ENDPOINT:
        base |= {"rate": RATE.usd_per_s, "idle_s": RATE.idle_s, "gpu": RATE.gpu}
    way = [(State.PREPARING, created), (State.SUBMITTING, created), (State.WAITING, created + 1)]
    way += [(State.RUNNING, created + waited)] if begun else []
    way += [(State.DOWNLOADING, NOW - ago - 1)] if state is State.DONE else []
    way += [(state, NOW - ago)] if final else []
    job = Job(**{**base, **values})
    return Made(job, progress, portrait(), [Move(at, each) for each, at in way])


def _failure() -> dict[str, Any]:
    wrong = {
        "type": "value_not_in_list", "message": "Value not in list",
        "details": f"ckpt_name: '{_MISSING}' not in (list of length 4)",
        "extra_info": {"input_name": "ckpt_name", "received_value": _MISSING},
    }  # fmt: skip
    there = ("sd3.5_large", "flux1-dev-fp8", "sd_xl_base_1.0", "juggernautXL_v9")
    log = ["got prompt", "Failed to validate prompt for output 9:", "* CheckpointLoaderSimple 4:"]
    log += ["  - Value not in list: ckpt_name:", f"    '{_MISSING}'", "Output will be ignored"]
    log += ["worker: prompt rejected, 1 node error", "worker: 4 files in checkpoints"]
    details = {
        "node": {"id": "4", "class_type": "CheckpointLoaderSimple", "input": "ckpt_name"},
        "traceback": "Traceback (most recent call last):\n  File 'execution.py', line 1\nValueError: no file",
        "diagnostic_info": {
            "node_errors": {"4": {"class_type": "CheckpointLoaderSimple", "errors": [wrong]}},
            "available_models": {"checkpoints": [f"{name}.safetensors" for name in there]},
            "last_log_lines": log,
        },
    }
    summary = f"The workflow was not accepted: ckpt_name has no {_MISSING}."
    return {
        "code": "validation_failed",
        "summary": summary,
        "hint": "Choose another file.",
        "details": details,
    }


ROOM = made(2, "Room restyle, depth ControlNet", State.RUNNING, target="local", waited=0, ran=41,
            progress=Progress("9", "VAEDecode", 0, 0, 11, 12))  # fmt: skip
FLUX = made(1, "Flux portrait, studio light", State.RUNNING, id="7c1f0e92", waited=4, ran=18, files=4,
            wide=896, high=1152, progress=Progress("6", "SamplerCustomAdvanced", 12, 20, 3, 6))  # fmt: skip
WAN = made(3, "Wan 2.2 text to video, 5 s", State.STARTING, waited=38, kind="video", wide=832, high=480)
WAITING = (
    WAN,
    made(4, "Qwen-Image poster set", State.WAITING, waited=21, files=6, wide=1328, high=1328),
    made(5, "Alpine lakes, SDXL base + refiner", State.WAITING, waited=12, files=4, wide=1216, high=832),
    made(6, "Upscale 4× UltraSharp", State.UPLOADING, waited=2, wide=4096, high=4096),
)
FAILED = made(8, "Glass orbs, SD 3.5 Large", State.FAILED, id="2b90d4aa", waited=6, ran=2, ago=360, files=2,
              error=_failure())  # fmt: skip
FINISHED = (
    made(7, "Misty ridges, Flux schnell", State.DONE, waited=3, ran=14, ago=120, files=8, size=9_800_000,
         wide=1344, high=768),
    FAILED,
    made(9, "Night city, neon rain", State.DONE, waited=2, ran=22, ago=540, files=4, size=6_100_000,
         wide=1152, high=896),
    made(10, "Kontext restyle, watercolour", State.DONE, target="local", ran=72, ago=840),
    made(11, "Fog forest, SDXL", State.DONE, waited=2, ran=9, ago=1020, files=2, size=3_600_000),
    made(12, "ACE-Step instrumental, 30 s", State.DONE, waited=5, ran=19, ago=1260, kind="audio",
         size=5_300_000),
    *(made(n, f"Study {n - 12}", State.DONE, waited=2, ran=12, ago=1300 + n * 60) for n in range(13, 45)),
)  # fmt: skip
JOBS = (FLUX, ROOM, *WAITING, *FINISHED)
ACCOUNT = AccountStatus(
    {
        each.id: Listed(each, Price(usd, usd), Rate(usd, 5.0, each.gpu_pools[0]))
        for each, usd in (
            (
                Endpoint(
                    ENDPOINT, ENDPOINT, "QUEUE", "marta/comfy:7", 0, 3, 5, ("ADA_48_PRO",), volumes=("v",)
                ),
                0.00053,
            ),
            (Endpoint("comfy-wan-test", "comfy-wan-test", "QUEUE", None, 0, 0, 5, ("HOPPER_80",)), 0.00116),
        )
    },
    checked_at=time.time() - 12,
)


@asynccontextmanager
async def opened(
    theme: Theme,
    folder: Path,
    jobs: Sequence[Made] = (),
    size: tuple[int, int] | None = FULL,
    **settings: Any,
) -> AsyncIterator[Panel]:
    """A panel with these jobs in its store and in its list, at the moment :data:`NOW`. It is not run."""
    data = folder / "data"
    (folder / "ComfyUI").mkdir(parents=True, exist_ok=True)
    known: dict[str, Any] = {
        "comfyui_dir": folder / "ComfyUI", "runpod_endpoint_id": ENDPOINT, "target": ENDPOINT,
        "runpod_api_key": Secret("of-a-test"), "runpod_api_url": "http://127.0.0.1:9", "welcomed": True,
        "config_file": data / "settings.yaml",
    }  # fmt: skip
    panel = Panel(theme, Settings(data_dir=data, output_dir=folder / "out", **{**known, **settings}))
    queue = panel.window.queue
    panel.model._now = queue.delegate._now = queue.inspector._now = lambda: NOW
    panel.chips._now = lambda: NOW
    panel.model.tick()
    if size is not None:
        panel.window.resize(*size)
    try:
        await panel.desk.open()
        _fill(data / "jobs.sqlite", jobs)
        await panel._read_jobs()
        await panel.chips._read_spend()
        panel.window.show()
        panel.window.activateWindow()
        for each in jobs:
            if each.progress is not None:
                panel.feed.take(JobEvent(each.job, each.progress))
        await until(lambda: not panel.feed._gathered)
        for entry in panel.model.jobs.values():
            entry.since = 0.0  # nothing fades in
        await settled()
        yield panel
    finally:
        _close_popups()
        await panel._close()
        panel.window.deleteLater()
        # What is connected to it holds the whole panel, and each later search for garbage would search that.
        panel.pictures.deleteLater()
        await settled()


@asynccontextmanager
async def scene(
    name: str, theme: Theme, folder: Path, size: tuple[int, int] | None = None
) -> AsyncIterator[Panel]:
    """A window that shows what the picture of that name does; its panel."""
    jobs, arrange, usual = SCENES[name]
    async with opened(theme, folder, jobs, size or usual, welcomed=arrange not in _WELCOMES) as panel:
        panel.comfy.show(ComfyStatus(ComfyState.RUNNING, "http://127.0.0.1:8188", NOW - 720, "0.3.64"))
        text = "1 running · 1 starting · 3 in queue"
        figures = EndpointStatus("runpod", True, running=1, starting=1, idle=1, in_queue=3, text=text)
        panel.chips.account.status = ACCOUNT
        panel.chips.account.workers = _workers  # type: ignore[method-assign]
        door: Any = panel.window.settings._door
        door.volumes, door.gpu_types = _volumes, _gpu_types
        panel._show_places()
        panel.chips.show_endpoint(replace(figures, checked_at=time.time() - 2))
        await arrange(panel)
        await until(lambda: not panel.scope._tasks)
        await settled()
        yield panel


async def _volumes() -> tuple[Volume, ...]:
    return (
        Volume("v", "flux-models", 250, "EU-RO-1", "STANDARD"),
        Volume("w7k2q9", "video-models", 1000, "EUR-IS-1", "STANDARD"),
    )


async def _gpu_types() -> tuple[GpuType, ...]:
    known = (
        ("RTX 4090", "ADA_24", 24, 1.12, "HIGH"), ("L40S", "ADA_48_PRO", 48, 1.9, "LOW"),
        ("RTX A6000", "AMPERE_48", 48, 1.22, "MEDIUM"), ("H100 SXM", "HOPPER_141", 80, 4.47, "NONE"),
        ("RTX 6000 Ada", "ADA_48_PRO", 48, 1.9, "MEDIUM"), ("A100 SXM", "AMPERE_80", 80, 2.74, "HIGH"),
        ("RTX PRO 6000 Blackwell Server Edition", "BLACKWELL_96", 96, None, None),
    )  # fmt: skip
    return tuple(
        GpuType(f"NVIDIA {name}", name, pool, memory, usd, free) for name, pool, memory, usd, free in known
    )


async def _workers(endpoint_id: str) -> tuple[LiveWorkers, RollOut]:
    return LiveWorkers((), {}), RollOut(in_progress=True, on_latest=1, total=3, version=7)


async def _queue_empty(panel: Panel) -> None:
    assert panel.window.queue.empty_zone.isVisible()


async def _queue_running(panel: Panel) -> None:
    """The running job is chosen and shows its live preview."""
    for number, each in enumerate((FLUX, ROOM), 2):
        preview = base64.b64encode(_VIEWS[number].read_bytes()).decode()
        panel.feed.take(JobEvent(each.job, replace(each.progress or Progress(), preview=preview)))
        await until(lambda job=each.job: panel.pictures.preview(job.id))
    panel.window.queue.select(FLUX.job.id)
    await _pictures(panel)


async def _queue_error(panel: Panel) -> None:
    panel.window.queue.select(FAILED.job.id)
    await _pictures(panel)


async def _queue_min(panel: Panel) -> None:
    panel.window.queue.list.select(FLUX.job.id)
    await _pictures(panel)


async def _welcome_found(panel: Panel) -> None:
    folder = Path.home() / "ComfyUI"
    panel.window.welcome.show_found(Found(folder, "0.3.64", 23, 212_000_000_000, folder / "venv/bin/python"))
    panel.window.show_welcome()


async def _welcome_not_found(panel: Panel) -> None:
    panel.window.welcome.show_found(None)
    panel.window.show_welcome()


async def _settings(panel: Panel) -> None:
    panel.window.show_page("settings")


async def _tune(panel: Panel) -> None:
    """The page of a job's values, with all that it can show open."""
    page = panel.tuner.page
    panel.actions.tune(FLUX.job.id)
    await until(lambda: page.isVisible() and not panel.scope._tasks)
    steps = next(each for each in page.rows.values() if each.tunable.label == "Steps")
    steps.vary.click()
    steps.field.setText("20..40:10")
    page.all_button.click()
    await until(lambda: len(page.rows) > 12 and not page._settle.isActive())


async def _overlays(panel: Panel) -> None:
    """The target menu, the endpoint's popover and a toast, all at once."""
    await _queue_running(panel)
    panel.notices.tell(Notice("4 images saved", "Night city, neon rain · 22 s", "done", "Show", lambda: None))
    panel.window.topbar.open_targets()
    panel.window.topbar.endpoint.clicked.emit()


async def _pictures(panel: Panel) -> None:
    """Wait for the pictures in sight."""
    queue = panel.window.queue
    await settled()
    queue.grab()
    outputs = [
        o.path for e in queue.list.visible_entries() for o in e.job.outputs[:2] if o.path.endswith("jpg")
    ]
    await until(lambda: all(panel.pictures.thumbnail(path) is not None for path in outputs))


Arrange = Callable[[Panel], Awaitable[None]]
_WELCOMES = (_welcome_found, _welcome_not_found)
_ERROR = (ROOM, WAN, *FINISHED)


#: What each shows: its jobs, how it is arranged, and its size in the pictures.
async def comfyui_page(panel: Panel) -> None:
    """The page of ComfyUI as it is in use: a long log, many custom nodes, the button on RunPod."""
    page = panel.window.comfyui
    panel.window.show_page("comfyui")
    # What looks at a log and at custom nodes that are not there would empty all this.
    panel.comfy._end_log()
    panel.custom_nodes.end_listing()
    await until(lambda: not panel.scope._tasks)
    page.show_state(
        Figures(
            "running", "since 09:12 · 5 h 20 min", "127.0.0.1:8188", "RTX 4070", "12 GB", "7.9 / 12 GB", 0.66
        )
    )
    page.show_node(NodeFacts("active", f"RunPod · {ENDPOINT}", "1.0.0", "14:30:51"))
    options = Options("--preview-method auto", "", "8188", "/data/models")
    page.show_installation(
        InstallFacts(
            "~/ComfyUI", "0.3.64", "~/ComfyUI/venv/bin/python", "~/ComfyUI/models + /data/models",
            "~/ComfyUI/output", "--preview-method auto", "8188", options,
            "Changes count from the next start of ComfyUI.",
        )
    )  # fmt: skip
    packs = [
        PackRow("ComfyUI-Nunchaku", "failed", "import failed", error="No module named 'nunchaku'"),
        PackRow("comfyui_controlnet_aux", "slow", "slow import, 4.2 s"),
        *(PackRow(f"ComfyUI-Pack-{number}", "loaded", f"{number / 10:.1f} s") for number in range(1, 23)),
    ]
    page.show_packs(packs, "23 loaded, 1 failed")
    panel.window.topbar.routing.show_mode("runpod", pending=False, enabled=True)
    reader = LineReader()
    for text in ("got prompt", "Requested to load SDXL", "WARNING: clip missing", "52%|#####| 13/25") * 8:
        page.log.feed(reader.read(text, NOW))
    await until(lambda: page.log.pane.line_count() > 30)


async def _shown_models(panel: Panel) -> ModelsPage:
    """The page in sight, and nobody at work that would look at folders and volumes that are not there."""
    panel.window.show_page("models")
    await until(lambda: not panel.scope._tasks)
    panel.window.models.show_empty("")
    return panel.window.models


async def _models(panel: Panel) -> None:
    """A sync under way, as the design has it."""
    models_made_up.syncing(await _shown_models(panel))


async def _models_plan(panel: Panel) -> None:
    page = await _shown_models(panel)
    models_made_up.plan(page)
    # Who was asked for the selected file's details has none.
    await until(lambda: not panel.scope._tasks)
    page.show_known(models_made_up.KNOWN)


async def _models_empty(panel: Panel) -> None:
    (await _shown_models(panel)).show_empty(
        "No network volume", "Pick the volume that your endpoint uses.", "Choose a volume"
    )


async def _models_send(panel: Panel) -> None:
    models_made_up.send(await _shown_models(panel))


def _image(arrange: Callable[[ImagePage], None]) -> Arrange:
    async def show(panel: Panel) -> None:
        panel.window.show_page("image")
        await until(lambda: not panel.scope._tasks)
        arrange(panel.window.image)
        await until(lambda: not panel.window.image.log._waiting)

    return show


#: The scenes that are looked at each time; all of them with the full figures.
FEW = ("queue_running", "queue_error", "comfyui", "models", "image")
SCENES: dict[str, tuple[Sequence[Made], Arrange, tuple[int, int]]] = {
    "queue_empty": ((), _queue_empty, FULL),
    "queue_running": (JOBS, _queue_running, FULL),
    "queue_error": (_ERROR, _queue_error, FULL),
    "queue_min": (JOBS, _queue_min, SMALL),
    "welcome_found": ((), _welcome_found, FULL),
    "welcome": ((), _welcome_not_found, FULL),
    "settings": (JOBS, _settings, FULL),
    "overlays": (JOBS, _overlays, FULL),
    "tune": (JOBS, _tune, FULL),
    "comfyui": (JOBS, comfyui_page, FULL),
    "models": (JOBS, _models, FULL),
    "models_plan": (JOBS, _models_plan, FULL),
    "models_send": (JOBS, _models_send, FULL),
    "models_empty": ((), _models_empty, FULL),
    "image": (JOBS, _image(image_made_up.pushing), FULL),
    "image_failed": (JOBS, _image(image_made_up.failed), FULL),
    "image_done": (JOBS, _image(image_made_up.done), FULL),
    "image_ready": (JOBS, _image(image_made_up.ready), FULL),
    "image_no_docker": ((), _image(image_made_up.no_docker), FULL),
}


def _fill(path: Path, jobs: Sequence[Made]) -> None:
    """Put jobs where the store reads them, with times of their own: the store itself knows only now."""
    with closing(sqlite3.connect(path)) as db, db:
        for each in jobs:
            job = each.job
            spec = JobSpec(job.name, job.target, each.prompt, job.output_dir, id=job.id)
            texts = (json.dumps(job.to_json()), json.dumps(spec.to_json()))
            db.execute(
                "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?)", (job.seq, job.id, job.state, job.target, *texts)
            )
            moves = [(job.id, move.at, move.state, move.note) for move in each.moves]
            db.executemany("INSERT INTO moves VALUES (?, ?, ?, ?)", moves)
            if runs.used_a_worker(job):
                runs.enter(db, job)


def _close_popups() -> None:
    while (popup := QApplication.activePopupWidget()) is not None:
        popup.close()
