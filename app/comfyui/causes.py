"""What it means to a person when git, uv or a Python ends badly."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import ProcessFailed

_LOG_LINES = 50
#: What a program says, and what it means to a person. The first that fits counts.
_CAUSES = tuple(
    (re.compile(pattern, re.IGNORECASE), cause)
    for pattern, cause in (
        (r"no space left on device|disk quota exceeded|not enough space", "the disk is full"),
        (
            r"could not resolve host|dns error|name or service not known|failed to lookup address",
            "there is no network, or the server's name is wrong",
        ),
        (r"would be overwritten by", "files that are not part of it are in the way"),
        (r"repository corruption", "the repository there is damaged"),
        (r"network (connectivity|was|is) disabled", "the network is switched off for uv (UV_OFFLINE)"),
        (
            r"certificate (problem|verif)|verification failed.*certificate|invalid peer certificate",
            "the server's certificate was not accepted",
        ),
        (
            r"authentication failed|could not read (username|password)|permission denied \(publickey|"
            r"401 unauthorized|403 forbidden|host key verification failed",
            "it is private or does not exist, or the sign-in was refused",
        ),
        (r"transport '.*' not allowed", "only https, ssh and file addresses are used"),
        (r"xcrun: error|xcode-select", "Apple's command line tools, which bring git, are not installed"),
        (r"dubious ownership", "the folder belongs to another user"),
        (
            r"remote branch .* not found|couldn't find remote ref|not our ref|did not match any file|"
            r"reference is not a tree|unadvertised object|unable to read tree",
            "there is no such version",
        ),
        (
            r"no interpreter found|no python .*found",
            "that Python is not on this computer and uv cannot get it",
        ),
        (
            r"does not appear to be a git repository|repository .*(not found|does not exist)|404 not found",
            "nothing was found at that address",
        ),
        (
            r"failed to connect|couldn't connect|connection (refused|reset|timed out|closed)|timed out|"
            r"early eof|unexpected disconnect|error sending request|could not read from remote|"
            r"tcp connect error",
            "the server did not answer",
        ),
        (r"permission denied|access is denied", "a file or folder may not be written"),
    )
)


def failed(doing: str, lines: Sequence[str], *, cause: str = "", hint: str = "") -> ProcessFailed:
    """The error of a program that ended badly, with the likely cause, else with what it said last."""
    return ProcessFailed(
        f"{doing} failed: {cause or _likely_cause(lines) or _last_words(lines)}.",
        hint=hint,
        log=list(lines[-_LOG_LINES:]),
    )


def _likely_cause(lines: Sequence[str]) -> str:
    text = "\n".join(line for line in lines[-_LOG_LINES:] if not line.startswith("warning:"))
    return next((cause for pattern, cause in _CAUSES if pattern.search(text)), "")


def _last_words(lines: Sequence[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    # uv explains below its "error:", git below its "fatal:".
    for line in reversed(said):
        if match := re.match(r"(?:error|fatal|cause): *(.+)", line):
            return match[1].rstrip(".")
    return said[-1].rstrip(".") if said else "it said nothing"
