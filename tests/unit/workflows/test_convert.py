"""The conversion against what the official frontend made of the same workflows, case by case."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

import pytest

from app.workflows.convert import Converted, NodeCatalogue, convert
from tests.unit.workflows.cases import Case, bare, copied, described, load, reference
from tests.unit.workflows.deduced import deduced

#: Where we do not do as the frontend does, and why.
DIFFERENT = {
    "edge-webcam": "the browser takes the picture when it queues; nobody else can",
    "edit-minimal-top-level": "a file without a version: the frontend loses all links, we keep them",
    "edit-origin-node-missing": "a link from nowhere: the frontend fails, we leave the input out and warn",
}
CLOCK = datetime(2025, 1, 2, 3, 4, 5)  # local time, as file names have it
needs_reference = pytest.mark.skipif(not reference(), reason="the reference data are not beside the project")


def converted(case: Case, catalogue: NodeCatalogue) -> Converted:
    return convert(load(case.ui), catalogue, now=CLOCK, choose=lambda _: 0)


def equals(case: Case, result: Converted) -> bool:
    """Whether it is the result of frontend 1.58.1, the rule."""
    return bool(case.accepted) and bare(result.prompt) == bare(load(case.accepted[0]))


@pytest.mark.parametrize("case", copied(), ids=str)
def test_a_case_is_converted_as_the_frontend_does(case: Case) -> None:
    assert equals(case, converted(case, deduced())) is (case.name not in DIFFERENT)


@needs_reference
@pytest.mark.parametrize("case", reference(), ids=str)
def test_a_case_of_the_reference_is_converted_with_comfyuis_own_descriptions(case: Case) -> None:
    result = converted(case, described())
    assert equals(case, result) is (case.name not in DIFFERENT)
    missing = {node_id for node_id, node in result.prompt.items() if "class_type" not in node}
    assert {note.node_id for note in result.missing} == missing


@needs_reference
def test_counts_per_feature() -> None:
    """Prints a table: run pytest with ``-s`` to see it."""
    total: Counter[str] = Counter()
    equal: Counter[str] = Counter()
    for case in reference():
        is_equal = equals(case, converted(case, described()))
        for feature in ("all", *case.features):
            total[feature] += 1
            equal[feature] += is_equal
    for feature, count in total.most_common():
        print(f"{feature:28} {equal[feature]:4} of {count}")
    assert equal["all"] >= 0.98 * total["all"]


@needs_reference
def test_the_copied_cases_are_those_that_may_be_copied() -> None:
    free = {case.name for case in reference() if not case.licence.startswith("GPL")}
    assert {case.name for case in copied()} == free


def test_what_is_given_is_not_changed_and_not_shared() -> None:
    for case in copied():
        ui = load(case.ui)
        before = json.dumps(ui)
        result = convert(ui, deduced())
        assert json.dumps(ui) == before
        for node in result.prompt.values():
            node["inputs"].clear()
            node.clear()
        assert json.dumps(ui) == before
