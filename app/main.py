"""The window's program: one application of Qt, one event loop, one panel."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BadInput, NeedsSetup
from .settings import RedactingFilter, Settings

if TYPE_CHECKING:
    from .panel import Panel

log = logging.getLogger(__name__)
_LOG_BYTES = 2_000_000
#: However it goes, the program has ended so many seconds after its window was closed.
_END_S = 10.0


def open_window(files: Sequence[Path], settings: Settings) -> int:
    """Open the window and stay until it is closed; files go to the window that is open already, if one is.

    Raises:
        BadInput: when none of the files is there.
        NeedsSetup: when there is no display.
    """
    paths = [path.absolute() for path in files]
    missing = [path for path in paths if not path.exists()]
    if missing and len(missing) == len(paths):
        raise BadInput(
            f"{missing[0].name} is neither a command nor a file here.", hint="`--help` shows the commands."
        )
    if (settings.data_dir / "control.json").exists() and asyncio.run(_handed_over(paths, settings)):
        return 0
    _check_display()
    log_to_file(settings)
    # Only now: a second start that hands over needs nothing of Qt.
    from PySide6.QtWidgets import QApplication

    from .panel import Panel
    from .ui import loop
    from .ui.theme import Theme

    QApplication.setApplicationName("comfy-runpod")
    QApplication.setApplicationDisplayName("Comfy RunPod")
    QApplication.setDesktopFileName("comfy-runpod")
    app = QApplication([sys.argv[0]])
    theme = Theme(app, settings.appearance, settings.text_size)
    theme.use(reduced_motion=settings.motion == "reduced")
    panel = Panel(theme, settings, on_end=_end_whatever_happens)
    return loop.run(app, _stay(panel, paths))


async def _stay(panel: Panel, paths: Sequence[Path]) -> int:
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, panel.end)
    await panel.run(paths)
    return 0


def _end_whatever_happens() -> None:
    """From the moment of closing a thread that hangs has ten seconds. All that counts is on disk by then."""

    def end() -> None:
        log.warning("Closing took longer than %g s; what is left is ended.", _END_S)
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(_END_S, end)
    timer.daemon = True
    timer.start()


async def _handed_over(paths: list[Path], settings: Settings) -> bool:
    from .jobs.control_client import ControlClient, RunnerGone

    try:
        return await ControlClient(settings.data_dir).open_window(paths)
    except RunnerGone:
        return False


def _check_display() -> None:
    """Without a display Qt ends the process with a core dump."""
    if sys.platform in ("win32", "darwin") or os.environ.get("QT_QPA_PLATFORM"):
        return
    if not os.environ.get("DISPLAY") and not os.environ.get("WAYLAND_DISPLAY"):
        raise NeedsSetup(
            "There is no display to open a window on.",
            hint="Everything works without one too: `comfy-runpod run --help`.",
        )


def log_to_file(settings: Settings) -> None:
    """Keep a log beside the jobs: a window has no terminal. No secret reaches it."""
    from logging.handlers import RotatingFileHandler

    folder = settings.data_dir / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            folder / "panel.log", maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8"
        )
    except OSError as error:
        raise BadInput(
            f"The data folder {settings.data_dir} cannot be used: {error.strerror}.",
            hint="Set COMFY_RUNPOD_DATA to a folder that can be written to.",
        ) from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(RedactingFilter(settings))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(min(root.level, logging.INFO))
