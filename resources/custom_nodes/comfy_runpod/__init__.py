"""Sends ComfyUI's own Run button to RunPod through the Comfy RunPod panel, and plays back what comes of it.

A custom node without nodes: ComfyUI loads it, it hooks a middleware into ComfyUI's server, and nothing of
ComfyUI is changed on disk. It holds no key and decides nothing: the panel submits, follows and pays.
"""

from .comfyui import hook_in

WEB_DIRECTORY = "./web"
NODE_CLASS_MAPPINGS: dict[str, type] = {}

hook_in()
