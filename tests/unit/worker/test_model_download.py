"""Models are fetched whole or not at all, from where they may come, to where they belong."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import random
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.worker.helpers import make_config, tree
from tests.unit.worker.test_bucket import place as place
from tests.unit.worker.test_bucket import server as server
from tests.unit.worker.test_download import SECRET, Web, reply
from tests.unit.worker.test_download import web as web
from worker import model_part
from worker.config import Bucket, Config, ModelDownloads
from worker.contract import Progress
from worker.errors import BadRequest, JobError
from worker.model_download import Downloads, download_model
from worker.model_request import KINDS, parse_wish

HF, CIVITAI = "hf-token-0123456789", "civitai-token-0123456789"
HOST = "pictures.example"
URL = f"https://{HOST}/org/model.safetensors?{SECRET}"


def model(size: int = 300_000, seed: int = 1) -> bytes:
    """Something that looks like a safetensors file."""
    table = b'{"__metadata__":{}}'
    return len(table).to_bytes(8, "little") + table + random.Random(seed).randbytes(size)


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Shelf:
    """Serves one file as a good server does: with ranges and a version. ``cuts`` are after how many bytes
    each answer breaks off; ``asked`` the headers of all requests."""

    def __init__(self, content: bytes, *cuts: int, etag: str = '"v1"') -> None:
        self.content = content
        self.cuts = list(cuts)
        self.etag = etag
        self.asked: list[dict[str, str]] = []
        self.ranges = True

    def __call__(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(headers)
        first, status, more = 0, 200, {"ETag": self.etag} if self.etag else {}
        told = headers.get("range")
        if told and self.ranges and headers.get("if-range", self.etag) == self.etag:
            first, status = int(told.removeprefix("bytes=").removesuffix("-")), 206
            if first >= len(self.content):
                reply(request, b"", 416)
                return
            more["Content-Range"] = f"bytes {first}-{len(self.content) - 1}/{len(self.content)}"
        body = self.content[first:]
        request.send_response(status)
        for name, value in {**more, "Content-Length": str(len(body))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@dataclasses.dataclass
class Desk:
    """Sends download requests to a worker with a volume."""

    config: Config
    web: Web
    told: list[Progress] = dataclasses.field(default_factory=list)
    folders: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    @property
    def models(self) -> Path:
        return self.config.models_dir

    def rules(self, **changes: Any) -> None:
        rules = dataclasses.replace(self.config.model_downloads, **changes)
        self.config = dataclasses.replace(self.config, model_downloads=rules)

    async def ask(self, **fields: Any) -> dict[str, Any]:
        request = {"kind": "checkpoints", "name": "sub/model.safetensors", "url": URL, **fields}
        request = {key: value for key, value in request.items() if value is not None}
        use = Downloads(
            self.config,
            self.web.downloader(),
            lambda progress, _: self.told.append(progress),
            self.folders,
            pause_s=0.01,
        )
        return await download_model(request, use)

    async def refused(self, **fields: Any) -> JobError:
        with pytest.raises(JobError) as caught:
            await self.ask(**fields)
        told = f"{caught.value.summary} {caught.value.hint} {caught.value.details}"
        for secret in (SECRET, HF, CIVITAI):
            assert secret not in told
        assert "\n" not in told
        return caught.value

    def left(self) -> dict[str, bytes | None]:
        """All files in the models folder, parts too."""
        found = tree(self.models) if self.models.is_dir() else {}
        return {name: content for name, content in found.items() if content is not None}


@pytest.fixture
def desk(web: Web, tmp_path: Path) -> Desk:
    volume = tmp_path / "volume"
    volume.mkdir()
    rules = ModelDownloads(allowed=True, hosts=(HOST,), hf_token=HF, civitai_token=CIVITAI)
    config = make_config(
        tmp_path,
        volume=volume,
        models_dir=volume / "models",
        model_downloads=rules,
        limits=dataclasses.replace(make_config(tmp_path).limits, free_disk=0),
    )
    return Desk(config, web)


async def test_a_model_comes_to_its_folder(desk: Desk) -> None:
    content = model()
    desk.web.answer = Shelf(content)
    answer = await desk.ask(sha256=sha(content).upper(), size=len(content))
    assert answer.pop("seconds") >= 0
    assert answer == {
        "status": "success",
        "model": {
            "kind": "checkpoints",
            "name": "sub/model.safetensors",
            "size": len(content),
            "sha256": sha(content),
            "volume_path": "models/checkpoints/sub/model.safetensors",
        },
        "already_there": False,
        "resumed_from": 0,
        "warnings": [],
    }
    assert desk.left() == {str(Path("checkpoints", "sub", "model.safetensors")): content}
    await asyncio.sleep(0)
    assert desk.told[-1].steps == len(content)


async def test_without_the_switch_nothing_is_fetched(desk: Desk) -> None:
    desk.rules(allowed=False)
    error = await desk.refused()
    assert (error.code, desk.web.dialled) == ("download_not_allowed", [])
    assert "ALLOW_MODEL_DOWNLOAD" in error.hint


@pytest.mark.parametrize("host", ["other.example", "notpictures.example", "pictures.example.evil.example"])
async def test_other_hosts_are_not_asked(desk: Desk, host: str) -> None:
    error = await desk.refused(url=f"https://{host}/x?{SECRET}")
    assert (error.code, desk.web.dialled, desk.web.asked) == ("bad_input", [], [])
    assert host in error.summary


async def test_neither_is_a_host_that_an_allowed_one_leads_to(desk: Desk) -> None:
    desk.web.answer = lambda request: reply(request, b"", 302, Location="https://evil.example/x")
    assert "evil.example" in (await desk.refused()).summary
    assert len(desk.web.dialled) == 1


async def test_a_redirect_into_a_private_network_is_refused(desk: Desk) -> None:
    desk.web.answer = lambda request: reply(request, b"", 302, Location="/again")
    desk.web.names = [["93.184.216.34"], ["169.254.169.254"]]
    assert "private network" in (await desk.refused()).summary
    assert len(desk.web.dialled) == 1


@pytest.mark.parametrize(
    ("host", "token"),
    [
        ("huggingface.co", HF),
        ("civitai.com", CIVITAI),
        ("cdn.huggingface.co", None),
        ("huggingface.co.example", None),
        ("cdn.example", None),
    ],
)
def test_tokens_go_to_their_own_host_only(desk: Desk, host: str, token: str | None) -> None:
    from worker.model_sources import FromWeb

    sent: dict[str, dict[str, str]] = {}

    class Spy:
        def opened(self, url: str, stop: Any, *, headers: Any, allowed: Any) -> Any:
            sent[host] = headers(host)
            raise StopIteration

    source = FromWeb(URL, Spy(), desk.config.model_downloads)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError), source.opened(0, None, None):  # type: ignore[arg-type]
        pass
    assert sent[host].get("Authorization") == (f"Bearer {token}" if token else None)
    assert (HF in repr(source.rules)) is False


async def test_a_redirect_takes_no_token_along(desk: Desk) -> None:
    shelf = Shelf(model())
    seen: list[tuple[str, str | None]] = []

    def on(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.headers["Host"], request.headers.get("Authorization")))
        if request.path.startswith("/org"):
            reply(request, b"", 302, Location="https://cdn.hf.co/file?signature=x")
        else:
            shelf(request)

    desk.web.answer = on
    desk.web.context.check_hostname = False
    desk.rules(hosts=ModelDownloads().hosts)
    await desk.ask(url=f"https://huggingface.co/org/model.safetensors?{SECRET}")
    assert seen == [("huggingface.co", f"Bearer {HF}"), ("cdn.hf.co", None)]


async def test_a_cut_connection_is_gone_on_from(desk: Desk) -> None:
    content = model()
    shelf = desk.web.answer = Shelf(content, 100_000, 50_000)
    answer = await desk.ask(sha256=sha(content))
    assert (answer["model"]["sha256"], answer["resumed_from"]) == (sha(content), 0)
    assert [asked.get("range") for asked in shelf.asked] == [None, "bytes=100000-", "bytes=150000-"]
    assert {asked.get("if-range") for asked in shelf.asked[1:]} == {'"v1"'}
    assert list(desk.left().values()) == [content]


async def test_the_same_request_goes_on_where_the_last_one_ended(desk: Desk) -> None:
    content = model()
    shelf = desk.web.answer = Shelf(content, 100_000, *[0] * 8)
    error = await desk.refused()
    assert (error.code, "goes on where it was" in error.hint) == ("download_failed", True)
    assert len(desk.left()) == 2
    shelf.cuts = []
    answer = await desk.ask()
    assert (answer["resumed_from"], answer["model"]["sha256"]) == (100_000, sha(content))
    assert list(desk.left().values()) == [content]


async def test_a_killed_worker_s_part_is_used_as_far_as_it_is_safe(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes after the last checkpoint may be anything: they are fetched again."""
    content = model()
    desk.web.answer = Shelf(content, 100_000, *[0] * 8)
    await desk.refused()
    part = next(path for path in (desk.models / "checkpoints" / "sub").iterdir() if path.suffix == ".part")
    with part.open("ab") as file:
        file.write(b"torn" * 5000)
    shelf = desk.web.answer = Shelf(content)
    assert (await desk.ask())["resumed_from"] == 100_000
    assert list(desk.left().values()) == [content]
    assert shelf.asked[0]["range"] == "bytes=100000-"


async def test_a_part_that_is_not_what_its_note_says_is_dropped(desk: Desk) -> None:
    content = model()
    desk.web.answer = Shelf(content, 100_000, *[0] * 8)
    await desk.refused()
    part = next(path for path in (desk.models / "checkpoints" / "sub").iterdir() if path.suffix == ".part")
    part.write_bytes(b"x" * 100_000)
    desk.web.answer = Shelf(content)
    assert (await desk.ask())["resumed_from"] == 0
    assert list(desk.left().values()) == [content]


async def test_another_version_of_the_file_is_fetched_from_its_beginning(desk: Desk) -> None:
    desk.web.answer = Shelf(model(), 100_000, *[0] * 8)
    await desk.refused()
    content = model(seed=2)
    desk.web.answer = Shelf(content, etag='"v2"')
    assert (await desk.ask())["model"]["sha256"] == sha(content)
    assert list(desk.left().values()) == [content]


async def test_a_server_without_ranges_is_asked_from_the_beginning(desk: Desk) -> None:
    content = model()
    shelf = desk.web.answer = Shelf(content, 100_000)
    shelf.ranges = False
    assert (await desk.ask(sha256=sha(content)))["model"]["size"] == len(content)
    assert list(desk.left().values()) == [content]


async def test_without_a_version_and_a_hash_nothing_is_gone_on_from(desk: Desk) -> None:
    content = model()
    shelf = desk.web.answer = Shelf(content, 100_000, etag="")
    await desk.ask()
    assert [asked.get("range") for asked in shelf.asked] == [None, None]
    assert list(desk.left().values()) == [content]


async def test_checkpoints_are_written_on_the_way(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker import model_fetch

    monkeypatch.setattr(model_fetch, "CHECKPOINT", 50_000)
    kept: list[int] = []
    keep = model_part.Part.keep

    def spy(part: model_part.Part, *args: Any) -> None:
        kept.append(part.size)
        keep(part, *args)

    monkeypatch.setattr(model_part.Part, "keep", spy)
    desk.web.answer = Shelf(model(2_000_000))
    await desk.ask()
    assert len(kept) > 3


async def test_a_wrong_hash_leaves_nothing(desk: Desk) -> None:
    desk.web.answer = Shelf(model())
    error = await desk.refused(sha256="0" * 64)
    assert (error.code, desk.left()) == ("model_damaged", {})


@pytest.mark.parametrize("wrong", [100, 5_000_000])
async def test_a_wrong_size_leaves_nothing(desk: Desk, wrong: int) -> None:
    desk.web.answer = Shelf(model())
    assert (await desk.refused(size=wrong)).code == "model_damaged"
    assert desk.left() == {}


async def test_what_is_no_model_leaves_nothing(desk: Desk) -> None:
    desk.web.answer = lambda request: reply(request, b"<html>please log in</html>", ETag='"x"')
    assert "no safetensors file" in (await desk.refused()).summary
    assert desk.left() == {}
    desk.web.answer = lambda request: reply(request, b"<html>", Content_Type="text/html; charset=utf-8")
    error = await desk.refused()
    assert (error.code, "HF_TOKEN" in error.hint) == ("download_refused", True)


@pytest.mark.parametrize(
    ("status", "code", "requests"), [(401, "download_refused", 1), (503, "download_failed", 4)]
)
async def test_a_status_is_told(desk: Desk, status: int, code: str, requests: int) -> None:
    desk.web.answer = lambda request: reply(request, b"", status)
    error = await desk.refused()
    assert (error.code, len(desk.web.seen)) == (code, requests)
    assert f"status {status}" in error.summary


async def test_what_is_too_large_is_refused_before_it_comes(desk: Desk) -> None:
    desk.rules(max_bytes=1000)
    desk.web.answer = Shelf(model())
    assert (await desk.refused()).code == "model_too_large"
    assert desk.left() == {}


async def test_a_full_disk_is_noticed_before_it_comes(desk: Desk) -> None:
    limits = dataclasses.replace(desk.config.limits, free_disk=1 << 60)
    desk.config = dataclasses.replace(desk.config, limits=limits)
    desk.web.answer = Shelf(model())
    assert (await desk.refused()).code == "disk_full"


async def test_the_same_file_is_not_fetched_twice(desk: Desk) -> None:
    content = model()
    shelf = desk.web.answer = Shelf(content)
    await desk.ask(sha256=sha(content))
    assert (await desk.ask(sha256=sha(content)))["already_there"] is True
    # By another way it came to the worker: it is read, and known.
    lying = desk.models / "checkpoints" / "own.safetensors"
    lying.write_bytes(content)
    assert (await desk.ask(name="own.safetensors", sha256=sha(content)))["already_there"] is True
    await desk.ask(name="b.safetensors")
    assert (await desk.ask(name="b.safetensors"))["already_there"] is True
    assert len(shelf.asked) == 2


async def test_another_file_is_overwritten_only_when_asked(desk: Desk) -> None:
    content = model()
    desk.web.answer = Shelf(content)
    target = desk.models / "checkpoints" / "sub" / "model.safetensors"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"theirs")
    for fields in ({}, {"sha256": sha(content)}, {"size": 6}):
        assert (await desk.refused(**fields)).code == "model_exists"
        assert target.read_bytes() == b"theirs"
    assert (await desk.ask(overwrite=True))["already_there"] is False
    assert target.read_bytes() == content


async def test_a_file_that_comes_meanwhile_is_not_overwritten(desk: Desk) -> None:
    target = desk.models / "checkpoints" / "sub" / "model.safetensors"
    shelf = Shelf(model())

    def on(request: BaseHTTPRequestHandler) -> None:
        target.write_bytes(b"theirs")
        shelf(request)

    desk.web.answer = on
    assert (await desk.refused()).code == "model_exists"
    assert target.read_bytes() == b"theirs"


async def test_two_requests_for_one_target_are_one_download(desk: Desk) -> None:
    content = model()
    shelf = Shelf(content)

    def slow(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        shelf(request)

    desk.web.answer = slow
    answers = await asyncio.gather(*(desk.ask(sha256=sha(content)) for _ in range(3)))
    assert sorted(answer["already_there"] for answer in answers) == [False, True, True]
    assert (len(shelf.asked), list(desk.left().values())) == (1, [content])


async def test_a_cancelled_download_stops_at_once_and_is_gone_on_from(desk: Desk) -> None:
    content = model()
    shelf = Shelf(content)
    begun = threading.Event()

    def drips(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.send_header("ETag", '"v1"')
        request.end_headers()
        request.wfile.write(content[:100_000])
        request.wfile.flush()
        begun.set()
        time.sleep(3)

    desk.web.answer = drips
    task = asyncio.create_task(desk.ask())
    await asyncio.to_thread(begun.wait, 5)
    await asyncio.sleep(0.2)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 1.5
    desk.web.answer = shelf
    assert (await desk.ask())["resumed_from"] == 100_000


async def test_comfyui_s_own_folder_on_the_volume_is_used(desk: Desk) -> None:
    desk.web.answer = Shelf(model())
    desk.folders = {
        "diffusion_models": ["/comfyui/models/unet", str(desk.models / "unet")],
        "vae": ["/elsewhere"],
    }
    answer = await desk.ask(kind="unet", name="a.safetensors")
    assert answer["model"]["volume_path"] == "models/unet/a.safetensors"
    assert "does not look" in (await desk.ask(kind="vae", name="a.safetensors"))["warnings"][0]


async def test_a_link_out_of_the_folder_is_refused(desk: Desk, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (desk.models / "checkpoints").mkdir(parents=True)
    (desk.models / "checkpoints" / "sub").symlink_to(outside, target_is_directory=True)
    assert (await desk.refused()).code == "bad_input"
    assert (list(outside.iterdir()), desk.web.dialled) == ([], [])


@pytest.fixture
def stocked(desk: Desk, server: tuple[str, Path], place: Bucket) -> Callable[[bytes], None]:
    desk.config = dataclasses.replace(desk.config, bucket=place)

    def stock(content: bytes) -> None:
        folder = server[1] / "results" / "models"
        folder.mkdir(exist_ok=True)
        (folder / "a.safetensors").write_bytes(content)

    return stock


async def test_a_model_comes_from_the_worker_s_bucket(desk: Desk, stocked: Callable[[bytes], None]) -> None:
    content = model(3_000_000)
    stocked(content)
    answer = await desk.ask(url=None, s3="s3://results/models/a.safetensors", sha256=sha(content))
    assert (answer["model"]["size"], desk.web.dialled) == (len(content), [])
    error = await desk.refused(url=None, s3="s3://results/none.safetensors", name="b.safetensors")
    assert error.code == "download_refused"


async def test_a_part_from_the_bucket_is_gone_on_from(desk: Desk, stocked: Callable[[bytes], None]) -> None:
    content = model(3_000_000)
    stocked(content)
    wish = parse_wish({"kind": "vae", "name": "a.safetensors", "s3": "s3://results/models/a.safetensors"})
    part = model_part.Part(
        desk.models / "vae" / "a.safetensors", dataclasses.replace(wish, sha256=sha(content)).source
    )
    digest = part.begin()
    with part.path.open("r+b") as file:
        file.write(content[:1_000_000])
        digest.update(content[:1_000_000])
        part.size = 1_000_000
        part.keep(file, digest)
    fields = {"kind": "vae", "name": "a.safetensors", "sha256": sha(content)}
    answer = await desk.ask(url=None, s3="s3://results/models/a.safetensors", **fields)
    assert answer["resumed_from"] == 1_000_000
    assert (desk.models / "vae" / "a.safetensors").read_bytes() == content


async def test_without_a_bucket_there_is_none(desk: Desk) -> None:
    assert "has none" in (await desk.refused(url=None, s3="s3://results/a.safetensors")).summary


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "custom_nodes"},
        {"kind": "configs"},
        {"kind": ".."},
        {"kind": "a/b"},
        {"kind": None},
        {"kind": ["vae"]},
        {"name": "../x.safetensors"},
        {"name": "/x.safetensors"},
        {"name": "x"},
        {"name": "x.py"},
        {"name": ".hidden/x.safetensors"},
        {"name": "x.ckpt"},
        {"name": "x.PT"},
        {"name": 5},
        {"sha256": "x"},
        {"sha256": 5},
        {"size": True},
        {"size": -1},
        {"size": "5"},
        {"overwrite": "yes"},
        {"url": "http://x/"},
        {"url": 5},
        {"url": None},
        {"s3": "s3://results/x"},
        {"url": None, "s3": "s3://x"},
        {"url": None, "s3": 5},
        {"url": None, "s3": "s3://../x"},
    ],
)
async def test_a_request_that_cannot_be_used_is_refused(desk: Desk, fields: dict[str, Any]) -> None:
    assert (await desk.refused(**fields)).code == "bad_input"
    assert (desk.web.dialled, desk.left()) == ([], {})


async def test_pickles_come_with_the_switch_only(desk: Desk) -> None:
    desk.web.answer = Shelf(b"\x80\x02 some pickle")
    error = await desk.refused(kind="upscale_models", name="x.pth")
    assert "ALLOW_PICKLE_MODELS" in error.hint
    desk.rules(pickles=True)
    assert (await desk.ask(kind="upscale_models", name="x.pth"))["status"] == "success"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.text(max_size=30) | st.lists(
    st.sampled_from(["..", ".", "a", "con", "", "x.safetensors", "C:", "\\", "\0", "a.safetensors"]),
    max_size=4,
).map("/".join)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "url": JSON | st.just(URL) | st.text().map("https://{}".format),
            "s3": JSON | st.text().map("s3://{}".format),
            "kind": JSON | st.sampled_from(sorted(KINDS)) | NAMES,
            "name": JSON | NAMES,
            "sha256": JSON,
            "size": JSON,
            "overwrite": JSON,
        },
    )
)
def test_no_request_leaves_the_models_folder_and_none_breaks_anything(source: dict[str, Any]) -> None:
    try:
        wish = parse_wish(source, ["my kind"])
    except BadRequest:
        return
    root = Path("/models").resolve()
    target = root.joinpath(wish.kind, *wish.name.parts)
    assert target.resolve().is_relative_to(root / wish.kind)
    assert len(Path(wish.kind).parts) == 1
    assert target.suffix.lower() in (".safetensors", ".sft", ".gguf")
    assert json.dumps(wish.source)


def test_the_environment_says_what_may_be_fetched(tmp_path: Path) -> None:
    env = {
        "ALLOW_MODEL_DOWNLOAD": "true",
        "MODEL_DOWNLOAD_HOSTS": "A.example, b.example",
        "MAX_MODEL_BYTES": "5",
        "MODEL_DOWNLOAD_TIMEOUT": "7",
        "ALLOW_PICKLE_MODELS": "yes",
        "HF_TOKEN": HF,
        "CIVITAI_API_TOKEN": CIVITAI,
        "LOG_MODELS": "changed",
    }
    config = Config.from_env(env)
    rules = ModelDownloads(True, ("a.example", "b.example"), 5, 7, True, HF, CIVITAI)
    assert (config.model_downloads, config.log_models) == (rules, "changed")
    assert {HF, CIVITAI} <= set(config.secrets)
    assert HF not in repr(config)
    usual = Config.from_env({})
    assert (usual.model_downloads, usual.log_models) == (ModelDownloads(), "always")
    assert not usual.model_downloads.allowed
    with pytest.raises(ValueError, match="LOG_MODELS"):
        Config.from_env({"LOG_MODELS": "never"})
