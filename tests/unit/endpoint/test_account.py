"""The account: what the management API says and refuses, and that whatever it says is survived."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from app.endpoint import account as module
from app.endpoint.account import AccountClient
from app.endpoint.account_model import Endpoint
from app.endpoint.answers import Answer
from app.endpoint.errors import KeyRefused, RateLimited, UnknownEndpoint
from app.endpoint.prices import GpuType, price_of
from app.errors import BadInput, ComfyRunPodError, Refused, Unreachable
from app.settings import Secret
from tests.unit.endpoint.management import KEY, Management, managing, problem


@pytest.fixture
async def api() -> AsyncIterator[Management]:
    async with managing() as management:
        yield management


def client(api: Management, key: str = KEY, **options: Any) -> AccountClient:
    return AccountClient(api.url, Secret(key), backoff_s=0.001, **options)


# -- what it says --------------------------------------------------------------------------------------


async def test_an_endpoint_as_runpod_tells_it(api: Management) -> None:
    (found,) = await client(api).endpoints()
    assert found == await client(api).endpoint("ep-one")
    assert (found.id, found.name, found.type, found.image) == (
        "ep-one", "comfy-flux", "QUEUE", "someone/comfy:1",
    )  # fmt: skip
    assert (found.workers_min, found.workers_max, found.idle_timeout_s) == (0, 3, 5)
    assert (found.gpu_pools, found.gpu_count, found.on_cpu) == (("ADA_24", "ADA_48_PRO"), 2, False)
    assert (found.volumes, found.data_centres) == (("vol1",), ("EU-RO-1",))
    assert "hf_somebodys_token" not in repr(found)


async def test_workers_releases_volumes_places_and_charges(api: Management) -> None:
    account = client(api)
    live = await account.workers("ep-one")
    assert [(each.status, each.is_stale) for each in live.workers] == [
        ("RUNNING", True),
        ("THROTTLED", False),
    ]
    assert live.counts["throttled"] == 1
    roll_out = await account.roll_out("ep-one")
    assert (roll_out.in_progress, roll_out.on_latest, roll_out.total) == (True, 1, 2)
    (release,) = roll_out.releases
    assert (release.old_image, release.new_image) == ("someone/comfy:0", "someone/comfy:1")
    assert "hf_somebodys_token" not in repr(roll_out)
    (volume,) = await account.volumes()
    assert (volume.id, volume.size_gb, volume.data_centre) == ("vol1", 100, "EU-RO-1")
    (centre,) = await account.data_centres()
    assert (centre.id, centre.volume_types) == ("EU-RO-1", ("STANDARD",))
    (charge,) = await account.charges(days=7, endpoint_id="ep-one")
    assert (charge.endpoint_id, charge.total, charge.begin) == ("ep-one", 8.9, "2026-06-01T00:00:00Z")
    assert api.asked[-1] == "GET billing/serverless?bucketSize=day&lastN=7&serverlessId=ep-one"


async def test_the_price_is_that_of_the_pools_without_what_is_excluded(api: Management) -> None:
    gpus = await client(api).gpu_types()
    (endpoint,) = await client(api).endpoints()
    price = price_of(endpoint, gpus)
    assert price is not None
    assert price.per_hour == pytest.approx((2.2, 3.96))
    assert str(price) == "$0.00061 to $0.00110 / s"
    one = Endpoint("x", gpu_pools=("ADA_24",))
    assert str(price_of(one, gpus)) == "$0.00031 / s"
    assert price_of(Endpoint("x", gpu_pools=("AMPERE_80",)), gpus) is None
    assert price_of(Endpoint("x"), gpus) is None
    assert price_of(Endpoint("x", gpu_pools=("ADA_24",), on_cpu=True), gpus) is None
    assert [each.availability for each in gpus] == [None] * 5
    assert [each.availability for each in await client(api).gpu_types(availability=True)] == ["LOW"] * 5


async def test_only_what_is_given_is_changed(api: Management) -> None:
    account = client(api)
    after = await account.change("ep-one", workers_max=0)
    assert (after.workers_min, after.workers_max, after.idle_timeout_s) == (0, 0, 5)
    after = await account.change("ep-one", workers_min=0, workers_max=2, idle_timeout_s=9, image="me/comfy:2")
    assert (after.workers_max, after.idle_timeout_s, after.image) == (2, 9, "me/comfy:2")
    with pytest.raises(Refused, match="is above") as caught:
        await account.change("ep-one", workers_min=3)
    assert caught.value.status == 400
    with pytest.raises(Refused, match="idleTimeout"):
        await account.change("ep-one", idle_timeout_s=3601)
    asked = len(api.asked)
    for wrong in ({}, {"image": ""}, {"workers_min": -1}, {"idle_timeout_s": 0}):
        with pytest.raises(BadInput):
            await account.change("ep-one", **wrong)  # type: ignore[arg-type]
    assert len(api.asked) == asked


# -- what it refuses -----------------------------------------------------------------------------------


async def test_a_key_is_checked(api: Management) -> None:
    good = await client(api).check_key()
    assert (good.works, good.sentence) == (True, "The API key works: the account has 1 endpoint.")
    bad = await client(api, "rpa_another").check_key()
    assert (bad.works, bad.sentence) == (
        False, "RunPod does not accept the API key. It may be mistyped or revoked.",
    )  # fmt: skip
    assert len(api.asked) == 2
    with pytest.raises(KeyRefused, match="No RunPod API key"):
        await client(api, "").endpoints()
    api.first = [problem(403, "Forbidden", "access denied")]
    assert not (await client(api).check_key()).works


async def test_an_endpoint_that_is_not_there(api: Management) -> None:
    with pytest.raises(UnknownEndpoint):
        await client(api).workers("ep-two")
    asked = len(api.asked)
    for name in ("", "..", "a/b", "a?b", "a b"):
        with pytest.raises(BadInput):
            await client(api).endpoint(name)
    assert len(api.asked) == asked


async def test_too_often_is_waited_for_as_asked(api: Management) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    too_often = [problem(429, "Too Many Requests", "slow", Retry_After="12") for _ in range(3)]
    api.first = too_often[:2]
    assert await client(api, sleep=sleep).endpoints()
    assert slept == [12, 12]
    api.first = [problem(429, "Too Many Requests", "slow", Retry_After="12") for _ in range(3)]
    with pytest.raises(RateLimited) as caught:
        await client(api, sleep=sleep).change("ep-one", workers_max=1)
    assert caught.value.hint == "Try again in 12 s."
    assert slept == [12] * 4
    api.first = [problem(429, "Too Many Requests", "slow", Retry_After="900")]
    with pytest.raises(RateLimited, match="too often"):
        await client(api, sleep=sleep).endpoints()
    assert slept == [12] * 4


async def test_a_question_is_asked_again_and_a_change_is_not(api: Management) -> None:
    api.first = [web.Response(status=502), None]
    assert await client(api).endpoints()
    assert len(api.asked) == 3
    api.first = [None]
    with pytest.raises(Unreachable):
        await client(api).change("ep-one", workers_max=1)
    api.first = [web.Response(status=500)]
    with pytest.raises(Refused, match="500"):
        await client(api).change("ep-one", workers_max=1)
    assert len(api.asked) == 5


async def test_a_redirect_is_not_followed(api: Management) -> None:
    api.first = [web.Response(status=302, headers={"Location": f"{api.url}/serverless"})]
    with pytest.raises(Refused, match="302"):
        await client(api).endpoints()
    assert len(api.asked) == 1


async def test_an_answer_may_not_be_without_end(api: Management) -> None:
    api.first = [web.json_response({"endpoints": ["x" * 5000]})]
    with pytest.raises(Refused, match="MB"):
        await client(api, max_bytes=4000).endpoints()


@pytest.mark.parametrize("body", ["", "<html>Sign in</html>", "[]", "7", "{", "[" * 100_000, '{"a": "'])
async def test_an_answer_that_is_no_object_is_named(api: Management, body: str) -> None:
    api.first = [web.Response(text=body)]
    with pytest.raises(Refused, match="not what its management API says"):
        await client(api).endpoints()


async def test_nobody_there() -> None:
    for url in ("http://127.0.0.1:9/v2", "http://[", "http://a b/", "http://.invalid./"):
        with pytest.raises(Unreachable, match=r"cannot be reached: .*\.") as caught:
            await AccountClient(url, Secret(KEY), attempts=1, timeout_s=2).endpoints()
        assert KEY not in str(caught.value)


async def test_the_key_is_shown_nowhere(api: Management, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    account = client(api)
    api.first = [problem(400, f"you sent {KEY}", f"Bearer {KEY} is odd", [KEY])]
    with pytest.raises(Refused) as caught:
        await account.endpoints()
    assert "***" in str(caught.value)
    said = [str(caught.value), repr(caught.value.problem), repr(account), repr(vars(account)), caplog.text]
    with pytest.raises(Unreachable) as lost:
        await AccountClient("http://127.0.0.1:9", Secret(f"{KEY}\n"), attempts=1).endpoints()
    said += [repr(lost.value), repr(lost.value.__cause__), repr(lost.value.problem)]
    assert not [text for text in said if KEY in text]


async def test_a_key_of_netrc_is_not_preferred(
    api: Management, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password of-netrc\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert await client(api).endpoints()


# -- whatever it says ----------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400)
NAMES = st.sampled_from(
    [
        *("endpoints", "workers", "summary", "rollout", "releases", "networkVolumes", "gpus", "dataCenters"),
        *(
            "records",
            "id",
            "name",
            "gpu",
            "pools",
            "count",
            "min",
            "max",
            "price",
            "serverless",
            "pool",
            "diff",
        ),
        *("field", "old", "new", "totalAmount", "detail", "errors", "image", "size", "excludedTypes", "cpu"),
    ]
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(), inner, max_size=6),
    max_leaves=25,
)
LIKELY = st.dictionaries(
    NAMES, st.lists(st.dictionaries(NAMES, ANY, max_size=6), max_size=3) | ANY, max_size=8
)


@settings(deadline=None, max_examples=40)
@given(
    data=LIKELY | ANY, status=st.sampled_from([200, 200, 200, 204, 302, 400, 401, 403, 404, 422, 429, 500])
)
def test_any_answer_is_understood_or_a_typed_error(data: Any, status: int) -> None:
    raw = json.dumps(data).encode()

    async def ask() -> None:
        account = AccountClient("http://x", Secret(KEY), attempts=1)
        for call in (
            account.check_key, account.endpoints, account.volumes, account.gpu_types, account.data_centres,
            account.charges, lambda: account.endpoint("e"), lambda: account.workers("e"),
            lambda: account.roll_out("e"), lambda: account.change("e", image="i"),
        ):  # fmt: skip
            try:
                found: Any = await call()
            except ComfyRunPodError as error:
                f"{error}{error.problem}".encode()
            else:
                repr(found).encode()
        try:
            endpoints, gpus = await account.endpoints(), await account.gpu_types()
        except ComfyRunPodError:
            return
        for endpoint in endpoints:
            str(price_of(endpoint, gpus))

    with mock.patch.object(module, "send", return_value=Answer(status, raw, "soon")):
        asyncio.run(ask())


@given(data=st.dictionaries(NAMES, ANY), gpu=st.dictionaries(NAMES, ANY))
def test_a_price_is_a_number_or_not_known(data: dict[str, Any], gpu: dict[str, Any]) -> None:
    price = price_of(Endpoint.parse(data), [GpuType.parse(gpu)])
    assert price is None or 0 <= price.lowest <= price.highest
