"""What the SDK's import costs beside the import: nothing is measured for it, and nothing else is changed."""

from __future__ import annotations

import subprocess
import sys

LOOK = """
import sys
from worker.__main__ import _leave_the_clock_unmeasured
_leave_the_clock_unmeasured()
import runpod
from runpod.serverless.utils import rp_debugger
print(rp_debugger.PROCESSOR)
"""


def test_the_sdk_takes_it_that_the_processor_is_not_known() -> None:
    ran = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, "Unable to get processor info.\n"), ran.stderr
