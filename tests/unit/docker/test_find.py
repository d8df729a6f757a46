"""Finding a Docker that can build, and the words for each reason why there is none."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from app.docker.engine import Engine
from app.docker.errors import (
    BuildxMissing,
    DaemonNotRunning,
    DockerMissing,
    DockerNotAllowed,
    DockerUnusable,
    unusable,
)
from app.docker.model import Builder
from app.errors import NeedsSetup
from tests.unit.docker.scripted import INFO, READY, VERSION, Answer, asked, program

NO_DAEMON = "Cannot connect to the Docker daemon at unix:///x.sock. Is the docker daemon running?"
NOT_ALLOWED = (
    "permission denied while trying to connect to the Docker daemon socket at unix:///x.sock: Get"
    ' "http://%2Fx.sock/v1.50/version": dial unix /x.sock: connect: permission denied'
)


def versions(client: str, server: str) -> Answer:
    return 0, json.dumps({"Client": {"Version": client}, "Server": {"Version": server}})


@pytest.mark.parametrize(
    ("client", "buildx", "builder"),
    [
        ("28.2.2", (0, "github.com/docker/buildx v0.13.0 abc"), Builder.BUILDX_RAWJSON),
        ("26.1.5+dfsg1", (0, "github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3"), Builder.BUILDX_RAWJSON),
        ("20.10.24", (0, "github.com/docker/buildx v0.12.1 abc"), Builder.BUILDX_PLAIN),
        ("20.10.24+dfsg1", (1, "docker: 'buildx' is not a docker command."), Builder.CLASSIC),
    ],
)
async def test_how_it_builds(tmp_path: Path, client: str, buildx: Answer, builder: Builder) -> None:
    docker = program(tmp_path, {**READY, "version": versions(client, "20.10.24"), "buildx version": buildx})
    engine = await Engine.find(docker)
    assert engine.builder is builder
    assert (engine.client_version, engine.server_version) == (client, "20.10.24")
    assert (engine.os, engine.arch, engine.root, engine.has_gpu) == ("linux", "x86_64", None, False)
    # Its folder is on another computer.
    assert await engine.free_bytes() is None


async def test_the_first_on_the_path_that_can_build_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unable = program(
        tmp_path / "one", {**READY, "buildx version": (1, "docker: unknown command: docker buildx")}
    )
    able = program(tmp_path / "two", READY)
    monkeypatch.setenv("PATH", f"{unable.parent}{os.pathsep}{able.parent}")
    assert (await Engine.find()).program == able
    with pytest.raises(BuildxMissing) as caught:
        await Engine.find(unable)
    assert "buildx" in caught.value.hint


@pytest.mark.parametrize(
    ("info", "has"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, True),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]}, True),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": None, "CDISpecDirs": ["/etc/cdi"]}, False),
        ({"Runtimes": [], "DiscoveredDevices": [1]}, False),
    ],
)
async def test_a_gpu_is_seen(tmp_path: Path, info: dict[str, object], has: bool) -> None:
    docker = program(tmp_path, {**READY, "info": (0, json.dumps({**INFO, **info}))})
    assert (await Engine.find(docker)).has_gpu is has


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (NO_DAEMON, DaemonNotRunning),
        (
            "failed to connect to the docker API at unix:///x.sock; check if the path is correct",
            DaemonNotRunning,
        ),
        (
            "error during connect: Get http://%2F%2F.%2Fpipe%2Fdocker_engine/v1.24/info: open"
            " //./pipe/docker_engine: The system cannot find the file specified.",
            DaemonNotRunning,
        ),
        (NOT_ALLOWED, DockerNotAllowed),
        (
            "error during connect: this error may indicate that the docker daemon is not running: Get http://x:"
            " open //./pipe/docker_engine: Access is denied.",
            DockerNotAllowed,
        ),
        ("Error response from daemon: client version 1.50 is too new.", DockerUnusable),
        ("", DockerUnusable),
    ],
)
async def test_each_reason_has_its_error(tmp_path: Path, said: str, kind: type[Exception]) -> None:
    version = json.dumps({**VERSION, "Server": None})
    docker = program(tmp_path, {**READY, "version": (1, f"{version}\n{said}" if said else "")})
    with pytest.raises(DockerUnusable) as caught:
        await Engine.find(docker)
    assert type(caught.value) is kind
    assert isinstance(caught.value, NeedsSetup)
    assert caught.value.summary.endswith(".")


async def test_the_words_of_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    docker = program(tmp_path, {**READY, "version": (1, NO_DAEMON)})
    with pytest.raises(DaemonNotRunning) as caught:
        await Engine.find(docker)
    assert caught.value.sentence == "Docker is not running. Start Docker, and try again."
    assert caught.value.details["command"]


async def test_a_program_that_is_not_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(NeedsSetup, match="no program docker at"):
        await Engine.find(tmp_path / "docker")
    missing = DockerMissing()
    assert missing.summary == "Docker is not on this computer."
    assert "nstall" in missing.hint


async def test_docker_gets_no_secret_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_secret")
    monkeypatch.setenv("DOCKER_HOST", "unix:///mine.sock")
    docker = program(tmp_path, READY)
    engine = await Engine.find(docker)
    for _, env, _ in asked(docker):
        assert "RUNPOD_API_KEY" not in env
        assert env["DOCKER_HOST"] == "unix:///mine.sock"
        assert str(docker.parent) in env["PATH"].split(os.pathsep)
    assert "RUNPOD_API_KEY" not in engine.environment()
    assert engine.environment({"GIVEN": "x"})["GIVEN"] == "x"


def test_what_another_command_says_is_understood_too() -> None:
    assert isinstance(unusable(["Sending", NO_DAEMON]), DaemonNotRunning)
    assert unusable(["permission denied: /etc/shadow", "no such file"]) is None
