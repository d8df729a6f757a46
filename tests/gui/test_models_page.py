"""The Models page: what it shows of files, sync and volume, what its controls want, and that it fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QAbstractItemModel, QEvent, QItemSelectionModel, QObject, QPoint, QRect, Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication, QPushButton, QWidget

from app.ui.models import page as page_module
from app.ui.models.columns import Columns
from app.ui.models.model import FilesModel
from app.ui.models.page import ModelsPage
from app.ui.models.questions import NamesQuestion
from app.ui.models.shown import (
    Choice,
    KnownShown,
    LimitShown,
    ModelRow,
    PlanShown,
    RowState,
    RunShown,
    SendShown,
    SyncState,
    VolumeShown,
)
from app.ui.models.table import Head, Table
from app.ui.models.words import (
    merged,
    of_size,
    percent,
    plan_title,
    run_note,
    run_title,
    stop_text,
    time_left,
)
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from tests.gui import models_made_up as made_up
from tests.gui.checks import faults, shown
from tests.gui.harness import box_in, on_loop, settle, settled, until
from tests.gui.page_frame import FULL, SMALL, PageFrame, framed, questions
from tests.gui.scenes import scene
from tests.gui.test_accessibility import name_of
from tests.gui.test_words import texts

Key, Mod, LEFT = Qt.Key, Qt.KeyboardModifier, Qt.MouseButton.LeftButton
S, C, GB = RowState, Choice, 10**9
FLUX, FILM = "checkpoints/flux1-dev-fp8.safetensors", "loras/film-portrait-v3.safetensors"
LARGE, FAILED = "checkpoints/sd3.5_large.safetensors", "upscale_models/4x-UltraSharp.safetensors"
WAITS = "diffusion_models/wan2.2_t2v_high_noise_14B_fp8.safetensors"
SIGNALS = (
    "appeared", "vanished", "sync_wanted", "pause_wanted", "resume_wanted", "cancel_wanted", "rescan_wanted",
    "ticked", "row_wanted", "retry_failed_wanted", "volume_chosen", "choose_volume_wanted",
    "choose_folder_wanted", "key_wanted", "transport_chosen", "limit_chosen", "selected",
    "fetch_results_wanted", "verify_wanted", "send_wanted", "send_cancel_wanted", "send_restart_wanted",
    "deletions_wanted", "worked",
)  # fmt: skip


Frame = PageFrame[ModelsPage]


@pytest.fixture
def frame(app: QApplication, theme: Theme) -> Iterator[Frame]:
    with framed(app, theme, ModelsPage, SIGNALS) as made:
        yield made


@pytest.fixture
def page(frame: Frame) -> ModelsPage:
    """With the design's files and volume, and no sync."""
    frame.page.show_rows(made_up.ROWS)
    frame.page.show_volume(made_up.VOLUME)
    frame.page.show_volumes(made_up.VOLUMES)
    _settle()
    frame.said.clear()
    return frame.page


def _settle() -> None:
    settle(QApplication.instance())  # type: ignore[arg-type]


def _wait(true: Callable[[], bool]) -> None:
    """Until something is true; a test that waits in vain fails by what it looks at next."""
    for _ in range(200):
        if true():
            return
        QTest.qWait(5)


def asked() -> Question:
    _settle()
    [question] = questions()
    return question


def press(root: QWidget, text: str) -> None:
    """Click the button in sight that has this text or, without one, this name."""
    named = [each for each in shown(root) if isinstance(each, QPushButton)]
    found = [each for each in named if text in (each.text().strip(), each.accessibleName())]
    assert len(found) == 1, (text, texts(root))
    QTest.mouseClick(found[0], LEFT)


def items(page: ModelsPage) -> list[str]:
    """The list in words: ``+ folder`` open, ``- folder`` folded, and names."""
    model = page.files.model
    found = []
    for item in model.table.items:
        is_head = isinstance(item, Head)
        name = str(model.data(model.index(len(found)), Qt.ItemDataRole.DisplayRole))
        found.append(f"{'+' if item.is_open else '-'} {name}" if is_head else name)  # type: ignore[union-attr]
    return found


def said_of(page: ModelsPage, path: str) -> str:
    """What a screen reader says of a file's row."""
    model: QAbstractItemModel = page.files.list.model()
    return str(model.data(page.files.model.index_of(path), Qt.ItemDataRole.AccessibleTextRole))


def box_of(page: ModelsPage, path: str) -> QRect:
    """A file's row, scrolled into sight; of a folder by its name its head."""
    files = page.files
    place = files.model.table.head_place(path)
    index = files.model.index_of(path) if place is None else files.model.index(place)
    files.list.scrollTo(index)
    return files.list.visualRect(index)


def click(page: ModelsPage, path: str, part: str = "name", mod: Qt.KeyboardModifier = Mod.NoModifier) -> None:
    """Click in a row: on its name, its tick box, or the link at its right."""
    columns = Columns.of(box_of(page, path))
    point = columns.tick.center() if part == "tick" else columns.name.center()
    if part == "link":
        point = QPoint(columns.state.right() - 6, columns.state.center().y())
    QTest.mouseClick(page.files.list.viewport(), LEFT, mod, point)


def select(page: ModelsPage, *paths: str) -> None:
    for number, path in enumerate(paths):
        click(page, path, mod=Mod.ControlModifier if number else Mod.NoModifier)


def key(page: ModelsPage, which: Qt.Key) -> None:
    page.files.list.setFocus()
    QTest.keyClick(page.files.list, which)


def menu_texts(page: ModelsPage, *paths: str) -> list[str]:
    rows = [row for row in map(page.files.row, paths) if row is not None]
    menu = page.files.menu_for(rows)
    found = [action.text() for action in menu.actions()]
    menu.deleteLater()
    return found


# Words.


def test_the_time_left_is_rounded_as_far_as_it_can_be_known() -> None:
    assert [time_left(s) for s in (1, 33, 57, 58, 250, 570, 640, 780, 3500, 4800)] == [
        "5 s left", "35 s left", "55 s left", "1 min left", "4 min left", "10 min left", "10 min left",
        "15 min left", "1 h left", "1 h 20 min left",
    ]  # fmt: skip


def test_figures_are_said_shortly() -> None:
    assert [of_size(142 * GB // 10, 345 * GB // 10), of_size(980 * 10**6, GB), of_size(0, GB)] == [
        "14.2 of 34.5 GB", "980 MB of 1.0 GB", "0 of 1.0 GB"
    ]  # fmt: skip
    assert [percent(999, 1000), percent(5, 5), percent(1, 0)] == ["99 %", "100 %", ""]
    folders = [("vae", 4), ("checkpoints", 47), ("loras", 15), ("clip", 2), ("text", 40), ("a", 1)]
    assert merged(folders) == [("checkpoints", 47), ("text", 40), ("loras", 15), ("vae, clip, other", 7)]
    assert merged(folders[:2]) == [("checkpoints", 47), ("vae", 4)]


def test_sentences_of_a_sync_come_from_its_numbers() -> None:
    run = RunShown("", 41, 100, 4, 12, took_s=1020)
    found = {state: run_title(replace(run, state=state)) for state in SyncState}
    assert found == {
        SyncState.RUNNING: "Syncing 12 files to the volume",
        SyncState.WAITING: "Syncing 12 files to the volume",
        SyncState.PAUSED: "Paused at 41 %",
        SyncState.FINISHED: "4 files uploaded in 17 min",
        SyncState.FAILED: "Sync stopped at 41 %",
        SyncState.CANCELLED: "Stopped by you at 41 %",
    }
    part_failed = RunShown(files_done=10, files=12, failed=2, state=SyncState.FINISHED)
    assert run_title(part_failed) == "10 of 12 files uploaded. 2 failed."
    waits = replace(run, state=SyncState.WAITING, retry_s=8.2)
    assert run_note(waits) == "Waiting for the network, retry in 8 s"
    assert stop_text(run, 2) == (
        "4 files are on the volume. The 2 half-sent files go on from where they are next time."
    )
    assert stop_text(replace(run, files_done=1), 0) == "1 file is on the volume."
    plan = PlanShown(files=12, bytes=34_500_000_000, takes_s=1100)
    assert plan_title(plan) == "12 files · 34.5 GB to upload · about 20 min"


# The table and the model.

_rows = st.builds(
    lambda path, here, there, state, ticked: ModelRow(path, here, there, state, ticked=ticked),
    st.sampled_from(["a", "x/a", "x/B", "x/c", "y/a", "y/deep/b", "Z/q"]),
    st.one_of(st.none(), st.integers(0, 9)),
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from(list(RowState)),
    st.sampled_from([None, True, False]),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(_rows, unique_by=lambda row: row.path),
    st.lists(st.lists(_rows, max_size=4), max_size=4),
    st.sampled_from(["name", "size"]),
    st.sets(st.sampled_from(list(RowState))),
    st.sets(st.sampled_from(["x", "y"])),
)
def test_updates_lead_where_showing_all_anew_does(
    rows: list[ModelRow], updates: list[list[ModelRow]], sort: Any, only: set[RowState], folded: set[str]
) -> None:
    def made() -> Table:
        table = Table()
        table.sort, table.only, table.folded = sort, frozenset(only), folded
        return table

    table, final = made(), {row.path: row for row in rows}
    table.show(rows)
    for update in updates:
        before = list(table.items)
        places = table.update(update)
        if places is None:
            table.arrange()
        else:
            assert [n for n, item in enumerate(table.items) if item != before[n]] == [
                place for place in places if table.items[place] != before[place]
            ]
        final |= {row.path: row for row in update}
    table.arrange()
    anew = made()
    anew.show(list(final.values()))
    assert table.items == anew.items
    assert +table.states == +anew.states
    assert table.matching == anew.matching


def test_changes_of_neighbours_are_told_together(app: QApplication) -> None:
    model = FilesModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)
    rows = [made_up.made(f"a/{n}", 1, S.WAITING) for n in range(10)]
    model.show_rows(rows)
    told: list[tuple[int, int]] = []
    model.dataChanged.connect(lambda first, last: told.append((first.row(), last.row())))
    model.update_rows([replace(rows[n], done=5) for n in (6, 2, 3, 4)])
    assert told == [(3, 5), (7, 7)]
    told.clear()
    model.show_rows(rows)
    assert told == [(0, 10)]
    model.update_rows([made_up.made("b/new", 1, S.WAITING)])
    assert model.rowCount() == 13
    tester.deleteLater()


# The list.


def test_files_stand_in_their_folders_and_are_said_as_sentences(page: ModelsPage) -> None:
    assert items(page)[:7] == [
        "+ checkpoints", "flux1-dev-fp8.safetensors", "juggernautXL_v9.safetensors",
        "sd3.5_large.safetensors", "sd3.5_large_fp8_scaled.safetensors", "sd_xl_base_1.0.safetensors",
        "+ diffusion_models",
    ]  # fmt: skip
    assert "19 files in 6 folders" in texts(page.files.head)
    assert said_of(page, FLUX) == (
        "flux1-dev-fp8.safetensors, checkpoints, 17.2 GB, on this computer and on the volume, in sync"
    )
    assert said_of(page, "text_encoders/t5xxl_fp16.safetensors") == (
        "t5xxl_fp16.safetensors, text_encoders, 9.8 GB, on this computer only, uploading, 71 percent, "
        "4 min left, ticked"
    )
    assert said_of(page, FAILED).endswith(
        "failed, The volume answered 403: access denied, The S3 key may be of another account"
    )
    head = page.files.model.index(0)
    assert page.files.model.data(head, Qt.ItemDataRole.AccessibleTextRole) == (
        "folder, checkpoints, 5 files, 55.8 GB, open"
    )
    page.show_rows([ModelRow("loose.pt", 5, None, S.LOCAL_ONLY), ModelRow("a/b/c.pt", 5, None, S.LOCAL_ONLY)])
    assert items(page) == ["+ (models folder)", "loose.pt", "+ a", "b/c.pt"]


def test_rows_shown_anew_keep_selection_folding_and_place(frame: Frame, page: ModelsPage) -> None:
    frame.fit((1248, 500))
    _settle()
    click(page, "checkpoints")
    assert items(page)[:2] == ["- checkpoints", "+ diffusion_models"]
    select(page, WAITS, FAILED)
    bar = page.files.list.verticalScrollBar()
    bar.setValue(100)
    more = (*made_up.ROWS, made_up.made("audio/new", 1, S.LOCAL_ONLY))
    page.show_rows(more)
    assert items(page)[:4] == ["+ audio", "new.safetensors", "- checkpoints", "+ diffusion_models"]
    assert [row.path for row in page.files.list.selected_rows()] == [WAITS, FAILED]
    assert bar.value() == 100
    page.show_rows([row for row in more if row.path != FAILED])
    assert [row.path for row in page.files.list.selected_rows()] == [WAITS]


def test_the_one_selected_file_is_told(frame: Frame, page: ModelsPage) -> None:
    select(page, FLUX)
    select(page, FLUX, FILM)
    page.escape()
    select(page, FILM)
    page.show_rows([row for row in made_up.ROWS if row.path != FILM])
    assert frame.said == [("selected", FLUX), ("selected", ""), ("selected", FILM), ("selected", "")]


def test_ticks_are_wanted_by_click_space_and_folder(frame: Frame, page: ModelsPage) -> None:
    click(page, WAITS, "tick")
    assert frame.said == [("ticked", [WAITS], False)]
    # It is the controller who changes a row.
    assert said_of(page, WAITS).endswith("ticked")
    frame.said.clear()
    click(page, FLUX, "tick")
    assert ("ticked", [FLUX], True) not in frame.said
    select(page, LARGE, WAITS)
    frame.said.clear()
    key(page, Key.Key_Space)
    assert frame.said == [("ticked", [LARGE, WAITS], True)]
    frame.said.clear()
    click(page, "loras", "tick")
    able = [FILM, "loras/wan2.2_lightning_4steps.safetensors"]
    assert [(name, sorted(paths), on) for name, paths, on in frame.said] == [("ticked", able, True)]
    page.update_rows([replace(row, ticked=True) for row in made_up.ROWS if row.path in able])
    frame.said.clear()
    click(page, "text_encoders")
    frame.said.clear()
    key(page, Key.Key_Space)
    assert [(name, on) for name, _, on in frame.said] == [("ticked", False)]


def test_folders_are_folded_with_keys_too(frame: Frame, page: ModelsPage) -> None:
    select(page, FLUX)
    key(page, Key.Key_Left)
    assert page.files.list.current_folder() == "checkpoints"
    key(page, Key.Key_Left)
    assert items(page)[0] == "- checkpoints"
    key(page, Key.Key_Right)
    assert items(page)[0] == "+ checkpoints"
    key(page, Key.Key_Return)
    assert items(page)[:2] == ["- checkpoints", "+ diffusion_models"]
    key(page, Key.Key_Return)
    key(page, Key.Key_Right)
    assert [row.path for row in page.files.list.selected_rows()] == [FLUX]
    key(page, Key.Key_Down)
    key(page, Key.Key_End)
    assert page.files.list.current_row() is not None
    key(page, Key.Key_Home)
    assert page.files.list.current_folder() == "checkpoints"


def test_columns_sort_inside_the_folders(page: ModelsPage) -> None:
    columns = page.files.columns
    QTest.mouseClick(columns.buttons["size"], LEFT)
    assert items(page)[:3] == [
        "+ checkpoints", "flux1-dev-fp8.safetensors", "sd3.5_large.safetensors",
    ]  # fmt: skip
    QTest.mouseClick(columns.buttons["size"], LEFT)
    assert items(page)[0] == "+ upscale_models"
    QTest.mouseClick(columns.buttons["state"], LEFT)
    assert items(page)[1:3] == ["sd3.5_large_fp8_scaled.safetensors", "sd3.5_large.safetensors"]
    assert columns.buttons["state"].accessibleDescription() == "sorted, smallest first"
    QTest.mouseClick(columns.buttons["name"], LEFT)
    QTest.mouseClick(columns.buttons["name"], LEFT)
    assert items(page)[:2] == ["+ vae", "qwen_image_vae.safetensors"]


def test_states_and_words_filter(frame: Frame, page: ModelsPage) -> None:
    head = page.files.head

    def choose(text: str) -> None:
        menu = head.filter_menu()
        [action] = [each for each in menu.actions() if each.text().startswith(text)]
        action.trigger()
        menu.deleteLater()

    choose("Problems\t3")
    assert items(page) == [
        "+ upscale_models", "4x-UltraSharp.safetensors", "RealESRGAN_x2.safetensors", "+ vae",
        "Ae.safetensors",
    ]  # fmt: skip
    assert head.states.text().strip() == "Problems"
    # What no longer fits goes at once, what fits now comes.
    fixed = replace(made_up.ROWS[14], state=S.UPLOADED, note="")
    page.update_rows([fixed, replace(made_up.ROWS[0], state=S.FAILED)])
    assert items(page)[:3] == ["+ checkpoints", "flux1-dev-fp8.safetensors", "+ upscale_models"]
    assert "4x-UltraSharp.safetensors" not in items(page)
    choose("All states")
    click(page, "loras")
    page.open_search()
    assert QApplication.focusWidget() is head.search
    QTest.keyClicks(head.search, "LORA film")
    _wait(lambda: len(items(page)) == 2)
    assert items(page) == ["+ loras", "film-portrait-v3.safetensors"]
    QTest.keyClicks(head.search, "zzz")
    _wait(lambda: not items(page))
    assert {"Nothing matches these filters", "19 files are hidden."} <= set(texts(page.files))
    press(page.files, "Clear filters")
    assert items(page).count("- loras") == 1
    assert len(items(page)) > 10
    QTest.keyClicks(head.search, "a")
    page.escape()
    assert head.search.text() == ""


# What can be done with files.


def test_a_link_does_what_it_says(frame: Frame, page: ModelsPage) -> None:
    click(page, LARGE, "link")
    click(page, FAILED, "link")
    assert frame.said == [("row_wanted", C.DOWNLOAD, [LARGE]), ("row_wanted", C.RETRY, [FAILED])]
    assert questions() == []
    frame.said.clear()
    # What waits or is part of the next sync has no link.
    click(page, WAITS, "link")
    assert frame.said == [("selected", WAITS)]


def test_overwriting_on_the_volume_asks_by_name(frame: Frame, page: ModelsPage) -> None:
    for answer, wanted in (("Overwrite", C.OVERWRITE), ("Keep both", C.KEEP_BOTH), ("Esc", None)):
        frame.said.clear()
        click(page, FILM, "link")
        question = asked()
        assert texts(question) == [
            "Overwrite film-portrait-v3 on the volume?",
            "The volume's file is older (343 MB, 12 May). It cannot be brought back.",
            "Keep both",
            "Overwrite",
        ]
        assert question.safe_button.isDefault()
        if wanted is None:
            QTest.keyClick(question, Key.Key_Escape)
        else:
            press(question, answer)
        assert frame.said == ([] if wanted is None else [("row_wanted", wanted, [FILM])])
        _settle()


def test_several_files_are_deleted_only_when_they_are_ticked_by_name(frame: Frame, page: ModelsPage) -> None:
    others = [replace(made_up.ROWS[n], choices=(C.VERIFY, C.DELETE)) for n in (0, 1)]
    page.update_rows(others)
    select(page, FLUX, others[1].path, LARGE)
    assert "3 selected" in texts(page.files.head)
    press(page.files.head, "Delete…")
    question = asked()
    assert isinstance(question, NamesQuestion)
    assert texts(question)[0] == "Delete 3 files from the volume?"
    assert (question.paths, question.act_button.isEnabled()) == ([], False)
    names = question.names
    QTest.mouseClick(names.viewport(), LEFT, pos=names.visualItemRect(names.item(1)).center())
    names.setFocus()
    names.setCurrentRow(2)
    QTest.keyClick(names, Key.Key_Space)
    QTest.keyClick(names, Key.Key_Space)
    assert question.paths == [others[1].path]
    assert question.act_button.text() == "Delete 1 file"
    frame.said.clear()
    press(question, "Delete 1 file")
    assert frame.said == [("deletions_wanted", [others[1].path])]


def test_one_file_is_deleted_after_its_name_was_asked(frame: Frame, page: ModelsPage) -> None:
    select(page, LARGE)
    frame.said.clear()
    for answer, said in (("Keep", []), ("Delete", [("deletions_wanted", [LARGE])])):
        menu = page.files.menu_for(page.files.list.selected_rows())
        [delete] = [each for each in menu.actions() if each.text() == "Delete from the volume…"]
        delete.trigger()
        menu.deleteLater()
        question = asked()
        assert texts(question)[:2] == [
            "Delete sd3.5_large from the volume?",
            f"{LARGE}, 16.5 GB. It cannot be brought back. There is no copy here.",
        ]
        press(question, answer)
        _settle()
        assert frame.said == said


def test_menus_hold_what_all_of_the_files_allow(frame: Frame, page: ModelsPage) -> None:
    assert menu_texts(page, FILM) == [
        "Take into the sync\tSpace", "", "Upload newer…", "Download over the file here…", "Keep both", "",
        "Ignore", "Compare contents", "", "Show in folder", "Copy path", "Copy SHA-256",
    ]  # fmt: skip
    assert menu_texts(page, FILM, LARGE) == ["Take into the sync\tSpace", "", "Ignore"]
    assert menu_texts(page, FLUX) == ["Compare contents", "", "Show in folder", "Copy path", "Copy SHA-256"]
    assert menu_texts(page, "vae/ae.safetensors") == []
    select(page, FLUX, "checkpoints/juggernautXL_v9.safetensors")
    frame.said.clear()
    press(page.files.head, "Compare")
    paths = [FLUX, "checkpoints/juggernautXL_v9.safetensors"]
    assert frame.said == [("row_wanted", C.VERIFY, paths)]


# The card.


#: A sync, what is said of it, and its buttons with what they want; None: they ask first.
RUNS: tuple[tuple[RunShown, list[str], dict[str, tuple[str] | None]], ...] = (
    (
        made_up.RUN,
        ["14.2 of 34.5 GB", "·  4 of 12 files done · 31.8 MB/s", "about 10 min left"],
        {"Pause": ("pause_wanted",), "Cancel": None},
    ),
    (
        replace(made_up.RUN, title="", state=SyncState.PAUSED),
        ["Paused at 41 %", "·  4 of 12 files done"],
        {"Resume": ("resume_wanted",), "Cancel": None},
    ),
    (
        replace(made_up.RUN, state=SyncState.WAITING, retry_s=8, rate=None),
        ["Waiting for the network, retry in 8 s"],
        {"Pause": ("pause_wanted",), "Cancel": None},
    ),
    (
        RunShown(state=SyncState.FAILED, done=1, total=4, note="20.3 GB to upload, 11.0 GB free."),
        ["Sync stopped at 25 %", "20.3 GB to upload, 11.0 GB free."],
        {"Try again": ("resume_wanted",)},
    ),
    (
        RunShown(state=SyncState.FINISHED, files_done=10, files=12, failed=2, done=3, total=4),
        ["10 of 12 files uploaded. 2 failed."],
        {"Retry 2 files": ("retry_failed_wanted",)},
    ),
    (
        RunShown(state=SyncState.FINISHED, files_done=12, files=12, took_s=1020, done=4, total=4),
        ["12 files uploaded in 17 min"],
        {},
    ),
)


def test_the_card_shows_a_sync(frame: Frame, page: ModelsPage) -> None:
    for run, said, buttons in RUNS:
        page.show_run(run)
        _settle()
        assert set(said) <= set(texts(page.card))
        labels = [each.text().strip() for each in shown(page.card) if isinstance(each, QPushButton)]
        assert [label for label in labels if label] == list(buttons)
        frame.said.clear()
        for text, wanted in buttons.items():
            press(page.card, text)
            if wanted is None:
                asked().reject()
            else:
                assert frame.said.pop() == wanted
        assert frame.said == []


def test_stopping_asks_and_says_what_is_kept(frame: Frame, page: ModelsPage) -> None:
    page.show_run(made_up.RUN)
    page.show_lanes(made_up.LANES, 2)
    frame.said.clear()
    press(page.card, "Cancel")
    question = asked()
    assert texts(question) == [
        "Stop the sync?",
        "4 files are on the volume. The 2 half-sent files go on from where they are next time.",
        "Keep syncing",
        "Stop",
    ]
    press(question, "Keep syncing")
    _settle()
    press(page.card, "Cancel")
    press(asked(), "Stop")
    _settle()
    press(page.card, "More")
    popup = QApplication.activePopupWidget()
    assert popup is not None
    popup.actions()[0].trigger()
    popup.close()
    press(asked(), "Stop and discard")
    assert frame.said == [("cancel_wanted", True), ("cancel_wanted", False)]


def test_the_total_never_goes_back_until_another_sync(page: ModelsPage) -> None:
    page.show_run(replace(made_up.RUN, done=20 * GB))
    page.show_run(replace(made_up.RUN, done=10 * GB))
    assert page.card.bar.value() == round(20_000 / 34.5)
    page.show_run(replace(made_up.RUN, done=5 * GB, total=10 * GB, files=3))
    assert page.card.bar.value() == 500


def test_the_plan_is_carried_out_by_its_button_or_ctrl_s(frame: Frame, page: ModelsPage) -> None:
    page.show_plan(PlanShown("Comparing 31 files…", busy=True))
    assert texts(page.card) == ["Comparing 31 files…"]
    assert frame.motion._timer.isActive()
    page.show_plan(replace(made_up.PLAN, can_sync=False, note="20.3 GB to upload, 11.0 GB free.", role="red"))
    assert not frame.motion._timer.isActive() or page.files.list.moves
    press(page.card, "Sync Models")
    page.files.list.setFocus()
    QTest.keyClick(page.files.list, Key.Key_S, Mod.ControlModifier)
    assert frame.said == []
    page.show_plan(made_up.PLAN)
    assert set(texts(page.card)) == {made_up.PLAN.text, made_up.PLAN.note, "Sync Models"}
    press(page.card, "Sync Models")
    QTest.keyClick(page.files.list, Key.Key_S, Mod.ControlModifier)
    assert frame.said == [("sync_wanted",)] * 2
    frame.said.clear()
    page.show_transport("runpodctl")
    press(page.card, "Send by code")
    assert frame.said == [("send_wanted",)]
    page.show_run(made_up.RUN)
    frame.said.clear()
    QTest.keyClick(page.files.list, Key.Key_S, Mod.ControlModifier)
    assert frame.said == []
    page.show_run(RunShown(state=SyncState.FINISHED, files_done=1, files=1))
    press(page.card, "Close")
    assert made_up.PLAN.text in texts(page.card)
    page.show_plan(PlanShown("Everything is in sync. Checked 14:02.", role="green"))
    assert texts(page.card) == ["Everything is in sync. Checked 14:02."]
    page.show_plan(PlanShown())
    assert not page.card.isVisible()


def test_ends_are_announced_once_and_progress_is_not(
    page: ModelsPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, bool]] = []
    monkeypatch.setattr(page_module, "announce", lambda _, text, urgent: said.append((text, urgent)))
    for done in range(5):
        page.show_run(replace(made_up.RUN, done=done))
    end = RunShown(state=SyncState.FINISHED, files_done=12, files=12)
    for run in (end, end, None, replace(end, state=SyncState.FAILED, note="The volume is full.")):
        page.show_run(run)
    assert said == [("12 files uploaded", False), ("Sync stopped The volume is full.", True)]


# Sending by code.


def test_a_code_is_shown_large_with_the_two_commands_to_copy(frame: Frame, page: ModelsPage) -> None:
    page.show_plan(made_up.PLAN)
    page.show_send(made_up.SEND)
    _settle()
    assert not page.card.isVisible()
    send, card = made_up.SEND, page.send
    for text in (send.phase, send.code, send.receive, send.extract, "1 of 3", "0 of 8.1 GB", send.note):
        assert text in texts(card)
    assert card.code.font().pixelSize() == 18
    for button, text in (
        ("Copy the code", send.code), ("Copy the command that receives", send.receive),
        ("Copy the command that unpacks", send.extract),
    ):  # fmt: skip
        press(card, button)
        assert QApplication.clipboard().text() == text
    assert "Copied" in texts(card)
    press(card, "Cancel")
    page.show_send(replace(send, done=GB, rate=31_800_000.0))
    assert {"1.0 of 8.1 GB", "·  31.8 MB/s"} <= set(texts(card))
    assert frame.said[-1] == ("worked", "Sending models", "12 %")
    page.show_send(SendShown("Not sent", problem="The pod took too long.", can_restart=True))
    assert texts(card) == ["Not sent", "The pod took too long.", "New code"]
    assert frame.said[-1] == ("worked", "", "")
    press(card, "New code")
    page.show_send(SendShown("3 files sent", is_over=True, done=5, total=5))
    assert texts(card) == ["3 files sent", "5 of 5 B"]
    press(card, "Close")
    assert page.card.isVisible()
    said = [each for each in frame.said if each[0] != "worked"]
    assert said == [("send_cancel_wanted",), ("send_restart_wanted",)]


# The side.


def test_the_volume_says_how_full_it_is_and_what_was_left_there(frame: Frame, page: ModelsPage) -> None:
    volume = page.side.volume
    said = texts(volume)
    for text in ("comfy-models", "EU-RO-1", "69.0 of 100 GB", "31.0 GB", "89.3 of 100 GB", "22", "47.7 GB"):
        assert text in said
    assert {"loras, vae, other", "Results left there: 1.4 GB in 34 files"} <= set(said)
    assert volume.bar.parts == pytest.approx((0.477, 0.143, 0.049, 0.021))
    press(volume, "Fetch the results left on the volume")
    menu = volume.menu()
    assert [(each.text(), each.isChecked()) for each in menu.actions()[:3]] == [
        ("comfy-models · EU-RO-1", True), ("flux-models · EU-RO-1", False), ("Another volume…", False)
    ]  # fmt: skip
    for action in menu.actions()[1:]:
        action.trigger()
    menu.deleteLater()
    assert frame.said == [
        ("fetch_results_wanted",), ("volume_chosen", "v"), ("choose_volume_wanted",), ("verify_wanted",),
        ("fetch_results_wanted",),
    ]  # fmt: skip
    page.show_volume(VolumeShown("x", "plain", used=5 * GB, note="Sizes are of model files only."))
    said = texts(volume)
    assert {"5.0 GB", "Sizes are of model files only."} <= set(said)
    assert not {"Free", "After sync", "Fetch"} & set(said)
    page.show_volume(None)
    assert "No volume is chosen." in texts(volume)


def test_what_is_known_of_the_selected_file(frame: Frame, page: ModelsPage) -> None:
    section = page.side.file
    assert not section.isVisible()
    select(page, FILM)
    page.show_known(KnownShown(FLUX, "of another"))
    assert "of another" not in texts(section)
    page.show_known(made_up.KNOWN)
    for text in ("LoRA", "FLUX.1-dev", "Rank", "32", "flmprtrt, warm film grain", "Changed here on 14 Oct."):
        assert text in texts(section)
    press(section, "Copy the SHA-256")
    assert QApplication.clipboard().text() == made_up.SHA
    press(section, "Copy the trigger words")
    assert QApplication.clipboard().text() == "flmprtrt, warm film grain"
    page.show_known(KnownShown(FILM, sha256_note="Computing, 40 %", problem="12 of 65 MB are there."))
    assert {"Computing, 40 %", "12 of 65 MB are there."} <= set(texts(section))
    page.update_rows([replace(made_up.ROWS[7], state=S.FAILED, note="Denied.")])
    assert "Changed here on 14 Oct." not in texts(section)
    assert section.pill.accessibleName() == "Failed"
    assert "Computing, 40 %" in texts(section)
    select(page, FLUX)
    assert "Computing, 40 %" not in texts(section)
    press(section, "Close the details")
    assert not section.isVisible()
    assert frame.said[-1] == ("selected", "")


def test_transport_and_limit_are_chosen(frame: Frame, page: ModelsPage) -> None:
    section = page.side.transport
    QTest.mouseClick(section.cards["runpodctl"], LEFT)
    assert frame.said == [("transport_chosen", "runpodctl")]
    page.show_transport("s3", "The S3 key is missing.")
    assert section.cards["s3"].isChecked()
    assert "The S3 key is missing." in texts(section)
    section.cards["s3"].setFocus()
    QTest.keyClick(section.cards["s3"], Key.Key_Down)
    assert frame.said[-1] == ("transport_chosen", "runpodctl")
    frame.said.clear()
    shown_limits = [section.limit.itemText(number) for number in range(section.limit.count())]
    assert shown_limits == ["No limit", *(f"{n} MB/s" for n in (1, 5, 10, 20, 50)), "Other…"]
    section.limit.setFocus()
    QTest.keyClick(section.limit, Key.Key_Down)
    assert frame.said == [("limit_chosen", 1e6)]
    QTest.keyClick(section.limit, Key.Key_End)
    assert QApplication.focusWidget() is section.custom
    QTest.keyClicks(section.custom, f"7{section.custom.locale().decimalPoint()}5")
    QTest.keyClick(section.custom, Key.Key_Return)
    assert frame.said[-1] == ("limit_chosen", 7.5e6)
    page.show_limit(LimitShown(7.5e6))
    assert section.limit.currentText() == "7.5 MB/s"
    assert not section.custom.isVisible()
    page.show_limit(LimitShown(None))
    assert section.limit.currentText() == "No limit"


def test_lanes_and_earlier_syncs_are_there_when_there_are_any(page: ModelsPage) -> None:
    lanes, earlier = page.side.lanes, page.side.earlier
    assert not lanes.isVisible()
    assert not earlier.isVisible()
    page.show_lanes(made_up.LANES, 2)
    page.show_earlier(made_up.EARLIER)
    for text in ("Uploading now", "2 of 2 slots", "t5xxl_fp16", "71 %", "7.0 of 9.8 GB", "12.1 MB/s"):
        assert text in texts(lanes)
    assert "2 files, stopped by you" in texts(earlier)
    page.show_lanes([replace(made_up.LANES[0], is_down=True)])
    assert texts(lanes)[:2] == ["Downloading now", "sd3.5_large_fp8_scaled"]
    page.show_lanes([])
    assert not lanes.isVisible()


# The page.


def test_an_empty_page_says_why_and_what_to_do(frame: Frame, page: ModelsPage) -> None:
    text = "Pick the volume that your endpoint uses."
    page.show_empty("No network volume", text, "Choose a volume")
    _settle()
    assert texts(page) == ["Models", "No network volume", text, "Choose a volume"]
    press(page, "Choose a volume")
    page.show_empty("No models found", "Looked in ~/ComfyUI/models.", "Choose another folder", "folder")
    press(page, "Choose another folder")
    page.show_empty("Not connected to RunPod", "Local runs work without an account.", "Add API key", "key")
    press(page, "Add API key")
    assert frame.said == [("choose_volume_wanted",), ("choose_folder_wanted",), ("key_wanted",)]
    page.show_empty("")
    assert page.files.list.isVisible()


def test_in_a_narrow_window_the_side_lies_over_the_list(frame: Frame, page: ModelsPage) -> None:
    assert box_in(page, page.side) == (1248 - 336, 0, 336, 844)
    assert not page.files.head.side.isVisible()
    frame.fit(SMALL)
    _settle()
    assert not page.side.isVisible()
    assert page.right_edge() == 0
    select(page, FILM)
    key(page, Key.Key_Return)
    assert box_in(page, page.side) == (968 - 336, 0, 336, 584)
    assert "film-portrait-v3.safetensors" in texts(page.side)
    page.escape()
    assert not page.side.isVisible()
    assert QApplication.focusWidget() is page.files.list
    press(page.files.head, "Volume, transport and details")
    assert page.side.isVisible()
    press(page.side, "Close (Esc)")
    assert not page.side.isVisible()
    QTest.mouseDClick(page.files.list.viewport(), LEFT, pos=box_of(page, FILM).center())
    assert page.side.isVisible()
    frame.fit(FULL)
    _settle()
    assert box_in(page, page.side)[0] == 1248 - 336
    page.show_side_width(9_999)
    _settle()
    assert box_in(page, page.side)[2] == 520
    handle = page.sides.splitter.handle(1)
    QTest.mousePress(handle, LEFT, pos=QPoint(0, 100))
    QTest.mouseMove(handle, QPoint(120, 100))
    QTest.mouseRelease(handle, LEFT, pos=QPoint(120, 100))
    assert page.side_width() == page.side.width()
    assert 395 <= page.side_width() <= 405


class Paints(QObject):
    """Notes the height of what is drawn of a widget."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.heights: list[int] = []
        self._widget = widget
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QPaintEvent) and watched is self._widget:
            self.heights.append(event.region().boundingRect().height())
        return False


def test_five_thousand_files_stay_fluid(app: QApplication, frame: Frame) -> None:
    page = frame.page
    rows = [made_up.made(f"folder{n % 12}/{n:04}", 0.1, S.WAITING) for n in range(5000)]
    page.show_rows(rows)
    settle(app)
    files = page.files
    assert files.model.rowCount() == 5012
    paints = Paints(files.list.viewport())
    # Two hundred times forty files out of sight: nothing is drawn.
    shown_rows = [row for row in rows if row.path.startswith("folder0/")]
    hidden = [row for row in rows if row.path.startswith("folder9/")]
    for number in range(200):
        page.update_rows([replace(row, done=number) for row in hidden[:40]])
    settle(app)
    assert paints.heights == []
    # One in sight: its row is drawn, and nothing else.
    page.update_rows([replace(shown_rows[3], state=S.UPLOADED)])
    settle(app)
    assert paints.heights == [36]
    assert page.files.row(hidden[0].path) == replace(hidden[0], done=199)
    files.list.setCurrentIndex(files.model.index(0))
    QTest.keyClick(files.list, Key.Key_End)
    assert files.list.verticalScrollBar().value() > 5000 * 36 - 1000
    flags = QItemSelectionModel.SelectionFlag
    files.list.selectionModel().select(files.model.index(5), flags.ClearAndSelect)
    QTest.keyClick(files.list, Key.Key_A, Mod.ControlModifier)
    assert "5000 selected" in texts(files.head)
    app.removeEventFilter(paints)


def test_what_turns_needs_the_clock_only_in_sight(frame: Frame) -> None:
    page = frame.page
    page.show_rows([made_up.made("a/x", 1, S.CHECKING)])
    assert frame.motion._timer.isActive()
    frame.hide()
    assert not frame.motion._timer.isActive()
    frame.show()
    assert frame.motion._timer.isActive()
    page.update_rows([made_up.made("a/x", 1, S.SAME)])
    assert not frame.motion._timer.isActive()


def _asked(page: ModelsPage) -> None:
    made_up.plan(page)
    page.show_run(RunShown(state=SyncState.FINISHED, files_done=10, files=12, failed=2, note="Two failed."))
    select(page, FLUX, FILM)


def _narrow(page: ModelsPage) -> None:
    made_up.plan(page)
    page.open_side()


def test_everything_fits_and_has_a_name(app: QApplication, theme: Theme, frame: Frame) -> None:
    page = frame.page
    theme.style()
    for text_size in (100, 125):
        theme.use(text_size=text_size)
        for size in (FULL, SMALL):
            frame.fit(size)
            for arrange in (made_up.syncing, made_up.send, _asked, made_up.plan, _narrow):
                page.show_send(None)
                page.show_run(None)
                page.close_side()
                arrange(page)
                settle(app)
                over = size == SMALL and arrange is _narrow
                # What lies over the list by right covers what is there.
                found = faults(page.side) if over else faults(frame)
                assert found == [], (size, text_size, arrange)
    able = [each for each in shown(page) if each.focusPolicy() & Qt.FocusPolicy.TabFocus]
    assert [each for each in able if not name_of(each)] == []
    bare = [each for each in able if isinstance(each, QPushButton) and not each.text().strip()]
    assert [each for each in bare if not (each.accessibleName() and each.toolTip())] == []


def test_tab_goes_from_the_head_to_the_card_to_the_list_to_the_side(
    app: QApplication, page: ModelsPage
) -> None:
    page.show_plan(made_up.PLAN)
    select(page, FILM)
    page.files.head.search.setFocus()
    order: list[QWidget] = []
    for _ in range(40):
        focus = app.focusWidget()
        assert focus is not None
        if focus in order:
            break
        order.append(focus)
        QTest.keyClick(focus, Key.Key_Tab)
    regions = [page.files.head, page.card, page.files.columns, page.files.list, page.side]
    seen = [
        next((n for n, region in enumerate(regions) if region is each or region.isAncestorOf(each)), -1)
        for each in order
    ]
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(regions)))


@on_loop
async def test_the_window_has_the_page_and_its_progress(theme: Theme, tmp_path: Path) -> None:
    async with scene("models", theme, tmp_path) as panel:
        window, page = panel.window, panel.window.models
        said: list[str] = []
        page.rescan_wanted.connect(lambda: said.append("rescan"))
        QTest.keyClick(window, Key.Key_F5)
        assert said == ["rescan"]
        # Nothing really runs, and who was asked to look again has said so.
        await settled()
        made_up.syncing(page)
        assert window.rail._items["models"].accessibleDescription() == "41 %"
        work = window.rail._work
        assert not work.isVisible()
        QTest.keyClick(window, Key.Key_1, Mod.ControlModifier)
        assert work.isVisible()
        assert work.accessibleName() == "Syncing models 41 %"
        QTest.keyClick(window, Key.Key_F5)
        assert said == ["rescan"]
        QTest.mouseClick(work, LEFT)
        assert window.pages.currentWidget() is page
        QTest.keyClick(window, Key.Key_1, Mod.ControlModifier)
        QTest.keyClick(window, Key.Key_3, Mod.ControlModifier)
        assert window.pages.currentWidget() is page
        QTest.keyClick(window, Key.Key_1, Mod.ControlModifier)
        page.show_run(replace(made_up.RUN, state=SyncState.FINISHED))
        await settled()
        assert not work.isVisible()
        assert window.rail._items["models"].accessibleDescription() == ""
        page.show_side_width(420)
        await until(lambda: page.side_width() == 420)
