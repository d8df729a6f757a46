"""``comfy-runpod account gpus|volumes``, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.cli import COMMANDS, _parser
from app.commands.catalogue import account
from app.endpoint.errors import KeyRefused
from app.s3.data_centres import has_s3, s3_url
from app.settings import Secret, Settings
from tests.unit.endpoint.management import KEY, Management, managing


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    async with managing() as management:
        yield management


@pytest.fixture
def settings(tmp_path: Path, api: Management) -> Settings:
    return Settings(
        data_dir=tmp_path,
        output_dir=tmp_path,
        runpod_api_url=api.url,
        runpod_api_key=Secret(KEY),
        runpod_endpoint_id="ep-one",
        runpod_volume_id="vol1",
    )


async def run(settings: Settings, *words: str) -> int:
    assert "account" in COMMANDS
    return await account(_parser().parse_args(["account", *words]), settings)


async def test_gpus_come_with_price_and_mark(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(settings, "gpus") == 0
    assert capsys.readouterr().out.splitlines() == [
        "* RTX 4090 · 24 GB · ADA_24 · $0.00031 / s ($1.10 / h) · free: low",
        "  L40 · 24 GB · ADA_48_PRO · $0.00053 / s ($1.90 / h) · free: low",
        "* L40S · 24 GB · ADA_48_PRO · $0.00055 / s ($1.98 / h) · free: low",
        "* RTX 6000 Ada · 24 GB · ADA_48_PRO · no price named · free: low",
    ]
    assert await run(replace(settings, runpod_endpoint_id="gone"), "gpus", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["of_endpoint"] for each in told] == [False] * 4
    assert told[0]["usd_per_second"] == pytest.approx(1.1 / 3600)
    assert told[-1]["usd_per_hour"] is None


async def test_volumes_come_with_their_place_and_users(
    settings: Settings, api: Management, capsys: pytest.CaptureFixture[str]
) -> None:
    api.volumes.append({"id": "vol2", "name": "far", "size": 50, "dataCenter": "EU-FR-1"})
    assert await run(settings, "volumes") == 0
    assert capsys.readouterr().out.splitlines() == [
        "* vol1  models · 100 GB · EU-RO-1 · S3 access · used by comfy-flux",
        "  vol2  far · 50 GB · EU-FR-1 · no S3 access · used by no endpoint",
    ]
    assert await run(settings, "volumes", "--json") == 0
    near, far = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (near["s3_url"], near["endpoints"]) == ("https://s3api-eu-ro-1.runpod.io", ["ep-one"])
    assert (far["s3_url"], far["size_gb"]) == (None, 50)
    api.volumes.clear()
    assert await run(settings, "volumes") == 0
    assert capsys.readouterr().out == "The account has no network volume yet.\n"


async def test_a_key_that_is_refused_is_raised(settings: Settings) -> None:
    for words in (("gpus",), ("volumes", "--json")):
        with pytest.raises(KeyRefused):
            await run(replace(settings, runpod_api_key=Secret("rpa_another")), *words)


def test_the_s3_address_follows_from_a_data_centre_that_has_one() -> None:
    assert (has_s3("eu-ro-1"), has_s3("EU-FR-1"), has_s3("")) == (True, False, False)
    assert s3_url("US-KS-2") == "https://s3api-us-ks-2.runpod.io"
