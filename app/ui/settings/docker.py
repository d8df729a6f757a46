"""What is pushed, and which program does it: the rows of Docker beside its settings."""

from __future__ import annotations

from ...image_names import full_name
from ...settings import Settings
from ..theme import Theme
from .editors import TextField
from .rows import SettingRow


class PushedRow(SettingRow):
    """The image's full name as the settings make it."""

    def __init__(self, theme: Theme) -> None:
        self.name = TextField(theme, "Full name of the image")
        super().__init__(
            theme,
            "Pushed as",
            "An endpoint is always given a version tag or a digest, never latest: "
            "with latest, workers may go on with an older image.",
            self.name,
        )

    def show_settings(self, settings: Settings) -> None:
        name = full_name(settings.docker_registry, settings.docker_image, settings.docker_tag)
        self.name.show_value(name, fixed=name)
