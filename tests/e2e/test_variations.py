"""Many jobs from one workflow, and the batch that they are, against the demo engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.cli import main
from tests.e2e.conftest import ROOT, WORKFLOWS, Cli, blur_chain, color_workflow, until, written

TO_DEMO = ("--target", "demo", "--output")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """One for all: the demo engine stays up between the tests."""
    made = Cli(tmp_path_factory.mktemp("variations") / "data")
    serving = made.start("endpoint", "serve", "--target", "demo")
    assert serving.stdout is not None
    serving.stdout.readline()
    yield made
    made.clean_up()


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Here = Callable[..., Said]


@pytest.fixture
def here(program: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The program in this process, which saves the time of starting it; the engine is one of its own."""
    for name in os.environ.keys() - program.env.keys():
        monkeypatch.delenv(name)
    for name, value in program.env.items():
        monkeypatch.setenv(name, value)

    def run(*words: str | Path) -> Said:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capsys.readouterr())

    return run


def seeded(path: Path) -> Path:
    """As a service's node has them: a prompt and a seed beside the rest. The engine has no use for these."""
    workflow = color_workflow(255, "x")
    workflow["1"]["inputs"] |= {"prompt": "a fox", "seed": 7}
    return written(path, workflow)


def test_seeds_prompts_and_a_range_make_their_product(here: Here, tmp_path: Path) -> None:
    """With a single prompt: the SDK's worker takes one job a second."""
    (tmp_path / "prompts.txt").write_text("\nan owl\n\n", "utf-8")
    ran = here(
        *("run", seeded(tmp_path / "w.json"), *TO_DEMO, tmp_path / "out", "--json", "--seeds", "2"),
        *("--vary", "EmptyImage.color=0..255:255", "--prompts", tmp_path / "prompts.txt"),
    )
    assert (ran.code, len(ran.lines)) == (0, 4), ran.err
    (batch,) = {job["batch"] for job in ran.lines}
    assert ran.err.startswith(f"4 jobs in batch {batch[:8]} on demo.\n")
    assert ran.lines[0]["name"] == "w · prompt an owl · color 0 · seed 7"
    made = set()
    for job in ran.lines:
        (output,) = job["outputs"]
        with Image.open(output["path"]) as picture:
            inputs = json.loads(picture.text["prompt"])["1"]["inputs"]
            assert picture.getpixel((0, 0)) == (0, 0, inputs["color"])
        values = inputs["prompt"], inputs["color"], inputs["seed"]
        assert job["name"] == "w · prompt {} · color {} · seed {}".format(*values)
        made.add(values)
    assert len(made) == len({job["outputs"][0]["path"] for job in ran.lines}) == 4
    assert {prompt for prompt, _, _ in made} == {"an owl"}
    assert here("jobs", "show", "--batch", batch[:6]).out.splitlines()[:3] == [
        f"batch {batch[:8]}  4 jobs on demo: 4 done",
        f"  id         {batch}",
        f"  results    4 files in {tmp_path / 'out'}",
    ]


def test_every_picture_of_a_folder_is_an_input(here: Here, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (1, 2, 10):
        Image.new("RGB", (768, 512), (20 * number, 0, 0)).save(tmp_path / "in" / f"{number}.png")
    words = (WORKFLOWS / "photo.json", *TO_DEMO, tmp_path / "out", "--set", "3.blur_radius=1", "--json")
    ran = here("run", *words, "--pictures", tmp_path / "in")
    assert ran.code == 0, ran.err
    assert [job["name"].partition(" · ")[2] for job in ran.lines] == [f"picture {n}.png" for n in (1, 2, 10)]
    for job, number in zip(ran.lines, (1, 2, 10), strict=True):
        with Image.open(job["outputs"][0]["path"]) as picture:
            assert abs(picture.getpixel((99, 99))[0] - 20 * number) <= 1


def test_what_failed_is_run_again_in_the_same_batch(here: Here, tmp_path: Path) -> None:
    file = written(tmp_path / "w.json", color_workflow(1, "x"))
    ran = here("run", file, *TO_DEMO, tmp_path / "out", "--vary", "1.width=0,16", "--anyway", "--json")
    bad, good = ran.lines
    assert (ran.code, bad["state"], good["state"]) == (1, "failed", "done")
    first, second = (here("jobs", "retry", "--batch", bad["batch"][:12], "--json") for _ in range(2))
    assert first.err.startswith(f"1 job of batch {bad['batch'][:8]} to retry.\n")
    ((again,), (last,)) = first.lines, second.lines
    assert (again["retry_of"], last["retry_of"]) == (bad["id"], again["id"])
    assert again["batch"] == last["batch"] == bad["batch"]
    (told,) = here("jobs", "show", "--batch", bad["batch"], "--json").lines
    assert (told["states"], told["run_again"]) == ({"done": 1, "failed": 1}, 2)
    assert told["files"] == [good["outputs"][0]["path"]]
    waited = here("jobs", "wait", "--batch", bad["batch"], "--json")
    assert (waited.code, [job["id"] for job in waited.lines]) == (1, [good["id"], last["id"]])


def test_a_batch_is_cancelled_as_one(program: Cli, here: Here, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.json", blur_chain(400))
    running = program.start("run", slow, *TO_DEMO, tmp_path / "out", "--vary", "1.color=1..3")

    def ours() -> list[dict[str, Any]]:
        listed = here("jobs", "list", "--json").lines[::-1]
        return [job for job in listed if job["name"].startswith("slow")]

    jobs = until(lambda: (found := ours()) and found[0]["state"] == "running" and found)
    cancelled = here("jobs", "cancel", "--batch", jobs[0]["batch"][:8])
    out, err = running.communicate(timeout=30)
    assert cancelled.code == 0, cancelled.err
    assert cancelled.err.startswith("3 jobs of batch ")
    assert (running.returncode, out) == (1, ""), err
    # From the end, so that none of the others began.
    assert [(job["state"], bool(job["started_at"])) for job in ours()] == [
        ("cancelled", True),
        ("cancelled", False),
        ("cancelled", False),
    ]


def test_what_cannot_be_is_one_sentence_and_sends_nothing(here: Here, tmp_path: Path) -> None:
    file = written(tmp_path / "w.json", color_workflow(1, "x"))
    before = here("jobs", "list", "--limit", "100").out
    for words, target, sentence in (
        (["EmptyImage.color=0..16777216:16777216"], "demo", "color must be from 0 to 16777215."),
        (["1.colour=1"], "demo", "Node '1' has no input 'colour'."),
        (["1.width=1..200", "--vary", "1.height=1..200"], "demo", "That makes 40000 jobs"),
        # With nobody at a terminal.
        (["1.width=1..21"], "abcdef123", "only with your word. Nothing was sent. Say --yes"),
    ):
        refused = here("run", file, "--target", target, "--vary", *words)
        assert refused.code == 2, refused.err
        assert sentence in refused.err.splitlines()[-1]
        assert len(refused.err.splitlines()) == (2 if target == "abcdef123" else 1)
    assert here("jobs", "list", "--limit", "100").out == before


@pytest.mark.skipif(os.name == "nt", reason="no terminals of this kind there")
def test_ctrl_c_is_an_answer(program: Cli, here: Here, tmp_path: Path) -> None:
    import pty

    file = written(tmp_path / "w.json", color_workflow(1, "x"))
    before = here("jobs", "list").out
    ours, theirs = pty.openpty()
    asking = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "run", file, "--target", "abcdef123", "--count", "21"],
        cwd=ROOT,
        env=program.env,
        stdin=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert asking.stderr is not None
        assert asking.stderr.readline().startswith("21 jobs in batch ")
        assert asking.stderr.read(13) == "Go on? [y/N] "
        asking.send_signal(2)
        _, rest = asking.communicate(timeout=30)
    finally:
        asking.kill()
        os.close(ours)
        os.close(theirs)
    assert (asking.returncode, rest) == (130, "")
    assert here("jobs", "list").out == before
