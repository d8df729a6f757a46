"""``comfy-runpod sync --transport runpodctl``: models to a running pod, by a one-time code."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from ..errors import NeedsSetup
from ..settings import Settings
from ..sync.runpodctl.model import Commands, Phase, SendState
from ..sync.runpodctl.program import find_runpodctl
from ..sync.runpodctl.record import clean_up
from ..sync.runpodctl.sending import Sender
from ..sync.runpodctl.staging import stage
from ..sync.scan import Rules
from ..syncing import Syncing, models_folder, staging_folder


async def send_to_pod(
    syncing: Syncing,
    settings: Settings,
    folder: Path | None,
    rules: Rules,
    arguments: argparse.Namespace,
) -> int:
    """0 when runpodctl has sent everything. Whether it arrived whole says the script on the pod."""
    here = folder or models_folder(settings)
    if here is None:
        raise NeedsSetup("No models folder is set.", hint="Name it, or set up ComfyUI in Settings.")
    items = await syncing.items(here, rules)
    total = sum(item.size for item in items)
    if arguments.dry_run:
        for item in items:
            sys.stdout.write(f"send      {item.size / 1e6:>9.1f} MB  {item.path}\n")
        sys.stderr.write(f"{len(items)} files · {total / 1e9:.1f} GB to send\n")
        return 0
    program = await asyncio.to_thread(find_runpodctl, settings.data_dir)
    shown = _Shown(as_json=arguments.json)
    staged = staging_folder(here)
    batches = await stage(items, staged, on_state=shown.show)
    sender = Sender(program, on_state=shown.show)
    for batch in batches:
        await sender.send(batch)
    await asyncio.to_thread(clean_up, staged)
    return 0


class _Shown:
    """What the user has to type on the pod, and how far it is, on stderr; as JSON on stdout."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._commands: Commands | None = None
        self._said = ""

    def show(self, state: SendState) -> None:
        if self._as_json:
            commands = state.commands
            sys.stdout.write(
                json.dumps({
                    "event": "send", "phase": state.phase, "batch": state.batch, "batches": state.batches,
                    "code": state.code, "bytes": state.done_bytes, "total": state.total_bytes,
                    "receive": commands.receive if commands else None,
                    "extract": commands.extract if commands else None, "message": state.message,
                }) + "\n"
            )  # fmt: skip
            return
        if state.commands is not None and state.commands != self._commands:
            self._commands = state.commands
            sys.stderr.write(
                f"\n  Code: {state.code}\n\n{state.commands.note}\n"
                f"  {state.commands.receive}\n  {state.commands.extract}\n\n"
            )
        if sys.stderr.isatty() and state.total_bytes and state.phase in (Phase.HASHING, Phase.SENDING):
            percent = 100 * state.done_bytes / state.total_bytes
            sys.stderr.write(f"\r{state.phase}: {percent:5.1f} %")
        if state.message and state.message != self._said:
            self._said = state.message
            sys.stderr.write(f"{state.message}\n")
