"""Inputs from the volume and its store: big ones are sent once, checked always, and nothing leads out."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.unit.worker.helpers import tree
from worker.download import Downloader, Stop
from worker.errors import BadRequest, JobError
from worker.given import InputFile, stored_at
from worker.sources import Sources

CONTENT = b"the content"
SHA = hashlib.sha256(CONTENT).hexdigest()
OTHER = "1" * 64


def nowhere(*_: Any) -> Sequence[str]:
    raise socket.gaierror


def given(name: str = "a.png", **source: Any) -> InputFile:
    return InputFile(PurePosixPath(name), **source)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume" / "in").mkdir(parents=True)
    (tmp_path / "volume" / "in" / "x.png").write_bytes(CONTENT)
    return tmp_path / "volume"


@pytest.fixture
def sources(volume: Path) -> Sources:
    return Sources(volume, Downloader(resolve=nowhere))


def test_a_file_of_the_volume_is_copied(sources: Sources, tmp_path: Path) -> None:
    sources.write(given(volume_path=PurePosixPath("in/x.png")), tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert not (tmp_path / "t").is_symlink()


@pytest.mark.parametrize("source", [{"content": CONTENT}, {"volume_path": PurePosixPath("in/x.png")}])
def test_what_came_with_its_hash_need_not_be_sent_again(
    sources: Sources, tmp_path: Path, source: dict[str, Any]
) -> None:
    with pytest.raises(JobError, match=r"'a\.png' is not in the volume's store") as caught:
        sources.write(given(sha256=SHA), tmp_path / "t")
    assert caught.value.code == "input_missing"
    sources.write(given(**source, sha256=SHA), tmp_path / "t")
    kept = (sources.volume or Path()) / stored_at(SHA)
    os.utime(kept, (1000, 1000))
    for again in (given("b.png", sha256=SHA), given(url="https://gone.example/x", sha256=SHA)):
        sources.write(again, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == CONTENT
    assert time.time() - kept.stat().st_mtime < 60, "what is used is not old"
    assert not [path for path in tree(sources.volume or Path()) if path.endswith(".part")]


@pytest.mark.parametrize("source", [{"content": CONTENT}, {"volume_path": PurePosixPath("in/x.png")}])
def test_what_is_not_what_its_hash_says_is_refused_and_not_kept(
    sources: Sources, volume: Path, tmp_path: Path, source: dict[str, Any]
) -> None:
    with pytest.raises(BadRequest, match=r"'a\.png' is damaged") as caught:
        sources.write(given(**source, sha256=OTHER), tmp_path / "t")
    assert caught.value.details == {"told": OTHER, "found": SHA}
    assert tree(volume).keys() == {"in", "in/x.png"}


def test_a_damaged_store_is_noticed(sources: Sources, volume: Path, tmp_path: Path) -> None:
    kept = volume / stored_at(SHA)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"damaged")
    with pytest.raises(BadRequest, match="is damaged"):
        sources.write(given(sha256=SHA), tmp_path / "t")


@pytest.mark.parametrize("source", [{"sha256": SHA}, {"volume_path": PurePosixPath("in/x.png")}])
def test_without_a_volume_it_is_told(tmp_path: Path, source: dict[str, Any]) -> None:
    with pytest.raises(JobError, match="needs a network volume"):
        Sources().write(given(**source), tmp_path / "t")


@pytest.mark.parametrize("path", ["in", "in/absent.png", "in/x.png/y"])
def test_what_is_not_there_is_named(sources: Sources, tmp_path: Path, path: str) -> None:
    with pytest.raises(JobError, match=f"is not on the volume as '{path}'"):
        sources.write(given(volume_path=PurePosixPath(path)), tmp_path / "t")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_that_lead_out_of_the_volume_are_not_followed(
    sources: Sources, volume: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (volume / "out.png").symlink_to(tmp_path / "secret")
    (volume / "up").symlink_to(tmp_path)
    for path in ("out.png", "up/secret"):
        with pytest.raises(BadRequest, match="leads out of the volume"):
            sources.write(given(volume_path=PurePosixPath(path)), tmp_path / "t")


def test_a_store_that_refuses_costs_no_job(
    sources: Sources, volume: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (volume / ".comfy-runpod").write_text("a file where the folder must be")
    sources.write(given(content=CONTENT, sha256=SHA), tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == CONTENT
    assert "could not be kept" in caplog.text


def test_an_address_that_fails_is_told(sources: Sources, tmp_path: Path) -> None:
    assert isinstance(sources.stop, Stop)
    with pytest.raises(JobError, match=r"could not be fetched from gone\.example: its name cannot be"):
        sources.write(given(url="https://gone.example/x"), tmp_path / "t")
