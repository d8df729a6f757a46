"""What a workflow will make, and what a person wants to know of it. Real workflows and hostile ones."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.parameters import Expected, Parameter, expected, parameters

REAL = Path(__file__).parents[2] / "data" / "workflows"


def real(name: str) -> dict[str, Any]:
    prompt: dict[str, Any] = json.loads((REAL / f"{name}.json").read_text("utf-8"))
    return prompt


def shown(prompt: dict[str, Any]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for row in parameters(prompt):
        rows.setdefault(row.label, []).append(row.value)
    return rows


def test_all_rows_in_their_order() -> None:
    assert parameters(real("multiple-loras")) == (
        Parameter("Prompt", "ghibli style cartoon anime closeup detailed princess zelda in the forest"),
        Parameter("Negative prompt", "blurry, rendering, messy, horror"),
        Parameter("Model", "dreamshaper_8.safetensors"),
        Parameter("LoRA", "ghibli_style_offset · 0.9"),
        Parameter("LoRA", "more_details · 0.75"),
        Parameter("Seed", "64"),
        Parameter("Sampler", "dpmpp_2m · karras · 20 steps"),
        Parameter("Size", "512 × 512"),
    )


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("sdxl-refiner", "Model", ["sd_xl_base_1.0.safetensors"]),
        ("sdxl-refiner", "Seed", ["721897303308196"]),
        ("sdxl-refiner", "Sampler", ["euler · normal · 25 steps"]),
        ("sdxl-refiner", "Negative prompt", ["text, watermark"]),
        ("flux-custom-sampler", "Model", ["flux1-dev.safetensors"]),
        ("flux-custom-sampler", "Seed", ["219670278747233"]),
        ("flux-custom-sampler", "Sampler", ["euler · simple · 20 steps"]),
        ("flux-custom-sampler", "Size", ["1024 × 1024"]),
        ("merged-models", "Model", ["v1-5-pruned-emaonly.ckpt + cardosAnime_v10.safetensors"]),
        ("merged-models", "LoRA", ["theovercomer8sContrastFix_sd15 · 1"]),
        ("controlnet-canny", "Negative prompt", ["blurry, illustration, horror, rendering, cosplay"]),
        ("latent-upscale", "Size", ["768 × 768"]),
    ],
)
def test_of_a_real_workflow(name: str, label: str, values: list[str]) -> None:
    assert shown(real(name))[label] == values


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("flux-custom-sampler", "cute anime girl"),
        ("hunyuan-video", "anime style anime girl"),
        ("stable-cascade", "evening sunset scenery"),
        ("wan-vace", "a cute anime girl"),
        ("controlnet-canny", "a portrait photo"),
        ("latent-upscale", "1950 professional"),
    ],
)
def test_the_prompt_is_found_behind_other_nodes(name: str, start: str) -> None:
    assert shown(real(name))["Prompt"][0].startswith(start)


def test_a_flux_workflow_has_no_negative_prompt() -> None:
    assert "Negative prompt" not in shown(real("flux-custom-sampler"))


def test_an_encoder_with_two_texts_shows_both_once() -> None:
    prompt = shown(real("sdxl-two-texts"))["Prompt"][0].split("\n")
    assert len(prompt) == len(set(prompt)) == 2


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("multiple-loras", Expected("image", 1, 512, 512)),
        ("merged-models", Expected("image", 4, 512, 512)),
        ("latent-upscale", Expected("image", 1, 768, 768)),
        ("stable-cascade", Expected("image", 1, 1024, 1024)),
        ("hunyuan-video", Expected("animation", 1, 848, 480)),
        ("wan-vace", Expected("file", 2, 768, 768)),
        ("audio", Expected("audio", 1)),
    ],
)
def test_what_a_real_workflow_makes(name: str, result: Expected) -> None:
    assert expected(real(name)) == result


# -- what is made ---------------------------------------------------------------------------------------


def chain(*nodes: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Each node's ``<`` is a link to the one before."""
    return {
        str(n): {
            "class_type": kind,
            "inputs": {k: [str(n - 1), 0] if v == "<" else v for k, v in ins.items()},
        }
        for n, (kind, ins) in enumerate(nodes)
    }


EMPTY = ("EmptyImage", {"width": 64, "height": 32, "batch_size": 3})
SAVE = ("SaveImage", {"images": "<"})
SIDES = ["left", "top", "right", "bottom"]


@pytest.mark.parametrize(
    ("between", "result"),
    [
        ([], (3, 64, 32)),
        ([("ImageInvert", {"image": "<"})], (3, 64, 32)),
        ([("ImageScale", {"image": "<", "width": 128, "height": 0})], (3, 128, 64)),
        ([("ImageScale", {"image": "<", "width": 0, "height": 0})], (3, 64, 32)),
        ([("ImageScaleBy", {"image": "<", "scale_by": 1.5})], (3, 96, 48)),
        ([("ImageScaleToTotalPixels", {"image": "<", "megapixels": 0.001953125})], (3, 64, 32)),
        ([("ImagePadForOutpaint", {"image": "<", **dict.fromkeys(SIDES, 4)})], (3, 72, 40)),
        ([("ImageUpscaleWithModel", {"image": "<"})], (3, None, None)),
        ([("ImageUpscaleWithModel", {"image": "<"}), ("ImageScale", {"image": "<", "width": 9, "height": 8})],
         (3, 9, 8)),
        ([("RepeatImageBatch", {"image": "<", "amount": 2})], (6, 64, 32)),
        ([("ImageFromBatch", {"image": "<", "length": 2})], (2, 64, 32)),
        ([("ImageBatch", {"image1": "<", "image2": ["0", 0]})], (6, 64, 32)),
        ([("SomethingNew", {"image": "<"})], (None, None, None)),
        ([("RepeatImageBatch", {"image": "<", "amount": 10**9})], (None, 64, 32)),
    ],
)  # fmt: skip
def test_number_and_size_are_followed(
    between: list[tuple[str, dict[str, Any]]], result: tuple[int | None, ...]
) -> None:
    assert expected(chain(EMPTY, *between, SAVE)) == Expected("image", *result)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        (("SaveAnimatedPNG", {"images": "<"}), "animation"),
        (("SaveWEBM", {"images": "<"}), "video"),
        (("VHS_VideoCombine", {"images": "<", "format": "video/h264-mp4", "save_output": True}), "video"),
        (("VHS_VideoCombine", {"images": "<", "format": "image/gif", "save_output": True}), "animation"),
        (("MyVideoSaver", {"images": "<", "filename_prefix": "x"}), "video"),
    ],
)
def test_many_pictures_become_one_film(node: tuple[str, dict[str, Any]], kind: str) -> None:
    assert expected(chain(EMPTY, node)) == Expected(kind, 1, 64, 32)


def test_several_outputs_add_up_and_previews_do_not_count() -> None:
    prompt = chain(EMPTY, SAVE)
    prompt["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["0", 0]}}
    prompt["3"] = {"class_type": "PreviewAny", "inputs": {"source": ["0", 0]}}
    assert expected(prompt) == Expected("image", 3, 64, 32)
    prompt["4"] = {"class_type": "SaveImage", "inputs": {"images": ["5", 0]}}
    prompt["5"] = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1}}
    assert expected(prompt) == Expected("image", 4, None, None)
    prompt["6"] = {"class_type": "SaveAudio", "inputs": {"audio": ["7", 0]}}
    assert expected(prompt) == Expected("file", None, None, None)


def test_a_preview_alone_counts_and_so_does_a_text() -> None:
    assert expected(chain(EMPTY, ("PreviewImage", {"images": "<"}))) == Expected("image", 3, 64, 32)
    assert expected(chain(("PreviewAny", {"source": "a"}))) == Expected("text", 1)
    assert expected(chain(EMPTY)) is None
    assert expected({}) is None


def test_numbers_come_from_primitives_too() -> None:
    prompt = chain(("PrimitiveInt", {"value": 7}), ("EmptyImage", {"width": "<", "height": 8}), SAVE)
    assert expected(prompt) == Expected("image", 1, 7, 8)


@pytest.mark.parametrize("wanted", [Expected("image", 4, 8, 9), Expected("audio"), Expected("of later", 1)])
def test_it_is_stored_and_read_again(wanted: Expected) -> None:
    assert Expected.from_json(json.loads(json.dumps(wanted.to_json()))) == wanted


@pytest.mark.parametrize("raw", [None, [], "image", {}, {"kind": 5}])
def test_what_is_none_is_read_as_none(raw: Any) -> None:
    assert Expected.from_json(raw) is None


def test_a_bent_number_is_not_known() -> None:
    raw = {"kind": "image", "count": True, "width": "8", "height": -1, "more": 1}
    assert Expected.from_json(raw) == Expected("image")


# -- single cases of parameters -------------------------------------------------------------------------


def sampled(**nodes: dict[str, Any]) -> dict[str, Any]:
    prompt = {
        "k": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 1, "sampler_name": "euler",
              "scheduler": "simple", "positive": ["p", 0], "negative": ["n", 0], "model": ["m", 0]}},
        "d": {"class_type": "VAEDecode", "inputs": {"samples": ["k", 0]}},
        "s": {"class_type": "SaveImage", "inputs": {"images": ["d", 0]}},
    }  # fmt: skip
    return prompt | nodes


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def test_both_sides_pass_through_one_node() -> None:
    prompt = sampled(
        p=node("ControlNetApplyAdvanced", positive=["a", 0], negative=["b", 0]),
        n=node("Unused"),
        a=node("CLIPTextEncode", text="good", clip=["m", 1]),
        b=node("CLIPTextEncode", text="bad", clip=["m", 1]),
    )
    prompt["k"]["inputs"]["negative"] = ["p", 1]
    assert shown(prompt)["Prompt"] == ["good"]
    assert shown(prompt)["Negative prompt"] == ["bad"]
    assert shown(prompt)["Sampler"] == ["euler · simple · 1 step"]


def test_a_text_is_joined_from_nodes_that_hold_texts() -> None:
    prompt = sampled(
        p=node("CLIPTextEncode", text=["j", 0], clip=["m", 1]),
        j=node("StringConcatenate", string_a=["v", 0], string_b="dog", delimiter=", "),
        v=node("PrimitiveString", value="a cat"),
        n=node("ConditioningZeroOut", conditioning=["p", 0]),
    )
    assert shown(prompt)["Prompt"] == ["a cat, dog"]
    assert "Negative prompt" not in shown(prompt)


def test_what_a_language_model_writes_is_left_out() -> None:
    prompt = sampled(
        p=node("CLIPTextEncode", text=["j", 0], clip=["m", 1]), j=node("AskTheOracle", prompt="write one")
    )
    assert "Prompt" not in shown(prompt)


def test_loras_of_a_stack() -> None:
    one = {"on": True, "lora": "styles/a.safetensors", "strength": 0.5}
    off = {"on": False, "lora": "b.safetensors", "strength": 1}
    prompt = sampled(
        m=node("Power Lora Loader", lora_1=one, lora_2=off, lora_3={"lora": 5}, model=["c", 0]),
        c=node("UNETLoader", unet_name="flux.safetensors"),
    )
    assert shown(prompt)["LoRA"] == ["styles/a · 0.5"]
    assert shown(prompt)["Model"] == ["flux.safetensors"]


def test_a_service_has_all_in_one_node() -> None:
    prompt = chain(("Dalle", {"prompt": "a cat", "model": "dall-e-3", "seed": 0}), SAVE)
    assert shown(prompt) == {"Prompt": ["a cat"], "Model": ["dall-e-3"], "Seed": ["0"]}


# -- hostile shapes -------------------------------------------------------------------------------------

KINDS = [
    "KSampler", "SamplerCustomAdvanced", "SaveImage", "PreviewImage", "EmptyLatentImage", "ImageScale",
    "LatentUpscaleBy", "CLIPTextEncode", "StringConcatenate", "LoraLoader", "BasicGuider", "ImageBatch",
]  # fmt: skip
KEYS = [
    "images", "samples", "latent_image", "model", "model1", "positive", "negative", "text", "clip", "seed",
    "noise", "sigmas", "sampler", "guider", "width", "height", "batch_size", "lora_name", "value", "string_a",
    "image", "image1", "image2", "scale_by", "steps", "conditioning", "filename_prefix", "ckpt_name",
]  # fmt: skip
IDS = ["1", "2", "3", "4", "5"]
LINK = st.tuples(st.sampled_from(IDS), st.integers(-1, 2)).map(list)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYS, "lora", "on"]), inner, max_size=3)
    ),
    max_leaves=5,
)
INPUTS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), LINK | LINK | ANY, max_size=8)
NODES = st.fixed_dictionaries({"class_type": st.sampled_from(KINDS), "inputs": INPUTS})
PROMPTS = st.dictionaries(st.sampled_from(IDS), NODES | NODES | ANY, max_size=5)


@settings(deadline=1000)
@given(prompt=PROMPTS | ANY)
def test_nothing_makes_it_raise(prompt: Any) -> None:
    found = expected(prompt)
    assert found is None or Expected.from_json(found.to_json()) == found
    for row in parameters(prompt):
        assert row.label
        assert row.value


def test_huge_shapes_end_soon() -> None:
    size = 20_000
    long = {str(n): node("LatentUpscaleBy", samples=[str(n + 1), 0], scale_by=2) for n in range(size)}
    texts = {str(n): node("Text", **{k: [str(n + 1), 0] for k in ("text", "value")}) for n in range(size)}
    dense = {str(n): node("X", **{f"cond{m}": [str(m), 0] for m in range(300)}) for n in range(300)}
    ring = {"0": node("Text", text=["0", 0]), "1": node("KSampler", latent_image=["1", 0], positive=["1", 0])}
    started = time.monotonic()
    for prompt in (long, texts, dense, ring):
        prompt = {
            "s": node("SaveImage", images=["k", 0]),
            "k": node("KSampler", positive=["t", 0], latent_image=["0", 0], model=["0", 0], steps=["0", 0]),
            "t": node("CLIPTextEncode", text=["0", 0], conditioning=["0", 0], clip=["0", 0]),
            **prompt,
        }
        assert expected(prompt) == Expected("image")
        parameters(prompt)
    assert time.monotonic() - started < 20
