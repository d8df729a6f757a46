"""What a worker says of a workflow, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.endpoint.client import JobClient
from app.endpoint.model import JobReply
from app.errors import NeedsSetup
from app.preflight.worker import asked_worker


class Answering(JobClient):
    """An endpoint whose worker gives this answer."""

    def __init__(self, output: Any, status: str = "COMPLETED") -> None:
        self.reply = JobReply.parse({"id": "j1", "status": status, "output": output})
        self.asked: list[Any] = []

    async def run(self, input: Any, *, policy: Any = None) -> JobReply:  # noqa: A002
        self.asked.append(input)
        return self.reply


async def test_its_problems_are_what_is_lacking() -> None:
    problems = [
        {"kind": "missing_model", "text": "No a.ckpt.", "node_id": "4", "input": "ckpt_name",
         "wanted": "a.ckpt", "folder": "models/checkpoints", "closest": ["b.ckpt"]},
        {"kind": "unknown_node", "text": "No X.", "node_id": "5", "wanted": "X"},
        {"kind": "too_small", "text": "Too small.", "node_id": "6", "certain": False},
    ]  # fmt: skip
    client = Answering({"status": "success", "valid": False, "partial": False, "problems": problems})
    report = await asked_worker(client, {"1": {}}, "abcd1234", names=["a.png"])
    assert [(lack.kind, lack.name, lack.certain) for lack in report.lacks] == [
        ("model", "a.ckpt", True),
        ("node", "X", True),
        ("value", "", False),
    ]
    assert (report.lacks[0].folder, report.lacks[0].closest) == ("checkpoints", ("b.ckpt",))
    assert not report.is_ready
    (asked,) = client.asked
    assert asked["command"] == "validate"
    assert [each["name"] for each in asked["images"]] == ["a.png"]
    client = Answering({"valid": True, "problems": []})
    assert (await asked_worker(client, {}, "abcd1234", names=[])).is_ready


@pytest.mark.parametrize(
    ("output", "status"),
    [({"status": "success", "images": []}, "COMPLETED"), (None, "COMPLETED"), ({"error": "no"}, "FAILED")],
)
async def test_another_worker_cannot_tell(output: Any, status: str) -> None:
    with pytest.raises(NeedsSetup, match="cannot check workflows"):
        await asked_worker(Answering(output, status), {}, "abcd1234", names=[])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["valid", "problems", "kind", "text", "closest", "wanted", "folder", "node_id"]
    ), inner, max_size=5),
    max_leaves=15,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(JSON)
async def test_any_answer_is_a_report_or_says_that_it_is_none(output: Any) -> None:
    try:
        report = await asked_worker(Answering(output), {}, "abcd1234", names=[])
    except NeedsSetup:
        return
    assert all(isinstance(lack.text, str) for lack in report.lacks)
    assert report.as_problem()["code"] == "lacking"
