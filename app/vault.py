"""Secrets in the keyring of the operating system. What the environment says wins over it.

Everything here blocks, for as long as a desktop asks its user to unlock the keyring: use it in threads. The
library is imported when it is needed first, since that alone takes a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .errors import NeedsSetup
from .settings import APP_NAME, Secret, Settings, hide, variable_of

API_KEY, S3_ACCESS_KEY, S3_SECRET_KEY = "runpod_api_key", "runpod_s3_access_key", "runpod_s3_secret_key"
NAMES = (API_KEY, S3_ACCESS_KEY, S3_SECRET_KEY)
#: So long a keyring may take, with a person typing its password.
_LIMIT_S = 60.0


class NoKeyring(NeedsSetup):
    """There is no keyring that can be used: none at all, as on most servers, or a locked one."""

    code = "no_keyring"


def read(name: str) -> Secret | None:
    """The secret of a name, None when there is none. Every log keeps it out from now on. Raises NoKeyring."""
    value = _ask(name, lambda keyring: keyring.get_password(APP_NAME, name))
    if not isinstance(value, str) or not value:
        return None
    secret = Secret(value)
    hide(secret)
    return secret


def write(name: str, secret: Secret) -> str:
    """Keep a secret; the keyring's name. Raises NoKeyring, also when the keyring only pretends."""
    hide(secret)

    def keep(keyring: Any) -> str:
        keyring.set_password(APP_NAME, name, secret.reveal())
        if keyring.get_password(APP_NAME, name) != secret.reveal():
            raise LookupError
        return str(keyring.get_keyring().name)

    return str(_ask(name, keep))


def forget(name: str) -> bool:
    """Remove a secret; whether there was one. Raises NoKeyring."""

    def remove(keyring: Any) -> bool:
        if keyring.get_password(APP_NAME, name) is None:
            return False
        keyring.delete_password(APP_NAME, name)
        return True

    return bool(_ask(name, remove))


def with_keys(settings: Settings, *names: str) -> Settings:
    """The settings with the keys that the environment does not give and the keyring has.

    A keyring that cannot be used is as good as an empty one here.
    """
    found: dict[str, Any] = {}
    for name in names or NAMES:
        if not getattr(settings, name):
            try:
                secret = read(name)
            except NoKeyring:
                break
            if secret is not None:
                found[name] = secret
    return replace(settings, **found) if found else settings


def _ask(name: str, call: Callable[[Any], Any]) -> Any:
    """Call in a thread that does not keep the program from ending: a dialog for a password may stay."""
    result: list[Any] = []
    failed: list[str] = []
    done = threading.Event()

    def run() -> None:
        try:
            import keyring

            result.append(call(keyring))
        except Exception as error:  # noqa: BLE001 - each backend has errors of its own; a text may hold a secret
            failed.append(type(error).__name__)
        finally:
            done.set()

    threading.Thread(target=run, name="keyring", daemon=True).start()
    # No join: in a thread of Qt's it would leave an entry in Python's list of threads.
    done.wait(_LIMIT_S)
    if result:
        return result[0]
    hint = f"Set {variable_of(name)} in the environment instead."
    if not failed:
        raise NoKeyring(f"The system's keyring did not answer within {_LIMIT_S:g} s.", hint=hint)
    if failed[0] in ("NoKeyringError", "ModuleNotFoundError"):
        raise NoKeyring("This computer has no keyring that keys can be kept in.", hint=hint)
    if failed[0] == "KeyringLocked":
        raise NoKeyring("The system's keyring is locked.", hint=f"Unlock it. {hint}")
    raise NoKeyring(f"The system's keyring cannot be used ({failed[0]}).", hint=hint)
