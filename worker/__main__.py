"""The container's entry: ComfyUI is started first, then the SDK is imported and its loop runs."""

from __future__ import annotations

import logging
import sys

from . import outputs
from .config import Config
from .handler import Worker
from .process import end_own_group, hold_lifeline
from .supervisor import OwnComfy

log = logging.getLogger("worker")


def main() -> int:
    """Run the worker until the platform stops it; the exit code is 2 when it cannot begin."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    hold_lifeline(end_own_group)
    own: OwnComfy | None = None
    try:
        config = Config.from_env()
        if config.owns_comfyui:
            own = OwnComfy(config)
            own.start()
    except (ValueError, OSError) as error:
        log.error("The worker cannot start: %s", error)  # noqa: TRY400 - the sentence is enough
        return 2
    if config.volume is not None:
        outputs.prune_volume(config.volume, config.result_retention_s)
    worker = Worker(config, own)

    # Imported only now: it takes a third of a second, in which ComfyUI is already starting.
    import runpod

    try:
        runpod.serverless.start({"handler": worker.handle})
    finally:
        if own is not None:
            own.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
