"""What one job may use: passing a limit is a failure that says which, and what it is."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from PIL import Image

from tests.contract.driver import empty, node
from tests.unit.worker.helpers import Bench, demo, make_config, tree
from worker import limits
from worker.config import Config, Limits
from worker.errors import JobError


def picture(color: int = 1) -> dict[str, object]:
    return {"1": empty(color), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}


def test_the_defaults_and_their_names() -> None:
    assert Config.from_env({}).limits == Limits()
    env = dict.fromkeys(
        ("MAX_INPUT_BYTES", "MAX_INPUT_FILES", "MAX_OUTPUT_BYTES", "MIN_FREE_DISK", "MIN_FREE_MEMORY"), "5"
    )
    assert Config.from_env({**env, "MAX_COMFYUI_MEMORY": "6"}).limits == Limits(5, 5, 5, 5, 5, 6)


async def failed(bench: Bench, **fields: object) -> dict[str, object]:
    answer = await bench.run(picture(), **fields)
    assert answer["status"] == "error"
    return answer


@pytest.mark.parametrize("own", [False, True])
async def test_inputs(tmp_path: Path, own: bool) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "big.bin").write_bytes(b"x" * 500)
    limit = Limits(input_bytes=100, input_files=2)
    async with demo(tmp_path, own=own, limits=limit, volume=tmp_path / "volume") as bench:
        before = tree(bench.config.input_dir)
        small = {"name": "a", "data": base64.b64encode(b"abc").decode()}
        many = await failed(bench, files=[{**small, "name": str(n)} for n in range(3)])
        assert (many["code"], many["error"]) == (
            "input_too_large",
            "The job brings 3 files; at most 2 are taken.",
        )
        big = await failed(bench, files=[{**small, "data": base64.b64encode(b"x" * 101).decode()}])
        assert big["code"] == "input_too_large"
        assert "MAX_INPUT_BYTES" in str(big["hint"])
        # One whose size is known only when it is there.
        late = await failed(bench, files=[{"name": "b.bin", "volume_path": "big.bin"}])
        assert late["code"] == "input_too_large"
        assert tree(bench.config.input_dir) == before


async def test_outputs_stay_where_they_are(tmp_path: Path) -> None:
    async with demo(tmp_path, limits=Limits(output_bytes=10)) as bench:
        answer = await failed(bench)
        assert answer["code"] == "output_too_large"
        assert answer["details"] == ["x_00001_.png"]
        with Image.open(bench.config.output_dir / "x_00001_.png") as kept:
            assert kept.size == (64, 64)


async def test_too_little_room_is_told_before_comfyui_is_asked(tmp_path: Path) -> None:
    async with demo(tmp_path, limits=Limits(free_disk=1 << 60)) as bench:
        answer = await failed(bench)
        assert (answer["code"], await bench.history()) == ("disk_full", {})
    async with demo(tmp_path, limits=Limits(free_memory=1 << 60)) as bench:
        answer = await failed(bench)
        assert (answer["code"], await bench.history()) == ("memory_low", {})


def test_memory_of_a_container_counts_without_its_page_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_CGROUP", tmp_path)
    on_the_machine = limits.free_memory_bytes()
    assert on_the_machine > 1 << 20
    (tmp_path / "memory.max").write_text("10000000\n")
    (tmp_path / "memory.current").write_text("9000000\n")
    (tmp_path / "memory.stat").write_text("anon 5000000\ninactive_file 500000\n")
    assert limits.free_memory_bytes() == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.free_memory_bytes() > 1 << 20
    with pytest.raises(JobError, match="of memory are free"):
        limits.check_room(make_config(tmp_path, limits=Limits(free_memory=1 << 60)))
