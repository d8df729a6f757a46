"""One server for all tests of syncs with a volume."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.sync.volume_made import Rig, rigged, volume_server


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with volume_server(tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def rig(volume: tuple[str, Path], tmp_path: Path) -> Iterator[Rig]:
    with rigged(volume, tmp_path, Rig) as made:
        yield made
