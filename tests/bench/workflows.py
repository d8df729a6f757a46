"""How long it takes to understand a workflow: ``python -m tests.bench.workflows``. Prints, judges nothing.

Targets: the largest case is converted in 50 ms once ComfyUI's node types are known; these are read once.
"""

from __future__ import annotations

import functools
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.preflight.catalogue import Source, catalogue_of
from app.preflight.judging import Here, Place, judged
from app.workflows.collect import collect
from app.workflows.convert import convert
from app.workflows.tuning import tunables
from tests.unit.workflows.cases import ROOT, copied, described, load, reference
from tests.unit.workflows.deduced import deduced
from tests.unit.workflows.test_collect import picture

_TARGET_MS, _PICTURES = 50.0, 500


def _ms(work: Callable[[], object], times: int = 3) -> float:
    """The best of several, in milliseconds: a busy machine makes it longer, nothing makes it shorter."""
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best * 1000


def report() -> None:
    """Print the figures."""
    cases = reference() or copied()
    catalogue = described() if reference() else deduced()
    taken = []
    for case in cases:
        ui = load(case.ui)
        taken.append((_ms(functools.partial(convert, ui, catalogue)), case.name))
    taken.sort()
    median, (slowest, name) = statistics.median(ms for ms, _ in taken), taken[-1]
    print(f"conversion of {len(cases)} cases: median {median:.1f} ms, longest {slowest:.1f} ms ({name}),")
    print(f"  {slowest / _TARGET_MS:.2f} of the {_TARGET_MS:.0f} ms allowed")
    content = json.dumps(
        json.loads(gzip.decompress((ROOT / "resources" / "nodes.json.gz").read_bytes()))["nodes"]
    )
    own = catalogue_of(content.encode(), Source.RUNNING, "x")
    reading = _ms(lambda: catalogue_of(content.encode(), Source.RUNNING, "x"))
    flow = json.loads((ROOT / "resources" / "workflows" / "photo.json").read_text("utf-8"))
    judging = _ms(lambda: judged(flow, Place("local", "", own), Here(), files={}))
    tuning = _ms(lambda: tunables(flow, own.nodes))
    print(f"node types, {len(content) / 1e6:.1f} MB: read once in {reading:.0f} ms,")
    print(f"  then a workflow is judged in {judging:.2f} ms and its inputs are found in {tuning:.2f} ms")
    with tempfile.TemporaryDirectory() as folder:
        made = picture(json.dumps(flow).encode())
        for number in range(_PICTURES):
            Path(folder, f"{number}.png").write_bytes(made)
        taken_ms = _ms(lambda: collect([Path(folder)]), 1)
        print(f"{_PICTURES} pictures are looked into in {taken_ms:.0f} ms")


if __name__ == "__main__":
    report()
