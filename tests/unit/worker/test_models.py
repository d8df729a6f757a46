"""The models that are there: listed once, noticed when they change, logged with each request."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.helpers import make_config
from worker.catalogue import Catalogue
from worker.errors import JobError
from worker.models import Listing, Models, models_used
from worker.object_info import parsed
from worker.questions import Asks
from worker.questions import models as models_command


class Comfy:
    """A ComfyUI whose models lie below ``root``. ``asked`` are the kinds it was asked for."""

    def __init__(self, root: Path, *, tells_folders: bool = True) -> None:
        self.root = root
        self.tells_folders = tells_folders
        self.asked: list[str] = []
        for kind in ("checkpoints", "loras", "configs", "custom_nodes"):
            (root / kind).mkdir(parents=True, exist_ok=True)

    def put(self, path: str, size: int = 3) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(bytes(size))
        return target

    async def model_folders(self) -> dict[str, list[str]]:
        kinds = [path.name for path in self.root.iterdir()]
        return {kind: [str(self.root / kind)] if self.tells_folders else [] for kind in kinds}

    async def model_list(self, kind: str) -> list[str]:
        self.asked.append(kind)
        folder = self.root / kind
        return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]

    async def model_sizes(self, kind: str) -> dict[str, int]:
        return dict.fromkeys(await self.model_list(kind), 7)


async def test_models_are_listed_with_their_sizes(tmp_path: Path) -> None:
    comfy = Comfy(tmp_path)
    comfy.put("checkpoints/sub/b.safetensors", 10)
    comfy.put("checkpoints/a.safetensors", 5)
    comfy.put("custom_nodes/pack/x.py")
    use = Asks(comfy, Catalogue(), Models(), make_config(tmp_path))  # type: ignore[arg-type]
    answer = await models_command({}, use)
    assert answer["models"] == {
        "checkpoints": [
            {"name": "a.safetensors", "size": 5},
            {"name": str(Path("sub", "b.safetensors")), "size": 10},
        ],
        "loras": [],
    }
    assert (answer["status"], answer["count"], len(answer["hash"])) == ("success", 2, 64)
    assert use.models.names["checkpoints"] == ("a.safetensors", str(Path("sub", "b.safetensors")))
    assert use.models.folders["loras"] == [str(tmp_path / "loras")]


async def test_the_list_is_asked_again_only_when_a_folder_changed(tmp_path: Path) -> None:
    comfy, models = Comfy(tmp_path), Models()
    comfy.put("checkpoints/sub/deep/a.safetensors")
    first = await models.current(comfy)  # type: ignore[arg-type]
    assert await models.current(comfy) is first  # type: ignore[arg-type]
    assert sorted(comfy.asked) == ["checkpoints", "loras"]
    for path in ("checkpoints/sub/deep/b.safetensors", "loras/new/c.safetensors"):
        await asyncio.sleep(0.02)  # no two changes within a file system's tick
        comfy.put(path)
        changed = await models.current(comfy)  # type: ignore[arg-type]
        assert changed.sha256 != first.sha256
        first = changed
    await asyncio.sleep(0.02)
    (tmp_path / "checkpoints/sub/deep/b.safetensors").unlink()
    assert (await models.current(comfy)).count == 2  # type: ignore[arg-type]
    models.forget()
    assert await models.current(comfy) is not first  # type: ignore[arg-type]


async def test_folders_that_are_not_to_be_seen_are_asked_about_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comfy, models = Comfy(tmp_path, tells_folders=False), Models()
    comfy.put("loras/a.safetensors")
    first = await models.current(comfy)  # type: ignore[arg-type]
    assert first.kinds["loras"]["a.safetensors"].size == 7
    comfy.put("loras/b.safetensors")
    assert await models.current(comfy) is first  # type: ignore[arg-type]
    monkeypatch.setattr("worker.models._RECHECK_S", 0.0)
    assert (await models.current(comfy)).count == 2  # type: ignore[arg-type]


async def test_a_list_too_large_for_an_answer_is_refused(tmp_path: Path) -> None:
    comfy = Comfy(tmp_path)

    async def many(kind: str) -> list[str]:
        return [f"{number:0250}" for number in range(20_000)]

    comfy.model_list = many  # type: ignore[method-assign]
    use = Asks(comfy, Catalogue(), Models(), make_config(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(JobError) as caught:
        await models_command({}, use)
    assert caught.value.code == "result_too_large"


LISTED = Listing.of(
    {
        "checkpoints": {"a.safetensors": 5_000_000, "same.safetensors": 1},
        "loras": {"same.safetensors": 2, "b.safetensors": None},
        "embeddings": {"bad/hands.pt": 3},
    }
)


def test_the_models_that_a_workflow_uses_are_told() -> None:
    told = {"Pick": {"input": {"required": {"which": [["same.safetensors", "b.safetensors"]]}}}}
    workflow = {
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "LoraLoader", "inputs": {"lora_name": "same.safetensors", "model": ["1", 0]}},
        "3": {"class_type": "Pick", "inputs": {"which": {"__value__": "same.safetensors"}}},
        "4": {"class_type": "Text", "inputs": {"text": "a cat, (embedding:bad/hands:1.2), embedding:none"}},
        "5": {"class_type": "Loader", "inputs": {"ckpt_name": "none.safetensors"}},
        "6": {"class_type": "Other", "inputs": {"x": "b.safetensors"}},
        "7": "no node",
        "8": {"inputs": 5},
    }
    used = models_used(workflow, parsed(json.dumps(told)), LISTED)
    assert [(model.kind, model.name) for model in used] == [
        ("checkpoints", "a.safetensors"),
        ("loras", "same.safetensors"),
        ("embeddings", "bad/hands.pt"),
        ("loras", "b.safetensors"),
    ]
    assert used[0].to_json() == {"kind": "checkpoints", "name": "a.safetensors", "size": 5_000_000}
    # Without the node types a name in two kinds is taken for the first one's.
    assert LISTED.kinds["checkpoints"]["same.safetensors"] in models_used(workflow, None, LISTED)


def test_each_request_logs_the_models(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def logged(models: Models, listing: Listing, used: Any = ()) -> list[str]:
        caplog.clear()
        models.note(listing, list(used))
        return [record.getMessage() for record in caplog.records]

    always, changed = Models("always"), Models("changed")
    for models in (always, changed):
        lines = logged(models, LISTED)
        assert lines[0] == f"5 models are there ({LISTED.sha256[:12]})."
        assert lines[1] == "models/checkpoints: a.safetensors (5 MB), same.safetensors (0 MB)"
        assert len(lines) == 4
    used = [LISTED.kinds["checkpoints"]["a.safetensors"]]
    told = f"5 models are there ({LISTED.sha256[:12]}); used: "
    assert logged(always, LISTED, used) == [f"{told}checkpoints/a.safetensors (5 MB)"]
    assert logged(always, LISTED) == [f"{told}none of them"]
    assert logged(changed, LISTED, used) == []
    assert len(logged(changed, Listing.of({"vae": {"x": 1}}))) == 2


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8),
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.text(max_size=3), JSON | st.fixed_dictionaries({"inputs": JSON, "class_type": JSON}), max_size=4
    )
)
def test_no_workflow_breaks_the_search(workflow: dict[str, Any]) -> None:
    assert models_used(workflow, None, LISTED) == []
