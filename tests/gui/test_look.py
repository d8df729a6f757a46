"""How everything looks, by the design: its colour table, its contrasts, its type scale, and what is drawn."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QFont, QFontDatabase, QFontInfo
from PySide6.QtWidgets import QApplication, QFrame, QWidget

from app.jobs.words import LOST_CONTACT, PILLS
from app.panel import Panel
from app.ui.queue.delegate import Columns
from app.ui.theme import Theme
from app.ui.theme.fonts import make_font
from app.ui.theme.theme import filled
from app.ui.theme.tokens import DARK, LIGHT, TYPE, Colours
from app.ui.widgets.basics import Button, Text
from tests.gui.checks import shown, too_small
from tests.gui.harness import drag, files, on_loop, settled
from tests.gui.scenes import scene

ROOT = Path(__file__).parents[2]
#: The design's table: role, dark, light.
TOKENS = """
    bg0 0F1013 F2F3F5, bg1 15171A FAFBFC, bg2 1B1E22 FFFFFF, bg3 24282E EFF0F3, bg4 2E333B E3E5EA,
    line 262A30 E3E5E9, line2 3A404A CDD1D8, ctl 686F7C 838B97, text ECEEF1 181B20, text2 AEB5C0 48505C,
    text3 8B93A0 626B78, accent 6459E6 5148D6, accentHover 6A60E9 463DC6, accentText A9A3FF 473EC8,
    accentSoft 262447 E9E8FC, onAccent FFFFFF FFFFFF, sel 22233A EEEEFC, ring 8F88FF 5148D6,
    blue 74B0FF 155FBF, blueSoft 172A44 E1EDFC, blueBar 4C94F5 2F7FE8, green 57CC99 126A43,
    greenSoft 142B21 DCF3E7, greenBar 2FA56F 23945F, amber F2BC5A 7F5200, amberSoft 33280F FBEED0,
    amberBar D9982B B07208, red FF8A80 B92A26, redSoft 381C1D FDE7E5, redBar E5534B D9433C,
    grey AEB5C0 48505C, greySoft 2A2E35 E9EBEF, violet BBA4FF 6438C2, violetSoft 2A2142 EFE8FC,
    teal 5AD3C6 0A6A61, tealSoft 11312F DAF2EF, track 2C3138 E3E5EA, console 101215 FCFCFD,
    danger C93B36 B92A26, transfer 8B6BFF 8B6BFF, scrim 0A0B0E 0A0B0E
"""
#: What it measured: colour/ground, in dark, in light, and what is needed.
CONTRAST = """
    text/bg1 15.4 16.7 4.5, text/bg2 14.4 17.3 4.5, text2/bg1 8.7 7.9 4.5, text2/bg2 8.1 8.1 4.5,
    text2/bg4 6.2 6.5 4.5, text3/bg0 6.1 4.9 4.5, text3/bg1 5.8 5.2 4.5, text3/bg2 5.4 5.4 4.5,
    text3/bg3 4.8 4.7 4.5, text3/sel 4.9 4.7 4.5, onAccent/accent 5.1 6.5 4.5,
    onAccent/accentHover 4.7 7.7 4.5, accentText/bg1 8.0 7.3 4.5, accentText/accentSoft 6.6 6.2 4.5,
    blue/blueSoft 6.5 5.2 4.5, green/greenSoft 7.5 5.7 4.5, amber/amberSoft 8.3 5.9 4.5,
    red/redSoft 6.8 5.2 4.5, red/sel 6.7 5.3 4.5, grey/greySoft 6.6 6.8 4.5, violet/violetSoft 7.1 6.1 4.5,
    teal/tealSoft 7.7 5.5 4.5, text2/redSoft 7.5 6.9 4.5, text2/amberSoft 7.0 7.1 4.5, ring/bg0 6.5 5.8 3.0,
    ring/bg1 6.1 6.2 3.0, ring/bg2 5.7 6.5 3.0, ctl/bg1 3.6 3.3 3.0, ctl/bg2 3.3 3.4 3.0,
    blueBar/track 4.3 3.1 3.0, greenBar/track 4.2 3.0 3.0, amberBar/track 5.3 3.2 3.0,
    redBar/track 3.5 3.5 3.0
"""
#: Use, size and weight.
SCALE = {
    "hero": (28, 600), "title": (18, 600), "dialog": (16, 600), "section": (14, 600), "strong": (13, 600),
    "row": (13, 500), "body": (13, 400), "pill": (12, 500), "caption": (12, 400), "caption_strong": (12, 600),
    "mono": (12, 400),
}  # fmt: skip
#: Roles that are no colours of their own: each scheme takes them from another level.
_TAKEN = {"rail_on", "control"}
Points = dict[str, tuple[QPoint, str]]


def role(name: str) -> str:
    """A role's name in the code: ``accentText`` is ``accent_text``."""
    return re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)


def table(text: str) -> list[list[str]]:
    return [entry.split() for entry in text.replace("\n", " ").split(",")]


def contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_colours_are_those_of_the_design() -> None:
    rows = table(TOKENS)
    for name, dark, light in rows:
        see_through = "CC" if name == "scrim" else ""
        assert getattr(DARK, role(name)) == f"#{see_through}{dark}", name
        assert getattr(LIGHT, role(name)) == f"#{see_through}{light}", name
    assert {role(name) for name, _, _ in rows} == set(DARK.roles()) - _TAKEN


@pytest.mark.parametrize("entry", table(CONTRAST), ids=lambda entry: entry[0])
def test_every_pair_has_the_contrast_that_was_measured(entry: list[str]) -> None:
    pair, *figures, needed = entry
    fore, ground = map(role, pair.split("/"))
    for colours, measured in zip((DARK, LIGHT), map(float, figures), strict=True):
        found = contrast(getattr(colours, fore), getattr(colours, ground))
        assert found == pytest.approx(measured, abs=0.06)
        assert round(found, 1) >= float(needed)


def test_high_contrast_lifts_borders_and_captions(theme: Theme) -> None:
    class Hints:
        def contrastPreference(self) -> str:
            return "ContrastPreference.HighContrast"

    theme._hints = Hints()  # type: ignore[assignment]
    theme.use(appearance="light")
    assert (theme.colours.line2, theme.colours.text3) == (LIGHT.ctl, LIGHT.text2)


def test_the_type_scale_is_that_of_the_design(theme: Theme) -> None:
    assert TYPE == SCALE
    for kind, (size, weight) in SCALE.items():
        font = make_font(kind)
        assert (font.pixelSize(), font.weight()) == (size, weight)
        assert font.hintingPreference() is QFont.HintingPreference.PreferNoHinting
        assert font.family() == ("JetBrains Mono" if kind == "mono" else "Inter")
        assert QFontInfo(font).family() == font.family()
        if kind != "mono":
            assert font.featureValue(QFont.Tag("tnum")) == 1
    assert {"Inter", "JetBrains Mono"} <= set(QFontDatabase.families())
    assert make_font("body", 1.25).pixelSize() == 16


@pytest.mark.long
@on_loop
async def test_texts_have_the_size_of_their_use(theme: Theme, tmp_path: Path) -> None:
    async with scene("welcome", theme, tmp_path / "1") as panel:
        assert _font(panel.window.welcome.title) == (28, 600)
        assert "Try the demo engine" in {t.text() for t in _texts(panel.window) if _font(t) == (16, 600)}
        assert too_small(panel.window) == []
    async with scene("queue_error", theme, tmp_path / "2") as panel:
        found = {text.text(): _font(text) for text in _texts(panel.window)}
        assert found["Queue"] == (18, 600)
        assert found["Model not found"] == found["Glass orbs, SD 3.5 Large"] == (14, 600)
        assert found["Node 4 · CheckpointLoaderSimple · ckpt_name"] == (12, 400)
        assert too_small(panel.window) == []


def _texts(root: QWidget) -> list[Text]:
    return [each for each in shown(root) if isinstance(each, Text)]


def _font(text: QWidget) -> tuple[int, int]:
    return text.font().pixelSize(), int(text.font().weight())


def at(widget: QWidget, x: int, y: int) -> QPoint:
    """A point of a widget in its window; negative numbers count from the right and from the bottom."""
    return widget.mapTo(widget.window(), QPoint(x % widget.width(), y % widget.height()))


def _points(panel: Panel) -> Points:
    """Named points of the window, and the role of the colour that is there."""
    window, queue = panel.window, panel.window.queue

    def row(number: int, x: int, y: int) -> QPoint:
        return at(queue.list, x, queue.list.visualRect(panel.model.index(number)).top() + y)

    state = Columns.of(queue.list.visualRect(panel.model.index(1)), 2).state
    chosen = panel.model.index_of(queue.inspector.job_id).row()
    first = next(each for each in shown(window.rail) if isinstance(each, Button))
    pills = {1: "blue", 4: "violet", 5: "amber", 6: "grey", 9: "green", 10: "red"}
    return {
        "rail": (at(window.rail, 96, 400), "bg0"),
        "rail's chosen item": (at(first, 140, 4), "rail_on"),
        "top bar": (at(window.topbar, 700, 5), "bg0"),
        "line below the top bar": (at(window.topbar, 500, -1), "line"),
        "page": (at(queue.head, 8, 32), "bg1"),
        "list": (at(queue.list, 6, 200), "bg1"),
        "target": (at(window.topbar.target, -6, 16), "bg2"),
        "chip": (at(window.topbar.comfy, 5, 16), "bg2"),
        "button at rest": (at(queue.head.more, 4, 16), "control"),
        "segments": (at(queue.head.filters, -8, 16), "bg3"),
        "chosen segment": (at(queue.head.filters, 6, 16), "bg4"),
        "inspector": (at(queue.inspector, 8, 200), "bg2"),
        "selected row": (row(chosen, 16, 32), "sel"),
        "progress": (row(1, state.left() + 6, 53), "blue_bar"),
        "track": (row(1, state.right() - 4, 53), "track"),
        "failed tile": (row(10, 24 + 4, 16), "red_soft"),
        "tile of more": (row(6, 24 + 48 + 4, 16), "bg3"),
        **{f"pill in {tone}": (row(n, state.left() + 5, 20), f"{tone}_soft") for n, tone in pills.items()},
    }


def drawn(window: QWidget, points: Points) -> dict[str, str]:
    image = window.grab().toImage()
    return {name: image.pixelColor(point).name().upper() for name, (point, _) in points.items()}


def wanted(points: Points, colours: Colours) -> dict[str, str]:
    return {name: colours.roles()[role] for name, (_, role) in points.items()}


@on_loop
async def test_the_window_has_the_colours_of_the_scheme_and_changes_with_it(
    theme: Theme, tmp_path: Path
) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        for colours in (DARK, LIGHT, DARK):
            theme.use(appearance="dark" if colours is DARK else "light")
            await settled()
            points = _points(panel)
            assert drawn(panel.window, points) == wanted(points, colours)


@pytest.mark.long
@on_loop
async def test_errors_logs_and_what_floats_have_their_grounds(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_error", theme, tmp_path / "1") as panel:
        for colours in (DARK, LIGHT):
            theme.use(appearance="dark" if colours is DARK else "light")
            await settled()
            log = next(each for each in shown(panel.window) if each.property("kind") == "log")
            points = {
                "error card": (at(_framed(panel.window, "error"), 6, 40), "red_soft"),
                "log": (at(log, 5, -12), "console"),
                "list of files": (at(_framed(panel.window, "card"), 5, 40), "bg2"),
            }
            assert drawn(panel.window, points) == wanted(points, colours)
    async with scene("overlays", theme, tmp_path / "2") as panel:
        points = {"toast": (at(panel.window.toasts.shown[0], 8, 20), "bg2")}
        assert drawn(panel.window, points) == wanted(points, LIGHT)
        popover = QApplication.activePopupWidget()
        points = {"popover": (at(_framed(popover, "popover"), 8, 40), "bg2")}
        assert drawn(popover, points) == wanted(points, LIGHT)


def _framed(root: QWidget, kind: str) -> QFrame:
    return next(w for w in shown(root) if isinstance(w, QFrame) and w.property("kind") == kind)


@on_loop
async def test_the_accent_is_on_the_one_thing_to_do(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_empty", theme, tmp_path) as panel:
        window, zone = panel.window, panel.window.queue.empty_zone
        button = next(each for each in shown(zone) if isinstance(each, Button))
        points = {"button": (at(button, 6, 16), "accent"), "zone": (at(zone, 40, 40), "bg2")}
        assert drawn(window, points) == wanted(points, DARK)
        drag(window, files(tmp_path / "flow.json"))
        points["zone"] = (points["zone"][0], "accent_soft")
        assert drawn(window, points) == wanted(points, DARK)
        assert [each for each in shown(window) if each.property("kind") == "primary"] == [button]


@on_loop
async def test_icons_of_an_open_window_are_drawn_anew_in_the_new_scheme(theme: Theme, tmp_path: Path) -> None:
    async with scene("queue_running", theme, tmp_path) as panel:
        rail = next(each for each in shown(panel.window.rail) if isinstance(each, Button))
        for colours in (DARK, LIGHT):
            theme.use(appearance="dark" if colours is DARK else "light")
            await settled()
            image = rail.icon().pixmap(rail.iconSize()).toImage()
            colour = {
                image.pixelColor(x, y).name().upper()
                for x in range(image.width())
                for y in range(image.height())
                if image.pixelColor(x, y).alpha() == 255
            }
            assert colour == {colours.accent_text}


def test_the_scheme_of_the_system_is_followed_until_the_user_chooses(theme: Theme) -> None:
    class System:
        scheme = Qt.ColorScheme.Light

        def colorScheme(self) -> Qt.ColorScheme:
            return self.scheme

    system, real = System(), theme._style_hints
    theme._style_hints = system  # type: ignore[assignment]
    theme.use(appearance="system")
    assert not theme.is_dark
    system.scheme = Qt.ColorScheme.Dark
    theme._system_changed()
    assert theme.is_dark
    theme.use(appearance="light")
    theme._system_changed()
    assert not theme.is_dark
    # Kept until here: what it has handed out goes with it.
    theme._style_hints = real


def test_the_style_sheet_names_no_role_that_is_not_there() -> None:
    template = (ROOT / "resources" / "style.qss").read_text("utf-8")
    for colours in (DARK, LIGHT):
        rules = re.sub(r"/\*.*?\*/", "", filled(template, colours, 1.0), flags=re.DOTALL)
        assert "@" not in rules


def test_every_icon_named_is_there_and_every_icon_there_is_named() -> None:
    there = {path.stem for path in (ROOT / "resources" / "icons").glob("*.svg")}
    named = {each.icon for each in (*PILLS.values(), LOST_CONTACT)}
    texts = set(named)
    for path in sorted((ROOT / "app" / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if isinstance(node, ast.Call):
                named |= _icons_of(node)
    assert named - {""} <= there
    assert there <= texts


def _icons_of(call: ast.Call) -> set[str]:
    """The icons that a call names: ``icon="x"``, ``Icon(theme, "x")``, ``set_icon("x")``."""
    name = getattr(call.func, "id", None) or getattr(call.func, "attr", "")
    place = {"Icon": 1, "set_icon": 0, "paint_icon": 2, "pixmap": 0}.get(name)
    nodes = [keyword.value for keyword in call.keywords if keyword.arg == "icon"]
    if place is not None and len(call.args) > place:
        nodes.append(call.args[place])
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_the_licences_of_fonts_and_icons_come_with_them() -> None:
    licences = ROOT / "resources" / "licences"
    words = {"Inter": "OPEN FONT LICENSE", "JetBrains Mono": "OPEN FONT LICENSE", "Lucide": "ISC LICENSE"}
    for name, said in words.items():
        assert said in (licences / f"{name}.txt").read_text("utf-8").upper()
