"""`--target local`: a worker attached to the user's own ComfyUI, which must come to no harm.

Runs against the demo engine standing for the user's ComfyUI, and against a real one when COMFYUI_DIR is set.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.e2e.conftest import WORKFLOWS, Cli, blur_chain, color_workflow, until, written
from tests.engines import ENGINES, REAL_DIR, Engine, real_python, started


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with started(request.param, tmp_path_factory.mktemp(f"local-{request.param}")) as engine:
        yield engine


@pytest.fixture
def attached(cli: Cli, engine: Engine) -> Cli:
    cli.extra = {"COMFYUI_URL": engine.url}
    return cli


def ask(engine: Engine, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(engine.url + path, data), timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def by_hand(engine: Engine, workflow: dict[str, Any]) -> str:
    """Queue a prompt as somebody else does; its id."""
    return str(ask(engine, "/prompt", {"prompt": workflow})["prompt_id"])


def ended(engine: Engine, prompt_id: str) -> Any:
    return until(lambda: ask(engine, f"/history/{prompt_id}").get(prompt_id), 60)


def snapshot(*folders: Path) -> dict[str, str]:
    files = [path for folder in folders for path in folder.rglob("*")]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder" for p in files}


def test_the_pictures_are_those_that_comfyui_makes(attached: Cli, engine: Engine, tmp_path: Path) -> None:
    shots = {}
    for name in ("hello", "photo", "batch"):
        workflow = json.loads((WORKFLOWS / f"{name}.json").read_text())
        given = ("--image", WORKFLOWS)
        ran = attached.run(
            "run", WORKFLOWS / f"{name}.json", "--target", "local", "--output", tmp_path / name, *given
        )
        assert ran.returncode == 0, ran.stderr
        if name == "photo":
            (engine.input / "photo.png").write_bytes((WORKFLOWS / "photo.png").read_bytes())
        entry = ended(engine, by_hand(engine, workflow))
        (engine.input / "photo.png").unlink(missing_ok=True)
        images = [image for output in entry["outputs"].values() for image in output["images"]]
        shots[name] = (ran.stdout.splitlines(), [engine.output / image["filename"] for image in images])
    for ours, theirs in shots.values():
        assert len(ours) == len(theirs) > 0
        for one, two in zip(ours, theirs, strict=True):
            with Image.open(one) as left, Image.open(two) as right:
                assert (left.size, left.mode) == (right.size, right.mode)
                assert left.tobytes() == right.tobytes()


def test_inputs_and_outputs_of_the_user_are_untouched(attached: Cli, engine: Engine, tmp_path: Path) -> None:
    (engine.input / "photo.png").write_bytes(b"the user's own file of that name")
    mine = color_workflow(77, "mine")
    ended(engine, by_hand(engine, mine))
    before = snapshot(engine.input, engine.output)
    given = ("--target", "local", "--output", tmp_path / "out", "--image", WORKFLOWS)
    ran = attached.run("run", WORKFLOWS / "photo.json", *given)
    assert ran.returncode == 0, ran.stderr
    after = snapshot(engine.input, engine.output)
    new = {path: digest for path, digest in after.items() if path not in before}
    assert {path: after[path] for path in before} == before
    assert [Path(path).parent for path in new] == [engine.output]
    (result,) = ran.stdout.splitlines()
    assert hashlib.sha256(Path(result).read_bytes()).hexdigest() in new.values()
    (engine.input / "photo.png").unlink()


def test_cancelling_ours_leaves_a_prompt_of_the_user_alone(
    attached: Cli, engine: Engine, tmp_path: Path
) -> None:
    (engine.input / "keep.bin").write_bytes(b"kept")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    ours = blur_chain(100, color=int(time.time()) % 100_000)
    ours["load"] = {"class_type": "LoadImage", "inputs": {"image": "a.png"}}
    ours["also"] = {"class_type": "PreviewImage", "inputs": {"images": ["load", 0]}}
    file = written(tmp_path / "slow.json", ours)
    before = snapshot(engine.input, engine.output)
    running = attached.start(
        *("run", file, "--target", "local", "--output", tmp_path / "out"),
        *("--image", f"a.png={tmp_path / 'a.png'}"),
    )
    until(lambda: ask(engine, "/queue")["queue_running"], 60)
    theirs = by_hand(engine, color_workflow(int(time.time()) % 99_999, "by_hand"))
    job = attached.jobs()[0]["id"]

    # The store says cancelled only after the platform does; ComfyUI itself is looked at here.
    began = time.monotonic()
    cancelling = attached.start("jobs", "cancel", job)
    until(lambda: [item[1] for item in ask(engine, "/queue")["queue_running"]] in ([], [theirs]), 30)
    print(f"ComfyUI stopped {time.monotonic() - began:.2f} s after the command was started")
    entry = ended(engine, theirs)
    assert entry["status"]["status_str"] == "success"
    _, err = cancelling.communicate(timeout=30)
    running.communicate(timeout=30)
    assert (cancelling.returncode, running.returncode) == (0, 1), err
    until(lambda: not (engine.input / ".comfy-runpod").exists(), 10)
    new = {path for path in snapshot(engine.input, engine.output) if path not in before}
    assert {Path(path).name[:7] for path in new} == {"by_hand"}
    assert {p: d for p, d in snapshot(engine.input, engine.output).items() if p in before} == before
    assert not (tmp_path / "out").exists()


def test_cancelling_a_waiting_job_takes_it_out_of_the_queue(
    attached: Cli, engine: Engine, tmp_path: Path
) -> None:
    theirs = by_hand(engine, blur_chain(300, color=int(time.time()) % 100_001))
    # Until it is taken, it waits in the queue itself.
    until(lambda: ask(engine, "/queue")["queue_running"], 60)
    ours = written(tmp_path / "ours.json", color_workflow(5, "ours"))
    running = attached.start("run", ours, "--target", "local", "--output", tmp_path / "out")
    until(lambda: ask(engine, "/queue")["queue_pending"], 60)
    cancelled = attached.run("jobs", "cancel", attached.jobs()[0]["id"])
    running.communicate(timeout=30)
    assert cancelled.returncode == 0, cancelled.stderr
    queue = until(lambda: (q := ask(engine, "/queue")) and not q["queue_pending"] and q)
    assert [item[1] for item in queue["queue_running"]] == [theirs]
    ask(engine, "/interrupt", {"prompt_id": theirs})
    until(lambda: not ask(engine, "/queue")["queue_running"], 60)


def test_an_execution_error_brings_fifty_log_lines(attached: Cli, engine: Engine, tmp_path: Path) -> None:
    for number in range(30):
        ended(engine, by_hand(engine, color_workflow(number, "fill")))
    (tmp_path / "broken.png").write_text("no picture")
    load = {
        "7": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}},
    }
    given = ("--image", f"broken.png={tmp_path / 'broken.png'}", "--json")
    ran = attached.run("run", written(tmp_path / "load.json", load), "--target", "local", *given)
    assert ran.returncode == 1
    error = json.loads(ran.stdout)["error"]
    assert error["details"]["node"]["class_type"] == "LoadImage"
    assert "cannot identify image file" in error["summary"]
    lines = error["details"]["diagnostic_info"]["last_log_lines"]
    assert len(lines) == 50
    assert any("cannot identify image file" in line for line in lines)


def test_a_worker_that_is_killed_finds_its_prompt_again(
    attached: Cli, engine: Engine, tmp_path: Path
) -> None:
    """The prompt goes on in ComfyUI; the next worker takes it up and it runs only once."""
    slow = written(tmp_path / "slow.json", blur_chain(40, color=int(time.time()) % 100_003, prefix="once"))
    running = attached.start("run", slow, "--target", "local", "--output", tmp_path / "out")
    until(lambda: ask(engine, "/queue")["queue_running"], 60)
    until(lambda: attached.jobs()[0]["state"] == "running")
    (worker,) = attached.find("worker")
    worker.kill()
    out, err = running.communicate(timeout=90)
    assert running.returncode == 0, err
    assert len(out.splitlines()) == 1
    assert attached.jobs()[0]["retries"] == 1
    assert len(list(engine.output.glob("once_*.png"))) == 1


def test_nothing_there_is_said_plainly(cli: Cli, tmp_path: Path) -> None:
    ran = cli.run("run", WORKFLOWS / "hello.json", "--target", "local")
    assert ran.returncode == 1
    assert "COMFYUI_URL" in ran.stderr
    cli.extra = {"COMFYUI_DIR": str(tmp_path)}
    ran = cli.run("run", WORKFLOWS / "hello.json", "--target", "local")
    assert ran.returncode == 1
    assert "no main.py" in ran.stderr


def stand_in(folder: Path) -> Path:
    """A folder that looks like ComfyUI's and runs the demo engine, for machines without a ComfyUI."""
    folder.mkdir()
    code = "import runpy, sys\nsys.argv[1:] += ['--base-directory', sys.path[0]]\n"
    (folder / "main.py").write_text(code + "runpy.run_module('app.demo', run_name='__main__')\n")
    return folder


@pytest.mark.parametrize("which", ENGINES)
def test_comfyui_is_started_adopted_and_stopped(cli: Cli, which: str, tmp_path: Path) -> None:
    if which == "real":
        (tmp_path / "base" / "custom_nodes").mkdir(parents=True)
        options = f"--cpu --disable-api-nodes --base-directory {tmp_path / 'base'}"
        cli.extra = {"COMFYUI_DIR": str(REAL_DIR), "COMFYUI_PYTHON": real_python(), "COMFYUI_ARGS": options}
    else:
        cli.extra = {"COMFYUI_DIR": str(stand_in(tmp_path / "ComfyUI")), "COMFYUI_PYTHON": sys.executable}
    slow = written(tmp_path / "slow.json", blur_chain(60))
    running = cli.start("run", slow, "--target", "local", "--output", tmp_path / "out")
    until(lambda: (jobs := cli.jobs()) and jobs[0]["state"] == "running", 90)
    state = json.loads((cli.data / "comfyui" / "comfyui.json").read_text())
    running.kill()
    running.communicate()
    resumed = cli.run("jobs", "wait")
    assert resumed.returncode == 0, resumed.stderr + cli.logs()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["slow_00001_.png"]
    assert not (cli.data / "comfyui" / "comfyui.json").exists()
    until(lambda: not psutil.pid_exists(state["pid"]), 20)
    until(lambda: not cli.processes(), 20)


def test_a_comfyui_that_does_not_start_shows_its_last_lines(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no GPU of that kind')")
    cli.extra = {"COMFYUI_DIR": str(tmp_path), "COMFYUI_PYTHON": sys.executable}
    ran = cli.run("run", WORKFLOWS / "hello.json", "--target", "local")
    assert ran.returncode == 1
    assert "does not start: no GPU of that kind" in ran.stderr
