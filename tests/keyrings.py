"""Keyrings for tests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import keyring
import keyring.errors
from keyring.backend import KeyringBackend

K = TypeVar("K", bound=KeyringBackend)


class FileKeyring(KeyringBackend):
    """Keeps secrets in the file ``TEST_KEYRING``, so that processes share it. Never chosen by itself."""

    priority = -1

    @property
    def name(self) -> str:
        return "of a test"

    def get_password(self, service: str, username: str) -> str | None:
        return self._all().get(f"{service}/{username}")

    def set_password(self, service: str, username: str, password: str) -> None:
        self._write({**self._all(), f"{service}/{username}": password})

    def delete_password(self, service: str, username: str) -> None:
        kept = self._all()
        if kept.pop(f"{service}/{username}", None) is None:
            raise keyring.errors.PasswordDeleteError
        self._write(kept)

    def _all(self) -> dict[str, str]:
        path = Path(os.environ["TEST_KEYRING"])
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def _write(self, all_of_it: dict[str, str]) -> None:
        Path(os.environ["TEST_KEYRING"]).write_text(json.dumps(all_of_it))


class MemoryKeyring(KeyringBackend):
    """Keeps secrets as long as it lives, and counts how often it is asked."""

    priority = -1

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, str] = {}
        self.asked = 0

    @property
    def name(self) -> str:
        return "in memory"

    def get_password(self, service: str, username: str) -> str | None:
        assert service == "comfy-runpod"
        self.asked += 1
        return self.kept.get(username)

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[username]


@contextmanager
def using(backend: K) -> Iterator[K]:
    """Have the library use a keyring for a while."""
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    try:
        yield backend
    finally:
        keyring.set_keyring(before)
