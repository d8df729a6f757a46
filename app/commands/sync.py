"""``comfy-runpod sync``: the models folder and a network volume brought into step, without a window."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import BadInput, ComfyRunPodError
from ..settings import Settings
from ..sync.model import Act, Entry, FilePhase, FileProgress, Phase, Picture, Plan, Progress, Standing, Wish
from ..sync.scan import Rules
from ..sync.sync import ModelSync, Proving
from ..syncing import Syncing

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?)B?(?:/s)?", re.IGNORECASE)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
_Ask = Callable[[], Awaitable[tuple[int | None, str | None]]]
_MARKS = {Act.UPLOAD: "upload", Act.DOWNLOAD: "download", Act.DELETE: "delete"}


async def sync(arguments: argparse.Namespace, settings: Settings) -> int:
    """0 when all that was planned is done, and with ``--verify`` all that is on both sides is the same."""
    syncing = Syncing(lambda: settings)
    folder = _absolute(arguments.models_dir)
    if arguments.limit_rate is not None:
        syncing.limit.set(rate_of(arguments.limit_rate))
    rules = Rules(tuple(arguments.include), tuple(arguments.exclude))
    try:
        if arguments.transport == "runpodctl":
            from .sync_pod import send_to_pod

            return await send_to_pod(syncing, settings, folder, rules, arguments)
        ask = partial(_volume, syncing, settings, arguments.volume_id)
        place, size = arguments.data_centre, None
        is_asked = not place and bool(arguments.volume_id or not settings.runpod_datacenter)
        if is_asked:
            size, place = await ask()
        one = await syncing.sync(folder=folder, volume_id=arguments.volume_id, data_centre=place)
        try:
            if (results := _absolute(arguments.results)) is not None:
                return await _fetch_results(syncing, one, results, arguments)
            return await _sync(syncing, one, rules, size, None if is_asked else ask, arguments)
        finally:
            await one.close()
    finally:
        await syncing.close()


async def _sync(
    syncing: Syncing,
    one: ModelSync,
    rules: Rules,
    size: int | None,
    ask: _Ask | None,
    arguments: argparse.Namespace,
) -> int:
    """Asks for the volume's size, unless that was done, once there is something to bring."""
    picture = await one.look(rules)
    if not arguments.size_only:
        with _reading(arguments) as tell:
            picture = await one.prove(picture, tell)
    wish = _wish(picture, arguments)
    plan = one.plan(picture, wish, volume_size=size)
    if ask is not None and (plan.steps or arguments.dry_run):
        size, _ = await ask()
        plan = one.plan(picture, wish, volume_size=size)
    _tell_plan(plan, picture, arguments)
    if arguments.dry_run:
        return 0
    if plan.obstacle:
        raise BadInput(f"Not enough room on the volume: {plan.obstacle}", hint="Choose fewer files.")
    ended = Phase.FINISHED
    if plan.steps:
        progress = await _carried_out(syncing, one, plan, wish, arguments)
        ended = Phase.FAILED if progress.failed else progress.phase
    elif one.left:
        # A sync that was killed had brought files, and not come to note it.
        await syncing.carry_out(one, plan, wish)
    wrong = 0
    if arguments.verify:
        wrong = await _verified(one, rules, arguments)
    return 0 if ended is Phase.FINISHED and not wrong else 1


async def _carried_out(
    syncing: Syncing, one: ModelSync, plan: Plan, wish: Wish, arguments: argparse.Namespace
) -> Progress:
    with _Shown(as_json=arguments.json) as shown:
        shown.begin(plan)
        progress = await syncing.carry_out(one, plan, wish, shown.show)
    _tell_end(progress, arguments)
    return progress


def _tell_end(progress: Progress, arguments: argparse.Namespace) -> None:
    """Raises ComfyRunPodError when something ended all of it."""
    if progress.problem is not None:
        raise ComfyRunPodError(
            progress.problem.summary, hint=progress.problem.hint, **dict(progress.problem.details)
        )
    if arguments.json:
        _print({
            "event": "done",
            "phase": progress.phase,
            "files": progress.files_done,
            "failed": progress.failed,
            "bytes": progress.done,
            "moved": progress.moved,
        })  # fmt: skip
    else:
        failed = f" {progress.failed} failed." if progress.failed else ""
        _say(f"{_files(progress.files_done)} of {progress.files} brought.{failed}")


async def _fetch_results(
    syncing: Syncing, one: ModelSync, folder: Path, arguments: argparse.Namespace
) -> int:
    """Results that workers left on the volume, to a folder; each is dropped there once it is here, whole."""
    with _Shown(as_json=arguments.json) as shown:

        def told(plan: Plan) -> None:
            _tell_plan(plan, Picture(()), arguments)
            shown.begin(plan)

        progress = await syncing.fetch_results(one, folder, shown.show, told=told, dry_run=arguments.dry_run)
    if progress is None:
        return 0
    _tell_end(progress, arguments)
    return 0 if progress.phase is Phase.FINISHED and not progress.failed else 1


async def _verified(one: ModelSync, rules: Rules, arguments: argparse.Namespace) -> int:
    """Compare everything that is on both sides; how many are not the same."""
    picture = await one.look(rules, count_all=False)
    both = [each for each in picture.entries if each.here is not None and each.there is not None]
    with _reading(arguments) as tell:
        picture = await one.prove(picture, tell, only={str(each.path) for each in both}, read_back=True)
    paths = {each.path for each in both}
    wrong = [each for each in picture.entries if each.path in paths and each.standing is not Standing.SAME]
    for each in wrong:
        _say(f"{each.path}: {each.standing}. {each.why}")
    if arguments.json:
        _print({"event": "verified", "files": len(both), "wrong": [str(each.path) for each in wrong]})
    else:
        _say(f"{_files(len(both))} compared, {len(wrong)} not the same.")
        _say("On a pod: cd /workspace/comfyui/models && sha256sum -c SHA256SUMS")
    return len(wrong)


async def _volume(
    syncing: Syncing, settings: Settings, volume_id: str | None
) -> tuple[int | None, str | None]:
    """Size in bytes and data centre, where the account tells them."""
    wanted = volume_id or settings.runpod_volume_id
    try:
        found = next((each for each in await syncing.volumes() if each.id == wanted), None)
    except ComfyRunPodError as error:
        _say(f"The size of the volume is not known: {error.summary}")
        return None, None
    if found is None:
        return None, None
    return (None if found.size_gb is None else found.size_gb * 10**9), found.data_centre


def _wish(picture: Picture, arguments: argparse.Namespace) -> Wish:
    """Raises BadInput when a file that is to be replaced or deleted is not there."""
    known = {str(each.path): each for each in picture.entries}
    for name in (*arguments.overwrite, *arguments.delete):
        entry = known.get(name)
        if entry is None or entry.there is None:
            raise BadInput(f"The volume has no {name}.", hint="Paths are as --dry-run shows them.")
    for name in arguments.delete:
        if known[name].here is not None:
            raise BadInput(
                f"{name} is on this computer too, and would be sent again by the next sync.",
                hint="Move it away here first.",
            )
    return Wish(
        download=arguments.download,
        overwrite=frozenset(arguments.overwrite),
        delete=frozenset(arguments.delete),
    )


def rate_of(text: str) -> float:
    """Bytes per second of ``10M``, ``500K``, ``1.5 MB/s``. Raises BadInput."""
    found = _RATE.fullmatch(text.strip())
    rate = float(found[1]) * _UNITS[found[2].upper()] if found else 0.0
    if rate < 1000:
        raise BadInput(f"{text!r} is no rate.", hint="Write it as 10M, for 10 megabytes per second.")
    return rate


def _tell_plan(plan: Plan, picture: Picture, arguments: argparse.Namespace) -> None:
    if arguments.json:
        _print(plan_as_json(plan, picture))
        return
    if arguments.dry_run:
        for step in plan.steps:
            sys.stdout.write(f"{_MARKS[step.act]:<8}  {_size(step.size):>9}  {step.path}  {step.why}\n")
        for each in picture.entries:
            if (line := _kept_line(each, plan)) is not None:
                sys.stdout.write(line + "\n")
    same = sum(each.standing is Standing.SAME for each in picture.entries)
    parts = [f"{_files(plan.files)} · {_size(plan.size)} to bring" if plan.files else "Nothing to bring"]
    if plan.seconds is not None:
        parts.append(f"about {max(1, round(plan.seconds / 60))} min")
    if plan.free is not None:
        parts.append(f"{_size(plan.free)} free on the volume")
    if same:
        parts.append(f"{same} in sync")
    _say(" · ".join(parts))
    if plan.differing:
        _say(f"{_files(plan.differing)} that differ stay as they are: see --dry-run, and --overwrite.")
    for warning in plan.warnings:
        _say(warning)
    if plan.obstacle:
        _say(f"Not enough room on the volume: {plan.obstacle}")


def _kept_line(entry: Entry, plan: Plan) -> str | None:
    """What stays as it is, although the sides are not the same."""
    if entry.standing is Standing.SAME or any(step.path == entry.path for step in plan.steps):
        return None
    return f"{'keep':<8}  {_size(entry.size):>9}  {entry.path}  {entry.standing}. {entry.why}".rstrip()


def plan_as_json(plan: Plan, picture: Picture) -> dict[str, Any]:
    return {
        "event": "plan",
        "files": plan.files,
        "bytes": plan.size,
        "free": plan.free,
        "grows": plan.grows,
        "seconds": plan.seconds,
        "differing": plan.differing,
        "warnings": list(plan.warnings),
        "obstacle": plan.obstacle,
        "results_bytes": picture.results[0],
        "steps": [
            {"act": step.act, "path": str(step.path), "bytes": step.size, "why": step.why}
            for step in plan.steps
        ],
        "entries": [
            {"path": str(each.path), "standing": each.standing, "bytes": each.size, "why": each.why}
            for each in picture.entries
        ],
    }


class _Shown:
    """The progress of a transfer on stderr: a bar on a terminal, a line for each file elsewhere."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._bar: Any = None
        self._waits = ""

    def begin(self, plan: Plan) -> None:
        if sys.stderr.isatty() and not self._as_json:
            self._bar = _bar(plan.size)

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        for each in progress.changed:
            if each.phase in (FilePhase.DONE, FilePhase.FAILED):
                self._tell(each)
        waits = "" if progress.waits is None else progress.waits[0]
        if waits and waits != self._waits and not self._as_json:
            self._write(f"{waits} Trying again.")
        self._waits = waits
        if self._bar is not None:
            self._bar.n = progress.done
            self._bar.set_postfix_str(", ".join(each.path.name for each in progress.active))

    def _tell(self, each: FileProgress) -> None:
        if self._as_json:
            problem = None if each.problem is None else each.problem.summary
            _print({
                "event": "file", "path": str(each.path), "act": each.act, "phase": each.phase,
                "bytes": each.size, "proof": each.proof, "problem": problem,
            })  # fmt: skip
        elif each.problem is not None:
            self._write(f"{each.path}: {each.problem.summary} {each.problem.hint}".rstrip())
        elif self._bar is None:
            self._write(f"{_MARKS[each.act]:<8}  {each.path}")

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            _say(line)


@contextmanager
def _reading(arguments: argparse.Namespace) -> Iterator[Any]:
    """Shows how far comparing contents is, on a terminal."""
    bar: Any = None

    def tell(proving: Proving) -> None:
        nonlocal bar
        if not sys.stderr.isatty() or arguments.json:
            return
        if bar is None:
            bar = _bar(proving.total)
        bar.n = proving.done
        bar.set_postfix_str(f"comparing {proving.path.name}")

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()


def _bar(total: int) -> Any:
    """Of bytes, on stderr. The library is imported only where it is seen: most of the start would be that."""
    from tqdm import tqdm

    return tqdm(total=total, unit="B", unit_scale=True, file=sys.stderr, leave=False)


def _size(size: int) -> str:
    # It stands beside what knows of jobs and workflows, which a sync with nothing to do need not wait for.
    from ..jobs.figures import size as shown

    return shown(size)


def _absolute(name: str | None) -> Path | None:
    return None if name is None else Path(name).absolute()


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def _print(data: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    sys.stdout.flush()
