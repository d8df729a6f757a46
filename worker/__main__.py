"""The container's entry: ComfyUI is started first, then the SDK is imported and its loop runs."""

from __future__ import annotations

import logging
import sys
import threading

from . import inputs, upkeep
from .config import Config
from .handler import Worker
from .process import end_own_group, hold_lifeline
from .supervisor import OwnComfy

log = logging.getLogger("worker")

#: How long a worker whose parent is gone may take to stop a cancelled job and take its inputs away.
_TIDY_S = 8.0


def main() -> int:
    """Run the worker until the platform stops it; the exit code is 2 when it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    own: OwnComfy | None = None
    worker: Worker | None = None

    def parent_is_gone() -> None:
        if worker is not None:
            worker.tidy.wait(_TIDY_S)
        end_own_group()

    hold_lifeline(parent_is_gone)
    try:
        config = Config.from_env()
        if config.owns_comfyui:
            own = OwnComfy(config)
            own.start()
    except (ValueError, OSError) as error:
        log.error("The worker cannot start: %s", error)  # noqa: TRY400 - the sentence is enough
        return 2
    if config.volume is not None:
        # Aside: a full network volume takes long to look through, and no job needs to wait for that.
        work = (config.volume, config.result_retention_s)
        threading.Thread(target=upkeep.prune_volume, args=work, name="prune", daemon=True).start()
    if not config.owns_comfyui:
        inputs.remove_leftovers(config.input_dir, config.cleanup_age_s)
    upkeep.remove_memories(config.cleanup_age_s)
    upkeep.remove_undelivered(config)
    worker = Worker(config, own)

    # Imported only now: it takes a third of a second, in which ComfyUI is already starting.
    import runpod

    try:
        runpod.serverless.start({"handler": worker.handle, "refresh_worker": config.refreshes})
    finally:
        if own is not None:
            own.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
