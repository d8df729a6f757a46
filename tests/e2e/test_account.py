"""The account from the command line: keys kept and tested, endpoints listed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Cli, until
from tests.e2e.lines import queued
from tests.e2e.places import place
from tests.unit.endpoint.management import KEY, Management, managing


@pytest.fixture
def management() -> Iterator[Management]:
    """The management API in a thread of its own: the commands are run from a blocking test."""
    ready, stop, found = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with managing() as api:
            found.append(api)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield found[0]
    stop.set()
    thread.join(10)


@pytest.fixture
def program(cli: Cli, management: Management, tmp_path: Path) -> Cli:
    return Cli(
        cli.data,
        {
            "RUNPOD_API_BASE_URL": management.url,
            "PYTHON_KEYRING_BACKEND": "tests.keyrings.FileKeyring",
            "TEST_KEYRING": str(tmp_path / "keyring.json"),
        },
    )


def with_stdin(program: Cli, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *words],
        cwd=ROOT, env=program.env, input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_key_is_kept_tested_used_and_forgotten(program: Cli, management: Management) -> None:
    without = program.run("key", "test")
    assert (without.returncode, without.stdout) == (1, "")
    assert "No RunPod API key is set. Set RUNPOD_API_KEY" in without.stderr
    kept = with_stdin(program, f"{KEY}\n", "key", "set")
    assert (kept.returncode, kept.stderr) == (0, "")
    assert kept.stdout == "The RunPod API key is kept in the system's keyring (of a test).\n"
    tested = program.run("key", "test")
    assert (tested.returncode, tested.stdout) == (0, "The API key works: the account has 1 endpoint.\n")

    listed = program.run("endpoint", "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout == (
        "  ep-one  comfy-flux · 0 to 3 workers · 2 x ADA_24, ADA_48_PRO · "
        "$0.00061 to $0.00110 / s ($2.20 to $3.96 / h) · someone/comfy:1\n"
    )
    (line,) = [json.loads(each) for each in program.run("endpoint", "list", "--json").stdout.splitlines()]
    assert (line["id"], line["name"], line["image"]) == ("ep-one", "comfy-flux", "someone/comfy:1")
    assert (line["workers_min"], line["workers_max"], line["gpu_pools"]) == (0, 3, ["ADA_24", "ADA_48_PRO"])
    assert line["usd_per_hour"] == pytest.approx([2.2, 3.96])

    management.endpoints.clear()
    assert program.run("endpoint", "list").stdout == "The account has no endpoint yet.\n"
    assert "removed" in program.run("key", "forget").stdout
    assert "has no RunPod API key" in program.run("key", "forget").stdout
    assert program.run("endpoint", "list").returncode == 1


def test_the_environment_wins_and_is_named(program: Cli) -> None:
    with_stdin(program, f"{KEY}\n", "key", "set")
    other = Cli(program.data, {**program.extra, "RUNPOD_API_KEY": "rpa_revoked"})
    tested = other.run("key", "test")
    assert (tested.returncode, tested.stdout) == (1, "")
    assert tested.stderr == "RunPod does not accept the API key. It may be mistyped or revoked.\n"
    listed = other.run("endpoint", "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)["code"]) == (1, "key_refused")
    kept = with_stdin(other, f"{KEY}\n", "key", "set")
    assert "The one in the environment (RUNPOD_API_KEY) is used while it is set." in kept.stdout


def test_without_a_keyring_there_is_one_sentence(cli: Cli) -> None:
    for words in (("set",), ("forget",)):
        said = with_stdin(cli, f"{KEY}\n", "key", *words)
        assert (said.returncode, said.stdout) == (1, "")
        assert said.stderr == (
            "comfy-runpod: This computer has no keyring that keys can be kept in. "
            "Set RUNPOD_API_KEY in the environment instead.\n"
        )
    said = with_stdin(cli, "\n", "key", "set")
    assert (said.returncode, said.stderr) == (2, "comfy-runpod: A key is one word without blanks.\n")


def test_an_endpoint_is_changed_and_its_workers_are_listed(program: Cli, management: Management) -> None:
    known = Cli(program.data, {**program.extra, "RUNPOD_API_KEY": KEY, "RUNPOD_ENDPOINT_ID": "ep-one"})
    changed = known.run("endpoint", "set", "--min", "1", "--idle", "60")
    assert changed.returncode == 0, changed.stderr
    assert management.endpoints["ep-one"]["workers"] == {"min": 1, "max": 3, "idleTimeout": 60}
    assert "1 worker is always on and charged also when nothing runs, at most $" in changed.stdout
    refused = known.run("endpoint", "set", "ep-one", "--min", "9")
    assert (refused.returncode, "above workers.max" in refused.stderr) == (1, True)
    assert known.run("endpoint", "set").returncode == 2
    listed = known.run("endpoint", "workers", "ep-one")
    assert "w1  running · NVIDIA GeForce RTX 4090 · EU-RO-1 · outdated" in listed.stdout
    assert " workers on version " in listed.stdout
    assert json.loads(known.run("endpoint", "workers", "--json").stdout)["workers"][0]["id"] == "w1"


def test_what_a_job_costs_is_told_and_set_against_the_bill(
    program: Cli, management: Management, tmp_path: Path
) -> None:
    """On a real endpoint under a foreign id, as one on RunPod with its price."""
    with place("demo", tmp_path / "there") as there:
        base, _, name = there.url.rpartition("/")
        assert name == "faults"
        management.key = there.key
        management.endpoints["faults"] = {**management.endpoints["ep-one"], "id": "faults"}
        env = {"RUNPOD_ENDPOINT_BASE_URL": base, "RUNPOD_API_KEY": there.key}
        far = Cli(program.data, {**program.extra, **env})
        hello = ("run", "resources/workflows/hello.json", "--target", "faults", "--output", tmp_path / "out")
        first = far.run(*hello)
        assert first.returncode == 0, first.stderr
        assert "About" not in first.stderr
        told = json.loads(far.run("spend", "--check", "--json").stdout)
        assert told["by_workflow"]["hello"]["jobs"] == 1
        # Of two GPUs of the dearer kind, for the whole idle timeout at the least.
        assert told["today"] > 5 * 2 * 0.0001
        assert "faults" in {each["endpoint"] for each in told["bill"]}
        listed = far.run("spend")
        assert listed.stdout.startswith("Today: $")
        assert "(1 job · start $" in listed.stdout
        assert far.run("jobs", "times").stdout.startswith("hello on faults: run ")
        assert "About $" in far.run(*hello).stderr
        # At the limit a job waits; cancelled, it was never sent.
        tight = Cli(program.data, {**far.extra, "COMFY_RUNPOD_DAILY_LIMIT": "0.01"})
        before = queued(there)
        started = tight.start(*hello)
        until(lambda: "on_hold" in tight.run("jobs", "list", "--json").stdout)
        held = json.loads(tight.run("jobs", "list", "--json", "--limit", "1").stdout)
        assert (held["hold"], held["error"]["code"]) == ("limit", "daily_limit")
        started.terminate()
        started.communicate(timeout=20)
        assert queued(there) == before
