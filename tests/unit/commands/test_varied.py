"""The many jobs of one `comfy-runpod run`, up to where they would be sent."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import _parser
from app.commands.run import run
from app.commands.varied import first_seen, varied
from app.errors import BadInput
from app.jobs.model import Job
from app.jobs.states import State
from app.jobs.store import JobStore
from app.preflight.catalogue import Catalogue, Source, catalogue_of
from app.preflight.intake import Intake, Taken
from app.preflight.judging import Here, Place
from app.settings import Settings
from app.workflows.inputs import ComfyFolders
from tests.unit.jobs.helpers import spec

ROOT = Path(__file__).parents[3]
HELLO = ROOT / "resources" / "workflows" / "hello.json"
LORAS = ROOT / "tests" / "data" / "workflows" / "multiple-loras.json"
ENDPOINT = "abcdef123"
NODES = {
    "LoadImage": {"input": {"required": {"image": [["x.png"], {"image_upload": True}]}}},
    "LoraLoader": {"input": {"required": {"lora_name": [["old.safetensors"]]}}},
    "EmptyImage": {"input": {"required": {"color": ["INT", {"min": 0, "max": 9}]}}},
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING"]}},
        "output_node": True,
    },
}


class Known:
    """Sources that know one kind of nodes for every target."""

    def __init__(self, catalogue: Catalogue | None) -> None:
        self._catalogue = catalogue

    async def place(self, target: str) -> Place:
        return Place(target, target, self._catalogue, {"loras": frozenset({"new.safetensors"})})

    async def here(self) -> Here:
        return Here()


def known() -> Any:
    return Known(catalogue_of(json.dumps(NODES).encode(), Source.KEPT, "the test"))


def call(*words: str | Path) -> argparse.Namespace:
    return _parser().parse_args(["run", *map(str, words)])


async def made(*words: str | Path) -> list[Taken]:
    intake = Intake(known())
    return await varied(intake, ENDPOINT, call(*words), ComfyFolders())


def workflow(path: Path, **nodes: tuple[str, dict[str, Any]]) -> Path:
    prompt = {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}
    path.write_text(json.dumps(prompt))
    return path


# -- which are judged ------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), max_size=4))
def test_few_are_judged_and_have_every_value(counts: list[int]) -> None:
    every = list(itertools.product(*map(range, counts)))
    chosen = [every[number] for number in first_seen(counts)]
    assert len(chosen) == sum(counts) - len(counts) + 1
    for axis, count in enumerate(counts):
        assert {each[axis] for each in chosen} == set(range(count))


# -- what is made ----------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "pictures" / name).write_bytes(b"x")
    (tmp_path / "mask.png").write_bytes(b"x")
    return workflow(
        tmp_path / "photo.json",
        a=("LoadImage", {"image": "photo.png"}),
        b=("LoadImage", {"image": "mask.png"}),
        s=("SaveImage", {"images": ["a", 0], "filename_prefix": "x"}),
    )


async def test_each_job_has_its_own_picture_and_those_of_all(photo: Path) -> None:
    folder, mask = photo.parent / "pictures", photo.parent / "mask.png"
    found = await made(photo, "--pictures", f"a.image={folder}", "--image", f"mask.png={mask}")
    assert [each.name for each in found] == ["photo · picture 1.png", "photo · picture 2.png"]
    assert all(each.report.is_ready for each in found)
    assert found[1].files == {"2.png": folder / "2.png", "mask.png": mask}
    assert found[1].prompt["a"]["inputs"]["image"] == "2.png"


async def test_given_files_go_with_the_jobs_that_name_them(photo: Path) -> None:
    folder, mask = photo.parent / "pictures", photo.parent / "mask.png"
    given = ("--image", folder, "--image", mask, "--image", f"extra.png={mask}")
    found = await made(photo, "--vary", "a.image=1.png,2.png,3.png", *given)
    assert [sorted(each.files) for each in found] == [
        ["1.png", "extra.png", "mask.png"],
        ["2.png", "extra.png", "mask.png"],
        ["extra.png", "mask.png"],
    ]
    assert [each.report.headline for each in found] == ["", "", "1 input file missing"]


async def test_changes_come_before_what_varies(tmp_path: Path) -> None:
    lines = tmp_path / "prompts.txt"
    lines.write_text("a fox\n\nan owl\n")
    found = await made(
        *(LORAS, "--set", "3.steps=5", "--seeds", "2", "--vary", "3.cfg=6,7", "--prompts", lines)
    )
    labels = [each.name.split(" · ")[1:3] for each in found]
    assert labels[::2] == [[f"prompt {text}", f"cfg {cfg}"] for text in ("a fox", "an owl") for cfg in (6, 7)]
    assert len(found) == 8
    assert {each.prompt["3"]["inputs"]["steps"] for each in found} == {5}


async def test_models_are_judged_by_what_the_volume_has() -> None:
    """The list of the worker's catalogue is older than the volume."""
    node = "13.lora_name"
    (new,) = await made(LORAS, "--vary", f"{node}=new.safetensors")
    assert not [lack for lack in new.report.lacks if lack.input == "lora_name" and lack.node_id == "13"]
    (gone,) = await made(LORAS, "--vary", f"{node}=gone.safetensors")
    assert [lack.name for lack in gone.report.lacks].count("gone.safetensors") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--vary", "1.color=1..10"], "color must be from 0 to 9. With --anyway it is sent."),
        (["--vary", "1.colour=1"], "Node '1' has no input 'colour'."),
        (["--vary", "color"], "'color' is not of the form NODE.INPUT=VALUES."),
        (["--vary", "1.color=1..2", "--vary", "1.color=3..4"], "1.color is changed twice."),
        (["--seeds", "2"], "The workflow has no seed that can be changed."),
        (["--seeds", "0"], "The number of seeds must be from 1 to 1000."),
        (["--prompts", "none.txt"], "The workflow has no prompt that can be changed."),
        (["--pictures", "."], "The workflow has no input picture."),
        (
            ["--vary", "1.width=1..100", "--vary", "1.height=1..100"],
            "That makes 10000 jobs; the most is 1000.",
        ),
        (
            ["--vary", "1.width=1..11", "--count", "100"],
            "That makes 1100 jobs; the most is 1000.",
        ),
    ],
)
async def test_what_cannot_vary_is_said_in_one_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        await made(HELLO, *words)
    assert caught.value.sentence.startswith(sentence)
    # Of several workflows it is said which.
    if "jobs" not in sentence and "twice" not in sentence:
        with pytest.raises(BadInput, match=r"hello\.json: "):
            await made(HELLO, LORAS, *words)


async def test_anyway_values_are_not_looked_up() -> None:
    assert len(await made(HELLO, "--vary", "1.color=1..12", "--anyway")) == 12


async def test_what_jobs_lack_is_said_once_and_not_for_ever(
    photo: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ",".join(f"{number}.png" for number in range(15))
    words = (photo, "--target", "demo", "--image", photo.parent / "mask.png")
    code = await run(call(*words, "--vary", f"a.image={names}", "--json"), settings)
    out, err = capsys.readouterr()
    assert (code, len(out.splitlines()), err.count("1 input file missing")) == (1, 15, 10)
    assert err.endswith("5 more jobs lack something else.\nNothing was sent. With --anyway it is.\n")
    await run(call(*words, "--vary", "a.image=0.png,0.png"), settings)
    assert capsys.readouterr().err.count("1 input file missing") == 1
    assert await sent(settings) == []


# -- the user's word -------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def sent(settings: Settings) -> list[Job]:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    found = await store.newest(100)
    await store.close()
    return found


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out")


MANY = (HELLO, "--target", ENDPOINT, "--vary", "1.width=1..21")


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
async def test_many_jobs_for_runpod_are_asked_about(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert await run(call(*MANY), settings) == 1
    first, rest = capsys.readouterr().err.splitlines()
    assert first.startswith("21 jobs in batch ")
    assert first.endswith(f" on {ENDPOINT}. What they cost is not known yet.")
    assert rest == "Go on? [y/N] Nothing was sent."
    assert await sent(settings) == []


async def test_the_price_is_told_before_the_question(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = JobStore(settings.data_dir / "jobs.sqlite")
    await store.open()
    earlier = await store.add(spec(prompt=json.loads(HELLO.read_text()), target=ENDPOINT))
    for state in (State.SUBMITTING, State.WAITING, State.DOWNLOADING):
        await store.change(earlier.id, state=state)
    await store.change(earlier.id, state=State.DONE, execution_ms=10_000, rate=0.001)
    await store.close()
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert await run(call(*MANY), settings) == 1
    told = capsys.readouterr().err.splitlines()[0]
    assert told.endswith(f" on {ENDPOINT}. About $0.210 together, by earlier runs of the same.")


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), None])
async def test_without_a_terminal_the_word_is_given_beforehand(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(BadInput, match="Nothing was sent") as caught:
        await run(call(*MANY), settings)
    assert "--yes" in caught.value.hint
    assert await sent(settings) == []


@pytest.mark.parametrize(("words", "answer"), [(["--yes"], ""), ([], "y\n")])
async def test_with_the_users_word_all_are_one_batch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, words: list[str], answer: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer) if answer else None)
    # There is no key, so that each of them fails at once.
    assert await run(call(*MANY, *words), settings) == 1
    found = await sent(settings)
    assert len(found) == 21
    assert len({job.batch for job in found}) == 1
    assert len(found[0].batch) == 32


async def test_few_are_not_asked_about_and_a_single_one_is_no_batch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    await run(call(HELLO, "--target", ENDPOINT), settings)
    await run(call(HELLO, HELLO, "--target", ENDPOINT), settings)
    await run(call(HELLO, "--target", ENDPOINT, "--count", "2"), settings)
    batches = [job.batch for job in await sent(settings)]
    assert batches[4] == ""
    assert batches[0] == batches[1] != batches[2] == batches[3]
    with pytest.raises(BadInput, match="That makes 1001 jobs"):
        await run(call(HELLO, "--target", ENDPOINT, "--count", "1001"), settings)
