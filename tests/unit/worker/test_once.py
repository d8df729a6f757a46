"""One job from a file: with our own command, and as RunPod's SDK has it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.driver import empty, node
from worker.once import read_job
from worker.process import clean_environment

ROOT = Path(__file__).parents[3]
WORKFLOW = {"1": empty(7), "2": node("SaveImage", images=["1", 0], filename_prefix="once")}


@pytest.mark.parametrize(
    ("raw", "given"),
    [
        ({"input": {"workflow": WORKFLOW}}, {"workflow": WORKFLOW}),
        ({"workflow": WORKFLOW, "timeout": 5}, {"workflow": WORKFLOW, "timeout": 5}),
        ({"command": "health"}, {"command": "health"}),
        (WORKFLOW, {"workflow": WORKFLOW}),
        ({"prompt": WORKFLOW["1"]}, {"workflow": {"prompt": WORKFLOW["1"]}}),
    ],
)
def test_what_a_file_may_hold(tmp_path: Path, raw: Any, given: Any) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps(raw))
    assert read_job(file) == {"id": "local_test", "input": given}


def worker(tmp_path: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "COMFYUI_COMMAND": json.dumps([sys.executable, "-m", "app.demo"]),
        "COMFYUI_DIR": str(tmp_path / "engine"),
        "COMFYUI_PORT": "0",
        "HOME": str(tmp_path),
        "VOLUME_PATH": str(tmp_path / "none"),
        **env,
    }
    return subprocess.run(
        [sys.executable, "-m", "worker", *words],
        cwd=tmp_path,
        env=clean_environment({**settings, "PYTHONPATH": os.pathsep.join([str(ROOT)])}),
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_a_job_from_a_file_is_answered_on_the_output_alone(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(WORKFLOW))
    ran = worker(tmp_path, "job.json")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    (image,) = answer["images"]
    assert base64.b64decode(image["data"]).startswith(b"\x89PNG")
    assert "[ComfyUI] got prompt" in ran.stderr


def test_a_failure_is_an_answer_with_another_exit_code(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"1": {"class_type": "NoSuchNode", "inputs": {}}}')
    ran = worker(tmp_path, "job.json", "--answer", "answer.json")
    assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert answer["code"] == "validation_failed"
    assert "NoSuchNode" in answer["error"]


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_file_without_a_job_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "job.json").write_text(content)
    ran = worker(tmp_path, "job.json")
    assert ran.returncode == 2
    assert ran.stderr.startswith("The worker cannot start: ")


@pytest.mark.parametrize("how", ["argument", "file"])
def test_as_runpod_s_sdk_has_it(tmp_path: Path, how: str) -> None:
    job = json.dumps({"input": {"workflow": WORKFLOW}})
    if how == "file":
        (tmp_path / "test_input.json").write_text(job)
    ran = worker(tmp_path, *(["--test_input", job] if how == "argument" else []))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Job local_test completed successfully." in ran.stdout
