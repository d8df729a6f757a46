"""The places where workflows can run, as the target menu shows them."""

from __future__ import annotations

from ...jobs.targets import DEMO, LOCAL, is_remote
from ...jobs.words import target_name
from ...settings import Settings
from .topbar import Place


def places_of(settings: Settings, comfy_note: str = "") -> list[Place]:
    """This computer when a ComfyUI is known, the endpoint on RunPod when one is, and the demo engine."""
    places = []
    if settings.comfyui_dir is not None or settings.comfyui_url is not None:
        places.append(Place(LOCAL, target_name(LOCAL), comfy_note or "Your ComfyUI · no cost"))
    if settings.runpod_endpoint_id:
        key = settings.runpod_endpoint_id
        note = "RunPod · charged while it runs" if settings.runpod_api_key else "RunPod · no API key is set"
        places.append(Place(key, target_name(key), note, "cloud", "violet"))
    places.append(Place(DEMO, target_name(DEMO), "Sample pictures · no cost", "flask-conical", "teal"))
    return places


def chosen_place(settings: Settings) -> str:
    """The target in force: the one chosen last while it is there, else the first there is."""
    keys = [place.key for place in places_of(settings)]
    return settings.target if settings.target in keys else keys[0]


def other_place(settings: Settings, target: str) -> str | None:
    """Where "the other target" is: on RunPod for what ran here, and here for what ran there."""
    others = [place.key for place in places_of(settings) if place.key != target]
    return next((key for key in others if is_remote(key) != is_remote(target)), others[0] if others else None)
