"""The look at a workflow before ComfyUI gets it: all problems at once, and none that is not there."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.examine import Verdict, examined, problems
from worker.object_info import ObjectInfo, entries, parsed
from worker.places import Folders, annotated
from worker.problems import MOST_PROBLEMS, Problem, closest, refusal_of

MODELS = ["sd/xl.safetensors", "Dream_8.safetensors", "dream-9.ckpt"]
CUSTOM = {"python_module": "custom_nodes.pack", "output": ["IMAGE"], "output_node": False}
DESCRIBED: dict[str, Any] = {
    "Load": {
        "input": {"required": {"ckpt_name": [MODELS, {"tooltip": "x"}]}},
        "output": ["MODEL", "CLIP", "VAE"],
        "output_node": False,
        "python_module": "nodes",
        "display_name": "Load Checkpoint",
    },
    "LoadImage": {
        "input": {"required": {"image": [["a.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
        "output_node": False,
        "python_module": "nodes",
    },
    "Save": {
        "input": {"required": {"images": ["IMAGE"]}, "optional": {"prefix": ["STRING", {}]}},
        "output": [],
        "output_node": True,
        "python_module": "nodes",
    },
    "New": {
        "input": {
            "required": {
                "mode": ["COMBO", {"options": ["a", "b"], "multiselect": False}],
                "many": ["COMBO", {"options": ["a"], "multiselect": True}],
                "far": ["COMBO", {"remote": {"route": "/x"}}],
                "grows": ["COMFY_AUTOGROW_V3", {"template": {}}],
                "image": ["COMFY_MATCHTYPE_V3", {}],
            },
            "optional": {"flag": [[True, False], {}], "number": [[1, 2, 3], {}]},
        },
        "output": ["COMFY_MATCHTYPE_V3", ["a", "b"]],
        "output_node": False,
        "python_module": "comfy_extras.nodes_new",
    },
    "Custom": {
        **CUSTOM,
        "input": {
            "required": {"video": [["v.mp4"], {"video_upload": True}], "style": [["x", "y"], {}]},
            "optional": {"gguf": [["flux-Q4.gguf"], {}], "any": ["*"], "size": ["INT", {"max": 5}]},
        },
        "input_order": None,
    },
}
NEW = (0, 9, 0)


def info(version: tuple[int, ...] = (0, 3, 64), **more: Any) -> ObjectInfo:
    return parsed(json.dumps(DESCRIBED | more), version=version)


def save(node_id: str = "1", slot: int = 0) -> dict[str, Any]:
    return {"class_type": "Save", "inputs": {"images": [node_id, slot]}}


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def look(workflow: Any, tmp_path: Path = Path("/nowhere"), **more: Any) -> Verdict:
    return examined(workflow, more.pop("info", info()), Folders(tmp_path), **more)


def of(first: dict[str, Any], **more: Any) -> Verdict:
    """The verdict on one node whose output is saved."""
    return look({"1": first, "2": save()}, **more)


NEW_NODE: dict[str, Any] = {"mode": "a", "many": {"__value__": ["z"]}, "far": "w", "image": ["3", 0]}


def new(**inputs: Any) -> Verdict:
    nodes = {"1": node("New", **{**NEW_NODE, **inputs}), "2": save(), "3": node("LoadImage", image="a.png")}
    return look(nodes, info=info(NEW))


def test_a_missing_model_says_where_it_belongs_and_what_is_there() -> None:
    loader = node("Load", ckpt_name="dream_8.safetensors") | {"_meta": {"title": "My model"}}
    models = {"checkpoints": MODELS, "loras": ["a/dream_8.safetensors"]}
    nodes = {"1": loader, "2": save("3"), "3": {"class_type": "Custom", "inputs": {"any": ["1", 0]}}}
    nodes["3"]["inputs"] |= {"video": "v.mp4", "style": "x"}
    (problem,) = look(nodes, models=models).problems
    assert (problem.kind, problem.node_id, problem.class_type) == ("missing_model", "1", "Load")
    assert (problem.title, problem.input, problem.wanted) == ("My model", "ckpt_name", "dream_8.safetensors")
    assert (problem.folder, problem.closest[0]) == ("models/checkpoints", "Dream_8.safetensors")
    assert problem.text == (
        "Node 1 (Load, 'My model'), input 'ckpt_name': the model 'dream_8.safetensors' is not in "
        "models/checkpoints, but it is in models/loras."
    )
    assert json.loads(json.dumps(problem.to_json()))["closest"] == list(problem.closest)


@pytest.mark.parametrize(
    ("wanted", "first"),
    [
        ("xl.safetensors", "sd/xl.safetensors"),
        ("SD\\XL.safetensors", "sd/xl.safetensors"),
        ("other/Dream-9.safetensors", "dream-9.ckpt"),
        ("drem_8.safetensors", "Dream_8.safetensors"),
    ],
)
def test_the_closest_model_is_the_same_one_elsewhere(wanted: str, first: str) -> None:
    assert closest(wanted, MODELS)[0] == first


def test_lists_of_both_styles_are_checked_as_comfyui_checks_them() -> None:
    assert new() == Verdict(False)
    assert [p.kind for p in new(mode="z").problems] == ["bad_option"]
    assert new(mode="z").refused
    # Before 0.6 ComfyUI does not look at new-style lists.
    old = {"1": node("New", **{**NEW_NODE, "mode": "z"}), "2": save(), "3": node("LoadImage", image="a.png")}
    assert (look(old).refused, [p.certain for p in look(old).problems]) == (False, [False])
    assert new(flag=True, number=2) == Verdict(False)
    # True is 1, as it is for ComfyUI.
    assert new(flag=1, number=2.0) == Verdict(False)
    assert [p.input for p in new(flag="true", number=4).problems] == ["flag", "number"]
    assert new(mode=["3", 0]).refused
    assert new(**{"grows.a": ["3", 0]}) == Verdict(False)
    assert [p.input for p in new(image=["3", 7]).problems] == ["image"]


def test_of_custom_nodes_a_choice_is_only_suspected() -> None:
    found = of(node("Custom", video="none.mp4", style="z", gguf="flux-q4.gguf", size=9))
    assert not found.refused
    kinds = {p.input: (p.kind, p.certain) for p in found.problems}
    assert kinds == {
        "style": ("bad_option", False),
        "gguf": ("missing_model", False),
        "size": ("too_large", False),
    }
    assert (
        problems({"1": node("Custom", video="none.mp4", style="z"), "2": save()}, info(), Folders(Path("/x")))
        == []
    )
    certain = of(node("Custom", video="v.mp4", size="large"))
    assert [(p.kind, p.input) for p in certain.problems] == [
        ("missing_input", "style"),
        ("bad_value", "size"),
    ]
    assert certain.refused


def test_files_are_looked_for_on_the_disk(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.png").write_bytes(b"x")
    for there in (
        "sub/b.png",
        "sub/b.png [input]",
        "../x.png",
        "/etc/none",
        "C:\\x.png",
        "blake3:" + "0" * 64,
    ):
        assert of(node("LoadImage", image=there), tmp_path=tmp_path) == Verdict(False), there
    # Where it cannot be told, nothing is missing.
    assert of(node("LoadImage", image="none.png [temp]"), tmp_path=tmp_path) == Verdict(False)
    assert of(node("LoadImage", image="none.png"), tmp_path=tmp_path / "nowhere") == Verdict(False)
    for value in (5, None, {"x": 1}):
        assert of(node("LoadImage", image=value), tmp_path=tmp_path) == Verdict(False)
    (problem,) = of(node("LoadImage", image="B.png"), tmp_path=tmp_path).problems
    assert (problem.kind, problem.folder, problem.certain) == ("missing_input_file", "input", True)
    assert annotated("x.png [output]") == ("x.png", "output")


def test_a_link_that_would_end_comfyui_s_working_is_refused() -> None:
    """ComfyUI takes links of inputs it does not know unseen, and its worker dies of one to nowhere."""
    good = {"3": node("LoadImage", image="a.png"), "4": save("3")}
    unseen = node("LoadImage", image="a.png", unknown=["nowhere", 0])
    assert look({"1": unseen, "2": save(), **good}).refused
    behind = node("LoadImage", image="a.png", unknown=["1", 0])
    assert look({"1": unseen, "5": behind, "6": save("5")}).refused
    assert look({"1": unseen, **good}) == Verdict(False)
    assert look({"1": node("LoadImage", image="a.png", unknown=["nowhere", "x"]), "2": save()}) == Verdict(
        False
    )


def test_a_type_that_comfyui_may_know_is_no_reason() -> None:
    nodes = {"1": node("Replaced", x=1), "2": save()}
    assert look(nodes).refused
    elusive = parsed(json.dumps(DESCRIBED), elusive=["Replaced"])
    assert not look(nodes, info=elusive).refused


def test_unknown_nodes_do_not_hide_the_rest() -> None:
    nodes = {
        "1": node("Load", ckpt_name="none.safetensors"),
        "2": node("SaveVideoo", images=["1", 0]),
        "3": {"inputs": {}},
    }
    found = look(nodes)
    assert [(p.kind, p.node_id) for p in found.problems] == [
        ("unknown_node", "2"),
        ("unknown_node", "3"),
        ("missing_model", "1"),
    ]
    assert "Save" in closest("Saveimage", info().nodes) or closest("Saveimage", info().nodes) == ()


def test_the_failure_is_one_sentence_with_all_problems() -> None:
    found = look({"1": node("Load", ckpt_name="none.safetensors"), "2": save(), "3": save("9")})
    error = refusal_of(found.problems, node_errors={"1": {}})
    assert error.code == "validation_failed"
    assert error.summary.endswith("(and 2 more problems).")
    assert error.summary.count(". ") == 0
    assert "models/checkpoints" in error.hint
    assert error.node == {"id": "1", "class_type": "Load", "input": "ckpt_name"}
    assert len(error.details["problems"]) == 3
    one = refusal_of([Problem("no_outputs", "Nothing.")])
    assert (one.summary, one.node, one.node_errors) == ("Nothing.", None, None)
    many = refusal_of([Problem("bad_node", "x.", "1")] * 250)
    assert (len(many.details["problems"]), many.details["not_listed"]) == (MOST_PROBLEMS, 150)


def test_a_chain_without_end_is_looked_at_quickly() -> None:
    """Deeper than Python's own stack, and with every node used twice."""
    nodes = {
        str(n): node("New", **{**NEW_NODE, "image": [str(n + 1), 0]}, **{"grows.a": [str(n + 1), 0]})
        for n in range(5000)
    }
    nodes |= {"5000": node("LoadImage", image="a.png"), "s": save("0")}
    began = time.monotonic()
    assert look(nodes, info=info(NEW)) == Verdict(False)
    nodes["4999"]["inputs"]["image"] = ["5", 0]
    assert [p.kind for p in look(nodes, info=info(NEW)).problems] == ["cycle"]
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{1:2}", "nothing", '{"a" 1}', "{,}"],
)
def test_a_broken_description_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parsed(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=4))
def test_entries_are_those_of_the_json(value: dict[str, Any]) -> None:
    for indent in (None, 2):
        text = f" {json.dumps(value, indent=indent)}\n"
        assert repr(dict(entries(text))) == repr(json.loads(text))


IDS = st.sampled_from(["1", "2", "3", "4", "", "a\nb"])
VALUES = (
    JSON
    | st.tuples(IDS | st.integers(0, 3), JSON | st.integers(-3, 3)).map(list)
    | st.sampled_from([*MODELS, "a.png", "a", "../x [temp]", {"__value__": [1, 2]}, "\0"])
)
NODES = st.fixed_dictionaries(
    {},
    optional={
        "class_type": st.sampled_from([*DESCRIBED, "Nope"]) | JSON,
        "inputs": st.dictionaries(
            st.sampled_from(
                ["image", "mode", "many", "style", "images", "ckpt_name", "size", "grows.a", "any"]
            ),
            VALUES,
        )
        | JSON,
        "_meta": st.fixed_dictionaries({"title": JSON}) | JSON,
    },
)


@settings(max_examples=80)
@given(st.dictionaries(IDS, NODES | JSON, max_size=5), st.sampled_from([(), NEW]))
def test_no_workflow_breaks_the_look(workflow: dict[str, Any], version: tuple[int, ...]) -> None:
    verdict = examined(workflow, info(version), Folders(Path("/nowhere")), {"checkpoints": MODELS})
    assert verdict.problems or not (verdict.refused or verdict.partial)
    for problem in verdict.problems:
        json.dumps(problem.to_json())
        assert problem.text.endswith(".")
        assert "\n" not in problem.text
    if verdict.problems:
        refusal_of(verdict.problems)


@settings(max_examples=80)
@given(
    st.dictionaries(
        st.sampled_from(["Save", "A"]), JSON | st.fixed_dictionaries({"input": JSON, "output": JSON})
    )
)
def test_no_description_breaks_the_look(described: dict[str, Any]) -> None:
    known = parsed(json.dumps(described))
    examined({"1": save(), "2": node("A", x=1)}, known, Folders(Path("/nowhere")))
