"""The worker's own look at a workflow and the engine's verdict are one and the same."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.driver import Client
from tests.engines import Engine
from tests.unit.worker.helpers import make_config
from worker.catalogue import Catalogue
from worker.comfyui import ComfyClient
from worker.errors import JobError
from worker.examine import Verdict, problems
from worker.models import Models
from worker.places import Folders
from worker.preflight import Preflight
from worker.questions import Asks, validate

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000"
    "000301010018dd8db00000000049454e44ae426082"
)


def flow(**changes: dict[str, Any] | None) -> dict[str, Any]:
    """A workflow that runs: an input is scaled and saved. ``n<id>`` changes a node's inputs."""
    nodes: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "there.png"}},
        "2": {
            "class_type": "ImageScale",
            "inputs": {
                "image": ["1", 0],
                "upscale_method": "bilinear",
                "width": 8,
                "height": 8,
                "crop": "disabled",
            },
        },
        "3": {
            "class_type": "SaveImage",
            "inputs": {"images": ["2", 0], "filename_prefix": "preflight"},
            "_meta": {"title": "The end"},
        },
    }
    for node_id, inputs in changes.items():
        node = nodes.setdefault(node_id[1:], {"class_type": "EmptyImage", "inputs": {}})
        for name, value in (inputs or {}).items():
            if name == "class_type":
                node[name] = value
            elif value is GONE:
                node["inputs"].pop(name)
            else:
                node["inputs"][name] = value
    return nodes


GONE = object()
SECOND = {"class_type": "PreviewImage", "images": ["1", 0]}
VALID = {
    "plain": flow(),
    "a number as text": flow(n2={"width": "8"}),
    "a wrapped value": flow(n2={"crop": {"__value__": "center"}}),
    "an input in a folder": flow(n1={"image": "sub/inner.png"}),
    "an annotated input": flow(n1={"image": "sub/inner.png [input]"}),
    "an output as input": flow(n1={"image": "made/out.png [output]"}),
    "a slot from behind": flow(n2={"image": ["1", -2]}),
    "an unknown input": flow(n2={"what": ["nowhere", "x"], "else": {}}),
    "an unneeded broken node": flow(n9={"width": "x", "height": ["nowhere", 0]}),
    "an unneeded missing file": flow(n9={"class_type": "LoadImage", "image": "none.png"}),
    "two outputs": flow(n4=SECOND),
}
FAULTY: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "unknown node": (flow(n2={"class_type": "ImageScaleX"}), [("unknown_node", "2", "")]),
    "unknown and not needed": (flow(n9={"class_type": "Nope"}), [("unknown_node", "9", "")]),
    "missing input file": (flow(n1={"image": "their.png"}), [("missing_input_file", "1", "image")]),
    "missing in a folder": (flow(n1={"image": "sub/there.png"}), [("missing_input_file", "1", "image")]),
    "missing output": (flow(n1={"image": "there.png [output]"}), [("missing_input_file", "1", "image")]),
    "missing temp": (flow(n1={"image": "there.png [temp]"}), [("missing_input_file", "1", "image")]),
    "bad option": (flow(n2={"crop": "centre"}), [("bad_option", "2", "crop")]),
    "bad wrapped option": (flow(n2={"crop": {"__value__": "x"}}), [("bad_option", "2", "crop")]),
    "option of another type": (flow(n2={"crop": 1}), [("bad_option", "2", "crop")]),
    "no number": (flow(n2={"width": "wide"}), [("bad_value", "2", "width")]),
    "nothing": (flow(n2={"width": None}), [("bad_value", "2", "width")]),
    "too small": (flow(n2={"width": -1}), [("too_small", "2", "width")]),
    "too large": (flow(n2={"height": 10**9}), [("too_large", "2", "height")]),
    "missing input": (flow(n2={"width": GONE}), [("missing_input", "2", "width")]),
    "missing link": (flow(n3={"images": GONE}), [("missing_input", "3", "images")]),
    "link to nowhere": (flow(n3={"images": ["7", 0]}), [("bad_link", "3", "images")]),
    "link by number": (flow(n3={"images": [2, 0]}), [("bad_link", "3", "images")]),
    "slot out of range": (flow(n3={"images": ["2", 1]}), [("bad_link", "3", "images")]),
    "slot too far back": (flow(n3={"images": ["2", -2]}), [("bad_link", "3", "images")]),
    "slot is no number": (flow(n3={"images": ["2", "0"]}), [("bad_link", "3", "images")]),
    "a list is no link": (flow(n2={"width": [8]}), [("bad_link", "2", "width")]),
    "type mismatch": (flow(n3={"images": ["1", 1]}), [("bad_link", "3", "images")]),
    "link into a choice": (flow(n2={"crop": ["1", 0]}), [("bad_link", "2", "crop")]),
    "cycle": (flow(n2={"image": ["2", 0]}), [("cycle", "2", "")]),
    "missing model": (
        flow(
            n5={"class_type": "CheckpointLoaderSimple", "ckpt_name": "none.safetensors"},
            n6={"class_type": "VAEDecode", "samples": ["7", 0], "vae": ["5", 2]},
            n7={"class_type": "EmptyLatentImage", "width": 64, "height": 64, "batch_size": 1},
            n3={"images": ["6", 0]},
        ),
        [("missing_model", "5", "ckpt_name")],
    ),
    "no outputs": ({"1": flow()["1"]}, [("no_outputs", "", "")]),
    "everything": (
        flow(n1={"image": "none.png"}, n2={"crop": "x", "width": GONE}, n3={"filename_prefix": GONE}),
        [
            ("missing_input_file", "1", "image"),
            ("missing_input", "2", "width"),
            ("bad_option", "2", "crop"),
            ("missing_input", "3", "filename_prefix"),
        ],
    ),
}


class Look:
    """The worker's preflight at an engine."""

    def __init__(self, engine: Engine) -> None:
        self.comfyui = ComfyClient(engine.url)
        self.catalogue = Catalogue()
        self.config = make_config(
            engine.base, input_dir=engine.input, output_dir=engine.output, attach_url=engine.url
        )
        self.preflight = Preflight(self.catalogue, Models(), self.config)
        self.folders = Folders(engine.input, engine.output, self.config.previews_dir)

    async def at(self, workflow: dict[str, Any]) -> Verdict:
        verdict = await self.preflight.verdict(self.comfyui, copy.deepcopy(workflow))
        assert verdict is not None
        return verdict


@pytest.fixture
async def look(engine: Engine) -> AsyncIterator[Look]:
    laid = [
        engine.input / "there.png",
        engine.input / "sub" / "inner.png",
        engine.output / "made" / "out.png",
    ]
    for path in laid:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG)
    look = Look(engine)
    await look.comfyui.system_stats()
    yield look
    await look.comfyui.close()
    # The engine is everybody's: what lies in its folders is in its lists.
    for path in (*laid, engine.input / "later.png", *engine.output.glob("preflight_*")):
        path.unlink(missing_ok=True)
    for path in laid[1:]:
        path.parent.rmdir()


async def refused_by(client: Client, workflow: dict[str, Any]) -> dict[str, Any] | None:
    """The engine's refusal; None when it takes the workflow, which is run to its end."""
    status, answer = await client.json("POST", "/prompt", {"prompt": workflow, "client_id": client.id})
    if status == 200:
        await client.until_node(answer["prompt_id"], None)
        return None
    assert status == 400
    return dict(answer)


@pytest.mark.parametrize("name", VALID)
async def test_what_the_engine_runs_has_no_problem(client: Client, look: Look, name: str) -> None:
    assert await look.at(VALID[name]) == Verdict(False)
    assert await refused_by(client, VALID[name]) is None


@pytest.mark.parametrize("name", FAULTY)
async def test_what_the_engine_refuses_has_problems(client: Client, look: Look, name: str) -> None:
    workflow, expected = FAULTY[name]
    verdict = await look.at(workflow)
    assert verdict.refused
    assert sorted((p.kind, p.node_id, p.input) for p in verdict.problems) == sorted(expected)
    assert all(problem.certain for problem in verdict.problems)
    refusal = await refused_by(client, workflow)
    assert refusal is not None
    # What the engine names we name too: the node, and the input when it says one.
    named = {problem.node_id for problem in verdict.problems}
    if name not in ("link to nowhere", "link by number", "slot out of range", "slot too far back"):
        assert named >= {node for node, entry in refusal["node_errors"].items() if entry["errors"]} - {"3"}


async def test_an_output_that_is_left_out_is_foreseen(client: Client, look: Look) -> None:
    workflow = flow(n4={"class_type": "PreviewImage", "images": ["5", 0]}, n5={"width": "x"})
    verdict = await look.at(workflow)
    assert (verdict.refused, verdict.partial) == (False, True)
    assert {problem.node_id for problem in verdict.problems} == {"5"}
    assert await refused_by(client, workflow) is None
    assert problems(workflow, await look.catalogue.current(look.comfyui), look.folders) == []


async def test_a_file_that_came_later_is_no_problem(client: Client, look: Look, engine: Engine) -> None:
    assert (await look.at(flow(n1={"image": "later.png"}))).refused
    (engine.input / "later.png").write_bytes(PNG)
    assert await look.at(flow(n1={"image": "later.png"})) == Verdict(False)


async def test_an_input_folder_that_we_do_not_see_is_asked_of_the_engine(
    look: Look, engine: Engine, tmp_path: Path
) -> None:
    """Attached to a ComfyUI with other folders than ours, no file is taken for missing that it has."""
    elsewhere = make_config(engine.base, input_dir=tmp_path, output_dir=tmp_path)
    look.preflight = Preflight(look.catalogue, Models(), elsewhere)
    assert await look.at(flow(n1={"image": "sub/inner.png"})) == Verdict(False)
    assert (await look.at(flow(n1={"image": "sub/none.png"}))).refused


async def test_files_that_a_job_brings_are_there(look: Look) -> None:
    use = Asks(look.comfyui, look.catalogue, Models(), look.config)
    workflow = flow(n1={"image": "sub/brought.png [input]"})
    assert (await validate(workflow, ["sub/brought.png"], use, look.preflight))["valid"] is True
    assert (await validate(workflow, ["brought.png"], use, look.preflight))["valid"] is False


async def test_the_engine_s_refusal_is_explained(client: Client, look: Look) -> None:
    workflow, expected = FAULTY["everything"]
    with pytest.raises(JobError) as caught:
        await look.comfyui.submit(workflow, "a", {})
    explained = await look.preflight.explained(look.comfyui, workflow, caught.value)
    assert explained.code == "validation_failed"
    assert len(explained.details["problems"]) == len(expected)
    assert explained.node_errors == caught.value.node_errors


async def test_models_are_listed(look: Look, engine: Engine) -> None:
    models = Models()
    folder = engine.base / "models" / "checkpoints" / "sub"
    folder.mkdir(parents=True, exist_ok=True)
    before = await models.current(look.comfyui)
    (folder / "new.safetensors").write_bytes(b"12345")
    after = await models.current(look.comfyui)
    if engine.name == "real":
        name = str(Path("sub", "new.safetensors"))
        assert after.kinds["checkpoints"][name].size == 5
        assert after.sha256 != before.sha256
        workflow = flow(
            n5={"class_type": "CheckpointLoaderSimple", "ckpt_name": name}, n6={"class_type": "PreviewAny"}
        )
        workflow["6"]["inputs"] = {"source": ["5", 0]}
        assert await look.at(workflow) == Verdict(False)
        near = (
            await look.at(flow(n5={"class_type": "CheckpointLoaderSimple", "ckpt_name": "new.ckpt"}))
        ).problems
        assert near == ()
    (folder / "new.safetensors").unlink()
    assert "custom_nodes" not in after.kinds
