"""Without a display Qt aborts the whole run, so windows are drawn off screen unless told otherwise."""

from __future__ import annotations

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
