"""Git repositories: addresses and versions checked, cloned, asked, and brought to another commit."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from worker.process import clean_environment

from ..errors import BadInput, ProcessFailed
from .causes import failed
from .programs import HOME, OnLine, masked, run

OnPart = Callable[[float], None]

_ADDRESS = re.compile(
    r"(https://[^\s?#]+|ssh://[^\s?#]+|file:///[^?#]*|[A-Za-z0-9_][\w.-]*@[A-Za-z0-9][\w.-]*:(?!/?/)\S+)"
)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}")
_RELEASE = re.compile(r"v?(\d{1,9}(?:\.\d{1,9}){1,3})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REF = re.compile(r"([0-9a-f]{40})\trefs/(heads|tags)/(\S+)")
_PERCENT = re.compile(r"(Receiving objects|Resolving deltas|Updating files): +(\d{1,3})%")
#: Where in a clone each of its stages begins, and how much of it is the stage's.
_STAGES = {"Receiving objects": (0.0, 0.8), "Resolving deltas": (0.8, 0.1), "Updating files": (0.9, 0.1)}
_OPTIONS = (
    # Hooks and watchers of a repository are programs, and nobody asked for them.
    "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.quotePath=false", "core.longPaths=true",
    "submodule.recurse=false", "protocol.ext.allow=never", "advice.detachedHead=false", "gc.auto=0",
    "maintenance.auto=false", "init.defaultBranch=main",
)  # fmt: skip
_NOT_TOLD = re.compile(
    r"not our ref|unadvertised object|couldn't find remote ref|does not support", re.IGNORECASE
)


def checked_address(text: str) -> str:
    """An address that git may be given: https, ssh, ``user@host:path``, a file address or a folder.

    A folder becomes a file address: git then copies from it as from a server.

    Raises:
        BadInput: for any other; in particular none is an option, or a program to run.
    """
    address = text.strip()
    printable = address.isprintable() and not address.startswith("-")
    host = address.partition("://")[2].rpartition("@")[2] if "://" in address else ""
    if printable and not host.startswith("-") and _ADDRESS.fullmatch(address):
        return address
    if (
        printable
        and address
        and "::" not in address
        and "://" not in address
        and (folder := _folder(address))
    ):
        return folder.as_uri()
    raise BadInput(
        f"{masked(address)!r} is no address of a repository.",
        hint="Give an https or ssh address, or a folder of this computer.",
    )


def _folder(text: str) -> Path | None:
    try:
        folder = Path(text).expanduser().resolve()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def checked_version(text: str) -> str:
    """A tag, branch or commit; an empty text stays one.

    Raises:
        BadInput: for what is no name in git.
    """
    version = text.strip()
    odd = ".." in version or "//" in version or version.endswith((".lock", "/", "."))
    if version and (odd or not _VERSION.fullmatch(version)):
        raise BadInput(f"{version!r} is no tag, branch or commit.")
    return version


def newest_release(tags: Mapping[str, str]) -> str:
    """Of tags such as ``v0.3.64`` the highest; empty when none is one."""
    releases = [
        (tuple(map(int, match[1].split("."))), tag) for tag in tags if (match := _RELEASE.fullmatch(tag))
    ]
    return max(releases, default=((), ""))[1]


def part_done(line: str) -> float | None:
    """How far a clone is, from 0 to 1, by what git draws; None when the line shows nothing of it."""
    match = _PERCENT.search(line)
    if match is None:
        return None
    begins, share = _STAGES[match[1]]
    return begins + share * min(int(match[2]), 100) / 100


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git.

    Attributes:
        log_file: gets each command and what git says.
        on_line: called with what git says while it downloads.
    """

    program: Path
    log_file: Path | None = None
    on_line: OnLine | None = None

    async def clone(self, address: str, version: str, into: Path, on_part: OnPart | None = None) -> str:
        """Copy a repository at a version, with no more of its history than is needed; its commit.

        Args:
            version: a tag, branch or commit; empty for the default branch.
            into: a folder that does not exist yet. After an error or when cancelled it may exist.

        Raises:
            ProcessFailed: when it cannot be had, with the likely cause.
        """
        doing = f"Downloading {masked(address)}" + (f" at {version}" if version else "")
        if not version or await self._is_named(address, version):
            branch = ["--branch", version] if version else []
            await self._run(
                doing, ["clone", "--progress", "--depth", "1", *branch, "--", address, str(into)], on_part
            )
        else:
            await self._clone_commit(doing, address, version, into, on_part)
        return await self.commit_of(into)

    async def tags(self, address: str) -> dict[str, str]:
        """The tags of a repository elsewhere, with what they point to."""
        doing = f"Asking {masked(address)} for its versions"
        lines = await self._run(doing, ["ls-remote", "--tags", "--refs", "--", address])
        return {match[3]: match[1] for line in lines if (match := _REF.fullmatch(line))}

    async def commit_of(self, folder: Path, name: str = "HEAD") -> str:
        """The full commit of a name in a repository on this disk."""
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"]
        try:
            lines = await self.told(folder, f"Looking for {name}", *words)
        except ProcessFailed as error:
            if error.details["log"]:
                raise
            lines = ()
        commit = next((line for line in reversed(lines) if _COMMIT.fullmatch(line)), None)
        if commit is None:
            raise failed(f"Looking for {name}", lines, cause="there is no such version")
        return commit

    async def told(self, folder: Path, doing: str, *words: str) -> tuple[str, ...]:
        """What git says in a repository on this disk."""
        return await self._run(f"{doing} in {folder.name}", ["-C", str(folder), *words])

    async def holds(self, folder: Path, *words: str) -> bool:
        """Whether git ends well: for questions that are answered by the exit code."""
        argv = self._argv(["-C", str(folder), *words])
        return (await run(argv, env=_environment(), log_file=self.log_file)).code == 0

    async def fetch(self, folder: Path, name: str, on_part: OnPart | None = None) -> str:
        """Get a branch, tag or commit of a clone's origin; its commit. Only ``.git`` changes.

        Raises:
            ProcessFailed: when it cannot be had.
        """
        doing = f"Asking for what is new of {folder.name}"
        shallow = ["--depth", "1"] if (folder / ".git" / "shallow").is_file() else []
        words = ["-C", str(folder), "fetch", "--progress", *shallow, "--", "origin", name]
        if _COMMIT.fullmatch(name) and await self.holds(folder, "cat-file", "-e", f"{name}^{{commit}}"):
            return name
        try:
            await self._run(doing, words, on_part)
        except ProcessFailed as error:
            if not _is_hex(name) or not _is_not_told(error):
                raise
            more = ["--unshallow"] if shallow else []
            await self._run(doing, ["-C", str(folder), "fetch", "--progress", *more, "origin"], on_part)
            return await self.commit_of(folder, name)
        return await self.commit_of(folder, "FETCH_HEAD")

    async def _is_named(self, address: str, version: str) -> bool:
        """Whether a version is a branch or a tag, else it must be a commit."""
        doing = f"Asking {masked(address)} for {version}"
        lines = await self._run(doing, ["ls-remote", "--heads", "--tags", "--", address, version])
        if any((match := _REF.fullmatch(line)) and match[3] == version for line in lines):
            return True
        if not _is_hex(version):
            raise failed(doing, lines, cause="there is no such version")
        return False

    async def _clone_commit(
        self, doing: str, address: str, commit: str, into: Path, on_part: OnPart | None
    ) -> None:
        await self._run(doing, ["init", "--quiet", "--", str(into)])
        here = ["-C", str(into)]
        await self._run(doing, [*here, "remote", "add", "--", "origin", address])
        try:
            await self._run(
                doing, [*here, "fetch", "--progress", "--depth", "1", "--", "origin", commit], on_part
            )
        except ProcessFailed as error:
            # A server may tell only of the tips of branches, and it knows no commit by its first digits.
            if not _is_not_told(error):
                raise
            await self._run(doing, [*here, "fetch", "--progress", "--tags", "origin"], on_part)
        full = await self.commit_of(into, commit)
        await self._run(doing, [*here, "checkout", "--progress", "--detach", full], on_part)

    async def _run(self, doing: str, words: list[str], on_part: OnPart | None = None) -> tuple[str, ...]:
        def redrawn(line: str) -> None:
            part = part_done(line)
            if on_part is not None and part is not None:
                on_part(part)

        ended = await run(
            self._argv(words),
            env=_environment(),
            log_file=self.log_file,
            on_line=self.on_line if on_part is not None else None,
            on_redraw=redrawn,
        )
        if ended.code != 0:
            raise failed(doing, ended.lines)
        return ended.lines

    def _argv(self, words: list[str]) -> list[str]:
        return [str(self.program), *(word for option in _OPTIONS for word in ("-c", option)), *words]


def remove_tree(folder: Path) -> None:
    """Remove a folder and all that is in it; of a link only the link. Nothing to remove is fine. Blocks."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.is_dir():
        if os.name == "nt":
            # git's objects may not be written, and Windows does not remove such files.
            for place, _, names in os.walk(folder):
                for name in names:
                    (Path(place) / name).chmod(stat.S_IWRITE)
        shutil.rmtree(folder)


def _is_hex(version: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{7,40}", version) is not None


def _is_not_told(error: ProcessFailed) -> bool:
    return any(_NOT_TOLD.search(line) for line in error.details["log"])


def _environment() -> dict[str, str]:
    """With English words, without questions, and with the user's own settings of git, proxies and keys."""
    extra = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:https:ssh",
        "LC_ALL": "C",
        "LANGUAGE": "",
    }
    return clean_environment(extra, keep=(*HOME, "SSH_AUTH_SOCK", "GIT_SSL_CAINFO"))
