"""``comfy-runpod spend``: what RunPod jobs cost, by day and workflow, and whether RunPod's bill agrees."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from typing import Any

from ..errors import BadInput
from ..jobs.billing import Checked, checked
from ..jobs.costs import money
from ..jobs.money import Spent, by_day, by_target, by_workflow, midnight, spent
from ..jobs.runs import Run
from ..jobs.store import JobStore
from ..jobs.times import Percentiles, times_of
from ..settings import Settings

_DAY_S = 86_400
_MOST_DAYS = 3_650


async def spend(arguments: argparse.Namespace, settings: Settings) -> int:
    """Days, workflows and endpoints; with ``--check`` beside RunPod's bill."""
    if not 1 <= arguments.days <= _MOST_DAYS:
        raise BadInput(f"--days must be from 1 to {_MOST_DAYS}.")
    now = time.time()
    runs = await _runs(settings, midnight(now, arguments.days - 1))
    found = await _checked(arguments.days, settings, now) if arguments.check else None
    if arguments.json:
        sys.stdout.write(json.dumps(_as_json(runs, now, settings, found)) + "\n")
        return 0
    today = spent(run for run in runs if run.at >= midnight(now))
    limit = f" of {money(settings.daily_limit_usd)}" if settings.daily_limit_usd is not None else ""
    sys.stdout.write(f"Today: {money(today.total)}{limit}{_parts(today)}\n")
    _write("By day", by_day(runs))
    _write("By workflow", by_workflow(runs))
    _write("By endpoint", by_target(runs))
    whole = spent(runs)
    if whole.unpriced:
        sys.stdout.write(
            f"Of {whole.jobs} jobs {whole.unpriced} have no price: RunPod was not asked for one.\n"
        )
    for each in found or ():
        sys.stdout.write(
            f"{each.day}  {each.endpoint}  here {money(each.ours)}, billed {money(each.billed)}, "
            f"difference {'-' if each.difference < 0 else '+'}{money(abs(each.difference))}\n"
        )
    sys.stdout.write("Estimates from list prices; RunPod's bill decides.\n")
    return 0


async def times(arguments: argparse.Namespace, settings: Settings) -> int:
    """How long workflows wait, start and run, as percentiles."""
    for each in times_of(await _runs(settings, 0.0)):
        if arguments.json:
            sys.stdout.write(json.dumps(asdict(each)) + "\n")
            continue
        told = [("run", each.run), ("wait", each.waited), ("cold start", each.cold_start)]
        parts = [f"{word} {_seconds(some)}" for word, some in told if some is not None]
        sys.stdout.write(f"{each.name} on {each.target}: {'; '.join(parts)} ({each.run.count} jobs)\n")
    return 0


async def _runs(settings: Settings, since: float) -> list[Run]:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    try:
        return await store.runs_between(since)
    finally:
        await store.close()


async def _checked(days: int, settings: Settings, now: float) -> list[Checked]:
    # Only here: it brings an HTTP library that nothing else of this command uses.
    from .account import account_client

    charges = await (await account_client(settings)).charges(days=days)
    # From the beginning of the first of these days in UTC.
    since = (now // _DAY_S - (days - 1)) * _DAY_S
    return checked(charges, await _runs(settings, since))


def _write(title: str, parts: dict[str, Spent]) -> None:
    if parts:
        sys.stdout.write(f"{title}\n")
    for name, some in parts.items():
        sys.stdout.write(f"  {money(some.total):>10}  {name}  ({_jobs(some.jobs)}{_parts(some)})\n")


def _parts(some: Spent) -> str:
    if not some.total:
        return ""
    return f" · start {money(some.start)}, run {money(some.run)}, idle {money(some.idle)}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _seconds(some: Percentiles) -> str:
    return f"{some.p50:.1f} s, nine in ten below {some.p90:.1f} s"


def _as_json(runs: list[Run], now: float, settings: Settings, found: list[Checked] | None) -> dict[str, Any]:
    def told(parts: dict[str, Spent]) -> dict[str, Any]:
        return {name: {**asdict(some), "total": some.total} for name, some in parts.items()}

    shown: dict[str, Any] = {
        "today": spent(run for run in runs if run.at >= midnight(now)).total,
        "limit": settings.daily_limit_usd,
        "by_day": told(by_day(runs)),
        "by_workflow": told(by_workflow(runs)),
        "by_endpoint": told(by_target(runs)),
    }
    if found is not None:
        shown["bill"] = [{**asdict(each), "difference": each.difference} for each in found]
    return shown
