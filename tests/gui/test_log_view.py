"""The log view: lines in batches, progress in place, filters, search, following, copying."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QPlainTextEdit

from app.log_lines import Level, Line
from app.ui.theme import Theme
from app.ui.widgets.log_pane import MOST_LINES
from app.ui.widgets.log_view import LogView
from tests.gui.harness import settle

AT = time.mktime((2026, 10, 14, 14, 30, 51, 0, 0, -1))


@pytest.fixture
def view(app: QApplication, theme: Theme) -> Iterator[LogView]:
    made = LogView(theme)
    theme.style()
    made.resize(QSize(900, 400))
    made.show()
    settle(app)
    yield made
    made.close()
    made.deleteLater()


def shown(view: LogView) -> list[str]:
    """The texts of the lines that are not hidden, as the document has them."""
    block, found = view.pane.document().firstBlock(), []
    while block.isValid() and view.pane.line_count():
        if block.isVisible():
            found.append(block.text())
        block = block.next()
    return found


def feed(view: LogView, *lines: Line | str) -> None:
    view.feed([Line(line, at=AT) if isinstance(line, str) else line for line in lines])
    while view._waiting:
        view._flush()


def some(count: int, level: Level = "info", start: int = 0) -> list[Line]:
    return [Line(f"line {number}", level, AT) for number in range(start, start + count)]


def drawn(view: LogView) -> set[str]:
    """The colours of what is drawn."""
    image = view.pane.viewport().grab().toImage()
    across, down = range(min(400, image.width())), range(image.height())
    return {image.pixelColor(x, y).name() for y in down for x in across}


def test_lines_come_in_batches_with_time_level_and_prefix(app: QApplication, view: LogView) -> None:
    written: list[int] = []
    view.pane.document().contentsChange.connect(lambda at, gone, came: written.append(came))
    view.feed([Line("got prompt", at=AT), Line("no memory", "warning", AT, "w1")])
    view.feed([Line("broken", "error", None, "w2-with-a-long-name")])
    assert view.pane.line_count() == 0
    deadline = time.monotonic() + 2
    while view.pane.line_count() < 3 and time.monotonic() < deadline:
        app.processEvents()
    assert shown(view) == [
        "14:30:51                 INFO   got prompt",
        "14:30:51  w1             WARN   no memory",
        "          w2-wit…g-name  ERROR  broken",
    ]
    assert len([came for came in written if came]) == 1


def test_levels_have_their_colours_in_both_schemes(app: QApplication, theme: Theme, view: LogView) -> None:
    # Full blocks: of letters only edges are drawn.
    feed(view, *(Line("███", level, AT) for level in ("info", "warning", "error")))
    for appearance in ("dark", "light"):
        theme.use(appearance=appearance)  # type: ignore[arg-type]
        settle(app)
        colours = drawn(view)
        for role in ("amber", "red", "text2", "console"):
            assert QColor(getattr(theme.colours, role)).name() in colours, (appearance, role)


def test_progress_takes_the_place_of_the_line_before_it(view: LogView) -> None:
    def bar(part: int, prefix: str = "", *, first: bool = False) -> Line:
        return Line(f"{part}%|", "step", AT, prefix, replaces=not first)

    feed(view, "a", bar(1, first=True), bar(2))
    feed(view, bar(3))
    assert [line.split()[-1] for line in shown(view)] == ["a", "3%|"]
    feed(view, bar(1, "w1", first=True), bar(1, "w2", first=True), bar(50, "w1"), "b")
    feed(view, bar(90, "w1"), bar(70, "w2"))
    assert [line.split()[-1] for line in shown(view)] == ["a", "3%|", "90%|", "70%|", "b"]
    assert view.pane.counts["step"] == 3


def test_filters_count_and_hide(app: QApplication, view: LogView) -> None:
    feed(view, *some(3), Line("careful", "warning", AT), Line("bad", "error", AT))
    buttons = {each.text(): each for each in view.filters.findChildren(type(view.wrap))}
    assert list(buttons) == ["All", "Info", "Warnings 1", "Errors 1"]
    buttons["Errors 1"].click()
    assert [line.split()[-1] for line in shown(view)] == ["bad"]
    feed(view, "more", Line("worse", "error", AT))
    assert [line.split()[-1] for line in shown(view)] == ["bad", "worse"]
    assert buttons["Errors 1"].text() == "Errors 2"
    assert view.pane.verticalScrollBar().maximum() == 0
    view.copy()
    assert QGuiApplication.clipboard().text().split()[2::3] == ["bad", "worse"]
    buttons["Info"].click()
    assert len(shown(view)) == 4
    buttons["All"].click()
    assert len(shown(view)) == 7


def test_the_end_is_followed_until_the_user_scrolls_up(app: QApplication, view: LogView) -> None:
    bar = view.pane.verticalScrollBar()
    feed(view, *some(200))
    assert bar.value() == bar.maximum() > 0
    assert not view.jump.isVisible()
    bar.setValue(20)
    feed(view, *some(214, start=200))
    assert (bar.value(), view.jump.text().strip()) == (20, "Jump to newest (214)")
    assert view.pane.rect().contains(view.jump.geometry())
    view.jump.click()
    assert bar.value() == bar.maximum()
    assert not view.jump.isVisible()
    view.resize(900, 250)
    settle(app)
    assert bar.value() == bar.maximum()
    bar.setValue(3)
    bar.setValue(bar.maximum())
    feed(view, "last")
    assert bar.value() == bar.maximum()


def test_only_the_newest_are_kept_and_what_is_read_stays_in_sight(app: QApplication, view: LogView) -> None:
    feed(view, *some(MOST_LINES), Line("x", "error", AT))
    assert view.pane.document().blockCount() == view.pane.line_count() == MOST_LINES
    bar = view.pane.verticalScrollBar()
    bar.setValue(5000)
    first = view.pane.firstVisibleBlock().text()
    feed(view, *some(300, "warning"))
    assert view.pane.firstVisibleBlock().text() == first
    assert (view.pane.counts["warning"], view.pane.counts["error"], view.pane.counts["info"]) == (
        300, 1, MOST_LINES - 301,
    )  # fmt: skip
    assert "newest 20 000 lines" in view.pane.toolTip()


def test_large_logs_are_shown_filtered_and_searched(app: QApplication, view: LogView) -> None:
    """Printed is how long each step holds the window's thread: run pytest with ``-s`` to see it."""
    steps: dict[str, float] = {}

    def timed(name: str, act: object, *given: object) -> None:
        begun = time.perf_counter()
        act(*given)  # type: ignore[operator]
        steps[name] = max(steps.get(name, 0), time.perf_counter() - begun)

    view.feed(some(MOST_LINES - 1))
    view.feed([Line("needle", "error", AT)])
    while view._waiting:
        timed("batch", view._flush)
    timed("filter", view.filters.chosen.emit, "error")
    timed("unfilter", view.filters.chosen.emit, "all")
    view.search.setText("needle")
    timed("search", view._search)
    timed("draw", view.pane.viewport().grab)
    print({name: f"{seconds * 1000:.0f} ms" for name, seconds in steps.items()})
    assert view.pane.blockCount() == MOST_LINES
    assert view._count.text().endswith("of 1")


def test_search_marks_all_and_steps(app: QApplication, theme: Theme, view: LogView) -> None:
    feed(view, *(f"Loaded {n}: loaded" if n % 10 == 0 else f"line {n}" for n in range(100)))
    view.open_search()
    QTest.keyClicks(view.search, "loaded")
    QTest.keyClick(view.search, Qt.Key.Key_Return)
    assert view._count.text() == "20 of 20"
    QTest.keyClick(view.search, Qt.Key.Key_Return)
    assert view._count.text() == "1 of 20"
    assert view.pane.firstVisibleBlock().blockNumber() == 0
    QTest.keyClick(view.search, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(view.search, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    assert view._count.text() == "19 of 20"
    settle(app)
    assert {theme.color("accent").name(), theme.color("accent_soft").name()} <= drawn(view)
    feed(view, "loaded once more")
    assert view.pane.hit_count == 21
    view.search.setText("nowhere")
    QTest.keyClick(view.search, Qt.Key.Key_Return)
    assert view._count.text() == "No match"
    assert view.escape()
    assert not view.escape()
    assert view.pane.hit_count == 0
    assert not view._count.isVisible()


def test_wrapping_copying_and_clearing(app: QApplication, view: LogView) -> None:
    feed(view, "a" * 500, "b")
    mode = QPlainTextEdit.LineWrapMode
    assert view.pane.lineWrapMode() is mode.NoWrap
    view.wrap.click()
    settle(app)
    assert view.pane.lineWrapMode() is mode.WidgetWidth
    assert view.pane.document().firstBlock().layout().lineCount() > 1
    view.copy_button.click()
    assert QGuiApplication.clipboard().text().splitlines()[1].endswith("INFO   b")
    view.pane.selectAll()
    view.copy_button.click()
    assert QGuiApplication.clipboard().text().count("\n") == 1
    told: list[None] = []
    view.cleared.connect(lambda: told.append(None))
    view.feed([Line("waits")])
    view.clear_button.click()
    assert (view.pane.line_count(), len(told), view._due.isActive()) == (0, 1, False)


def test_an_empty_log_says_what_to_do(app: QApplication, view: LogView) -> None:
    done: list[str] = []
    view.show_empty("No output yet", "The log starts with ComfyUI.", "Start", lambda: done.append("start"))
    assert view.empty_button.isVisible()
    assert not view.pane.isVisible()
    view.empty_button.click()
    assert done == ["start"]
    feed(view, "one")
    assert view.pane.isVisible()
    view.show_note("RunPod cannot be reached.", "amber")
    assert (view.note(), view._note.isVisible()) == ("RunPod cannot be reached.", True)
    view.show_note("")
    assert not view._note.isVisible()
    view.clear_lines()
    assert view.empty_button.isVisible()


def test_any_text_is_one_line(view: LogView) -> None:
    feed(view, "<b>no markup</b>", "İstanbul é 漢字 🙂", "tab\there", "")
    view.search.setText("漢字")
    view._search()
    assert view.pane.hit_count == 1
    assert len(shown(view)) == 4
