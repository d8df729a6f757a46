"""Settings: defaults < settings file < environment < command line. Secrets never leave :class:`Secret`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from .errors import BadInput

APP_NAME = "comfy-runpod"
RUNPOD_JOB_API = "https://api.runpod.ai/v2"


class Secret:
    """A key that shows itself only to :meth:`reveal`; everything else sees ``***``."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the panel. Times in seconds."""

    data_dir: Path
    output_dir: Path
    comfyui_url: str | None = None
    comfyui_dir: Path | None = None
    comfyui_python: Path | None = None
    comfyui_args: tuple[str, ...] = ()
    execution_timeout_s: float = 300.0
    workers: int = 1
    runpod_base_url: str = RUNPOD_JOB_API
    runpod_endpoint_id: str | None = None
    runpod_api_key: Secret = field(default_factory=lambda: Secret(""))

    @classmethod
    def load(
        cls,
        *,
        env: Mapping[str, str] = os.environ,
        config_file: Path | None = None,
        **command_line: Any,
    ) -> Settings:
        """Read all sources; a value of None on the command line means "not given".

        Raises:
            BadInput: naming the file or variable that cannot be used.
        """
        data_dir = Path(env.get("COMFY_RUNPOD_DATA") or platformdirs.user_data_path(APP_NAME))
        settings = cls(data_dir=data_dir, output_dir=platformdirs.user_pictures_path() / "Comfy RunPod")
        path = config_file or Path(
            env.get("COMFY_RUNPOD_CONFIG") or platformdirs.user_config_path(APP_NAME) / "settings.yaml"
        )
        settings = replace(settings, **_from_file(path))
        settings = replace(settings, **_from_env(env))
        given = {key: value for key, value in command_line.items() if value is not None}
        return replace(settings, **given)


_IN_FILE: dict[str, Callable[[Any], Any]] = {
    "output_dir": Path,
    "comfyui_url": str,
    "comfyui_dir": Path,
    "comfyui_python": Path,
}
_IN_FILE |= {"execution_timeout_s": float, "workers": int, "runpod_endpoint_id": str}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"The settings file {path} cannot be read.", hint="Correct or remove it.") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise BadInput(f"The settings file {path} holds no settings.", hint="Correct or remove it.")
    values: dict[str, Any] = {}
    for key, make in _IN_FILE.items():
        if raw.get(key) is not None:
            try:
                values[key] = make(raw[key])
            except (TypeError, ValueError) as error:
                raise BadInput(
                    f"{key!r} in the settings file {path} cannot be used: {raw[key]!r}."
                ) from error
    return values


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, key in (("COMFYUI_DIR", "comfyui_dir"), ("COMFYUI_PYTHON", "comfyui_python")):
        if env.get(name):
            values[key] = Path(env[name]).expanduser().absolute()
    if env.get("COMFYUI_URL"):
        values["comfyui_url"] = env["COMFYUI_URL"].rstrip("/")
    if env.get("COMFYUI_ARGS"):
        values["comfyui_args"] = tuple(env["COMFYUI_ARGS"].split())
    if env.get("RUNPOD_API_KEY"):
        values["runpod_api_key"] = Secret(env["RUNPOD_API_KEY"].strip())
    if env.get("RUNPOD_ENDPOINT_ID"):
        values["runpod_endpoint_id"] = env["RUNPOD_ENDPOINT_ID"]
    if env.get("RUNPOD_ENDPOINT_BASE_URL"):
        values["runpod_base_url"] = env["RUNPOD_ENDPOINT_BASE_URL"].rstrip("/")
    if env.get("EXECUTION_TIMEOUT"):
        try:
            values["execution_timeout_s"] = float(env["EXECUTION_TIMEOUT"])
        except ValueError as error:
            raise BadInput(f"EXECUTION_TIMEOUT is no number: {env['EXECUTION_TIMEOUT']!r}.") from error
    return values


class RedactingFilter(logging.Filter):
    """Replaces every known secret in log records by ``***``; put it on the handlers."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        values = [getattr(settings, f.name) for f in fields(settings)]
        secrets = [re.escape(v.reveal()) for v in values if isinstance(v, Secret) and v]
        self._pattern = re.compile("|".join(secrets)) if secrets else None

    def filter(self, record: logging.LogRecord) -> bool:
        if self._pattern is not None:
            record.msg = self._pattern.sub("***", record.getMessage())
            record.args = ()
        return True
