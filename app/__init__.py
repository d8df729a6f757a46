"""Comfy RunPod: ComfyUI on this computer and on RunPod, as if both were one."""

__version__ = "0.1.0"

#: The command that gives a newcomer a first picture.
FIRST_RUN = "comfy-runpod run resources/workflows/hello.json --target demo --output results"
