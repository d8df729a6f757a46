"""A worker that is not ours: it answers as worker-comfyui 5.x does and knows nothing of our extras.

Written from that worker's documented requests and answers; RunPod's SDK runs it as it does any handler.
"""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import cpuinfo
from PIL import Image


def handler(job: dict[str, Any]) -> dict[str, Any]:
    given = job["input"]
    if isinstance(given, str):
        given = json.loads(given)
    workflow = given.get("workflow")
    if workflow is None:
        return {"error": "Missing 'workflow' parameter"}
    images = given.get("images")
    if images is not None and not all("name" in each and "image" in each for each in images):
        return {"error": "'images' must be a list of objects with 'name' and 'image' keys"}
    if any(node["class_type"] == "Nonsense" for node in workflow.values()):
        return {"error": "Workflow validation failed:\n• Node 1 (errors): Nonsense"}
    for each in images or []:
        base64.b64decode(each["image"], validate=True)
    picture = io.BytesIO()
    Image.new("RGB", (8 + len(images or []), 8), "green").save(picture, "PNG")
    data = base64.b64encode(picture.getvalue()).decode()
    return {"images": [{"filename": "ComfyUI_00001_.png", "type": "base64", "data": data}]}


if __name__ == "__main__":
    # The SDK has it measure the processor for a second when it is imported.
    cpuinfo.get_cpu_info = dict
    import runpod

    runpod.serverless.start({"handler": handler})
