"""Which inputs of a workflow people change, and changing them. Real workflows and hostile ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadInput
from app.workflows import NodeCatalogue
from app.workflows.entered import checked
from app.workflows.tuning import Tunable, changed, known, tunables

REAL = Path(__file__).parents[2] / "data" / "workflows"
SEED = {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}
CATALOGUE = NodeCatalogue(
    {
        name: {"input": {"required": inputs}, "output": []}
        for name, inputs in {
            "KSampler": {
                "model": ["MODEL"],
                "seed": ["INT", SEED],
                "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
                "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}],
                "sampler_name": [["euler", "euler_ancestral", "dpmpp_2m", "uni_pc"]],
                "scheduler": ["COMBO", {"options": ["simple", "karras"]}],
                "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}],
            },
            "CLIPTextEncode": {"text": ["STRING", {"multiline": True}], "clip": ["CLIP"]},
            "CheckpointLoaderSimple": {"ckpt_name": [[]]},
            "LoadImage": {"image": [["a.png", "b.png"], {"image_upload": True}]},
            "LoadImageOutput": {"image": ["COMBO", {"image_upload": True, "image_folder": "output"}]},
            "Mixed": {
                "on": ["BOOLEAN", {"default": True}],
                "two": [[1, 2]],
                "either": [[True, False]],
                "bent": ["INT", {"min": "low", "max": float("inf"), "step": True}],
                "least": ["INT", {"min": -5}],
                "name": ["STRING", {}],
                "shown": ["COLOR", {}],
                "how": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "scale", "inputs": {"required": {"by": ["FLOAT", {"min": 0, "max": 4}]}}},
                            {"key": "crop", "inputs": {"required": {}}},
                        ]
                    },
                ],
            },
            "Wrong": ["no", "inputs"],
        }.items()
    }
)


def real(name: str) -> dict[str, Any]:
    prompt: dict[str, Any] = json.loads((REAL / f"{name}.json").read_text("utf-8"))
    return prompt


def node(kind: str, title: str = "", **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs} | ({"_meta": {"title": title}} if title else {})


def sampled(**nodes: dict[str, Any]) -> dict[str, Any]:
    prompt = {
        "k": node("KSampler", seed=5, steps=20, cfg=7, sampler_name="euler", scheduler="simple", denoise=1,
                  positive=["p", 0], negative=["n", 0], model=["m", 0], latent_image=["e", 0]),
        "p": node("CLIPTextEncode", text="a cat", clip=["m", 1]),
        "n": node("CLIPTextEncode", text="", clip=["m", 1]),
        "m": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
        "e": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "d": node("VAEDecode", samples=["k", 0]),
        "s": node("SaveImage", images=["d", 0], filename_prefix="x"),
    }  # fmt: skip
    return prompt | nodes


def main(prompt: dict[str, Any], catalogue: NodeCatalogue | None = None) -> list[tuple[str, str]]:
    return [(each.label, each.where) for each in tunables(prompt, catalogue) if each.is_main]


def at(prompt: dict[str, Any], where: str, catalogue: NodeCatalogue | None = None) -> Tunable:
    return next(each for each in tunables(prompt, catalogue) if each.where == where)


# -- which there are -------------------------------------------------------------------------------------


def test_the_main_ones_come_first_and_in_their_order() -> None:
    assert main(real("multiple-loras")) == [
        ("Prompt", "6.text"),
        ("Negative prompt", "7.text"),
        ("Model", "4.ckpt_name"),
        ("LoRA", "13.lora_name"),
        ("LoRA strength", "13.strength_model"),
        ("LoRA", "14.lora_name"),
        ("LoRA strength", "14.strength_model"),
        ("Seed", "3.seed"),
        ("Steps", "3.steps"),
        ("CFG", "3.cfg"),
        ("Sampler", "3.sampler_name"),
        ("Scheduler", "3.scheduler"),
        ("Denoise", "3.denoise"),
        ("Width", "5.width"),
        ("Height", "5.height"),
        ("Batch size", "5.batch_size"),
    ]


def test_the_others_follow_in_the_order_of_the_workflow() -> None:
    found = tunables(real("multiple-loras"))
    assert [each.is_main for each in found] == sorted((each.is_main for each in found), reverse=True)
    assert [(each.label, each.where) for each in found if not each.is_main] == [
        ("filename_prefix", "9.filename_prefix"),
        ("vae_name", "11.vae_name"),
        ("strength_clip", "13.strength_clip"),
        ("strength_clip", "14.strength_clip"),
    ]


@pytest.mark.parametrize(
    ("name", "label", "wheres"),
    [
        ("flux-custom-sampler", "Prompt", ["6.text"]),
        ("flux-custom-sampler", "Negative prompt", []),
        ("flux-custom-sampler", "Model", ["12.unet_name"]),
        ("flux-custom-sampler", "Seed", ["25.noise_seed"]),
        ("flux-custom-sampler", "Steps", ["17.steps"]),
        ("flux-custom-sampler", "Scheduler", ["17.scheduler"]),
        ("flux-custom-sampler", "Denoise", ["17.denoise"]),
        ("flux-custom-sampler", "Sampler", ["16.sampler_name"]),
        ("flux-custom-sampler", "Width", ["27.width"]),
        ("merged-models", "Model", ["4.ckpt_name", "11.ckpt_name"]),
        ("sdxl-two-texts", "Prompt", ["16.text_g"]),
        ("sdxl-two-texts", "Prompt (text_l)", ["16.text_l"]),
        ("sdxl-refiner", "Seed", ["10.noise_seed"]),
        ("latent-upscale", "Seed", ["3.seed"]),
        ("latent-upscale", "Seed (KSampler)", ["14.seed"]),
        ("latent-upscale", "Steps", ["3.steps"]),
        ("wan-vace", "Width", ["55.width"]),
        ("wan-vace", "Negative prompt", ["7.text"]),
        ("wan-vace", "Picture", ["52.image"]),
        ("controlnet-canny", "Prompt", ["6.text"]),
        ("controlnet-canny", "Picture", ["12.image"]),
    ],
)
def test_main_ones_of_real_workflows(name: str, label: str, wheres: list[str]) -> None:
    assert [where for found, where in main(real(name)) if found == label] == wheres


def test_a_catalogue_changes_no_label_and_no_place() -> None:
    for path in REAL.glob("*.json"):
        prompt = json.loads(path.read_text("utf-8"))
        with_it, without = tunables(prompt, CATALOGUE), tunables(prompt)
        assert [(e.label, e.where, e.value) for e in with_it] == [
            (e.label, e.where, e.value) for e in without
        ]


def test_a_refiner_that_adds_no_noise_has_no_seed_to_look_for() -> None:
    assert not at(real("sdxl-refiner"), "11.noise_seed").is_main


def test_the_title_is_the_nodes_own() -> None:
    assert at(real("sdxl-refiner"), "10.cfg").title == "KSampler (Advanced) - BASE"
    assert at(sampled(), "k.cfg").title == "KSampler"


def test_values_behind_links_are_found_where_they_are_written() -> None:
    prompt = sampled(
        k2=node("KSampler", "Refine", seed=["seed", 0], positive=["p", 0], latent_image=["k", 0]),
        p=node("CLIPTextEncode", text=["j", 0], clip=["m", 1]),
        j=node("StringConcatenate", string_a=["v", 0], string_b="dog", delimiter=", "),
        v=node("PrimitiveStringMultiline", value="a cat"),
        seed=node("Seed (rgthree)", seed=9),
        w=node("PrimitiveInt", value=["w2", 0]),
        w2=node("INTConstant", number=640),
        pick=node("Sampler Picker", sampler_name="dpmpp_2m", extra=1),
    )
    prompt["k"]["inputs"] |= {"seed": ["seed", 0], "sampler_name": ["pick", 0]}
    prompt["e"]["inputs"]["width"] = ["w", 0]
    prompt["d"]["inputs"]["samples"] = ["k2", 0]
    found = main(prompt)
    for expected in [
        ("Prompt", "v.value"),
        ("Prompt (StringConcatenate)", "j.string_b"),
        ("Seed", "seed.seed"),
        ("Sampler", "pick.sampler_name"),
        ("Width", "w2.number"),
    ]:
        assert expected in found
    assert len([label for label, _ in found if label.startswith("Seed")]) == 1


def test_what_is_computed_cannot_be_tuned() -> None:
    prompt = sampled(p=node("CLIPTextEncode", text=["o", 0], clip=["m", 1]), o=node("Oracle", ask="write"))
    prompt["k"]["inputs"]["seed"] = ["sum", 0]
    prompt["e"]["inputs"] |= {"width": ["sum", 0], "height": [1, 2, 3], "batch_size": {"a": 1}}
    prompt["sum"] = node("Math", value="a * 2", a=["k", 0])
    labels = {label for label, _ in main(prompt)}
    assert not labels & {"Prompt", "Seed", "Width", "Height", "Batch size"}
    assert {each.where for each in tunables(prompt)} >= {"o.ask", "sum.value"}


def test_an_empty_prompt_can_be_filled() -> None:
    assert at(sampled(), "n.text").label == "Negative prompt"


def test_a_service_has_all_in_one_node() -> None:
    prompt = {"1": node("Dalle", prompt="a cat", model="dall-e-3", seed=0, n=1)}
    prompt["2"] = node("SaveImage", images=["1", 0])
    assert main(prompt) == [("Prompt", "1.prompt"), ("Model", "1.model"), ("Seed", "1.seed")]


def test_a_guider_has_the_cfg_and_a_picture_the_size() -> None:
    prompt = {
        "s": node("SaveImage", images=["d", 0]),
        "d": node("VAEDecode", samples=["k", 0]),
        "k": node("SamplerCustomAdvanced", guider=["g", 0], noise=["r", 0], latent_image=["v", 0]),
        "g": node("CFGGuider", cfg=3.5, positive=["p", 0], negative=["p", 0], model=["l", 0]),
        "p": node("CLIPTextEncode", text="a", clip=["l", 1]),
        "r": node("RandomNoise", noise_seed=3),
        "l": node("Loader", lora_name="x.safetensors", strength_model=1, model=["u", 0]),
        "u": node("UNETLoader", unet_name="flux.safetensors"),
        "v": node("VAEEncode", pixels=["i", 0]),
        "i": node("ImageScale", width=640, height=0, image=["load", 0]),
        "load": node("LoadImage", image="fox.png"),
        "other": node("LoadImage", image="unused.png"),
    }
    assert main(prompt) == [
        ("Prompt", "p.text"),
        ("Model", "u.unet_name"),
        ("LoRA", "l.lora_name"),
        ("LoRA strength", "l.strength_model"),
        ("Seed", "r.noise_seed"),
        ("CFG", "g.cfg"),
        ("Width", "i.width"),
        ("Height", "i.height"),
        ("Picture", "load.image"),
    ]
    assert at(prompt, "other.image").kind == "picture"


# -- what they may hold ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "kind", "limits", "choices"),
    [
        ("k.seed", "whole", (0, 2**64 - 1, None), None),
        ("k.steps", "whole", (1, 10000, None), None),
        ("k.cfg", "number", (0, 100, 0.1), None),
        ("k.sampler_name", "choice", (None, None, None), ("euler", "euler_ancestral", "dpmpp_2m", "uni_pc")),
        ("k.scheduler", "choice", (None, None, None), ("simple", "karras")),
        ("p.text", "lines", (None, None, None), None),
        ("m.ckpt_name", "choice", (None, None, None), None),
        ("l.image", "picture", (None, None, None), ("a.png", "b.png")),
        ("o.image", "choice", (None, None, None), None),
        ("x.on", "switch", (None, None, None), None),
        ("x.two", "choice", (None, None, None), (1, 2)),
        ("x.either", "choice", (None, None, None), (True, False)),
        ("x.bent", "whole", (None, None, None), None),
        ("x.least", "whole", (-5, None, None), None),
        ("x.name", "text", (None, None, None), None),
        ("x.shown", "text", (None, None, None), None),
        ("x.how", "choice", (None, None, None), ("scale", "crop")),
        ("x.how.by", "number", (0, 4, None), None),
        ("x.extra", "number", (None, None, None), None),
    ],
)
def test_a_catalogue_says_what_an_input_may_hold(
    where: str, kind: str, limits: tuple[float | None, ...], choices: tuple[Any, ...] | None
) -> None:
    mixed = {"on": True, "two": 1, "either": True, "bent": 1, "least": 1, "name": "a", "shown": "#fff"}
    prompt = sampled(
        l=node("LoadImage", image="a.png"),
        o=node("LoadImageOutput", image="a.png [output]"),
        x=node("Mixed", **mixed, how="scale", **{"how.by": 1}, extra=0.5),
        w=node("Wrong", a=1),
    )
    found = at(prompt, where, CATALOGUE)
    assert found.kind == kind
    assert (found.minimum, found.maximum, found.step) == limits
    assert found.choices == choices


def test_a_compact_catalogue_says_the_same() -> None:
    raw = {"A": {"input": {"required": {"n": ["INT", {"min": 1, "max": 2**64 - 1, "step": 2}]}}}}
    prompt = {"1": node("A", n=3)}
    assert tunables(prompt, NodeCatalogue.from_json(json.dumps(raw))) == tunables(prompt, NodeCatalogue(raw))
    assert tunables(prompt, NodeCatalogue(raw))[0].maximum == 2**64 - 1


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        ("k.seed", "whole"),
        ("k.cfg", "number"),
        ("k.denoise", "number"),
        ("k.sampler_name", "choice"),
        ("p.text", "lines"),
        ("m.ckpt_name", "choice"),
        ("s.filename_prefix", "text"),
        ("x.on", "switch"),
        ("x.strength", "number"),
        ("x.count", "whole"),
        ("x.note", "lines"),
        ("l.image", "picture"),
        ("o.image", "text"),
        ("c.base_image", "picture"),
        ("q.base_image", "text"),
    ],
)
def test_without_one_the_value_says_it(where: str, kind: str) -> None:
    prompt = sampled(
        x=node("Mine", on=False, strength=1, count=2, note="a\nb"),
        l=node("LoadImage", image=""),
        o=node("LoadImageOutput", image="a.png [output]"),
        c=node("MyLoader", base_image="sub/fox.PNG [input]"),
        q=node("MyLoader", base_image="/somewhere/fox.png"),
    )
    found = at(prompt, where)
    assert (found.kind, found.choices, found.minimum) == (kind, None, None)


def test_what_a_catalogue_knows_of_one_input() -> None:
    prompt = sampled()
    prompt["k"]["inputs"]["steps"] = ["p", 0]
    linked = known(prompt, ("k", "steps"), CATALOGUE)
    assert linked is not None
    assert (linked.kind, linked.minimum, linked.label) == ("whole", 1, "steps")
    assert known(prompt, ("e", "width"), CATALOGUE) is None
    assert known(prompt, ("k", "steps"), None) is None


# -- what a person wrote ---------------------------------------------------------------------------------


def a(kind: Any, value: Any = "", **more: Any) -> Tunable:
    return Tunable("1", "x", "Node", "Node", "Steps", kind, value, **more)


@pytest.mark.parametrize(
    ("tunable", "given", "held"),
    [
        (a("whole"), " 12 ", 12),
        (a("whole"), 12.0, 12),
        (a("whole"), "1e3", 1000),
        (a("whole", maximum=2**64 - 1), str(2**64 - 1), 2**64 - 1),
        (a("number"), "6.50", 6.5),
        (a("number"), ".5", 0.5),
        (a("number"), 7.0, 7),
        (a("number"), "-0.1", -0.1),
        (a("switch"), "off", False),
        (a("switch"), True, True),
        (a("switch"), 1, True),
        (a("text"), 12, "12"),
        (a("lines"), "a\nb", "a\nb"),
        (a("choice", choices=("a", "b")), "b", "b"),
        (a("choice", choices=(1, 2)), "2", 2),
        (a("choice", choices=(False, True)), "true", True),
        (a("choice", choices=(0, 1)), True, None),
        (a("choice", "old", choices=("a",)), "old", "old"),
        (a("choice"), "anything", "anything"),
        (a("picture", choices=("a.png",)), "new.png", "new.png"),
    ],
)
def test_a_value_is_taken_as_its_input_holds_it(tunable: Tunable, given: Any, held: Any) -> None:
    if held is None:
        with pytest.raises(BadInput):
            checked(tunable, given)
        return
    found = checked(tunable, given)
    assert found == held
    assert type(found) is type(held)


RANGE: dict[str, Any] = {"minimum": 1, "maximum": 10000}


@pytest.mark.parametrize(
    ("tunable", "given", "sentence"),
    [
        (a("whole", **RANGE), 0, "Steps must be from 1 to 10000."),
        (a("whole", **RANGE), "10001", "Steps must be from 1 to 10000."),
        (a("number", minimum=0.0, maximum=0.5), "0.51", "Steps must be from 0 to 0.5."),
        (a("whole", minimum=1), "-3", "Steps must be 1 or more."),
        (a("whole", maximum=2**64 - 1), 2**64, "Steps must be 18446744073709551615 or less."),
        (a("whole"), "1.5", "Steps must be a whole number."),
        (a("whole"), "", "Steps must be a whole number."),
        (a("whole"), True, "Steps must be a whole number."),
        (a("whole"), "9" * 5000, "Steps must be a whole number."),
        (a("number"), "1,5", "Steps must be a number."),
        (a("number"), "nan", "Steps must be a number."),
        (a("number"), float("inf"), "Steps must be a number."),
        (a("number"), "1e999", "Steps is too large."),
        (a("switch"), "maybe", "Steps must be on or off."),
        (a("choice", choices=("euler", "uni_pc")), "eular",
         "Steps cannot be 'eular'; the closest choice is 'euler'."),
        (a("choice", choices=("euler", "uni_pc")), "x" * 99,
         f"Steps cannot be '{'x' * 59}…'; it can be euler, uni_pc."),
        (a("choice", choices=tuple("abcdefg")), "zz",
         "Steps cannot be 'zz'; it can be a, b, c, d, e and 2 more."),
        (a("picture"), " ", "Steps must be the name of a file."),
    ],
)  # fmt: skip
def test_what_it_cannot_hold_is_refused_in_one_sentence(tunable: Tunable, given: Any, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        checked(tunable, given)
    assert caught.value.sentence == sentence


def test_a_long_list_is_compared_soon() -> None:
    many = tuple(f"styles/some rather long name of a file number {n}.safetensors" for n in range(10_000))
    with pytest.raises(BadInput, match="closest"):
        checked(a("choice", choices=many), "styles/some rather long name of a file number.safetensors")


# -- changing them ---------------------------------------------------------------------------------------


def test_only_what_is_named_changes() -> None:
    prompt = real("multiple-loras")
    before = copy.deepcopy(prompt)
    after = changed(prompt, {("3", "seed"): 65, ("6", "text"): "a fox"})
    assert prompt == before
    expected = copy.deepcopy(before)
    expected["3"]["inputs"]["seed"], expected["6"]["inputs"]["text"] = 65, "a fox"
    assert after == expected
    after["7"]["inputs"]["text"] = "mine"
    assert prompt == before


def test_a_value_takes_the_place_of_a_link() -> None:
    assert changed(sampled(), {("k", "positive"): 1})["k"]["inputs"]["positive"] == 1


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (("99", "seed"), "no node '99'"),
        (("3", "sed"), "Node '3' has no input 'sed'"),
        (("x", "a"), "no node 'x'"),
    ],
)
def test_what_is_not_there_cannot_be_changed(place: tuple[str, str], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        changed(real("multiple-loras") | {"x": []}, {place: 1})


# -- hostile shapes --------------------------------------------------------------------------------------

KINDS = [
    "KSampler", "SamplerCustomAdvanced", "SaveImage", "LoadImage", "EmptyLatentImage", "PrimitiveString",
    "CLIPTextEncode", "StringConcatenate", "LoraLoader", "CFGGuider", "Mixed", "Wrong", "VAEEncode",
]  # fmt: skip
KEYS = [
    "images", "samples", "latent_image", "model", "positive", "negative", "text", "clip", "seed", "noise",
    "sigmas", "sampler", "guider", "width", "height", "batch_size", "lora_name", "value", "string_a", "image",
    "steps", "cfg", "conditioning", "ckpt_name", "pixels", "how", "how.by", "two", "bent", "add_noise",
]  # fmt: skip
IDS = ["1", "2", "3", "4", "5"]
LINK = st.tuples(st.sampled_from(IDS), st.integers(-1, 2)).map(list)
SCALARS = (
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
)
ANY = st.recursive(
    st.none() | SCALARS | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)
INPUTS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), LINK | ANY, max_size=8)
NODES = st.fixed_dictionaries(
    {"class_type": st.sampled_from(KINDS), "inputs": INPUTS},
    optional={"_meta": ANY | st.just({"title": "T"})},
)
PROMPTS = st.dictionaries(st.sampled_from(IDS), NODES | NODES | ANY, max_size=5)


@settings(max_examples=50)
@given(prompt=PROMPTS | ANY, catalogue=st.sampled_from([None, CATALOGUE]))
def test_nothing_makes_it_raise(prompt: Any, catalogue: NodeCatalogue | None) -> None:
    found = tunables(prompt, catalogue)
    assert len({each.place for each in found}) == len(found)
    for each in found:
        held = prompt[each.node_id]["inputs"][each.input]
        assert each.value is held
        assert isinstance(held, str | int | float)
        assert each.label


@settings(max_examples=25)
@given(prompt=st.dictionaries(st.sampled_from(IDS), NODES, min_size=1), data=st.data())
def test_a_change_alters_nothing_else(prompt: dict[str, Any], data: st.DataObject) -> None:
    found = tunables(prompt)
    if not found:
        return
    chosen = data.draw(st.dictionaries(st.sampled_from([each.place for each in found]), SCALARS, max_size=3))
    before = json.dumps(prompt)
    after = changed(prompt, chosen)
    assert json.dumps(prompt) == before
    for at_node, key in chosen:
        assert after[at_node]["inputs"][key] == chosen[at_node, key]
        after[at_node]["inputs"][key] = prompt[at_node]["inputs"][key]
    assert json.dumps(after) == before


@given(
    kind=st.sampled_from(["text", "lines", "whole", "number", "choice", "switch", "picture"]),
    given_value=SCALARS | st.floats() | st.text() | st.from_regex(r"[+-]?[0-9.e]{1,8}", fullmatch=True),
    limits=st.tuples(*[st.none() | st.integers() | st.floats(-1e9, 1e9)] * 2),
    choices=st.none() | st.lists(SCALARS, max_size=3).map(tuple),
)
def test_a_value_is_good_for_ever_or_refused(kind: Any, given_value: Any, limits: Any, choices: Any) -> None:
    tunable = a(kind, minimum=limits[0], maximum=limits[1], choices=choices)
    try:
        held = checked(tunable, given_value)
    except BadInput:
        return
    assert checked(tunable, held) == held
    if kind in ("whole", "number"):
        assert limits[0] is None or held >= limits[0]
        assert limits[1] is None or held <= limits[1]


def test_huge_shapes_end_soon() -> None:
    size = 6_000
    long = {str(n): node("LatentUpscaleBy", samples=[str(n + 1), 0], scale_by=2) for n in range(size)}
    texts = {str(n): node("Text", **{k: [str(n + 1), 0] for k in ("text", "value")}) for n in range(size)}
    many = {str(n): node("KSampler", seed=n, positive=["t", 0], model=["0", 0]) for n in range(size)}
    wide = {str(n): node("X", **{f"a{m}": m for m in range(300)}) for n in range(300)}
    ring = {"0": node("Text", text=["0", 0], value=["0", 0], model=["0", 0], latent_image=["0", 0])}
    for prompt in (long, texts, many, wide, ring):
        prompt = {
            "s": node("SaveImage", images=["k", 0]),
            "k": node("KSampler", positive=["t", 0], latent_image=["0", 0], model=["0", 0], steps=["0", 0]),
            "t": node("CLIPTextEncode", text=["0", 0], conditioning=["0", 0], clip=["0", 0]),
            **prompt,
        }
        tunables(prompt, CATALOGUE)
