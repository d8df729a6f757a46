"""Choosing a tag: those proposed, those built before, or another one that is typed."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPoint, QRect, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QLineEdit, QMenu

from ..theme import Theme
from ..widgets.basics import Button, Text, Wrapped, row, set_property
from ..widgets.floating import Popover
from ..widgets.paint import paint_icon
from .shown import ImageShown, TagShown

_FORM_W, _FIELD_H, _ARROW, _LONGEST_TAG = 320, 32, 14, 128
_MOST_W = 220


class TagForm(Popover):
    """A field for a tag; what is wrong with it is said beneath.

    Signals:
        typed: what stands in the field now.
        wanted: the tag that shall be used.
    """

    typed = Signal(str)
    wanted = Signal(str)

    def __init__(self, theme: Theme, tag: str) -> None:
        super().__init__(theme, _FORM_W)
        self.field = QLineEdit(tag)
        self.field.setAccessibleName("Tag")
        self.field.setFixedHeight(_FIELD_H)
        self.field.setMaxLength(_LONGEST_TAG)
        self._wrong = Wrapped(theme, "", "caption", "red")
        self._wrong.hide()
        self.use = Button(theme, "Use this tag", "primary", size="small")
        self.body.addWidget(Text(theme, "Tag", "section"))
        self.body.addWidget(self.field)
        self.body.addWidget(self._wrong)
        self.body.addLayout(row(None, self.use))
        self.field.textChanged.connect(self.typed)
        self.field.returnPressed.connect(self._use)
        self.use.clicked.connect(self._use)
        self.setFocusProxy(self.field)

    def show_problem(self, text: str) -> None:
        """A sentence; empty: the tag can be used."""
        self._wrong.setText(text)
        self._wrong.setVisible(bool(text))
        self.field.setAccessibleDescription(text)
        set_property(self.field, "wrong", "true" if text else "false")
        self.use.setEnabled(not text)
        self.adjustSize()

    def _use(self) -> None:
        if self.use.isEnabled() and self.field.text().strip():
            self.wanted.emit(self.field.text().strip())


class TagButton(Button):
    """Says the tag in force, and opens what there is to choose.

    Signals:
        tag_wanted, tag_typed: as of the page.
    """

    tag_wanted = Signal(str)
    tag_typed = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__(theme, "", icon="container", tip="Tag of the image")
        self.setProperty("drops", True)
        self.setMaximumWidth(_MOST_W)
        self._image = ImageShown("", "")
        self.form: TagForm | None = None
        self.clicked.connect(self._open)

    def show_image(self, image: ImageShown) -> None:
        is_other, self._image = image.tag != self._image.tag, image
        label = image.label or image.tag or "Choose a tag"
        room = _MOST_W - 84
        self.set_label(self.fontMetrics().elidedText(label, Qt.TextElideMode.ElideRight, room))
        self.setAccessibleName(f"Tag: {label}")
        self.setToolTip(f"Tag of the image: {image.tag}" if image.tag else "Tag of the image")
        if is_other and self.form is not None:
            self.form.close()

    def show_problem(self, text: str) -> None:
        if self.form is not None:
            self.form.show_problem(text)

    def menu_of_tags(self) -> QMenu:
        """It deletes itself when it is closed."""
        made = QMenu(self)
        made.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._fill(made, "Proposed", self._image.proposals)
        self._fill(made, "Built before", self._image.built)
        if not made.isEmpty():
            made.addSeparator()
        made.addAction("Other…").triggered.connect(self.open_form)
        return made

    def open_form(self) -> None:
        form = TagForm(self._theme, self._image.tag)
        form.typed.connect(self.tag_typed)
        form.wanted.connect(self.tag_wanted)
        form.destroyed.connect(self._form_gone)
        self.form = form
        form.open_under(self)
        form.field.setFocus(Qt.FocusReason.PopupFocusReason)
        form.field.selectAll()

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        box = QRect(self.width() - 12 - _ARROW, (self.height() - _ARROW) // 2, _ARROW, _ARROW)
        paint_icon(QPainter(self), self._theme, "chevron-down", "text3", box)

    def _fill(self, made: QMenu, title: str, tags: Sequence[TagShown]) -> None:
        if not tags:
            return
        made.addSection(title) if not made.isEmpty() else None
        for each in tags:
            action = made.addAction(f"{each.tag}\t{each.reason}" if each.reason else each.tag)
            action.setCheckable(True)
            action.setChecked(each.tag == self._image.tag)
            action.triggered.connect(lambda _=False, tag=each.tag: self.tag_wanted.emit(tag))

    def _open(self) -> None:
        self.menu_of_tags().popup(self.mapToGlobal(QPoint(0, self.height() + 4)))

    def _form_gone(self) -> None:
        self.form = None
