"""What a worker looks at before it takes its first job."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.driver import empty, node
from tests.unit.worker.helpers import FakeComfy, StandIn, demo, faked, make_config
from worker import fitness
from worker.config import Config, Supervision
from worker.falls import fall_of


async def check(url: str, base: Path, env: dict[str, str], **changes: Any) -> Config:
    config = make_config(base, **changes)
    await fitness.check(config, StandIn(config, url), env)
    return config


@pytest.mark.parametrize(
    ("env", "promised"),
    [
        ({}, False),
        ({"RUNPOD_GPU_COUNT": "1"}, True),
        ({"RUNPOD_GPU_COUNT": "0", "NVIDIA_VISIBLE_DEVICES": "all"}, False),
        ({"NVIDIA_VISIBLE_DEVICES": "GPU-8a6b"}, True),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, False),
        ({"NVIDIA_VISIBLE_DEVICES": "void"}, False),
    ],
)
async def test_a_gpu_that_was_promised_must_be_seen(
    tmp_path: Path, env: dict[str, str], promised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitness, "_DRIVER", tmp_path / "nvidiactl")
    async with faked(FakeComfy()) as url:
        if promised:
            with pytest.raises(fitness.Unfit, match="sees no GPU"):
                await check(url, tmp_path, env)
        else:
            await check(url, tmp_path, env)


def test_that_all_gpus_are_visible_is_a_promise_where_there_is_a_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's own images say it on every machine."""
    monkeypatch.setattr(fitness, "_DRIVER", tmp_path / "nvidiactl")
    assert not fitness.promises_gpu({"NVIDIA_VISIBLE_DEVICES": "all"})
    (tmp_path / "nvidiactl").touch()
    assert fitness.promises_gpu({"NVIDIA_VISIBLE_DEVICES": "all"})


@pytest.mark.parametrize(
    ("devices", "seen"),
    [([{"type": "cuda"}], True), ([{"type": "cpu"}], False), ([], False), (None, False), (["x"], False)],
)
def test_what_counts_as_a_gpu(devices: Any, seen: bool) -> None:
    assert fitness.has_gpu({"devices": devices}) is seen


async def test_a_volume_that_was_promised_must_be_mounted(tmp_path: Path) -> None:
    async with faked(FakeComfy()) as url:
        for env in ({"VOLUME_PATH": "/vol"}, {"RUNPOD_VOLUME_ID": "abc"}):
            with pytest.raises(fitness.Unfit, match="not mounted at /"):
                await check(url, tmp_path, env)


async def test_a_comfyui_that_cannot_start_is_left_to_the_first_job_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StandIn, "hopeless", fall_of(3, 0))
    await check("http://127.0.0.1:9", tmp_path, {}, start_timeout_s=20)
    assert "exit code 3. The first job will tell its client." in caplog.text


async def test_a_warm_up_is_run_and_leaves_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    workflow = {"1": empty(5), "2": node("SaveImage", images=["1", 0], filename_prefix="warm")}
    (tmp_path / "warm.json").write_text(json.dumps(workflow))
    watch = dataclasses.replace(Supervision(), warm_up=tmp_path / "warm.json")
    async with demo(tmp_path / "base", own=True, supervision=watch) as bench:
        await fitness.check(bench.config, StandIn(bench.config, bench.url), {})
        assert len(await bench.history()) == 1
        assert not list(bench.config.output_dir.iterdir())
        assert "Warmed up with warm.json." in caplog.text
        (tmp_path / "warm.json").write_text("{")
        await fitness.check(bench.config, StandIn(bench.config, bench.url), {})
        assert "cannot be read" in caplog.text
        (tmp_path / "warm.json").write_text('{"1": {"class_type": "NoSuch", "inputs": {}}}')
        await fitness.check(bench.config, StandIn(bench.config, bench.url), {})
        assert "The warm-up workflow failed" in caplog.text
