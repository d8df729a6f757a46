"""What ComfyUI can do is asked once, kept small, and asked anew before anything is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.worker.helpers import make_config
from worker.catalogue import Catalogue, catalogue_file
from worker.comfyui import ComfyClient
from worker.errors import ComfyUnavailable, JobError
from worker.models import Models
from worker.object_info import COMBO, node_spec, parsed
from worker.preflight import Preflight
from worker.questions import Asks, validate, validated
from worker.questions import object_info as object_info_command


def described(*models: str, **more: Any) -> dict[str, Any]:
    return {
        "Load": {
            "input": {"required": {"ckpt_name": [list(models), {}]}},
            "output": ["MODEL"],
            "output_node": True,
            "python_module": "nodes",
        },
        **more,
    }


class Comfy:
    """A ComfyUI that describes what the test says. ``asked`` are the types that were asked for."""

    def __init__(self, told: dict[str, Any] | str) -> None:
        self.told = told
        self.asked: list[str | None] = []
        self.version = (0, 3, 64)
        self.replaced: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.fails = 0
        self.has: set[str] = set()

    async def object_info(self, class_type: str | None = None) -> str:
        self.asked.append(class_type)
        await self.open.wait()
        if self.fails:
            self.fails -= 1
            raise ComfyUnavailable("It sleeps.")
        if isinstance(self.told, str):
            return self.told
        known = self.told if class_type is None else {k: v for k, v in self.told.items() if k == class_type}
        return json.dumps(known)

    async def replaced_types(self) -> list[str]:
        return self.replaced

    async def lacks_file(self, name: str, folder: str) -> bool:
        return name not in self.has


async def test_it_is_asked_once_however_many_want_to_know() -> None:
    comfy, catalogue = Comfy(described("a")), Catalogue()
    assert catalogue.known is None
    assert catalogue.sha256 is None
    first, *others = await asyncio.gather(*(catalogue.current(comfy) for _ in range(5)))
    assert all(each is first for each in others)
    assert (comfy.asked, catalogue.known) == ([None], first)
    catalogue.forget()
    assert await catalogue.current(comfy) is not first
    assert len(comfy.asked) == 2


async def test_a_job_waits_no_longer_than_it_likes_and_the_asking_goes_on() -> None:
    comfy, catalogue = Comfy(described("a")), Catalogue()
    comfy.open.clear()
    catalogue.prefetch(comfy)
    with pytest.raises(TimeoutError):
        await catalogue.current(comfy, patience_s=0.05)
    waiting = asyncio.create_task(catalogue.current(comfy))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    comfy.open.set()
    assert "Load" in (await catalogue.current(comfy)).nodes
    assert comfy.asked == [None]
    catalogue.prefetch(comfy)
    await asyncio.sleep(0.01)
    assert comfy.asked == [None]
    await catalogue.close()


async def test_what_a_restarted_comfyui_said_before_does_not_count() -> None:
    comfy, catalogue = Comfy(described("a")), Catalogue()
    comfy.open.clear()
    waiting = asyncio.create_task(catalogue.current(comfy))
    await asyncio.sleep(0.01)
    comfy.told = described("a", New={"output": [], "output_node": True})
    catalogue.forget()
    comfy.open.set()
    assert "New" in (await waiting).nodes
    comfy.open.clear()
    catalogue.forget()
    catalogue.prefetch(comfy)
    await asyncio.sleep(0)
    await catalogue.close()
    assert catalogue.known is None


async def test_a_failure_is_told_and_the_next_one_asks_again(caplog: pytest.LogCaptureFixture) -> None:
    comfy, catalogue = Comfy(described("a")), Catalogue()
    comfy.fails = 1
    with pytest.raises(ComfyUnavailable):
        await catalogue.current(comfy)
    assert "Load" in (await catalogue.current(comfy)).nodes
    for broken in ("", "[1]", "<html>", "[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ComfyUnavailable, match="cannot be read"):
            await Catalogue().current(Comfy(broken))


async def test_single_types_are_asked_anew() -> None:
    now = [100.0]
    comfy = Comfy(described("a", Gone={"output": []}))
    catalogue = Catalogue(clock=lambda: now[0])
    await catalogue.current(comfy)
    comfy.told = described("a", "b")
    assert await catalogue.refreshed(comfy, ["Load"]) is catalogue.known  # asked a moment ago
    assert comfy.asked == [None]
    now[0] += 10
    info = await catalogue.refreshed(comfy, ["Load", "Gone", "Load", "Never"])
    assert comfy.asked == [None, "Load", "Gone", "Never"]
    assert info.nodes["Load"].inputs["ckpt_name"].options == ("a", "b")
    assert "Gone" not in info.nodes
    assert "Never" not in info.elusive
    await catalogue.refreshed(comfy, ["Load"])
    assert len(comfy.asked) == 4
    now[0] += 10
    comfy.fails = 1
    assert "Broken" in (await catalogue.refreshed(comfy, ["Broken"])).elusive
    now[0] += 10
    comfy.asked.clear()
    await catalogue.refreshed(comfy, map(str, range(100)))
    assert comfy.asked == [None]


def test_the_hash_is_of_the_node_types_and_not_of_what_lies_in_folders() -> None:
    def sha(told: dict[str, Any]) -> str:
        return parsed(json.dumps(told)).sha256

    one = sha(described("a.safetensors"))
    assert one == sha(described()) == sha(described("b", "c"))
    new_style = described()
    new_style["Load"]["input"]["required"]["ckpt_name"] = ["COMBO", {"options": ["z"]}]
    new_style["Load"] |= {"description": "Better now", "category": "x", "input_order": {}}
    assert one == sha(new_style) == sha(dict(reversed(new_style.items())))
    changed = [described(Other={}), described(), described(), described()]
    changed[1]["Load"]["input"]["required"]["more"] = ["INT"]
    changed[2]["Load"]["output"] = ["CLIP"]
    changed[3]["Load"]["input"]["required"]["ckpt_name"] = ["STRING"]
    assert len({one, *map(sha, changed)}) == 5


def test_equal_lists_are_kept_once() -> None:
    told = {
        f"N{n}": {"input": {"required": {"m": [["a", "b"]], "f": [[True]], "i": [[1]]}}} for n in range(3)
    }
    nodes = parsed(json.dumps(told)).nodes.values()
    assert len({id(spec.inputs["m"].options) for spec in nodes}) == 1
    assert {repr(spec.inputs["f"].options) for spec in nodes} == {"(True,)"}
    odd = node_spec({"input": {"required": {"x": [[["a"]], {}], "y": "?", "z": []}, "optional": None}})
    assert [spec.type for spec in odd.inputs.values()] == [COMBO, "", ""]


async def test_it_is_laid_onto_the_volume_once(tmp_path: Path) -> None:
    comfy = Comfy(described("a"))
    info = await Catalogue(tmp_path).current(comfy)
    path = catalogue_file(tmp_path, info.sha256)
    assert path == tmp_path / ".comfy-runpod" / "catalogue" / f"{info.sha256}.json"
    assert json.loads(path.read_text("utf-8")) == comfy.told
    comfy.told = described("b")
    await Catalogue(tmp_path).current(comfy)
    assert json.loads(path.read_text("utf-8")) == described("a")
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    (tmp_path / "full").write_text("a file", encoding="utf-8")
    assert await Catalogue(tmp_path / "full").current(comfy)
    with pytest.raises(ValueError, match="no SHA-256"):
        catalogue_file(tmp_path, "../x")


def asks(comfy: Comfy, tmp_path: Path, **config: Any) -> Asks:
    return Asks(comfy, Catalogue(), Models(), make_config(tmp_path, **config))  # type: ignore[arg-type]


async def test_the_panel_gets_types_whole_or_by_name(tmp_path: Path) -> None:
    comfy = Comfy(described("a", Other={"output": []}))
    use = asks(comfy, tmp_path)
    answer = await object_info_command({}, use)
    assert (answer["status"], answer["object_info"]) == ("success", comfy.told)
    assert answer["object_info_sha256"] == use.catalogue.sha256
    answer = await object_info_command({"node_types": ["Other", "Never"]}, use)
    assert (answer["object_info"], answer["unknown"]) == ({"Other": {"output": []}}, ["Never"])
    for wrong in ("Load", [1], ["x"] * 2000):
        with pytest.raises(JobError, match="node_types"):
            await object_info_command({"node_types": wrong}, use)


async def test_types_too_large_for_an_answer_go_to_the_volume(tmp_path: Path) -> None:
    comfy = Comfy(described("x" * 10_000_000, Small={}))
    answer = await object_info_command({}, asks(comfy, tmp_path, volume=tmp_path))
    assert json.loads((tmp_path / answer["volume_path"]).read_text("utf-8")) == comfy.told
    assert "object_info" not in answer
    assert len(json.dumps(answer)) < 1000
    with pytest.raises(JobError) as caught:
        await object_info_command({}, asks(comfy, tmp_path, volume=None))
    assert caught.value.code == "result_too_large"
    assert (await object_info_command({"node_types": ["Small"]}, asks(comfy, tmp_path)))["object_info"]


async def test_a_model_that_came_meanwhile_is_no_problem(tmp_path: Path) -> None:
    now = [100.0]
    comfy, catalogue = Comfy(described("a")), Catalogue(clock=lambda: now[0])
    look = Preflight(catalogue, Models(), make_config(tmp_path))
    wanted = {"1": {"class_type": "Load", "inputs": {"ckpt_name": "b"}}}

    async def verdict() -> dict[str, Any]:
        found = await look.verdict(comfy, wanted)  # type: ignore[arg-type]
        assert found is not None
        return validated(found)

    assert (await verdict())["problems"][0]["kind"] == "missing_model"
    comfy.told = described("a", "b")
    now[0] += 10
    assert await verdict() == {
        "status": "success",
        "valid": True,
        "partial": False,
        "problems": [],
        "problem_count": 0,
    }
    assert comfy.asked == [None, "Load"]
    now[0] += 10
    await verdict()
    assert len(comfy.asked) == 2, "nobody is asked while nothing is wrong"


async def test_a_comfyui_that_does_not_tell_is_left_to_judge_alone(tmp_path: Path) -> None:
    comfy, catalogue = Comfy(described("a")), Catalogue()
    look = Preflight(catalogue, Models(), make_config(tmp_path))
    comfy.open.clear()
    assert await look.verdict(comfy, {}, patience_s=0.02) is None  # type: ignore[arg-type]
    comfy.fails = 2
    comfy.open.set()
    with pytest.raises(ComfyUnavailable, match="cannot be checked"):
        await validate({}, [], asks(comfy, tmp_path), look)
    assert await look.verdict(comfy, {}) is None  # type: ignore[arg-type]
    refused = JobError("validation_failed", "ComfyUI says no.")
    comfy.fails = 1
    assert await look.explained(comfy, {}, refused) is refused  # type: ignore[arg-type]
    fine = {"1": {"class_type": "Load", "inputs": {"ckpt_name": "a"}}}
    assert await look.explained(comfy, fine, refused) is refused  # type: ignore[arg-type]
    await catalogue.close()


async def test_the_client_asks_as_comfyui_wants_it(tmp_path: Path) -> None:
    from tests.unit.worker.helpers import FakeComfy, faked

    fake = FakeComfy()
    fake.broken = {"/object_info/Broken": 500, "/node_replacements": 404}
    async with faked(fake) as url:
        client = ComfyClient(url)
        try:
            await client.system_stats()
            assert client.version == (0, 3, 64)
            await client.object_info("A/b c")
            assert await client.replaced_types() == []
            with pytest.raises(ComfyUnavailable, match="status 500"):
                await client.object_info("Broken")
        finally:
            await client.close()
        nobody = ComfyClient("http://127.0.0.1:1")
        with pytest.raises(ComfyUnavailable):
            await nobody.object_info()
        with pytest.raises(ComfyUnavailable):
            await nobody.lacks_file("x", "input")
        await nobody.close()
    assert "/object_info/A/b c" in fake.paths("GET")
