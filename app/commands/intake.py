"""What the commands that take workflow files share: where they shall run, and what is known of that place."""

from __future__ import annotations

from pathlib import Path

from ..comfyui.status import ComfyState
from ..errors import BadInput
from ..jobs.targets import is_remote
from ..preflight.intake import Intake
from ..services import make_house, make_sources, make_target
from ..settings import Settings
from ..workflows.collect import Dropped
from ..workflows.read import look_into


def target_of(given: str | None, settings: Settings) -> str:
    """The target that is meant.

    Raises:
        BadInput: when none is, or it can be none.
    """
    target = given or settings.runpod_endpoint_id
    if not target:
        raise BadInput(
            "No target is given.", hint="Use --target demo, --target local, or a RunPod endpoint's id."
        )
    make_target(target, settings)
    return target


def make_intake(settings: Settings) -> Intake:
    async def url() -> str | None:
        if settings.comfyui_url is None and settings.comfyui_dir is None:
            return None
        # Only looked at: one that runs goes on, whoever started it.
        status = await make_house(settings).look()
        return status.url if status.state is ComfyState.RUNNING else None

    def name(target: str) -> str:
        return f"endpoint {target}" if is_remote(target) else target

    return Intake(make_sources(lambda: settings, local_url=url, name=name))


def handed_over(name: str) -> Dropped:
    """The file of an argument. Blocks.

    Raises:
        NotAWorkflow: saying what it is instead.
    """
    return Dropped(Path(name), look_into(Path(name)))
