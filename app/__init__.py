"""Comfy RunPod: ComfyUI on this computer and on RunPod, as if both were one."""

import os

__version__ = "0.1.0"

#: How the user starts us, for the commands that we show: run.sh says so.
PROGRAM = os.environ.get("COMFY_RUNPOD_CALLED_AS") or "comfy-runpod"
#: The command that gives a newcomer a first picture.
FIRST_RUN = f"{PROGRAM} run resources/workflows/hello.json --target demo --output results"
