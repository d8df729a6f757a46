"""A volume by its S3 API, and addresses in a worker's bucket, at a real S3 server on this computer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.errors import Unreachable
from app.jobs.addresses import download
from app.jobs.carriers.base import CannotCarry, Parcel, ResultDamaged, ResultMissing
from app.jobs.carriers.choice import Either, remote_carrier
from app.jobs.carriers.commands import Commands
from app.jobs.carriers.s3 import VolumeS3
from app.s3.access import VolumeAccess
from app.s3.records import Records
from app.settings import Secret, Settings
from tests.s3 import ACCESS, SECRET, s3_server
from tests.s3_proxy import S3Proxy
from worker.bucket import upload
from worker.config import Bucket
from worker.contract import FileEntry

CONTENT = os.urandom(300_000)
SHA = hashlib.sha256(CONTENT).hexdigest()
RESULT = ".comfy-runpod/results/key/0000-a b#ü.png"
ENTRY = FileEntry("a.png", "volume", RESULT, size=len(CONTENT), sha256=SHA)
NAME = "vol0123"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / NAME).mkdir()
    with s3_server(folder) as url:
        yield url, folder / NAME


@pytest.fixture
def access(server: tuple[str, Path]) -> VolumeAccess:
    return VolumeAccess(NAME, server[0], "EU-RO-1", Secret(ACCESS), Secret(SECRET))


@pytest.fixture
def volume(server: tuple[str, Path]) -> Iterator[Path]:
    path = server[1] / RESULT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    yield server[1]
    stored(server[1]).unlink(missing_ok=True)


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    path = tmp_path / "big.png"
    path.write_bytes(CONTENT)
    return Parcel("big.png", path, SHA, len(CONTENT))


def stored(volume: Path) -> Path:
    return volume / ".comfy-runpod" / "inputs" / SHA


@pytest.mark.parametrize("part", [1 << 20, 100_000, 70_000], ids=["whole", "even parts", "odd parts"])
async def test_an_input_is_stored_once(access: VolumeAccess, volume: Path, parcel: Parcel, part: int) -> None:
    carrier = VolumeS3(access, part=part)
    await carrier.put(parcel, uploader="job-1")
    assert stored(volume).read_bytes() == CONTENT
    parcel.path.write_bytes(b"not looked at")
    await carrier.put(parcel, uploader="job-2")
    parcel.path.write_bytes(CONTENT)
    stored(volume).write_bytes(bytes(len(CONTENT)))
    await carrier.put(parcel, uploader="job-3", again=True)
    assert stored(volume).read_bytes() == CONTENT
    await carrier.close()


async def test_an_upload_that_was_cut_goes_on_with_the_missing_parts(
    access: VolumeAccess, volume: Path, parcel: Parcel, tmp_path: Path
) -> None:
    def records() -> Records:
        return Records(tmp_path / "transfers.sqlite")

    with S3Proxy(access.url) as proxy:
        behind = replace(access, url=proxy.url)
        proxy.befall("503", "PUT", part=2)
        carrier = VolumeS3(behind, part=100_000, records=records)
        with pytest.raises(
            Unreachable, match=r"big\.png cannot be sent: the volume vol0123 answers SlowDown"
        ):
            await carrier.put(parcel, uploader="job-1")
        await carrier.close()
        # The program ended meanwhile.
        carrier = VolumeS3(behind, part=100_000, records=records)
        await carrier.put(parcel, uploader="job-1")
        await carrier.close()
        assert proxy.bodies() == len(CONTENT) + 100_000
    assert stored(volume).read_bytes() == CONTENT


async def test_a_cancelled_upload_leaves_nothing(access: VolumeAccess, volume: Path, parcel: Parcel) -> None:
    with S3Proxy(access.url) as proxy:
        carrier = VolumeS3(replace(access, url=proxy.url), part=100_000)
        held = proxy.befall("hold", "PUT", part=3)
        putting = asyncio.create_task(carrier.put(parcel, uploader="job-1"))
        while not held.seen:
            await asyncio.sleep(0.01)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        proxy.let_go()
        await carrier.close()
    assert not stored(volume).exists()
    client = await asyncio.to_thread(access.client)
    assert not client.list_multipart_uploads(Bucket=NAME).get("Uploads")
    client.close()


async def test_a_result_is_fetched_gone_on_with_and_dropped(
    access: VolumeAccess, volume: Path, tmp_path: Path
) -> None:
    carrier, aside = VolumeS3(access), tmp_path / "aside"
    await carrier.fetch(ENTRY, aside)
    assert aside.read_bytes() == CONTENT
    for there in (0, 1, 100_000, len(CONTENT)):
        aside.write_bytes(CONTENT[:there])
        await carrier.fetch(ENTRY, aside)
        assert aside.read_bytes() == CONTENT
    with pytest.raises(ResultDamaged, match="instead of 5"):
        await carrier.fetch(replace(ENTRY, size=5), aside)
    (volume / "models").mkdir(exist_ok=True)
    (volume / "models" / "m").write_bytes(b"m")
    await carrier.drop([ENTRY, replace(ENTRY, data="models/m")])
    assert not (volume / RESULT).exists()
    assert (volume / "models" / "m").exists()
    with pytest.raises(ResultMissing, match="no longer on the volume"):
        await carrier.fetch(ENTRY, aside)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"secret_key": Secret("another-0123456789")}, CannotCarry, "the volume vol0123 answers"),
        ({"volume_id": "absent"}, CannotCarry, "there is no volume absent"),
        ({"url": "http://127.0.0.1:9"}, Unreachable, "cannot be reached"),
    ],
)
async def test_what_goes_wrong_is_said_without_a_secret(
    access: VolumeAccess,
    volume: Path,
    parcel: Parcel,
    change: dict[str, Any],
    kind: type[CannotCarry] | type[Unreachable],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    bad = replace(access, **change)
    with pytest.raises(kind, match=says) as caught:
        await VolumeS3(bad).put(parcel, uploader="job-1")
    told = json.dumps([str(caught.value.problem), repr(bad), caplog.text])
    assert bad.secret_key.reveal() not in told
    assert bad.access_key.reveal() not in told


def test_what_the_settings_say_decides(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def client() -> Any:
        raise AssertionError

    env = {
        "COMFY_RUNPOD_CONFIG": str(tmp_path / "none"),
        "RUNPOD_VOLUME_ID": NAME,
        "RUNPOD_DATACENTER": "EU-RO-1",
        "RUNPOD_S3_ACCESS_KEY": ACCESS,
        "RUNPOD_S3_SECRET_KEY": SECRET,
    }
    access = VolumeAccess.of(Settings.load(env=env))
    assert access is not None
    assert (access.url, access.region) == ("https://s3api-eu-ro-1.runpod.io", "EU-RO-1")
    assert isinstance(remote_carrier("abc", Settings.load(env=env), client), Either)
    by_url = {**env, "RUNPOD_S3_URL": "https://s3api-us-ks-2.runpod.io/"}
    del by_url["RUNPOD_DATACENTER"]
    access = VolumeAccess.of(Settings.load(env=by_url))
    assert access is not None
    assert (access.url, access.region) == ("https://s3api-us-ks-2.runpod.io", "US-KS-2")
    assert not caplog.records
    for name in ("RUNPOD_VOLUME_ID", "RUNPOD_DATACENTER", "RUNPOD_S3_SECRET_KEY"):
        settings = Settings.load(env={key: value for key, value in env.items() if key != name})
        assert isinstance(remote_carrier("abc", settings, client), Commands)
        assert "S3 key is not used" in caplog.text
        caplog.clear()
    assert SECRET not in repr(Settings.load(env=env))


# -- addresses ----------------------------------------------------------------------------------------


async def test_a_result_in_a_bucket_is_fetched_from_its_address(
    server: tuple[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "result"
    path.write_bytes(CONTENT)
    place = Bucket(server[0], ACCESS, SECRET, NAME)
    url = await asyncio.to_thread(
        upload, place, "k/a b#ü.png", lambda: path.open("rb"), len(CONTENT), "image/png"
    )
    entry, aside = replace(ENTRY, type="s3_url", data=url), tmp_path / "aside"
    for there in (None, 0, 100_000, len(CONTENT)):
        if there is not None:
            aside.write_bytes(CONTENT[:there])
        await download(entry, aside)
        assert aside.read_bytes() == CONTENT
    with pytest.raises(ResultDamaged, match="larger than the 5 bytes"):
        await download(replace(entry, size=5), tmp_path / "other")
    (server[1] / "k" / "a b#ü.png").unlink()
    with pytest.raises(ResultMissing, match="the bucket says 404") as caught:
        await download(entry, tmp_path / "gone")
    assert "X-Amz" not in str(caught.value.problem)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": str(len(CONTENT))})
    await response.prepare(request)
    await response.write(CONTENT[:1000])
    assert request.transport is not None
    request.transport.abort()
    return response


async def busy(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=503)


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("http://bucket.example.invalid/x?X-Amz-Signature=s")


async def round_and_round(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/a?X-Amz-Signature=s")


@pytest.mark.parametrize(
    ("handler", "kind"),
    [(cut, Unreachable), (busy, Unreachable), (elsewhere, ResultDamaged), (round_and_round, ResultDamaged)],
)
async def test_a_bucket_in_trouble_is_asked_again_later_and_its_address_not_told(
    handler: Handler, kind: type[Exception], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        seen.append({name.lower() for name in request.headers})
        return await handler(request)

    app = web.Application()
    app.router.add_get("/a", noted)
    async with TestServer(app) as there:
        url = str(there.make_url("/a?X-Amz-Signature=s"))
        with pytest.raises(kind) as caught:
            await download(replace(ENTRY, type="s3_url", data=url), tmp_path / "aside")
    assert "X-Amz" not in str(caught.value) + caplog.text
    assert not seen[0] & {"authorization", "cookie"}
