"""The world of a test of the runner, with a volume and without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.jobs.helpers import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[World]:
    """An endpoint whose volume cannot be read from here."""
    made = World(tmp_path, volume=False)
    await made.start()
    yield made
    await made.stop()
