"""The volume in use: how full it is, of what, and what workers left on it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, Signal
from PySide6.QtWidgets import QMenu, QWidget

from ...jobs.figures import size
from ..theme import Theme
from ..widgets.basics import Button, Elided, Icon, Text, Wrapped, column, row
from ..widgets.small import Dot
from .parts import PIECES, Facts, StackBar, title_row
from .shown import VolumeChoice, VolumeShown
from .words import files, merged, of_size

_NOTE_ROLES = {"plain": "text3", "amber": "amber", "red": "red", "green": "green"}


class VolumeSection(QWidget):
    """Signals: ``volume_chosen`` with an id, ``other_wanted`` for one that is not listed, ``verify_wanted``,
    ``fetch_wanted`` for the results left there.
    """

    volume_chosen = Signal(str)
    other_wanted = Signal()
    verify_wanted = Signal()
    fetch_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._volume: VolumeShown | None = None
        self.volumes: tuple[VolumeChoice, ...] = ()
        self.more = Button(theme, kind="bare", icon="ellipsis", size="small", tip="Volumes, and comparing")
        self.more.clicked.connect(self._open_more)
        self._icon, self._name = Icon(theme, "hard-drive", "violet"), Elided(theme, "", "row")
        self._centre = Text(theme, "", "caption", "text2")
        self.bar, self._facts = StackBar(theme), Facts(theme)
        self._legend = [_LegendLine(theme, role) for role in PIECES]
        self._results = Wrapped(theme, "", "caption", "text")
        self.fetch = Button(theme, "Fetch", "link", size="small", tip="Fetch the results left on the volume")
        self.fetch.setAccessibleName("Fetch the results left on the volume")
        self.fetch.clicked.connect(self.fetch_wanted)
        self._note = Wrapped(theme, "", "caption", "text3")
        self._body, self._left = QWidget(), QWidget()
        left = row(gap=8)
        left.addWidget(self._results, 1)
        left.addWidget(self.fetch)
        self._left.setLayout(left)
        name = row(self._icon, gap=8)
        name.addWidget(self._name, 1)
        name.addWidget(self._centre)
        body = column(gap=10)
        body.addLayout(name)
        legend = column(*self._legend, gap=6)
        body.addWidget(self.bar)
        body.addWidget(self._facts)
        body.addLayout(legend)
        for part in (self._left, self._note):
            body.addWidget(part)
        self._body.setLayout(body)
        self._none = Wrapped(theme, "No volume is chosen.", "caption", "text2")
        whole = column(gap=6)
        whole.addLayout(title_row(theme, "Network volume", self.more))
        whole.addWidget(self._none)
        whole.addWidget(self._body)
        self.setLayout(whole)
        self.show_volume(None)

    def show_volume(self, volume: VolumeShown | None) -> None:
        """None: none is chosen."""
        self._volume = volume
        self._body.setVisible(volume is not None)
        self._none.setVisible(volume is None)
        if volume is None:
            return
        self._name.setText(volume.name)
        self._centre.setText(volume.data_centre)
        shown = merged(volume.folders)
        whole = volume.size or max(volume.used, sum(count for _, count in shown)) or 1
        said = ", ".join(f"{name} {size(count)}" for name, count in shown)
        self.bar.show_parts([min(count / whole, 1.0) for _, count in shown], f"Volume: {said}")
        self.bar.setVisible(volume.size is not None or bool(shown))
        free = [] if volume.size is None else [("Free", size(max(volume.size - volume.used, 0)))]
        after = "" if volume.after is None else _used(volume.after, volume.size)
        facts = [("Used", _used(volume.used, volume.size)), *free, ("After sync", after)]
        self._facts.show_lines([*facts, ("Files", str(volume.files) if volume.files else "")])
        for number, line in enumerate(self._legend):
            line.setVisible(number < len(shown))
            if number < len(shown):
                line.show_line(shown[number][0], size(shown[number][1]))
        self._left.setVisible(volume.results > 0)
        count = f" in {files(volume.results_files)}" if volume.results_files else ""
        self._results.setText(f"Results left there: {size(volume.results)}{count}")
        self._note.setText(volume.note)
        self._note.setVisible(bool(volume.note))
        self._note.set_role(_NOTE_ROLES[volume.role])

    def show_volumes(self, volumes: Sequence[VolumeChoice]) -> None:
        """Those that can be chosen."""
        self.volumes = tuple(volumes)

    def menu(self) -> QMenu:
        """The volumes, and what can be done with the one in use."""
        menu = QMenu(self)
        menu.setObjectName("volumes")
        here = self._volume.id if self._volume is not None else ""
        for each in self.volumes:
            action = menu.addAction(each.label)
            action.setCheckable(True)
            action.setChecked(each.id == here)
            action.triggered.connect(lambda _=False, key=each.id: self.volume_chosen.emit(key))
        menu.addAction("Another volume…").triggered.connect(self.other_wanted)
        menu.addSeparator()
        compare = menu.addAction("Compare contents of all files")
        compare.setEnabled(self._volume is not None)
        compare.triggered.connect(self.verify_wanted)
        fetch = menu.addAction("Fetch the results left there")
        fetch.setEnabled(self._volume is not None and self._volume.results > 0)
        fetch.triggered.connect(self.fetch_wanted)
        return menu

    def _open_more(self) -> None:
        menu = self.menu()
        menu.aboutToHide.connect(menu.deleteLater)
        width = menu.sizeHint().width()
        menu.popup(self.more.mapToGlobal(QPoint(self.more.width() - width, self.more.height() + 4)))


class _LegendLine(QWidget):
    """A piece of the bar: its colour, name and size."""

    def __init__(self, theme: Theme, role: str) -> None:
        super().__init__()
        self._name, self._size = Elided(theme, "", "caption", "text"), Text(theme, "", "caption", "text2")
        line = row(Dot(theme, role), gap=8)
        line.addWidget(self._name, 1)
        line.addWidget(self._size)
        self.setLayout(line)

    def show_line(self, name: str, text: str) -> None:
        self._name.setText(name)
        self._size.setText(text)


def _used(used: int, whole: int | None) -> str:
    return size(used) if whole is None else of_size(used, whole)
