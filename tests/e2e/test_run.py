"""`comfy-runpod run` against the demo engine, from the command line to the picture on disk."""

from __future__ import annotations

import json
import time
from pathlib import Path

from PIL import Image

from tests.e2e.conftest import WORKFLOWS, Cli, blur_chain, color_workflow, until, written


def test_a_workflow_becomes_its_picture(cli: Cli, tmp_path: Path) -> None:
    ran = cli.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "out")

    assert ran.returncode == 0, ran.stderr
    (path,) = ran.stdout.splitlines()
    assert Path(path) == tmp_path / "out" / "hello_00001_.png"
    workflow = json.loads((WORKFLOWS / "hello.json").read_text())
    color = workflow["1"]["inputs"]["color"]
    with Image.open(path) as picture:
        assert json.loads(picture.text["prompt"]) == workflow
        inverted = [255 - (color >> shift & 255) for shift in (16, 8, 0)]
        # ComfyUI counts in 0 to 1 and cuts off, so a value may come out one lower.
        pixel = picture.getpixel((0, 0))
        assert all(0 <= want - got <= 1 for want, got in zip(inverted, pixel, strict=True))
    until(lambda: not cli.processes(), 15)


def test_set_image_and_json(warm: Cli, tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), (200, 10, 30)).save(tmp_path / "mine.png")
    load = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "masks/photo.png"}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    file = written(tmp_path / "load.json", load)
    ran = warm.run(
        *("run", file, "--target", "demo", "--output", tmp_path / "out", "--json"),
        *("--image", f"masks/photo.png={tmp_path / 'mine.png'}", "--set", "SaveImage.filename_prefix=sub/it"),
    )
    assert ran.returncode == 0, ran.stderr
    job = json.loads(ran.stdout)
    assert job["state"] == "done"
    (output,) = job["outputs"]
    assert (output["node_id"], output["media_type"]) == ("3", "image/png")
    with Image.open(output["path"]) as picture:
        assert picture.size == (40, 20)
        assert picture.getpixel((0, 0)) == (200, 10, 30)


def test_a_picture_by_comfyui_is_a_workflow(warm: Cli, tmp_path: Path) -> None:
    first = warm.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "a")
    again = warm.run("run", first.stdout.strip(), "--target", "demo", "--output", tmp_path / "b")
    assert again.returncode == 0, again.stderr
    with Image.open(first.stdout.strip()) as one, Image.open(again.stdout.strip()) as two:
        assert one.tobytes() == two.tobytes()


def test_a_refused_workflow_says_why(warm: Cli, tmp_path: Path) -> None:
    workflow = color_workflow(1, "x")
    workflow["1"]["inputs"]["width"] = 0
    file = written(tmp_path / "bad.json", workflow)
    told = warm.run("run", file, "--target", "demo")
    assert told.returncode == 1
    assert "node 1 width: " in told.stderr
    assert "Nothing was sent" in told.stderr
    assert warm.jobs() == []
    # Sent all the same, ComfyUI's own word is the same.
    ran = warm.run("run", file, "--target", "demo", "--json", "--anyway")
    assert ran.returncode == 1
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == "validation_failed"
    assert "Node 1 (EmptyImage)" in error["summary"]
    assert (
        error["details"]["diagnostic_info"]["node_errors"]["1"]["errors"][0]["type"]
        == "value_smaller_than_min"
    )


def test_an_execution_error_brings_node_message_and_log(warm: Cli, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    load = {
        "7": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}},
        "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}},
    }
    file = written(tmp_path / "load.json", load)
    ran = warm.run(
        "run", file, "--target", "demo", "--image", f"broken.png={tmp_path / 'broken.png'}", "--json"
    )
    assert ran.returncode == 1
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == "execution_failed"
    assert error["summary"].startswith("Node 7 (LoadImage) failed: cannot identify image file")
    assert error["details"]["node"]["id"] == "7"
    lines = error["details"]["diagnostic_info"]["last_log_lines"]
    assert any("cannot identify image file" in line for line in lines)
    assert len(lines) <= 50
    shown = warm.run("jobs", "show", json.loads(ran.stdout)["id"][:8])
    assert "7 (LoadImage)" in shown.stdout


def test_wrong_calls_are_refused_in_one_sentence(cli: Cli, tmp_path: Path) -> None:
    missing = cli.run("run", tmp_path / "none.json", "--target", "demo")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    target = cli.run("run", WORKFLOWS / "hello.json", "--target", "../x")
    assert target.returncode == 2
    assert "There is no target" in target.stderr
    no_key = cli.run("run", WORKFLOWS / "hello.json", "--target", "abcdef123", "--output", tmp_path)
    assert no_key.returncode == 1
    assert "RUNPOD_API_KEY" in no_key.stderr
    (tmp_path / "file").write_text("in the way")
    blocked = cli.run(
        "run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "file" / "x"
    )
    assert (blocked.returncode, blocked.stderr.count("\n")) == (2, 1)
    assert [job["target"] for job in cli.jobs()] == ["abcdef123"]
    escape = cli.run("run", WORKFLOWS / "photo.json", "--target", "demo", "--image", "../x=y")
    assert escape.returncode == 2
    assert "leave its folder" in escape.stderr


def test_two_runs_share_one_runner(cli: Cli, tmp_path: Path) -> None:
    first = cli.start(
        "run", written(tmp_path / "slow.json", blur_chain(25)), "--target", "demo", "--output", tmp_path / "a"
    )
    until(lambda: (cli.data / "control.json").exists())
    second = cli.start(
        "run", WORKFLOWS / "hello.json", "--count", "2", "--target", "demo", "--output", tmp_path / "b"
    )
    out_two, err_two = second.communicate(timeout=60)
    out_one, err_one = first.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), err_one + err_two
    assert len(out_one.splitlines()) == 1
    assert len(out_two.splitlines()) == 2
    assert len(list((tmp_path / "b").iterdir())) == 2
    assert [job["state"] for job in cli.jobs()] == ["done"] * 3


def test_the_second_run_goes_on_when_the_first_is_killed(cli: Cli, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.json", blur_chain(25))
    first = cli.start("run", slow, "--target", "demo", "--output", tmp_path / "a")
    until(lambda: (cli.data / "control.json").exists())
    second = cli.start("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "b")
    until(lambda: len(cli.jobs()) == 2)
    first.kill()
    first.communicate()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert cli.run("jobs", "wait").returncode == 0
    assert [job["state"] for job in cli.jobs()] == ["done", "done"]


def test_cancel_from_another_terminal(warm: Cli, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.json", blur_chain(400))
    running = warm.start("run", slow, "--count", "2", "--target", "demo", "--output", tmp_path / "out")
    jobs = until(lambda: (found := warm.jobs()) and found[0]["state"] == "running" and found)
    cancelled = warm.run("jobs", "cancel", *(job["id"] for job in jobs))
    out, err = running.communicate(timeout=30)
    assert cancelled.returncode == 0, cancelled.stderr
    assert running.returncode == 1
    assert out == ""
    assert [job["state"] for job in warm.jobs()] == ["cancelled", "cancelled"], err
    after = warm.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "out")
    assert after.returncode == 0, after.stderr
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["hello_00001_.png"]


def test_ctrl_c_cancels_the_jobs_of_the_run(warm: Cli, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.json", blur_chain(400))
    running = warm.start("run", slow, "--target", "demo", "--output", tmp_path / "out")
    until(lambda: (found := warm.jobs()) and found[0]["state"] == "running")
    running.send_signal(2)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130, err
    assert [job["state"] for job in warm.jobs()] == ["cancelled"]


def test_killed_while_a_job_runs_its_result_arrives_later(cli: Cli, tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.json", blur_chain(25))
    running = cli.start("run", slow, "--target", "demo", "--output", tmp_path / "out")
    until(lambda: (found := cli.jobs()) and found[0]["state"] == "running")
    running.kill()
    running.communicate()
    time.sleep(0.2)
    resumed = cli.run("jobs", "wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    job = json.loads(resumed.stdout)
    assert (job["state"], job["retries"]) == ("done", 0)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["slow_00001_.png"]


def test_retry_runs_an_ended_job_again(warm: Cli, tmp_path: Path) -> None:
    warm.run("run", WORKFLOWS / "hello.json", "--target", "demo", "--output", tmp_path / "out")
    again = warm.run("jobs", "retry", warm.jobs()[0]["id"][:8])
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_large_results_come_over_the_volume(warm: Cli, tmp_path: Path) -> None:
    """Ten megabytes of noise are more than an answer may hold."""
    Image.effect_noise((1600, 1600), 120).convert("RGB").save(tmp_path / "noise.png")
    load = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "noise.png"}},
        "2": {"class_type": "ImageBatch", "inputs": {"image1": ["1", 0], "image2": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "big"}},
    }
    file = written(tmp_path / "load.json", load)
    given = ("--image", f"noise.png={tmp_path / 'noise.png'}")
    ran = warm.run("run", file, "--target", "demo", "--output", tmp_path / "out", *given)
    assert ran.returncode == 0, ran.stderr
    paths = [Path(line) for line in ran.stdout.splitlines()]
    assert sum(path.stat().st_size for path in paths) > 7_000_000
    with Image.open(tmp_path / "noise.png") as sent, Image.open(paths[1]) as got:
        assert sent.tobytes() == got.tobytes()
    assert not list((warm.data / "endpoints" / "demo" / "volume").rglob("*.png"))
