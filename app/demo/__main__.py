"""``python -m app.demo``: serve the demo engine until told to end. Takes ComfyUI's options."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from aiohttp import web

from app.demo.files import Folders
from app.demo.hosting import node_folder
from app.demo.server import DemoEngine
from worker.process import hold_lifeline

_GRACE_S = 8.0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m app.demo", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8188, help="0: any free one, see the output")
    parser.add_argument("--base-directory", type=Path, default=Path("comfy-runpod-demo"))
    parser.add_argument("--input-directory", type=Path)
    parser.add_argument("--output-directory", type=Path)
    parser.add_argument("--temp-directory", type=Path, help="temporary files go to temp below it; emptied")
    parser.add_argument("--preview-method", default="none", help="anything but none: send previews")
    parser.add_argument("--extra-model-paths-config", type=Path, nargs="+", default=[], metavar="FILE",
                        help="of what they name only Comfy RunPod's own custom node is loaded")  # fmt: skip
    for ignored in ("--cpu", "--disable-auto-launch"):
        parser.add_argument(ignored, action="store_true", help="accepted, without effect")
    return parser.parse_args(argv)


async def _serve(options: argparse.Namespace, argv: list[str]) -> None:
    folders = Folders.below(
        options.base_directory,
        input_dir=options.input_directory,
        output_dir=options.output_directory,
        temp_parent=options.temp_directory,
    )
    engine = DemoEngine(
        folders,
        previews=options.preview_method != "none",
        argv=["app.demo", *argv],
        node=node_folder(options.extra_model_paths_config),
    )
    ended = _end_asked()
    runner = web.AppRunner(engine.build(), access_log=None, handle_signals=False, shutdown_timeout=2.0)
    await runner.setup()
    try:
        engine.log.write("Starting server")
        await web.TCPSite(runner, options.listen, options.port).start()
        port = runner.addresses[0][1]
        host = f"[{options.listen}]" if ":" in options.listen else options.listen
        engine.log.write(f"To see the GUI go to: http://{host}:{port}")
        await ended.wait()
        engine.log.write("Stopped server")
    finally:
        await runner.cleanup()


def _end_asked() -> asyncio.Event:
    """Set by SIGINT, SIGTERM, Ctrl+Break, or when the parent process is gone."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(ended.set)

    def on_lost() -> None:
        loop.call_soon_threadsafe(ended.set)
        time.sleep(_GRACE_S)
        os._exit(1)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), on_signal)
    hold_lifeline(on_lost)
    return ended


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    asyncio.run(_serve(_arguments(argv), argv))
    return 0


if __name__ == "__main__":
    sys.exit(main())
