"""The look in force. Widgets ask it for colours, fonts and icons and listen to ``changed``."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QIcon, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

from ...files import resource
from .fonts import load_fonts, make_font
from .icons import draw_icon
from .tokens import DARK, LIGHT, TYPE, Colours

Appearance = Literal["system", "light", "dark"]


class Theme(QObject):
    """Colours, fonts and icons for the appearance asked for. Lives on the GUI thread.

    Signals:
        changed: everything must be drawn anew; ``colours`` and fonts are new already.
    """

    changed = Signal()

    def __init__(self, app: QApplication, appearance: Appearance = "system", text_size: int = 100) -> None:
        super().__init__()
        self._app = app
        # Kept: the binding deletes the hints with the first object that handed them out.
        self._style_hints = app.styleHints()
        self._hints = _accessibility(self._style_hints)
        self._appearance: Appearance = appearance
        self._scale = text_size / 100
        self._reduced_motion = False
        self._styled = False
        self._colours: dict[str, QColor] = {}
        self._fonts: dict[str, QFont] = {}
        self._pixmaps: dict[tuple[str, str, int, float], QPixmap] = {}
        self.colours: Colours = DARK
        load_fonts()
        app.setStyle("Fusion")
        self._style_hints.colorSchemeChanged.connect(self._system_changed)
        self._apply()

    def style(self) -> None:
        """Put the style sheet in force, once all is built: styled one by one, widgets cost thrice as much."""
        if not self._styled:
            self._styled = True
            self._put_style_sheet()

    @property
    def is_dark(self) -> bool:
        return self.colours.bg0 == DARK.bg0

    @property
    def reduced_motion(self) -> bool:
        """Whether nothing may turn, slide or travel: by the setting, or by the system's."""
        return self._reduced_motion or self._system_reduces_motion

    @property
    def text_scale(self) -> float:
        return self._scale

    def use(
        self,
        *,
        appearance: Appearance | None = None,
        text_size: int | None = None,
        reduced_motion: bool | None = None,
    ) -> None:
        """Change what is given, at once in every window."""
        before = (self._appearance, self._scale, self._reduced_motion)
        if appearance is not None:
            self._appearance = appearance
        if text_size is not None:
            self._scale = text_size / 100
        if reduced_motion is not None:
            self._reduced_motion = reduced_motion
        if before != (self._appearance, self._scale, self._reduced_motion):
            # Styling a whole window takes a third of a second: not for a setting that stayed as it was.
            self._apply()

    def color(self, role: str) -> QColor:
        """The colour of a role of the tokens, as ``bg1``."""
        if role not in self._colours:
            self._colours[role] = QColor(getattr(self.colours, role))
        return self._colours[role]

    def font(self, kind: str) -> QFont:
        """The font of a kind of text of the type scale, as ``body``."""
        if kind not in self._fonts:
            self._fonts[kind] = make_font(kind, self._scale)
        return self._fonts[kind]

    def pixmap(self, name: str, role: str, size: int = 16, ratio: float | None = None) -> QPixmap:
        """An icon in a role's colour. ``size`` in logical pixels; ``ratio`` is the device's."""
        dpr = ratio or self._app.devicePixelRatio()
        key = (name, role, size, dpr)
        if key not in self._pixmaps:
            self._pixmaps[key] = draw_icon(name, getattr(self.colours, role), size, dpr)
        return self._pixmaps[key]

    def icon(self, name: str, role: str, size: int = 16) -> QIcon:
        icon = QIcon(self.pixmap(name, role, size))
        icon.addPixmap(self.pixmap(name, "ctl", size), QIcon.Mode.Disabled)
        return icon

    @cached_property
    def _template(self) -> str:
        return resource("style.qss").read_text("utf-8")

    @property
    def _system_reduces_motion(self) -> bool:
        return "Reduced" in _preference(self._hints, "motionPreference")

    def _wanted(self) -> Colours:
        dark = self._appearance == "dark"
        if self._appearance == "system":
            dark = self._style_hints.colorScheme() != Qt.ColorScheme.Light
        colours = DARK if dark else LIGHT
        strong = "HighContrast" in _preference(self._hints, "contrastPreference")
        return colours.with_high_contrast() if strong else colours

    def _system_changed(self) -> None:
        if self._appearance == "system":
            self._apply()

    def _apply(self) -> None:
        self.colours = self._wanted()
        self._colours.clear()
        self._fonts.clear()
        self._pixmaps.clear()
        self._app.setPalette(_palette(self.colours))
        self._app.setFont(self.font("body"))
        if self._styled:
            self._put_style_sheet()
        self.changed.emit()

    def _put_style_sheet(self) -> None:
        self._app.setStyleSheet(filled(self._template, self.colours, self._scale))


def _accessibility(hints: QObject) -> QObject | None:
    """Qt's accessibility preferences; PySide6 6.8 has none yet."""
    give = getattr(hints, "accessibility", None)
    return give() if give is not None else None


def _preference(hints: QObject | None, name: str) -> str:
    give = getattr(hints, name, None)
    return str(give()) if give is not None else ""


def filled(template: str, colours: Colours, scale: float) -> str:
    """The style sheet: ``@role`` becomes its colour, ``@px-kind`` the size of a kind of text."""
    values = {f"@{role}": colour for role, colour in colours.roles().items()}
    values |= {f"@px-{kind}": f"{round(size * scale)}px" for kind, (size, _) in TYPE.items()}
    for name in sorted(values, key=len, reverse=True):
        template = template.replace(name, values[name])
    return template


def _palette(colours: Colours) -> QPalette:
    roles = {
        QPalette.ColorRole.Window: colours.bg1,
        QPalette.ColorRole.WindowText: colours.text,
        QPalette.ColorRole.Base: colours.bg2,
        QPalette.ColorRole.AlternateBase: colours.bg3,
        QPalette.ColorRole.ToolTipBase: colours.bg2,
        QPalette.ColorRole.ToolTipText: colours.text,
        QPalette.ColorRole.PlaceholderText: colours.text3,
        QPalette.ColorRole.Text: colours.text,
        QPalette.ColorRole.Button: colours.bg3,
        QPalette.ColorRole.ButtonText: colours.text,
        QPalette.ColorRole.BrightText: colours.red,
        QPalette.ColorRole.Link: colours.accent_text,
        QPalette.ColorRole.Highlight: colours.accent,
        QPalette.ColorRole.HighlightedText: colours.on_accent,
        QPalette.ColorRole.Light: colours.bg4,
        QPalette.ColorRole.Midlight: colours.bg3,
        QPalette.ColorRole.Mid: colours.line,
        QPalette.ColorRole.Dark: colours.line2,
        QPalette.ColorRole.Shadow: colours.bg0,
    }
    palette = QPalette()
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(colours.text3))
    return palette
