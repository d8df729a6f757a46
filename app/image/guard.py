"""Keys and passwords that are about to go into an image: found before they do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import NeedsSetup

#: What no image needs, by name.
_NAMES = re.compile(
    r"id_(?:rsa|dsa|ecdsa|ed25519)|\.env(?:\.(?!example|sample|template).*)?|\.netrc|\.pypirc|\.git-credentials"
    r"|.*\.(?:pfx|p12|jks|keystore)|credentials\.json",
    re.IGNORECASE,
)
#: What keys look like, by whose they are. Each begins with letters that nothing else begins with.
_KINDS = (
    (
        "a private key",
        re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\s+[A-Za-z0-9+/=:]"),
    ),
    ("a RunPod key", re.compile(rb"\brp(?:a|s)_[A-Za-z0-9]{30,}")),
    ("a GitHub token", re.compile(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})")),
    ("a Hugging Face token", re.compile(rb"\bhf_[A-Za-z0-9]{34,}")),
    ("an OpenAI key", re.compile(rb"\bsk-(?:proj-|svcacct-)[A-Za-z0-9_-]{40,}")),
    ("an AWS key", re.compile(rb"\b(?:AKIA|ASIA)(?![A-Z2-7]*EXAMPLE)[A-Z2-7]{16}\b")),
    ("a Google key", re.compile(rb"\bAIza[A-Za-z0-9_-]{35}\b")),
    ("a Slack token", re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{20,}")),
)
#: Beyond that only a file's beginning is looked at; a model or a video holds no key that anyone put there.
_LARGEST = 4 << 20
_BINARY = re.compile(rb"\0")


@dataclass(frozen=True, slots=True)
class Secret:
    """A file that must not go into an image. ``line`` is None when its name says it already."""

    path: str
    kind: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}{f', line {self.line}' if self.line else ''}: {self.kind}"


class SecretsFound(NeedsSetup):
    """Nothing is built with them; ``files``, also in ``details``, says where they are and of what kind."""

    code = "secrets_found"

    def __init__(self, secrets: Sequence[Secret]) -> None:
        more = len(secrets) - 1
        self.files = tuple(str(each) for each in secrets)
        super().__init__(
            f"Nothing is built: {secrets[0]}{f', and {more} more' if more else ''}.",
            hint="Anyone who pulls the image could read it. Take it out of there, or leave the node out.",
            files=list(self.files),
        )


def secrets_in(folder: Path) -> Iterator[Secret]:
    """What looks like a secret below a folder, by path. Never the secret itself. Blocks."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            if not path.resolve().is_relative_to(folder.resolve()):
                yield Secret(name, "a link that leads out of the image")
        elif path.is_file():
            yield from _in_file(path, name)


def _in_file(path: Path, name: str) -> Iterator[Secret]:
    if _NAMES.fullmatch(path.name) and path.stat().st_size:
        yield Secret(name, "a file of keys, by its name")
        return
    with path.open("rb") as file:
        text = file.read(_LARGEST)
    if _BINARY.search(text[:8192]):
        return
    for kind, pattern in _KINDS:
        for match in pattern.finditer(text):
            yield Secret(name, kind, text.count(b"\n", 0, match.start()) + 1)
            break
