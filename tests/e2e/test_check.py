"""``check`` and ``convert``, and what ``run`` does not send."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Cli, color_workflow, written

WORKFLOWS = Path(__file__).parents[2] / "resources" / "workflows"
UI = {
    "nodes": [
        {"id": 1, "type": "EmptyImage", "outputs": [{"links": [1]}], "widgets_values": [64, 32, 1, 255]},
        {
            "id": 2, "type": "SaveImage", "inputs": [{"name": "images", "link": 1}],
            "widgets_values": ["from-the-browser"],
        },
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "version": 0.4,
}  # fmt: skip


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_what_is_lacking_is_told_in_words_and_as_json(warm: Cli, tmp_path: Path) -> None:
    other = color_workflow(1, "x")
    other["9"] = {"class_type": "FaceDetailer", "inputs": {"image": ["1", 0]}, "_meta": {"title": "Face"}}
    ui = {**UI, "nodes": [*UI["nodes"], {"id": 3, "type": "Lost", "properties": {"cnr_id": "lost-pack"}}]}
    broken = tmp_path / "broken.json"
    broken.write_text('{"1": \n  oops', "utf-8")
    files = (
        WORKFLOWS / "hello.json",
        WORKFLOWS / "photo.json",
        written(tmp_path / "face.json", other),
        written(tmp_path / "lost.json", ui),
        broken,
        tmp_path,
    )
    told = warm.run("check", *files, "--target", "demo", "--json")
    assert told.returncode == 1
    ready, photo, face, lost, no_json, folder = lines(told.stdout)
    assert (ready["ready"], ready["lacks"], ready["target"]) == (True, [], "demo")
    assert [(lack["kind"], lack["name"]) for lack in photo["lacks"]] == [("input", "photo.png")]
    assert [(lack["kind"], lack["name"], lack["node_id"]) for lack in face["lacks"]] == [
        ("node", "FaceDetailer", "9")
    ]
    assert (lost["lacks"][0]["name"], lost["lacks"][0]["pack"]) == ("Lost", "lost-pack")
    assert (no_json["ready"], "line 2, column 3" in no_json["error"]) == (False, True)
    assert "a folder" in folder["error"]
    told = warm.run("check", WORKFLOWS / "photo.json", "--target", "demo")
    assert told.returncode == 1
    assert "1 input file missing (demo, by the demo engine)" in told.stdout
    told = warm.run(
        "check",
        WORKFLOWS / "photo.json",
        "--target",
        "demo",
        "--image",
        WORKFLOWS / "photo.png",
        "--ask-worker",
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "ready (demo, by a worker of demo)" in told.stdout
    assert warm.jobs() == []


def test_the_browsers_form_runs_and_is_written_as_the_browser_would_post_it(
    warm: Cli, tmp_path: Path
) -> None:
    ui = written(tmp_path / "mine.json", UI)
    told = warm.run("convert", ui, "--target", "demo", "-o", tmp_path / "api.json")
    assert told.returncode == 0, told.stderr
    api = json.loads((tmp_path / "api.json").read_text("utf-8"))
    assert api["1"]["inputs"] == {"width": 64, "height": 32, "batch_size": 1, "color": 255}
    assert api["2"]["inputs"]["images"] == ["1", 0]
    ran = warm.run("run", ui, "--target", "demo", "--output", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["from-the-browser_00001_.png"]


def test_a_strangers_names_reach_no_file_and_nothing_is_sent(cli: Cli, tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI"
    (comfy / "input").mkdir(parents=True)
    (comfy / "main.py").touch()
    (tmp_path / "secret.png").write_bytes(b"secret")
    names = [
        "/etc/hostname",
        "../../secret.png",
        "~/.ssh/id_rsa",
        "//server/share/a.png",
        "\\\\server\\a.png",
    ]
    if os.name != "nt":
        (comfy / "input" / "link.png").symlink_to(tmp_path / "secret.png")
        names.append("link.png")
    flow = color_workflow(1, "stranger")
    for number, name in enumerate(names):
        flow[f"l{number}"] = {"class_type": "LoadImage", "inputs": {"image": name}}
        flow[f"s{number}"] = {
            "class_type": "SaveImage", "inputs": {"images": [f"l{number}", 0], "filename_prefix": "s"}
        }  # fmt: skip
    cli.extra = {"COMFYUI_DIR": str(comfy)}
    ran = cli.run("run", written(tmp_path / "x.json", flow), "--target", "demo", "--output", tmp_path / "out")
    assert ran.returncode == 1
    assert f"{len(names)} input files missing" in ran.stderr
    assert all(name in ran.stderr for name in names)
    assert "Nothing was sent" in ran.stderr
    assert cli.jobs() == []
    # Sent all the same, it takes none of them along, and makes what it can without them.
    sent = cli.run("run", tmp_path / "x.json", "--target", "demo", "--output", tmp_path / "out", "--anyway")
    assert sent.returncode == 0
    assert [path.name[:8] for path in (tmp_path / "out").iterdir()] == ["stranger"]
    assert not list((tmp_path / "data").glob("inputs/*/*"))
