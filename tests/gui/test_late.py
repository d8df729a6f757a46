"""Pages that make their parts late: when, what they were told before, and with which look."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication, QWidget

from app.ui.theme import Theme
from app.ui.theme.icons import draw_icon
from app.ui.widgets.basics import Button, Text, column
from app.ui.widgets.late import LatePage, late
from tests.gui.harness import on_loop, settled
from tests.gui.scenes import opened


class _Page(LatePage):
    """Two texts, a button, and a list of what was told in which order."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme, self.builds, self.order = theme, 0, list[str]()

    def build(self) -> None:
        self.builds += 1
        self.title, self.button = Text(self._theme), Button(self._theme, "Go")
        self.setLayout(column(self.title, self.button))

    @late
    def show_title(self, text: str, *, loud: bool = False) -> None:
        self.order.append("title")
        self.title.setText(text.upper() if loud else text)

    @late
    def show_button(self, text: str) -> None:
        self.order.append("button")
        self.button.setText(text)

    def add_word(self, word: str) -> None:
        """Adds to what is there, and so must not wait."""
        self.title.setText(f"{self.title.text()} {word}")


@pytest.fixture
def page(theme: Theme) -> _Page:
    return _Page(theme)


def test_what_is_told_does_not_make_the_parts(page: _Page) -> None:
    page.show_title("one")
    page.hide()
    assert not page.is_built
    assert page.findChildren(QWidget) == []


def test_shown_it_has_its_parts_at_once(page: _Page) -> None:
    page.show_title("one")
    page.show()
    assert page.is_built
    assert page.title.isVisible()
    assert page.title.text() == "one"
    page.hide()
    page.show()
    assert page.builds == 1
    page.close()


def test_whoever_asks_for_a_part_gets_it(page: _Page) -> None:
    page.show_button("Stop")
    assert page.button.text() == "Stop"
    assert (page.is_built, page.isVisible(), page.builds) == (True, False, 1)


def test_the_last_of_each_is_shown_in_the_order_they_were_told(page: _Page) -> None:
    page.show_title("one")
    page.show_button("Go on")
    page.show_title("two", loud=True)
    assert page.order == []
    page.show()
    assert page.order == ["button", "title"]
    assert page.title.text() == "TWO"
    page.show_title("three")
    assert page.title.text() == "three"
    page.close()


def test_what_adds_finds_what_was_told_before(page: _Page) -> None:
    page.show_title("one")
    page.add_word("two")
    assert page.title.text() == "one two"


def test_what_there_is_not_is_an_error(page: _Page) -> None:
    with pytest.raises(AttributeError):
        _ = page.nothing_of_this_name  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        _ = page.nothing_of_this_name  # type: ignore[attr-defined]


def test_parts_have_the_look_of_the_time_they_are_made(app: QApplication, theme: Theme, page: _Page) -> None:
    theme.style()
    theme.use(appearance="light", text_size=125)
    assert not page.is_built
    page.show()
    assert page.title.font() == theme.font("body")
    theme.use(text_size=100)
    assert page.title.font() == theme.font("body")
    page.close()


@on_loop
async def test_only_the_page_in_sight_is_made(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path) as panel:
        window = panel.window
        late_pages = {"settings": window.settings, "comfyui": window.comfyui, "models": window.models}
        assert not any(page.is_built for page in (*late_pages.values(), window.welcome))
        for name, page in late_pages.items():
            window.show_page(name)
            assert page.is_built
            await settled()


@on_loop
async def test_a_panel_s_width_is_kept_by_a_page_that_was_never_shown(theme: Theme, tmp_path: Path) -> None:
    async with opened(theme, tmp_path) as panel:
        for page in (panel.window.comfyui, panel.window.models):
            page.show_side_width(400)
            assert page.side_width() == 400
            assert not page.is_built
            assert page.findChildren(QWidget) == []


def test_an_icon_is_drawn_in_each_colour_and_size(app: QApplication) -> None:
    red, again = draw_icon("check", "#FF0000", 16, 1), draw_icon("check", "#FF0000", 16, 1)
    assert red.toImage() == again.toImage()
    assert red.toImage() != draw_icon("check", "#00FF00", 16, 1).toImage()
    double = draw_icon("check", "#FF0000", 16, 2)
    assert (double.width(), double.devicePixelRatio()) == (32, 2)
    assert double.deviceIndependentSize() == red.deviceIndependentSize()
