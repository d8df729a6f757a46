"""A node that does what goes wrong, for tests: in a real ComfyUI as a custom node, in the demo engine too.

Run as ``python -m tests.fault_node`` it is the demo engine with that node.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

NAME = "ComfyRunPodFault"


def act(action: str, amount: float, text: str, output_dir: str) -> dict[str, Any]:
    """Do it; what the node shows.

    ``fixed`` writes a file whose name and content are always the same, which ComfyUI keeps in its cache.
    ``sleep`` for ``amount`` seconds without a word, ``raise`` with ``text``, ``no_space`` as a full disk
    does, ``die`` by SIGKILL, ``exit`` with a code, ``bytes`` to write so many MB, ``environ`` to tell the
    environment, ``talk`` to print so many lines.
    """
    if action == "sleep":
        time.sleep(amount)
    elif action == "raise":
        raise RuntimeError(text)
    elif action == "no_space":
        raise OSError(28, "No space left on device", text)
    elif action == "die":
        os.kill(os.getpid(), signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        time.sleep(60)
    elif action == "exit":
        os._exit(int(amount))
    elif action == "bytes":
        path = Path(output_dir) / f"{text or 'noise'}_{time.time_ns()}.bin"
        path.write_bytes(random.randbytes(int(amount * 1_000_000)))
        return {"files": [{"filename": path.name, "subfolder": "", "type": "output"}]}
    elif action == "fixed":
        Path(output_dir, "fixed.bin").write_bytes(b"fixed")
        return {"files": [{"filename": "fixed.bin", "subfolder": "", "type": "output"}]}
    elif action == "environ":
        return {"text": [json.dumps(dict(os.environ))]}
    elif action == "talk":
        for number in range(int(amount)):
            print(f"{text} {number}")
    return {"text": ["done"]}


class Fault:
    """The node, as ComfyUI wants one."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "action": ("STRING", {"default": "sleep"}),
                "amount": ("FLOAT", {"default": 0.0, "min": 0.0, "max": 1e9}),
                "text": ("STRING", {"default": ""}),
            }
        }

    @classmethod
    def IS_CHANGED(cls, action: str, **_: Any) -> str:
        return "never" if action == "fixed" else str(time.time())

    def run(self, action: str, amount: float, text: str) -> dict[str, Any]:
        import folder_paths

        return {"ui": act(action, amount, text, folder_paths.get_output_directory())}


NODE_CLASS_MAPPINGS = {NAME: Fault}


def _serve_demo() -> int:
    from app.demo.__main__ import main
    from app.demo.catalogue import descriptions
    from app.demo.nodes import NODES
    from app.demo.registry import Node, Shown

    def run(call: Any, *, action: str, amount: float, text: str) -> Shown:
        return Shown(act(action, amount, text, str(call.folders.output)))

    NODES[NAME] = Node(run, fingerprint=lambda _folders, inputs: Fault.IS_CHANGED(**inputs))
    descriptions()[NAME] = {
        "input": {
            group: {k: list(v) for k, v in given.items()} for group, given in Fault.INPUT_TYPES().items()
        },
        "output": [],
        "output_is_list": [],
        "output_name": [],
        "name": NAME,
        "display_name": NAME,
        "description": "",
        "python_module": "tests",
        "category": "tests",
        "output_node": True,
    }
    return main()


if __name__ == "__main__":
    sys.exit(_serve_demo())
