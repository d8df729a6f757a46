"""Building, sending and running images with a real engine and a real registry."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from aiohttp import web

from app.comfyui.programs import run
from app.docker.engine import ONCE_LABEL, Engine
from app.docker.errors import (
    BuildFailed,
    DaemonNotRunning,
    DockerNotAllowed,
    NotSignedIn,
    PullFailed,
    PushFailed,
)
from app.docker.model import BuildProgress, BuildRequest, LayerState, Mount, PushProgress, Step, StepState
from app.errors import BadInput, ProcessFailed
from worker.process import free_port

Names = Callable[[str], str]
Wanted = Callable[..., BuildRequest]


def titled(progress: BuildProgress, beginning: str) -> Step | None:
    return next((step for step in progress.steps if step.title.startswith(beginning)), None)


def processes(word: str) -> list[int]:
    """Those whose command has a word."""
    return [each.pid for each in psutil.process_iter(["cmdline"]) if word in (each.info["cmdline"] or ())]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


# -- building --------------------------------------------------------------------------------------------


async def test_a_build_shows_its_steps_and_the_next_has_them_cached(
    engine: Engine, base: str, names: Names, wanted: Wanted
) -> None:
    name = names("")
    said = uuid.uuid4().hex
    request = wanted(
        name,
        f"FROM {base}",
        "COPY a /a",
        f"RUN echo {said} && sleep 0.3",
        "LABEL who=us",
        files={"a": b"hello"},
    )
    told, lines = list[BuildProgress](), list[tuple[str | None, str]]()
    built = await engine.build(request, told.append, lambda key, text: lines.append((key, text)))
    step = titled(told[-1], "RUN echo")
    assert step is not None
    assert (step.state, step.cached) == (StepState.DONE, False)
    assert step.seconds is not None
    assert step.seconds >= 0.3
    assert (step.key, said) in lines
    assert any(
        shown.state is StepState.RUNNING for progress in told if (shown := titled(progress, "RUN echo"))
    )
    parts = [progress.part for progress in told if progress.part is not None]
    assert parts == sorted(parts)
    assert parts[-1] == 1.0
    info = await engine.inspect(name)
    assert info is not None
    assert (info.id, info.labels["who"], info.digests) == (built.image_id, "us", ())

    again = await engine.build(request)
    assert again.image_id == built.image_id
    steps = BuildProgress(again.steps)
    for title in ("RUN echo", "COPY a /a"):
        step = titled(steps, title)
        assert step is not None
        assert step.cached

    assert await engine.copy_out(name, "/a") == b"hello"
    assert any("COPY a /a" in line.command and line.size == 5 for line in await engine.history(name))


async def test_a_failed_build_says_where_and_why(
    engine: Engine, base: str, names: Names, wanted: Wanted
) -> None:
    name = names("")
    told = list[BuildProgress]()
    request = wanted(name, f"FROM {base}", "RUN echo told before && exit 7", "RUN echo never")
    with pytest.raises(BuildFailed) as caught:
        await engine.build(request, told.append)
    assert caught.value.details["step"] == "RUN echo told before && exit 7"
    assert caught.value.details["exit_code"] == 7
    assert caught.value.details["log"] == ["told before"]
    step = titled(told[-1], "RUN echo told")
    assert step is not None
    assert step.state is StepState.FAILED
    assert await engine.inspect(name) is None
    with pytest.raises(BuildFailed, match="unknown instruction"):
        await engine.build(wanted(name, f"FROM {base}", "RUNN x"))


async def test_a_cancelled_build_leaves_nothing(
    engine: Engine, base: str, names: Names, wanted: Wanted
) -> None:
    name, word = names(""), f"9{uuid.uuid4().int % 10**8}"
    shown = asyncio.Event()

    def look(progress: BuildProgress) -> None:
        step = titled(progress, "RUN sleep")
        if step is not None and step.state is StepState.RUNNING:
            shown.set()

    building = asyncio.create_task(engine.build(wanted(name, f"FROM {base}", f"RUN sleep {word}"), look))
    await shown.wait()
    here = engine.root is not None
    if here:
        await until(lambda: bool(processes(word)))
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    if here:
        # The daemon takes down what it started; the client has gone by now.
        await until(lambda: not processes(word))
    assert not [
        each for each in psutil.Process().children(recursive=True) if each.name().startswith("docker")
    ]
    assert await engine.inspect(name) is None


# -- registries ------------------------------------------------------------------------------------------


async def test_an_image_goes_to_a_registry_and_comes_back_by_its_digest(
    engine: Engine, registry: str, names: Names, wanted: Wanted
) -> None:
    name = names(registry)
    content = os.urandom(20_000_000)
    files = {"big": content, "small": b"x"}
    await engine.build(wanted(name, "FROM scratch", "COPY big /big", "COPY small /small", files=files))
    told, lines = list[PushProgress](), list[str]()
    pushed = await engine.push(name, told.append, lines.append)
    assert any(pushed.digest in line for line in lines)
    assert [layer.state for layer in told[-1].layers] == [LayerState.SENT] * 2
    assert sum(layer.done or 0 for layer in told[-1].layers) == 20_000_001
    assert told[-1].part == 1.0
    if os.name == "posix":
        assert any(
            0 < (layer.done or 0) < 20_000_000 for shown in told for layer in shown.layers if layer.total != 1
        )

    again = list[PushProgress]()
    assert await engine.push(name, again.append) == pushed
    assert {layer.state for layer in again[-1].layers} == {LayerState.EXISTS}

    assert await engine.remove(name)
    reference = f"{name.rpartition(':')[0]}@{pushed.digest}"
    await engine.pull(reference)
    try:
        info = await engine.inspect(reference)
        assert info is not None
        assert reference in info.digests
        assert await engine.copy_out(reference, "/small") == b"x"
        with pytest.raises(BadInput, match="more than"):
            await engine.copy_out(reference, "/big", limit=1_000)
    finally:
        await engine.remove(reference)
    with pytest.raises(PullFailed):
        await engine.pull(f"{registry}/ours-never-was:1")


@pytest.fixture
async def strict_registry() -> AsyncIterator[str]:
    """One that wants a name and a password."""

    async def refuse(request: web.Request) -> web.Response:
        headers = {
            "WWW-Authenticate": 'Basic realm="ours"',
            "Docker-Distribution-Api-Version": "registry/2.0",
        }
        return web.json_response({"errors": [{"code": "UNAUTHORIZED"}]}, status=401, headers=headers)

    site = web.Application()
    site.router.add_route("*", "/{anything:.*}", refuse)
    runner = web.AppRunner(site)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"127.0.0.1:{port}"
    await runner.cleanup()


async def test_a_registry_that_wants_a_password_is_told_from_one_that_is_gone(
    engine: Engine, strict_registry: str, names: Names, wanted: Wanted
) -> None:
    name = names(strict_registry)
    await engine.build(wanted(name, "FROM scratch", "COPY a /a", files={"a": b"x"}))
    with pytest.raises(NotSignedIn) as caught:
        await engine.push(name)
    assert caught.value.hint == f"Sign in with `docker login {strict_registry}`, then try again."
    with pytest.raises(NotSignedIn):
        await engine.pull(name)

    gone = names(f"127.0.0.1:{free_port()}")
    await engine.tag(name, gone)
    told = list[PushProgress]()
    with pytest.raises(PushFailed, match="refused"):
        await engine.push(gone, told.append)
    assert len([progress for progress in told if "tried again" in progress.note]) == 3


# -- containers ------------------------------------------------------------------------------------------


async def test_a_container_has_its_variables_and_mounts_and_is_ended_by_its_label(
    engine: Engine, base: str, tmp_path: Path
) -> None:
    label = f"comfy-runpod.tests={uuid.uuid4().hex}"
    (tmp_path / "given").write_text("a file")
    argv = engine.container_argv(
        base,
        f"ours-{uuid.uuid4().hex}",
        argv=[
            "sh",
            "-c",
            'echo "$TOKEN"; cat /in/given; touch /in/x 2>/dev/null || echo; echo ro; sleep 900',
        ],
        labels=[label],
        env_names=["TOKEN"],
        mounts=[Mount(tmp_path, "/in")],
        network="none",
    )
    assert "hush" not in " ".join(argv)
    lines = list[str]()
    running = asyncio.create_task(run(argv, env=engine.environment({"TOKEN": "hush"}), on_line=lines.append))
    await until(lambda: "ro" in lines)
    assert lines == ["hush", "a file", "ro"]
    assert not (tmp_path / "x").exists()
    assert await engine.stop_containers(label) == 1
    # Who runs it in the foreground sees its end.
    assert (await running).code != 0
    assert await engine.stop_containers(label) == 0


async def test_a_command_runs_once(engine: Engine, base: str) -> None:
    assert await engine.run_once(base, ["sh", "-c", "echo one; echo two"]) == ("one", "two")
    with pytest.raises(ProcessFailed) as caught:
        await engine.run_once(base, ["sh", "-c", "exit 3"])
    assert caught.value.details["exit_code"] == 3

    lines = list[str]()
    running = asyncio.create_task(
        engine.run_once(base, ["sh", "-c", "echo up; sleep 900"], on_line=lines.append)
    )
    await until(lambda: bool(lines))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await engine.stop_containers(ONCE_LABEL) == 0


async def test_nothing_but_a_file_of_the_image_is_copied_out(
    engine: Engine, names: Names, wanted: Wanted
) -> None:
    name = names("")
    request = wanted(name, "FROM scratch", "ADD links.tar /", files={"links.tar": _links()})
    await engine.build(request)
    assert await engine.copy_out(name, "/inside") == b"of the image"
    for path in ("/outside", "/folder", "/none"):
        with pytest.raises((BadInput, ProcessFailed)):
            await engine.copy_out(name, path)
    with pytest.raises(BadInput):
        await engine.copy_out(name, "relative")


def _links() -> bytes:
    """An archive with a file, a link to it, a link that leads out, and a folder."""
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        file = tarfile.TarInfo("file")
        file.size = len(b"of the image")
        archive.addfile(file, io.BytesIO(b"of the image"))
        for name, target in (("inside", "/file"), ("outside", "../../../../etc/hostname-of-nobody")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return made.getvalue()


async def test_the_engines_disk_is_known_when_it_is_here(engine: Engine) -> None:
    free = await engine.free_bytes()
    assert (free is None) == (engine.root is None)
    assert free is None or free == pytest.approx(shutil.disk_usage(str(engine.root)).free, rel=0.2)


# -- no engine -------------------------------------------------------------------------------------------


@pytest.fixture
def deaf_socket() -> Iterator[Path]:
    """A socket that nobody listens on."""
    if sys.platform == "win32":
        pytest.skip("Docker listens on a pipe there.")
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as bound:
        path = Path(folder) / "docker.sock"
        bound.bind(str(path))
        yield path


async def test_a_socket_that_nobody_listens_on_is_a_daemon_that_does_not_run(
    engine: Engine, deaf_socket: Path
) -> None:
    for path in (deaf_socket, deaf_socket.with_name("none")):
        with pytest.raises(DaemonNotRunning):
            await Engine.find(engine.program, {"DOCKER_HOST": f"unix://{path}"})


@pytest.mark.skipif(sys.platform != "linux", reason="Docker Desktop gives every account its own socket.")
async def test_a_socket_without_rights_is_an_account_that_may_not(
    engine: Engine, deaf_socket: Path, tmp_path: Path
) -> None:
    program = engine.program
    if os.geteuid() == 0:
        # Root may do everything: the client is run as nobody.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("There is no setpriv.")
        program = tmp_path / "docker"
        program.write_text(
            f'#!/bin/sh\nexec {setpriv} --reuid=65534 --clear-groups {engine.program} "$@"\n', "utf-8"
        )
        program.chmod(0o755)
    deaf_socket.chmod(0)
    with pytest.raises(DockerNotAllowed) as caught:
        await Engine.find(program, {"DOCKER_HOST": f"unix://{deaf_socket}"})
    assert "usermod -aG docker" in caught.value.hint
