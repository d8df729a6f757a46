"""The switch of ComfyUI's own Queue button: what it says, shows and sends, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget

from app.ui.frame.routing import NO_NODE, RoutingSwitch, first_time_popover
from app.ui.theme import Theme
from app.ui.widgets.floating import Popover
from app.ui.widgets.motion import Motion
from tests.gui.checks import faults
from tests.gui.harness import settle
from tests.gui.page_frame import activate
from tests.gui.test_accessibility import name_of
from tests.gui.test_words import texts

Key, LEFT = Qt.Key, Qt.MouseButton.LeftButton


class Bar(QWidget):
    """The switch after another control, as in the top bar; ``said`` is what it wanted."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.motion = Motion(self)
        self.before, self.switch = QLineEdit(), RoutingSwitch(theme, self.motion)
        self.said: list[str] = []
        self.switch.wanted.connect(self.said.append)
        layout = QVBoxLayout(self)
        layout.addWidget(self.before)
        layout.addWidget(self.switch)

    @property
    def chosen(self) -> list[str]:
        return [mode for mode, segment in self.switch.segments.items() if segment.isChecked()]


@pytest.fixture
def bar(app: QApplication, theme: Theme) -> Iterator[Bar]:
    made = Bar(theme)
    made.show()
    activate(made)
    settle(app)
    yield made
    made.close()
    made.deleteLater()


def test_without_the_node_it_is_off_and_says_why(bar: Bar) -> None:
    for segment in bar.switch.segments.values():
        assert not segment.isEnabled()
        assert segment.toolTip() == NO_NODE
        QTest.mouseClick(segment, LEFT)
    bar.switch.toggle()
    assert bar.said == []


def test_a_click_wants_the_other_place_and_the_one_in_force_nothing(bar: Bar) -> None:
    bar.switch.show_mode("local", pending=False, enabled=True)
    assert texts(bar.switch) == ["ComfyUI Queue button", "Local", "RunPod"]
    QTest.mouseClick(bar.switch.segments["local"], LEFT)
    assert bar.said == []
    QTest.mouseClick(bar.switch.segments["runpod"], LEFT)
    assert (bar.said, bar.chosen) == (["runpod"], ["runpod"])
    # The node refused it.
    bar.switch.show_mode("local", pending=False, enabled=True)
    assert bar.chosen == ["local"]
    bar.switch.toggle()
    assert bar.said == ["runpod", "runpod"]


def test_tab_reaches_it_once_and_arrows_change_it(app: QApplication, bar: Bar) -> None:
    bar.switch.show_mode("local", pending=False, enabled=True)
    bar.before.setFocus()
    QTest.keyClick(bar.before, Key.Key_Tab)
    local, runpod = bar.switch.segments.values()
    assert app.focusWidget() is local
    QTest.keyClick(local, Key.Key_Right)
    assert (app.focusWidget(), bar.said, bar.chosen) == (runpod, ["runpod"], ["runpod"])
    QTest.keyClick(runpod, Key.Key_Left)
    assert (bar.said, bar.chosen) == (["runpod", "local"], ["local"])
    QTest.keyClick(local, Key.Key_Tab)
    assert app.focusWidget() is bar.before


def test_the_new_segment_turns_until_the_node_has_answered(app: QApplication, bar: Bar) -> None:
    def drawn(mode: str) -> object:
        return bar.switch.segments[mode].icon().pixmap(16).toImage()  # type: ignore[index]

    bar.switch.show_mode("local", pending=False, enabled=True)
    teal, idle = drawn("local"), drawn("runpod")
    bar.switch.show_mode("runpod", pending=True, enabled=True)
    assert bar.motion._timer.isActive()
    assert bar.switch.segments["runpod"].accessibleDescription() == "changing"
    turning = drawn("runpod")
    bar.switch.show_mode("runpod", pending=False, enabled=True)
    assert not bar.motion._timer.isActive()
    assert len({id(each) for each in (teal, idle, turning)}) == 3
    assert turning not in (idle, drawn("runpod"))
    assert drawn("local") != teal
    bar.switch.show_mode("local", pending=True, enabled=True)
    bar.hide()
    assert not bar.motion._timer.isActive()


def test_both_places_have_names_and_say_what_the_other_control_does(bar: Bar) -> None:
    bar.switch.show_mode("runpod", pending=False, enabled=True)
    for mode, place in (("local", "on this computer"), ("runpod", "on RunPod")):
        segment = bar.switch.segments[mode]  # type: ignore[index]
        assert f"Queue in ComfyUI runs {place}" in name_of(segment)
        first, second = segment.toolTip().split("\n")
        assert first == f"Queue in ComfyUI runs {place} (Ctrl+Shift+R)"
        assert "Run on …" in second


def test_in_a_narrow_window_an_icon_stands_for_the_caption(app: QApplication, theme: Theme, bar: Bar) -> None:
    theme.style()
    bar.switch.show_mode("local", pending=False, enabled=True)
    wide = bar.switch.sizeHint().width()
    bar.switch.set_short(True)
    settle(app)
    assert texts(bar.switch) == ["Local", "RunPod"]
    assert bar.switch._icon.isVisible()
    assert "ComfyUI Queue button" in bar.switch._icon.toolTip()
    assert bar.switch.sizeHint().width() < wide
    theme.use(text_size=125)
    settle(app)
    assert texts(bar.switch) == []
    assert all(segment.toolTip() and name_of(segment) for segment in bar.switch.segments.values())
    bar.switch.set_short(False)
    settle(app)
    assert texts(bar.switch) == ["ComfyUI Queue button", "Local", "RunPod"]
    assert faults(bar) == []


@pytest.mark.parametrize("press", ["Got it", "Undo"])
def test_the_first_time_it_says_that_it_costs(app: QApplication, theme: Theme, bar: Bar, press: str) -> None:
    undone: list[bool] = []
    first_time_popover(theme, "comfy-flux-prod", undo=lambda: undone.append(True)).open_under(bar.switch)
    settle(app)
    popover = app.activePopupWidget()
    assert isinstance(popover, Popover)
    assert faults(popover) == []
    said = "From now on, Queue in ComfyUI runs on comfy-flux-prod and costs money while it runs."
    assert texts(popover) == [said, "Undo", "Got it"]
    [button] = [each for each in popover.findChildren(QPushButton) if each.text() == press]
    QTest.mouseClick(button, LEFT)
    settle(app)
    assert app.activePopupWidget() is None
    assert undone == ([True] if press == "Undo" else [])
