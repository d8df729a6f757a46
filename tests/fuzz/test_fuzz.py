"""Every parser of files from outside, for some seconds each, with bent copies of real files.

A failure names the seed and keeps the file. ``FUZZ_SEED`` repeats a run; ``FUZZ_S`` makes it longer. Seconds
are of processor time: a busy machine looks at as much as a quiet one.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from app.errors import BadInput
from app.preflight.catalogue import Source, catalogue_of
from app.workflows.convert import NodeCatalogue
from app.workflows.embedded import kind_of
from app.workflows.read import Found, look_into
from app.workflows.refusal import NotAWorkflow
from tests.fuzz.mutate import bent, bent_json, bent_text, odd
from tests.unit.workflows import containers
from tests.unit.workflows.cases import ROOT, copied

HERE = ROOT / "tests" / "data" / "workflows" / "containers"
SHIPPED = ROOT / "resources" / "nodes.json.gz"
LIMIT_S = 2.0
SHORT_S, FIXED_SEED = 1.0, "20261128"
#: Most of it is the text of one packed workflow; small files must not take more than a large one.
LIMIT_BYTES = 128 * 1024 * 1024
NOW = datetime(2025, 1, 2, tzinfo=UTC)
PROMPT = {"1": {"class_type": "LoadImage", "inputs": {"image": "ä 猫.png", "list": [1, "]"]}}}
UI = {"nodes": [{"id": 1, "type": "LoadImage"}], "links": []}


@dataclass(frozen=True)
class Target:
    """``make`` gives an input; ``run`` reads it and raises what is wrong with the answer."""

    make: Callable[[random.Random], bytes]
    run: Callable[[bytes, Path], None]


class Hung(BaseException):
    """Nothing that a parser would catch."""


def read_file(content: bytes, path: Path) -> None:
    # A new file each time: cutting the old one off would wait for the disk.
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    try:
        found = look_into(path)
    except NotAWorkflow as error:
        check_words(error)
        return
    assert found.prompt is not None or found.ui is not None
    if found.prompt is not None:
        check_prompt(found.prompt)
    assert found.ui is None or isinstance(found.ui["nodes"], list)


def convert_both(content: bytes, _path: Path) -> None:
    """A workflow and the descriptions of its nodes."""
    workflow, _, described = content.partition(b"\n")
    catalogue = NodeCatalogue(json.loads(described)) if described else plain_catalogue()
    found = Found("x", None, json.loads(workflow), "json", "x.json")
    try:
        prompt = found.converted(catalogue, now=NOW, choose=lambda count: count - 1).prompt
    except NotAWorkflow as error:
        check_words(error)
        return
    check_prompt(prompt)
    for node in prompt.values():
        for value in node["inputs"].values():
            if isinstance(value, list):
                source, slot = value
                assert source in prompt
                assert isinstance(slot, int)


def read_catalogue(content: bytes, _path: Path) -> None:
    try:
        found = catalogue_of(content, Source.RUNNING, "the test's")
    except BadInput:
        return
    for name in found.info.nodes:
        assert name in found.nodes


def check_prompt(prompt: dict[str, Any]) -> None:
    assert prompt
    for node in prompt.values():
        assert isinstance(node["class_type"], str)
        assert isinstance(node["inputs"], dict)
    json.dumps(prompt, allow_nan=False)


def check_words(error: NotAWorkflow) -> None:
    assert error.title
    assert error.text
    assert str(error)


def in_container(name: str) -> Target:
    made = [
        make({"prompt": json.dumps(PROMPT), "workflow": json.dumps(UI)}) for make in containers.ALL.values()
    ]
    real = [path.read_bytes() for path in sorted(HERE.iterdir()) if path.suffix != ".json"]
    both = json.dumps({"prompt": PROMPT, "workflow": UI})
    comment = containers.user_comment(both)
    made += [containers.picture(form, exif=comment) for form in ("JPEG", "WEBP", "PNG")]
    old = containers.box(b"\xa9cmt", len(both).to_bytes(2, "big"), b"\0\0", both.encode())
    made.append(containers.box(b"ftyp", b"isom") + containers.box(b"moov", containers.box(b"udta", old)))
    kinds = {content: kind_of(content[:64], len(content)) for content in [*real, *made]}
    samples = [content for content, kind in kinds.items() if kind is not None and kind.name == name]
    return Target(lambda rng: bent(rng, samples), read_file)


@cache
def texts(form: str) -> tuple[str, ...]:
    """Real workflows that are small enough for many tries."""
    paths = (
        [case.ui for case in copied()]
        if form == "ui"
        else [path for case in copied() for path in case.accepted]
    )
    known = [path.read_text("utf-8") for path in paths if path.stat().st_size < 12_000]
    known += [
        path.read_text("utf-8")
        for path in sorted(HERE.glob("*.workflow.json" if form == "ui" else "*.prompt.json"))
    ]
    return tuple(known)


@cache
def shipped_nodes() -> dict[str, Any]:
    nodes: dict[str, Any] = json.loads(gzip.decompress(SHIPPED.read_bytes()))["nodes"]
    return nodes


@cache
def plain_catalogue() -> NodeCatalogue:
    return NodeCatalogue(shipped_nodes())


def some_nodes(rng: random.Random, wanted: set[str]) -> dict[str, Any]:
    names = sorted(wanted & set(shipped_nodes())) or rng.sample(sorted(shipped_nodes()), 5)
    nodes = bent_json(rng, [json.dumps({name: shipped_nodes()[name] for name in names})])
    # Settings of inputs are what is read most closely.
    for node in nodes.values() if isinstance(nodes, dict) else ():
        given = node.get("input") if isinstance(node, dict) else None
        for section in given.values() if isinstance(given, dict) else ():
            for spec in section.values() if isinstance(section, dict) else ():
                if (
                    isinstance(spec, list)
                    and len(spec) > 1
                    and isinstance(spec[1], dict)
                    and rng.random() < 0.1
                ):
                    spec[1][rng.choice(("min", "max", "step", "round", "default", "options"))] = odd(rng)
    found: dict[str, Any] = nodes
    return found


def workflow_and_nodes(rng: random.Random) -> bytes:
    ui = bent_json(rng, texts("ui"))
    content = json.dumps(ui).encode()
    if rng.random() < 0.3:
        nodes = ui.get("nodes") if isinstance(ui, dict) else None
        names = (
            [each.get("type") for each in nodes if isinstance(each, dict)] if isinstance(nodes, list) else []
        )
        described = some_nodes(rng, {name for name in names if isinstance(name, str)})
        content += b"\n" + json.dumps(described).encode()
    return content


def object_info(rng: random.Random) -> bytes:
    content = bent_text(rng, some_nodes(rng, set()))
    if rng.random() < 0.3:
        content = gzip.compress(content, 1, mtime=0)
        content = bent(rng, [content]) if rng.random() < 0.7 else content
    return content


CONTAINERS = ("png", "webp", "jpeg", "mp4", "webm", "flac", "mp3", "ogg", "safetensors")
TARGETS: dict[str, Callable[[], Target]] = {
    **{name: lambda name=name: in_container(name) for name in CONTAINERS},  # type: ignore[misc]
    "api json": lambda: Target(lambda rng: bent_text(rng, bent_json(rng, texts("api"))), read_file),
    "ui json": lambda: Target(lambda rng: bent_text(rng, bent_json(rng, texts("ui"))), read_file),
    "conversion": lambda: Target(workflow_and_nodes, convert_both),
    "catalogue": lambda: Target(object_info, read_catalogue),
}


@contextmanager
def no_hang() -> Iterator[Callable[[float], None]]:
    """What is called with seconds breaks into whatever takes so much processor time; 0 ends it."""
    if not hasattr(signal, "setitimer"):
        yield lambda seconds: None
        return

    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGPROF, stop)
    try:
        yield lambda seconds: signal.setitimer(signal.ITIMER_PROF, seconds) and None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def fuzz(name: str, seconds: float, folder: Path) -> None:
    target = TARGETS[name]()
    # The short runs are the same each time, so that they fail for what has changed and for nothing else.
    fresh = str(random.SystemRandom().randrange(10**9)) if seconds > SHORT_S else FIXED_SEED
    seed = os.environ.get("FUZZ_SEED") or fresh
    rng = random.Random(f"{name} {seed}")
    until = time.process_time() + float(os.environ.get("FUZZ_S") or seconds)
    count, slowest, largest = 0, 0.0, 0
    content = b""
    kept = folder / "offending"

    def took(measured: bool) -> float:
        """One try; with the memory measured it takes several times as long."""
        guard(LIMIT_S * (10 if measured else 1.5))
        start = time.process_time()
        target.run(content, folder / "input")
        spent = time.process_time() - start
        guard(0)
        assert measured or spent < LIMIT_S, f"{spent:.1f} s of processor time"
        return spent

    with no_hang() as guard:
        try:
            while time.process_time() < until:
                content = target.make(rng)
                count += 1
                spent = took(measured=False)
                # Much memory takes time to fill: the slowest ones are looked at, and some others.
                is_slow, slowest = spent > max(slowest, 0.02), max(slowest, spent)
                if is_slow or count % 200 == 0:
                    tracemalloc.start()
                    took(measured=True)
                    peak = tracemalloc.get_traced_memory()[1]
                    tracemalloc.stop()
                    largest = max(largest, peak)
                    assert peak < LIMIT_BYTES, f"{peak / 1e6:.0f} MB"
        except (Exception, Hung) as error:
            guard(0)
            tracemalloc.stop()
            kept.write_bytes(content)
            why = f"{name}: {error!r} at try {count} with FUZZ_SEED={seed}; the input is {kept}"
            raise AssertionError(why) from error
    print(
        f"{name}: {count} inputs, slowest {slowest:.3f} s, largest {largest / 1e6:.1f} MB, FUZZ_SEED={seed}"
    )
    assert count


@pytest.mark.parametrize("name", TARGETS)
def test_bent_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    fuzz(name, SHORT_S, tmp_path)


@pytest.mark.long
@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", TARGETS)
def test_bent_files_are_read_or_refused_for_a_minute(name: str, tmp_path: Path) -> None:
    fuzz(name, 60, tmp_path)
