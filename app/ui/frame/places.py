"""The places where workflows can run, as the target menu shows them."""

from __future__ import annotations

from collections.abc import Mapping

from ...account_watch import Listed
from ...jobs.targets import DEMO, LOCAL, is_remote
from ...jobs.words import target_name
from ...settings import Settings
from .topbar import Place

_NONE: Mapping[str, Listed] = {}


def places_of(settings: Settings, listed: Mapping[str, Listed] = _NONE) -> list[Place]:
    """This computer when a ComfyUI is known, the endpoints on RunPod that are, and the demo engine.

    Args:
        listed: the account's endpoints, as far as they are known.
    """
    places = []
    if settings.comfyui_dir is not None or settings.comfyui_url is not None:
        places.append(Place(LOCAL, target_name(LOCAL), "Your ComfyUI · no cost"))
    chosen = [key for key in (settings.runpod_endpoint_id, settings.target) if key and is_remote(key)]
    for key in dict.fromkeys([*chosen, *listed]):
        if key in listed:
            places.append(_listed_place(listed[key]))
        else:
            key_there = bool(settings.runpod_api_key)
            note = "RunPod · charged while it runs" if key_there else "RunPod · no API key is set"
            places.append(Place(key, target_name(key), note, "cloud", "violet"))
    places.append(Place(DEMO, target_name(DEMO), "Sample pictures · no cost", "flask-conical", "teal"))
    return places


def _listed_place(listed: Listed) -> Place:
    endpoint, most = listed.endpoint, listed.endpoint.workers_max
    gpu = "CPU" if endpoint.on_cpu else " or ".join(endpoint.gpu_pools) or "RunPod"
    parts = [gpu]
    if most:
        parts.append("up to 1 worker" if most == 1 else f"up to {most} workers")
    if listed.rate is not None:
        parts.append(f"${listed.rate.usd_per_s:.5f} / s")
    pill = "Switched off" if listed.is_off else ""
    return Place(endpoint.id, endpoint.name or endpoint.id, " · ".join(parts), "cloud", "violet", pill)


def chosen_place(settings: Settings) -> str:
    """The target in force: the one chosen last while it is there, else the first there is."""
    keys = [place.key for place in places_of(settings)]
    return settings.target if settings.target in keys else keys[0]


def other_place(settings: Settings, target: str) -> str | None:
    """Where "the other target" is: on RunPod for what ran here, and here for what ran there."""
    others = [place.key for place in places_of(settings) if place.key != target]
    return next((key for key in others if is_remote(key) != is_remote(target)), others[0] if others else None)
