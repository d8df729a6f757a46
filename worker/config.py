"""The worker's settings, all from the environment. Secrets are read here and nowhere else."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where results go by S3. Without a name the bucket is the month, as the SDK's own upload has it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    name: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """See the README's table for the environment names. Times are in seconds, sizes in bytes.

    ``attach_url`` is set in *attach* mode: ComfyUI belongs to somebody else and is only spoken to.
    Otherwise the worker owns the ComfyUI that ``command`` starts on ``port`` (0: any free one).
    ``max_answer_bytes`` is what the platform lets through; None means its documented limits.
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
    max_answer_bytes: int | None
    max_download_bytes: int
    download_timeout_s: float
    bucket: Bucket | None
    comfy_org_api_key: str | None = field(repr=False)
    adds_message: bool
    refreshes: bool
    cleanup_age_s: float
    result_retention_s: float
    worker_id: str
    result_url: str | None
    result_key: str = field(repr=False)

    @property
    def owns_comfyui(self) -> bool:
        return self.attach_url is None

    @property
    def previews_dir(self) -> Path:
        """Where ComfyUI keeps what its nodes only show."""
        return self.temp_dir / "temp" if self.temp_dir is not None else self.output_dir.parent / "temp"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be in an answer or a log."""
        keys = (self.result_key, self.comfy_org_api_key, self.bucket and self.bucket.secret_key)
        return tuple(key for key in keys if key)

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
            max_answer_bytes=int(_number(env, "MAX_ANSWER_BYTES", 0)) or None,
            max_download_bytes=int(_number(env, "MAX_DOWNLOAD_BYTES", 1 << 30)),
            download_timeout_s=_number(env, "DOWNLOAD_TIMEOUT", 120),
            bucket=_bucket(env),
            comfy_org_api_key=env.get("COMFY_ORG_API_KEY") or None,
            adds_message=_switch(env, "LEGACY_MESSAGE"),
            refreshes=_switch(env, "REFRESH_WORKER"),
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


def _bucket(env: Mapping[str, str]) -> Bucket | None:
    endpoint = env.get("BUCKET_ENDPOINT_URL")
    if not endpoint:
        return None
    if not endpoint.startswith(("http://", "https://")):
        raise ValueError(f"BUCKET_ENDPOINT_URL is no address like https://s3.example.com: {endpoint!r}.")
    for name in ("BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY"):
        if not env.get(name):
            raise ValueError(f"{name} is missing, and BUCKET_ENDPOINT_URL is set.")
    return Bucket(
        endpoint=endpoint.rstrip("/"),
        access_key=env["BUCKET_ACCESS_KEY_ID"],
        secret_key=env["BUCKET_SECRET_ACCESS_KEY"],
        name=env.get("BUCKET_NAME") or None,
        region=env.get("BUCKET_REGION") or None,
    )


def _switch(env: Mapping[str, str], name: str) -> bool:
    word = (env.get(name) or "").strip().lower()
    if word not in ("", "0", "1", "false", "true", "no", "yes"):
        raise ValueError(f"{name} is neither true nor false: {word!r}.")
    return word in ("1", "true", "yes")


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
