"""``comfy-runpod comfyui install`` and ``comfyui nodes``: ComfyUI itself, and its packs of nodes."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..comfyui.install import Installer, InstallPlan, Step, StepProgress, StepState
from ..comfyui.installation import Installation
from ..comfyui.pack_list import Pack
from ..comfyui.pack_logs import import_results_of
from ..comfyui.packs import Packs, Preview
from ..comfyui.programs import find_git, find_uv
from ..errors import BadInput, NeedsSetup
from ..settings import Settings, from_environment, save_settings, variable_of

_STEPS = list(Step)


async def install(arguments: argparse.Namespace, settings: Settings) -> int:
    """Install ComfyUI into a folder, or go on with it, and use it from now on."""
    given = {"address": arguments.source, "version": arguments.version, "torch_index": arguments.torch_index}
    given["python"] = arguments.python
    folder = Path(arguments.folder) if arguments.folder else Path.home() / "ComfyUI"
    plan = InstallPlan(folder, **{name: value for name, value in given.items() if value})
    installer = Installer(plan, find_uv(), find_git(), _logs(settings) / "install.log")
    if arguments.discard:
        gone = await installer.discard()
        _print({"discarded": gone}, _discarded(plan.folder, gone=gone), as_json=arguments.json)
        return 0
    line = _Line()
    try:
        with _ended_by_signals():
            installed = await installer.run(lambda told: line.show(*_shown(told)))
    finally:
        line.end()
    changes = {"comfyui_dir": installed.folder, "comfyui_python": None}
    await asyncio.to_thread(save_settings, settings.config_file, changes)
    sentence = (
        f"ComfyUI {installed.version or ''} is installed in {installed.folder}, "
        f"with PyTorch {installed.torch} on {installed.device}."
    )
    told = {name: str(value) for name, value in asdict(installed).items() if value is not None}
    _print(told, sentence.replace("  ", " "), as_json=arguments.json)
    if settings.comfyui_url is not None:
        sys.stderr.write(
            f"While its address is set, the ComfyUI at {settings.comfyui_url} is used instead.\n"
        )
    for name in sorted(from_environment().intersection(changes)):
        sys.stderr.write(
            f"The environment ({variable_of(name)}) says otherwise, and counts while it is set.\n"
        )
    return 0


async def nodes(arguments: argparse.Namespace, settings: Settings) -> int:
    """List, install, update, disable, enable and remove packs of nodes."""
    if settings.comfyui_dir is None:
        raise NeedsSetup(
            "No ComfyUI of this computer is set.",
            hint="Install one with `comfy-runpod comfyui install`, or set COMFYUI_DIR.",
        )
    installation = Installation.at(settings.comfyui_dir, settings.comfyui_python, settings.comfyui_args)
    packs = Packs(installation, *_programs(arguments.what), _logs(settings) / "packs.log")
    if arguments.what == "list":
        return await _list(packs, settings, as_json=arguments.json)
    with _ended_by_signals():
        await _changed(packs, arguments)
    return 0


async def _changed(packs: Packs, arguments: argparse.Namespace) -> None:
    if arguments.what == "install":
        async with _prepared(packs, arguments, arguments.address) as preview:
            await _carried_out(packs, preview, arguments)
        return
    chosen = [_named(await packs.listed(), name) for name in arguments.names]
    for pack in chosen:
        if arguments.what == "update":
            async with _prepared(packs, arguments, pack) as preview:
                await _carried_out(packs, preview, arguments)
        else:
            await _switched(packs, pack, arguments)


async def _list(packs: Packs, settings: Settings, *, as_json: bool) -> int:
    results = await asyncio.to_thread(import_results_of, _logs(settings) / "comfyui.log")
    listed = await packs.listed(results)
    for pack in listed:
        _print({**asdict(pack), "folder": str(pack.folder)}, f"  {_line_of(pack)}", as_json=as_json)
    if not listed and not as_json:
        sys.stdout.write("No pack of nodes is there yet.\n")
    return 0


async def _switched(packs: Packs, pack: Pack, arguments: argparse.Namespace) -> None:
    if arguments.what == "remove":
        await packs.remove(pack)
        _print({"name": pack.name}, f"{pack.name} is in the trash.", as_json=arguments.json)
        return
    change: Callable[[Pack], Awaitable[Path]] = packs.enable if arguments.what == "enable" else packs.disable
    told = {"name": pack.name, "folder": str(await change(pack))}
    _print(told, f"{pack.name} is {arguments.what}d from ComfyUI's next start on.", as_json=arguments.json)


@asynccontextmanager
async def _prepared(packs: Packs, arguments: argparse.Namespace, what: str | Pack) -> AsyncIterator[Preview]:
    """A preview; whatever becomes of it, nothing of it stays behind."""
    line, commit = _Line(), arguments.commit or ""
    name = what.name if isinstance(what, Pack) else "download"

    def on_part(part: float) -> None:
        line.show(name, f"{part:.0%}")

    try:
        if isinstance(what, Pack):
            preview = await packs.prepare_update(what, commit, on_part=on_part)
        else:
            preview = await packs.prepare(what, commit, on_part=on_part)
    finally:
        line.end()
    try:
        yield preview
    finally:
        if preview.workshop.exists():
            await packs.discard(preview)


async def _carried_out(packs: Packs, preview: Preview, arguments: argparse.Namespace) -> None:
    name = preview.pack_name
    told = {
        "name": name,
        "folder": str(preview.folder),
        "commit": preview.commit,
        "before": preview.before,
        "changes": [asdict(each) for each in preview.changes],
        "conflicts": [*preview.conflicts],
        "has_install_script": preview.has_install_script,
    }
    if preview.commit == preview.before and not preview.changes:
        _print(told, f"{name} is up to date ({preview.commit[:8]}).", as_json=arguments.json)
        return
    for change in preview.changes:
        sys.stderr.write(f"  {change}\n")
    for sentence in preview.conflicts:
        sys.stderr.write(f"  ! {sentence}\n")
    if preview.effects.possible and not arguments.yes:
        await _asked(preview)
    line = _Line()
    try:
        done = await packs.commit(preview, on_line=lambda said: line.show(name, said.strip()))
    finally:
        line.end()
    was = f" (before: {done.before[:8]})" if done.before else ""
    _print(
        told,
        f"{name} is at {done.commit[:8]}{was}. ComfyUI sees it from its next start on.",
        as_json=arguments.json,
    )
    if preview.has_install_script:
        sys.stderr.write(f"It brings an {preview.folder / 'install.py'}, which was not run.\n")


async def _asked(preview: Preview) -> None:
    """Raises BadInput when the user does not want the changes, or cannot be asked about conflicts."""
    if not preview.changes:
        return
    if sys.stdin.isatty():
        sys.stderr.write("Change ComfyUI's environment like this? [y/N] ")
        sys.stderr.flush()
        answer = await asyncio.to_thread(sys.stdin.readline)
        if answer.strip().casefold() not in ("y", "yes"):
            raise BadInput("Nothing was changed.")
    elif preview.conflicts:
        raise BadInput(
            f"{preview.pack_name} would break something: {preview.conflicts[0]}",
            hint="Say --yes to install it all the same. Nothing was changed.",
        )


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have a SIGTERM, and a terminal that closes, end git and uv as Ctrl+C does."""
    task, loop, got = asyncio.current_task(), asyncio.get_running_loop(), list[int]()
    known = () if sys.platform == "win32" else (signal.SIGTERM, signal.SIGHUP)
    # One that is ignored stays so: nohup means it.
    numbers = [each for each in known if signal.getsignal(each) is signal.SIG_DFL]

    def end(number: int) -> None:
        got.append(number)
        if task is not None:
            task.cancel()

    for number in numbers:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if got:
            raise SystemExit(128 + got[0]) from None
        raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _named(packs: list[Pack], name: str) -> Pack:
    found = [pack for pack in packs if pack.name == name] or [
        pack for pack in packs if pack.name.casefold() == name.casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(
            f"{len(found)} packs have the name {name}.", hint="Rename or remove one of their folders."
        )
    raise BadInput(f"There is no pack {name}.", hint="`comfy-runpod comfyui nodes list` shows them.")


def _programs(what: str) -> tuple[Path, Path]:
    """uv and git, where they are needed."""
    if what in ("install", "update"):
        return find_uv(), find_git()
    return Path("uv"), Path("git")


def _logs(settings: Settings) -> Path:
    return settings.data_dir / "comfyui" / "logs"


def _line_of(pack: Pack) -> str:
    took = f"{pack.import_s:.1f} s" if pack.import_s is not None else ""
    version = pack.version or (pack.commit or "")[:8]
    parts = [f"{pack.name}  {pack.state}", version, took, pack.repository or "", pack.error]
    return " · ".join(part for part in parts if part)


def _shown(told: StepProgress) -> tuple[str, str]:
    what = f"{_STEPS.index(told.step) + 1}/{len(_STEPS)} {told.step}"
    if told.state in (StepState.WAITING, StepState.FAILED):
        return "", ""
    done = "done" if told.state is StepState.DONE else "" if told.part is None else f"{told.part:.0%}"
    return what, " · ".join(part for part in (done, told.text) if part)


def _discarded(folder: Path, *, gone: bool) -> str:
    return (
        f"Nothing of an unfinished installation is left in {folder}."
        if gone
        else f"{folder} holds files of others, which stay."
    )


def _print(told: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    sys.stdout.write((json.dumps(told) if as_json else sentence) + "\n")
    sys.stdout.flush()


class _Line:
    """Shows on stderr what is being done: on a terminal one line that is drawn anew, else a line for each."""

    def __init__(self) -> None:
        self._what = ""
        self._drawn = False

    def show(self, what: str, text: str) -> None:
        if not what:
            return
        if sys.stderr.isatty():
            if what != self._what:
                self.end()
            sys.stderr.write(f"\r\x1b[K{what}  {text}"[:110])
            sys.stderr.flush()
            self._drawn = True
        elif what != self._what or text.startswith("done"):
            sys.stderr.write(f"{what}  {text}\n")
        self._what = what

    def end(self) -> None:
        if self._drawn:
            sys.stderr.write("\n")
        self._drawn = False
