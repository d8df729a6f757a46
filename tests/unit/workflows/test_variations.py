"""Many jobs from one workflow: ranges, lists, seeds, prompts and pictures."""

from __future__ import annotations

import copy
import json
import os
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadInput
from app.workflows import NodeCatalogue
from app.workflows.tuning import changed
from app.workflows.variations import Axis, axis, pictures, prompt_lines, seeds, variations

REAL = Path(__file__).parents[2] / "data" / "workflows"
CATALOGUE = NodeCatalogue(
    {
        "KSampler": {
            "input": {
                "required": {
                    "steps": ["INT", {"min": 1, "max": 100}],
                    "cfg": ["FLOAT", {"min": 0, "max": 30}],
                    "sampler_name": [["euler", "dpmpp_2m"]],
                }
            }
        },
        "MyLoader": {"input": {"required": {"portrait": [["a.png"], {"image_upload": True}]}}},
    }
)


def real(name: str) -> dict[str, Any]:
    prompt: dict[str, Any] = json.loads((REAL / f"{name}.json").read_text("utf-8"))
    return prompt


LORAS = real("multiple-loras")


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


# -- one axis --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1..4", [1, 2, 3, 4]),
        ("4..1", [4, 3, 2, 1]),
        ("4..1:-2", [4, 2]),
        ("1..2:0.25", [1, 1.25, 1.5, 1.75, 2]),
        ("0..0.3:.1", [0, 0.1, 0.2, 0.3]),
        ("0.3..0:-0.1", [0.3, 0.2, 0.1, 0]),
        ("-1..1", [-1, 0, 1]),
        ("0.5..2", [0.5, 1.5]),
        ("5..5", [5]),
        (" 1..2 ", [1, 2]),
        ("18446744073709551614..18446744073709551615", [2**64 - 2, 2**64 - 1]),
        ("7", [7]),
        ("7,6.5, 1e1", [7, 6.5, 10.0]),
        ("true,false", [True, False]),
        ("null,NaN,[1],1e999", ["null", "NaN", "[1]", "1e999"]),
        ('a, "b, c" ,d', ["a", "b, c", "d"]),
        (r'"say \"hi\"","C:\models\x"', ['say "hi"', r"C:\models\x"]),
        ('"a" b,"c', ['"a" b', '"c']),
        ("1,", [1, ""]),
        ("1...5:-.25", [1, 0.75, 0.5]),
    ],
)
def test_values_are_written_as_a_range_or_a_list(text: str, values: list[Any]) -> None:
    found = axis(LORAS, f"3.cfg={text}")
    assert list(found.values) == values
    assert [type(one) for one in found.values] == [type(one) for one in values]
    assert (found.places, found.label) == ((("3", "cfg"),), "cfg")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1..3", ("1", "2", "3")),
        ("0..1:0.5", ("0", "0.5", "1")),
        ("12,true", ("12", "true")),
        ("a=b", ("a=b",)),
    ],
)
def test_an_input_that_holds_a_text_gets_texts(text: str, values: tuple[str, ...]) -> None:
    assert axis(LORAS, f"6.text={text}").values == values


@pytest.mark.parametrize("where", ["3.steps", "KSampler.steps"])
def test_a_node_has_an_id_or_a_name(where: str) -> None:
    assert axis(LORAS, f"{where}=1,2").places == (("3", "steps"),)


def test_a_catalogue_says_which_values_are_good() -> None:
    assert axis(LORAS, '3.steps="8",12.0', CATALOGUE).values == (8, 12)
    assert axis(LORAS, "3.cfg=6,6.5", CATALOGUE).values == (6, 6.5)
    assert axis(LORAS, "3.seed=-1", CATALOGUE).values == (-1,)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "'nonsense' is not of the form NODE.INPUT=VALUES."),
        ("3=1..2", "'3=1..2' is not of the form NODE.INPUT=VALUES."),
        ("99.seed=1", "The workflow has no node '99'."),
        ("3.sed=1", "Node '3' has no input 'sed'."),
        ("Load LoRA.lora_name=a", "2 nodes are called 'Load LoRA'."),
        ("3.cfg= ", "'3.cfg= ' names no values."),
        ("3.cfg=1..2:0", "The step of 1..2:0 is 0."),
        ("3.cfg=2..1:1", "The step of 2..1:1 leads away from its end."),
        ("3.cfg=1..2:-1", "The step of 1..2:-1 leads away from its end."),
        ("3.cfg=0..1:0.0001", "0..1:0.0001 makes 10001 values; the most is 1000."),
        ("3.cfg=" + ",".join("1" * 1001), "3.cfg has more than 1000 values."),
        ("3.steps=99..101", "steps must be from 1 to 100."),
        ("3.steps=1,,2", "steps must be a whole number."),
        ("3.sampler_name=euler,oiler", "sampler_name cannot be 'oiler'; the closest choice is 'euler'."),
    ],
)
def test_what_is_no_axis_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        axis(LORAS, text, CATALOGUE)
    assert str(caught.value) == sentence


NUMBERS = st.decimals(-1000, 1000, places=3)


@given(start=NUMBERS, step=st.decimals("0.001", 50, places=3), count=st.integers(0, 999))
def test_a_range_has_both_ends_and_no_noise(start: Decimal, step: Decimal, count: int) -> None:
    for signed in (step, -step):
        end = start + signed * count
        if start == end and signed < 0:
            continue
        values = axis(LORAS, f"3.cfg={start}..{end}:{signed}").values
        assert [Decimal(str(one)) for one in values] == [start + signed * n for n in range(count + 1)]


@given(text=st.text() | st.text('0123456789.,:-+"\\ ab').map("3.cfg=".__add__))
def test_any_text_is_an_axis_or_refused(text: str) -> None:
    try:
        values = axis(LORAS, text, CATALOGUE).values
    except BadInput:
        return
    assert 1 <= len(values) <= 1000


@given(prompt=st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["1", "class_type", "inputs", "seed", "image"]), inner, max_size=3)
        | st.fixed_dictionaries({"class_type": st.sampled_from(["KSampler", "LoadImage"]), "inputs": inner})
    ),
    max_leaves=6,
))  # fmt: skip
@settings(max_examples=50)
def test_any_workflow_is_varied_or_refused(prompt: Any) -> None:
    for make in (
        lambda: axis(prompt, "1.seed=1..2"),
        lambda: seeds(prompt, 2),
        lambda: prompt_lines(prompt, REAL / "README.md"),
        lambda: pictures(prompt, REAL),
    ):
        try:
            made = make()
        except BadInput:
            continue
        assert len(variations(prompt, [made])) == len(made.values)


# -- all together ----------------------------------------------------------------------------------------


def test_the_first_axis_changes_last() -> None:
    before = copy.deepcopy(LORAS)
    made = variations(LORAS, [axis(LORAS, "3.seed=42,43"), axis(LORAS, "3.cfg=6,6.5")])
    assert [each.label for each in made] == [
        "seed 42 · cfg 6",
        "seed 42 · cfg 6.5",
        "seed 43 · cfg 6",
        "seed 43 · cfg 6.5",
    ]
    assert made[3].prompt == changed(LORAS, {("3", "seed"): 43, ("3", "cfg"): 6.5})
    made[0].prompt["3"]["inputs"]["steps"] = 99
    assert made[1].prompt["3"]["inputs"]["steps"] == before["3"]["inputs"]["steps"]
    assert before == LORAS


def test_without_an_axis_there_is_one_unchanged() -> None:
    (only,) = variations(LORAS, [])
    assert (only.prompt, only.label, only.files) == (LORAS, "", {})


def test_a_label_is_short_and_on_one_line() -> None:
    long = Axis((("6", "text"),), "prompt", ("a\n  fox " * 50,))
    label = variations(LORAS, [long, Axis((), "tiling", (True,))])[0].label
    assert label.startswith("prompt a fox a fox")
    assert label.endswith("… · tiling on")
    assert len(label) < 100


def test_too_many_are_counted_and_refused() -> None:
    axes = [axis(LORAS, "3.seed=1..1000"), axis(LORAS, "3.steps=1..1000"), axis(LORAS, "3.cfg=1..1000")]
    with pytest.raises(BadInput, match="That makes 1000000000 jobs; the most is 1000"):
        variations(LORAS, axes)
    with pytest.raises(BadInput, match="That makes 3 jobs; the most is 2"):
        variations(LORAS, [axis(LORAS, "3.seed=1..3")], most=2)


def test_one_input_cannot_vary_twice() -> None:
    with pytest.raises(BadInput, match=r"3\.seed is changed twice"):
        variations(LORAS, [axis(LORAS, "3.seed=1,2"), seeds(LORAS, 2)])


KEYS = ["seed", "steps", "cfg", "denoise"]


@settings(deadline=None, max_examples=25)
@given(counts=st.lists(st.integers(1, 4), max_size=4))
def test_every_combination_is_made_once(counts: list[int]) -> None:
    axes = [axis(LORAS, f"3.{key}=1..{count}") for key, count in zip(KEYS, counts, strict=False)]
    made = variations(LORAS, axes)
    expected = 1
    for count in counts:
        expected *= count
    assert len(made) == len({each.label for each in made}) == expected
    assert len({json.dumps(each.prompt) for each in made}) == expected


# -- seeds -----------------------------------------------------------------------------------------------


def test_the_workflows_own_seed_is_the_first() -> None:
    made = seeds(LORAS, 50, random=Random(1))
    assert made == seeds(LORAS, 50, random=Random(1))
    assert (made.places, made.label, made.values[0]) == ((("3", "seed"),), "seed", 64)
    assert len(set(made.values)) == 50
    assert seeds(LORAS, 2).values[1] != seeds(LORAS, 2).values[1]


def test_samplers_with_the_same_seed_keep_it() -> None:
    prompt = real("latent-upscale")
    assert seeds(prompt, 2).places == (("3", "seed"),)
    prompt["14"]["inputs"]["seed"] = prompt["3"]["inputs"]["seed"]
    assert seeds(prompt, 2).places == (("3", "seed"), ("14", "seed"))
    second = variations(prompt, [seeds(prompt, 2)])[1].prompt
    assert second["3"]["inputs"]["seed"] == second["14"]["inputs"]["seed"] != 2013


def test_a_seed_may_be_in_a_node_of_its_own() -> None:
    assert seeds(real("flux-custom-sampler"), 1).places == (("25", "noise_seed"),)


@pytest.mark.parametrize("count", [0, -1, 1001])
def test_the_number_of_seeds_has_a_limit(count: int) -> None:
    with pytest.raises(BadInput, match="from 1 to 1000"):
        seeds(LORAS, count)


def test_a_workflow_without_a_seed_cannot_vary_it() -> None:
    prompt = copy.deepcopy(LORAS)
    prompt["3"]["inputs"]["seed"] = ["5", 0]
    for without in (prompt, real("audio"), {}):
        with pytest.raises(BadInput, match="no seed"):
            seeds(without, 2)


# -- prompts ---------------------------------------------------------------------------------------------


def test_every_line_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa cat, sitting\r\n\r\n  # ein Füchslein \n\na\u2028b".encode())
    made = prompt_lines(LORAS, path)
    assert made == Axis((("6", "text"),), "prompt", ("a cat, sitting", "# ein Füchslein", "a\u2028b"))
    assert variations(LORAS, [made])[0].prompt["6"]["inputs"]["text"] == "a cat, sitting"


def test_a_refiner_gets_the_same_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("a cat", "utf-8")
    assert prompt_lines(real("sdxl-refiner"), path).places == (("6", "text"), ("15", "text"))
    assert prompt_lines(real("sdxl-two-texts"), path).places[0] == ("16", "text_g")
    assert ("16", "text_l") not in prompt_lines(real("sdxl-two-texts"), path).places


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfea\0", "no UTF-8 text"),
        (b"a\0b", "no UTF-8 text"),
        (b" \n\n", "holds no prompts"),
        (b"a\n" * 1001, "holds 1001 prompts; the most is 1000"),
        (b"a" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_what_holds_no_prompts_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=why):
        prompt_lines(LORAS, path)


@pytest.mark.parametrize("name", ["none.txt", "", "x" * 5000, "a\0b"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is not there"):
        prompt_lines(LORAS, tmp_path / name)


def test_a_workflow_without_a_prompt(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no prompt"):
        prompt_lines(real("audio"), tmp_path)


# -- pictures --------------------------------------------------------------------------------------------


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_every_picture_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    fill(tmp_path, "10.png", "2.JPG", "b.webp", ".hidden.png", "notes.txt", "sub/c.png", "dir.png/x")
    prompt = real("controlnet-canny")
    made = pictures(prompt, tmp_path)
    assert (made.places, made.values) == ((("12", "image"),), ("2.JPG", "10.png", "b.webp"))
    second = variations(prompt, [made])[1]
    assert second.files == {"10.png": tmp_path / "10.png"}
    assert second.label == "picture 10.png"
    assert prompt["12"]["inputs"]["image"] == "cwf_portrait.jpg"
    assert second.prompt == changed(prompt, {("12", "image"): "10.png"})


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "out/secret.png", "in/a.png")
    folder = tmp_path / "in"
    (folder / "out.png").symlink_to(tmp_path / "out" / "secret.png")
    (folder / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "same.png").symlink_to("a.png")
    os.mkfifo(folder / "pipe.png")
    (tmp_path / "linked").symlink_to(folder)
    assert pictures(real("controlnet-canny"), folder).values == ("a.png", "same.png")
    assert pictures(real("controlnet-canny"), tmp_path / "linked").values == ("a.png", "same.png")


def test_which_picture_can_be_chosen(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    prompt = real("controlnet-canny") | {
        "m": node("LoadImageMask", image="mask.png"),
        "o": node("MyLoader", portrait="x", size=5),
    }
    assert pictures(prompt, tmp_path, where="LoadImageMask.image").places == (("m", "image"),)
    assert pictures(prompt, tmp_path, where="o.portrait").places == (("o", "portrait"),)
    only = {"o": prompt["o"]}
    assert pictures(only, tmp_path, catalogue=CATALOGUE).places == (("o", "portrait"),)
    with pytest.raises(BadInput, match="no input picture"):
        pictures(only, tmp_path)
    for where, why in {
        "o.size": "no input picture",
        "3.model": "no input picture",
        "9": "form NODE.INPUT.",
    }.items():
        with pytest.raises(BadInput, match=why):
            pictures(prompt, tmp_path, where=where)


def test_two_pictures_of_one_name_cannot_go_along(tmp_path: Path) -> None:
    fill(tmp_path, "one/a.png", "two/a.png", "two/b.png")
    prompt = real("controlnet-canny") | {"m": node("LoadImageMask", image="mask.png")}
    first, second = pictures(prompt, tmp_path / "one"), pictures(prompt, tmp_path / "two", where="m.image")
    with pytest.raises(BadInput, match=r"Two pictures are called 'a\.png'"):
        variations(prompt, [first, second])
    same = pictures(prompt, tmp_path / "one", where="m.image")
    assert variations(prompt, [first, same])[0].files == {"a.png": tmp_path / "one" / "a.png"}


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([], "no pictures in"),
        (["a.txt"], "no pictures in"),
        ([f"{n}.png" for n in range(1001)], "1001 pictures in"),
        (["con.png"], "Windows does not allow"),
    ],
)
def test_what_cannot_be_used_as_pictures(tmp_path: Path, names: list[str], why: str) -> None:
    fill(tmp_path, *names)
    with pytest.raises(BadInput, match=why):
        pictures(real("controlnet-canny"), tmp_path)


@pytest.mark.parametrize("name", ["none", "file", "x" * 5000, "a\0b"])
def test_a_folder_that_is_not_there(tmp_path: Path, name: str) -> None:
    fill(tmp_path, "file")
    with pytest.raises(BadInput, match="is not there"):
        pictures(real("controlnet-canny"), tmp_path / name)


def test_a_workflow_without_a_picture(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no input picture"):
        pictures(LORAS, tmp_path)
