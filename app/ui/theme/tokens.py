"""The design's colour roles for both schemes, its measures and its type scale. Sizes in logical pixels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final


@dataclass(frozen=True, slots=True)
class Colours:
    """One scheme. ``#RRGGBB``, or ``#AARRGGBB`` where it is see-through."""

    bg0: str
    bg1: str
    bg2: str
    bg3: str
    bg4: str
    line: str
    line2: str
    ctl: str
    text: str
    text2: str
    text3: str
    accent: str
    accent_hover: str
    accent_text: str
    accent_soft: str
    on_accent: str
    sel: str
    ring: str
    blue: str
    blue_soft: str
    blue_bar: str
    green: str
    green_soft: str
    green_bar: str
    amber: str
    amber_soft: str
    amber_bar: str
    red: str
    red_soft: str
    red_bar: str
    grey: str
    grey_soft: str
    violet: str
    violet_soft: str
    teal: str
    teal_soft: str
    track: str
    console: str
    danger: str
    transfer: str = "#8B6BFF"
    scrim: str = "#CC0A0B0E"

    def with_high_contrast(self) -> Colours:
        """Stronger borders and captions, for people whose system asks for them."""
        return replace(self, line2=self.ctl, text3=self.text2)

    def roles(self) -> dict[str, str]:
        """Every role by its name, and two that each scheme takes from another level.

        These are the rail's chosen item, ``rail_on``, and a control at rest, ``control``.
        """
        named = {f.name: getattr(self, f.name) for f in fields(self)}
        dark = self.bg0 == DARK.bg0
        return named | {"rail_on": self.bg3 if dark else self.bg4, "control": self.bg3 if dark else self.bg2}


DARK: Final = Colours(
    bg0="#0F1013", bg1="#15171A", bg2="#1B1E22", bg3="#24282E", bg4="#2E333B",
    line="#262A30", line2="#3A404A", ctl="#686F7C",
    text="#ECEEF1", text2="#AEB5C0", text3="#8B93A0",
    accent="#6459E6", accent_hover="#6A60E9", accent_text="#A9A3FF", accent_soft="#262447",
    on_accent="#FFFFFF", sel="#22233A", ring="#8F88FF",
    blue="#74B0FF", blue_soft="#172A44", blue_bar="#4C94F5",
    green="#57CC99", green_soft="#142B21", green_bar="#2FA56F",
    amber="#F2BC5A", amber_soft="#33280F", amber_bar="#D9982B",
    red="#FF8A80", red_soft="#381C1D", red_bar="#E5534B",
    grey="#AEB5C0", grey_soft="#2A2E35",
    violet="#BBA4FF", violet_soft="#2A2142", teal="#5AD3C6", teal_soft="#11312F",
    track="#2C3138", console="#101215", danger="#C93B36",
)  # fmt: skip

LIGHT: Final = Colours(
    bg0="#F2F3F5", bg1="#FAFBFC", bg2="#FFFFFF", bg3="#EFF0F3", bg4="#E3E5EA",
    line="#E3E5E9", line2="#CDD1D8", ctl="#838B97",
    text="#181B20", text2="#48505C", text3="#626B78",
    accent="#5148D6", accent_hover="#463DC6", accent_text="#473EC8", accent_soft="#E9E8FC",
    on_accent="#FFFFFF", sel="#EEEEFC", ring="#5148D6",
    blue="#155FBF", blue_soft="#E1EDFC", blue_bar="#2F7FE8",
    green="#126A43", green_soft="#DCF3E7", green_bar="#23945F",
    amber="#7F5200", amber_soft="#FBEED0", amber_bar="#B07208",
    red="#B92A26", red_soft="#FDE7E5", red_bar="#D9433C",
    grey="#48505C", grey_soft="#E9EBEF",
    violet="#6438C2", violet_soft="#EFE8FC", teal="#0A6A61", teal_soft="#DAF2EF",
    track="#E3E5EA", console="#FCFCFD", danger="#B92A26",
)  # fmt: skip

#: Size in pixels and weight of each kind of text. Nothing is smaller than 12.
TYPE: Final[dict[str, tuple[int, int]]] = {
    "hero": (28, 600),
    "title": (18, 600),
    "dialog": (16, 600),
    "section": (14, 600),
    "strong": (13, 600),
    "row": (13, 500),
    "body": (13, 400),
    "pill": (12, 500),
    "caption": (12, 400),
    "caption_strong": (12, 600),
    "mono": (12, 400),
}

RAIL_W, RAIL_FOLDED_W = 192, 56
TOP_BAR_H, PAGE_HEAD_H = 56, 64
INSPECTOR_W, INSPECTOR_MIN_W, INSPECTOR_MAX_W = 360, 320, 520
LIST_MIN_W = 600
ROW_H, GROUP_H, MARGIN = 64, 36, 24
FOLD_BELOW_W, WIDE_W = 1180, 1600
SHORT_BELOW_H = 720
WINDOW_MIN = (1024, 640)
WINDOW_DEFAULT = (1440, 900)
