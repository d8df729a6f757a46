"""What stands above the lines of a stage: what the test made, and where is deployed to."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QAbstractButton, QWidget

from ..theme import Theme
from ..widgets.basics import Button, Elided, Text, Wrapped, column, hairline, row
from ..widgets.fields import Choice
from ..widgets.paint import paint_empty_tile, paint_picture
from ..widgets.small import PillLabel
from .shown import DeployShown, MadePicture, ResultShown

_THUMB, _MOST_THUMBS = 64, 4
_ROLES = {"plain": "text2", "amber": "amber", "red": "red", "green": "green"}


class Thumb(QAbstractButton):
    """A picture that the test made; a click opens it."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme, self._picture = theme, QPixmap()
        self._bytes = b""
        self.setFixedSize(_THUMB, _THUMB)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def show_picture(self, picture: MadePicture) -> None:
        if picture.thumbnail != self._bytes:
            self._bytes = picture.thumbnail
            self._picture = QPixmap()
            self._picture.loadFromData(picture.thumbnail)
        name = picture.name or "Picture"
        self.setAccessibleName(f"{name}, made by the test")
        self.setToolTip(name)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(_THUMB, _THUMB)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._picture.isNull():
            paint_empty_tile(painter, self._theme, self.rect(), "image")
        else:
            paint_picture(painter, self._picture, self.rect())


class ResultStrip(QWidget):
    """What came of the test; hidden before there is anything.

    Signals:
        picture_wanted: the path of a picture to open.
        report_wanted: the parity of nodes and packages is wanted in sight.
    """

    picture_wanted = Signal(str)
    report_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._result = ResultShown()
        self.thumbs = [Thumb(theme) for _ in range(_MOST_THUMBS)]
        for number, thumb in enumerate(self.thumbs):
            thumb.clicked.connect(
                lambda _=False, number=number: self.picture_wanted.emit(self._result.pictures[number].path)
            )
        self._text, self._parity = Elided(theme, "", "row"), Elided(theme, "", "caption", "text2")
        self._note = PillLabel(theme)
        self.report = Button(theme, "Show the report", "link", size="small")
        self.report.clicked.connect(self.report_wanted)
        texts = column(None, gap=4)
        line = row(gap=10)
        line.addWidget(self._text)
        line.addWidget(self._note)
        line.addStretch(1)
        texts.addLayout(line)
        below = row(gap=10)
        below.addWidget(self._parity)
        below.addWidget(self.report)
        below.addStretch(1)
        texts.addLayout(below)
        texts.addStretch(1)
        whole = row(*self.thumbs, gap=8, margins=(20, 10, 12, 10))
        whole.addSpacing(6)
        whole.addLayout(texts, 1)
        outer = column(gap=0)
        outer.addLayout(whole)
        outer.addWidget(hairline())
        self.setLayout(outer)
        self.show_result(None)

    def show_result(self, result: ResultShown | None) -> None:
        self.setVisible(result is not None)
        self._result = result = result or ResultShown()
        pictures: Sequence[MadePicture] = result.pictures[:_MOST_THUMBS]
        for number, thumb in enumerate(self.thumbs):
            thumb.setVisible(number < len(pictures))
            if number < len(pictures):
                thumb.show_picture(pictures[number])
        self._text.setText(result.text)
        self._note.set(result.note, "grey", "info")
        self._note.setToolTip(result.hint)
        self._note.setVisible(bool(result.note))
        self._parity.setText(result.parity)
        self._parity.set_role(_ROLES[result.parity_role])
        self.report.setVisible(bool(result.parity))


class DeployStrip(QWidget):
    """Signals: ``endpoint_chosen`` with the id of an endpoint."""

    endpoint_chosen = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.endpoint = Choice(theme, "Deploy to", 260, icon="cloud", role="violet")
        self.endpoint.chosen.connect(self.endpoint_chosen)
        self._none = Text(theme, "There is no endpoint in the account.", "caption", "text2")
        self._refusal = Wrapped(theme, "", "caption", "amber")
        line = row(Text(theme, "Deploy to", "caption", "text2"), self.endpoint, self._none, gap=10)
        line.addWidget(self._refusal, 1)
        line.addStretch(0)
        line.setContentsMargins(20, 8, 12, 8)
        outer = column(gap=0)
        outer.addLayout(line)
        outer.addWidget(hairline())
        self.setLayout(outer)
        self.show_deploy(DeployShown())

    def show_deploy(self, deploy: DeployShown) -> None:
        self.endpoint.show_choices([(each.id, each.label) for each in deploy.endpoints], deploy.endpoint)
        self.endpoint.setVisible(bool(deploy.endpoints))
        self._none.setVisible(not deploy.endpoints)
        self._refusal.setText(deploy.refusal)
