"""The window over a real volume: looked at, synced, paused, gone on with, all by clicks."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton, QWidget

from app.files import resource
from app.jobs.states import State
from app.panel import Panel
from app.s3.access import VolumeAccess
from app.s3.bucket import Bucket
from app.s3.records import RECORDS
from app.settings import Secret, Settings
from app.ui.models.page import ModelsPage
from app.ui.models.shown import Choice, RowState
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.e2e.conftest import written
from tests.gui.harness import on_loop, until
from tests.s3 import ACCESS, SECRET, s3_server
from tests.s3_proxy import S3Proxy
from worker.process import free_port

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
        assert "Nothing to sync" in page.card.title.text()
        assert "1 file differs" in page.card.note.text()
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


def needing(ckpt: str, home: Path) -> Path:
    """A workflow that loads a checkpoint."""
    flow: dict[str, Any] = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": ckpt}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 2]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }
    return written(home / f"needs {ckpt}.json", flow)


@on_loop
async def test_jobs_that_wait_for_a_model_go_on_when_it_has_come(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, proxy: S3Proxy, volume: Path, models: Path
) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        (models / "checkpoints" / name).write_bytes(safetensors(name))
    (models / BIG).unlink()
    # Else it would not be known that the volume's models are there.
    (volume / "comfyui/models/checkpoints").mkdir(parents=True)
    (volume / "comfyui/models/checkpoints/other.safetensors").write_bytes(safetensors("other"))
    # What a worker there has told of its nodes: without it nobody could be sure.
    kept = json.loads(gzip.decompress(resource("nodes.json.gz").read_bytes()))
    (volume / ".comfy-runpod/catalogue").mkdir(parents=True)
    (volume / ".comfy-runpod/catalogue/0.json").write_text(
        json.dumps({name: {**node, "python_module": "nodes"} for name, node in kept["nodes"].items()}),
        "utf-8",
    )
    nowhere = f"http://127.0.0.1:{free_port()}"
    for key, value in (
        ("RUNPOD_API_KEY", "rpa_0123456789"), ("RUNPOD_ENDPOINT_ID", "abc123def456"),
        ("RUNPOD_ENDPOINT_BASE_URL", nowhere), ("RUNPOD_API_BASE_URL", nowhere),
    ):  # fmt: skip
        monkeypatch.setenv(key, value)
    async with running(theme, home, monkeypatch, proxy, volume, models) as panel:
        page = await looked(panel)
        panel.state.put("asked_targets", ["abc123def456"])
        await panel._change({"target": "abc123def456"})
        panel.actions.run_files([needing("one.safetensors", home), needing("two.safetensors", home)])

        def states() -> list[State]:
            return [entry.job.state for entry in panel.model.jobs.values()]

        await until(lambda: states() == [State.ON_HOLD] * 2)
        # One by its own button …
        first = next(job for job in panel.model.jobs if "one" in panel.model.jobs[job].job.name)
        panel.actions.upload_and_run(first)
        await until(lambda: states().count(State.ON_HOLD) == 1)
        assert (volume / "comfyui/models/checkpoints/one.safetensors").is_file()
        # … and the other since a sync brought what it waits for.
        await until(lambda: state(page, "checkpoints/two.safetensors") is RowState.LOCAL_ONLY)
        await until(lambda: not panel.models.runs.is_running)
        page.sync_wanted.emit()
        await until(lambda: states().count(State.ON_HOLD) == 0)
        assert (volume / "comfyui/models/checkpoints/two.safetensors").is_file()


def safetensors(text: str) -> bytes:
    header = json.dumps({"__metadata__": {"modelspec.title": text}}).encode()
    return len(header).to_bytes(8, "little") + header


#: Speaks as runpodctl's source says it does, and lays the files where a pod's folder would be.
FAKE = """#!{python}
import os, shutil, sys
def err(text): os.write(2, text.encode())
os.write(1, b"8338-galileo-collect-fidel-1\\n")
err("code is: 8338-galileo-collect-fidel-1\\non the other computer run\\n\\n"
    "runpodctl receive 8338-galileo-collect-fidel-1\\n")
sys.stdin.read(0)
err("\\nsending (->203.0.113.7:51820)\\n")
for name in sys.argv[2:]:
    size = os.path.getsize(name)
    for percent in (0, 50, 100):
        err(f"\\r{{name}} {{percent:3d}}% |#| ({{size * percent // 100}}/{{size}} B, 52 MB/s)")
    shutil.copy(name, {pod!r})
err("\\n")
"""


@on_loop
async def test_where_there_is_no_s3_the_models_go_to_a_pod_by_a_code(
    theme: Theme, home: Path, monkeypatch: pytest.MonkeyPatch, models: Path, tmp_path: Path
) -> None:
    pod, own = tmp_path / "pod", home / "data" / "bin"
    pod.mkdir()
    (models / BIG).write_bytes(b"not so big")
    monkeypatch.setenv("RUNPOD_VOLUME_ID", "vol0123")
    monkeypatch.setenv("RUNPOD_DATACENTER", "AP-JP-1")
    monkeypatch.setenv("COMFY_RUNPOD_MODELS", str(models))
    monkeypatch.setenv("PATH", str(tmp_path))
    panel = Panel(theme, Settings.load())
    going = asyncio.create_task(panel.run([]), name="panel-under-test")
    try:
        await until(lambda: panel.desk.is_runner)
        panel.window.show_page("models")
        page = await looked(panel)
        assert "no S3 API in AP-JP-1" in page.card.title.text()
        page.transport_chosen.emit("runpodctl")
        await until(lambda: "2 files" in page.card.title.text())
        # Not on this computer yet: how to get it is said, and nothing is lost by that.
        page.sync_wanted.emit()
        await until(lambda: any("releases" in text for text in texts(page.send)))
        page.send_cancel_wanted.emit()
        own.mkdir()
        (own / "runpodctl").write_text(FAKE.format(python=sys.executable, pod=str(pod)), "utf-8")
        (own / "runpodctl").chmod(0o700)
        page.sync_wanted.emit()
        await until(lambda: any("Sent, not yet verified" in text for text in texts(page.send)))
        assert page.send.code.text() == "8338-galileo-collect-fidel-1"
        script = next(each.name for each in pod.iterdir() if each.suffix == ".py")
        assert f"python3 {script}" in texts(page.send)
    finally:
        panel.end()
        await going
        panel.window.deleteLater()
    command = [sys.executable, str(pod / script), "--target", str(tmp_path / "volume")]
    done = await asyncio.to_thread(subprocess.run, command, cwd=pod, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (LORA, BIG):
        assert (tmp_path / "volume" / name).read_bytes() == (models / name).read_bytes()
    assert not (models.parent / ".comfy-runpod-staging").exists()


def texts(root: QWidget) -> list[str]:
    """All that can be read in it."""
    return [
        str(each.text())
        for each in root.findChildren(QWidget)
        if each.isVisibleTo(root) and hasattr(each, "text")
    ]


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
