"""The ComfyUI page: its process and log, and beside them the node, the installation, the custom nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QHideEvent, QShowEvent
from PySide6.QtWidgets import QWidget

from ..theme import Theme
from ..widgets.basics import column
from ..widgets.floating import Popover
from ..widgets.late import LatePage, late
from ..widgets.log_view import LogView
from ..widgets.motion import Motion
from .cards import CrashCard, PreviewCard, StateCard
from .columns import SIDE_W, Columns
from .head import ComfyHead
from .install import InstallCard
from .pack_popover import pack_popover
from .shown import (
    Crash,
    Figures,
    InstallFacts,
    InstallRun,
    InstallWish,
    NodeFacts,
    OptionName,
    PackRow,
    Preview,
    RunState,
    WishName,
)
from .side import SideSections

_LOG_LEAST_H = 260
_OLDER = "Older lines are in comfyui.log"


class ComfyPage(LatePage):
    """Shows what it is told, and says what the user wants.

    Signals:
        appeared, vanished: it came in sight, or went out of it.
        start_wanted, stop_wanted, restart_wanted, browse_wanted: of ComfyUI; the last opens it in a browser.
        route_restart_wanted: stop the one that somebody else started, and start it with the node.
        folder_wanted: another installation's folder.
        install_wanted: what is to be installed, an :class:`InstallWish`.
        install_cancel_wanted, install_retry_wanted, install_discard_wanted: of an installation.
        options_changed: :class:`Options` as they are typed.
        path_wanted: the user wants to look for a folder: ``install`` or ``models``; see :meth:`show_path`.
        node_action: the key of a button of the interception node.
        pack_wanted: the git address and the commit of a custom node; the commit may be empty.
        pack_action: the name of a custom node, and update, disable, enable or remove.
        preview_accepted, preview_refused: the answer to :meth:`show_preview`.
        crash_remedy_wanted: the key of a remedy of the crash card.
        diagnostics_wanted: what is known of the crash is to be copied.
    """

    appeared = Signal()
    vanished = Signal()
    start_wanted = Signal()
    stop_wanted = Signal()
    restart_wanted = Signal()
    route_restart_wanted = Signal()
    browse_wanted = Signal()
    folder_wanted = Signal()
    install_wanted = Signal(object)
    install_cancel_wanted = Signal()
    install_retry_wanted = Signal()
    install_discard_wanted = Signal()
    options_changed = Signal(object)
    path_wanted = Signal(str)
    node_action = Signal(str)
    pack_wanted = Signal(str, str)
    pack_action = Signal(str, str)
    preview_accepted = Signal()
    preview_refused = Signal()
    crash_remedy_wanted = Signal(str)
    diagnostics_wanted = Signal()

    def __init__(self, theme: Theme, motion: Motion) -> None:
        super().__init__()
        self._theme, self._motion = theme, motion
        self._state: RunState = "stopped"
        self._side_w = SIDE_W
        self.setProperty("region", "page")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.show_state(Figures("stopped"))

    def build(self) -> None:
        theme = self._theme
        self.head, self.card = ComfyHead(theme), StateCard(theme)
        self.crash, self.preview, self.install = CrashCard(theme), PreviewCard(theme), InstallCard(theme)
        self.log = LogView(theme, "Log", "Log of ComfyUI")
        self.log.setMinimumHeight(_LOG_LEAST_H)
        self.side = SideSections(theme)
        self._arrange()
        self._bind()

    # What is shown.

    @late
    def show_state(self, figures: Figures) -> None:
        """The head's buttons and the card of figures; what stands in an empty log."""
        self._state = figures.state
        self.card.show_figures(figures)
        if figures.state == "watched":
            self.log.show_empty("No output here", "ComfyUI was started by another program.")
        else:
            button = "Start ComfyUI" if figures.state in ("stopped", "crashed") else ""
            self.log.show_empty(
                "No output yet", "The log starts with ComfyUI.", button, self.start_wanted.emit
            )
        self._fit_parts()

    @late
    def show_crash(self, crash: Crash | None) -> None:
        """Why it does not run; None: nothing is wrong."""
        self.crash.show_crash(crash)

    @late
    def show_node(self, node: NodeFacts) -> None:
        self.side.node.show_node(node)

    @late
    def show_installation(self, facts: InstallFacts | None) -> None:
        """The one in use; None: there is none yet."""
        self.side.installation.show_installation(facts)

    def show_option_problems(self, problems: Mapping[OptionName, str]) -> None:
        """A sentence for each option that cannot be used; the value before stays in force."""
        self.side.installation.editors.show_problems(problems)

    @late
    def show_packs(self, packs: Sequence[PackRow], summary: str, none: str = "No custom nodes.") -> None:
        """All custom nodes in their order; a count such as ``23 loaded, 1 failed``."""
        self.side.packs.show_packs(packs, summary, none)
        self._want_motion()

    def show_pack_problem(self, text: str) -> None:
        """Why an address cannot be used, in the form that is still open."""
        self.side.packs.form.address.show_wrong(text)

    def close_pack_form(self) -> None:
        self.side.packs.set_adding(adding=False)

    def show_preview(self, preview: Preview | None) -> None:
        """Ask before packages change; None: nothing is asked any more."""
        self.preview.show_preview(preview)

    @late
    def show_install_wish(self, wish: InstallWish) -> None:
        """What the form holds, whether it is open or not."""
        self.install.form.show_wish(wish)

    @late
    def show_install_problems(self, problems: Mapping[WishName, str]) -> None:
        self.install.form.show_problems(problems)

    def open_install_form(self) -> None:
        self.install.show_form()
        self._fit_parts()
        self.install.form.line("folder").setFocus()

    @late
    def show_install_steps(self, run: InstallRun | None) -> None:
        """An installation under way, or how it ended; None: its card goes."""
        if run is None:
            self.install.hide()
        else:
            self.install.show_run(run)
        self._fit_parts()

    def show_path(self, what: str, path: str) -> None:
        """The folder that the user chose after ``path_wanted``."""
        if what == "install":
            self.install.form.line("folder").setText(path)
        else:
            self.side.installation.editors.put("models", path)

    def side_width(self) -> int:
        """The width of the column at the right, to be remembered."""
        return self.columns.side_w if self.is_built else self._side_w

    def show_side_width(self, width: int) -> None:
        self._side_w = width
        self._give_side(width)

    @late
    def _give_side(self, width: int) -> None:
        self.columns.show_side_w(width)

    # What the window calls.

    def escape(self) -> None:
        """Close what is open, the innermost first; else end a search in the log."""
        packs, installation = self.side.packs, self.side.installation
        if not self.preview.isHidden():
            self.preview_refused.emit()
        elif packs.is_adding:
            packs.set_adding(adding=False)
        elif installation.is_editing:
            installation.set_editing(editing=False)
        elif self.install.is_form:
            self._leave_form()
        else:
            self.log.escape()

    def open_search(self) -> None:
        if self.log.isVisible():
            self.log.open_search()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._want_motion()
        self.appeared.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._motion.want(self, wanted=False)
        self.vanished.emit()

    # How it is built.

    def _arrange(self) -> None:
        side = self.side
        self.columns = Columns(
            self,
            self._theme,
            self.head,
            (self.card, self.crash, self.preview, self.install),
            self.log,
            side,
            (side.packs.form, side.installation.editors, self.install.form),
        )
        self.setLayout(column(self.columns))

    def _bind(self) -> None:
        pressed = {
            "start": self.start_wanted, "again": self.start_wanted, "stop": self.stop_wanted,
            "restart": self.restart_wanted, "route": self.route_restart_wanted,
            "browse": self.browse_wanted, "folder": self.folder_wanted,
        }  # fmt: skip
        self.head.pressed.connect(
            lambda key: self.open_install_form() if key == "install" else pressed[key].emit()
        )
        self.crash.start_wanted.connect(self.start_wanted)
        self.crash.diagnostics_wanted.connect(self.diagnostics_wanted)
        self.crash.remedy_wanted.connect(self.crash_remedy_wanted)
        self.preview.accepted.connect(self.preview_accepted)
        self.preview.refused.connect(self.preview_refused)
        form, steps = self.install.form, self.install.steps
        form.wanted.connect(self.install_wanted)
        form.left.connect(self._leave_form)
        form.browse_wanted.connect(lambda: self.path_wanted.emit("install"))
        steps.cancel_wanted.connect(self.install_cancel_wanted)
        steps.retry_wanted.connect(self.install_retry_wanted)
        steps.discard_wanted.connect(self.install_discard_wanted)
        steps.closed.connect(lambda: self.show_install_steps(None))
        side = self.side
        side.node.acted.connect(self.node_action)
        side.installation.folder_wanted.connect(self.folder_wanted)
        side.installation.editors.changed.connect(self.options_changed)
        side.installation.editors.browse_wanted.connect(lambda: self.path_wanted.emit("models"))
        side.packs.opened.connect(self._open_pack)
        side.packs.form.wanted.connect(self.pack_wanted)
        self.log.pane.counted.connect(self._show_older)
        self._motion.ticked.connect(self._tick)

    def _open_pack(self, pack: PackRow) -> None:
        popover = pack_popover(self._theme, pack, lambda action: self.pack_action.emit(pack.name, action))
        anchor = self.side.packs.list.anchor
        popover.open_under(anchor, right=True)
        _keep_on_screen(popover, anchor)

    def _leave_form(self) -> None:
        self.install.hide()
        self._fit_parts()

    def _fit_parts(self) -> None:
        """The form stands in place of the log; while the card is open no button has to open it."""
        self.head.show_state(self._state, installing=not self.install.isHidden())
        form = self.install.is_form
        self.log.setVisible(not form)
        self.columns.leave_room(free=form)
        self._want_motion()

    def _show_older(self) -> None:
        if self.log.pane.has_overflowed and not self.log.note():
            self.log.show_note(_OLDER)

    # What moves.

    def _want_motion(self) -> None:
        moves = self.head.moves or self.side.packs.list.moves
        moves = moves or (not self.install.isHidden() and self.install.steps.moves)
        self._motion.want(self, wanted=moves and self.isVisible() and not self._theme.reduced_motion)

    def _tick(self) -> None:
        if self.isVisible():
            self.head.tick()
            self.install.steps.tick()
            if self.side.packs.list.moves:
                self.side.packs.list.viewport().update()


def _keep_on_screen(popover: Popover, anchor: QWidget) -> None:
    """Move a popover up where it would end below the screen."""
    bottom = anchor.screen().availableGeometry().bottom()
    if popover.geometry().bottom() > bottom:
        popover.move(popover.x(), max(bottom - popover.height(), 0))
