"""Images to and from a registry."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..comfyui.programs import OnLine, masked
from ..errors import ComfyRunPodError
from . import terminal
from .cli import Cli
from .errors import NotSignedIn, PullFailed, PushFailed, is_broken, is_refusal, last_word, short, unusable
from .model import Pushed, PushProgress
from .pushing import PushOutput
from .throttle import Throttle

OnPush = Callable[[PushProgress], None]

#: Before another try when the way to the registry broke.
PAUSES_S = (2.0, 6.0, 15.0)


async def push(
    cli: Cli,
    name: str,
    sizes: Mapping[str, int],
    on_progress: OnPush | None,
    on_line: OnLine | None,
    pauses_s: Sequence[float],
) -> Pushed:
    """Send an image; see :meth:`app.docker.engine.Engine.push`."""
    for pause_s in (*pauses_s, None):
        output = PushOutput(sizes)
        code, lines = await _once(cli, name, output, on_progress, on_line)
        if code == 0 and output.pushed is not None:
            return output.pushed
        if problem := _refused(name, "push", lines):
            raise problem
        if pause_s is None or not is_broken(lines):
            break
        note = f"The connection to the registry broke. It is tried again in {pause_s:g} s."
        if on_progress is not None:
            on_progress(replace(output.progress(), note=note))
        await asyncio.sleep(pause_s)
    raise PushFailed(
        f"{name} was not pushed: {short(last_word(lines))}.",
        hint="Check your connection, then push again: layers that are there are not sent again."
        if is_broken(lines)
        else "",
        log=lines[-30:],
    )


async def _once(
    cli: Cli, name: str, output: PushOutput, on_progress: OnPush | None, on_line: OnLine | None
) -> tuple[int, list[str]]:
    """One try: the exit code, and the lines that are no layer's."""
    throttle = Throttle(output.progress, on_progress)
    lines: list[str] = []

    def take(text: str) -> None:
        line = output.feed(masked(text))
        if line is not None:
            lines.append(line)
            if on_line is not None:
                on_line(line)
        throttle.changed()

    try:
        ended = await cli.run("push", name, on_line=take, on_redraw=take, wrapped=_on_terminal())
        if ended.code:
            output.fail()
        throttle.close()
    finally:
        throttle.close(tell=False)
    return ended.code, lines


def _on_terminal() -> Sequence[str]:
    """What makes a command believe that it writes to a terminal, where there are any."""
    if os.name != "posix":
        return ()
    return (sys.executable, "-I", "-S", str(Path(terminal.__file__)))


async def pull(cli: Cli, name: str, on_line: OnLine | None) -> None:
    """Fetch an image; see :meth:`app.docker.engine.Engine.pull`."""
    ended = await cli.run("pull", name, on_line=on_line)
    if ended.code:
        raise _refused(name, "pull", ended.lines) or PullFailed(
            f"{name} was not pulled: {short(last_word(ended.lines))}.", log=list(ended.lines[-30:])
        )


def _refused(name: str, what: str, lines: Sequence[str]) -> ComfyRunPodError | None:
    if problem := unusable(lines):
        return problem
    return NotSignedIn(name, what, lines) if is_refusal(lines) else None
