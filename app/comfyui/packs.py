"""Packs of nodes: looked at before they are installed or updated, switched off and on, and removed."""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import BadInput, NeedsSetup
from ..threads import to_its_end, unbroken
from .environments import Uv
from .installation import Installation
from .pack_changes import Change, Effects, effects_of
from .pack_clone import REQUIREMENTS, SCRIPT, branch_of, brought_by, check_out, name_of, refuse_own_work
from .pack_list import DISABLED, Pack, PackState, list_packs, node_folder
from .pack_logs import ImportResult
from .programs import OnLine
from .repositories import Git, OnPart, checked_address, checked_version, remove_tree

#: ComfyUI loads hidden folders too, but none whose name ends so.
_WORKSHOP = re.compile(r"\..+\.comfy-runpod-[0-9a-f]{8}\.disabled")
_CLONE, _LIMITS = "clone", "limits.txt"
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Preview:
    """What installing or updating a pack would do; it waits for ``Packs.commit`` or ``Packs.discard``.

    Attributes:
        commit: what it would be at, 40 hexadecimal digits.
        before: the commit it is at now; None for a new pack.
        has_install_script: it brings an ``install.py``, which is not run.
    """

    pack_name: str
    folder: Path
    commit: str
    before: str | None
    has_install_script: bool
    workshop: Path = field(repr=False)
    requirements: Path | None = field(repr=False)
    effects: Effects = field(default_factory=Effects)

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.effects.changes

    @property
    def conflicts(self) -> tuple[str, ...]:
        return self.effects.conflicts


@dataclass(frozen=True, slots=True)
class Done:
    """A pack that was installed or updated; ``before`` is what can be gone back to."""

    name: str
    folder: Path
    commit: str
    before: str | None


class Packs:
    """The packs of one installation. One change at a time, and each is made as a whole or not at all.

    Args:
        further: folders of packs beside the one below ComfyUI's own folder or base.
        trash: moves a path to the system's trash; blocks.
    """

    def __init__(
        self,
        installation: Installation,
        uv: Path,
        git: Path,
        log_file: Path,
        *,
        further: Sequence[Path] = (),
        trash: Callable[[Path], None] | None = None,
    ) -> None:
        self.installation = installation
        self.programs = (uv, git)
        self.folders = (node_folder(installation), *further)
        self._git, self._uv = Git(git, log_file), Uv(uv, log_file)
        self._trash = trash or _to_trash
        self._changing = asyncio.Lock()

    async def listed(self, results: Mapping[str, ImportResult] | None = None) -> list[Pack]:
        """All packs, by name.

        Args:
            results: what :func:`~app.comfyui.pack_logs.import_results` found in ComfyUI's log.
        """
        return await asyncio.to_thread(list_packs, self.folders, results)

    # -- install and update ----------------------------------------------------------------------------------

    async def prepare(
        self, address: str, commit: str = "", *, on_line: OnLine | None = None, on_part: OnPart | None = None
    ) -> Preview:
        """Get a pack and look at what its requirements would change; nothing is installed yet.

        Args:
            commit: a branch, tag or commit; empty for the newest state.
            on_part: called with how far the download is, from 0 to 1.

        Raises:
            BadInput: when the address cannot be used, or a pack of that name is there.
            ProcessFailed: naming the likely cause.
        """
        address, version = checked_address(address), checked_version(commit)
        name = name_of(address)
        git = replace(self._git, on_line=on_line)
        async with self._workshop(name) as workshop:
            await asyncio.to_thread(self._refuse_taken, name)
            clone = workshop / _CLONE
            found = await git.clone(address, version, clone, on_part)
            brings = {each.name for each in clone.iterdir() if each.is_file() and not each.is_symlink()}
            wanted = clone / REQUIREMENTS if REQUIREMENTS in brings else None
            target = self.folders[0] / name
            preview = Preview(name, target, found, None, SCRIPT in brings, workshop, wanted)
            return await self._with_effects(preview, clone, on_line)

    async def prepare_update(
        self, pack: Pack, commit: str = "", *, on_line: OnLine | None = None, on_part: OnPart | None = None
    ) -> Preview:
        """Get what is new of a pack and look at what it would change; its files stay as they are.

        Args:
            commit: a branch, tag or commit, an older one too; empty for the newest of its branch.

        Raises:
            BadInput: when it is no clone, or has changes of the user's.
            ProcessFailed: naming the likely cause.
        """
        folder, version = self._own(pack), checked_version(commit)
        if not (folder / ".git").exists():
            raise BadInput(f"{pack.name} was not installed with git, so it cannot be updated.")
        git = replace(self._git, on_line=on_line)
        async with self._workshop(pack.name) as workshop:
            before = await git.commit_of(folder)
            await refuse_own_work(git, folder, pack.name)
            found = await git.fetch(folder, version or await branch_of(git, folder) or "HEAD", on_part)
            wanted, has_script = await brought_by(git, folder, found, workshop)
            preview = Preview(pack.name, folder, found, before, has_script, workshop, wanted)
            return await self._with_effects(preview, folder, on_line)

    async def commit(self, preview: Preview, *, on_line: OnLine | None = None) -> Done:
        """Install the requirements, then put the pack in place. After an error it can be tried again.

        Raises:
            BadInput: when its requirements go with nothing, or the pack was changed meanwhile.
            ProcessFailed: when the requirements cannot be installed; the pack is as it was then.
        """
        workshop, folder = self._known_workshop(preview), preview.folder
        if not preview.effects.possible:
            raise BadInput(f"The requirements of {preview.pack_name} cannot be met: {preview.conflicts[0]}")
        async with self._changing:
            if preview.before is None:
                await asyncio.to_thread(self._refuse_taken, preview.pack_name)
            elif await self._git.commit_of(folder) != preview.before:
                raise BadInput(f"{preview.pack_name} was changed meanwhile.", hint="Begin the update again.")
            else:
                await refuse_own_work(self._git, folder, preview.pack_name)
            if preview.requirements is not None and preview.changes:
                limits, cwd = workshop / _LIMITS, folder if preview.before else workshop / _CLONE
                words = ["-r", str(preview.requirements), *(["-c", str(limits)] if limits.is_file() else [])]
                doing = f"Installing the requirements of {preview.pack_name}"
                python = self.installation.python
                await replace(self._uv, on_line=on_line).install(python, words, cwd, doing=doing)
            if preview.before is None:
                await to_its_end(_move, workshop / _CLONE, folder)
            else:
                await unbroken(check_out(self._git, folder, preview.before, preview.commit))
            await to_its_end(remove_tree, workshop)
        return Done(preview.pack_name, folder, preview.commit, preview.before)

    async def discard(self, preview: Preview) -> None:
        """Forget a preview; only what was got for it goes."""
        await to_its_end(remove_tree, self._known_workshop(preview))

    # -- switch off and on, and remove -----------------------------------------------------------------------

    async def disable(self, pack: Pack) -> Path:
        """Rename it so that ComfyUI passes over it; where it is now. Raises BadInput when that cannot be."""
        folder = self._own(pack)
        if pack.state is PackState.DISABLED:
            raise BadInput(f"{pack.name} is disabled already.")
        async with self._changing:
            return await to_its_end(_move, folder, folder.with_name(folder.name + DISABLED))

    async def enable(self, pack: Pack) -> Path:
        """The reverse of :meth:`disable`, also for what ComfyUI-Manager disabled."""
        folder = self._own(pack)
        if pack.state is not PackState.DISABLED:
            raise BadInput(f"{pack.name} is enabled already.")
        if folder.parent.name == DISABLED:
            enabled = folder.parent.parent / folder.name.partition("@")[0]
        else:
            enabled = folder.with_name(folder.name.removesuffix(DISABLED))
        async with self._changing:
            return await to_its_end(_move, folder, enabled)

    async def remove(self, pack: Pack) -> None:
        """Move it to the system's trash. What its requirements installed stays: others may use it.

        Raises:
            BadInput: when the trash does not take it.
        """
        folder = self._own(pack)
        async with self._changing:
            try:
                await to_its_end(self._trash, folder)
            except OSError as error:
                raise BadInput(f"{pack.name} cannot be moved to the trash: {error}.") from error

    # -- inside ----------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _workshop(self, name: str) -> AsyncIterator[Path]:
        """A hidden folder beside the packs, which stays only when all goes well."""
        workshop = self.folders[0] / f".{name}.comfy-runpod-{secrets.token_hex(4)}{DISABLED}"
        try:
            await to_its_end(_begin, workshop)
            yield workshop
        except BaseException as error:
            await to_its_end(remove_tree, workshop)
            if isinstance(error, OSError):
                raise BadInput(f"{self.folders[0]} cannot be written: {error.strerror}.") from error
            raise

    def _known_workshop(self, preview: Preview) -> Path:
        workshop = preview.workshop
        if (
            workshop.parent != self.folders[0]
            or not _WORKSHOP.fullmatch(workshop.name)
            or not workshop.is_dir()
        ):
            raise BadInput(f"What was got of {preview.pack_name} is no longer there.", hint="Begin again.")
        return workshop

    async def _with_effects(self, preview: Preview, cwd: Path, on_line: OnLine | None) -> Preview:
        if preview.requirements is None:
            return preview
        packs = await self.listed()
        files = {"ComfyUI": self.installation.folder / REQUIREMENTS}
        others = [each for each in packs if each.state is PackState.ENABLED and each.folder.is_dir()]
        files |= {each.name: each.folder / REQUIREMENTS for each in others if each.name != preview.pack_name}
        uv, python = replace(self._uv, on_line=on_line), self.installation.python
        limits = preview.workshop / _LIMITS
        return replace(
            preview, effects=await effects_of(uv, python, preview.requirements, cwd, files, limits)
        )

    def _refuse_taken(self, name: str) -> None:
        for pack in list_packs(self.folders):
            if pack.name.casefold() == name.casefold():
                state = " (disabled)" if pack.state is PackState.DISABLED else ""
                raise BadInput(f"A pack of the name {pack.name} is there already{state}.")

    def _own(self, pack: Pack) -> Path:
        """The folder of a pack that is one of ours."""
        parent = pack.folder.parent
        home = parent.parent if parent.name == DISABLED else parent
        if home not in self.folders or pack.folder.name == "..":
            raise BadInput(f"{pack.folder} is in no folder of packs of this ComfyUI.")
        if not pack.folder.exists():
            raise BadInput(f"{pack.name} is no longer there.")
        return pack.folder


def _begin(workshop: Path) -> None:
    workshop.parent.mkdir(parents=True, exist_ok=True)
    for entry in workshop.parent.iterdir():
        # One that was killed left it.
        if _WORKSHOP.fullmatch(entry.name) and entry.lstat().st_mtime < time.time() - _DAY_S:
            remove_tree(entry)
    workshop.mkdir()


def _move(here: Path, there: Path) -> Path:
    if there.exists():
        raise BadInput(f"{there} is there already.")
    try:
        here.rename(there)
    except OSError as error:
        raise BadInput(
            f"{here.name} cannot be moved: {error.strerror}.", hint="Stop ComfyUI, which may use it."
        ) from error
    return there


def _to_trash(path: Path) -> None:
    try:
        send2trash = importlib.import_module("send2trash")
    except ImportError as error:
        raise NeedsSetup("Moving to the trash needs the package send2trash.") from error
    send2trash.send2trash(path)
