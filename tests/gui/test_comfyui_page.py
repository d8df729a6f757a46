"""The ComfyUI page: what it shows in each state, what its controls want, and that all of it fits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QWidget

from app.log_lines import Line
from app.ui.comfyui.page import ComfyPage
from app.ui.comfyui.shown import (
    Act,
    ChangeRow,
    Crash,
    Figures,
    InstallFacts,
    InstallRun,
    InstallWish,
    NodeFacts,
    Options,
    PackRow,
    Preview,
    StepRow,
)
from app.ui.theme import Theme
from app.ui.widgets.floating import Popover
from app.ui.widgets.log_pane import MOST_LINES
from tests.gui.checks import faults, shown
from tests.gui.harness import box_in, settle
from tests.gui.page_frame import FULL, SMALL, PageFrame, framed
from tests.gui.test_accessibility import name_of
from tests.gui.test_words import texts

Key, LEFT = Qt.Key, Qt.MouseButton.LeftButton
RUNNING = Figures(
    "running", "since 09:12 · 5 h 20 min", "127.0.0.1:8188", "RTX 4070", "12 GB", "7.9 / 12 GB", 0.66
)
NODE = NodeFacts(
    "active", "RunPod · comfy-flux-prod", "1.0.0, up to date", "14:30:51",
    (Act("reinstall", "Reinstall"), Act("remove", "Remove", "danger")),
)  # fmt: skip
OPTIONS = Options("--preview-method auto", "HF_HOME=/data/hf", "8188", "")
INSTALLED = InstallFacts(
    "~/ComfyUI", "0.3.64 · 2 commits behind", "3.12.7 · venv", "~/ComfyUI/models + 1 extra path",
    "~/ComfyUI/output", "--preview-method auto", "8188", OPTIONS, "Changes count from the next start.",
)  # fmt: skip
ALL = ("update", "disable", "remove")
ADDRESS = "https://github.com/nunchaku-tech/ComfyUI-nunchaku"
FAILED = PackRow(
    "ComfyUI-Nunchaku", "failed", "import failed", ADDRESS, "3c1d7e0", "1.0.1", "No module 'nunchaku'", ALL
)  # fmt: skip
PACKS = (
    FAILED,
    PackRow("comfyui_controlnet_aux", "slow", "slow import, 4.2 s", actions=ALL),
    *(PackRow(f"pack-{n}", "loaded", "0.1 s", actions=ALL) for n in range(20)),
    PackRow("ComfyUI-Old", "disabled", "disabled", actions=("enable", "remove")),
    PackRow("A-custom-node-with-a-name-as-long-as-names-on-the-internet-are", "unknown"),
)
STEPS = (
    StepRow("Download ComfyUI", "done", "v0.3.64 · 28.1 MB", "12 s"),
    StepRow("Install torch", "running", "torch 2.8.0 · 1.2 of 2.9 GB", "1 min 05 s", 0.41),
    StepRow("Install ComfyUI's packages"),
    StepRow("Install the interception node", "skipped"),
)
INSTALLING = InstallRun("running", STEPS, "Step 2 of 4 · about 4 min left", 0.46)
CHANGES = Preview(
    "ComfyUI-Nunchaku changes 2 packages",
    (ChangeRow("numpy", "1.26.4", "2.0.1", is_conflict=True), ChangeRow("nunchaku", "", "1.0.1")),
    ("comfyui_controlnet_aux needs numpy below 2.",),
)
SIGNALS = (
    "start_wanted", "stop_wanted", "restart_wanted", "route_restart_wanted", "browse_wanted",
    "folder_wanted", "install_wanted", "install_cancel_wanted", "install_retry_wanted",
    "install_discard_wanted", "options_changed", "path_wanted", "node_action", "pack_wanted",
    "pack_action", "preview_accepted", "preview_refused", "crash_remedy_wanted", "diagnostics_wanted",
    "appeared", "vanished",
)  # fmt: skip


Frame = PageFrame[ComfyPage]


@pytest.fixture
def frame(app: QApplication, theme: Theme) -> Iterator[Frame]:
    with framed(app, theme, ComfyPage, SIGNALS) as made:
        yield made


@pytest.fixture
def page(frame: Frame) -> ComfyPage:
    frame.page.show_state(RUNNING)
    frame.page.show_node(NODE)
    frame.page.show_installation(INSTALLED)
    frame.page.show_packs(PACKS, "22 loaded, 1 failed")
    settle(QApplication.instance())  # type: ignore[arg-type]
    return frame.page


def press(root: QWidget, text: str) -> None:
    """Click the button in sight that has this text, as a user does."""
    found = [each for each in shown(root) if isinstance(each, QPushButton) and each.text().strip() == text]
    assert len(found) == 1, (text, texts(root))
    QTest.mouseClick(found[0], LEFT)


def write(field: QWidget, text: str) -> None:
    field.setFocus()
    field.selectAll()  # type: ignore[attr-defined]
    for number, line in enumerate(text.splitlines()):
        if number:
            QTest.keyClick(field, Key.Key_Return)
        QTest.keyClicks(field, line)


@pytest.mark.parametrize(
    ("state", "word", "buttons"),
    [
        ("stopped", "Stopped", {"Start ComfyUI": "start_wanted"}),
        (
            "running", "Running",
            {"Restart": "restart_wanted", "Stop": "stop_wanted", "Open in browser": "browse_wanted"},
        ),
        ("starting", "Starting", {"Stop": "stop_wanted"}),
        ("crashed", "Crashed", {"Start again": "start_wanted"}),
        ("not_set_up", "Not set up", {"Choose folder…": "folder_wanted", "Install ComfyUI…": ""}),
        (
            "watched", "Running",
            {"Restart with routing": "route_restart_wanted", "Open in browser": "browse_wanted"},
        ),
    ],
)  # fmt: skip
def test_the_head_has_the_buttons_of_the_state(
    frame: Frame, state: Any, word: str, buttons: dict[str, str]
) -> None:
    frame.page.show_state(Figures(state))
    assert texts(frame.page.head) == ["ComfyUI", *buttons]
    assert word in texts(frame.page.card)
    for text, wanted in buttons.items():
        press(frame.page.head, text)
        assert frame.said == ([(wanted,)] if wanted else [])
        frame.said.clear()
    primary = [each for each in shown(frame.page.head) if each.property("kind") == "primary"]
    assert len(primary) <= 1


def test_while_it_stops_its_button_turns_and_cannot_be_pressed(app: QApplication, frame: Frame) -> None:
    frame.page.show_state(Figures("stopping"))
    stop = frame.page.head.buttons["stop"]
    assert (stop.isEnabled(), stop.toolTip()) == (False, "ComfyUI is stopping.")
    assert frame.motion._timer.isActive()
    frame.hide()
    assert not frame.motion._timer.isActive()
    frame.show()
    frame.page.show_state(RUNNING)
    assert not frame.motion._timer.isActive()
    assert stop.isEnabled()
    assert [name for name, *_ in frame.said] == ["vanished", "appeared"]


def test_the_card_has_four_figures(frame: Frame) -> None:
    frame.page.show_state(RUNNING)
    said = texts(frame.page.card)
    for text in ("Running", RUNNING.since, "Address", "127.0.0.1:8188", "GPU", "RTX 4070", "12 GB", "VRAM"):
        assert text in said
    assert "7.9 / 12 GB" in said
    assert frame.page.card.bar.value() == 660
    frame.page.show_state(Figures("stopped"))
    assert texts(frame.page.card).count("–") == 3
    assert frame.page.card.bar.value() == 0


def test_an_empty_log_says_when_it_begins_and_can_start_comfyui(app: QApplication, frame: Frame) -> None:
    page = frame.page
    for wanted in ("No output yet", "The log starts with ComfyUI.", "Start ComfyUI"):
        assert wanted in texts(page.log)
    press(page.log, "Start ComfyUI")
    assert frame.said == [("start_wanted",)]
    page.show_state(Figures("starting"))
    assert "Start ComfyUI" not in texts(page.log)
    page.show_state(Figures("watched"))
    assert "No output here" in texts(page.log)
    page.log.pane.add([Line(f"line {n}", "info") for n in range(MOST_LINES)])
    page.log.pane.add([Line("one more", "info")])
    assert page.log.note() == "Older lines are in comfyui.log"
    page.open_search()
    assert app.focusWidget() is page.log.search


def test_a_crash_is_told_with_what_can_be_done(app: QApplication, frame: Frame) -> None:
    page = frame.page
    text = "Another program uses it, process 4121 python."
    page.show_crash(Crash("Port 8188 is in use", text, remedies=(Act("other_port", "Use port 8189"),)))
    settle(app)
    assert texts(page.crash) == [
        "Port 8188 is in use", text, "Use port 8189", "Start again", "Copy diagnostics"
    ]  # fmt: skip
    for button in ("Use port 8189", "Start again", "Copy diagnostics"):
        press(page.crash, button)
    assert frame.said == [("crash_remedy_wanted", "other_port"), ("start_wanted",), ("diagnostics_wanted",)]
    assert "Copied" in texts(page.crash)
    assert box_in(page, page.crash)[1] < box_in(page, page.log)[1]
    assert faults(page) == []
    page.show_crash(None)
    assert not page.crash.isVisible()


def test_the_node_says_how_it_is_and_has_the_buttons_given(frame: Frame, page: ComfyPage) -> None:
    node = page.side.node
    said = texts(node)
    about = "Sends ComfyUI's own Queue button to RunPod. You see previews and results in ComfyUI as usual."
    for text in (about, "Routing", "RunPod · comfy-flux-prod", "Version", "1.0.0, up to date", "14:30:51"):
        assert text in said
    press(node, "Remove")
    assert frame.said == [("node_action", "remove")]
    words = {"active": "Active", "inactive": "Not active", "missing": "Not installed"}
    for state, word in {**words, "watched": "Watched only"}.items():
        page.show_node(NodeFacts(state))  # type: ignore[arg-type]
        assert node.pill.accessibleName() == word
    assert "Routing" not in texts(node)


def test_options_count_as_soon_as_a_field_is_left_and_a_wrong_one_stays(
    frame: Frame, page: ComfyPage
) -> None:
    section = page.side.installation
    assert {"Folder", "Models", "Arguments", "Port", "~/ComfyUI/output"} <= set(texts(section))
    press(section, "Edit…")
    editors = section.editors
    write(editors.controls["port"], "80")
    assert frame.said == []
    QTest.keyClick(editors.controls["port"], Key.Key_Return)
    typed = Options("--preview-method auto", "HF_HOME=/data/hf", "80", "")
    assert frame.said == [("options_changed", typed)]
    wrong = "A port is a number from 1024 to 65535."
    page.show_option_problems({"port": wrong})
    assert wrong in texts(section)
    assert editors.controls["port"].property("wrong") == "true"
    # The controller shows what is in force again: what was refused stays to be corrected.
    page.show_installation(INSTALLED)
    assert editors.controls["port"].text() == "80"
    assert wrong in texts(section)
    frame.said.clear()
    write(editors.controls["port"], "8188")
    editors.controls["environment"].setFocus()
    assert frame.said == [("options_changed", OPTIONS)]
    page.show_installation(INSTALLED)
    assert wrong not in texts(section)
    frame.said.clear()
    write(editors.controls["environment"], "A=1\nB=2")
    editors.controls["models"].setFocus()
    assert frame.said[-1][1].environment == "A=1\nB=2"
    press(section, "Browse…")
    assert frame.said[-1] == ("path_wanted", "models")
    page.show_path("models", "/data/models")
    assert frame.said[-1][1].models == "/data/models"
    page.escape()
    assert not section.is_editing
    press(section, "Change…")
    assert frame.said[-1] == ("folder_wanted",)


def test_without_an_installation_there_is_nothing_to_edit(frame: Frame, page: ComfyPage) -> None:
    page.show_installation(None)
    assert texts(page.side.installation) == [
        "Installation",
        "No ComfyUI yet. Install one, or choose its folder.",
    ]
    page.show_packs((), "")
    assert "No custom nodes." in texts(page.side.packs)


def test_the_first_custom_nodes_are_shown_or_all_of_them(app: QApplication, page: ComfyPage) -> None:
    section = page.side.packs
    assert "22 loaded, 1 failed" in texts(section)
    assert section.list.model().rowCount() == 6
    press(section, "Show all 24")
    settle(app)
    assert section.list.model().rowCount() == 24
    assert section.list.height() == 24 * 28
    said = [
        section.list.model().index(row, 0).data(Qt.ItemDataRole.AccessibleTextRole) for row in (0, 1, 2, 22)
    ]
    assert said == [
        "ComfyUI-Nunchaku, failed, import failed", "comfyui_controlnet_aux, slow, slow import, 4.2 s",
        "pack-0, loaded, 0.1 s", "ComfyUI-Old, disabled, disabled",
    ]  # fmt: skip
    press(section, "Show fewer")
    assert section.list.model().rowCount() == 6


def test_a_custom_node_opens_with_what_is_known_and_what_can_be_done(
    app: QApplication, frame: Frame, page: ComfyPage
) -> None:
    packs = page.side.packs.list
    place = packs.visualRect(packs.model().index(0, 0)).center()
    QTest.mouseClick(packs.viewport(), LEFT, pos=place)
    settle(app)
    popover = app.activePopupWidget()
    assert isinstance(popover, Popover)
    assert faults(popover) == []
    for text in ("Repository", ADDRESS, "Commit", "3c1d7e0", "1.0.1", "Update", "Disable", "Remove…"):
        assert text in texts(popover)
    press(popover, "Copy error")
    assert app.clipboard().text() == FAILED.error
    press(popover, "Update")
    settle(app)
    assert frame.said == [("pack_action", "ComfyUI-Nunchaku", "update")]
    packs.setFocus()
    QTest.keyClick(packs, Key.Key_Down)
    QTest.keyClick(packs, Key.Key_Return)
    settle(app)
    popover = app.activePopupWidget()
    assert isinstance(popover, Popover)
    assert "comfyui_controlnet_aux" in texts(popover)
    assert "Copy error" not in texts(popover)
    QTest.keyClick(popover, Key.Key_Escape)
    settle(app)
    assert app.activePopupWidget() is None
    assert app.focusWidget() is packs


def test_a_custom_node_is_added_by_its_address(app: QApplication, frame: Frame, page: ComfyPage) -> None:
    section = page.side.packs
    press(section, "Add…")
    form = section.form
    assert app.focusWidget() is form.address.control
    QTest.keyClicks(form.address.control, f" {ADDRESS} ")
    QTest.keyClicks(form.commit.control, "3c1d7e0")
    press(form, "Install")
    assert frame.said == [("pack_wanted", ADDRESS, "3c1d7e0")]
    page.show_pack_problem("An address begins with https://.")
    assert "An address begins with https://." in texts(form)
    page.close_pack_form()
    assert not form.isVisible()
    press(section, "Add…")
    assert form.address.control.text() == ""  # type: ignore[attr-defined]
    page.escape()
    assert not form.isVisible()


def test_installing_begins_with_a_form_in_place_of_the_log(app: QApplication, frame: Frame) -> None:
    page = frame.page
    page.show_state(Figures("not_set_up"))
    page.show_install_wish(InstallWish("/home/marta/ComfyUI", "https://github.com/comfyanonymous/ComfyUI"))
    press(page.head, "Install ComfyUI…")
    form = page.install.form
    assert form.isVisible()
    assert not page.log.isVisible()
    assert "Install ComfyUI…" not in texts(page.head)
    choices = [form.torch.itemText(number) for number in range(form.torch.count())]
    assert choices == ["This machine (default)", "CPU", "ROCm", "Custom index…"]
    assert "Index address" not in texts(form)
    press(form, "Browse…")
    page.show_path("install", "/data/ComfyUI")
    write(form.line("version"), "v0.3.64")
    form.torch.setFocus()
    QTest.keyClick(form.torch, Key.Key_End)
    assert "Index address" in texts(form)
    write(form.line("index"), "https://example.org/whl")
    press(form, "Install")
    wish = InstallWish(
        "/data/ComfyUI", "https://github.com/comfyanonymous/ComfyUI", "v0.3.64", "custom", "https://example.org/whl"
    )  # fmt: skip
    assert frame.said == [("path_wanted", "install"), ("install_wanted", wish)]
    page.show_install_problems({"folder": "This folder is not empty."})
    assert "This folder is not empty." in texts(form)
    page.escape()
    assert not page.install.isVisible()
    assert page.log.isVisible()


def test_steps_of_an_installation_are_shown_above_its_log(app: QApplication, frame: Frame) -> None:
    page = frame.page
    page.show_state(Figures("not_set_up"))
    page.show_install_steps(INSTALLING)
    settle(app)
    steps = page.install.steps
    said = texts(steps)
    for text in ("Installing ComfyUI", INSTALLING.total, "Install torch", "1 min 05 s", "Skipped", "Cancel"):
        assert text in said
    states = ["done", "running", "to come", "skipped"]
    assert [line.mark.accessibleName() for line in steps.lines] == [
        f"{step.title}, {state}" for step, state in zip(STEPS, states, strict=True)
    ]
    assert [line.bar.value() for line in steps.lines] == [1000, 410, 0, 0]
    assert page.log.isVisible()
    assert frame.motion._timer.isActive()
    press(steps, "Cancel")
    problem = "No space left on device."
    page.show_install_steps(InstallRun("failed", STEPS[:1], "1 of 4 steps done", 0.4, problem))
    assert {"Installation failed", problem, "Retry", "Discard"} <= set(texts(steps))
    assert "Install torch" not in texts(steps)
    assert not frame.motion._timer.isActive()
    press(steps, "Retry")
    press(steps, "Discard")
    page.show_install_steps(InstallRun("done", STEPS[:1]))
    press(steps, "Close")
    assert not page.install.isVisible()
    wanted = ("install_cancel_wanted", "install_retry_wanted", "install_discard_wanted")
    assert frame.said == [(name,) for name in wanted]


def test_changes_of_packages_are_shown_before_they_are_made(app: QApplication, frame: Frame) -> None:
    page = frame.page
    page.show_preview(CHANGES)
    settle(app)
    said = texts(page.preview)
    for text in ("numpy", "1.26.4 → 2.0.1", "new, 1.0.1", *CHANGES.conflicts, "Install anyway"):
        assert text in said
    press(page.preview, "Install anyway")
    press(page.preview, "Cancel")
    page.escape()
    assert frame.said == [("preview_accepted",), ("preview_refused",), ("preview_refused",)]
    page.show_preview(Preview("rgthree-comfy changes 1 package", (ChangeRow("a", "1", ""),), verb="Update"))
    assert {"Update", "1, goes away"} <= set(texts(page.preview))
    page.show_preview(None)
    assert not page.preview.isVisible()


def _editing(page: ComfyPage) -> None:
    page.side.installation.edit.click()
    page.show_option_problems({"port": "A port is a number from 1024 to 65535.", "environment": "No name."})
    page.show_install_steps(INSTALLING)


def _asked(page: ComfyPage) -> None:
    page.show_crash(Crash("ComfyUI stopped by itself", "Exit code 137, usually out of memory.", "main.py"))
    page.show_preview(CHANGES)
    page.side.packs.add.click()
    page.side.packs.more.click()


def _form(page: ComfyPage) -> None:
    page.show_state(Figures("not_set_up"))
    page.show_install_wish(InstallWish("/home/marta/ComfyUI", torch="custom"))
    page.open_install_form()
    page.show_install_problems({"folder": "This folder has files of something else in it."})


@pytest.mark.parametrize("arrange", [_editing, _asked, _form])
def test_everything_fits_has_a_name_and_none_is_a_window_of_its_own(
    app: QApplication, theme: Theme, frame: Frame, page: ComfyPage, arrange: Any
) -> None:
    watch = Windows()
    app.installEventFilter(watch)
    arrange(page)
    theme.style()
    for text_size in (100, 125):
        theme.use(text_size=text_size)
        for size in (FULL, SMALL):
            frame.fit(size)
            settle(app)
            assert faults(frame) == [], (size, text_size)
            cards = [each for each in shown(page.columns._main) if each.property("kind") == "card"]
            assert len({box_in(page, card)[0] + card.width() for card in cards}) == 1
    able = [each for each in shown(page) if each.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert [each for each in able if not name_of(each)] == []
    bare = [each for each in able if isinstance(each, QPushButton) and not each.text().strip()]
    assert [each for each in bare if not (each.accessibleName() and each.toolTip())] == []
    app.removeEventFilter(watch)
    assert watch.seen == set()


class Windows(QObject):
    """Notes what is shown as a window; a tooltip is one by right."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.seen.add(type(watched).__name__)
        return False


def test_the_column_stands_beside_the_log_and_below_it_in_a_narrow_page(
    app: QApplication, theme: Theme, frame: Frame, page: ComfyPage
) -> None:
    theme.style()

    def boxes() -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
        settle(app)
        return box_in(page, page.log), box_in(page, page.side)

    log, side = boxes()
    assert (side[0], side[2]) == (1248 - 351, 351)
    assert (log[0], log[0] + log[2], log[1] + log[3]) == (24, 1248 - 352 - 24, 844 - 24)
    [title] = [each for each in shown(page.side) if getattr(each, "text", str)() == "Interception node"]
    assert abs(title.mapTo(page, QPoint(0, title.height() // 2)).y() - 32) <= 2
    frame.fit(SMALL)
    log, side = boxes()
    assert side[1] >= log[1] + log[3]
    assert page.columns.is_stacked
    frame.fit(FULL)
    assert boxes()[1] == (1248 - 351, 0, 351, 844)
    page.show_side_width(9_999)
    assert boxes()[1][2] == 520 - 1
    handle = page.columns.splitter.handle(1)
    QTest.mousePress(handle, LEFT, pos=QPoint(0, 100))
    QTest.mouseMove(handle, QPoint(120, 100))
    QTest.mouseRelease(handle, LEFT, pos=QPoint(120, 100))
    assert 395 <= page.side_width() <= 405


def test_tab_goes_from_the_head_to_the_log_to_the_column(app: QApplication, page: ComfyPage) -> None:
    page.head.buttons["restart"].setFocus()
    order: list[QWidget] = []
    for _ in range(40):
        focus = app.focusWidget()
        assert focus is not None
        if focus in order:
            break
        order.append(focus)
        QTest.keyClick(focus, Key.Key_Tab)
    regions = [page.head, page.log, page.side.node, page.side.installation, page.side.packs]
    seen = [next((n for n, region in enumerate(regions) if region.isAncestorOf(each)), -1) for each in order]
    seen = [number for number in seen if number >= 0]
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(regions)))
    assert isinstance(page.log.search, QLineEdit)
