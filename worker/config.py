"""The worker's settings, all from the environment. Secrets are read here and nowhere else."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where results go by S3. Without a name the bucket is the month, as the SDK's own upload has it."""

    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    name: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use, in bytes and numbers of files; 0 is no limit.

    ``free_disk`` and ``free_memory`` must be there before a job begins.
    """

    input_bytes: int = 2 << 30
    input_files: int = 500
    output_bytes: int = 8 << 30
    free_disk: int = 256 << 20
    free_memory: int = 128 << 20
    comfyui_memory: int = 0


@dataclass(frozen=True, slots=True)
class Supervision:
    """When a ComfyUI counts as lost, in seconds, and what is done then.

    ``silence_s``: without any event of a running prompt. ``freeze_s``: without an answer and without doing
    anything; a process that works but does not answer has ten times as long.
    """

    check_s: float = 5.0
    freeze_s: float = 30.0
    silence_s: float = 1800.0
    reruns: bool = True
    most_crashes: int = 3
    fitness: bool = True
    warm_up: Path | None = None


@dataclass(frozen=True, slots=True)
class ModelDownloads:
    """What the ``download`` command may do. ``hosts`` count with their subdomains; ``*`` is every one.

    ``pickles``: whether files may come that can run code when they are loaded.
    """

    allowed: bool = False
    hosts: tuple[str, ...] = (
        "huggingface.co",
        "hf.co",
        "civitai.com",
        # The bucket that civitai.com hands its files out from.
        "5ac0637cfd0766c97916cef3764fbbc4.r2.cloudflarestorage.com",
        "github.com",
        "githubusercontent.com",
    )
    max_bytes: int = 64 << 30
    timeout_s: float = 6 * 3600
    pickles: bool = False
    hf_token: str | None = field(default=None, repr=False)
    civitai_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Config:
    """See the README's table for the environment names. Times are in seconds, sizes in bytes.

    ``attach_url`` is set in *attach* mode: ComfyUI belongs to somebody else and is only spoken to.
    ``attach_key`` tells its interception node, if it has one, that our prompts are to run there.
    Otherwise the worker owns the ComfyUI that ``command`` starts on ``port`` (0: any free one).
    ``max_answer_bytes`` is what the platform lets through; None means its documented limits.
    """

    attach_url: str | None
    attach_key: str | None = field(repr=False)
    command: tuple[str, ...]
    comfyui_dir: Path
    port: int
    listen: str
    input_dir: Path
    output_dir: Path
    temp_dir: Path | None
    volume: Path | None
    models_dir: Path
    execution_timeout_s: float
    start_timeout_s: float
    answer_timeout_s: float
    max_inline_bytes: int
    max_answer_bytes: int | None
    max_download_bytes: int
    download_timeout_s: float
    limits: Limits
    supervision: Supervision
    model_downloads: ModelDownloads
    log_models: Literal["always", "changed"]
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
        downloads = self.model_downloads
        keys = (
            self.result_key,
            self.attach_key,
            self.comfy_org_api_key,
            self.bucket and self.bucket.secret_key,
            downloads.hf_token,
            downloads.civitai_token,
        )
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
            attach_key=env.get("COMFYUI_LOCAL_KEY") or None,
            command=_command(env, base),
            comfyui_dir=base,
            port=int(_number(env, "COMFYUI_PORT", 8188)),
            listen=env.get("COMFYUI_LISTEN") or "127.0.0.1",
            input_dir=Path(env.get("COMFYUI_INPUT_DIR") or base / "input"),
            output_dir=Path(env.get("COMFYUI_OUTPUT_DIR") or base / "output"),
            temp_dir=Path(env["COMFYUI_TEMP_DIR"]) if env.get("COMFYUI_TEMP_DIR") else None,
            volume=volume if volume.is_dir() else None,
            models_dir=Path(
                env.get("MODELS_DIR")
                or (volume / "comfyui" / "models" if volume.is_dir() else base / "models")
            ),
            execution_timeout_s=_number(env, "EXECUTION_TIMEOUT", 300),
            start_timeout_s=_number(env, "COMFYUI_START_TIMEOUT", 600),
            answer_timeout_s=_number(env, "COMFYUI_ANSWER_TIMEOUT", 20),
            max_inline_bytes=int(_number(env, "MAX_INLINE_BYTES", 7_000_000)),
            max_answer_bytes=int(_number(env, "MAX_ANSWER_BYTES", 0)) or None,
            max_download_bytes=int(_number(env, "MAX_DOWNLOAD_BYTES", 1 << 30)),
            download_timeout_s=_number(env, "DOWNLOAD_TIMEOUT", 120),
            limits=_limits(env),
            supervision=_supervision(env),
            model_downloads=_model_downloads(env),
            log_models=_log_models(env),
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


def _limits(env: Mapping[str, str]) -> Limits:
    usual = Limits()
    return Limits(
        input_bytes=int(_number(env, "MAX_INPUT_BYTES", usual.input_bytes)),
        input_files=int(_number(env, "MAX_INPUT_FILES", usual.input_files)),
        output_bytes=int(_number(env, "MAX_OUTPUT_BYTES", usual.output_bytes)),
        free_disk=int(_number(env, "MIN_FREE_DISK", usual.free_disk)),
        free_memory=int(_number(env, "MIN_FREE_MEMORY", usual.free_memory)),
        comfyui_memory=int(_number(env, "MAX_COMFYUI_MEMORY", usual.comfyui_memory)),
    )


def _supervision(env: Mapping[str, str]) -> Supervision:
    usual = Supervision()
    return Supervision(
        check_s=max(_number(env, "HEALTH_CHECK_INTERVAL", usual.check_s), 0.05),
        freeze_s=_number(env, "FREEZE_TIMEOUT", usual.freeze_s),
        silence_s=_number(env, "SILENCE_TIMEOUT", usual.silence_s),
        reruns=_switch(env, "RERUN_AFTER_CRASH", default=usual.reruns),
        most_crashes=int(_number(env, "MAX_CRASHES", usual.most_crashes)),
        fitness=_switch(env, "FITNESS_CHECKS", default=usual.fitness),
        warm_up=Path(env["WARMUP_WORKFLOW"]) if env.get("WARMUP_WORKFLOW") else None,
    )


def _model_downloads(env: Mapping[str, str]) -> ModelDownloads:
    usual = ModelDownloads()
    hosts = tuple(host.lower() for host in re.split(r"[\s,]+", env.get("MODEL_DOWNLOAD_HOSTS") or "") if host)
    return ModelDownloads(
        allowed=_switch(env, "ALLOW_MODEL_DOWNLOAD"),
        hosts=hosts or usual.hosts,
        max_bytes=int(_number(env, "MAX_MODEL_BYTES", usual.max_bytes)),
        timeout_s=_number(env, "MODEL_DOWNLOAD_TIMEOUT", usual.timeout_s),
        pickles=_switch(env, "ALLOW_PICKLE_MODELS"),
        hf_token=env.get("HF_TOKEN") or None,
        civitai_token=env.get("CIVITAI_API_TOKEN") or None,
    )


def _log_models(env: Mapping[str, str]) -> Literal["always", "changed"]:
    word = (env.get("LOG_MODELS") or "always").strip().lower()
    if word == "always":
        return "always"
    if word == "changed":
        return "changed"
    raise ValueError(f"LOG_MODELS is neither 'always' nor 'changed': {word!r}.")


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


def _switch(env: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    word = (env.get(name) or "").strip().lower()
    if not word:
        return default
    if word not in ("0", "1", "false", "true", "no", "yes"):
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
