"""The window over a real volume: looked at, synced, paused, gone on with, all by clicks."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton, QWidget

from app.panel import Panel
from app.s3.access import VolumeAccess
from app.s3.bucket import Bucket
from app.s3.records import RECORDS
from app.settings import Secret, Settings
from app.ui.models.page import ModelsPage
from app.ui.models.shown import Choice, RowState
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.gui.harness import on_loop, until
from tests.s3 import ACCESS, SECRET, s3_server
from tests.s3_proxy import S3Proxy

VOLUME = "vol0123"
LORA, BIG, ONLY_THERE = "loras/film.pt", "checkpoints/big.bin", "vae/there.bin"
MB = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("s3")
    with s3_server(folder) as url:
        yield url, folder


@pytest.fixture
def volume(server: tuple[str, Path], tmp_path: Path) -> Path:
    """A volume of this test's own."""
    made = server[1] / f"v{tmp_path.name[-40:].replace('_', '-').lower()}"
    made.mkdir()
    return made


@pytest.fixture
def proxy(server: tuple[str, Path]) -> Iterator[S3Proxy]:
    with S3Proxy(server[0]) as made:
        yield made


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for name, size in ((LORA, 60_000), (BIG, 70 * MB)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(os.urandom(1000) + bytes(size - 1000))
    return folder


@asynccontextmanager
async def running(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, proxy: S3Proxy, volume: Path, models: Path
) -> AsyncIterator[Panel]:
    monkeypatch.setenv("RUNPOD_S3_ACCESS_KEY", ACCESS)
    monkeypatch.setenv("RUNPOD_S3_SECRET_KEY", SECRET)
    lines = {
        "runpod_s3_url": proxy.url, "runpod_volume_id": volume.name, "runpod_datacenter": "EU-RO-1",
        "models_dir": models,
    }  # fmt: skip
    settings = home / "data" / "settings.yaml"
    if "models_dir" not in settings.read_text("utf-8"):
        with settings.open("a", encoding="utf-8") as file:
            file.writelines(f"{name}: {value}\n" for name, value in lines.items())
    panel = Panel(theme, Settings.load())
    going = asyncio.create_task(panel.run([]), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        panel.window.show_page("models")
        yield panel
    finally:
        panel.end()
        await going
        panel.window.deleteLater()


def press(root: QWidget, text: str) -> None:
    (button,) = [
        each
        for each in root.findChildren(QPushButton)
        if each.isVisible() and text in (each.text().strip(), each.accessibleName())
    ]
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def state(page: ModelsPage, path: str) -> RowState | None:
    row = page.files.row(path)
    return None if row is None else row.state


async def looked(panel: Panel) -> ModelsPage:
    page = panel.window.models
    await until(lambda: page.files.row(LORA) is not None and "Comparing" not in page.card.title.text())
    return page


@on_loop
async def test_what_is_missing_is_sent_and_what_only_the_volume_has_is_fetched(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, proxy: S3Proxy, volume: Path, models: Path
) -> None:
    there = volume / "comfyui/models" / ONLY_THERE
    there.parent.mkdir(parents=True)
    there.write_bytes(b"only there")
    async with running(theme, home, monkeypatch, proxy, volume, models) as panel:
        page = await looked(panel)
        assert (state(page, LORA), state(page, ONLY_THERE)) == (RowState.LOCAL_ONLY, RowState.VOLUME_ONLY)
        assert "2 files" in page.card.title.text()
        press(page.card, "Sync Models")
        await until(lambda: (volume / "comfyui/models" / BIG).is_file(), 60)
        await until(lambda: state(page, BIG) is RowState.SAME and state(page, LORA) is RowState.SAME)
        assert (volume / "comfyui/models" / LORA).read_bytes() == (models / LORA).read_bytes()
        page.row_wanted.emit(Choice.DOWNLOAD, [ONLY_THERE])
        await until(lambda: state(page, ONLY_THERE) is RowState.SAME)
        assert (models / ONLY_THERE).read_bytes() == b"only there"
        # Deleted here, and then, by name, there.
        (models / ONLY_THERE).unlink()
        page.rescan_wanted.emit()
        await until(lambda: state(page, ONLY_THERE) is RowState.VOLUME_ONLY)
        page.deletions_wanted.emit([ONLY_THERE])
        await until(lambda: page.files.row(ONLY_THERE) is None)
        assert not there.exists()


@on_loop
async def test_a_file_that_differs_stays_until_its_name_was_confirmed(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, proxy: S3Proxy, volume: Path, models: Path
) -> None:
    there, other = volume / "comfyui/models" / LORA, b"x" * 60_000
    bucket = Bucket(VolumeAccess(volume.name, proxy.url, "EU-RO-1", Secret(ACCESS), Secret(SECRET)))
    await asyncio.to_thread(bucket.put, f"comfyui/models/{LORA}", other, hashlib.md5(other).digest())
    bucket.close()
    (models / BIG).unlink()
    async with running(theme, home, monkeypatch, proxy, volume, models) as panel:
        page = await looked(panel)
        # Of one size: the contents were read before it was said.
        await until(lambda: state(page, LORA) is RowState.DIFFERS)
        assert "in sync" in page.card.title.text()
        row = page.files.row(LORA)
        assert row is not None
        page.files.choices.want(Choice.OVERWRITE, [row])
        (question,) = await until(lambda: panel.window.findChildren(Question))
        assert "film" in question.windowTitle() + question.accessibleName() + str(
            [each.text() for each in question.findChildren(QWidget) if hasattr(each, "text")]
        )
        press(question, "Overwrite")
        await until(lambda: state(page, LORA) is RowState.SAME)
        assert there.read_bytes() == (models / LORA).read_bytes()


@on_loop
async def test_a_sync_is_paused_cut_off_and_goes_on_at_the_next_start(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, proxy: S3Proxy, volume: Path, models: Path
) -> None:
    held = proxy.befall("hold", "PUT", part=2)
    async with running(theme, home, monkeypatch, proxy, volume, models) as panel:
        page = await looked(panel)
        press(page.card, "Sync Models")
        await until(lambda: held.seen and any(each.part == 1 for each in proxy.puts()), 60)
        press(page.card, "Pause")
        await until(lambda: "Paused" in page.card.title.text())
    assert not (volume / "comfyui/models" / BIG).exists()
    assert (home / "data" / RECORDS).is_file()
    proxy.let_go()
    sent = proxy.bodies()
    async with running(theme, home, monkeypatch, proxy, volume, models) as panel:
        await until(lambda: (volume / "comfyui/models" / BIG).is_file(), 60)
        page = await looked(panel)
        await until(lambda: state(page, BIG) is RowState.SAME)
    assert (volume / "comfyui/models" / BIG).read_bytes() == (models / BIG).read_bytes()
    # The part that had arrived was not sent again.
    assert proxy.bodies() - sent < 10 * MB


@on_loop
async def test_without_a_folder_or_a_volume_the_page_says_what_to_do(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = Panel(theme, Settings.load())
    going = asyncio.create_task(panel.run([]), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        panel.window.show_page("models")
        page = panel.window.models
        await until(lambda: [each for each in page.findChildren(QPushButton) if "Choose" in each.text()])
    finally:
        panel.end()
        await going
        panel.window.deleteLater()
