"""What may come as a job's input, and that everything else is refused in a sentence."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.helpers import KEY
from tests.unit.worker.test_contract import ANYTHING
from worker.errors import BadRequest
from worker.validation import Request, parse_request

WORKFLOW = {"1": {"class_type": "EmptyImage", "inputs": {"color": 1}}}
DATA = base64.b64encode(b"the picture").decode()


@pytest.mark.parametrize(
    "raw",
    [
        {"workflow": WORKFLOW},
        {"workflow": json.dumps(WORKFLOW)},
        {"prompt": WORKFLOW},
        {"workflow": None, "prompt": json.dumps(WORKFLOW)},
        json.dumps({"workflow": WORKFLOW}),
        json.dumps(
            {"workflow": json.dumps(WORKFLOW), "images": None, "timeout": None, "client_job_id": None}
        ),
    ],
)
def test_a_workflow_may_come_as_object_or_text(raw: Any) -> None:
    assert parse_request(raw) == Request(workflow=WORKFLOW)


@pytest.mark.parametrize("field", ["comfy_org_api_key", "api_key_comfy_org"])
def test_the_api_key_is_understood_in_both_spellings(field: str) -> None:
    request = parse_request({"workflow": WORKFLOW, field: KEY})
    assert request.extra_data == {"api_key_comfy_org": KEY}
    assert request.secrets == (KEY,)
    assert parse_request({"workflow": WORKFLOW}).secrets == ()


@pytest.mark.parametrize(
    "content",
    [
        DATA,
        f"data:image/png;base64,{DATA}",
        f"data:image/svg+xml;charset=utf-8;base64,{DATA}",
        f"data:;base64,{DATA}",
        base64.encodebytes(b"the picture").decode(),
    ],
)
def test_files_come_in_three_fields(content: str) -> None:
    request = parse_request(
        {
            "workflow": WORKFLOW,
            "images": [{"name": "a.png", "image": content}],
            "reference_images": {"masks/b.png": content},
            "files": [{"name": "c.bin", "data": content}],
        }
    )
    assert [str(file.name) for file in request.files] == ["a.png", "masks/b.png", "c.bin"]
    assert {file.content for file in request.files} == {b"the picture"}


@pytest.mark.parametrize(
    "content", ["???", "AAA", "AAAA AAAA", f"data:image/png,{DATA}", "https://x/y.png", "é", 5]
)
def test_what_is_no_base64_is_refused_by_the_file_s_name(content: Any) -> None:
    with pytest.raises(BadRequest, match=r"'a\.png'"):
        parse_request({"workflow": WORKFLOW, "images": [{"name": "a.png", "image": content}]})


@pytest.mark.parametrize(
    ("one", "two"), [("a.png", "a.png"), ("a.png", "A.PNG"), ("S/x", "s/x"), ("\u00e9.png", "e\u0301.png")]
)
def test_files_that_are_one_on_some_system_are_refused(one: str, two: str) -> None:
    raw = {"workflow": WORKFLOW, "images": [{"name": one, "image": DATA}], "reference_images": {two: DATA}}
    with pytest.raises(BadRequest, match="have the same name"):
        parse_request(raw)


def test_a_workflow_of_the_browser_is_refused_with_a_way_out() -> None:
    with pytest.raises(BadRequest, match="browser's format") as caught:
        parse_request({"workflow": {"nodes": [], "links": [], "version": 0.4}})
    assert "Export (API)" in caught.value.hint


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (None, "no JSON object"),
        ([], "no JSON object"),
        ("{", "Invalid JSON"),
        ("[" * 100_000, "Invalid JSON"),
        ("5", "no JSON object"),
        ({}, "Missing 'workflow'"),
        ({"workflow": 5}, "workflow is no JSON object"),
        ({"workflow": "{]"}, "Invalid JSON"),
        ({"workflow": {}}, "no nodes"),
        ({"workflow": {"7": []}}, "Node '7'"),
        ({"workflow": {"7": {"inputs": []}}}, "inputs' of node '7'"),
        *(
            ({"workflow": WORKFLOW, "images": bad}, "'images' must")
            for bad in (5, {"a": 1}, ["x"], [{"name": "a"}])
        ),
        *(({"workflow": WORKFLOW, "files": bad}, "'files' must") for bad in ("x", [{"data": DATA}], [None])),
        ({"workflow": WORKFLOW, "reference_images": [1]}, "'reference_images' must"),
        ({"workflow": WORKFLOW, "reference_images": {"../x": DATA}}, "leave its folder"),
        *(
            ({"workflow": WORKFLOW, "timeout": bad}, "'timeout'")
            for bad in (0, -1, "5", True, float("nan"), 10**9)
        ),
        *(
            ({"workflow": WORKFLOW, "output": bad}, "output")
            for bad in ("x", [1], {"mode": "s4"}, {"mode": []})
        ),
        *(({"workflow": WORKFLOW, "client_job_id": bad}, "client_job_id") for bad in ("../x", 5, "a" * 65)),
        ({"workflow": WORKFLOW, "comfy_org_api_key": [KEY]}, "'comfy_org_api_key' must"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(raw: Any, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request(raw)
    assert says in caught.value.summary
    assert KEY not in caught.value.summary


def test_where_the_results_go() -> None:
    def mode(**fields: Any) -> str:
        return parse_request({"workflow": WORKFLOW, **fields}).output_mode

    assert mode() == mode(return_base64=True) == mode(output={}) == "auto"
    assert mode(return_base64=False) == mode(output={"mode": "volume"}) == "volume"
    assert mode(output={"mode": "base64"}, return_base64=False) == "base64"


FIELDS = (
    *("workflow", "prompt", "images", "reference_images", "files", "output", "timeout", "client_job_id"),
    *("return_base64", "comfy_org_api_key", "api_key_comfy_org", "extra_pnginfo"),
)
NAMED = st.fixed_dictionaries({}, optional={"name": ANYTHING, "image": ANYTHING, "data": ANYTHING})
INPUTS = st.fixed_dictionaries(
    {"workflow": st.just(WORKFLOW) | ANYTHING},
    optional={field: ANYTHING | st.lists(NAMED, max_size=3) for field in FIELDS if field != "workflow"},
)


@given(ANYTHING | INPUTS | ANYTHING.map(json.dumps))
def test_whatever_comes_is_a_request_or_refused(raw: Any) -> None:
    try:
        request = parse_request(raw)
    except BadRequest:
        return
    assert request.workflow
    assert all(isinstance(node, dict) for node in request.workflow.values())
