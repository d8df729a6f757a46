"""The worker's settings, all from the environment. Secrets are read here and nowhere else."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """See the README's table for the environment names. Times are in seconds, sizes in bytes.

    ``attach_url`` is set in *attach* mode: ComfyUI belongs to somebody else and is only spoken to.
    Otherwise the worker owns the ComfyUI that ``command`` starts on ``port`` (0: any free one).
    """

    attach_url: str | None
    command: tuple[str, ...]
    comfyui_dir: Path
    port: int
    listen: str
    input_dir: Path
    output_dir: Path
    temp_dir: Path | None
    volume: Path | None
    execution_timeout_s: float
    start_timeout_s: float
    answer_timeout_s: float
    max_inline_bytes: int
    cleanup_age_s: float
    result_retention_s: float
    worker_id: str
    result_url: str | None
    result_key: str

    @property
    def owns_comfyui(self) -> bool:
        return self.attach_url is None

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Config:
        """Read the environment.

        Raises:
            ValueError: naming the variable that cannot be used.
        """
        base = Path(env.get("COMFYUI_DIR") or "/comfyui")
        volume = Path(env.get("VOLUME_PATH") or "/runpod-volume")
        attach = (env.get("COMFYUI_URL") or "").rstrip("/") or None
        if attach is not None and not attach.startswith(("http://", "https://")):
            raise ValueError(f"COMFYUI_URL is no address like http://127.0.0.1:8188: {attach!r}.")
        return cls(
            attach_url=attach,
            command=_command(env, base),
            comfyui_dir=base,
            port=int(_number(env, "COMFYUI_PORT", 8188)),
            listen=env.get("COMFYUI_LISTEN") or "127.0.0.1",
            input_dir=Path(env.get("COMFYUI_INPUT_DIR") or base / "input"),
            output_dir=Path(env.get("COMFYUI_OUTPUT_DIR") or base / "output"),
            temp_dir=Path(env["COMFYUI_TEMP_DIR"]) if env.get("COMFYUI_TEMP_DIR") else None,
            volume=volume if volume.is_dir() else None,
            execution_timeout_s=_number(env, "EXECUTION_TIMEOUT", 300),
            start_timeout_s=_number(env, "COMFYUI_START_TIMEOUT", 600),
            answer_timeout_s=_number(env, "COMFYUI_ANSWER_TIMEOUT", 20),
            max_inline_bytes=int(_number(env, "MAX_INLINE_BYTES", 7_000_000)),
            cleanup_age_s=_number(env, "CLEANUP_AGE", 3600),
            result_retention_s=_number(env, "RESULT_RETENTION", 7 * 86_400),
            worker_id=env.get("RUNPOD_POD_ID") or "local",
            result_url=env.get("RUNPOD_WEBHOOK_POST_OUTPUT") or None,
            result_key=env.get("RUNPOD_AI_API_KEY") or "",
        )


def _command(env: Mapping[str, str], base: Path) -> tuple[str, ...]:
    raw = env.get("COMFYUI_COMMAND")
    if not raw:
        return (sys.executable, str(base / "main.py"), "--disable-auto-launch")
    try:
        words = json.loads(raw)
    except json.JSONDecodeError as error:
        raise ValueError(f"COMFYUI_COMMAND is no JSON list of words: {error}.") from error
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise ValueError("COMFYUI_COMMAND is no JSON list of words.")
    return tuple(words)


def _number(env: Mapping[str, str], name: str, default: float) -> float:
    raw = env.get(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError as error:
        raise ValueError(f"{name} is no number: {raw!r}.") from error
    if not math.isfinite(value):
        raise ValueError(f"{name} is no number: {raw!r}.")
    if value < 0:
        raise ValueError(f"{name} is negative: {raw!r}.")
    return value
