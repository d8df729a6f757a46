"""For all tests: none sees the keyring of the machine that it runs on, or fails for how busy that is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping

import pytest
from hypothesis import settings

# The lanes, and the hundreds of processes that they start, compile each module once and not each anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Before anything imports the library; child processes have it too.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# aiohttp reads every certificate that the system trusts when it is imported: a tenth of a second of each of
# these processes, and no test speaks to anybody whom the system could vouch for.
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_trusted = {name: os.environ[name] for name in _TRUST if name in os.environ}
os.environ |= dict.fromkeys(_TRUST, os.devnull)

# A shell that starts the tests in the background has them ignore Ctrl+C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Four lanes share the processor: how long one example takes says nothing. What hangs, pytest ends.
# Properties that name no number have few examples each time, and more with the full figures.
settings.register_profile("lanes", deadline=None, max_examples=int(os.environ.get("TEST_EXAMPLES", "25")))
settings.load_profile("lanes")


@pytest.fixture(scope="session")
def trusting() -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Gives an environment the system's certificates back: for programs that may fetch packages."""
    return lambda env: {**{name: value for name, value in env.items() if name not in _TRUST}, **_trusted}
