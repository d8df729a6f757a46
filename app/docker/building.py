"""Building an image with BuildKit, through whichever client there is."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import BadInput, ComfyRunPodError
from .cli import Cli
from .errors import BuildFailed, last_word, unusable
from .model import Builder, BuildProgress, BuildRequest
from .plain import PlainOutput
from .rawjson import RawJsonOutput
from .steps import BuildOutput, StepBook
from .throttle import Throttle

OnBuild = Callable[[BuildProgress], None]
OnStepLine = Callable[[str | None, str], None]

_EXIT_CODE = re.compile(r"exit code: (\d{1,5})")


async def build(
    cli: Cli,
    builder: Builder,
    request: BuildRequest,
    on_progress: OnBuild | None,
    on_line: OnStepLine | None,
) -> tuple[StepBook, float]:
    """Build it; its steps, and how many seconds it took. Cancelled, BuildKit has ended the step's process.

    Raises:
        BadInput: when there is no such folder or file.
        BuildFailed, DockerUnusable
    """
    dockerfile = request.dockerfile or request.folder / "Dockerfile"
    await asyncio.to_thread(_check, request.folder, dockerfile)
    output: BuildOutput = RawJsonOutput() if builder is Builder.BUILDX_RAWJSON else PlainOutput()
    throttle = Throttle(output.book.progress, on_progress)

    def take(line: str) -> None:
        for key, text in output.feed(line):
            if on_line is not None:
                on_line(key, text)
        throttle.changed()

    begun = time.monotonic()
    try:
        ended = await cli.run(*_words(builder, request, dockerfile), env=_environment(builder), on_line=take)
        output.book.close(succeeded=ended.code == 0)
        throttle.close()
    finally:
        throttle.close(tell=False)
    if ended.code:
        raise _failed(output.book)
    return output.book, time.monotonic() - begun


def _check(folder: Path, dockerfile: Path) -> None:
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder} to build from.")
    if not dockerfile.is_file():
        raise BadInput(f"There is no Dockerfile at {dockerfile}.")


def _words(builder: Builder, request: BuildRequest, dockerfile: Path) -> list[str]:
    words = ["build", "--progress=plain"]
    if builder is not Builder.CLASSIC:
        how = "rawjson" if builder is Builder.BUILDX_RAWJSON else "plain"
        words = ["buildx", "build", f"--progress={how}", "--load"]
    words += ["--file", str(dockerfile.absolute())]
    words += [word for name in request.tags for word in ("--tag", name)]
    words += [word for name, value in request.args.items() for word in ("--build-arg", f"{name}={value}")]
    words += [word for name, value in request.labels.items() for word in ("--label", f"{name}={value}")]
    for option, value in (
        ("--platform", request.platform),
        ("--network", request.network),
        ("--target", request.target),
    ):
        words += [option, value] if value else []
    return [*words, *(["--no-cache"] if request.no_cache else []), str(request.folder.absolute())]


def _environment(builder: Builder) -> Mapping[str, str]:
    # Names that are cut short could not be told apart.
    whole = {"PROGRESS_NO_TRUNC": "1"}
    return {**whole, "DOCKER_BUILDKIT": "1"} if builder is Builder.CLASSIC else whole


def _failed(book: StepBook) -> ComfyRunPodError:
    failure = book.failure
    if failure is None:
        # What programs in a step say of connections says nothing of ours.
        others = book.lines(None)
        return unusable(others) or BuildFailed("", last_word(others), None, others)
    code, lines = _EXIT_CODE.search(failure.error), failure.lines or tuple(book.lines(None))
    return BuildFailed(failure.title, failure.error, int(code[1]) if code else None, lines)
