"""The bundled fonts, loaded once, and the fonts of the type scale."""

from __future__ import annotations

import logging
from functools import cache

from PySide6.QtGui import QFont, QFontDatabase

from ...files import resource
from .tokens import TYPE

log = logging.getLogger(__name__)
FAMILY, MONO = "Inter", "JetBrains Mono"


@cache
def load_fonts() -> None:
    """Make the bundled families known to Qt; where that fails the system's font is used."""
    for path in sorted(resource("fonts").glob("*.[ot]tf")):
        if QFontDatabase.addApplicationFont(str(path)) < 0:
            log.warning("The font %s cannot be used.", path.name)


def make_font(kind: str, scale: float = 1.0) -> QFont:
    """The font of one kind of text: sizes in pixels, figures of one width, no hinting."""
    size, weight = TYPE[kind]
    font = QFont(MONO if kind == "mono" else FAMILY)
    font.setPixelSize(round(size * scale))
    font.setWeight(QFont.Weight(weight))
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    if kind != "mono":
        font.setFeature(QFont.Tag("tnum"), 1)
    else:
        font.setStyleHint(QFont.StyleHint.Monospace)
    return font
