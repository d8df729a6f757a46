"""The panel at the right: the manifest compared with this computer, or another view of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QFrame, QMenu, QSizePolicy, QWidget

from ..theme import Theme
from ..theme.tokens import PAGE_HEAD_H
from ..widgets.basics import Button, Elided, Icon, Wrapped, column, row
from ..widgets.paint import paint_icon, paint_text, text_width
from ..widgets.sides import Panel
from .entries import EntryList, Group
from .shown import FindingsShown, LayersShown, ManifestShown, ParityShown, PastRun, SideView
from .views import (
    findings_groups,
    findings_total,
    history_groups,
    layers_groups,
    layers_total,
    manifest_groups,
    parity_groups,
    parity_total,
)
from .words import differ_title

SIDE_W = 344
_PADDING, _ARROW, _ABOVE = 16, 14, 12
VIEWS: Final[dict[SideView, str]] = {
    "manifest": "Manifest", "parity": "Parity", "findings": "Findings", "layers": "Layers",
    "history": "History",
}  # fmt: skip
#: What stands in place of an empty view.
_NONE: Final[dict[SideView, str]] = {
    "manifest": "There is no manifest yet. Match this computer to write one.",
    "parity": "A test compares the nodes and packages of the image with those here.",
    "findings": "A build looks for known vulnerabilities and for secrets in its files.",
    "layers": "A build shows how large each layer is, and what is in it.",
    "history": "Builds and deployments are listed here.",
}


class ViewButton(QAbstractButton):
    """The panel's title; it opens the other views."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setToolTip("Show something else of the image")
        theme.changed.connect(self.updateGeometry)

    def sizeHint(self) -> QSize:
        return QSize(text_width(self._theme, self.text(), "section") + 8 + 6 + _ARROW + 8, 32)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.color("bg3"))
            painter.drawRoundedRect(QRectF(self.rect()), 8, 8)
        box = self.rect().adjusted(8, 0, -8, 0)
        paint_text(painter, self._theme, box, self.text(), "section")
        arrow = box.adjusted(box.width() - _ARROW, (box.height() - _ARROW) // 2, 0, 0)
        arrow.setHeight(_ARROW)
        paint_icon(painter, self._theme, "chevron-down", "text3", arrow)


class DifferCard(QFrame):
    """That the image is not as this computer is, and what makes it so. Signals: ``match_wanted``."""

    match_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setProperty("kind", "note")
        self._title = Wrapped(theme, "", "strong")
        self.match = Button(theme, "Match local and rebuild", size="small")
        self.match.clicked.connect(self.match_wanted)
        head = row(Icon(theme, "triangle-alert", "amber"), gap=8)
        head.addWidget(self._title, 1)
        text = "Workflows that use them can behave differently on RunPod."
        inner = column(margins=(12, 12, 12, 12), gap=6)
        inner.addLayout(head)
        inner.addWidget(Wrapped(theme, text, "caption", "text2"))
        inner.addLayout(row(self.match, None))
        self.setLayout(inner)

    def show_manifest(self, manifest: ManifestShown) -> None:
        self._title.setText(differ_title(manifest.differ))
        self.match.setEnabled(manifest.can_match)
        self.match.setToolTip("" if manifest.can_match else manifest.why_not)


class SidePanel(Panel):
    """Signals: ``closed``: the panel, where it lies over the page; ``match_wanted``, ``back_wanted``,
    ``finding_wanted`` and ``view_opened`` as of the page.
    """

    closed = Signal()
    match_wanted = Signal()
    back_wanted = Signal()
    finding_wanted = Signal(str)
    view_opened = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._view: SideView = "manifest"
        self._groups: dict[SideView, list[Group]] = {view: [] for view in VIEWS}
        self._said: dict[SideView, str] = dict.fromkeys(VIEWS, "")
        self._notes: dict[SideView, str] = dict.fromkeys(VIEWS, "")
        self._differ = 0
        self._back = ""
        self.view_button = ViewButton(theme)
        self.view_button.clicked.connect(self._open_views)
        self._about = Elided(theme, "", "caption", "text2")
        self._about.setAlignment(Qt.AlignmentFlag.AlignRight)
        self._close = Button(theme, kind="bare", icon="x", tip="Close", keys="Esc")
        self._close.clicked.connect(self.closed)
        head = row(self.view_button, gap=8, margins=(_PADDING - 8, _ABOVE, _PADDING, 0))
        head.addWidget(self._about, 1)
        head.addWidget(self._close)
        head.addStrut(PAGE_HEAD_H - 2 * _ABOVE)
        self._note = Wrapped(theme, "", "caption", "text2")
        self._note.setContentsMargins(_PADDING, 0, _PADDING, 8)
        self.list = EntryList(theme, VIEWS["manifest"])
        self.list.opened.connect(self.finding_wanted)
        self.differ = DifferCard(theme)
        self.differ.match_wanted.connect(self.match_wanted)
        self.back = Button(theme, "", icon="rotate-ccw")
        self.back.clicked.connect(self.back_wanted)
        foot = column(self.differ, self.back, margins=(_PADDING, 8, _PADDING, _PADDING))
        self._rest = QWidget()
        whole = column(margins=(1, 0, 0, 0))
        whole.addLayout(head)
        whole.addWidget(self._note)
        whole.addWidget(self.list, 1)
        whole.addWidget(self._rest, 1)
        whole.addLayout(foot)
        self.setLayout(whole)
        self.set_over(over=False)
        self.show_view("manifest")

    def set_over(self, *, over: bool) -> None:
        self._close.setVisible(over)

    @property
    def view(self) -> SideView:
        return self._view

    # What is shown.

    def show_manifest(self, manifest: ManifestShown | None) -> None:
        self._differ = manifest.differ if manifest is not None else 0
        if manifest is not None:
            self.differ.show_manifest(manifest)
        self._put(
            "manifest",
            manifest_groups(manifest) if manifest is not None else [],
            manifest.compared if manifest is not None else "",
            manifest.note if manifest is not None else "",
        )

    def show_parity(self, parity: ParityShown | None) -> None:
        parity = parity or ParityShown()
        self._put("parity", parity_groups(parity), parity_total(parity), parity.text)

    def show_findings(self, shown: FindingsShown) -> None:
        self._put("findings", findings_groups(shown), findings_total(shown), "\n".join(shown.notes))

    def show_layers(self, shown: LayersShown) -> None:
        self._put("layers", layers_groups(shown), layers_total(shown), shown.note)

    def show_history(self, runs: Sequence[PastRun]) -> None:
        self._put("history", history_groups(runs), "", "")

    def show_back(self, back: str) -> None:
        """What can be gone back to, as ``version 6``; empty: nothing."""
        self._back = back
        self.back.set_label(f"Go back to {back}")
        self._show()

    def show_view(self, view: SideView) -> None:
        self._view = view
        self._show()
        self.list.scrollToTop()
        self.view_opened.emit(view)

    def views_menu(self) -> QMenu:
        """It deletes itself when it is closed."""
        made = QMenu(self)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for view, title in VIEWS.items():
            said = self._said[view]
            action = made.addAction(f"{title}\t{said}" if said else title)
            action.setCheckable(True)
            action.setChecked(view == self._view)
            action.triggered.connect(lambda _=False, view=view: self.show_view(view))
        return made

    def _put(self, view: SideView, groups: list[Group], said: str, note: str) -> None:
        self._groups[view], self._said[view], self._notes[view] = groups, said, note
        if view == self._view:
            self._show()

    def _show(self) -> None:
        view = self._view
        self.view_button.setText(VIEWS[view])
        self.view_button.setAccessibleName(f"{VIEWS[view]}, choose what is shown")
        self.view_button.updateGeometry()
        self._about.setText(self._said[view])
        groups = self._groups[view]
        self.list.setAccessibleName(VIEWS[view])
        self.list.show_groups(groups)
        self.list.setVisible(bool(groups))
        self._rest.setVisible(not groups)
        note = self._notes[view] or ("" if groups else _NONE[view])
        self._note.setText(note)
        self._note.setVisible(bool(note))
        self.differ.setVisible(view == "manifest" and self._differ > 0)
        self.back.setVisible(view == "history" and bool(self._back))

    def _open_views(self) -> None:
        self.views_menu().popup(self.view_button.mapToGlobal(QPoint(0, self.view_button.height() + 2)))
