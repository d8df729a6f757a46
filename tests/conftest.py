"""For all tests: none of them sees the keyring of the machine that it runs on."""

from __future__ import annotations

import os

# Before anything imports the library; child processes have it too.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
