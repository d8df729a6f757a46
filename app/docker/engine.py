"""Docker, found and ready: what the rest of the program has of it."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..comfyui.programs import OnLine
from ..errors import BadInput
from . import containers, images, sending, signin
from .building import OnBuild, OnStepLine, build
from .cli import Cli
from .find import find
from .model import Builder, BuildRequest, Built, HistoryLine, ImageInfo, Mount, Pushed, SignIn
from .names import checked_name, checked_reference
from .sending import OnPush

_LARGEST_COPY = 16 << 20
#: On each container that runs for a moment only, beside the caller's.
ONCE_LABEL = "comfy-runpod.once"


@dataclass(frozen=True, slots=True)
class Engine:
    """A Docker that can build.

    Every method raises DockerUnusable when the engine is not reached any more, and ProcessFailed for what
    else goes wrong. A cancelled one has ended its programs.

    Attributes:
        root: the engine's folder, when it is one of this computer.
        os, arch: of the engine, such as ``linux`` and ``x86_64``.
        has_gpu: containers can have an NVIDIA card.
        pauses_s: before each further try of a push whose connection broke.
    """

    client_version: str
    server_version: str
    builder: Builder
    root: Path | None
    os: str
    arch: str
    has_gpu: bool
    _cli: Cli = field(repr=False)
    pauses_s: Sequence[float] = sending.PAUSES_S

    @classmethod
    async def find(cls, program: Path | None = None, env: Mapping[str, str] | None = None) -> Engine:
        """The first Docker that can build, on the path or in the usual places.

        Args:
            program: the one to take.
            env: for its environment, such as ``DOCKER_HOST``.

        Raises:
            DockerMissing, DaemonNotRunning, DockerNotAllowed, BuildxMissing, DockerUnusable: all NeedsSetup.
        """
        found = await find(program, env)
        return cls(
            found.client_version,
            found.server_version,
            found.builder,
            found.root,
            found.os,
            found.arch,
            found.has_gpu,
            found.cli,
        )

    @property
    def program(self) -> Path:
        return self._cli.program

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """For whoever runs :meth:`container_argv`; ``extra`` has the values of its ``env_names``."""
        return {**self._cli.env, **(extra or {})}

    async def build(
        self, request: BuildRequest, on_progress: OnBuild | None = None, on_line: OnStepLine | None = None
    ) -> Built:
        """Build an image.

        Args:
            on_progress: ten times a second at most.
            on_line: with the key of the line's step, None for what belongs to none.

        Raises:
            BadInput: when there is no such folder or file.
            BuildFailed: with the step that failed and its last lines.
        """
        book, seconds = await build(self._cli, self.builder, request, on_progress, on_line)
        info = await images.inspect(self._cli, request.tags[0])
        return Built(info.id if info else "", seconds, book.progress().steps)

    async def push(
        self, name: str, on_progress: OnPush | None = None, on_line: OnLine | None = None
    ) -> Pushed:
        """Send an image to its registry; tried again up to three times when the connection breaks.

        Raises:
            BadInput: when there is no such image.
            NotSignedIn, PushFailed
        """
        name = checked_name(name)
        info = await images.inspect(self._cli, name)
        if info is None:
            raise BadInput(f"There is no image {name} to push.", hint="Build it first.")
        sizes = await images.layer_sizes(self._cli, info)
        return await sending.push(self._cli, name, sizes, on_progress, on_line, self.pauses_s)

    async def pull(self, name: str, on_line: OnLine | None = None) -> None:
        """Fetch an image by name or digest. Raises NotSignedIn, PullFailed."""
        await sending.pull(self._cli, checked_reference(name), on_line)

    async def inspect(self, name: str) -> ImageInfo | None:
        return await images.inspect(self._cli, checked_reference(name))

    async def history(self, name: str) -> tuple[HistoryLine, ...]:
        """The newest line first; with what each layer added, unpacked."""
        return await images.history(self._cli, checked_reference(name))

    async def remove(self, name: str) -> bool:
        """Take a name from an image, and the image with its last; whether there was one."""
        return await images.remove(self._cli, checked_reference(name))

    async def tag(self, old: str, new: str) -> None:
        await self._cli.told("Naming the image", "tag", checked_reference(old), checked_name(new))

    async def free_bytes(self) -> int | None:
        """The room on the disk with the engine's folder; None when it is not on this computer."""
        if self.root is None:
            return None
        try:
            return (await asyncio.to_thread(shutil.disk_usage, self.root)).free
        except OSError:
            return None

    async def signed_in(self, registry: str) -> SignIn:
        """What Docker's own store says of a registry's host, ``docker.io`` for Docker Hub."""
        return await signin.signed_in(registry, self._cli.env)

    def container_argv(
        self,
        image: str,
        name: str,
        *,
        argv: Sequence[str] = (),
        labels: Sequence[str] = (),
        env_names: Sequence[str] = (),
        mounts: Sequence[Mount] = (),
        network: str | None = None,
        gpus: str | None = None,
        user: str | None = None,
        hosts: Sequence[str] = (),
        init: bool = True,
    ) -> list[str]:
        """The command that runs an image in the foreground, and ends with it; Ctrl+C reaches the container.

        Killing the command does not end the container: see :meth:`stop_containers`.

        Args:
            argv: in place of the image's own command.
            labels: such as ``name`` or ``name=value``.
            env_names: variables that it has from the command's own environment, so that no value is in the
                list of processes.
            gpus: such as ``all``.
            hosts: such as ``host.docker.internal:host-gateway``.
            init: have Docker's own small program as process 1; not for images that bring one.

        Raises:
            BadInput: when one of them cannot be used.
        """
        words = containers.arguments(
            name=name,
            labels=labels,
            env_names=env_names,
            mounts=mounts,
            network=network,
            gpus=gpus,
            user=user,
            hosts=hosts,
            init=init,
        )
        return [str(self.program), "run", *words, checked_reference(image), *argv]

    async def run_once(
        self,
        image: str,
        argv: Sequence[str],
        *,
        labels: Sequence[str] = (),
        mounts: Sequence[Mount] = (),
        network: str = "none",
        user: str | None = None,
        on_line: OnLine | None = None,
    ) -> tuple[str, ...]:
        """Run a command in a container of an image, in place of its own; what it printed.

        Raises:
            ProcessFailed: when the command ends badly; ``details['exit_code']`` says how.
        """
        name = f"once-{uuid.uuid4().hex}"
        words = containers.arguments(
            name=name,
            labels=(ONCE_LABEL, *labels),
            mounts=mounts,
            network=network,
            user=user,
            entrypoint=argv[0],
        )
        reference = checked_reference(image)
        return await containers.run_once(self._cli, reference, argv[1:], words, name, on_line)

    async def stop_containers(self, label: str) -> int:
        """End and remove the containers with a label, running or not; how many there were."""
        return await containers.stop(self._cli, label)

    async def copy_out(self, image: str, path: str, limit: int = _LARGEST_COPY) -> bytes:
        """A small file of an image; nothing in the image is run.

        Raises:
            BadInput: when it is no file, or has more than ``limit`` bytes.
        """
        return await containers.copy_out(self._cli, checked_reference(image), path, limit)
