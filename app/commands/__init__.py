"""The commands behind ``app.cli``: thin, they ask the services and print."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from ..errors import ComfyRunPodError
from ..settings import RedactingFilter, Settings

log = logging.getLogger(__name__)

#: Where a command is found that has no module of its own name.
_MODULES = {"key": "account", "account": "catalogue", "convert": "check"}
Command = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]


def dispatch(arguments: argparse.Namespace) -> int:
    """Run the chosen command; errors become one sentence on stderr."""
    try:
        settings = Settings.load()
        _set_up_logging(settings, verbose=arguments.verbose)
        if arguments.command is None:
            # Only here: without a window nothing of Qt is loaded, and with one nothing of the commands.
            from ..main import open_window

            return open_window([Path(name) for name in arguments.files], settings)
        return asyncio.run(_command(arguments.command)(arguments, settings))
    except ComfyRunPodError as error:
        _print_problem(error, as_json=bool(getattr(arguments, "json", False)))
        return 2 if error.code == "bad_input" else 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        # A mistake of ours. Python would print its text as it is, and that may hold a key.
        log.critical("A mistake in this program ended the command:", exc_info=True)
        return 1


def _command(name: str) -> Command:
    # Only what the command needs: the others bring clients and servers with them.
    module = importlib.import_module(f".{_MODULES.get(name, name)}", __name__)
    command: Command = getattr(module, name)
    return command


def _set_up_logging(settings: Settings, *, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RedactingFilter(settings))
    logging.basicConfig(
        level=logging.INFO if verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )


def _print_problem(error: ComfyRunPodError, *, as_json: bool) -> None:
    problem = error.problem
    sys.stderr.write(f"comfy-runpod: {problem.summary}{' ' + problem.hint if problem.hint else ''}\n")
    log = problem.details.get("log")
    if isinstance(log, list):
        sys.stderr.writelines(f"  | {line}\n" for line in log[-15:])
    if as_json:
        sys.stdout.write(
            json.dumps({"error": problem.summary, "hint": problem.hint, "code": problem.code}) + "\n"
        )
