"""What can be wrong with Docker, each with what to do about it, and telling it from Docker's words."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import NeedsSetup, ProcessFailed, Refused
from .names import HUB, registry_of

_LAST_LINES = 30

_DENIED_SOCKET = re.compile(
    r"permission denied while trying to connect|connect: permission denied|docker_engine: access is denied",
    re.IGNORECASE,
)
_NO_DAEMON = re.compile(
    r"cannot connect to the docker daemon|failed to connect to the docker api|error during connect"
    r"|is the docker daemon running|docker desktop is (?:not running|unable to start)"
    r"|connection to the docker daemon|the docker daemon is not running",
    re.IGNORECASE,
)
_NOT_SIGNED_IN = re.compile(
    r"\bdenied:|(?:^|: )denied$|access denied|access to the resource is denied|unauthorized|\b403 forbidden"
    r"|authentication required|no basic auth credentials|insufficient_scope|incorrect username or password",
    re.IGNORECASE,
)
_BROKEN = re.compile(
    r"\bEOF\b|broken pipe|connection reset|connection refused|connection timed out|i/o timeout"
    r"|tls handshake timeout|timeout exceeded|deadline exceeded|use of closed network connection|no such host"
    r"|server misbehaving|network is unreachable|no route to host|transport is closing|stream error"
    r"|http2: |unexpected http (?:response )?status(?: code)?:? ?5\d\d|\b50[0234] [A-Z]|too ?many ?requests",
    re.IGNORECASE,
)
_DISK_FULL = re.compile(r"no space left on device|not enough space on the disk", re.IGNORECASE)
_PREFIXES = re.compile(
    r"^(?:error response from daemon: |error: |errors: |docker: |failed to solve(?: with frontend \S+)?: "
    r"|failed to create llb definition: |rpc error: code = \w+ desc = )+",
    re.IGNORECASE,
)


class DockerUnusable(NeedsSetup):
    """Docker is there and cannot be used."""

    code = "docker_unusable"


class DockerMissing(DockerUnusable):
    code = "docker_missing"

    def __init__(self, **details: Any) -> None:
        hints = {
            "win32": "Install Docker Desktop, for example with `winget install Docker.DockerDesktop`.",
            "darwin": "Install Docker Desktop, for example with `brew install --cask docker`.",
        }
        hint = hints.get(
            sys.platform, "Install it, for example with `sudo apt install docker.io docker-buildx`."
        )
        super().__init__("Docker is not on this computer.", hint=hint, **details)


class DaemonNotRunning(DockerUnusable):
    """``details['command']`` is a command that starts it."""

    code = "docker_not_running"

    def __init__(self, **details: Any) -> None:
        commands = {"win32": "docker desktop start", "darwin": "open -a Docker"}
        details.setdefault("command", commands.get(sys.platform, "sudo systemctl start docker"))
        hint = "Start Docker, and try again."
        super().__init__("Docker is not running.", hint=hint, **details)


class DockerNotAllowed(DockerUnusable):
    code = "docker_not_allowed"

    def __init__(self, **details: Any) -> None:
        hints = {
            "win32": "Add your account to the group docker-users, then sign out of Windows and in again.",
            "darwin": "Start Docker Desktop once with your account.",
        }
        hint = hints.get(
            sys.platform, "Run `sudo usermod -aG docker $USER`, then sign out of this computer and in again."
        )
        super().__init__("Your account may not use Docker.", hint=hint, **details)


class BuildxMissing(DockerUnusable):
    code = "buildx_missing"

    def __init__(self, **details: Any) -> None:
        hint = (
            "Update Docker Desktop, which brings it."
            if sys.platform in ("win32", "darwin")
            else "Install it, for example with `sudo apt install docker-buildx`; where Docker is from its own"
            " packages, with `sudo apt install docker-buildx-plugin`."
        )
        super().__init__("This Docker cannot build images, since buildx is missing.", hint=hint, **details)


class BuildFailed(ProcessFailed):
    """``details``: the step's title (empty: none began), its exit code or None, and its last lines."""

    code = "build_failed"

    def __init__(self, step: str, error: str, exit_code: int | None, lines: Sequence[str]) -> None:
        if step and exit_code is not None:
            summary = f"The build failed with exit code {exit_code} in the step {step}."
        elif step:
            summary = f"The build failed in the step {step}: {short(error)}."
        else:
            summary = f"The build failed: {short(error)}."
        full = any(_DISK_FULL.search(line) for line in (error, *lines))
        super().__init__(
            summary,
            hint="Docker's disk is full. Make room, for example with `docker system prune`." if full else "",
            step=step,
            exit_code=exit_code,
            log=list(lines)[-_LAST_LINES:],
        )


class NotSignedIn(Refused):
    """A registry lets nobody in, or not this account."""

    code = "not_signed_in"

    def __init__(self, name: str, what: str, lines: Sequence[str]) -> None:
        registry = registry_of(name)
        command = "docker login" if registry == HUB else f"docker login {registry}"
        super().__init__(
            f"The registry refused the {what}: not signed in, or no right to {what} {name}.",
            status=401,
            hint=f"Sign in with `{command}`, then try again.",
            registry=registry,
            log=list(lines)[-_LAST_LINES:],
        )


class TransferFailed(ProcessFailed):
    """An image came not or not whole from or to a registry."""

    code = "transfer_failed"


class PushFailed(TransferFailed):
    code = "push_failed"


class PullFailed(TransferFailed):
    code = "pull_failed"


def unusable(lines: Sequence[str]) -> DockerUnusable | None:
    """What the client says when it does not reach its engine; None when it says something else."""
    said = list(lines)[-_LAST_LINES:]
    if any(_DENIED_SOCKET.search(line) for line in said):
        return DockerNotAllowed(log=said)
    if any(_NO_DAEMON.search(line) for line in said):
        return DaemonNotRunning(log=said)
    return None


def is_refusal(lines: Sequence[str]) -> bool:
    """Whether a registry wants another account, or any."""
    return any(_NOT_SIGNED_IN.search(line) for line in lines)


def is_broken(lines: Sequence[str]) -> bool:
    """Whether the way to a registry broke, so that another try may help."""
    return any(_BROKEN.search(line) for line in lines)


def short(error: str) -> str:
    """An error of Docker's as the end of a sentence, without what it puts in front."""
    line = next((line.strip() for line in error.splitlines() if line.strip()), "no reason was given")
    line = _PREFIXES.sub("", line).rstrip(".")
    return line if len(line) <= 200 else line[:200] + "…"


def last_word(lines: Sequence[str]) -> str:
    """The line that tells why: the last that begins like an error, else the last that is not empty."""
    said = [line for line in lines if line.strip()]
    return next((line for line in reversed(said) if _PREFIXES.match(line)), said[-1] if said else "")
