"""Results in a bucket, at a real S3 server on this computer."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.s3 import ACCESS, SECRET, s3_server
from tests.unit.worker.helpers import demo, make_config
from tests.unit.worker.test_delivery import LIMITS, answer, written
from tests.unit.worker.test_handler import color
from worker import bucket as module
from worker.bucket import NotUploaded, upload
from worker.config import Bucket
from worker.delivery import Delivery
from worker.validation import OutputMode, OutputWish


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of an S3 server, and the folder in which it keeps its buckets."""
    folder = tmp_path_factory.mktemp("s3")
    for name in ("results", time.strftime("%m-%y")):
        (folder / name).mkdir()
    with s3_server(folder) as url:
        yield url, folder


@pytest.fixture
def place(server: tuple[str, Path]) -> Bucket:
    return Bucket(server[0], ACCESS, SECRET, "results")


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read())


def test_results_can_be_fetched_from_their_addresses_by_anybody(
    server: tuple[str, Path], place: Bucket, tmp_path: Path
) -> None:
    content = os.urandom(300_000)
    files = [written(tmp_path, "a b#ü.png", content), written(tmp_path, "v.mp4", b"video")]
    wish = OutputWish("s3")
    told = answer(files, Delivery.of(make_config(tmp_path, bucket=place), "job", wish, "key"))
    image, video = told["images"][0], told["videos"][0]
    assert (image["type"], image["size"]) == ("s3_url", len(content))
    assert image["sha256"] == hashlib.sha256(content).hexdigest()
    assert (fetched(image["data"]), fetched(video["data"])) == (content, b"video")
    assert (server[1] / "results" / "key" / "0000-a b#ü.png").read_bytes() == content
    assert SECRET not in json.dumps(told)


@pytest.mark.parametrize(
    ("mode", "size", "kind"),
    [
        *((None, 5, "s3_url"), ("auto", 5, "base64"), ("auto", 900_000, "s3_url")),
        *(("base64", 900_000, "s3_url"), ("volume", 5, "s3_url")),
    ],
)
def test_when_results_go_into_the_bucket(
    place: Bucket, tmp_path: Path, mode: OutputMode | None, size: int, kind: str
) -> None:
    """A client of worker-comfyui, which names no mode, finds all results there, as it is used to."""
    config = make_config(tmp_path, bucket=place, **LIMITS)
    told = answer(
        [written(tmp_path, "x.png", bytes(size))], Delivery.of(config, "1", OutputWish(mode), "key")
    )
    assert told["images"][0]["type"] == kind


def test_a_big_file_goes_in_pieces(
    server: tuple[str, Path], place: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PIECE", 5 << 20)
    content = os.urandom(12_000_000)
    path = tmp_path / "big.bin"
    path.write_bytes(content)
    url = upload(place, "k/big.bin", lambda: path.open("rb"), len(content), "application/octet-stream")
    assert fetched(url) == content


def test_without_a_name_the_bucket_is_the_month(server: tuple[str, Path], place: Bucket) -> None:
    def content() -> Any:
        return open(os.devnull, "rb")  # noqa: PTH123

    assert upload(replace(place, name=None), "k/x", content, 0, "image/png")
    assert (server[1] / time.strftime("%m-%y") / "k" / "x").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"secret_key": "another-secret-0123456789"}, "the bucket 'results' answers SignatureDoesNotMatch"),
        ({"name": "absent"}, "the bucket 'absent' answers NoSuchBucket"),
        ({"endpoint": "http://127.0.0.1:9"}, "the bucket's server cannot be used (EndpointConnectionError)"),
    ],
)
def test_what_goes_wrong_is_told_without_a_secret_and_costs_no_result(
    place: Bucket, tmp_path: Path, change: dict[str, Any], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = replace(place, **change)
    config = make_config(tmp_path, bucket=bad, **LIMITS)
    order = Delivery.of(config, "1", OutputWish("s3"), "key")
    told = answer([written(tmp_path, "x.png", b"x")], order)
    assert told["images"][0]["type"] == "base64"
    assert says in told["warnings"][0]
    assert bad.secret_key not in json.dumps(told) + caplog.text


def test_a_server_that_keeps_something_else_is_not_believed(
    place: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    monkeypatch.setattr(module, "_put", lambda client, name, key, *_: client.put_object(Bucket=name, Key=key))
    with pytest.raises(NotUploaded, match="has 0 of 5 bytes"):
        upload(place, "k/y", lambda: path.open("rb"), 5, "image/png")


async def test_a_whole_job(place: Bucket, tmp_path: Path) -> None:
    async with demo(tmp_path, bucket=place) as bench:
        told = await bench.run(color(5), output={"mode": "s3", "prefix": "cats/2026"})
    (image,) = told["images"]
    assert "/results/cats/2026/" in image["data"]
    assert fetched(image["data"]).startswith(b"\x89PNG")


def test_the_library_is_not_imported_without_need() -> None:
    code = "import sys, worker.handler, worker.__main__; print(*({'boto3', 'botocore'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == []


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        ("https://b.s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://s3api-eu-ro-1.runpod.io", "EU-RO-1"),
        ("https://fra1.digitaloceanspaces.com", "fra1"),
        ("https://b.fra1.digitaloceanspaces.com", "fra1"),
        ("http://127.0.0.1:9000", "us-east-1"),
        ("https://x.r2.cloudflarestorage.com", "us-east-1"),
    ],
)
def test_the_region_is_in_the_address(endpoint: str, region: str) -> None:
    client: Callable[[Bucket], Any] = module.client_of.__wrapped__
    assert client(Bucket(endpoint, ACCESS, SECRET)).meta.region_name == region
