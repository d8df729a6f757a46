"""Containers: the command that runs one, and the end of those that are left."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from ..comfyui.programs import Ended, OnLine
from ..errors import BadInput, ProcessFailed
from ..threads import unbroken
from .cli import Cli, failed
from .errors import last_word, short
from .model import Mount

#: The exit code of ``docker run`` when the failure is not the command's.
_DOCKERS_OWN = 125

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}(?:=[A-Za-z0-9._/:-]{0,127})?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:,=/-]{0,127}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}:(?:host-gateway|[0-9a-fA-F.:]{2,45})")


def arguments(
    *,
    name: str,
    labels: Sequence[str] = (),
    env_names: Sequence[str] = (),
    mounts: Sequence[Mount] = (),
    network: str | None = None,
    gpus: str | None = None,
    user: str | None = None,
    hosts: Sequence[str] = (),
    entrypoint: str | None = None,
    init: bool = True,
) -> list[str]:
    """The words between ``docker run`` and the image.

    Raises:
        BadInput: when one of them cannot be used.
    """
    words = ["--rm", "--name", _checked(_NAME, name, "a container's name")]
    if init:
        # As process 1 a program that does not ask for signals gets none.
        words.append("--init")
    for label in labels:
        words += ["--label", _checked(_LABEL, label, "a label")]
    for each in env_names:
        words += ["--env", _checked(_ENV_NAME, each, "the name of a variable")]
    for mount in mounts:
        words += ["--mount", _mount(mount)]
    for host in hosts:
        words += ["--add-host", _checked(_HOST, host, "a host's name and address")]
    if network is not None:
        words += ["--network", _checked(_WORD, network, "a network")]
    if gpus is not None:
        words += ["--gpus", _checked(_WORD, gpus, "a choice of GPUs")]
    if user is not None:
        words += ["--user", _checked(_USER, user, "a user")]
    if entrypoint is not None:
        words += ["--entrypoint", entrypoint]
    return words


def _mount(mount: Mount) -> str:
    """As ``--mount`` takes it: a line of CSV, so that a path may have commas."""
    host = mount.host.absolute()
    if not mount.inside.startswith("/") or any(not part.isprintable() for part in (mount.inside, str(host))):
        raise BadInput(f"{host} cannot be shown to a container at {mount.inside!r}.")
    fields = ["type=bind", f"source={host}", f"target={mount.inside}"]
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([*fields, *(["readonly"] if mount.readonly else [])])
    return line.getvalue()


async def run_once(
    cli: Cli, image: str, argv: Sequence[str], words: Sequence[str], name: str, on_line: OnLine | None
) -> tuple[str, ...]:
    """Run a command in a container to its end; what it printed. Cancelled, the container is gone.

    Raises:
        ProcessFailed: when it ends badly.
    """
    running = asyncio.ensure_future(cli.run("run", *words, image, *argv, on_line=on_line))
    try:
        ended = await asyncio.shield(running)
    except asyncio.CancelledError:
        await unbroken(_end(cli, name, running))
        raise
    if ended.code == _DOCKERS_OWN:
        raise failed("Starting the container", ended)
    if ended.code:
        raise ProcessFailed(
            f"The command in the container failed: {short(last_word(ended.lines))}.",
            exit_code=ended.code,
            log=list(ended.lines)[-30:],
        )
    return ended.lines


async def _end(cli: Cli, name: str, running: asyncio.Future[Ended]) -> None:
    """The container first: not every command heeds the Ctrl+C that Docker passes on."""
    await cli.run("rm", "--force", name)
    running.cancel()
    await asyncio.wait([running])
    if not running.cancelled():
        running.exception()  # else asyncio complains that nobody looked at it
    # It may have been made only now.
    await cli.run("rm", "--force", name)


async def stop(cli: Cli, label: str) -> int:
    """End and remove the containers with a label, running or not; how many there were."""
    _checked(_LABEL, label, "a label")
    doing = "Looking for containers"
    ids = await cli.told(doing, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")
    found = [line for line in ids if re.fullmatch(r"[0-9a-f]{64}", line)]
    if found:
        ended = await cli.run("rm", "--force", *found)
        # Another may have removed one meanwhile, or it removes itself.
        gone = re.compile(r"no such container|already in progress", re.IGNORECASE)
        if ended.code and not gone.search(last_word(ended.lines)):
            raise failed("Removing containers", ended)
    return len(found)


async def copy_out(cli: Cli, image: str, path: str, limit: int) -> bytes:
    """A file of an image, without running anything in it.

    Raises:
        BadInput: when it is no file, or has more bytes than ``limit``.
        ProcessFailed
    """
    if not path.startswith("/") or not path.isprintable():
        raise BadInput(f"{path!r} is no path in an image.")
    name = f"copy-{uuid.uuid4().hex}"
    try:
        await cli.told("Opening the image", "create", "--name", name, "--network", "none", image, "nothing")
        with tempfile.TemporaryDirectory(prefix="copied-", ignore_cleanup_errors=True) as folder:
            into = Path(folder) / "file"
            # Followed inside the image: a link that came out would lead through our files.
            words = ("cp", "--follow-link", f"{name}:{path}", str(into))
            await cli.told(f"Taking {path} out of the image", *words)
            return await asyncio.to_thread(_read, into, path, limit)
    finally:
        await unbroken(cli.run("rm", "--force", name))


def _read(file: Path, path: str, limit: int) -> bytes:
    if file.is_symlink() or not file.is_file():
        raise BadInput(f"{path} is no file in the image.")
    if file.stat().st_size > limit:
        raise BadInput(f"{path} in the image has more than {limit} bytes.")
    return file.read_bytes()


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if not pattern.fullmatch(text):
        raise BadInput(f"{text!r} cannot be {what}.")
    return text
