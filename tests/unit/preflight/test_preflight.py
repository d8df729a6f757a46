"""What a workflow lacks at a place, told from what is known for free; what is not known is not missing."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from app.errors import BadInput
from app.files import resource
from app.jobs.carriers.base import Carrier
from app.jobs.carriers.commands import Commands
from app.jobs.carriers.folder import LocalFolder
from app.preflight.catalogue import Catalogue, Source, catalogue_of, shipped
from app.preflight.judging import Here, Place, judged, packs_named
from app.preflight.sources import CATALOGUES, MODELS, Sources
from app.s3.pace import Pace
from app.settings import Settings
from app.workflows.convert import convert
from tests.unit.workflows.cases import bare, copied, load

ENDPOINT = "abcd1234"
NODES: Mapping[str, Any] = json.loads(gzip.decompress(resource("nodes.json.gz").read_bytes()))["nodes"]
FLOW: dict[str, Any] = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl/base.safetensors"}},
    "5": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
    "6": {"class_type": "VAEEncode", "inputs": {"pixels": ["5", 0], "vae": ["4", 2]}},
    "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "a"}},
}
FILES = {"photo.png": Path("photo.png")}


def catalogue(source: Source = Source.KEPT, **more: Any) -> Catalogue:
    return catalogue_of(json.dumps({**NODES, **more}).encode(), source, "the worker", version="0.3.64")


def at(known: Catalogue | None = None, **models: set[str]) -> Place:
    listing = {kind: frozenset(names) for kind, names in models.items()} if models else None
    return Place(ENDPOINT, "comfy-prod", known, listing)


def test_what_is_there_is_ready() -> None:
    report = judged(FLOW, at(catalogue(), checkpoints={"sdxl/base.safetensors"}), Here(), files=FILES)
    assert (report.is_ready, report.lacks, report.unchecked) == (True, (), ())
    assert report.headline == ""


def test_what_is_not_known_is_not_checked_and_never_missing() -> None:
    strange = {**FLOW, "8": {"class_type": "Strange", "inputs": {}}}
    report = judged(strange, at(), Here(), files=FILES)
    assert (report.is_ready, report.unchecked) == (True, ("nodes", "models"))
    # The nodes are known, the volume cannot be listed.
    report = judged(FLOW, at(catalogue()), Here(), files=FILES)
    assert (report.is_ready, report.unchecked) == (True, ("models",))


def test_a_model_that_the_volume_lacks_is_named_with_the_file_on_this_computer(tmp_path: Path) -> None:
    there = tmp_path / "checkpoints" / "sdxl" / "base.safetensors"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"x" * 2_000_000)
    place = at(catalogue(), checkpoints={"sdxl/base_1.0.safetensors"})
    (lack,) = judged(FLOW, place, Here(models_dirs=(tmp_path / "none", tmp_path)), files=FILES).lacks
    assert (lack.kind, lack.name, lack.folder) == ("model", "sdxl/base.safetensors", "checkpoints")
    assert (lack.here, lack.size, lack.node_id) == (there, 2_000_000, "4")
    assert lack.closest == ("sdxl/base_1.0.safetensors",)
    assert lack.text.startswith("The volume of comfy-prod has no sdxl/base.safetensors in checkpoints.")
    assert lack.text.endswith("It is on this computer, 2 MB.")


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/hostname.safetensors", "a\x00.ckpt"])
def test_a_models_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "secret.safetensors").write_bytes(b"")
    flow = {**FLOW, "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}}}
    here = Here(models_dirs=(tmp_path / "models",))
    (lack,) = judged(flow, at(catalogue(), checkpoints={"x.safetensors"}), here, files=FILES).lacks
    assert (lack.kind, lack.here) == ("model", None)


def test_a_node_type_is_named_with_what_brings_it() -> None:
    custom = {"python_module": "custom_nodes.ComfyUI-Impact-Pack.nodes", "input": {}, "output": ["IMAGE"]}
    here = Here(catalogue(FaceDetailer=custom))
    flow = {**FLOW, "8": {"class_type": "FaceDetailer", "inputs": {}}}
    place = at(catalogue(), checkpoints={"sdxl/base.safetensors"})
    report = judged(flow, place, here, files=FILES)
    (lack,) = report.lacks
    assert (lack.kind, lack.name, lack.pack) == ("node", "FaceDetailer", "ComfyUI-Impact-Pack")
    assert lack.text == (
        "The image of comfy-prod has no node type FaceDetailer (from ComfyUI-Impact-Pack). "
        "It is installed on this computer."
    )
    assert report.headline == "1 node type missing"
    ui = {"nodes": [{"type": "FaceDetailer", "properties": {"cnr_id": "comfyui-impact-pack"}}]}
    (lack,) = judged(flow, place, Here(), files=FILES, ui=ui).lacks
    assert lack.pack == "comfyui-impact-pack"


@pytest.mark.parametrize("ui", [{}, {"nodes": 3}, {"nodes": [None, {"properties": 1}]}, {"definitions": []}])
def test_a_spoilt_browsers_form_names_no_packs(ui: dict[str, Any]) -> None:
    assert packs_named(ui) == {}


def test_an_input_that_does_not_travel_is_missing() -> None:
    place = at(catalogue(), checkpoints={"sdxl/base.safetensors"})
    (lack,) = judged(FLOW, place, Here(), files={}).lacks
    assert (lack.kind, lack.name, lack.node_id, lack.input) == ("input", "photo.png", "5", "image")
    marked = {**FLOW, "5": {"class_type": "LoadImage", "inputs": {"image": "photo.png [input]"}}}
    assert judged(marked, place, Here(), files=FILES).is_ready
    made = {**FLOW, "5": {"class_type": "LoadImage", "inputs": {"image": "photo.png [output]"}}}
    assert not judged(made, place, Here(), files={}).is_ready
    # What lies in its own folders ComfyUI knows best, and asking it costs nothing here.
    assert judged(made, replace(place, target="local"), Here(), files={}).is_ready


def test_values_are_judged_by_the_places_own_nodes_only() -> None:
    flow = {
        **FLOW,
        "1": {"class_type": "EmptyLatentImage", "inputs": {"width": 7, "height": 8, "batch_size": 1}},
    }
    flow["7"] = {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0], "vae": ["4", 2]}}
    assert judged(flow, at(), Here(), files=FILES).lacks == ()
    known = catalogue(EmptyLatentImage={**NODES["EmptyLatentImage"], "python_module": "nodes"})
    lacks = judged(flow, at(known, checkpoints={"sdxl/base.safetensors"}), Here(), files=FILES).lacks
    assert [(lack.kind, lack.input) for lack in lacks] == [("value", "width"), ("value", "height")]


def test_the_shipped_nodes_convert_as_the_frontend_does() -> None:
    cases = [case for case in copied() if case.accepted]
    good = [
        c for c in cases if bare(convert(load(c.ui), shipped().nodes).prompt) == bare(load(c.accepted[0]))
    ]
    assert cases
    # Without the files of one computer the first of a list is not known, and with the clock names differ.
    assert len(good) >= 0.9 * len(cases), sorted({c.name for c in cases} - {c.name for c in good})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\x1f\x8b broken", b"\xff"])
def test_what_is_no_list_of_nodes_is_refused(content: bytes) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        catalogue_of(content, Source.KEPT, "the worker")


# -- where it comes from --------------------------------------------------------------------------------


def sources(tmp_path: Path, carrier: Carrier) -> Sources:
    settings = Settings(data_dir=tmp_path / "data", output_dir=tmp_path)

    async def stopped() -> None:
        return None

    return Sources(
        lambda: settings, local_url=stopped, carrier=lambda _: carrier, name=lambda key: f"<{key}>"
    )


async def test_a_volume_tells_nodes_and_models_and_they_are_kept(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    for number, name in enumerate(("old", "new")):
        file = volume / CATALOGUES / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"KSampler": NODES["KSampler"], name: {"input": {}, "output": []}}))
        os.utime(file, (1000 + number, 1000 + number))
    model = volume / MODELS / "checkpoints" / "sdxl" / "base.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"")
    place = await sources(tmp_path, LocalFolder(volume)).place(ENDPOINT)
    assert place.catalogue is not None
    assert "new" in place.catalogue.nodes
    assert "old" not in place.catalogue.nodes
    assert place.models == {"checkpoints": {"sdxl/base.safetensors"}}
    # When the volume cannot be read any more, the nodes are still known; the models are not.

    async def nobody() -> Any:
        raise AssertionError("a worker was asked, which is billed")

    later = await sources(tmp_path, Commands(ENDPOINT, nobody)).place(ENDPOINT)
    assert later.catalogue is not None
    assert "new" in later.catalogue.nodes
    assert later.models is None


async def test_without_any_source_the_shipped_nodes_convert(tmp_path: Path) -> None:
    async def nobody() -> Any:
        raise AssertionError("a worker was asked, which is billed")

    asked = sources(tmp_path, Commands(ENDPOINT, nobody))
    assert (await asked.place(ENDPOINT)).catalogue is None
    assert await asked.converting(ENDPOINT) == [shipped()]
    demo = await asked.place("demo")
    assert demo.catalogue is not None
    assert "SaveImage" in demo.catalogue.nodes


def test_a_model_that_is_here_says_how_long_it_takes_to_send(tmp_path: Path) -> None:
    (tmp_path / "models" / "checkpoints").mkdir(parents=True)
    with (tmp_path / "models" / "checkpoints" / "base.safetensors").open("wb") as file:
        file.truncate(600_000_000)
    flow = {
        **FLOW,
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
    }
    here = Here(models_dirs=(tmp_path / "models",), pace=5_000_000.0)
    (lack,) = judged(flow, at(catalogue(), checkpoints={"other.safetensors"}), here, files=FILES).lacks
    assert lack.text.endswith("It is on this computer, 600 MB, about 2 min to send.")


def test_the_pace_is_that_of_the_last_large_file(tmp_path: Path) -> None:
    pace = Pace(tmp_path)
    assert pace.last() is None
    pace.note(10, 0.001)
    assert pace.last() is None
    pace.note(50_000_000, 10)
    assert Pace(tmp_path).last() == 5_000_000
    (tmp_path / "upload-pace.json").write_text('{"bytes_per_s": "fast"}', "utf-8")
    assert pace.last() is None


async def test_a_comfyui_that_has_just_started_is_seen_at_once(tmp_path: Path) -> None:
    async def object_info(_request: web.Request) -> web.Response:
        return web.json_response(NODES)

    async def stats(_request: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "0.3.64"}})

    app = web.Application()
    app.add_routes([web.get("/object_info", object_info), web.get("/system_stats", stats)])
    made = Settings(data_dir=tmp_path / "data", output_dir=tmp_path)
    url: list[str | None] = [None]

    async def local_url() -> str | None:
        return url[0]

    async with TestServer(app) as server:
        known = Sources(
            lambda: made, local_url=local_url, carrier=lambda _: LocalFolder(tmp_path), name=lambda key: key
        )
        assert (await known.place("local")).catalogue is None
        url[0] = str(server.make_url("")).rstrip("/")
        own = (await known.place("local")).catalogue
        assert own is not None
        assert own.about == "ComfyUI 0.3.64 on this computer"
        # Kept for when it is stopped again.
        url[0] = None
        known.forget()
        kept = (await known.place("local")).catalogue
        assert kept is not None
        assert kept.about.endswith("as last seen")
