"""What a drop means: any heap of files becomes workflows with their inputs, and sentences."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from app.workflows.collect import Collected, collect, may_be_workflow


def workflow(**inputs: Any) -> bytes:
    return json.dumps({"1": {"class_type": "LoadImage", "inputs": inputs}}).encode()


def picture(prompt: bytes | None = None, kind: str = "PNG") -> bytes:
    saved = io.BytesIO()
    image = Image.new("RGB", (4, 4))
    if prompt is None:
        image.save(saved, kind)
    elif kind == "WEBP":
        exif = image.getexif()
        exif[0x0110] = f"prompt:{prompt.decode()}"
        exif[0x010F] = 'workflow:{"nodes": []}'
        image.save(saved, kind, exif=exif)
    else:
        info = PngImagePlugin.PngInfo()
        info.add_text("prompt", prompt.decode())
        image.save(saved, kind, pnginfo=info)
    return saved.getvalue()


def put(folder: Path, **files: bytes) -> dict[str, Path]:
    """Files by name; ``__`` in a keyword is the dot before the suffix."""
    paths = {}
    for key, content in files.items():
        path = folder / key.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        paths[path.name] = path
    return paths


def names(found: Collected) -> list[str]:
    return [each.path.name for each in found.workflows]


# -- single files ---------------------------------------------------------------------------------------


def test_a_workflow_and_pictures_that_carry_one(tmp_path: Path) -> None:
    paths = put(tmp_path, a__json=workflow(), b__png=picture(workflow()), c__webp=picture(workflow(), "WEBP"))
    found = collect([*paths.values()])
    assert names(found) == ["a.json", "b.png", "c.webp"]
    assert found.refused == ()
    assert found.workflows[2].found.ui == {"nodes": []}
    prompts = [each.found.prompt or {} for each in found.workflows]
    assert {prompt["1"]["class_type"] for prompt in prompts} == {"LoadImage"}


@pytest.mark.parametrize(
    ("name", "content", "title", "text"),
    [
        ("notes.docx", b"PK", "notes.docx is not a workflow", "Accepted are"),
        ("none", b"?", "none is not a workflow", "Accepted are"),
        ("sunset.png", picture(), "No workflow in sunset.png", "This picture has none."),
        ("sunset.webp", picture(None, "WEBP"), "No workflow in sunset.webp", "This picture has none."),
        ("holiday.JPG", picture(None, "JPEG"), "No workflow in holiday.JPG", "This picture has none."),
        ("drawing.bmp", picture(None, "BMP"), "No workflow in drawing.bmp", "This picture has none."),
        ("bent.png", b"\x89PNG\r\n", "bent.png is damaged", "cannot be read"),
        ("bent.webp", b"RIFF\0\0\0\0WEBPVP8 ", "bent.webp is damaged", "cannot be read"),
        ("bad.json", b'{"1": 5,\n nothing', "bad.json is not a workflow", "line 2, column 2"),
        ("other.json", b'{"1": {"inputs": {}}}', "other.json is not a workflow", "'1' is no node"),
        ("empty.json", b"", "empty.json is empty", "nothing in it"),
    ],
)
def test_why_a_file_is_refused(tmp_path: Path, name: str, content: bytes, title: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    (refused,) = collect([path]).refused
    assert (refused.path, refused.title) == (path, title)
    assert text in refused.text
    assert refused.text.endswith(".")


def test_what_is_not_there_or_too_large(tmp_path: Path) -> None:
    big = tmp_path / "big.json"
    with big.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    titles = [each.title for each in collect([big, tmp_path / "gone.json"]).refused]
    assert titles == ["big.json is too large", "gone.json is not there"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a closed file")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    path = put(tmp_path, a__json=workflow())["a.json"]
    path.chmod(0)
    assert collect([path]).refused[0].title == "a.json cannot be read"


def test_they_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    wanted = ["2.json", "10.json", "Item 3.json", "item 20.json", "z.json"]
    paths = [tmp_path / name for name in wanted]
    for path in paths:
        path.write_bytes(workflow())
    assert names(collect([*reversed(paths), paths[0]])) == wanted


# -- input files ----------------------------------------------------------------------------------------


def test_a_dropped_picture_that_a_workflow_names_is_its_input(tmp_path: Path) -> None:
    paths = put(
        tmp_path / "a", w__json=workflow(image="photo.png [input]", mask="masks/m.png", x="photo2.png")
    )
    paths |= put(tmp_path / "b", photo__png=picture(), m__png=picture(workflow()), photo2__png=picture())
    del paths["photo2.png"]
    found = collect([*paths.values()])
    assert names(found) == ["w.json"]
    assert found.workflows[0].given == {"photo.png": paths["photo.png"], "m.png": paths["m.png"]}
    assert found.refused == ()


def test_pictures_that_name_each_other_are_all_run(tmp_path: Path) -> None:
    paths = put(tmp_path, a__png=picture(workflow(image="b.png")), b__png=picture(workflow(image="b.png")))
    found = collect([*paths.values()])
    assert names(found) == ["a.png", "b.png"]
    assert [dict(each.given) for each in found.workflows] == [{"b.png": paths["b.png"]}, {}]


def test_the_browsers_form_names_its_inputs_too(tmp_path: Path) -> None:
    load = {"id": 1, "type": "LoadImage", "widgets_values": ["photo.png", "image"]}
    inner = {"nodes": [{"id": 2, "type": "LoadImageMask", "widgets_values": {"image": "m.png [input]"}}]}
    ui = {"nodes": [load, 5, {"widgets_values": 7}], "links": [], "definitions": {"subgraphs": [inner, 3]}}
    paths = put(tmp_path, w__json=json.dumps(ui).encode(), photo__png=picture(), m__png=picture())
    found = collect([*paths.values()])
    assert found.workflows[0].given == {"photo.png": paths["photo.png"], "m.png": paths["m.png"]}
    assert found.refused == ()


# -- folders --------------------------------------------------------------------------------------------


def test_a_folder_is_walked_and_the_rest_is_summed_up(tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    put(folder, b__json=workflow(), photo__png=picture(), other__json=b"{}", text__txt=b"x")
    put(folder / "one" / "two", a__json=workflow())
    put(folder / "one" / "two" / "three", deep__json=workflow())
    put(folder / ".hidden", c__json=workflow())
    put(folder, **{".secret__json": workflow()})
    alone = put(tmp_path, a__json=workflow())["a.json"]
    found = collect([folder, alone])
    assert names(found) == ["a.json", "b.json", "a.json"]
    (refused,) = found.refused
    assert (refused.path, refused.title) == (folder, "2 files in holiday/ are not workflows")
    assert refused.text == "The others are queued."


def test_a_folder_without_any(tmp_path: Path) -> None:
    put(tmp_path / "texts", a__txt=b"")
    put(tmp_path / "pictures", a__png=picture())
    titles = [each.title for each in collect([tmp_path / "texts", tmp_path / "pictures"]).refused]
    assert titles == ["1 file in pictures/ is not a workflow", "No workflows in texts"]


def test_a_folder_with_too_many(tmp_path: Path) -> None:
    for number in range(501):
        (tmp_path / f"{number}.json").write_bytes(workflow())
    found = collect([tmp_path])
    assert (len(found.workflows), names(found)[-1]) == (500, "499.json")
    (refused,) = found.refused
    assert refused.title == f"{tmp_path.name} holds too many files"
    assert "500" in refused.text


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_folder_that_links_to_itself_ends(tmp_path: Path) -> None:
    put(tmp_path, a__json=workflow())
    (tmp_path / "again").symlink_to(tmp_path)
    assert names(collect([tmp_path])) == ["a.json"]


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("a.json", True),
        ("A.PNG", True),
        ("a.webp", True),
        ("a.jpg", True),
        ("a.opus", True),
        ("a", False),
        ("a.docx", False),
    ],
)
def test_a_name_tells_whether_it_may_be_one(tmp_path: Path, name: str, may: bool) -> None:
    assert may_be_workflow(tmp_path / name) is may
    (tmp_path / name).mkdir()
    assert may_be_workflow(tmp_path / name)
