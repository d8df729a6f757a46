"""Run with QT_SCALE_FACTOR set: prints what does not fit, and which pixmaps have too few pixels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget

from app.ui import loop
from app.ui.theme import Theme
from tests.gui.checks import faults, shown
from tests.gui.scenes import scene


def _drawn(window: QWidget, ratio: float) -> list[tuple[str, QPixmap, int]]:
    """Every pixmap in sight with the logical size at which it is shown."""
    found = []
    for child in shown(window):
        if isinstance(child, QLabel) and not child.pixmap().isNull():
            found.append((f"{type(child).__name__}", child.pixmap(), child.width()))
        elif isinstance(child, QPushButton) and not child.icon().isNull():
            size = child.iconSize()
            found.append(
                (child.text() or child.accessibleName(), child.icon().pixmap(size, ratio), size.width())
            )
    return found


async def main(app: QApplication, folder: Path) -> None:
    theme = Theme(app, "dark")
    wrong: list[str] = []
    blurred: list[str] = []
    count = 0
    for name in ("queue_running", "queue_error", "queue_min", "settings", "welcome_found"):
        async with scene(name, theme, folder / name) as panel:
            window, ratio = panel.window, panel.window.devicePixelRatio()
            wrong += [f"{name}: {fault}" for fault in faults(window)]
            for what, pixmap, size in _drawn(window, ratio):
                count += 1
                if pixmap.width() < int(size * ratio) or abs(pixmap.devicePixelRatio() - ratio) > 0.1:
                    blurred.append(f"{name}: {what} has {pixmap.width()} pixels for {size}")
            for path in [
                output.path for entry in window.queue.list.visible_entries() for output in entry.job.outputs
            ]:
                thumbnail = panel.pictures.thumbnail(path)
                if thumbnail is not None and thumbnail.width() < 40 * ratio:
                    blurred.append(f"{name}: a thumbnail of {thumbnail.width()} pixels")
            for icon, size in (("loader-circle", 12), ("folder-open", 16), ("circle-alert", 18)):
                pixmap = theme.pixmap(icon, "text", size, ratio)
                if pixmap.width() != round(size * ratio):
                    blurred.append(f"{icon} has {pixmap.width()} pixels for {size}")
    print(json.dumps({"ratio": ratio, "faults": wrong, "blurred": blurred, "pixmaps": count}))


if __name__ == "__main__":
    application = QApplication(["scaled"])
    loop.run(application, main(application, Path(sys.argv[1])))
