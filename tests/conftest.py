"""For all tests: none sees the keyring of the machine that it runs on, or fails for how busy that is."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# Before anything imports the library; child processes have it too.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# A shell that starts the tests in the background has them ignore Ctrl+C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Four lanes share the processor: how long one example takes says nothing. What hangs, pytest ends.
settings.register_profile("lanes", deadline=None, max_examples=50)
settings.load_profile("lanes")
