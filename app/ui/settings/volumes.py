"""The row where one of the account's network volumes is chosen, and what is to know about the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import ComfyRunPodError
from ...s3.data_centres import has_s3
from ...settings import Secret, Settings
from ..tasks import TaskScope
from ..theme import Theme
from .account import AccountDoor
from .listed import ListedEditor
from .rows import SettingRow

if TYPE_CHECKING:
    from ...endpoint.account_model import Endpoint, Volume

_NAME = "Network volume"


class VolumeRow(SettingRow):
    """Asks for the volumes when it comes in sight first.

    Args:
        loaded: called when the volumes are known.
    """

    def __init__(
        self, theme: Theme, door: AccountDoor | None, scope: TaskScope, loaded: Callable[[], None]
    ) -> None:
        self.editor = ListedEditor(theme, _NAME, "volume", icon="boxes", role="violet", width=304, typed=True)
        super().__init__(theme, _NAME, "Where the endpoint's workers find models and big files.", self.editor)
        self._door, self._scope, self._loaded = door, scope, loaded
        self._can_ask, self._key = False, Secret("")
        self._asked, self._is_asked, self._failure = 0, False, ""
        self.volumes: tuple[Volume, ...] | None = None
        self.editor.refresh.setEnabled(False)
        self.editor.refresh.clicked.connect(lambda: scope.start(self.load(), "volumes"))

    def show_account(self, key: Secret, *, can_ask: bool) -> None:
        """Whether RunPod can be asked. Another key may be another account."""
        if key.reveal() != self._key.reveal():
            self._key, self.volumes, self._failure = key, None, ""
            self._asked += 1
            self._is_asked = False
            self.editor.refresh.setEnabled(can_ask)
        if can_ask != self._can_ask:
            self._can_ask = can_ask
            self.editor.refresh.setEnabled(can_ask)
        self._show()

    def come_in_sight(self) -> None:
        if self._can_ask and not self._is_asked:
            self._is_asked = True
            self._scope.start(self.load(), "volumes")

    def of(self, volume_id: str | None) -> Volume | None:
        return next((each for each in self.volumes or () if each.id == volume_id), None)

    def show_choice(self, settings: Settings, endpoint: Endpoint | None) -> None:
        """Say whether the volume in force is the endpoint's."""
        parts = [self._failure]
        if endpoint is not None:
            parts.append(stranger_note(settings.runpod_volume_id, endpoint, self._called))
        self.show_note(" ".join(part for part in parts if part))

    async def load(self) -> None:
        """Ask RunPod. What comes after the key has changed, or somebody asked again, is not news."""
        if self._door is None:
            return
        self._asked += 1
        mine, self._is_asked = self._asked, True
        self._failure = ""
        self.editor.refresh.setEnabled(False)
        self._show()
        try:
            found = await self._door.volumes()
        except ComfyRunPodError as error:
            if mine != self._asked:
                return
            self._failure = error.sentence
        else:
            if mine != self._asked:
                return
            self.volumes = found
        self.editor.refresh.setEnabled(self._can_ask)
        self._show()
        self._loaded()

    def _show(self) -> None:
        if not self._can_ask:
            # Without an account an id can be typed all the same.
            self.editor.show_listed(None, plain=True)
        elif self.volumes is not None:
            self.editor.show_listed([(each.id, described(each)) for each in self.volumes])
        elif self._failure or not self._is_asked:
            self.editor.show_listed(None, plain=True)
        else:
            self.editor.show_listed(None, "Asking RunPod…")

    def _called(self, volume_id: str) -> str:
        found = self.of(volume_id)
        return found.name if found is not None and found.name else volume_id


def described(volume: Volume) -> str:
    """Name, size and place in one line."""
    size = f"{volume.size_gb} GB" if volume.size_gb is not None else ""
    parts = [volume.name or volume.id, size, volume.data_centre or ""]
    return " · ".join(part for part in parts if part)


def stranger_note(volume_id: str | None, endpoint: Endpoint, called: Callable[[str], str]) -> str:
    """That a volume is not one of the endpoint's; empty when it is, or when there is nothing to compare."""
    if not volume_id or not endpoint.volumes or volume_id in endpoint.volumes:
        return ""
    those = " and ".join(called(each) for each in endpoint.volumes)
    return f"{endpoint.name or endpoint.id} uses {those} instead: its workers do not see this volume."


def place_note(settings: Settings, volume: Volume | None) -> str:
    """What is to know about the data centre in force; empty when all is well."""
    place, real = settings.runpod_datacenter, volume.data_centre if volume is not None else None
    if place and real and place.upper() != real.upper():
        return f"The volume is in {real}."
    if place and not settings.runpod_s3_url and not has_s3(place):
        return (
            f"{place} has no S3 access. Large files go through a worker in pieces, "
            "which takes longer and is charged."
        )
    return ""


def changes_with(volume: Volume | None, fixed: frozenset[str]) -> dict[str, Any]:
    """What a volume brings along when it is chosen: its data centre, unless the environment decides that."""
    if volume is None or not volume.data_centre or "runpod_datacenter" in fixed:
        return {}
    return {"runpod_datacenter": volume.data_centre}
