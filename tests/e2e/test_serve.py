"""`endpoint serve` and `endpoint health`: RunPod's job API for other programs."""

from __future__ import annotations

import json
import signal
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.e2e.conftest import WORKFLOWS, Cli, color_workflow, until


def call(url: str, key: str | None, body: Any = None) -> Any:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode())
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_another_program_uses_the_served_endpoint(cli: Cli) -> None:
    """A client of RunPod sends two jobs; a run of ours shares the endpoint and leaves it running."""
    serving = cli.start("endpoint", "serve", "--target", "demo", "--workers", "2", "--json")
    assert serving.stdout is not None
    served = json.loads(serving.stdout.readline())
    url, key = served["url"], served["api_key"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(f"{url}/health", None)
    body = {"input": {"workflow": color_workflow(255, "served")}}
    jobs = [call(f"{url}/run", key, body)["id"] for _ in range(2)]
    answers = [
        until(lambda job=job: (a := call(f"{url}/status/{job}", key))["status"] == "COMPLETED" and a, 60)
        for job in jobs
    ]
    for answer in answers:
        (image,) = answer["output"]["images"]
        assert (image["filename"], image["type"]) == ("served_00001_.png", "base64")
        assert answer["output"]["status"] == "success"
    assert len({answer["workerId"] for answer in answers}) == 2

    ran = cli.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", cli.data / "out")
    assert ran.returncode == 0, ran.stderr
    health = json.loads(cli.run("endpoint", "health", "--target", "demo", "--json").stdout)
    assert health["jobs"]["completed"] == 3
    assert call(f"{url}/health", key)["workers"]["idle"] == 2

    serving.send_signal(signal.SIGINT)
    _, err = serving.communicate(timeout=30)
    assert serving.returncode == 0, err
    until(lambda: not cli.processes(), 20)


def test_an_endpoint_left_alone_ends_by_itself(cli: Cli) -> None:
    """A killed program leaves the endpoint, which ends when it has had nothing to do for a while."""
    running = cli.start("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", cli.data / "out")
    until(lambda: (cli.data / "endpoints" / "demo" / "endpoint.json").exists())
    running.kill()
    running.communicate()
    time.sleep(0.1)
    assert cli.find("app.endpoint")
    until(lambda: not cli.processes(), 60, every=0.5)
