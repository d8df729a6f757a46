"""What the page needs of the account, and the rows of its keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from ...errors import BadInput, ComfyRunPodError, NeedsSetup
from ...settings import Origin, Secret, entered_key, masked
from ..tasks import TaskScope
from ..theme import Theme
from ..widgets.basics import Button, row, set_property
from ..widgets.fields import SecretField
from .rows import SettingRow

if TYPE_CHECKING:
    from ...endpoint.account import KeyCheck
    from ...endpoint.account_model import Volume
    from ...endpoint.prices import GpuType

_SESSION = "The key is used for as long as this program runs."
_KEPT_BY = ("keyring", "this session")


class AccountDoor(Protocol):
    """What stands behind the account's rows; :class:`app.account_desk.AccountDesk` is the real one.

    A key that is kept or forgotten is in force, or out of it, when the call returns.
    """

    @property
    def only_here(self) -> frozenset[str]:
        """The keys in force that no keyring could take."""

    async def look(self) -> None:
        """Put the keys in force that only the keyring has."""

    async def check(self, secret: Secret | None = None) -> KeyCheck:
        """Whether RunPod accepts a key, by default the one in force. Raises what is not the key's fault."""

    async def keep(self, name: str, secret: Secret) -> str:
        """Keep a key; the keyring's name. Raises NoKeyring: then it is in force all the same."""

    async def forget(self, name: str) -> bool:
        """Take a key away; whether there was one. Raises NoKeyring."""

    async def volumes(self) -> tuple[Volume, ...]:
        """The account's network volumes. Raises what went wrong."""

    async def gpu_types(self) -> tuple[GpuType, ...]:
        """What there is to run on, with prices and how much of it is free. Raises what went wrong."""


class KeyEditor(QWidget):
    """A key: its field, a button to test or keep it, and one to forget it.

    Signals:
        submitted: what was typed, an empty text to test the key in force.
        forget_wanted: the key is to be taken out of the keyring.
    """

    submitted = Signal(str)
    forget_wanted = Signal()

    def __init__(self, theme: Theme, title: str, *, tested: bool) -> None:
        super().__init__()
        self._tested, self._holds, self._busy, self._reason = tested, False, False, ""
        self.field = SecretField(theme, title, "Paste the key")
        self.button = Button(theme, "Test" if tested else "Keep", icon="plug" if tested else "check")
        self.forget = Button(theme, "Forget", tip=f"Take the {title} out of the keyring")
        self.forget.hide()
        self.field.returnPressed.connect(self._submit)
        self.field.textChanged.connect(self._update)
        self.button.clicked.connect(self._submit)
        self.forget.clicked.connect(self.forget_wanted)
        self.setLayout(row(self.field, self.button, self.forget))

    def show_key(self, secret: Secret, *, fixed: str, can_forget: bool, reason: str) -> None:
        """Show the key in force by its mask. ``reason`` says why nothing can be done here, if so."""
        self._holds, self._reason = bool(secret), reason
        self.field.show_mask(masked(secret))
        self.field.setReadOnly(bool(fixed or reason))
        self.field.setToolTip(fixed or reason)
        self.forget.setVisible(can_forget)
        self._update()

    def set_busy(self, *, busy: bool) -> None:
        self._busy = busy
        self._update()

    def mark_wrong(self, *, wrong: bool) -> None:
        set_property(self.field, "wrong", "true" if wrong else "false")

    def _can_submit(self) -> bool:
        return not self._busy and not self._reason and (bool(self.field.text()) or self._may_test)

    @property
    def _may_test(self) -> bool:
        return self._tested and self._holds

    def _update(self) -> None:
        self.button.setEnabled(self._can_submit())
        self.forget.setEnabled(not self._busy)
        if self._can_submit():
            self.button.setToolTip("Test the key; a new one is kept when it works" if self._tested else "")
        else:
            self.button.setToolTip(self._reason or ("" if self._busy else "Enter a key first"))

    def _submit(self) -> None:
        if self._can_submit():
            self.submitted.emit(self.field.text())


class KeyRow(SettingRow):
    """A key that is entered, kept in the keyring and forgotten.

    Args:
        name: the setting's.
        changed: called when another key is in force.
        checked: called with whether RunPod accepts the key in force; without it a key is kept untested.
    """

    def __init__(
        self,
        theme: Theme,
        name: str,
        title: str,
        text: str,
        door: AccountDoor | None,
        scope: TaskScope,
        changed: Callable[[], None],
        checked: Callable[[bool], None] | None = None,
    ) -> None:
        self.editor = KeyEditor(theme, title, tested=checked is not None)
        self.anyway = Button(theme, "Keep without testing", size="small")
        self.anyway.hide()
        super().__init__(theme, title, text, self.editor, below=self.anyway)
        self._name, self._door, self._scope = name, door, scope
        self._changed, self._checked = changed, checked
        self.editor.field.textEdited.connect(lambda _: self._say(""))
        self.editor.submitted.connect(lambda text: scope.start(self._submit(text), f"key-{name}"))
        self.editor.forget_wanted.connect(lambda: scope.start(self._forget(), f"forget-{name}"))
        self.anyway.clicked.connect(lambda: scope.start(self._keep_anyway(), f"keep-{name}"))

    def show_key(self, secret: Secret, origin: Origin) -> None:
        """Show the key in force, masked, and where it comes from."""
        fixed = f"From the environment ({origin.variable})" if origin.source == "environment" else ""
        kept = bool(secret) and origin.source in _KEPT_BY and self._door is not None
        reason = "" if self._door is not None else "Not available"
        self.editor.show_key(secret, fixed=fixed, can_forget=kept, reason=reason)
        self.show_origin(origin.text if secret else f"{origin.variable} · not set")

    def _say(self, wrong: str, *, anyway: bool = False) -> None:
        self.show_wrong(wrong)
        self.show_note("")
        self.editor.mark_wrong(wrong=bool(wrong))
        self.anyway.setVisible(anyway)

    async def _submit(self, text: str) -> None:
        try:
            secret = entered_key(text) if text.strip() else None
        except BadInput as error:
            self._say(error.summary)
            return
        if self._checked is None:
            if secret is not None:
                await self._keep(secret)
        elif await self._passes(secret) and secret is not None:
            await self._keep(secret)

    async def _passes(self, secret: Secret | None) -> bool:
        """Whether RunPod accepts the key; says so."""
        assert self._door is not None
        assert self._checked is not None
        self._say("")
        self.editor.set_busy(busy=True)
        try:
            check = await self._door.check(secret)
        except ComfyRunPodError as error:
            if secret is None:
                self._checked(False)
            kept = " The key is not kept." if secret is not None else ""
            self._say(f"{error.sentence}{kept}", anyway=secret is not None)
            return False
        finally:
            self.editor.set_busy(busy=False)
        # What a new key is worth says nothing about the one in force.
        if secret is None:
            self._checked(check.works)
        if not check.works:
            self._say(check.sentence)
        return check.works

    async def _keep_anyway(self) -> None:
        try:
            secret = entered_key(self.editor.field.text())
        except BadInput as error:
            self._say(error.summary)
            return
        await self._keep(secret)

    async def _keep(self, secret: Secret) -> None:
        assert self._door is not None
        self._say("")
        self.editor.set_busy(busy=True)
        note = ""
        try:
            await self._door.keep(self._name, secret)
        except NeedsSetup as error:
            note = f"{error.sentence} {_SESSION}"
        finally:
            self.editor.set_busy(busy=False)
        # Not clear(): what it takes away can be brought back by Ctrl+Z.
        self.editor.field.setText("")
        self._changed()
        self.show_note(note)

    async def _forget(self) -> None:
        assert self._door is not None
        self.editor.set_busy(busy=True)
        try:
            await self._door.forget(self._name)
        except NeedsSetup as error:
            self._say(error.sentence)
            return
        finally:
            self.editor.set_busy(busy=False)
        self._say("")
        self._changed()
