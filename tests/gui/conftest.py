"""One application for all window tests, and nothing left behind by any of them."""

from __future__ import annotations

import gc
import importlib
import os
from pathlib import Path

# Without a display Qt aborts the whole run, so windows are drawn off screen unless told otherwise, on a
# screen that is large enough for them.
os.environ.setdefault("QT_QPA_PLATFORM", f"offscreen:configfile={Path(__file__).with_name('screen.json')}")

import time
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from app.ui.queue.pictures import PictureStore
from app.ui.theme import Theme
from tests.e2e.conftest import Cli
from tests.gui.harness import Left, left_behind, settle


@pytest.fixture(scope="session")
def app(qapp: QApplication) -> QApplication:
    qapp.setQuitOnLastWindowClosed(False)
    # Modules live as long as the run: left out, each look for what a test left takes a tenth of the time.
    importlib.import_module("app.panel")
    gc.collect()
    gc.freeze()
    return qapp


@pytest.fixture(autouse=True)
def nothing_left(app: QApplication, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a window, a timer, a thread or a child process behind."""
    # What a test leaves to the collector dies here, on the GUI thread, and not in whichever comes next.
    gc.disable()
    before = Left.now(app)
    yield
    settle(app)
    gc.collect()
    gc.enable()
    left = left_behind(app, before)
    if left:
        pytest.fail(f"the test left behind: {'; '.join(left)}")


@pytest.fixture
def theme(app: QApplication) -> Iterator[Theme]:
    made = Theme(app, "dark")
    yield made
    # The next window is built without it, and styled once: else every part is styled as it comes.
    app.setStyleSheet("")
    made.deleteLater()


@pytest.fixture
def pictures(app: QApplication, tmp_path: Path) -> Iterator[PictureStore]:
    store = PictureStore(tmp_path / "thumbnails")
    yield store
    store.close()
    store.deleteLater()


@pytest.fixture
def now() -> float:
    """Noon of a day: nothing is yesterday by accident."""
    day = time.localtime()
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folders of their own: nothing of this machine's settings, keys and ComfyUI.

    A local endpoint with work goes on when the window closes, by design; here it is ended.
    """
    for name in list(os.environ):
        if name.startswith(("COMFY", "RUNPOD")):
            monkeypatch.delenv(name)
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMFY_RUNPOD_DATA", str(data))
    monkeypatch.setenv("COMFY_RUNPOD_CONFIG", str(data / "settings.yaml"))
    settings = f"welcomed: true\noutput_dir: {tmp_path / 'out'}\nappearance: dark\n"
    (data / "settings.yaml").write_text(settings, encoding="utf-8")
    yield tmp_path
    Cli(data).clean_up()
