"""Takes the pictures of the README and of the design's states: the real window, the demo engine behind it.

    xvfb-run -a -s "-screen 0 1920x1200x24" python -m tests.screenshots FOLDER [NAME ...]

Without names all of them are taken, in dark and in light. Needs a display; Xvfb will do.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QApplication, QWidget

from app.jobs.states import State
from app.panel import Panel
from app.settings import Settings
from app.ui import loop
from app.ui.theme import Theme
from tests.e2e.conftest import blur_chain, written
from tests.gui.harness import until
from tests.gui.scenes import portrait, scene

EXAMPLES = Path(__file__).parents[1] / "resources" / "workflows"
Take = Callable[[Panel], Awaitable[QPixmap]]
_FULL, _SMALL = (1440, 900), (1024, 640)


async def queue_empty(panel: Panel) -> QPixmap:
    return await _settled(panel)


async def queue_running(panel: Panel) -> QPixmap:
    """Some done, one running with its live preview, some waiting."""
    await _run(panel, *_examples(), until_done=True)
    slow = _below(panel) / "Soft light study.json"
    photo = {"class_type": "LoadImage", "inputs": {"image": "photo.png"}}
    chain = blur_chain(60)
    scaled = {"image": ["0", 0], "upscale_method": "bicubic", "width": 1536, "height": 1024, "crop": "center"}
    chain |= {"0": photo, "1": {"class_type": "ImageScale", "inputs": scaled}}
    written(slow, chain)
    shutil.copy(EXAMPLES / "photo.png", slow.parent / "photo.png")
    await _run(panel, slow, slow.parent / "photo.png")
    await _run(panel, EXAMPLES / "batch.json", EXAMPLES / "variations.json", EXAMPLES / "photo.png")
    running = await until(
        lambda: next((e for e in panel.model.jobs.values() if e.job.state is State.RUNNING), None)
    )
    panel.window.queue.select(running.job.id)
    await until(lambda: (running.part or 0) > 0.3)
    return await _settled(panel)


async def queue_done(panel: Panel) -> QPixmap:
    await _run(panel, *_examples(), until_done=True)
    return await _settled(panel)


async def queue_failed(panel: Panel) -> QPixmap:
    bad = json.loads((EXAMPLES / "batch.json").read_text("utf-8"))
    bad["mask"] = {"class_type": "ImageToMask", "inputs": {"image": ["6", 0], "channel": "alpha"}}
    bad["masked"] = {"class_type": "MaskToImage", "inputs": {"mask": ["mask", 0]}}
    bad["saved"] = {
        "class_type": "SaveImage", "inputs": {"images": ["masked", 0], "filename_prefix": "poster"}
    }  # fmt: skip
    await _run(panel, *_examples(), until_done=True)
    await _run(panel, written(_below(panel) / "Poster set, enlarged.json", bad), until_done=True)
    return await _settled(panel)


async def viewer(panel: Panel) -> QPixmap:
    await _run(panel, EXAMPLES / "variations.json", EXAMPLES / "photo.png", until_done=True)
    panel.window.queue.open_viewer(0)
    return await _settled(panel)


async def welcome(panel: Panel) -> QPixmap:
    panel.window.show_welcome()
    return await _settled(panel)


async def settings(panel: Panel) -> QPixmap:
    panel.window.show_page("settings")
    return await _settled(panel)


async def targets(panel: Panel) -> QPixmap:
    """The menu under "Run on …", which is a window of its own, laid over the picture."""
    await _run(panel, *_examples(), until_done=True)
    panel.window.topbar.open_targets()
    return await _settled(panel)


async def tune(panel: Panel) -> QPixmap:
    """A job's values, one of them with several."""
    await _run(panel, EXAMPLES / "hello.json", until_done=True)
    written(_below(panel) / "Studio portrait.json", portrait())
    panel.actions.tune_file(_below(panel) / "Studio portrait.json")
    page = panel.tuner.page
    await until(lambda: page.isVisible() and page.rows)
    await asyncio.sleep(0.5)
    steps = next(row for row in page.rows.values() if row.tunable.label == "Steps")
    steps.vary.click()
    steps.field.setText("20..40:10")
    page._seeds.setText("4")
    return await _settled(panel)


PICTURES: dict[str, tuple[Take, tuple[int, int]]] = {
    "queue-empty": (queue_empty, _FULL),
    "queue-running": (queue_running, _FULL),
    "queue-done": (queue_done, _FULL),
    "queue-failed": (queue_failed, _FULL),
    "queue-min-window": (queue_done, _SMALL),
    "queue-empty-min-window": (queue_empty, _SMALL),
    "viewer": (viewer, _FULL),
    "welcome": (welcome, _FULL),
    "welcome-min-window": (welcome, _SMALL),
    "settings": (settings, _FULL),
    "targets": (targets, _FULL),
    "tune": (tune, _FULL),
}


#: Scenes with made-up figures, for what would show paths of this machine.
MADE_UP: dict[str, tuple[str, tuple[int, int]]] = {
    "comfyui": ("comfyui", _FULL),
    "models": ("models", _FULL),
    "models-min-window": ("models", _SMALL),
    "models-plan": ("models_plan", _FULL),
    "models-send": ("models_send", _FULL),
    "models-send-min-window": ("models_send", _SMALL),
    "models-empty": ("models_empty", _FULL),
    "image": ("image", _FULL),
    "image-min-window": ("image", _SMALL),
    "image-failed": ("image_failed", _FULL),
    "image-failed-min-window": ("image_failed", _SMALL),
    "image-done": ("image_done", _FULL),
    "image-ready": ("image_ready", _FULL),
    "image-no-docker": ("image_no_docker", _FULL),
}


def _examples() -> list[Path]:
    names = ("hello", "batch", "photo", "variations")
    return [*(EXAMPLES / f"{name}.json" for name in names), EXAMPLES / "photo.png"]


def _below(panel: Panel) -> Path:
    return panel.settings.data_dir.parent


async def _run(panel: Panel, *paths: Path, until_done: bool = False) -> None:
    before = len(panel.model.jobs)
    panel.actions.run_files(paths)
    flows = sum(path.suffix == ".json" for path in paths)
    await until(lambda: len(panel.model.jobs) == before + flows)
    if until_done:
        await until(lambda: all(entry.job.is_final for entry in panel.model.jobs.values()), 60)


async def _settled(panel: Panel) -> QPixmap:
    """The window with everything that floats over it, once pictures have arrived and notices have gone."""
    for toast in list(panel.window.toasts.shown):
        toast.end()
    await asyncio.sleep(1.2)
    window = panel.window
    picture = window.grab()
    for floating in _floating(window):
        place = floating.mapToGlobal(floating.rect().topLeft()) - window.mapToGlobal(window.rect().topLeft())
        _lay_over(picture, floating, place.x(), place.y())
    return picture


def _floating(window: QWidget) -> Sequence[QWidget]:
    return [each for each in QApplication.topLevelWidgets() if each.isVisible() and each is not window]


def _lay_over(picture: QPixmap, widget: QWidget, x: int, y: int) -> None:
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QPainter

    painter = QPainter(picture)
    painter.drawPixmap(QPoint(x, y), widget.grab())
    painter.end()


@asynccontextmanager
async def _opened(theme: Theme, size: tuple[int, int]) -> AsyncIterator[Panel]:
    panel = Panel(theme, Settings.load())
    panel.window.resize(*size)
    running = asyncio.create_task(panel.run([]))
    try:
        await until(lambda: panel.desk.is_runner)
        panel.window.activateWindow()
        yield panel
    finally:
        for entry in list(panel.model.jobs.values()):
            if not entry.job.is_final:
                await panel.desk.cancel(entry.job.id)
        await until(lambda: all(entry.job.is_final for entry in panel.model.jobs.values()), 60)
        panel.end()
        await running
        panel.window.deleteLater()


async def _take(theme: Theme, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        for look in ("dark", "light"):
            if name in MADE_UP:
                await _made_up(theme, folder, name, look)
                continue
            take, size = PICTURES[name]
            with tempfile.TemporaryDirectory() as home:
                _settle_in(Path(home), look)
                theme.use(appearance=look)  # type: ignore[arg-type]
                async with _opened(theme, size) as panel:
                    (await take(panel)).save(str(folder / f"{name}-{look}.png"))
                print(f"{name}-{look}.png")


async def _made_up(theme: Theme, folder: Path, name: str, look: str) -> None:
    theme.use(appearance=look)  # type: ignore[arg-type]
    shown, size = MADE_UP[name]
    with tempfile.TemporaryDirectory() as home:
        async with scene(shown, theme, Path(home), size) as panel:
            panel.window.grab().save(str(folder / f"{name}-{look}.png"))
    print(f"{name}-{look}.png")


def _settle_in(home: Path, look: str) -> None:
    data = home / "data"
    data.mkdir()
    os.environ |= {
        "COMFY_RUNPOD_DATA": str(data),
        "COMFY_RUNPOD_CONFIG": str(data / "settings.yaml"),
        "HOME": str(home),
    }
    lines = ["welcomed: true", f"appearance: {look}", f"output_dir: {home / 'Pictures'}"]
    (data / "settings.yaml").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    folder, *names = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    app = QApplication(["screenshots"])
    theme = Theme(app, "dark")
    loop.run(app, _take(theme, Path(folder), names or [*PICTURES, *MADE_UP]))


if __name__ == "__main__":
    main()
