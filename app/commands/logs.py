"""``comfy-runpod endpoint logs``: what the workers of an endpoint print. Wakes no worker."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import AbstractAsyncContextManager

from ..endpoint.worker_logs import MOST_TAIL, LogLine, LogStream, WorkerLogs
from ..errors import BadInput
from ..log_lines import LineReader
from ..settings import Settings
from .account import account_client, endpoint_of

#: Everything that was there has come when nothing came for so long.
_QUIET_S = 1.5


async def show_logs(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print the last lines of one worker or of all, and with ``--follow`` what they print from now on."""
    if not 0 <= arguments.tail <= MOST_TAIL:
        raise BadInput(f"--tail must be from 0 to {MOST_TAIL}.")
    name = endpoint_of(arguments, settings)
    client = await account_client(settings)

    async def workers() -> list[str]:
        return [each.id for each in (await client.workers(name)).workers]

    there = [arguments.worker] if arguments.worker else await workers()
    if not there:
        wait = " Waiting for one; Ctrl+C ends it." if arguments.follow else ""
        sys.stderr.write(f"No worker is up, so there is no log.{wait}\n")
        if not arguments.follow:
            return 0
    logs = WorkerLogs(client.url, client.key)
    what = {"source": arguments.source, "tail": arguments.tail}
    stream: AbstractAsyncContextManager[LogStream]
    if arguments.worker:
        stream = logs.of_one(name, arguments.worker, **what)
    else:
        stream = logs.of_all(name, workers, once=not arguments.follow, **what)
    printer = _Printer(as_json=arguments.json, named=not arguments.worker)
    async with stream as lines:
        for line in await lines.backlog(_QUIET_S):
            printer.write(line)
        if arguments.follow:
            async for line in lines:
                printer.write(line)
    return 0


class _Printer:
    """Lines as text with time and level, those of several workers with their worker's name; or as JSON."""

    def __init__(self, *, as_json: bool, named: bool) -> None:
        self._as_json, self._named = as_json, named
        self._readers: dict[str, LineReader] = {}

    def write(self, line: LogLine) -> None:
        if self._as_json:
            told = {"worker": line.worker, "source": line.source, "at": line.at, "line": line.text}
            sys.stdout.write(json.dumps(told) + "\n")
        else:
            reader = self._readers.setdefault(line.worker, LineReader())
            for each in reader.read(line.text, line.at):
                at = time.strftime("%H:%M:%S", time.localtime(each.at)) if each.at is not None else ""
                worker = f"{line.worker}  " if self._named else ""
                sys.stdout.write(f"{at:8}  {worker}{each.level.upper():<7}  {each.text}\n")
        sys.stdout.flush()
