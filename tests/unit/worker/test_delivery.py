"""Results never pass the platform's limit, and are never dropped for it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.unit.worker.helpers import delivery, make_config, tree
from worker.answer import answer_of
from worker.contract import files_of
from worker.delivery import Delivery
from worker.errors import JobError
from worker.outputs import Collected, OutputFile
from worker.upkeep import prune_volume, remove_undelivered
from worker.validation import OutputWish


def written(folder: Path, name: str, content: bytes = b"x") -> OutputFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return OutputFile(path, name, "", "9")


def answer(
    files: list[OutputFile], order: Delivery, texts: tuple[dict[str, Any], ...] = ()
) -> dict[str, Any]:
    return answer_of(Collected(tuple(files), texts), [], {}, {}, order, began=time.monotonic())


def test_small_results_come_in_base64_with_size_and_hash(tmp_path: Path) -> None:
    names = ("a.png", "b.mp4", "c.flac", "d.glb")
    files = [written(tmp_path, name, name.encode() * 9) for name in names]
    packed = delivery(make_config(tmp_path)).pack(files, 0)
    assert {key: [item["filename"] for item in listed] for key, listed in packed.lists.items()} == {
        "images": ["a.png"],
        "videos": ["b.mp4"],
        "audio": ["c.flac"],
        "files": ["d.glb"],
    }
    for told in files_of(packed.lists):
        content = told.filename.encode() * 9
        assert (told.type, base64.b64decode(told.data)) == ("base64", content)
        assert (told.size, told.sha256) == (len(content), hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(("mode", "limit"), [("volume", 10**9), ("auto", 210_000)])
def test_results_on_the_volume(tmp_path: Path, mode: Any, limit: int) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    big = os.urandom(1_500_000)
    longest = "y" * 251 + ".png"
    files = [
        written(tmp_path / "output", "x.png", big),
        written(tmp_path / "output" / "2", "x.png", b"other"),
    ]
    files.append(written(tmp_path / "output", longest, b"long"))
    config = make_config(tmp_path, volume=volume, max_inline_bytes=limit)
    told = files_of(delivery(config, mode).pack(files, 0).lists)
    assert [entry.filename for entry in told] == ["x.png", "x.png", longest]
    for each, content in zip(told, (big, b"other", b"long"), strict=True):
        assert each.type == "volume"
        assert each.data.startswith(".comfy-runpod/results/key/")
        assert (volume / each.data).read_bytes() == content
        assert (each.size, each.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert len([path for path in tree(volume) if (volume / path).is_file()]) == 3


def test_a_prefix_is_a_folder_of_the_client_s(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    config = make_config(tmp_path, volume=tmp_path / "v")
    order = Delivery.of(config, "1", OutputWish("volume", PurePosixPath("cats/2026")), "key")
    (told,) = files_of(order.pack([written(tmp_path, "x.png")], 0).lists)
    assert told.data == ".comfy-runpod/results/cats/2026/key/0000-x.png"


LIMITS: dict[str, Any] = {"max_inline_bytes": 400_000, "max_answer_bytes": 1_000_000}


@pytest.mark.parametrize(
    ("mode", "size", "way"),
    [
        *(("auto", 200_000, "base64"), ("auto", 500_000, "volume"), ("auto", 900_000, "volume")),
        *(("base64", 200_000, "base64"), ("base64", 500_000, "base64"), ("base64", 900_000, "volume")),
        *(("volume", 5, "volume"), ("volume", 900_000, "volume"), (None, 5, "base64")),
    ],
)
def test_which_way_results_go_with_a_volume(tmp_path: Path, mode: Any, size: int, way: str) -> None:
    (tmp_path / "v").mkdir()
    config = make_config(tmp_path, volume=tmp_path / "v", **LIMITS)
    told = answer([written(tmp_path, "x.png", os.urandom(size))], delivery(config, mode))
    assert told["images"][0]["type"] == way
    assert bool(told.get("warnings")) is (mode == "base64" != way)


def test_without_a_volume_auto_uses_all_that_the_platform_lets_through(tmp_path: Path) -> None:
    told = answer([written(tmp_path, "x.png", bytes(600_000))], delivery(make_config(tmp_path, **LIMITS)))
    assert told["images"][0]["type"] == "base64"


@pytest.mark.parametrize("mode", ["auto", "base64", None])
def test_results_that_cannot_be_handed_over_are_kept(tmp_path: Path, mode: Any) -> None:
    file = written(tmp_path, "x.png", bytes(900_000))
    with pytest.raises(JobError, match=r"neither a network volume nor a bucket for them\.$") as caught:
        answer([file], delivery(make_config(tmp_path, **LIMITS), mode))
    assert (caught.value.code, caught.value.details) == ("result_too_large", ["x.png"])
    assert file.path.is_file()


@pytest.mark.parametrize(("mode", "code"), [("volume", "no_volume"), ("s3", "no_bucket")])
def test_a_place_that_is_not_there_is_told_before_anything_runs(tmp_path: Path, mode: Any, code: str) -> None:
    with pytest.raises(JobError) as caught:
        delivery(make_config(tmp_path), mode)
    assert caught.value.code == code


def test_a_volume_that_cannot_be_written_costs_no_result_that_fits(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / ".comfy-runpod").write_text("a file where the folder must be")
    config = make_config(tmp_path, volume=tmp_path / "volume", **LIMITS)
    told = answer([written(tmp_path, "x.png")], delivery(config, "volume"))
    assert told["images"][0]["type"] == "base64"
    assert told["warnings"][0].startswith(
        "The results are in the answer, since they could not be laid on the"
    )
    with pytest.raises(JobError, match=r"could not be handed over \(on the network volume: ") as caught:
        answer([written(tmp_path, "x.png", bytes(900_000))], delivery(config, "volume"))
    assert caught.value.code == "result_not_written"


@pytest.mark.parametrize(("job_id", "limit"), [("a-u1", 10_000_000), ("sync-a-u1", 20_000_000)])
def test_no_answer_passes_the_platform_s_limit(tmp_path: Path, job_id: str, limit: int) -> None:
    """However the files are cut: what is inline is below the limit, and it is used to nine tenths."""
    (tmp_path / "v").mkdir()
    config = make_config(tmp_path, volume=tmp_path / "v", max_inline_bytes=10**9)
    last = 0
    for size in (limit * 60 // 100, limit * 70 // 100, limit * 71 // 100, limit * 75 // 100):
        files = [written(tmp_path, f"{n}.png", bytes(size // 10)) for n in range(10)]
        told = answer(files, delivery(config, "base64", job_id), ({"node_id": "1", "text": "ü" * 9999},))
        told_bytes = len(json.dumps({"output": told}))
        assert told_bytes < limit
        if told["images"][0]["type"] == "base64":
            last = told_bytes
    assert last > limit * 0.9


def test_older_clients_get_the_first_result_as_message_too(tmp_path: Path) -> None:
    config = make_config(tmp_path, adds_message=True, **LIMITS)
    told = answer(
        [written(tmp_path, "x.png", b"1"), written(tmp_path, "y.png", b"2")], delivery(config, None)
    )
    assert told["message"] == told["images"][0]["data"] == base64.b64encode(b"1").decode()
    assert "message" not in answer([], delivery(config, None))
    with pytest.raises(JobError, match="more than RunPod lets through"):  # it counts twice
        answer([written(tmp_path, "x.png", bytes(500_000))], delivery(config, None))


def test_old_results_inputs_and_jobs_go_from_the_volume(tmp_path: Path) -> None:
    ours = tmp_path / ".comfy-runpod"
    names = ("results/k/old", "results/k/new", "results/p/q/old", "jobs/old/job.json", "jobs/new/claim")
    for name in (*names, "inputs/old", "inputs/new"):
        written(ours, name)
    for name in ("jobs/old/job.json", "jobs/old", "jobs/new", "results/p/q", "results/p", "results/k"):
        os.utime(ours / name, (1000, 1000))
    for name in ("results/k/old", "results/p/q/old", "inputs/old"):
        os.utime(ours / name, (1000, 1000))
    prune_volume(tmp_path, 3600, now=time.time())
    left = {path for path in tree(ours) if (ours / path).is_file()}
    assert left == {"results/k/new", "jobs/new/claim", "inputs/new"}
    assert not (ours / "jobs/old").exists()
    assert not (ours / "results/p").exists()
    prune_volume(tmp_path / "absent", 0)


def test_what_a_killed_worker_left_goes_from_the_container_s_disk_only(tmp_path: Path) -> None:
    def left(**changes: Any) -> bool:
        file = written(tmp_path / "output", "x.png").path
        os.utime(file, (1000, 1000))
        remove_undelivered(make_config(tmp_path, **changes))
        return file.exists()

    assert not left()
    assert left(volume=tmp_path), "it may be somebody's"
    assert left(attach_url="http://127.0.0.1:1"), "it is the user's own"
    young = written(tmp_path / "output", "young.png").path
    remove_undelivered(make_config(tmp_path))
    assert young.exists()
