"""ComfyUI installed and its custom nodes changed by clicks in the window, with the real git and uv."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from app.comfyui.install_steps import MARKER
from app.comfyui.installation import Installation
from app.comfyui.status import ComfyState
from app.panel import Panel
from app.ui.comfyui.page import ComfyPage
from app.ui.theme import Theme
from app.ui.widgets.small import PillLabel
from tests.e2e.test_install import comfyui_in
from tests.gui.checks import faults
from tests.gui.harness import on_loop, settled, until
from tests.gui.test_comfy import running
from tests.gui.test_comfyui_page import press, write
from tests.gui.test_words import asked, texts
from tests.unit.comfyui.made import TORCH, commit, git, only_these, uv, wheel

#: No ComfyUI is set up; there was one with a Python elsewhere.
NONE = {"comfyui_dir": "null", "comfyui_python": "/of/another"}
STEPS = [
    "Get ComfyUI", "Make its Python environment", "Install PyTorch", "Install its requirements",
    "Check that it can run",
]  # fmt: skip


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that stands for ComfyUI, packages, and one that is installed, whose sci needs num<2."""
    folder = tmp_path_factory.mktemp("ready").resolve()
    wheel(folder / "wheels", "torch", "2.8.0", files=TORCH)
    for name in ("torchvision", "torchaudio", "pictures", "pip", "requests"):
        wheel(folder / "wheels", name)
    for name, version, requires in (("num", "1.5", ()), ("num", "2.1", ()), ("sci", "1.0", ("num<2",))):
        wheel(folder / "wheels", name, version, requires)
    comfyui_in(folder / "origin")
    shutil.copytree(folder / "origin", folder / "ComfyUI")
    with pytest.MonkeyPatch.context() as monkeypatch:
        only_these(monkeypatch, folder / "wheels", folder / "cache")
        venv = folder / "ComfyUI" / ".venv"
        subprocess.run([uv(), "venv", "-q", "--python", sys.executable, venv], check=True)
        python = Installation.at(folder / "ComfyUI").python
        subprocess.run([uv(), "pip", "install", "-q", "--python", python, "sci"], check=True)
    return folder


@pytest.fixture(autouse=True)
def no_notes_of_threads(nothing_left: None) -> Iterator[None]:
    """Python keeps a note of each of Qt's threads that waited for one of Python's, also after its end."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading._DummyThread):
            threading._active.pop(thread.ident, None)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def programs(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv that knows our packages only, and has the Python of these tests when it is asked for 3.12."""
    only_these(monkeypatch, ready / "wheels", ready / "cache")
    # The proxy that goes nowhere is for the world outside.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    script = tmp_path / "uv"
    script.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do\n'
        "    shift\n"
        f'    [ "$word" != 3.12 ] || word="{sys.executable}"\n'
        '    set -- "$@" "$word"\n'
        "done\n"
        f'exec "{uv()}" "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("UV", str(script))


@pytest.fixture
def silent() -> Iterator[str]:
    """An index that takes calls and never says anything: who asks it waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"


async def fill(page: ComfyPage, **values: str) -> None:
    """Type into the form of an installation, and press Install."""
    form = page.install.form
    for name, text in values.items():
        write(form.line(name), text)  # type: ignore[arg-type]
    press(form, "Install")
    await settled()


async def steps(page: ComfyPage, *words: str) -> None:
    """Wait until the steps are these, in the words of a screen reader."""
    wanted = [f"{title}, {word}" for title, word in zip(STEPS, words, strict=True)]
    await until(lambda: [line.mark.accessibleName() for line in page.install.steps.lines] == wanted)


@on_loop
async def test_comfyui_is_installed_by_clicks(theme: Theme, home: Path, ready: Path) -> None:
    async with running(theme, home, **NONE) as panel:
        page = panel.window.comfyui
        form = page.install.form
        await until(lambda: page.head.buttons["install"].isVisible())
        await wish(panel, ready / "origin")
        await until(lambda: page.side.packs.form.address.wrong == "Set up a ComfyUI first.")
        press(page.head, "Install ComfyUI…")
        assert form.line("folder").text() == str(home / "ComfyUI")
        # What cannot be used is said where it was typed, and nothing begins.
        wrong = "'ftp://example.org/x' is no address of a repository."
        await fill(page, folder="/", repository="ftp://example.org/x", version="a..b")
        assert form.fields["repository"].wrong == wrong
        assert wrong in texts(form)
        assert form.fields["version"].wrong == "'a..b' is no tag, branch or commit."
        assert form.fields["folder"].wrong == "/ cannot be ComfyUI's folder."
        form.torch.setCurrentIndex(form.torch.findData("custom"))
        await fill(page, folder=str(home / "ComfyUI"), repository=str(ready / "origin"), version="v0.3.64")
        assert {name for name, field in form.fields.items() if field.wrong} == {"index"}
        form.torch.setCurrentIndex(form.torch.findData("default"))
        await fill(page)
        await until(lambda: form.fields["folder"].wrong)
        assert form.fields["folder"].wrong == f"{home / 'ComfyUI'} is not empty."
        assert page.install.is_form

        told = list[str]()
        await fill(page, folder=str(home / "mine"))
        await until(lambda: page.install.steps.isVisible())
        while page.install.steps.isVisible():
            shown = texts(page.install.steps)
            told += [text for text in shown if text not in told]
            assert page.install.steps.bar.value() in (0, 200, 400, 600, 800, 1000)
            await settled(1)
        for text in ("Installing ComfyUI", "Step 1 of 5", "Step 3 of 5", *STEPS):
            assert text in told
        await until(lambda: panel.notices.all)
        (notice,) = panel.notices.all
        assert (notice.title, notice.text) == ("ComfyUI 0.3.64 is installed", "PyTorch 2.8.0 on cpu.")
        settings = panel.settings
        assert (settings.comfyui_dir, settings.comfyui_python) == (home / "mine", None)
        await until(lambda: "0.3.64" in texts(page.side.installation))
        assert "~/mine" in texts(page.side.installation)
        assert " + pictures==1.0" in page.log.pane.visible_text()

        (toast,) = panel.window.toasts.shown
        press(toast, "Start")
        await until(lambda: panel.comfy.status.state is ComfyState.RUNNING)


@on_loop
async def test_an_installation_is_cancelled_taken_up_and_discarded(
    theme: Theme, home: Path, ready: Path, silent: str
) -> None:
    async with running(theme, home, **NONE) as panel:
        page, card = panel.window.comfyui, panel.window.comfyui.install.steps
        await until(lambda: page.head.buttons["install"].isVisible())
        press(page.head, "Install ComfyUI…")
        page.install.form.torch.setCurrentIndex(page.install.form.torch.findData("custom"))
        await fill(page, folder=str(home / "mine"), repository=str(ready / "origin"), index=silent)
        await steps(page, "done", "done", "running", "to come", "to come")
        assert card.bar.value() == 400
        assert faults(page.install) == []
        press(card, "Cancel")
        while "Installation cancelled" not in texts(card):
            assert "Cancelling" in texts(card)
            assert not card.cancel.isEnabled()
            await asyncio.sleep(0)
        await steps(page, "done", "done", "to come", "to come", "to come")
        assert (home / "mine" / MARKER).is_file()
        assert panel.settings.comfyui_dir is None

        press(card, "Retry")
        await until(lambda: "Installing ComfyUI" in texts(card))
        await steps(page, "done", "done", "running", "to come", "to come")
        assert texts(card).count("done before") == 2
        press(card, "Cancel")
        await until(lambda: "Installation cancelled" in texts(card))
        press(card, "Discard")
        await until(lambda: not page.install.isVisible())
        assert not (home / "mine").exists()
        assert page.head.buttons["install"].isVisible()
        assert panel.notices.all == []


def pack_in(page: ComfyPage, name: str) -> str:
    """What a screen reader says of a custom node; empty when it is not listed."""
    rows = page.side.packs.list.packs
    said = [
        rows.index(row).data(Qt.ItemDataRole.AccessibleTextRole)
        for row in range(rows.rowCount())
        if rows.rows[row].name == name
    ]
    return said[0] if said else ""


async def act(page: ComfyPage, name: str, action: str) -> None:
    """Open a custom node in the list, and press a button there."""
    press(await popover(page, name), action)
    await settled()


async def popover(page: ComfyPage, name: str) -> QWidget:
    rows = page.side.packs.list
    row = next(number for number, pack in enumerate(rows.packs.rows) if pack.name == name)
    place = rows.visualRect(rows.packs.index(row)).center()
    QTest.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=place)
    opened: QWidget = await until(QApplication.activePopupWidget)
    return opened


def copied(ready: Path, home: Path) -> Path:
    """The installed ComfyUI, to be changed; without the custom nodes that it comes with."""
    leave = shutil.ignore_patterns("custom_nodes")
    return shutil.copytree(ready / "ComfyUI", home / "mine", symlinks=True, ignore=leave)


def has(folder: Path, name: str) -> str:
    """The version of an installed package."""
    (about,) = folder.glob(f".venv/**/{name}-*.dist-info")
    return about.name.removesuffix(".dist-info").rpartition("-")[2]


async def wish(panel: Panel, address: object) -> None:
    packs = panel.window.comfyui.side.packs
    if not packs.is_adding:
        press(packs, "Add…")
    write(packs.form.address.control, str(address))
    press(packs.form, "Install")
    await settled()


@on_loop
async def test_a_custom_node_is_looked_at_installed_switched_and_updated(
    theme: Theme, home: Path, ready: Path
) -> None:
    folder, origin = copied(ready, home), home / "my-pack"
    commit(origin, {"__init__.py": "1", "requirements.txt": "num>=2\n", "install.py": ""})
    nodes = folder / "custom_nodes"
    async with running(theme, home, comfyui_dir=str(folder), comfyui_python="null") as panel:
        page = panel.window.comfyui
        await until(lambda: "No custom nodes." in texts(page.side.packs))
        await wish(panel, "https://example.org/x?y")
        wrong = "'https://example.org/x?y' is no address of a repository."
        await until(lambda: page.side.packs.form.address.wrong.startswith(wrong))

        # What would change is shown first; who refuses it has nothing of it.
        for answer in ("Cancel", "Install anyway"):
            await wish(panel, origin)
            await until(lambda: page.preview.isVisible())
            assert not page.side.packs.is_adding
            said = texts(page.preview)
            for text in (
                "Install my-pack: what changes in ComfyUI's environment", "num", "1.5 → 2.1",
                "sci needs num<2, but 1.5 would become 2.1.", "Its install.py is not run.",
            ):  # fmt: skip
                assert text in said, said
            assert faults(page.preview) == []
            press(page.preview, answer)
            if answer == "Cancel":
                await until(lambda: not list(nodes.iterdir()))
                assert not page.preview.isVisible()
                assert has(folder, "num") == "1.5"
        await until(lambda: pack_in(page, "my-pack") == "my-pack")
        assert has(folder, "num") == "2.1"
        await until(lambda: [notice.title for notice in panel.notices.all] == ["my-pack is installed"])
        assert "Its install.py was not run." in panel.notices.all[-1].text

        await act(page, "my-pack", "Disable")
        await until(lambda: pack_in(page, "my-pack") == "my-pack, disabled, disabled")
        assert "1 disabled" in texts(page.side.packs)
        assert [path.name for path in nodes.iterdir()] == ["my-pack.disabled"]
        await act(page, "my-pack", "Enable")
        await until(lambda: pack_in(page, "my-pack") == "my-pack")
        assert [path.name for path in nodes.iterdir()] == ["my-pack"]

        await act(page, "my-pack", "Update")
        await until(lambda: panel.notices.all[-1].title == "my-pack is up to date")
        newest = commit(origin, {"__init__.py": "2"})
        await until(lambda: pack_in(page, "my-pack") == "my-pack")
        await act(page, "my-pack", "Update")
        await until(lambda: panel.notices.all[-1].title == "my-pack is updated")
        assert git(nodes / "my-pack", "rev-parse", "HEAD") == newest
        await until(lambda: newest[:8] in [row.commit for row in page.side.packs.list.packs.rows])

        await act(page, "my-pack", "Remove…")
        async with asked() as question:
            press(question, "Keep")
        await until(lambda: pack_in(page, "my-pack") == "my-pack")

        # With the window goes a question that is open, and what was got for it.
        commit(origin, {"requirements.txt": "num<2\n"})
        await act(page, "my-pack", "Update")
        await until(lambda: page.preview.isVisible())
        assert "changing" in pack_in(page, "my-pack")
        assert len(list(nodes.iterdir())) == 2
    assert [path.name for path in nodes.iterdir()] == ["my-pack"]


@on_loop
async def test_what_cannot_be_installed_is_said_in_the_form(theme: Theme, home: Path, ready: Path) -> None:
    folder, origin = copied(ready, home), home / "my-pack"
    commit(origin, {"requirements.txt": "num>=2\nnum<2\n"})
    async with running(theme, home, comfyui_dir=str(folder), comfyui_python="null") as panel:
        page, form = panel.window.comfyui, panel.window.comfyui.side.packs.form
        await wish(panel, origin)
        await until(lambda: form.address.wrong.startswith("The requirements of my-pack cannot be met: "))
        assert not page.preview.isVisible()
        assert list((folder / "custom_nodes").iterdir()) == []


@on_loop
async def test_a_failed_import_is_shown(theme: Theme, home: Path, ready: Path) -> None:
    nodes = copied(ready, home) / "custom_nodes"
    for name in ("broken", "good", "slow", "twice", "twice.disabled"):
        (nodes / name).mkdir(parents=True)
    log = home / "data" / "comfyui" / "logs" / "comfyui.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "Traceback (most recent call last):\n"
        f'  File "{nodes}/broken/__init__.py", line 3, in <module>\n'
        "    import nunchaku\n"
        "ModuleNotFoundError: No module named 'nunchaku'\n\n"
        f"Cannot import {nodes}/broken module for custom nodes: No module named 'nunchaku'\n\n"
        "Import times for custom nodes:\n"
        f"   0.1 seconds: {nodes}/good\n"
        f"   0.1 seconds: {nodes}/twice\n"
        f"   0.2 seconds (IMPORT FAILED): {nodes}/broken\n"
        f"   4.2 seconds: {nodes}/slow\n\n"
    )
    async with running(theme, home, comfyui_dir=str(nodes.parent), comfyui_python="null") as panel:
        page = panel.window.comfyui
        await until(lambda: page.side.packs.list.packs.rows)
        assert "3 loaded, 1 failed, 1 disabled" in texts(page.side.packs)
        assert [row.name for row in page.side.packs.list.packs.rows] == [
            "broken", "slow", "good", "twice", "custom_nodes/twice.disabled"
        ]  # fmt: skip
        assert pack_in(page, "broken") == "broken, failed, import failed"
        opened = await popover(page, "broken")
        assert [pill.accessibleName() for pill in opened.findChildren(PillLabel)] == ["Import failed"]
        press(opened, "Copy error")
        assert QApplication.clipboard().text().endswith("ModuleNotFoundError: No module named 'nunchaku'")
        assert QApplication.clipboard().text().startswith("Traceback")
        opened.close()
        # Of two with one name that is acted on which was opened.
        await act(page, "custom_nodes/twice.disabled", "Enable")
        await until(lambda: panel.notices.all)
        assert panel.notices.all[-1].title.endswith("twice is there already.")
