"""Settings: defaults < settings file < environment < command line. Secrets never leave :class:`Secret`."""

from __future__ import annotations

import hmac
import logging
import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs

from . import image_names
from .errors import BadInput
from .files import write_private

APP_NAME = "comfy-runpod"
#: The settings that say which ComfyUI is meant.
OF_COMFYUI = (
    "comfyui_url",
    "comfyui_dir",
    "comfyui_python",
    "comfyui_args",
    "comfyui_env",
    "comfyui_port",
    "models_dir",
)
RUNPOD_JOB_API = "https://api.runpod.ai/v2"
RUNPOD_MANAGEMENT_API = "https://api.runpod.io/v2"


class Secret:
    """A key that shows itself only to :meth:`reveal`; everything else sees ``***``."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

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
    comfyui_env: Mapping[str, str] = field(default_factory=dict)
    comfyui_port: int | None = None
    comfyui_hosts: tuple[str, ...] = ()
    models_dir: Path | None = None
    routing: Literal["local", "runpod"] = "local"
    keep_routing: bool = False
    open_results: Literal["no", "viewer", "panel"] = "no"
    execution_timeout_s: int = 300
    job_ttl_s: int = 86_400
    health_interval_s: float = 5.0
    workers: int = 1
    runpod_base_url: str = RUNPOD_JOB_API
    runpod_api_url: str = RUNPOD_MANAGEMENT_API
    runpod_endpoint_id: str | None = None
    runpod_api_key: Secret = field(default_factory=lambda: Secret(""))
    runpod_volume_id: str | None = None
    runpod_datacenter: str | None = None
    runpod_s3_url: str | None = None
    runpod_s3_access_key: Secret = field(default_factory=lambda: Secret(""))
    runpod_s3_secret_key: Secret = field(default_factory=lambda: Secret(""))
    docker_registry: str = "curryberto"
    docker_image: str = "comfyui-serverless"
    docker_tag: str = "latest"
    docker_program: Path | None = None
    config_file: Path = Path("settings.yaml")
    appearance: Literal["system", "light", "dark"] = "system"
    text_size: int = 100
    motion: Literal["system", "reduced"] = "system"
    target: str | None = None
    welcomed: bool = False
    daily_limit_usd: float | None = None
    tray: bool = False
    system_notices: bool = False

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
        settings = replace(settings, config_file=path, **_from_file(path))
        settings = replace(settings, **_from_env(env))
        given = {key: value for key, value in command_line.items() if value is not None}
        return replace(settings, **given)


def _path(value: Any) -> Path:
    if not str(value).strip():
        raise ValueError("an empty text is no path")
    return Path(value).expanduser().absolute()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _url(value: Any) -> str:
    url = _text(value).strip().rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise ValueError("no address that begins with http:// or https://")
    return url


def _datacenter(value: Any) -> str:
    """Like ``EU-RO-1``: it becomes part of an address."""
    name = _text(value).strip()
    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", name):
        raise ValueError("no datacenter's id")
    return name


def _seconds(least: int, most: int) -> Callable[[Any], int]:
    """Whole seconds; RunPod's limits know no parts of one."""

    def check(value: Any) -> int:
        seconds = float(value)
        if isinstance(value, bool) or not least <= seconds <= most:
            raise ValueError(f"no number of seconds from {least} to {most}")
        return round(seconds)

    return check


def _interval(value: Any) -> float:
    seconds = float(value)
    if isinstance(value, bool) or not _SHORTEST_S <= seconds <= _HOUR_S:
        raise ValueError(f"no number of seconds from {_SHORTEST_S:g} to {_HOUR_S}")
    return seconds


def _dollars(value: Any) -> float:
    if isinstance(value, bool) or not 0 < float(value) <= _MOST_USD:
        raise ValueError("no number of dollars above 0")
    return round(float(value), 2)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("no whole number above 0")
    return value


def entered_key(value: str) -> Secret:
    """A key that somebody typed or pasted; logs keep it out from now on.

    Raises:
        BadInput: when it cannot be a key.
    """
    try:
        secret = _key(value)
    except ValueError:
        raise BadInput("The key has characters that no key has.") from None
    if not secret or any(letter.isspace() for letter in secret.reveal()):
        raise BadInput("A key is one word without blanks.")
    hide(secret)
    return secret


def masked(secret: Secret) -> str:
    """A key as it may be shown: its ends where enough stays hidden between them, and never how long it is."""
    key = secret.reveal()
    if len(key) <= _SHORT_KEY:
        return _DOTS if key else ""
    return f"{key[:4]}{_DOTS}{key[-4:]}"


def _key(value: str) -> Secret:
    key = value.strip()
    if not key.isascii() or not key.isprintable():
        raise ValueError("characters that no key has")
    return Secret(key)


def _words(value: str) -> tuple[str, ...]:
    """As a shell reads them, so that a path may hold blanks; Windows' backslashes are no escapes."""
    return tuple(value.split() if os.name == "nt" else shlex.split(value))


def arguments_of(text: str) -> tuple[str, ...]:
    """Arguments that somebody typed in one line.

    Raises:
        BadInput: when a quotation mark is not closed.
    """
    try:
        return _words(text)
    except ValueError:
        raise BadInput("A quotation mark is not closed.") from None


def as_line(arguments: Collection[str]) -> str:
    """The reverse of :func:`arguments_of`."""
    return " ".join(arguments) if os.name == "nt" else shlex.join(arguments)


def _said_yes(value: str) -> bool:
    word = value.strip().casefold()
    if word not in _YES and word not in _NO:
        raise ValueError("neither yes nor no")
    return word in _YES


def _said(check: Callable[[Any], Any], read: Callable[[str], Any] = str.casefold) -> Callable[[str], Any]:
    """A value as the environment has it, which knows texts only."""
    return lambda value: check(read(value.strip()))


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not any(type(value) is type(one) and value == one for one in allowed):
            raise ValueError(f"none of {', '.join(map(str, allowed))}")
        return value

    return check


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _port(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1024 <= value <= 65535:
        raise ValueError("no port from 1024 to 65535")
    return value


def _hosts(value: Any) -> tuple[str, ...]:
    """Names of computers, without ports."""
    names = tuple(name.lower() for name in _texts(value) if name)
    if not all(re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,252}|[0-9a-f:]{2,45}", name) for name in names):
        raise ValueError("no name of a computer")
    return names


def _variables(value: Any) -> dict[str, str]:
    """An environment: names and texts."""
    if not isinstance(value, Mapping):
        raise TypeError("no names with values")
    for name, text in value.items():
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or "\0" in _text(text):
            raise ValueError(f"{str(name)[:80]!r} is no name of a variable")
    return dict(value)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError("no list of texts")
    return tuple(_text(each) for each in value)


_SHORTEST_S, _HOUR_S, _WEEK_S = 0.1, 3600, 7 * 86_400
#: RunPod's own bounds of a job's policy.
_TIMEOUT, _TTL = _seconds(5, _WEEK_S), _seconds(10, _WEEK_S)
_MOST_USD = 1_000_000.0
_SHORT_KEY, _DOTS = 12, "•" * 8
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")
_YES, _NO = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})
_IN_FILE: dict[str, Callable[[Any], Any]] = {
    "output_dir": _path,
    "comfyui_url": _url,
    "comfyui_dir": _path,
    "comfyui_python": _path,
    "comfyui_args": _texts,
    "comfyui_env": _variables,
    "comfyui_port": _port,
    "comfyui_hosts": _hosts,
    "models_dir": _path,
    "routing": _one_of("local", "runpod"),
    "keep_routing": _yes_or_no,
    "open_results": _one_of("no", "viewer", "panel"),
    "execution_timeout_s": _TIMEOUT,
    "job_ttl_s": _TTL,
    "health_interval_s": _interval,
    "workers": _count,
    "runpod_endpoint_id": _text,
    "runpod_volume_id": _text,
    "runpod_datacenter": _datacenter,
    "runpod_s3_url": _url,
    "docker_registry": image_names.registry,
    "docker_image": image_names.image,
    "docker_tag": image_names.tag,
    "docker_program": _path,
    "appearance": _one_of("system", "light", "dark"),
    "text_size": _one_of(90, 100, 110, 125),
    "motion": _one_of("system", "reduced"),
    "target": _text,
    "welcomed": _yes_or_no,
    "daily_limit_usd": _dollars,
    "tray": _yes_or_no,
    "system_notices": _yes_or_no,
}
_IN_ENV: dict[str, tuple[str, Callable[[str], Any]]] = {
    "COMFYUI_DIR": ("comfyui_dir", _path),
    "COMFYUI_PYTHON": ("comfyui_python", _path),
    "COMFYUI_URL": ("comfyui_url", _url),
    "COMFYUI_ARGS": ("comfyui_args", _words),
    "COMFYUI_PORT": ("comfyui_port", _said(_port, int)),
    "COMFYUI_HOSTS": ("comfyui_hosts", lambda value: _hosts(re.split(r"[\s,]+", value.strip()))),
    "COMFY_RUNPOD_MODELS": ("models_dir", _path),
    "COMFY_RUNPOD_KEEP_ROUTING": ("keep_routing", _said_yes),
    "COMFY_RUNPOD_OPEN_RESULTS": ("open_results", _said(_IN_FILE["open_results"])),
    "RUNPOD_API_KEY": ("runpod_api_key", _key),
    "RUNPOD_ENDPOINT_ID": ("runpod_endpoint_id", str.strip),
    "RUNPOD_ENDPOINT_BASE_URL": ("runpod_base_url", _url),
    "RUNPOD_API_BASE_URL": ("runpod_api_url", _url),
    "RUNPOD_VOLUME_ID": ("runpod_volume_id", str.strip),
    "RUNPOD_DATACENTER": ("runpod_datacenter", _datacenter),
    "RUNPOD_S3_URL": ("runpod_s3_url", _url),
    "RUNPOD_S3_ACCESS_KEY": ("runpod_s3_access_key", _key),
    "RUNPOD_S3_SECRET_KEY": ("runpod_s3_secret_key", _key),
    "DOCKER_REGISTRY": ("docker_registry", image_names.registry),
    "DOCKER_IMAGE": ("docker_image", image_names.image),
    "DOCKER_TAG": ("docker_tag", image_names.tag),
    "COMFY_RUNPOD_DOCKER": ("docker_program", _path),
    "EXECUTION_TIMEOUT": ("execution_timeout_s", _TIMEOUT),
    "COMFY_RUNPOD_JOB_TTL": ("job_ttl_s", _TTL),
    "HEALTH_CHECK_INTERVAL": ("health_interval_s", _interval),
    "COMFY_RUNPOD_DAILY_LIMIT": ("daily_limit_usd", _dollars),
    "COMFY_RUNPOD_OUTPUT": ("output_dir", _path),
    "COMFY_RUNPOD_WORKERS": ("workers", _said(_count, int)),
    "COMFY_RUNPOD_TARGET": ("target", str.strip),
    "COMFY_RUNPOD_APPEARANCE": ("appearance", _said(_IN_FILE["appearance"])),
    "COMFY_RUNPOD_TEXT_SIZE": ("text_size", _said(_IN_FILE["text_size"], int)),
    "COMFY_RUNPOD_MOTION": ("motion", _said(_IN_FILE["motion"])),
    "COMFY_RUNPOD_TRAY": ("tray", _said_yes),
    "COMFY_RUNPOD_SYSTEM_NOTICES": ("system_notices", _said_yes),
}
#: Read by :meth:`Settings.load` itself: they say where the rest is.
_PLACES = {"COMFY_RUNPOD_DATA": "data_dir", "COMFY_RUNPOD_CONFIG": "config_file"}
_VARIABLES = {key: name for name, (key, _) in _IN_ENV.items()} | {key: name for name, key in _PLACES.items()}


def save_settings(path: Path, changes: Mapping[str, Any]) -> None:
    """Write settings into the file; what else it holds stays. A value of None takes a setting away. Blocks.

    Raises:
        BadInput: when a value cannot be used, or the file cannot be read or written; nothing is written then.
    """
    kept = _read(path)
    for key, value in changes.items():
        kept.pop(key, None)
        if value is not None:
            kept[key] = _plain(_checked(key, value, path))
    try:
        write_private(path, _as_yaml(kept))
    except OSError as error:
        raise BadInput(f"The settings file {path} cannot be written: {error.strerror}.") from error


def from_environment(env: Mapping[str, str] = os.environ) -> frozenset[str]:
    """The names of the settings that the environment decides."""
    return frozenset(key for name, (key, _) in _IN_ENV.items() if env.get(name, "").strip())


def variable_of(name: str) -> str:
    """The environment's variable for a setting."""
    return next(variable for variable, (key, _) in _IN_ENV.items() if key == name)


Source = Literal["default", "settings file", "keyring", "this session", "environment", "command line"]
_FROM: dict[Source, str] = {
    "default": "default",
    "settings file": "from the settings file",
    "keyring": "from the keyring",
    "this session": "for this session only",
    "environment": "from the environment",
    "command line": "from the command line",
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's present value comes from, and the environment's variable for it, if there is one."""

    source: Source
    variable: str | None = None

    @property
    def text(self) -> str:
        return " · ".join([*([self.variable] if self.variable else []), _FROM[self.source]])


def origin_of(
    name: str,
    settings: Settings,
    env: Mapping[str, str] = os.environ,
    *,
    in_file: Collection[str] = (),
    only_here: Collection[str] = (),
    command_line: Collection[str] = (),
) -> Origin:
    """Where the value of a setting comes from.

    Args:
        in_file: what :func:`names_in_file` gave.
        only_here: keys that are in force and kept nowhere.
        command_line: the settings that were given there.
    """
    variable = _VARIABLES.get(name)
    secret = isinstance(getattr(settings, name), Secret) and bool(getattr(settings, name))
    # The strongest first; a key is in no file, so one that the environment does not give is the keyring's.
    sources: tuple[tuple[Source, bool], ...] = (
        ("command line", name in command_line),
        ("environment", variable is not None and bool(env.get(variable, "").strip())),
        ("this session", secret and name in only_here),
        ("keyring", secret),
        ("settings file", name in in_file),
    )
    return Origin(next((source for source, holds in sources if holds), "default"), variable)


def names_in_file(path: Path) -> frozenset[str]:
    """The settings that a file gives. Blocks. Raises BadInput when it cannot be read."""
    raw = _read(path)
    return frozenset(key for key in _IN_FILE if raw.get(key) is not None)


def can_be(name: str, value: Any) -> bool:
    """Whether the settings file takes a value for a setting; None takes the setting away."""
    try:
        return value is None or _IN_FILE[name](value) is not None
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError):
        return False


def _as_yaml(values: dict[str, Any]) -> str:
    """Readable where it can be: some letters PyYAML writes so that it does not read them again."""
    import yaml

    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False)
    return text if yaml.safe_load(text) == values else yaml.safe_dump(values, sort_keys=False)


def _plain(value: Any) -> Any:
    """As YAML has it."""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _checked(key: str, value: Any, path: Path) -> Any:
    try:
        return _IN_FILE[key](value)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise BadInput(f"{key!r} in the settings file {path} cannot be used: {value!r}.") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadInput(f"The settings file {path} cannot be read.", hint="Correct or remove it.") from error
    # Only with a file: it takes as long to import as all the rest of this.
    import yaml

    try:
        raw = yaml.safe_load(text)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"The settings file {path} cannot be read.", hint="Correct or remove it.") from error
    if raw is not None and not isinstance(raw, dict):
        raise BadInput(f"The settings file {path} holds no settings.", hint="Correct or remove it.")
    return raw or {}


def _from_file(path: Path) -> dict[str, Any]:
    raw = _read(path)
    values: dict[str, Any] = {}
    for key in _IN_FILE:
        if raw.get(key) is not None:
            values[key] = _checked(key, raw[key], path)
    return values


def _from_env(env: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, (key, make) in _IN_ENV.items():
        if env.get(name, "").strip():
            try:
                values[key] = make(env[name])
            except (ValueError, RuntimeError) as error:
                shown = "" if name.endswith("_KEY") else f": {env[name]!r}"
                # The cause may quote a secret.
                raise BadInput(f"The variable {name} cannot be used{shown}.") from (error if shown else None)
    return values


_hidden: set[str] = set()


def hide(secret: Secret) -> None:
    """Have every log of this process keep a secret out that no settings held when logging began."""
    if secret:
        _hidden.add(secret.reveal())


class RedactingFilter(logging.Filter):
    """Replaces every known secret in log records by ``***``, tracebacks too; put it on the handlers."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        values = [getattr(settings, f.name) for f in fields(settings)]
        self._own = {v.reveal() for v in values if isinstance(v, Secret) and v}
        self._known: frozenset[str] = frozenset()
        self._pattern: re.Pattern[str] | None = None
        self._formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        pattern = self._current()
        if pattern is None:
            return True
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # A message that does not fit its arguments is a mistake of ours, but no reason to show them.
            message = f"{record.msg!r} {record.args!r}"
        record.msg, record.args = pattern.sub("***", message), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = self._formatter.formatException(record.exc_info)
        for name in ("exc_text", "stack_info"):
            text = getattr(record, name)
            if text:
                setattr(record, name, pattern.sub("***", text))
        return True

    def _current(self) -> re.Pattern[str] | None:
        known = self._own.union(_hidden)
        if known != self._known:
            # The longest first: one key may begin with another.
            words = sorted(known, key=len, reverse=True)
            self._known, self._pattern = frozenset(known), re.compile("|".join(map(re.escape, words)))
        return self._pattern
