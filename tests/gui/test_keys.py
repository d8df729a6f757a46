"""A key of the keyring comes into force by itself, and stays when other settings change."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.settings import Secret
from app.ui.frame.places import places_of
from app.ui.theme import Theme
from tests.gui.harness import on_loop
from tests.gui.scenes import opened
from tests.keyrings import MemoryKeyring, using


@on_loop
async def test_a_key_of_the_keyring_is_used_by_the_window(
    theme: Theme, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMFY_RUNPOD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COMFY_RUNPOD_CONFIG", str(tmp_path / "data" / "settings.yaml"))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("RUNPOD_ENDPOINT_ID", "comfy-flux-prod")
    with using(MemoryKeyring()) as keyring:
        async with opened(theme, tmp_path, runpod_api_key=Secret("")) as panel:
            assert "RunPod · no API key is set" in [place.note for place in places_of(panel.settings)]
            await panel._take_keys()
            assert not panel.settings.runpod_api_key
            keyring.kept["runpod_api_key"] = "rpa_INTHEKEYRING0123456789"
            await panel._take_keys()
            assert panel.settings.runpod_api_key.reveal() == "rpa_INTHEKEYRING0123456789"
            assert "RunPod · charged while it runs" in [place.note for place in places_of(panel.settings)]
            asked = keyring.asked
            await panel._change({"text_size": 110})
            assert panel.settings.runpod_api_key.reveal() == "rpa_INTHEKEYRING0123456789"
            assert keyring.asked == asked
            assert "rpa_" not in (tmp_path / "data" / "settings.yaml").read_text()
