"""Files as clients get them: pixels, metadata, names, ``/view`` and the catalogue."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.contract.driver import Client, empty, node
from tests.engines import Engine

WORKFLOWS = Path(__file__).parents[2] / "resources" / "workflows"


def _float32(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


def _inverted(code: int, times: int) -> int:
    """What a byte is after some inversions in single precision, cut off when saved."""
    level = _float32(code / 255)
    for _ in range(times):
        level = _float32(1 - level)
    return int(_float32(255 * level))


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _ramp(mode: str = "RGB") -> Image.Image:
    """All 256 values, different in each channel."""
    bands = [bytes((value * step + step) % 256 for value in range(256)) for step in (1, 3, 7, 1)[: len(mode)]]
    return Image.merge(mode, [Image.frombytes("L", (64, 4), band) for band in bands])


async def _pictures(client: Client, prompt: dict[str, Any]) -> list[Image.Image]:
    entry = await client.run(prompt)
    assert entry["status"]["status_str"] == "success", entry["status"]
    found = []
    for output in entry["outputs"].values():
        for image in output["images"]:
            async with client.http.get("/view", params=image) as answer:
                assert answer.status == 200
                found.append(Image.open(io.BytesIO(await answer.read())))
    return found


def _saved(source: str, prefix: str = "ct_pixels") -> dict[str, Any]:
    return node("SaveImage", images=[source, 0], filename_prefix=prefix)


async def test_empty_image_has_its_colour_and_size(client: Client) -> None:
    prompt = {
        "1": node("EmptyImage", width=40, height=24, batch_size=2, color=0x3366CC),
        "9": _saved("1"),
    }
    pictures = await _pictures(client, prompt)
    assert [(p.mode, p.size) for p in pictures] == [("RGB", (40, 24))] * 2
    assert all(p.getcolors() == [(40 * 24, (0x33, 0x66, 0xCC))] for p in pictures)


@pytest.mark.parametrize("times", [0, 1, 2, 3])
async def test_loading_and_inverting_keep_every_value_as_comfyui_does(client: Client, times: int) -> None:
    ramp = _ramp()
    await client.upload("ct_ramp.png", _png(ramp), overwrite="true")
    prompt: dict[str, Any] = {"0": node("LoadImage", image="ct_ramp.png")}
    for number in range(times):
        prompt[str(number + 1)] = node("ImageInvert", image=[str(number), 0])
    (picture,) = await _pictures(client, {**prompt, "9": _saved(str(times))})
    assert picture.tobytes() == bytes(_inverted(code, times) for code in ramp.tobytes())


async def test_crop_stops_at_the_edge(client: Client) -> None:
    ramp = _ramp()
    await client.upload("ct_ramp.png", _png(ramp), overwrite="true")
    prompt = {
        "0": node("LoadImage", image="ct_ramp.png"),
        "1": node("ImageCrop", image=["0", 0], width=40, height=2, x=30, y=1),
        "2": node("ImageCrop", image=["0", 0], width=5, height=5, x=9000, y=9000),
        "8": _saved("1", "ct_crop_a"),
        "9": _saved("2", "ct_crop_b"),
    }
    by_size = {p.size: p for p in await _pictures(client, prompt)}
    assert by_size.keys() == {(34, 2), (1, 1)}
    assert by_size[34, 2].tobytes() == ramp.crop((30, 1, 64, 3)).tobytes()
    assert by_size[1, 1].tobytes() == ramp.crop((63, 3, 64, 4)).tobytes()


async def test_batch_keeps_order_and_fits_the_second_to_the_first(client: Client) -> None:
    prompt = {
        "1": empty(0x102030, 32),
        "2": empty(0x405060, 20, count=2),
        "3": node("ImageBatch", image1=["1", 0], image2=["2", 0]),
        "9": _saved("3", "ct_batch"),
    }
    pictures = await _pictures(client, prompt)
    assert [p.size for p in pictures] == [(32, 32)] * 3
    first, *rest = [p.getpixel((5, 5)) for p in pictures]
    assert first == (0x10, 0x20, 0x30)
    for pixel in rest:
        assert all(abs(a - b) <= 1 for a, b in zip(pixel, (0x40, 0x50, 0x60), strict=True))


async def test_masks_from_alpha_and_from_a_channel(client: Client) -> None:
    ramp = _ramp("RGBA")
    await client.upload("ct_alpha.png", _png(ramp), overwrite="true", subfolder="ct_masks")
    name = "ct_masks/ct_alpha.png [input]"
    prompt = {
        "1": node("LoadImage", image=name),
        "2": node("LoadImageMask", image=name, channel="green"),
        "3": node("MaskToImage", mask=["1", 1]),
        "4": node("InvertMask", mask=["1", 1]),
        "5": node("MaskToImage", mask=["4", 0]),
        "6": node("MaskToImage", mask=["2", 0]),
        "7": _saved("3", "ct_mask_a"),
        "8": _saved("5", "ct_mask_b"),
        "9": _saved("6", "ct_mask_c"),
    }
    entry = await client.run(prompt)
    expected = {
        "7": [_inverted(code, 1) for code in ramp.getchannel("A").tobytes()],
        "8": [_inverted(code, 2) for code in ramp.getchannel("A").tobytes()],
        "9": list(ramp.getchannel("G").tobytes()),
    }
    for number, values in expected.items():
        (image,) = entry["outputs"][number]["images"]
        saved = Image.open(client.engine.output / image["filename"])
        assert list(saved.getchannel("R").tobytes()) == values
        assert saved.getchannel("R").tobytes() == saved.getchannel("B").tobytes()


@pytest.mark.parametrize("method", ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"])
async def test_scaling_gives_the_size_and_about_the_picture(client: Client, method: str) -> None:
    halves = Image.new("RGB", (64, 32), (200, 40, 40))
    halves.paste((40, 40, 200), (32, 0, 64, 32))
    await client.upload("ct_halves.png", _png(halves), overwrite="true")
    scale = {"image": ["1", 0], "upscale_method": method}
    prompt = {
        "1": node("LoadImage", image="ct_halves.png"),
        "2": node("ImageScale", width=128, height=0, crop="disabled", **scale),
        "3": node("ImageScale", width=40, height=40, crop="center", **scale),
        "4": node("ImageScaleBy", scale_by=0.5, **scale),
        "5": node("ImageBlur", image=["2", 0], blur_radius=4, sigma=2.0),
        **{str(n + 4): _saved(str(n), f"ct_scale_{method}_{n}") for n in (2, 3, 4, 5)},
    }
    prompt["9"]["inputs"]["images"] = ["5", 0]
    pictures = sorted(await _pictures(client, prompt), key=lambda p: p.size)
    assert [p.size for p in pictures] == [(32, 16), (40, 40), (128, 64), (128, 64)]
    for picture in pictures:
        wide, high = picture.size
        for x, color in ((wide // 8, (200, 40, 40)), (wide - wide // 8, (40, 40, 200))):
            pixel = picture.getpixel((x, high // 2))
            assert all(abs(a - b) <= 3 for a, b in zip(pixel, color, strict=True)), (picture.size, pixel)


async def test_png_holds_prompt_and_workflow(client: Client) -> None:
    prompt = {"1": empty(0x210001), "2": _saved("1", "ct_meta"), "3": node("PreviewImage", images=["1", 0])}
    extra = {"workflow": {"nodes": [{"id": 1}], "Umlaut": "ä ✓"}, "other": [1, 2.5, None]}
    entry = await client.run(prompt, extra_data={"extra_pnginfo": extra})
    (saved,), (shown,) = entry["outputs"]["2"]["images"], entry["outputs"]["3"]["images"]
    assert shown["type"] == "temp"
    assert shown["filename"].startswith("ComfyUI_temp_")
    for path in (client.engine.output / saved["filename"], client.engine.base / "temp" / shown["filename"]):
        with Image.open(path) as picture:
            assert {key: json.loads(text) for key, text in picture.text.items()} == {
                "prompt": prompt,
                **extra,
            }
            assert list(picture.text) == ["prompt", "workflow", "other"]
            assert picture.text["prompt"] == json.dumps(prompt)


async def test_names_count_on_and_know_sub_folders_and_variables(client: Client) -> None:
    (client.engine.output / "ct_names").mkdir()
    for name in ("x_48x32_00007_.png", "x_48x32_00009", "x_48x32_abc.png", "x_48x32y_00050_.png"):
        (client.engine.output / "ct_names" / name).touch()
    prompt = {
        "1": node("EmptyImage", width=48, height=32, batch_size=2, color=0x220001),
        "2": _saved("1", "ct_names/x_%width%x%height%"),
        "3": _saved("1", "ct_names/deep/b%batch_num%"),
    }
    outputs = (await client.run(prompt))["outputs"]
    assert outputs["2"]["images"] == [
        {"filename": f"x_48x32_{n:05}_.png", "subfolder": "ct_names", "type": "output"} for n in (10, 11)
    ]
    assert [i["filename"] for i in outputs["3"]["images"]] == ["b0_00001_.png", "b1_00002_.png"]
    assert (client.engine.output / "ct_names" / "deep" / "b0_00001_.png").exists()


async def test_a_prefix_that_leaves_the_output_folder_fails_the_run(client: Client) -> None:
    entry = await client.run({"1": empty(0x230001), "2": _saved("1", "../ct_outside")})
    event, error = entry["status"]["messages"][-1]
    assert (event, error["node_id"], error["exception_type"]) == ("execution_error", "2", "Exception")
    assert "Saving image outside the output folder is not allowed" in error["exception_message"]
    assert error["current_inputs"].keys() == {"images", "filename_prefix", "prompt", "extra_pnginfo"}
    assert not list(client.engine.base.glob("ct_outside*"))


async def test_view_formats_channels_and_refusals(client: Client) -> None:
    ramp = _ramp("RGBA")
    await client.upload("ct_view.png", _png(ramp), subfolder="ct_view")
    await client.upload("ct_view.html", b"<script>", subfolder="ct_view")
    base = {"filename": "ct_view.png", "subfolder": "ct_view", "type": "input"}

    async def view(**query: str) -> tuple[int, str, bytes]:
        async with client.http.get("/api/view", params=query) as answer:
            return answer.status, answer.content_type, await answer.read()

    assert await view(**base) == (200, "image/png", _png(ramp))
    assert (await view(**{**base, "filename": "ct_view.png [input]", "type": "temp"}))[2] == _png(ramp)
    for preview, kind in (("webp;90", "webp"), ("jpeg;50", "jpeg"), ("gif", "webp")):
        asked = {**base, "preview": preview, **({"channel": "rgb"} if kind == "jpeg" else {})}
        status, content_type, data = await view(**asked)
        assert (status, content_type) == (200, f"image/{kind}")
        with Image.open(io.BytesIO(data)) as picture:
            assert (picture.format, picture.size) == (kind.upper(), ramp.size)
    for channel, expected in (("rgb", ramp.convert("RGB")), ("a", None), ("rgba", ramp)):
        with Image.open(io.BytesIO((await view(**base, channel=channel))[2])) as picture:
            if expected is None:
                assert picture.getchannel("A").tobytes() == ramp.getchannel("A").tobytes()
            else:
                assert (picture.mode, picture.tobytes()) == (expected.mode, expected.tobytes())
    assert (await view(**{**base, "filename": "ct_view.html"}))[1] == "application/octet-stream"
    refused = {
        404: [
            {**base, "filename": "absent.png"},
            {**base, "filename": "ct_view/ct_view.png", "subfolder": ""},
            {},
        ],
        400: [{**base, "filename": f} for f in ("../x.png", "/etc/hostname", "")]
        + [{**base, "type": "models"}],
        403: [{**base, "subfolder": s} for s in ("../..", "/etc", "ct_view/../../output")],
    }
    for wanted, queries in refused.items():
        for query in queries:
            assert (await view(**query))[0] == wanted, query


async def test_object_info_describes_the_nodes_as_recorded(client: Client) -> None:
    await client.upload("ct_listed.png", _png(_ramp()))
    await client.upload("ct_listed.txt", b"text")
    known = json.loads((WORKFLOWS.parents[1] / "app" / "demo" / "object_info.json").read_text("utf-8"))
    _, everything = await client.json("GET", "/object_info")
    for name, described in known.items():
        _, answer = await client.json("GET", f"/object_info/{name}")
        assert answer == {name: everything[name]}
        if name.startswith("LoadImage"):
            listed = answer[name]["input"]["required"]["image"][0]
            assert "ct_listed.png" in listed
            assert ("ct_listed.txt" in listed) == (name == "LoadImageMask")
            assert listed == sorted(listed)
            described["input"]["required"]["image"][0] = listed
        assert answer[name] == described
    assert await client.json("GET", "/object_info/NoSuchNode") == (200, {})


async def test_small_reading_routes(client: Client) -> None:
    _, stats = await client.json("GET", "/api/system_stats")
    assert stats["system"]["comfyui_version"].count(".") == 2
    assert stats["system"].keys() >= {
        "os",
        "ram_total",
        "ram_free",
        "python_version",
        "pytorch_version",
        "argv",
    }
    (device,) = stats["devices"]
    assert device.keys() == {
        "name", "type", "index", "vram_total", "vram_free", "torch_vram_total", "torch_vram_free",
    }  # fmt: skip
    features = {"supports_preview_metadata": True, "max_upload_size": 104857600}
    assert await client.json("GET", "/features") == (200, features)
    _, kinds = await client.json("GET", "/models")
    assert {"checkpoints", "loras", "vae", "embeddings", "controlnet"} <= set(kinds)
    assert await client.json("GET", "/models/checkpoints") == (200, [])
    assert await client.json("GET", "/models/nope") == (404, None)
    assert await client.json("GET", "/embeddings") == (200, [])
    assert (await client.json("GET", "/extensions"))[0] == 200
    _, paths = await client.json("GET", "/internal/folder_paths")
    assert paths.keys() == set(kinds)
    assert all(Path(path).is_absolute() for path in paths["loras"])
    assert (await client.json("GET", "/internal/files/models"))[0] == 400
    await client.upload("ct_newest.txt", b"x")
    _, names = await client.json("GET", "/internal/files/input")
    assert names[0] == "ct_newest.txt"
    _, log = await client.json("GET", "/internal/logs")
    assert "To see the GUI go to" in log or "got prompt" in log
    _, raw = await client.json("GET", "/internal/logs/raw")
    assert raw.keys() == {"entries", "size"}
    assert raw["entries"][-1].keys() == {"t", "m"}
    async with client.http.get("/") as page:
        assert (page.status, page.content_type) == (200, "text/html")


async def test_a_page_of_another_site_is_refused(client: Client) -> None:
    body = {"prompt": {"1": empty(1), "2": _saved("1")}}
    async with client.http.post("/prompt", json=body, headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403
    own = {"Origin": client.engine.url}
    async with client.http.get("/prompt", headers=own) as answer:
        assert answer.status == 200


async def test_free_memory_drops_the_cache(client: Client) -> None:
    prompt = {"1": empty(0x240001), "2": _saved("1", "ct_free")}
    await client.run(prompt)
    cached = await client.run(prompt)
    assert cached["status"]["messages"][1][1]["nodes"] == ["1", "2"]
    assert cached["outputs"]["2"]["images"][0]["filename"] == "ct_free_00001_.png"
    assert await client.json("POST", "/free", {"unload_models": True, "free_memory": True}) == (200, None)
    again = await client.run(prompt)
    if again["status"]["messages"][1][1]["nodes"]:
        # ComfyUI looks at what it was asked only between two prompts: this one was taken first.
        again = await client.run(prompt)
    assert again["status"]["messages"][1][1]["nodes"] == []
    assert again["outputs"]["2"]["images"][0]["filename"] == "ct_free_00002_.png"


async def test_a_changed_input_file_is_noticed(client: Client) -> None:
    prompt = {"1": node("LoadImage", image="ct_changing.png"), "2": _saved("1", "ct_changing")}
    for color, cached in (((1, 2, 3), []), ((1, 2, 3), ["1", "2"]), ((4, 5, 6), [])):
        content = _png(Image.new("RGB", (8, 8), color))
        await client.upload("ct_changing.png", content, overwrite="true")
        entry = await client.run(prompt)
        assert entry["status"]["messages"][1][1]["nodes"] == cached
        (image,) = entry["outputs"]["2"]["images"]
        assert Image.open(client.engine.output / image["filename"]).getpixel((0, 0)) == color


async def test_example_workflows_run(engine: Engine) -> None:
    counts = {"hello": 1, "batch": 6, "photo": 1, "variations": 4}
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == counts.keys()
    async with Client(engine) as client:
        photo = (WORKFLOWS / "photo.png").read_bytes()
        await client.upload("ct_photo.png", photo)
        for name, count in counts.items():
            text = (WORKFLOWS / f"{name}.json").read_text("utf-8").replace("photo.png", "ct_photo.png")
            pictures = await _pictures(client, json.loads(text))
            assert len(pictures) == count
            assert all(p.getextrema() != ((0, 0),) * 3 for p in pictures)
