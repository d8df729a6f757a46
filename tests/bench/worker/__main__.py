"""The worker beside the least that any client of ComfyUI does: ``python -m tests.bench.worker``.

Runs against a real ComfyUI when COMFYUI_DIR is set, else against the demo engine. Prints figures and ratios;
judges nothing. ``--starts`` measures the start instead, which takes minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from tests.bench.worker import jobs, memory, overhead, packing, starts
from tests.engines import ENGINES, started

_PARTS = ("overhead", "packing", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.worker", description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[-1])
    parser.add_argument("--rounds", type=int, default=20, help="jobs of each kind")
    parser.add_argument("--only", choices=_PARTS, help="one part of it")
    parser.add_argument("--starts", type=int, nargs="?", const=5, help="so many starts of each variant, only")
    wish = parser.parse_args()
    began = time.monotonic()
    if wish.starts:
        starts.main(wish.engine, wish.starts)
    else:
        report(wish.engine, wish.rounds, wish.only)
    print(f"\nIt took {time.monotonic() - began:.0f} s.")


def report(kind: str = ENGINES[-1], rounds: int = 20, only: str | None = None) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        if only != "memory":
            with started(kind, folder / "engine") as engine:
                jobs.stage(engine)
                if only in (None, "overhead"):
                    asyncio.run(overhead.report(engine, folder, rounds))
                if only in (None, "packing"):
                    asyncio.run(packing.report(engine))
        if only in (None, "memory"):
            memory.report(kind, folder / "memory")


if __name__ == "__main__":
    main()
