"""A real engine: the one that is reached, as ``packaging/engine.sh`` starts it for CI.

``REQUIRE_DOCKER=1``: none is a failure, not a reason to skip. ``TEST_BASE_IMAGE`` names an image with a
shell, ``TEST_REGISTRY`` a registry that takes everything, ``TEST_BUILD_NETWORK`` the network of builds.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from app.docker.engine import Engine
from app.docker.model import BuildRequest
from app.errors import NeedsSetup

#: On each container that tests start.
LABEL = "comfy-runpod.tests"


def _without(what: str) -> NoReturn:
    if os.environ.get("REQUIRE_DOCKER") == "1":
        pytest.fail(f"REQUIRE_DOCKER is set. {what}")
    pytest.skip(what)


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        return replace(asyncio.run(Engine.find()), pauses_s=(0.0, 0.0, 0.0))
    except NeedsSetup as problem:
        _without(problem.sentence)


@pytest.fixture(scope="session")
def base() -> str:
    return os.environ.get("TEST_BASE_IMAGE") or _without("TEST_BASE_IMAGE names no image.")


@pytest.fixture(scope="session")
def registry() -> str:
    return os.environ.get("TEST_REGISTRY") or _without("TEST_REGISTRY names no registry.")


@pytest.fixture
async def names(engine: Engine) -> AsyncIterator[Callable[[str], str]]:
    """Gives names for images that nobody else has; they are removed in the end."""
    given = list[str]()

    def name(registry: str = "") -> str:
        given.append(f"{registry}{'/' if registry else ''}ours-{uuid.uuid4().hex}:1")
        return given[-1]

    yield name
    await engine.stop_containers(LABEL)
    for each in given:
        await engine.remove(each)


@pytest.fixture
def wanted(tmp_path: Path) -> Callable[..., BuildRequest]:
    """Makes a request from a Dockerfile's lines and other files."""

    def request(name: str, *lines: str, files: dict[str, bytes] | None = None) -> BuildRequest:
        folder = tmp_path / uuid.uuid4().hex
        folder.mkdir()
        (folder / "Dockerfile").write_text("\n".join(lines) + "\n", "utf-8")
        for file, content in (files or {}).items():
            (folder / file).write_bytes(content)
        return BuildRequest(folder, tags=(name,), network=os.environ.get("TEST_BUILD_NETWORK") or None)

    return request
