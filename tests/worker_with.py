"""``worker_with.py '{"NAME": "value"}'``: the worker, its environment changed at the last moment.

The local endpoint decides some variables by itself; a null takes one away. ``GATE`` is the address of a
proxy for what the worker posts.
"""

from __future__ import annotations

import json
import os
import runpy
import sys


def main() -> None:
    changes = json.loads(sys.argv.pop())
    gate = changes.pop("GATE", None)
    if gate is not None:
        posts = os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"]
        os.environ["RUNPOD_WEBHOOK_POST_OUTPUT"] = f"{gate}/{posts.removeprefix('http://')}"
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    runpy.run_module("worker", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
