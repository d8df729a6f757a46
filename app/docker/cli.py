"""Docker's command line program: run with a clean environment, and its failures told apart."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.process import clean_environment

from ..comfyui.programs import HOME, Ended, OnLine, run
from ..errors import ComfyRunPodError, ProcessFailed
from .errors import last_word, short, unusable

#: What names the engine, the way to it, and the store of its sign-ins.
_OURS = (
    *HOME, "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
    "DOCKER_TLS", "DOCKER_API_VERSION", "BUILDX_BUILDER", "BUILDX_CONFIG", "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "GNUPGHOME", "PASSWORD_STORE_DIR", "PROGRAMFILES",
)  # fmt: skip
_SETTINGS = {
    "DOCKER_CLI_HINTS": "false",
    # Else a push makes a list of two images, of which the second cannot be run.
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    "BUILDX_GIT_INFO": "false",
}
_KEPT_LINES = 30


@dataclass(frozen=True, slots=True)
class Cli:
    """The program ``docker`` and the environment that it is run with."""

    program: Path
    # It may hold the address of a proxy with a password.
    env: Mapping[str, str] = field(repr=False)

    async def run(
        self,
        *words: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        on_line: OnLine | None = None,
        on_redraw: OnLine | None = None,
        wrapped: Sequence[str] = (),
    ) -> Ended:
        """Run it to its end, whatever that is. Cancelling ends it first.

        Args:
            env: beside its own environment.
            wrapped: a program that runs it.

        Raises:
            ProcessFailed, NeedsSetup: when it cannot be started.
        """
        return await run(
            [*wrapped, str(self.program), *words],
            env={**self.env, **(env or {})},
            cwd=cwd,
            on_line=on_line,
            on_redraw=on_redraw,
        )

    async def told(self, doing: str, *words: str, on_line: OnLine | None = None) -> tuple[str, ...]:
        """What it prints.

        Raises:
            DockerUnusable: when it does not reach its engine.
            ProcessFailed: when it fails; ``doing`` begins the sentence.
        """
        ended = await self.run(*words, on_line=on_line)
        if ended.code:
            raise failed(doing, ended)
        return ended.lines

    async def told_json(self, doing: str, *words: str) -> Any:
        """The JSON that it prints among its warnings; None when there is none. Raises as :meth:`told`."""
        return json_in(await self.told(doing, *words))


def failed(doing: str, ended: Ended) -> ComfyRunPodError:
    """The error for a command that ended badly."""
    if problem := unusable(ended.lines):
        return problem
    return ProcessFailed(
        f"{doing} failed: {short(last_word(ended.lines))}.",
        exit_code=ended.code,
        log=list(ended.lines)[-_KEPT_LINES:],
    )


def json_in(lines: Sequence[str]) -> Any:
    """The first JSON value that fills whole lines; None when there is none."""
    for at, line in enumerate(lines):
        if line.startswith(("{", "[")):
            try:
                value, _ = json.JSONDecoder().raw_decode("\n".join(lines[at:]))
            except (ValueError, RecursionError):
                continue
            return value
    return None


def environment(program: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What Docker's programs may know: no secret of ours, and where its helpers are."""
    env = clean_environment({**_SETTINGS, **(extra or {})}, keep=_OURS)
    # A program started from a desktop often lacks the folder that Docker's credential helpers are in.
    folders = [env.get("PATH", ""), str(program.parent), *(str(place) for place in _helpers())]
    env["PATH"] = os.pathsep.join(dict.fromkeys(folder for folder in folders if folder))
    return env


def _helpers() -> Sequence[Path]:
    return [Path("/usr/local/bin"), Path("/opt/homebrew/bin")] if os.name == "posix" else []
