"""The worker as its clients see it: through RunPod's job API, with an engine of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.driver import empty, node
from tests.e2e.places import Place, place
from tests.engines import ENGINES
from tests.fault_node import NAME


@pytest.fixture(scope="module", params=ENGINES)
def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp(f"worker-{request.param}")
    with place(request.param, folder, env={"LOG_FORMAT": "json"}) as running:
        assert done(running, {"command": "health"}, 240)["healthy"]
        yield running


def done(where: Place, given: dict[str, Any], limit_s: float = 90) -> Any:
    ended = where.ended(where.send(given), limit_s)
    assert ended["status"] == "COMPLETED", f"{ended}\n{where.logs()}"
    return ended["output"]


def test_the_same_job_three_times_gives_three_equal_results(at: Place) -> None:
    """ComfyUI answers the second from its cache, with the names of files that are gone by then."""
    fixed = {"class_type": NAME, "inputs": {"action": "fixed", "amount": 0.0, "text": ""}}
    workflow = {
        "1": empty(77),
        "2": node("SaveImage", images=["1", 0], filename_prefix="thrice"),
        "3": node("PreviewImage", images=["1", 0]),
        "4": fixed,
    }
    given = {"workflow": workflow, "output": {"mode": "base64", "previews": True}}
    results = [done(at, given) for _ in range(3)]
    seen = [
        [
            (entry["node_id"], entry["sha256"], entry["size"])
            for name in ("images", "files")
            for entry in each[name]
        ]
        for each in results
    ]
    assert [node_id for node_id, *_ in seen[0]] == ["2", "3", "4"]
    assert seen[0][2] == ("4", seen[0][2][1], 5)
    assert seen[0] == seen[1] == seen[2]
    assert [each["images"][0]["filename"] for each in results] == ["thrice_00001_.png"] * 3


def test_health_tells_of_worker_and_comfyui(at: Place) -> None:
    health = done(at, {"command": "health"})
    assert health["healthy"]
    assert health["mode"] == "own"
    assert health["comfyui_starts"] == 1
    assert health["provenance"]["comfyui"]["version"]
    assert health["volume"]["free"] > 0


def test_what_can_be_asked(at: Place) -> None:
    models = done(at, {"command": "models"})
    assert models["count"] == sum(map(len, models["models"].values()))
    info = done(at, {"command": "object_info", "node_types": ["SaveImage", "NoSuchNode"]})
    assert list(info["object_info"]) == ["SaveImage"]
    assert info["unknown"] == ["NoSuchNode"]
    answer = done(at, {"workflow": {"1": empty(3), "2": node("PreviewImage", images=["1", 0])}})
    assert answer["provenance"]["object_info_sha256"] == info["object_info_sha256"]
    on_volume = at.folder / "volume" / ".comfy-runpod" / "catalogue" / f"{info['object_info_sha256']}.json"
    assert "SaveImage" in json.loads(on_volume.read_text("utf-8"))


def test_a_workflow_is_checked_without_being_run(at: Place) -> None:
    broken = {
        "1": node("LoadImage", image="absent.png"),
        "2": node("SaveImag", images=["1", 0]),
        "3": node("SaveImage", images=["1", 0]),
    }
    found = done(at, {"command": "validate", "workflow": broken})
    assert not found["valid"]
    kinds = {(problem["node_id"], problem["kind"]) for problem in found["problems"]}
    assert {("1", "missing_input_file"), ("2", "unknown_node"), ("3", "missing_input")} <= kinds
    picture = {"name": "absent.png", "image": base64.b64encode(b"picture").decode()}
    good = {"1": broken["1"], "3": node("SaveImage", images=["1", 0], filename_prefix="x")}
    assert done(at, {"command": "validate", "workflow": good, "images": [picture]})["valid"]


def test_commands_that_are_none_or_not_allowed(at: Place) -> None:
    for given, code in (
        ({"command": "format"}, "bad_input"),
        ({"command": ["health"]}, "bad_input"),
        ({"command": "download", "url": "https://huggingface.co/x", "kind": "vae", "name": "x.safetensors"},
         "download_not_allowed"),
    ):  # fmt: skip
        ended = at.ended(at.send(given))
        assert (ended["status"], ended["output"]["code"]) == ("FAILED", code), given


def test_a_model_that_is_missing_is_told_with_where_it_belongs(at: Place) -> None:
    workflow = {
        "1": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base.safetensors"),
        "2": node("CLIPTextEncode", text="a", clip=["1", 1]),
        "3": node("CLIPTextEncode", text="b", clip=["1", 1]),
        "4": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "5": node(
            "KSampler",
            **{"model": ["1", 0], "positive": ["2", 0], "negative": ["3", 0], "latent_image": ["4", 0]},
            **{"seed": 1, "steps": 1, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal"},
            denoise=1.0,
        ),
        "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
        "7": node("SaveImage", images=["6", 0], filename_prefix="x"),
    }
    ended = at.ended(at.send({"workflow": workflow}))
    assert ended["status"] == "FAILED"
    (problem,) = ended["output"]["details"]["problems"]
    assert (problem["kind"], problem["node_id"], problem["input"]) == ("missing_model", "1", "ckpt_name")
    assert problem["folder"] == "models/checkpoints"
    assert "models/checkpoints" in ended["output"]["hint"]


def test_each_line_of_the_log_is_an_object(at: Place) -> None:
    done(at, {"workflow": {"1": empty(9), "2": node("PreviewImage", images=["1", 0])}})
    (log,) = (at.folder / "endpoint" / "logs").glob("worker-*.log")
    ours = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"requestId"')]
    assert any(line["message"].startswith("[ComfyUI] ") for line in ours)
    assert any("models are there" in line["message"] and line["requestId"] for line in ours)
