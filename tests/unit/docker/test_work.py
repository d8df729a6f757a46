"""Building, pushing and containers with a scripted Docker: what it is asked, and what its failures become."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app.docker.engine import Engine
from app.docker.errors import (
    BuildFailed,
    DaemonNotRunning,
    NotSignedIn,
    PullFailed,
    PushFailed,
    is_broken,
    is_refusal,
)
from app.docker.model import BuildProgress, BuildRequest, LayerState, Mount, Pushed, PushProgress
from app.errors import BadInput, ProcessFailed
from tests.unit.docker.scripted import READY, Answer, asked, program, recorded

NO_DAEMON = "ERROR: Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?"
NAME = "127.0.0.1:5000/x:1"
ID = "sha256:" + "1" * 64
LAYERS = ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
IMAGE = [
    {
        "Id": ID,
        "RepoDigests": [f"127.0.0.1:5000/x@{ID}"],
        "Size": 3_500,
        "Created": "2026-11-28T10:00:00.123456789Z",
        "Config": {"Labels": {"a": "b"}},
        "RootFS": {"Layers": LAYERS},
        "Architecture": "amd64",
    }
]
HISTORY = [
    {"CreatedBy": "LABEL a=b", "Size": "0", "CreatedAt": "2026-11-28T10:00:00Z"},
    {"CreatedBy": "COPY a /a", "Size": "500", "CreatedAt": "2026-11-28T10:00:00Z"},
    {"CreatedBy": "", "Size": "3000", "CreatedAt": "0001-01-01T00:00:00Z"},
]
WITH_IMAGE = {
    **READY,
    "image inspect": (0, "WARNING: Error loading config file\n" + json.dumps(IMAGE, indent=4)),
    "history": (0, "\n".join(map(json.dumps, HISTORY))),
}
PUSHED = (
    "The push refers to repository [x]\naaaaaaaaaaaa: Pushed\nbbbbbbbbbbbb: Pushed\n"
    f"1: digest: {ID} size: 700\n"
)


async def engine(folder: Path, answers: dict[str, Answer | Sequence[Answer]]) -> Engine:
    found = await Engine.find(program(folder / "bin", {**WITH_IMAGE, **answers}))
    return replace(found, pauses_s=(0, 0, 0))


def context(folder: Path) -> Path:
    place = folder / "context"
    place.mkdir()
    (place / "Dockerfile").write_text("FROM scratch\n")
    return place


# -- building --------------------------------------------------------------------------------------------


async def test_a_build_is_asked_for_and_told(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {"buildx build": (0, recorded("buildx-0.13.rawjson"))})
    place = context(tmp_path)
    told, lines = list[BuildProgress](), list[tuple[str | None, str]]()
    request = BuildRequest(
        place, tags=(NAME, "y:2"), args={"BASE": "a b=c"}, labels={"x.y": "1"}, network="host", target="last"
    )
    built = await docker.build(request, told.append, lambda key, text: lines.append((key, text)))
    assert built.image_id == ID
    assert told[-1].part == 1.0
    assert built.steps == told[-1].steps
    assert "there" in [text for _, text in lines]
    words = next(words for words, _, _ in asked(docker.program) if words[:2] == ["buildx", "build"])
    assert words[2:4] == ["--progress=rawjson", "--load"]
    assert words[-1] == str(place)
    pairs = list(pairwise(words))
    for pair in (
        ("--file", str(place / "Dockerfile")),
        ("--tag", NAME),
        ("--tag", "y:2"),
        ("--build-arg", "BASE=a b=c"),
        ("--label", "x.y=1"),
        ("--platform", "linux/amd64"),
        ("--network", "host"),
        ("--target", "last"),
    ):
        assert pair in pairs
    assert "--no-cache" not in words


async def test_a_failed_build_names_the_step_its_code_and_its_lines(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {"buildx build": (1, recorded("buildx-0.13-failed.rawjson"))})
    told = list[BuildProgress]()
    with pytest.raises(BuildFailed) as caught:
        await docker.build(BuildRequest(context(tmp_path), tags=(NAME,)), told.append)
    assert isinstance(caught.value, ProcessFailed)
    title = "RUN echo boo; echo two lines >&2; exit 7"
    assert str(caught.value) == f"The build failed with exit code 7 in the step {title}."
    assert (caught.value.details["step"], caught.value.details["exit_code"]) == (title, 7)
    assert sorted(caught.value.details["log"]) == ["boo", "two lines"]
    assert told[-1].part is not None
    assert told[-1].part < 1.0


@pytest.mark.parametrize(
    ("said", "summary", "hint"),
    [
        (
            "ERROR: failed to solve: dockerfile parse error line 2: unknown instruction: RUNN",
            "The build failed: dockerfile parse error line 2: unknown instruction: RUNN.",
            "",
        ),
        ("ERROR: failed to solve: write /x: no space left on device", "", "Docker's disk is full."),
        ("", "The build failed: no reason was given.", ""),
    ],
)
async def test_a_build_that_fails_before_its_first_step(
    tmp_path: Path, said: str, summary: str, hint: str
) -> None:
    docker = await engine(tmp_path, {"buildx build": (1, said)})
    with pytest.raises(BuildFailed) as caught:
        await docker.build(BuildRequest(context(tmp_path), tags=(NAME,)))
    assert str(caught.value).startswith(summary)
    assert caught.value.hint.startswith(hint)


async def test_a_daemon_that_is_gone_is_no_failed_build(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {"buildx build": (1, NO_DAEMON)})
    with pytest.raises(DaemonNotRunning):
        await docker.build(BuildRequest(context(tmp_path), tags=(NAME,)))


async def test_what_cannot_be_built_is_refused_first(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {})
    with pytest.raises(BadInput, match="no Dockerfile"):
        await docker.build(BuildRequest(tmp_path, tags=(NAME,)))
    with pytest.raises(BadInput, match="no folder"):
        await docker.build(BuildRequest(tmp_path / "none", tags=(NAME,)))
    for bad in (
        {"tags": ()},
        {"tags": ("-x",)},
        {"tags": (NAME,), "args": {"a b": ""}},
        {"tags": (NAME,), "args": {"A": "\0"}},
        {"tags": (NAME,), "labels": {"=": ""}},
        {"tags": (NAME,), "network": "-x"},
        {"tags": (NAME,), "target": "a b"},
    ):
        with pytest.raises(BadInput):
            BuildRequest(tmp_path, **bad)  # type: ignore[arg-type]


# -- registries ------------------------------------------------------------------------------------------


async def test_a_push_knows_the_bytes_of_each_layer(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {"push": (0, PUSHED)})
    told, lines = list[PushProgress](), list[str]()
    assert await docker.push(NAME, told.append, lines.append) == Pushed(ID, 700)
    assert [(layer.state, layer.total) for layer in told[-1].layers] == [
        (LayerState.SENT, 3_000),
        (LayerState.SENT, 500),
    ]
    assert told[-1].part == 1.0
    assert lines[0].startswith("The push refers to")
    terminal = next(terminal for words, _, terminal in asked(docker.program) if words[0] == "push")
    assert terminal is (os.name == "posix")


async def test_a_broken_push_is_tried_again_three_times(tmp_path: Path) -> None:
    broken = (1, "aaaaaaaaaaaa: Pushing 1kB/3kB\nwrite tcp 10.0.0.1:443: write: broken pipe\n")
    docker = await engine(tmp_path, {"push": [broken, broken, broken, (0, PUSHED)]})
    told = list[PushProgress]()
    assert (await docker.push(NAME, told.append)).digest == ID
    assert len([progress for progress in told if "tried again" in progress.note]) == 3
    failed = next(progress for progress in told if progress.layers and progress.layers[0].state == "failed")
    assert failed.layers[0].done == 1_000
    calls = [words for words, _, _ in asked(docker.program) if words[0] == "push"]
    assert len(calls) == 4

    docker = await engine(tmp_path / "again", {"push": broken})
    with pytest.raises(PushFailed, match="broken pipe") as caught:
        await docker.push(NAME)
    assert "push again" in caught.value.hint


async def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    said = "denied: requested access to the resource is denied"
    docker = await engine(tmp_path, {"push": (1, said), "pull": (1, "Error response from daemon: denied")})
    with pytest.raises(NotSignedIn) as caught:
        await docker.push(NAME)
    assert caught.value.hint == "Sign in with `docker login 127.0.0.1:5000`, then try again."
    assert len([words for words, _, _ in asked(docker.program) if words[0] == "push"]) == 1
    with pytest.raises(NotSignedIn, match="marta/x") as caught:
        await docker.pull("marta/x")
    assert caught.value.hint == "Sign in with `docker login`, then try again."


@pytest.mark.parametrize(
    ("said", "refused", "broken"),
    [
        ("unauthorized: authentication required", True, False),
        ('Head "https://ghcr.io/v2/x/manifests/1": no basic auth credentials', True, False),
        ("denied", True, False),
        ("server message: insufficient_scope: authorization failed", True, False),
        ("received unexpected HTTP status: 503 Service Unavailable", False, True),
        ('Patch "https://x/v2/": dial tcp: lookup x: no such host', False, True),
        ("net/http: TLS handshake timeout", False, True),
        ("unexpected EOF", False, True),
        ("manifest unknown", False, False),
        ("tag does not exist: x", False, False),
    ],
)
def test_refusals_and_broken_ways_are_told_apart(said: str, refused: bool, broken: bool) -> None:
    assert (is_refusal([said]), is_broken([said])) == (refused, broken)


async def test_what_is_not_there_is_neither_pushed_nor_pulled(tmp_path: Path) -> None:
    absent = (1, "[]\nError: No such image: x")
    missing = "Error response from daemon: manifest for x not found: manifest unknown: manifest unknown"
    docker = await engine(tmp_path, {"image inspect": absent, "image rm": absent, "pull": (1, missing)})
    assert await docker.inspect(NAME) is None
    assert await docker.remove(NAME) is False
    with pytest.raises(BadInput, match="no image"):
        await docker.push(NAME)
    with pytest.raises(PullFailed, match="manifest for x not found"):
        await docker.pull(NAME)


async def test_an_image_and_its_history(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {})
    info = await docker.inspect(NAME)
    assert info is not None
    assert (info.id, info.size, info.labels, info.layers) == (ID, 3_500, {"a": "b"}, tuple(LAYERS))
    assert info.created == pytest.approx(1_795_860_000.123, abs=0.01)
    lines = await docker.history(NAME)
    assert [(line.command, line.size) for line in lines] == [
        ("LABEL a=b", 0),
        ("COPY a /a", 500),
        ("", 3_000),
    ]
    assert lines[-1].created is None


# -- containers ------------------------------------------------------------------------------------------


async def test_a_containers_command_has_no_value_of_a_variable(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {})
    argv = docker.container_argv(
        NAME,
        "test-1",
        argv=["serve", "--x"],
        labels=["ours", "run=7"],
        env_names=["RUNPOD_TOKEN"],
        mounts=[Mount(tmp_path / 'a,"b', "/models"), Mount(tmp_path, "/out", readonly=False)],
        network="host",
        gpus="all",
        user="1000:1000",
        hosts=["host.docker.internal:host-gateway"],
    )
    assert argv[:2] == [str(docker.program), "run"]
    assert argv[-3:] == [NAME, "serve", "--x"]
    pairs = list(pairwise(argv))
    for pair in (
        ("--env", "RUNPOD_TOKEN"),
        ("--name", "test-1"),
        ("--label", "run=7"),
        ("--network", "host"),
        ("--gpus", "all"),
        ("--user", "1000:1000"),
        ("--add-host", "host.docker.internal:host-gateway"),
        ("--mount", f"type=bind,source={tmp_path},target=/out"),
    ):
        assert pair in pairs
    quoted = f'"source={tmp_path}/a,""b"' if os.name == "posix" else ""
    assert sys.platform == "win32" or f"type=bind,{quoted},target=/models,readonly" in argv
    assert "--init" in argv
    assert "--rm" in argv


async def test_words_that_would_be_options_are_refused(tmp_path: Path) -> None:
    docker = await engine(tmp_path, {})
    for bad in (
        {"name": "-x"},
        {"name": "a/b"},
        {"labels": ["--privileged"]},
        {"env_names": ["A=secret"]},
        {"network": "--x"},
        {"user": "root;"},
        {"gpus": ""},
        {"hosts": ["x"]},
        {"mounts": [Mount(tmp_path, "relative")]},
        {"mounts": [Mount(tmp_path, "/a\nb")]},
    ):
        words = {"name": "test", **bad}
        with pytest.raises(BadInput):
            docker.container_argv(NAME, **words)  # type: ignore[arg-type]
    with pytest.raises(BadInput):
        docker.container_argv("-x", "test")


async def test_left_containers_are_removed_by_label(tmp_path: Path) -> None:
    ids = ["c" * 64, "d" * 64]
    answers: dict[str, Answer | Sequence[Answer]] = {
        "ps": [(0, "\n".join(["WARNING: x", *ids])), (0, "")],
        "rm": (1, f"Error: No such container: {ids[0]}"),
    }
    docker = await engine(tmp_path, answers)
    assert await docker.stop_containers("ours") == 2
    assert await docker.stop_containers("ours") == 0
    calls = [words for words, _, _ in asked(docker.program) if words[0] in ("ps", "rm")]
    assert calls[0][-1] == "label=ours"
    assert [words for words in calls if words[0] == "rm"] == [["rm", "--force", *ids]]


async def test_a_command_in_a_container_that_fails_says_how(tmp_path: Path) -> None:
    # What a program in it says of its connections says nothing of Docker's.
    said = "half\nconnect: permission denied"
    answers = [(3, said), (125, "docker: Error response from daemon: no such network."), (125, NO_DAEMON)]
    docker = await engine(tmp_path, {"run": answers})
    with pytest.raises(ProcessFailed, match="connect: permission denied") as caught:
        await docker.run_once(NAME, ["python3", "-c", "x"])
    assert caught.value.details["exit_code"] == 3
    with pytest.raises(ProcessFailed, match="Starting the container failed: no such network"):
        await docker.run_once(NAME, ["python3", "-c", "x"])
    with pytest.raises(DaemonNotRunning):
        await docker.run_once(NAME, ["python3", "-c", "x"])
    words = next(words for words, _, _ in asked(docker.program) if words[0] == "run")
    assert words[-3:] == [NAME, "-c", "x"]
    assert words[words.index("--entrypoint") + 1] == "python3"
    assert words[words.index("--network") + 1] == "none"
