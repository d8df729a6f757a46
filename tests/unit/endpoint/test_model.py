"""Replies of the job API are read tolerantly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.endpoint.config import EndpointConfig
from app.endpoint.model import Health, JobReply, Policy
from app.errors import BadInput
from tests.unit.endpoint.helpers import make_config


def test_a_full_reply_is_read() -> None:
    reply = JobReply.parse(
        {
            "delayTime": 101050, "error": "job timed out after 1 retries", "executionTime": 42078,
            "id": "a-u1", "retries": 1, "status": "FAILED", "workerId": "w9",
        }
    )  # fmt: skip
    assert reply == JobReply(
        "a-u1", "FAILED", None, "job timed out after 1 retries", 101050, 42078, "w9", 1, has_output=False
    )
    assert reply.is_final


@pytest.mark.parametrize(
    ("status", "final"),
    [
        ("COMPLETED", True), ("FAILED", True), ("CANCELLED", True), ("TIMED_OUT", True),
        ("IN_QUEUE", False), ("IN_PROGRESS", False), ("RUNNING", False), ("SOMETHING_NEW", False),
    ],
)  # fmt: skip
def test_only_four_states_are_final(status: str, final: bool) -> None:
    assert JobReply.parse({"id": "x", "status": status}).is_final is final


def test_odd_values_are_not_fatal() -> None:
    odd = {
        "id": 5,
        "status": None,
        "delayTime": "soon",
        "executionTime": float("inf"),
        "workerId": 3,
        "retries": True,
    }
    assert JobReply.parse(odd) == JobReply("5", "")
    assert JobReply.parse({}) == JobReply("", "")


def test_a_missing_output_differs_from_null() -> None:
    assert JobReply.parse({"output": None}).has_output
    assert not JobReply.parse({}).has_output


def test_a_structured_error_becomes_text() -> None:
    reply = JobReply.parse({"error": {"code": "E1"}})
    assert reply.error == '{"code": "E1"}'
    assert reply.error_message == '{"code": "E1"}'


def test_the_message_of_a_raise_is_dug_out() -> None:
    recorded = json.loads((Path(__file__).parents[2] / "data/runpod/01-standard-handler.json").read_text())
    body = next(h["body"] for h in recorded["http"] if h["path"].endswith("job-2-raise"))
    assert JobReply.parse({"error": body["error"]}).error_message == "boom: bad workflow"
    assert JobReply.parse({"error": "node 7 failed"}).error_message == "node 7 failed"
    assert JobReply.parse({}).error_message is None


def test_health_keeps_only_counts() -> None:
    health = Health.parse({"jobs": {"inQueue": 2, "odd": "x"}, "workers": None})
    assert health == Health({"inQueue": 2}, {})


def test_policy_names() -> None:
    assert Policy(5000, 10_000, True).to_json() == {
        "executionTimeout": 5000,
        "ttl": 10000,
        "lowPriority": True,
    }
    assert Policy().to_json() == {}


def test_config_survives_its_file(tmp_path: Path) -> None:
    config = make_config(tmp_path, worker_env={"A": "1"}, idle_exit_s=3.0, workers=2)
    file = tmp_path / "c.json"
    config.to_file(file)
    assert EndpointConfig.from_file(file) == config
    assert EndpointConfig.from_file(file).digest == config.digest
    assert make_config(tmp_path, workers=3).digest == make_config(tmp_path, workers=2).digest
    other = make_config(tmp_path, worker_env={"COMFYUI_URL": "http://127.0.0.1:1"})
    assert other.digest != make_config(tmp_path).digest
    assert file.stat().st_mode & 0o077 == 0 or not hasattr(file, "owner")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data_dir": 1}'])
def test_a_broken_config_is_bad_input(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(BadInput):
        EndpointConfig.from_file(file)


def test_a_config_needs_a_sane_id_and_a_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        make_config(tmp_path, endpoint_id="a/b")
    with pytest.raises(BadInput):
        make_config(tmp_path, worker_argv=())
