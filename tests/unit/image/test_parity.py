from __future__ import annotations

import copy
from typing import Any

from app.docker.model import HistoryLine
from app.image.layers import reports, sizes_in
from app.image.model import Parity
from app.image.parity import compare_nodes, compare_packages

LOADER: dict[str, Any] = {
    "input": {"required": {"ckpt_name": [["a.safetensors", "b.ckpt"], {"default": "a.safetensors"}]}},
    "output": ["MODEL"],
    "output_node": False,
    "python_module": "nodes",
}
SAMPLER: dict[str, Any] = {
    "input": {
        "required": {
            "steps": ["INT", {"default": 20, "min": 1, "max": 10000, "tooltip": "how often"}],
            "sampler": [["euler", "dpm"]],
            "new": ["COMBO", {"options": ["a", "b"], "default": "a"}],
        },
        "optional": {"model": ["MODEL"]},
    },
    "output": ["LATENT"],
    "output_node": False,
    "python_module": "custom_nodes.Pack",
}
LOCAL = {"Loader": LOADER, "Sampler": SAMPLER}


def changed(path: list[Any], value: Any) -> dict[str, Any]:
    image = copy.deepcopy(LOCAL)
    place: Any = image
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return image


def test_the_same_nodes_are_the_same() -> None:
    report = compare_nodes(copy.deepcopy(LOCAL), LOCAL)
    assert [(line.name, line.parity) for line in report.packs] == [
        ("ComfyUI", Parity.SAME), ("Pack", Parity.SAME)
    ]  # fmt: skip
    assert (report.same_types, report.node_types, report.to_json()["same"]) == (2, 2, True)


def test_what_lies_in_folders_and_what_is_only_told_does_not_count() -> None:
    for path, value in (
        (["Loader", "input", "required", "ckpt_name"], [[], {}]),
        (["Loader", "input", "required", "ckpt_name"], [["other.safetensors"], {"default": "o.safetensors"}]),
        (["Sampler", "input", "required", "steps", 1, "tooltip"], "another"),
        (["Sampler", "description"], "another"),
    ):
        assert compare_nodes(changed(path, value), LOCAL).differing == 0


def test_what_changes_how_a_workflow_runs_counts() -> None:
    for path, value, note in (
        (["Sampler", "input", "required", "steps", 1, "max"], 100, "another input steps"),
        (["Sampler", "input", "required", "steps", 1, "default"], 30, "another input steps"),
        (["Sampler", "input", "required", "sampler"], [["euler"]], "another input sampler"),
        (["Sampler", "input", "required", "new", 1, "options"], ["a"], "another input new"),
        (["Sampler", "input", "required", "more"], ["INT"], "input more in the image only"),
        (["Sampler", "input", "optional"], {}, "input model in the local ComfyUI only"),
        (["Sampler", "output"], ["IMAGE"], "other outputs"),
    ):
        report = compare_nodes(changed(path, value), LOCAL)
        (line,) = [each for each in report.packs if each.parity is not Parity.SAME]
        assert (line.name, line.parity) == ("Pack", Parity.DIFFERS)
        assert note in line.note
        assert not report.to_json()["same"]


def test_a_pack_that_is_in_one_place_only() -> None:
    here = compare_nodes({"Loader": LOADER}, LOCAL).packs[1]
    assert (here.parity, here.image, here.local) == (Parity.LOCAL_ONLY, "0 node types", "1 node types")
    there = compare_nodes(LOCAL, {"Loader": LOADER}).packs[1]
    assert there.parity is Parity.IMAGE_ONLY


def test_packages_are_held_against_this_computer_and_the_lock() -> None:
    image = {"torch": "2.8.0", "numpy": "2.1", "aiohttp": "3.0"}
    local = {"torch": "2.8.0+cu128", "numpy": "2.2"}
    locked = {"torch": "2.8.0", "numpy": "2.1", "aiohttp": "3.1", "scipy": "1.0"}
    lines = {line.name: line for line in compare_packages(image, local, locked)}
    assert {name: line.parity for name, line in lines.items()} == {
        "torch": Parity.SAME, "numpy": Parity.DIFFERS, "aiohttp": Parity.IMAGE_ONLY,
        "scipy": Parity.IMAGE_ONLY,
    }  # fmt: skip
    assert lines["aiohttp"].note == "the lock says 3.1"
    assert lines["numpy"].note == ""


def test_layers_are_named_and_looked_into() -> None:
    lines = [
        HistoryLine("/bin/sh -c #(nop) ADD file:1 in /", 80_000_000, None),
        HistoryLine("RUN |1 apt-get install --yes git", 50_000_000, None),
        HistoryLine("ARG TORCH_INDEX=", 0, None),
        HistoryLine("RUN uv pip install --requirements /tmp/torch.lock", 4_000_000_000, None),
        HistoryLine("RUN uv pip install --requirements /tmp/comfyui.lock", 500_000_000, None),
        HistoryLine("COPY custom_nodes /comfyui/custom_nodes", 9_000_000, None),
        HistoryLine("COPY worker /opt/comfy-runpod/worker", 400_000, None),
    ]
    site = "/opt/comfyui/lib/python3.12/site-packages"
    sizes = sizes_in([
        f"2000\t{site}/nvidia", f"1000\t{site}/torch", f"300\t{site}/scipy", f"9\t{site}/torchsde",
        "700\t/comfyui/custom_nodes/Pack", "800\t/comfyui/custom_nodes", "no size",
    ])  # fmt: skip
    found = {each.title: each for each in reports(lines, sizes)}
    assert list(found) == [
        "Base image", "System packages", "PyTorch", "Packages of ComfyUI and its nodes", "Custom nodes",
        "The worker",
    ]  # fmt: skip
    assert found["PyTorch"].contents == (("nvidia", 2_048_000), ("torch", 1_024_000))
    assert found["Packages of ComfyUI and its nodes"].contents == (("scipy", 307_200), ("torchsde", 9_216))
    assert found["Custom nodes"].contents == (("Pack", 716_800),)
