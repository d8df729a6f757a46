"""The Image page: what it shows of stages, log and manifest, what its controls want, and that it fits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QAbstractItemModelTester, QTest
from PySide6.QtWidgets import QApplication, QMenu, QPushButton, QWidget

from app.log_lines import Line
from app.ui.image import page as page_module
from app.ui.image.entries import Entry, EntryModel, Group
from app.ui.image.page import ImagePage
from app.ui.image.shown import (
    DeployQuestion,
    DeployShown,
    LayersShown,
    ManifestChange,
    ManifestShown,
    MatchQuestion,
    PushedLayer,
    PushState,
    RegistryShown,
    Stage,
    StageShown,
    StageState,
    StepShown,
    StepState,
    WorkShown,
)
from app.ui.image.views import layers_total, manifest_groups
from app.ui.image.words import deploy_text, differ_title, layer_line, took
from app.ui.models.shown import RunShown
from app.ui.theme import Theme
from app.ui.widgets.floating import Question
from app.ui.widgets.log_pane import MOST_LINES, LogPane
from tests.gui import image_made_up as made_up
from tests.gui.checks import faults, shown
from tests.gui.harness import on_loop, settle, settled, until
from tests.gui.page_frame import FULL, SMALL, PageFrame, framed, questions
from tests.gui.scenes import scene
from tests.gui.test_accessibility import name_of
from tests.gui.test_words import texts

Key, Mod, LEFT = Qt.Key, Qt.KeyboardModifier, Qt.MouseButton.LeftButton
S, AT, GB = StageState, made_up.AT, 10**9
SIGNALS = (
    "appeared", "vanished", "run_wanted", "stop_wanted", "retry_wanted", "tag_wanted", "tag_typed",
    "open_manifest_wanted", "lock_wanted", "match_wanted", "endpoint_chosen", "back_wanted", "check_wanted",
    "picture_wanted", "finding_wanted", "log_save_wanted", "worked",
)  # fmt: skip


Frame = PageFrame[ImagePage]


@pytest.fixture
def frame(app: QApplication, theme: Theme) -> Iterator[Frame]:
    with framed(app, theme, ImagePage, SIGNALS) as made:
        yield made
        made.page.log.clear_lines(Stage)
        made.page.log._typed.stop()


@pytest.fixture
def page(frame: Frame) -> ImagePage:
    """With the design's image and manifest, before a build."""
    made_up.usual(frame.page)
    _settle()
    frame.said.clear()
    return frame.page


def _settle() -> None:
    settle(QApplication.instance())  # type: ignore[arg-type]


def _wait(true: Callable[[], bool]) -> None:
    """Until something is true; a test that waits in vain fails by what it looks at next."""
    for _ in range(400):
        if true():
            return
        QTest.qWait(5)


def press(root: QWidget, text: str) -> None:
    """Click the button in sight that has this text or, without one, this name."""
    named = [each for each in shown(root) if isinstance(each, QPushButton)]
    found = [each for each in named if text in (each.text().strip(), each.accessibleName())]
    assert len(found) == 1, (text, texts(root))
    QTest.mouseClick(found[0], LEFT)


def choose(menu: QMenu, text: str) -> None:
    [action] = [each for each in menu.actions() if each.text().partition("\t")[0] == text]
    assert action.isEnabled()
    action.trigger()
    menu.deleteLater()


def items(menu: QMenu) -> list[str]:
    found = [action.text() for action in menu.actions() if action.text()]
    menu.deleteLater()
    return found


def lines(*texts: str, level: Any = "info") -> list[Line]:
    return [Line(text, level, AT) for text in texts]


def came(page: ImagePage) -> None:
    """Wait until all lines are shown that were fed."""
    _wait(lambda: not page.log._waiting)
    _settle()


def in_sight(page: ImagePage) -> dict[str, str]:
    """The logs in sight, by their names."""
    panes = [each for each in shown(page) if isinstance(each, LogPane)]
    return {pane.accessibleName(): pane.visible_text() for pane in panes}


def heads(page: ImagePage) -> list[str]:
    return [section.head.accessibleName() for section in page.log.sections.values()]


def rows(page: ImagePage) -> list[str]:
    """The panel's list as a screen reader has it."""
    model = page.side.list.model()
    index = [model.index(row, 0) for row in range(model.rowCount())]
    return [str(each.data(Qt.ItemDataRole.AccessibleTextRole)) for each in index]


def row_key(page: ImagePage, row: int, key: Qt.Key) -> None:
    page.side.list.setFocus()
    page.side.list.setCurrentIndex(page.side.list.model().index(row, 0))
    QTest.keyClick(page.side.list, key)


# Words.


def test_times_and_sentences() -> None:
    assert [took(s) for s in (None, 0.04, 4.2, 9.97, 48, 185, 372, 3720)] == [
        "", "0.0 s", "4.2 s", "10 s", "48 s", "3 min 05 s", "6 min 12 s", "1 h 02 min"
    ]  # fmt: skip
    assert differ_title(1) == "1 node differs from this computer"
    asked = DeployQuestion("comfy-flux-prod", "version 7", 1)
    assert deploy_text(asked) == "1 job is running and finishes on the old image. New jobs use version 7."
    assert deploy_text(replace(asked, running=2)).startswith("2 jobs are running and finish on the old")
    assert deploy_text(replace(asked, running=0, note="It scales down first.")) == (
        "New jobs use version 7. It scales down first."
    )
    assert layers_total(made_up.IMAGE_LAYERS) == "5.3 GB in 3 layers"
    assert layers_total(LayersShown()) == ""


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(PushState), st.integers(0, 10**13), st.integers(0, 10**13), st.text(max_size=20))
def test_a_layer_is_one_line_whose_bar_has_one_width(
    state: PushState, done: int, total: int, note: str
) -> None:
    line = layer_line(PushedLayer("3f1c8a0b9e21", state, done, total, note))
    assert line
    if state is PushState.PUSHING and total:
        bar = line.partition("[")[2].partition("]")[0]
        assert len(bar) == 24
        assert set(bar) <= {"=", ">", " "}


# The head.


def test_the_button_runs_all_and_its_menu_one(frame: Frame, page: ImagePage) -> None:
    press(page, "Build")
    choose(page.head.more_menu(), "Push only")
    menu = page.head.more_menu()
    choose(menu, "No cache")
    QTest.keyClick(page, Key.Key_B, Mod.ControlModifier)
    assert frame.said == [
        ("run_wanted", tuple(Stage), False),
        ("run_wanted", (Stage.PUSH,), False),
        ("run_wanted", tuple(Stage), True),
    ]


def test_while_it_works_it_can_be_stopped_once(frame: Frame, page: ImagePage) -> None:
    page.show_work(WorkShown("running"))
    assert "Build" not in texts(page.head)
    press(page, "Stop")
    page.show_work(WorkShown("stopping"))
    press(page, "Stop")
    QTest.keyClick(page, Key.Key_B, Mod.ControlModifier)
    assert frame.said == [("stop_wanted",)]
    assert page.head.stop.toolTip() == "It ends what it has begun."


def test_what_cannot_be_run_says_why(frame: Frame, page: ImagePage) -> None:
    page.show_work(WorkShown(can_run=frozenset({Stage.PUSH}), why_not="Docker is not running."))
    QTest.keyClick(page, Key.Key_B, Mod.ControlModifier)
    press(page, "Build")
    assert frame.said == []
    assert page.head.build.toolTip() == "Docker is not running."
    menu = page.head.more_menu()
    able = [action.text() for action in menu.actions() if action.text() and action.isEnabled()]
    assert able == ["Push only", "No cache"]
    menu.deleteLater()


def test_a_tag_is_chosen_from_proposals_and_builds(frame: Frame, page: ImagePage) -> None:
    assert page.head.tag.text().strip() == "v7 · flux + wan"
    assert items(page.head.tag.menu_of_tags()) == [
        "2026-10-14-3f9c1a\tDate and manifest", "latest\tCannot be deployed", "Built before",
        "2026-10-12-71e4c0\t12 Oct", "Other…",
    ]  # fmt: skip
    choose(page.head.tag.menu_of_tags(), "2026-10-12-71e4c0")
    assert frame.said == [("tag_wanted", "2026-10-12-71e4c0")]


def test_another_tag_is_typed_and_what_is_wrong_is_said_beneath(frame: Frame, page: ImagePage) -> None:
    choose(page.head.tag.menu_of_tags(), "Other…")
    form = page.head.tag.form
    assert form is not None
    assert form.field.selectedText() == made_up.IMAGE.tag
    form.field.setText("v 8")
    page.show_tag_problem("A tag has no spaces.")
    assert "A tag has no spaces." in texts(form)
    QTest.keyClick(form.field, Key.Key_Return)
    form.field.setText("v8")
    page.show_tag_problem("")
    assert "A tag has no spaces." not in texts(form)
    QTest.keyClick(form.field, Key.Key_Return)
    assert frame.said == [("tag_typed", "v 8"), ("tag_typed", "v8"), ("tag_wanted", "v8")]
    assert form.isVisible()
    page.show_image(replace(made_up.IMAGE, tag="v8", label=""))
    _settle()
    assert page.head.tag.form is None
    assert page.head.tag.text().strip() == "v8"


def test_the_manifest_is_opened_matched_and_locked(frame: Frame, page: ImagePage) -> None:
    for text in ("Open the file", "Match this computer…", "Lock versions"):
        choose(page.head.manifest_menu(), text)
    assert frame.said == [("open_manifest_wanted",), ("match_wanted", False), ("lock_wanted",)]


def test_who_is_not_signed_in_can_copy_how(page: ImagePage) -> None:
    assert not page.sign_in.isVisible()
    assert heads(page)[2] == "Push, to come, Signed in as marta"
    page.show_registry(RegistryShown(login="docker login ghcr.io"))
    press(page, "Copy the command that signs in")
    assert QApplication.clipboard().text() == "docker login ghcr.io"
    assert heads(page)[2] == "Push, to come, Not signed in"


# Stages.


def test_stages_are_said_in_one_sentence_each(page: ImagePage) -> None:
    page.show_stages(made_up.STAGES)
    assert [card.accessibleName() for card in page.pipeline.cards.values()] == [
        "Build, done, 9 of 9 layers, 6 min 12 s", "Test, done, 1 workflow passed, 48 s",
        "Push, running, 4.4 of 7.1 GB, 62 percent, 3 min 05 s", "Deploy, to come, To comfy-flux-prod",
    ]  # fmt: skip
    assert heads(page) == [
        "Build, done, 9 layers, 5 from cache, 6 min 12 s", "Test, done, 1 workflow, 1 image, 9.1 s, 48 s",
        "Push, running, 6 of 9 layers, 3 min 05 s", "Deploy, to come, waits for push",
    ]  # fmt: skip


def test_the_stage_that_runs_is_open_and_folds_when_it_is_done(page: ImagePage) -> None:
    opened = []
    for state in (S.RUNNING, S.DONE):
        page.show_stages([StageShown(Stage.BUILD, state)])
        opened.append(page.log.opened)
    page.show_stages([StageShown(Stage.TEST, S.RUNNING)])
    opened.append(page.log.opened)
    assert opened == [Stage.BUILD, None, Stage.TEST]


def test_what_the_user_opened_stays_open(page: ImagePage) -> None:
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING)])
    QTest.mouseClick(page.pipeline.cards[Stage.DEPLOY], LEFT)
    page.show_stages([StageShown(Stage.BUILD, S.DONE), StageShown(Stage.TEST, S.RUNNING)])
    assert page.log.opened is Stage.DEPLOY
    QTest.mouseClick(page.log.deploy.head, LEFT)
    assert page.log.opened is None
    page.show_stages([StageShown(Stage.TEST, S.FAILED)])
    assert page.log.opened is Stage.TEST
    page.clear_log()
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING)])
    assert page.log.opened is Stage.BUILD


def test_a_failure_shows_its_first_error_and_what_helps(frame: Frame, page: ImagePage) -> None:
    page.show_stages([StageShown(Stage.PUSH, S.RUNNING)])
    page.feed(Stage.PUSH, lines(*(f"line {number}" for number in range(200))))
    page.feed(Stage.PUSH, lines("denied: no right to push", level="error"))
    page.feed(Stage.PUSH, lines(*(f"more {number}" for number in range(200))))
    page.show_stages([StageShown(Stage.PUSH, S.FAILED)])
    page.show_failure(replace(made_up.FAILURE, stage=Stage.PUSH, title="Registry refused the push"))
    _settle()
    pane = page.log.push.pane
    first = pane.firstVisibleBlock().blockNumber()
    seen = [pane.document().findBlockByNumber(first + n).text() for n in range(pane.height() // 20)]
    assert any("denied: no right to push" in text for text in seen)
    assert "Registry refused the push" in texts(page)
    press(page, "Copy the log of this stage")
    assert QApplication.clipboard().text().splitlines()[200].endswith("denied: no right to push")
    press(page, "Retry from here")
    assert frame.said[-1] == ("retry_wanted", Stage.PUSH)
    page.show_failure(None)
    assert "Registry refused the push" not in texts(page)


def test_a_bar_never_goes_back_while_its_stage_runs(page: ImagePage) -> None:
    card = page.pipeline.cards[Stage.PUSH]
    drawn = []
    for part in (0.6, 0.4, None, 0.7):
        page.show_stages([StageShown(Stage.PUSH, S.RUNNING, part=part)])
        drawn.append(card._part)
    page.show_stages([StageShown(Stage.PUSH, S.TO_COME)])
    assert [*drawn, card._part] == [0.6, 0.6, None, 0.7, 0.0]


def test_the_rail_is_told_of_what_runs(frame: Frame, page: ImagePage) -> None:
    page.show_stages(made_up.STAGES)
    page.show_stages(made_up.STAGES)
    page.show_stages([StageShown(Stage.PUSH, S.DONE), StageShown(Stage.DEPLOY, S.RUNNING, part=None)])
    page.show_stages([StageShown(Stage.DEPLOY, S.CANCELLED)])
    assert frame.said == [("worked", "Pushing image", "62 %"), ("worked", "Deploying image", ""),
                          ("worked", "", "")]  # fmt: skip


def test_ends_are_announced(page: ImagePage, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, bool]] = []
    monkeypatch.setattr(
        page_module, "announce", lambda _, text, *, urgent: said.append((text, urgent))
    )  # fmt: skip
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING, part=0.2)])
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING, part=0.4)])
    page.show_stages([StageShown(Stage.BUILD, S.DONE, "9 of 9 layers")])
    page.show_failure(made_up.FAILURE)
    assert said[0] == ("Build, done, 9 of 9 layers", False)
    assert said[1][0].startswith("A package cannot be built. nunchaku")
    assert [urgent for _, urgent in said] == [False, True]


# The log.


def test_steps_have_logs_of_their_own_that_fold(page: ImagePage) -> None:
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING)])
    first, second = StepShown("a", "RUN one", StepState.RUNNING), StepShown("b", "RUN two")
    page.show_steps([first, second])
    page.feed(Stage.BUILD, lines("from one"), "a")
    page.feed(Stage.BUILD, lines("from two"), "b")
    page.feed(Stage.BUILD, lines("from nobody"))
    came(page)
    assert in_sight(page) == {"Log of RUN one": "14:20:02  from one"}
    page.show_steps([replace(first, state=StepState.CACHED, took_s=0.0)])
    page.show_steps([replace(second, state=StepState.FAILED, took_s=31)])
    _settle()
    assert in_sight(page) == {"Log of RUN two": "14:20:02  from two"}
    steps = page.log.build.steps.steps
    assert [step.head.accessibleName() for step in steps.values()] == [
        "RUN one, cached, Cached  ·  0.0 s", "RUN two, failed, 31 s", "Other output, done"
    ]  # fmt: skip
    QTest.mouseClick(steps["a"].head, LEFT)
    assert set(in_sight(page)) == {"Log of RUN one", "Log of RUN two"}
    page.show_steps([replace(first, state=StepState.DONE)])
    assert "Log of RUN one" in in_sight(page)
    page.clear_log([Stage.TEST])
    assert len(page.log.build.steps.steps) == 3
    page.clear_log()
    assert not page.log.build.steps.steps


def test_the_step_that_failed_is_in_sight(frame: Frame, page: ImagePage) -> None:
    frame.fit(SMALL)
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING)])
    steps = [StepShown(str(number), f"RUN {number}", StepState.DONE) for number in range(30)]
    page.show_steps(steps)
    page.feed(Stage.BUILD, lines(*map(str, range(40))), "12")
    page.feed(Stage.BUILD, lines("error: no compiler", level="error"), "12")
    page.show_steps([replace(steps[12], state=StepState.FAILED)])
    page.show_stages([StageShown(Stage.BUILD, S.FAILED)])
    came(page)
    pane = page.log.build.steps.steps["12"].pane
    area = page.log.build.steps
    bottom = pane.mapTo(area, pane.cursorRect().bottomLeft()).y()
    assert 0 < bottom <= area.height()
    assert pane.textCursor().block().text().endswith("no compiler")


def test_layers_of_a_push_change_in_place_and_in_colour(page: ImagePage) -> None:
    page.show_stages(made_up.STAGES)
    page.feed(Stage.PUSH, made_up.PUSH_LINES)
    page.show_pushed(made_up.LAYERS)
    came(page)
    before = in_sight(page)["Log of Push"].splitlines()
    assert before[7] == "14:21:02  c80f2b6d93e1  Pushed                1.1 GB"
    assert before[9] == ("14:23:09  e2d71c903ab8  Pushing  [==============>         ]  1.5 GB / 2.4 GB")
    page.show_pushed([replace(made_up.LAYERS[6], state=PushState.PUSHED, total=2400 * 10**6)])
    page.show_pushed(made_up.LAYERS[:6])
    came(page)
    after = in_sight(page)["Log of Push"].splitlines()
    assert after[9] == "14:23:09  e2d71c903ab8  Pushed                2.4 GB"
    assert [*after[:9], *after[10:]] == [*before[:9], *before[10:]]
    roles = [kept.role for kept in page.log.push.pane._lines]
    assert roles[6:10] == ["green", "green", "amber", "green"]


def test_a_search_goes_through_all_parts(page: ImagePage) -> None:
    page.show_steps([StepShown("a", "RUN one", StepState.DONE), StepShown("b", "RUN two", StepState.DONE)])
    page.feed(Stage.BUILD, lines("torch 2.8", "uv", "torch again"), "b")
    page.feed(Stage.PUSH, lines("pushed torch"))
    came(page)
    page.open_search()
    QTest.keyClicks(page.log.search, "TORCH")
    QTest.keyClick(page.log.search, Key.Key_Return)
    counts = [page.log._count.text()]
    seen = [set(in_sight(page))]
    for mod in (Mod.NoModifier, Mod.NoModifier, Mod.NoModifier, Mod.ShiftModifier):
        QTest.keyClick(page.log.search, Key.Key_Return, mod)
        counts.append(page.log._count.text())
        seen.append(set(in_sight(page)))
    assert counts == ["1 of 3", "2 of 3", "3 of 3", "1 of 3", "3 of 3"]
    two, push = {"Log of RUN two"}, {"Log of Push"}
    assert seen == [two, two, push, two, push]
    page.feed(Stage.PUSH, lines("torch is there"))
    page.feed(Stage.BUILD, lines("torch from nobody"))
    came(page)
    assert page.log._count.text() == "4 of 5"
    page.log.search.setText("nothing like this")
    _wait(lambda: page.log._count.text() == "No match")
    assert page.log._count.text() == "No match"
    page.escape()
    assert not page.log._count.isVisible()


def test_the_log_is_copied_saved_and_wrapped(frame: Frame, page: ImagePage) -> None:
    page.show_steps([StepShown("a", "RUN one", StepState.DONE)])
    page.feed(Stage.BUILD, lines("from one"), "a")
    page.feed(Stage.PUSH, lines("x" * 400))
    came(page)
    page.log.open_stage(Stage.BUILD)
    press(page, "Copy the open part")
    assert QApplication.clipboard().text() == "RUN one\n14:20:02  from one"
    press(page, "Save the log…")
    [(name, text)] = frame.said
    assert name == "log_save_wanted"
    assert text == f"Build\nRUN one\n14:20:02  from one\n\nPush\n14:20:02  {'x' * 400}"
    page.log.open_stage(Stage.PUSH)
    _settle()
    pane = page.log.push.pane
    assert pane.horizontalScrollBar().maximum() > 0
    press(page, "Wrap long lines")
    _settle()
    assert pane.horizontalScrollBar().maximum() == 0


def test_a_flood_comes_in_pieces_and_only_the_newest_are_kept(page: ImagePage) -> None:
    pane, written = page.log.push.pane, list[int]()
    pane.document().contentsChange.connect(
        lambda at, gone, come: written.append(pane.document().blockCount())
    )  # fmt: skip
    page.feed(Stage.PUSH, lines(*map(str, range(MOST_LINES + 1_200))))
    came_at_once: list[int] = []
    pane.counted.connect(lambda: came_at_once.append(pane.line_count()))
    page.log._flush_all()
    steps = [after - before for before, after in zip([0, *came_at_once], came_at_once, strict=False)]
    assert max(steps) <= 500
    assert pane.line_count() == MOST_LINES
    assert pane.visible_text().splitlines()[0].endswith("  1200")


# Test and deployment.


def test_the_test_shows_its_picture_and_leads_to_the_report(frame: Frame, page: ImagePage) -> None:
    page.show_result(made_up.result())
    page.log.open_stage(Stage.TEST)
    _settle()
    said = texts(page.log)
    assert "1 workflow, 1 image, 9.1 s" in said
    assert "5 of 7 nodes are the same, 2 are not" in said
    assert "Tested without GPU" in [each.accessibleName() for each in shown(page.log)]
    thumbs = [each for each in page.log.test.result.thumbs if each.isVisible()]
    assert [each.accessibleName() for each in thumbs] == ["photo.png, made by the test"]
    QTest.mouseClick(thumbs[0], LEFT)
    assert frame.said[-1] == ("picture_wanted", "/out/photo.png")
    press(page, "Show the report")
    assert page.side.view == "parity"
    assert rows(page)[1] == "ComfyUI-WanVideoWrapper, a91f20c · local d04be77, differs"
    page.show_result(None)
    assert "1 workflow, 1 image, 9.1 s" not in texts(page.log)


def test_a_picture_that_is_none_has_a_blank_tile(page: ImagePage) -> None:
    [picture] = made_up.result().pictures
    page.show_result(replace(made_up.result(), pictures=(replace(picture, thumbnail=b"no picture"),) * 9))
    page.log.open_stage(Stage.TEST)
    _settle()
    page.grab()
    assert sum(thumb.isVisible() for thumb in page.log.test.result.thumbs) == 4


def test_where_to_deploy_is_chosen_and_refusals_are_said(frame: Frame, page: ImagePage) -> None:
    page.log.open_stage(Stage.DEPLOY)
    choice = page.log.deploy.strip.endpoint
    assert choice.currentText() == "comfy-flux-prod"
    choice.setFocus()
    QTest.keyClick(choice, Key.Key_Down)
    assert frame.said == [("endpoint_chosen", "e2")]
    refusal = "latest cannot be deployed: workers would not know that it has changed."
    page.show_deploy(DeployShown(made_up.ENDPOINTS, "e1", refusal))
    assert refusal in texts(page)
    page.show_deploy(DeployShown())
    assert "There is no endpoint in the account." in texts(page)


def test_there_is_a_way_back_to_the_version_before(frame: Frame, page: ImagePage) -> None:
    assert "Go back to version 6" not in texts(page)
    live = "1 of 3 workers on version 7"
    page.show_deploy(DeployShown(made_up.ENDPOINTS, "e1", live=live, back="version 6"))
    assert live in texts(page)
    press(page, "Go back to version 6")
    press_view(page, "history")
    assert rows(page)[0] == ("Deployed 2026-10-14-3f9c1a, today 14:27 · comfy-flux-prod · version 7, live")
    press(page.side, "Go back to version 6")
    assert frame.said == [("back_wanted",)] * 2
    page.show_deploy(DeployShown(made_up.ENDPOINTS, "e1", live=live))
    assert "Go back to version 6" not in texts(page)


# The panel.


def press_view(page: ImagePage, view: Any) -> None:
    choose(page.side.views_menu(), {"history": "History", "findings": "Findings", "layers": "Layers"}[view])
    _settle()


def test_the_manifest_is_compared_in_words(frame: Frame, page: ImagePage) -> None:
    assert rows(page) == [
        "ComfyUI, 0.3.64, same", "Python · CUDA · torch, 3.12 · 12.8 · 2.8.0, same",
        "Custom nodes, 23 pinned", "ComfyUI-Impact-Pack, 8.22.1 · 3c1d7e0, same",
        "ComfyUI-WanVideoWrapper, a91f20c · local d04be77, differs",
        "comfyui_controlnet_aux, 1.1.2 · 83463c2, same",
        "rgthree-comfy, 1.0.2510 · local only, not in image", "ComfyUI-KJNodes, 1.1.7 · 62a862d, same",
        "ComfyUI-VideoHelperSuite, 1.7.5 · 08e8df1, same", "comfy-runpod-worker, 1.0.0 · bundled, image only",
        "System packages, 1, folded", "Python packages, 2, 1 differs, folded",
    ]  # fmt: skip
    assert "2 nodes differ from this computer" in texts(page.side)
    press(page, "Match local and rebuild")
    assert frame.said == [("match_wanted", True)]
    page.show_manifest(replace(made_up.MANIFEST, can_match=False, why_not="A build is under way."))
    press(page, "Match local and rebuild")
    assert len(frame.said) == 1
    page.show_manifest(replace(made_up.MANIFEST, differ=0, note="The lock is older than the manifest."))
    assert "Match local and rebuild" not in texts(page)
    assert "The lock is older than the manifest." in texts(page.side)


def test_groups_fold_with_keys_and_rows_are_copied(page: ImagePage) -> None:
    last = len(rows(page)) - 1
    row_key(page, last, Key.Key_Right)
    assert rows(page)[last:] == [
        "Python packages, 2, 1 differs, open", "nunchaku, 1.0.1, same", "xformers, 0.0.32, differs"
    ]  # fmt: skip
    row_key(page, last, Key.Key_Right)
    assert len(rows(page)) == last + 3
    page.side.list.setCurrentIndex(page.side.list.model().index(last + 1, 0))
    QTest.keyClick(page.side.list, Key.Key_C, Mod.ControlModifier)
    assert QApplication.clipboard().text() == "nunchaku, 1.0.1, same"
    page.show_manifest(replace(made_up.MANIFEST, base=made_up.MANIFEST.base[:1]))
    assert "xformers, 0.0.32, differs" in rows(page)
    row_key(page, last - 1, Key.Key_Left)
    assert len(rows(page)) == last


def test_the_other_views_say_what_they_hold(frame: Frame, page: ImagePage) -> None:
    assert items(page.side.views_menu()) == [
        "Manifest\tcompared with local", "Parity\t3 nodes not the same", "Findings\t3 found",
        "Layers\t5.3 GB in 3 layers", "History",
    ]  # fmt: skip
    press_view(page, "findings")
    assert rows(page) == [
        "Secrets in the build's files, 1", "docker/id_ed25519, a private key, refused", "High, 1",
        "pillow 11.0.0, CVE-2026-1001 · fixed in 11.2.1 · ComfyUI's lock, high", "Low, 1",
        "openssl 3.0.15, CVE-2025-2002 · no fix yet · image, low",
    ]  # fmt: skip
    assert "Image not scanned: neither trivy nor grype is installed." in texts(page.side)
    row_key(page, 3, Key.Key_Return)
    row_key(page, 5, Key.Key_Return)
    assert frame.said == [("finding_wanted", "https://osv.example/CVE-2026-1001")]
    press_view(page, "layers")
    assert rows(page) == [
        "RUN uv sync --frozen, 4.9 GB, folded", "RUN apt-get install ffmpeg git, 420 MB, folded",
        "COPY worker /opt/worker, 1.0 MB",
    ]  # fmt: skip
    row_key(page, 0, Key.Key_Space)
    assert rows(page)[1:3] == ["torch, 1.6 GB", "nvidia-cublas, 900 MB"]


def test_a_view_without_anything_says_what_will_be_there(page: ImagePage) -> None:
    page.show_manifest(None)
    assert "There is no manifest yet. Match this computer to write one." in texts(page.side)
    page.show_history(())
    press_view(page, "history")
    assert "Builds and deployments are listed here." in texts(page.side)


def test_rows_come_and_go_as_a_model_must(app: QApplication) -> None:
    model = EntryModel()
    tester = QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)
    for manifest in (made_up.MANIFEST, ManifestShown(), made_up.MANIFEST):
        model.show_groups(manifest_groups(manifest))
    told: list[int] = []
    model.dataChanged.connect(lambda first, last: told.append(last.row()))
    model.show_groups(manifest_groups(replace(made_up.MANIFEST, base=made_up.MANIFEST.base[::-1])))
    model.show_groups([Group("One", (Entry("a"),), folds=True), Group("One", (Entry("b"),), folds=True)])
    assert model.toggle(1)
    assert [model.data(model.index(row)) for row in range(3)] == ["One", "One", "b"]
    assert told == [11]
    tester.deleteLater()


# Questions and states of the whole page.


@on_loop
async def test_what_goes_live_or_changes_is_asked_first(app: QApplication, theme: Theme) -> None:
    made = PageFrame(theme, ImagePage, SIGNALS)
    made.show()

    async def asked() -> Question:
        return (await until(questions))[0]

    deploy = asyncio.create_task(made.page.ask_deploy(DeployQuestion("comfy-flux-prod", "version 7", 1)))
    question = await asked()
    assert texts(question)[:2] == [
        "Deploy to comfy-flux-prod?",
        "1 job is running and finishes on the old image. New jobs use version 7.",
    ]
    assert question.safe_button.isDefault()
    QTest.keyClick(question, Key.Key_Escape)
    assert await deploy is False
    changes = (
        ManifestChange("ComfyUI-WanVideoWrapper", "a91f20c", "d04be77"),
        ManifestChange("rgthree-comfy", "", "1.0"),
        ManifestChange("old", "2"),
    )
    await until(lambda: not questions())
    match = asyncio.create_task(made.page.ask_match(MatchQuestion(changes, rebuild=True)))
    question = await asked()
    said = texts(question)
    assert said[:2] == ["Match the manifest to this computer?", "3 entries of the manifest change."]
    assert {"a91f20c → d04be77", "new, 1.0", "2, goes away"} <= set(said)
    assert faults(question) == []
    press(question, "Match and rebuild")
    assert await match is True
    made.close()
    made.deleteLater()


def test_without_docker_the_page_says_so_and_checks_again(frame: Frame, page: ImagePage) -> None:
    made_up.no_docker(page)
    _settle()
    assert {"Docker is not running", "Start Docker, then this page checks again by itself."} <= set(
        texts(page)
    )
    assert not page.log.isVisible()
    press(page, "Check again")
    page.look_again()
    page.show_empty("No manifest yet", "It is taken from the ComfyUI here.", "Match this computer…", "match")
    press(page, "Match this computer…")
    assert frame.said == [("check_wanted",), ("check_wanted",), ("match_wanted", False)]
    page.show_empty("")
    assert page.log.isVisible()


def test_in_a_narrow_window_the_panel_lies_over_the_page(frame: Frame, page: ImagePage) -> None:
    assert page.side.isVisible()
    assert not page.head.side.isVisible()
    frame.fit(SMALL)
    _settle()
    assert not page.side.isVisible()
    assert page.right_edge() == 0
    press(page, "Manifest and details")
    assert page.side.mapTo(page, QPoint(page.side.width(), 0)).x() == page.width()
    page.escape()
    assert not page.side.isVisible()


ARRANGED = (made_up.pushing, made_up.failed, made_up.done, made_up.ready, made_up.no_docker)


@pytest.mark.parametrize("size", [pytest.param(FULL, marks=pytest.mark.long), SMALL], ids=str)
def test_everything_fits_and_has_a_name(frame: Frame, theme: Theme, size: tuple[int, int]) -> None:
    theme.style()
    page = frame.page
    frame.fit(size)
    for text_size in (125, 100):
        theme.use(text_size=text_size)
        for arrange in ARRANGED:
            page.show_failure(None)
            page.clear_log()
            arrange(page)
            page.show_view("findings" if arrange is made_up.ready else page.side.view)
            came(page)
            assert faults(frame) == [], (arrange.__name__, text_size)
            able = [w for w in shown(page) if w.focusPolicy() & Qt.FocusPolicy.TabFocus]
            assert [w for w in able if not name_of(w)] == []


def test_long_names_keep_the_layout(frame: Frame, theme: Theme) -> None:
    theme.style()
    page, long = frame.page, "a-very-long-name-" * 8
    page.show_image(replace(made_up.IMAGE, name=f"registry.example/{long}", label=long))
    page.show_manifest(
        replace(made_up.MANIFEST, nodes=(replace(made_up.MANIFEST.nodes[0], name=long, detail=long),))
    )
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING, long, long, 360_000, 0.5)])
    page.show_steps([StepShown("a", f"RUN {long} " * 9, StepState.RUNNING, 1.0, long)])
    page.show_failure(replace(made_up.FAILURE, title=long, text=long * 4, place=long))
    page.show_deploy(DeployShown(made_up.ENDPOINTS, "e1", long, live=long * 3, back="version 6"))
    page.show_registry(RegistryShown(login=f"docker login {long}"))
    page.log.open_stage(Stage.DEPLOY)
    for size in (FULL, SMALL):
        frame.fit(size)
        _settle()
        assert faults(frame) == []


# In the window.


@on_loop
async def test_the_window_opens_it_and_shows_its_work_elsewhere(theme: Theme, tmp_path: Path) -> None:
    async with scene("image", theme, tmp_path) as panel:
        window, page = panel.window, panel.window.image
        work, wanted = window.rail._work, list[Any]()
        page.run_wanted.connect(lambda stages, no_cache: wanted.append(stages))
        assert window.rail._items["image"].accessibleDescription() == "62 %"
        assert not work.isVisible()
        QTest.keyClick(window, Key.Key_1, Mod.ControlModifier)
        assert work.isVisible()
        assert work.accessibleName() == "Pushing image 62 %"
        # Two pages at work: the one that is not in sight.
        window.models.show_run(RunShown("Syncing", 41, 100, 4, 12))
        assert work.accessibleName() == "Syncing models 41 %"
        QTest.keyClick(window, Key.Key_3, Mod.ControlModifier)
        assert work.accessibleName() == "Pushing image 62 %"
        QTest.mouseClick(work, LEFT)
        assert window.pages.currentWidget() is page
        assert work.accessibleName() == "Syncing models 41 %"
        window.models.show_run(None)
        assert not work.isVisible()
        page.show_stages([StageShown(Stage.PUSH, S.DONE)])
        assert window.rail._items["image"].accessibleDescription() == ""
        page.show_work(WorkShown())
        QTest.keyClick(window, Key.Key_1, Mod.ControlModifier)
        QTest.keyClick(window, Key.Key_B, Mod.ControlModifier)
        QTest.keyClick(window, Key.Key_4, Mod.ControlModifier)
        assert window.pages.currentWidget() is page
        QTest.keyClick(window, Key.Key_B, Mod.ControlModifier)
        assert wanted == [tuple(Stage)]
        asked = list[bool]()
        page.check_wanted.connect(lambda: asked.append(True))
        QTest.keyClick(window, Key.Key_F5)
        assert asked
        page.show_side_width(400)
        await settled()
        assert page.side.width() == 400
