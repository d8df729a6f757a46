"""Whether Docker is signed in to a registry, from Docker's own store. No password or token leaves it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..comfyui.programs import run
from ..errors import NeedsSetup, ProcessFailed
from .cli import json_in
from .model import SignIn, SignInState
from .names import HUB

#: A keychain may ask the user before it answers.
_PATIENCE_S = 10.0
_LARGEST = 4 << 20
_LONGEST_USER = 256
_HELPER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
#: What Docker Hub is called in the store.
_HUB_HOSTS = (HUB, "index.docker.io", "registry-1.docker.io", "hub.docker.com")


async def signed_in(registry: str, env: Mapping[str, str]) -> SignIn:
    """What the store says of a registry's host, ``docker.io`` for Docker Hub; ``env`` names the store."""
    try:
        config = await asyncio.to_thread(_config, env)
    except FileNotFoundError:
        return SignIn(SignInState.SIGNED_OUT)
    except (OSError, ValueError, RecursionError):
        return SignIn(SignInState.UNKNOWN)
    helpers = config.get("credHelpers")
    helper = _of(helpers, registry) if isinstance(helpers, dict) else None
    helper = helper or config.get("credsStore")
    if isinstance(helper, str) and helper:
        return await _asked(helper, registry, env)
    auth = _of(config.get("auths"), registry)
    if not isinstance(auth, dict) or not (auth.get("auth") or auth.get("identitytoken")):
        return SignIn(SignInState.SIGNED_OUT)
    return SignIn(SignInState.SIGNED_IN, _user(auth.get("username")) or _user_in(auth.get("auth")))


def _config(env: Mapping[str, str]) -> Mapping[str, Any]:
    folder = env.get("DOCKER_CONFIG")
    home = env.get("HOME") or env.get("USERPROFILE") or str(Path.home())
    path = (Path(folder) if folder else Path(home) / ".docker") / "config.json"
    with path.open("rb") as file:
        raw = file.read(_LARGEST + 1)
    config = json.loads(raw) if len(raw) <= _LARGEST else None
    if not isinstance(config, dict):
        raise ValueError("no settings")
    return config


def _of(entries: Any, registry: str) -> Any:
    """The entry for a registry; its key may be an address with a path."""
    if not isinstance(entries, dict):
        return None
    wanted = _HUB_HOSTS if registry in _HUB_HOSTS else (registry.lower(),)
    found = [key for key in entries if isinstance(key, str) and _host(key) in wanted]
    # Docker Desktop keeps tokens of its own beside the account.
    found.sort(key=lambda key: key.endswith("-token"))
    return entries[found[0]] if found else None


def _host(key: str) -> str:
    return re.sub(r"^https?://", "", key.lower()).partition("/")[0]


async def _asked(helper: str, registry: str, env: Mapping[str, str]) -> SignIn:
    """What a credential helper lists: addresses and names, no secrets."""
    unknown = SignIn(SignInState.UNKNOWN)
    if not _HELPER.fullmatch(helper):
        return unknown
    program = await asyncio.to_thread(shutil.which, f"docker-credential-{helper}", path=env.get("PATH"))
    if program is None:
        return unknown
    try:
        async with asyncio.timeout(_PATIENCE_S):
            ended = await run([program, "list"], env=env)
    except (TimeoutError, ProcessFailed, NeedsSetup):
        return unknown
    listed = json_in(ended.lines)
    if ended.code or not isinstance(listed, dict):
        return unknown
    user = _of(listed, registry)
    return SignIn(SignInState.SIGNED_OUT) if user is None else SignIn(SignInState.SIGNED_IN, _user(user))


def _user(name: Any) -> str | None:
    # ``<token>`` stands for a name that nobody knows.
    known = isinstance(name, str) and 0 < len(name) <= _LONGEST_USER and name.isprintable()
    return name if known and not name.startswith("<") else None


def _user_in(auth: Any) -> str | None:
    """The name in front of the colon of what base64 hides; what is behind it is not looked at."""
    if not isinstance(auth, str):
        return None
    name = b""
    for at in range(0, min(len(auth), 2 * _LONGEST_USER), 4):
        try:
            name += base64.b64decode(auth[at : at + 4], validate=True)
        except (binascii.Error, ValueError):
            return None
        if b":" in name:
            return _user(name.partition(b":")[0].decode("utf-8", "replace"))
    return None
