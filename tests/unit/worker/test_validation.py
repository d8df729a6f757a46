"""What may come as a job's input, and that everything else is refused in a sentence."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.worker.helpers import KEY
from tests.unit.worker.test_contract import ANYTHING, HOSTILE
from worker.errors import BadRequest
from worker.given import InputFile
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
    "content", ["???", "AAA", "AAAA AAAA", f"data:image/png,{DATA}", "http://x/y.png", "é", 5]
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


@pytest.mark.parametrize("names", [("a", "a/b.png"), ("X/y/z.png", "x/Y"), ("m/A.png", "m/a.png/b")])
def test_a_file_that_another_needs_as_its_folder_is_refused(names: tuple[str, str]) -> None:
    for one, two in (names, names[::-1]):
        raw = {"workflow": WORKFLOW, "reference_images": {one: DATA, two: DATA}}
        with pytest.raises(BadRequest, match="needs a folder of that name"):
            parse_request(raw)


SHA = "0" * 64


@pytest.mark.parametrize(
    ("field", "item", "expected"),
    [
        ("images", {"image": "https://x/y.png"}, {"url": "https://x/y.png"}),
        ("images", {"image": "HTTPS://x/y.png", "sha256": SHA}, {"url": "https://x/y.png", "sha256": SHA}),
        ("images", {"image": DATA, "sha256": SHA}, {"content": b"the picture", "sha256": SHA}),
        ("files", {"url": "https://x/y?a=b"}, {"url": "https://x/y?a=b"}),
        ("files", {"data": DATA}, {"content": b"the picture"}),
        ("files", {"sha256": SHA, "data": None}, {"sha256": SHA}),
        ("files", {"volume_path": "in/x.png"}, {"volume_path": PurePosixPath("in/x.png")}),
        (
            "files",
            {"volume_path": f".comfy-runpod/inputs/{SHA}"},
            {"volume_path": PurePosixPath(f".comfy-runpod/inputs/{SHA}")},
        ),
    ],
)
def test_where_a_file_may_come_from(field: str, item: dict[str, Any], expected: dict[str, Any]) -> None:
    request = parse_request({"workflow": WORKFLOW, field: [{"name": "a.png", **item}]})
    assert request.files == (InputFile(PurePosixPath("a.png"), **expected),)


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ({"url": "http://x/y.png"}, "only https"),
        ({"url": "https://user:pass@x/"}, "user name or password"),
        ({"url": 5}, "no text"),
        ({"url": "https://x/", "data": DATA}, "one of 'data'"),
        ({"data": None}, "one of 'data'"),
        *(({"volume_path": bad}, "file name") for bad in ("../x", "/etc/passwd", "a\\b", "", 5, "x\0")),
        ({"volume_path": ".comfy-runpod/jobs/mine/result.json"}, "not for requests to read"),
        ({"volume_path": ".COMFY-RUNPOD/Jobs/mine/result.json"}, "not for requests to read"),
        ({"volume_path": ".comfy-runpod/results"}, "not for requests to read"),
        *(({"data": DATA, "sha256": bad}, "no SHA-256") for bad in ("0" * 63, "G" * 64, 5, "../" + "0" * 61)),
    ],
)
def test_a_file_that_cannot_be_had_is_refused(item: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request({"workflow": WORKFLOW, "files": [{"name": "a.png", **item}]})
    assert says in caught.value.summary
    assert "pass@" not in caught.value.summary


def test_what_decides_the_result_is_in_the_digest_and_nothing_else() -> None:
    def digest(**fields: Any) -> str:
        return parse_request({"workflow": WORKFLOW, **fields}).digest()

    same = [
        {},
        {"workflow": json.dumps(WORKFLOW)},
        {"timeout": 5},
        {"comfy_org_api_key": KEY},
        {"images": []},
    ]
    assert len({digest(**fields) for fields in same}) == 1
    content = hashlib.sha256(b"the picture").hexdigest()
    image = {"name": "a.png", "image": DATA}
    assert digest(images=[image]) == digest(files=[{"name": "a.png", "sha256": content}])
    other = [
        {},
        {"workflow": {**WORKFLOW, "2": {}}},
        {"images": [image]},
        {"images": [{**image, "name": "b.png"}]},
        {"images": [{**image, "image": "https://x/y"}]},
        {"output": {"mode": "base64"}},
        {"output": {"prefix": "a"}},
        {"extra_pnginfo": {"workflow": {}}},
    ]
    assert len({digest(**fields) for fields in other}) == len(other)


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
            for bad in (
                "x",
                [1],
                {"mode": "s4"},
                {"mode": []},
                {"prefix": "../x"},
                {"prefix": 5},
                {"previews": 1},
            )
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
    def mode(**fields: Any) -> str | None:
        return parse_request({"workflow": WORKFLOW, **fields}).output.mode

    assert mode() is None
    assert mode(return_base64=True) == mode(output={}) == mode(client_job_id="x") == "auto"
    assert mode(return_base64=False) == mode(output={"mode": "volume"}) == "volume"
    assert mode(output={"mode": "base64"}, return_base64=False) == "base64"
    assert mode(output={"mode": "s3"}) == "s3"
    full = parse_request({"workflow": WORKFLOW, "output": {"prefix": "a/b", "previews": True}}).output
    assert (full.mode, str(full.prefix), full.previews) == ("auto", "a/b", True)


FIELDS = (
    *("workflow", "prompt", "images", "reference_images", "files", "output", "timeout", "client_job_id"),
    *("return_base64", "comfy_org_api_key", "api_key_comfy_org", "extra_pnginfo"),
)
TEXTS = ANYTHING | HOSTILE | st.text("Aa0+/=-_ \n")
NAMED = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("name", "image", "data", "url", "volume_path", "sha256"), TEXTS)
)
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
    assert len(request.digest()) == 64


@given(st.binary(max_size=200), st.text("Aa0+/=-_ \n,;:é", max_size=200))
@example(b"", "00+=")
def test_base64_is_what_it_says_or_refused(content: bytes, text: str) -> None:
    def decoded(data: str) -> bytes | None:
        raw = {"workflow": WORKFLOW, "files": [{"name": "a.bin", "data": data}]}
        return parse_request(raw).files[0].content

    encoded = base64.b64encode(content).decode()
    assert decoded(encoded) == decoded(f"data:a/b;base64,{encoded}") == content
    try:
        found = decoded(text)
    except BadRequest as error:
        assert "'a.bin'" in error.summary  # noqa: PT017 - one of two allowed outcomes
        return
    assert found is not None
    plain, again = "".join(text.split()), base64.b64encode(found).decode()
    # Before padding the last letter has bits to spare, which mean nothing and may be any.
    sure = len(again.rstrip("=")) - (1 if again.endswith("=") else 0)
    assert (again[:sure], again.count("=")) == (plain[:sure], plain.count("="))
    assert len(again) == len(plain)
