"""The container's entry: ComfyUI is started first, then the SDK is imported and its loop runs."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import logs
from .config import Config
from .once import read_job, run_once
from .process import end_own_group, hold_lifeline
from .supervisor import OwnComfy

if TYPE_CHECKING:
    from .handler import Worker

log = logging.getLogger("worker")

#: How long a worker whose parent is gone may take to stop a cancelled job and take its inputs away.
_TIDY_S = 8.0


def main() -> int:
    """Run the worker until the platform stops it, or one job from a file.

    The exit code is 2 when it cannot begin, and 1 when the job from the file failed.
    """
    arguments = _arguments()
    once = arguments.request is not None
    own: OwnComfy | None = None
    worker: Worker | None = None

    def parent_is_gone() -> None:
        if worker is not None:
            worker.tidy.wait(_TIDY_S)
        end_own_group()

    hold_lifeline(parent_is_gone)
    try:
        config = Config.from_env()
        # The answer of a single job has the standard output for itself.
        finish_logs = logs.set_up(os.environ, config.secrets, sys.stderr if once else sys.stdout)
        job = read_job(arguments.request) if once else None
        if config.owns_comfyui:
            own = OwnComfy(config)
            own.start()
    except (ValueError, OSError) as error:
        sys.stderr.write(f"The worker cannot start: {error}\n")
        return 2
    try:
        # Imported only now, with all that it needs: ComfyUI is starting meanwhile.
        from .handler import Worker

        _clean_up(config)
        worker = Worker(config, own)
        if job is not None:
            return run_once(worker, job, arguments.answer)
        _serve(worker, config, own, finish_logs)
    finally:
        if own is not None:
            own.stop()
        finish_logs()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description="Run ComfyUI workflows as RunPod serverless jobs; settings come from the environment.",
    )
    parser.add_argument(
        "request", nargs="?", type=Path, help="run the one job in this JSON file, print its answer, and end"
    )
    parser.add_argument(
        "--answer", type=Path, help="the file for that answer, instead of the standard output"
    )
    # Others, like --test_input, are for RunPod's SDK.
    return parser.parse_known_args()[0] if not _are_for_sdk(sys.argv[1:]) else parser.parse_args([])


def _are_for_sdk(words: list[str]) -> bool:
    return any(word.startswith(("--test_input", "--rp_")) for word in words)


def _clean_up(config: Config) -> None:
    """What an earlier worker left."""
    from . import inputs, upkeep

    if config.volume is not None:
        # Aside: a full network volume takes long to look through, and no job needs to wait for that.
        work = (config.volume, config.result_retention_s)
        threading.Thread(target=upkeep.prune_volume, args=work, name="prune", daemon=True).start()
    if not config.owns_comfyui:
        inputs.remove_leftovers(config.input_dir, config.cleanup_age_s)
    upkeep.remove_memories(config.cleanup_age_s)


def _leave_the_clock_unmeasured() -> None:
    """Spare a cold start a second: the SDK asks for the processor's name when it is imported.

    The library that it asks measures the clock for that, in processes of their own. Without an answer the SDK
    writes, in a report that only its debugger makes, that the name is not known.
    """
    try:
        import cpuinfo
    except ImportError:  # another version of the SDK, without that library
        return
    cpuinfo.get_cpu_info = dict


def _serve(worker: Worker, config: Config, own: OwnComfy | None, finish_logs: Callable[[], None]) -> None:
    _leave_the_clock_unmeasured()
    # It takes a third of a second and more.
    import runpod

    from . import fitness

    if own is not None and config.supervision.fitness:

        async def comfyui_is_fit() -> None:
            try:
                await fitness.check(config, own)
            except fitness.Unfit as error:
                log.error("This worker is not fit: %s", error)  # noqa: TRY400 - the sentence is enough
                # The SDK ends the process at once.
                finish_logs()
                raise

        runpod.serverless.register_fitness_check(comfyui_is_fit)
    runpod.serverless.start({"handler": worker.handle, "refresh_worker": config.refreshes})


if __name__ == "__main__":
    sys.exit(main())
