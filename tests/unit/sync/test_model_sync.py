"""Looking at a folder and a real volume, and comparing the contents of files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path, PurePosixPath

import pytest

from app.errors import BadInput
from app.s3.errors import AccessRefused
from app.s3.errors import Busy as ServerBusy
from app.sync.model import Standing
from app.sync.scan import Rules
from app.sync.sync import Busy, ModelSync, Proving
from app.sync.transfer import Pace
from tests.unit.sync.volume_made import KIB, LARGE, MODELS, Rig, one

MIB = 1 << 20


def md5s(content: bytes, part: int) -> str:
    """The ETag of what went in parts, as most servers give it."""
    digests = [hashlib.md5(content[at : at + part]).digest() for at in range(0, len(content), part)]
    return f"{hashlib.md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def in_parts(rig: Rig, name: str, content: bytes, part: int) -> str:
    """As another program sends it; its ETag."""
    client, key = rig.access.client(), f"{MODELS}/{name}"
    upload = client.create_multipart_upload(Bucket=rig.access.volume_id, Key=key)["UploadId"]
    parts = []
    for number, at in enumerate(range(0, len(content), part), 1):
        told = client.upload_part(
            Bucket=rig.access.volume_id, Key=key, UploadId=upload, PartNumber=number,
            Body=content[at : at + part],
        )  # fmt: skip
        parts.append({"PartNumber": number, "ETag": told["ETag"]})
    told = client.complete_multipart_upload(
        Bucket=rig.access.volume_id, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    client.close()
    etag: str = told["ETag"].strip('"')
    return etag


async def test_both_sides_and_all_that_is_on_the_volume_are_seen(rig: Rig) -> None:
    rig.write("checkpoints/a.pt", 10)
    rig.leave("loras/b.pt", 20)
    rig.leave("c.pt", 30)
    rig.leave("result.png", 40, folder=".comfy-runpod/results/job-1")
    rig.leave("notes.txt", 50, folder="elsewhere/deep")
    picture = await rig.sync.look()
    assert {str(each.path): each.standing for each in picture.entries} == {
        "c.pt": Standing.THERE,
        "checkpoints/a.pt": Standing.HERE,
        "loras/b.pt": Standing.THERE,
    }
    assert picture.used == 20 + 30 + 40 + 50
    assert picture.folders == {"loras": 20, "": 30}
    assert picture.results == (40, 1)
    assert picture.notes == ()
    assert (await rig.sync.look(count_all=False)).used == 20 + 30 + 40
    assert set(await rig.standings()) == {"c.pt", "checkpoints/a.pt", "loras/b.pt"}
    assert [str(each.path) for each in (await rig.look(Rules(include=("loras",)))).entries] == ["loras/b.pt"]


async def test_an_empty_folder_and_an_empty_volume_are_fine(rig: Rig) -> None:
    assert (await rig.sync.look()).entries == ()


async def test_what_else_is_there_may_stay_unknown(rig: Rig) -> None:
    rig.leave("a.pt", 10)
    rig.leave("notes.txt", 50, folder="elsewhere")
    rig.proxy.befall("503", "GET", "prefix=elsewhere", times=100)
    picture = await rig.sync.look()
    assert [str(each.path) for each in picture.entries] == ["a.pt"]
    (note,) = picture.notes
    assert "What else is on the volume is not known" in note


async def test_a_look_that_cannot_be_is_an_error_and_no_empty_volume(rig: Rig) -> None:
    rig.leave("loras/a.pt", 10)
    rig.proxy.befall("503", "GET", "prefix=comfyui%2Fmodels%2Floras", times=100)
    with pytest.raises(ServerBusy):
        await rig.look()
    rig.proxy.rules.clear()
    rig.proxy.befall("403", "GET", times=100)
    rig.again()
    with pytest.raises(AccessRefused, match="Key, secret or volume id is wrong"):
        await rig.look()
    rig.proxy.rules.clear()
    rig.here.rmdir()
    with pytest.raises(BadInput, match="There is no folder"):
        await rig.look()


async def test_a_look_that_hangs_can_be_cancelled(rig: Rig) -> None:
    rig.proxy.befall("hold", "GET", times=100)
    looking = asyncio.create_task(rig.look())
    while not any(rule.seen for rule in rig.proxy.rules):
        await asyncio.sleep(0.01)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(looking, 5)


async def test_the_same_content_is_proved_by_its_md5(rig: Rig) -> None:
    rig.put("a.pt", rig.write("a.pt", 1000))
    rig.put("b.pt", os.urandom(1000))
    rig.write("b.pt", 1000)
    seen: list[Proving] = []
    picture = await rig.look()
    assert {each.standing for each in picture.entries} == {Standing.UNVERIFIED}
    proved = await rig.sync.prove(picture, seen.append)
    assert one(proved.entries, "a.pt").standing is Standing.SAME
    assert one(proved.entries, "b.pt").standing is Standing.DIFFERS
    assert "another content" in one(proved.entries, "b.pt").why
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert (seen[-1].done, seen[-1].total) == (2000, 2000)
    # From then on it is known.
    assert (await rig.standings())["a.pt"] == "same"


@pytest.mark.parametrize("part", [5 * MIB, 8 * MIB])
async def test_the_same_content_is_proved_by_the_md5s_of_usual_parts(rig: Rig, part: int) -> None:
    content = rig.write("a.pt", part + 123)
    assert in_parts(rig, "a.pt", content, part) == md5s(content, part)
    proved = await rig.sync.prove(await rig.look())
    assert one(proved.entries, "a.pt").standing is Standing.SAME
    assert await rig.standings() == {"a.pt": "same"}


async def test_parts_of_a_size_that_nobody_uses_prove_nothing_and_pieces_do(rig: Rig) -> None:
    content = rig.write("a.pt", LARGE)
    in_parts(rig, "a.pt", content, 50 * KIB)
    picture = await rig.look()
    assert one((await rig.sync.prove(picture)).entries, "a.pt").standing is Standing.UNVERIFIED
    assert one((await rig.sync.prove(picture, read_back=True)).entries, "a.pt").standing is Standing.SAME


async def test_the_list_tells_the_size_of_parts(rig: Rig) -> None:
    content = rig.write("a.pt", LARGE)
    etag = in_parts(rig, "a.pt", content, 50 * KIB)
    rig.write("b.pt", LARGE)
    other = in_parts(rig, "b.pt", os.urandom(LARGE), 50 * KIB)
    # The ETag is another than the list's: its hash is not believed, and its size of parts is tried.
    said = {"size": LARGE, "sha256": "0" * 64, "etag": "before", "part_size": 50 * KIB}
    listed = {"files": {"a.pt": said, "b.pt": said}}
    rig.put(".sync-manifest.json", json.dumps(listed).encode())
    assert etag != other
    proved = await rig.sync.prove(await rig.look())
    assert one(proved.entries, "a.pt").standing is Standing.SAME
    assert one(proved.entries, "b.pt").standing is Standing.DIFFERS


@pytest.mark.parametrize("at", [0, 700 * KIB, -1])
async def test_pieces_read_back_find_one_changed_byte(rig: Rig, at: int) -> None:
    # Smaller than what is read of a file: all of it is.
    content = bytearray(rig.write("a.pt", 1500 * KIB))
    content[at] ^= 1
    rig.leave("a.pt", bytes(content))
    picture = await rig.look()
    # A pod wrote it: the server has no ETag of it.
    assert one((await rig.sync.prove(picture)).entries, "a.pt").standing is Standing.UNVERIFIED
    proved = await rig.sync.prove(picture, read_back=True)
    assert one(proved.entries, "a.pt").standing is Standing.DIFFERS


async def test_a_file_that_is_to_be_verified_is_read_back_whatever_its_etag_says(rig: Rig) -> None:
    content = bytearray(rig.write("a.pt", 1500 * KIB))
    rig.again(pace=Pace())
    await rig.carried_out()
    assert await rig.standings() == {"a.pt": "same"}
    # A pod writes to it, and the server goes on with the ETag of before.
    content[1000] ^= 1
    (rig.there / "a.pt").write_bytes(content)
    picture = await rig.look()
    assert one(picture.entries, "a.pt").standing is Standing.SAME
    assert one((await rig.sync.prove(picture)).entries, "a.pt").standing is Standing.SAME
    found = await rig.sync.prove(picture, only={"a.pt"}, read_back=True)
    assert one(found.entries, "a.pt").standing is Standing.DIFFERS
    # And it is not forgotten.
    assert await rig.standings() == {"a.pt": "differs"}
    rig.again(pace=Pace())
    assert await rig.standings() == {"a.pt": "differs"}
    # Unless it is looked at again, and good.
    (rig.there / "a.pt").write_bytes((rig.here / "a.pt").read_bytes())
    found = await rig.sync.prove(await rig.look(), only={"a.pt"}, read_back=True)
    assert one(found.entries, "a.pt").standing is Standing.SAME
    assert await rig.standings() == {"a.pt": "same"}
    (rig.there / "a.pt").write_bytes(content)
    await rig.sync.prove(await rig.look(), only={"a.pt"}, read_back=True)
    progress = await rig.carried_out(overwrite={"a.pt"})
    assert progress.files_done == 1
    assert await rig.standings() == {"a.pt": "same"}
    again = await rig.sync.prove(await rig.look(), only={"a.pt"}, read_back=True)
    assert one(again.entries, "a.pt").standing is Standing.SAME


async def test_only_what_was_named_is_read(rig: Rig) -> None:
    for name in ("a.pt", "b.pt"):
        rig.put(name, rig.write(name, 100))
    proved = await rig.sync.prove(await rig.look(), only={"b.pt", "none.pt"})
    assert {str(each.path): each.standing for each in proved.entries} == {
        "a.pt": Standing.UNVERIFIED,
        "b.pt": Standing.SAME,
    }


async def test_a_file_that_goes_away_while_it_is_compared_is_left_out(rig: Rig) -> None:
    rig.put("a.pt", rig.write("a.pt", 100))
    rig.put("b.pt", rig.write("b.pt", 100))
    picture = await rig.look()
    (rig.here / "a.pt").unlink()
    proved = await rig.sync.prove(picture)
    assert one(proved.entries, "a.pt").standing is Standing.LEFT_OUT
    assert "cannot be read" in one(proved.entries, "a.pt").why
    assert one(proved.entries, "b.pt").standing is Standing.SAME


async def test_what_another_computer_brought_is_known_by_its_list(rig: Rig, tmp_path: Path) -> None:
    content = rig.write("loras/a.pt", LARGE)
    await rig.carried_out()
    assert await rig.standings() == {"loras/a.pt": "same"}
    # This one has the file too, and nothing on record.
    (tmp_path / "other").mkdir()
    other = Rig(rig.proxy, rig.volume, tmp_path / "other")
    try:
        other.write("loras/a.pt", content)
        picture = await other.look()
        assert one(picture.entries, "loras/a.pt").standing is Standing.UNVERIFIED
        bodies = len(rig.proxy.seen)
        proved = await other.sync.prove(picture)
        assert one(proved.entries, "loras/a.pt").standing is Standing.SAME
        assert len(rig.proxy.seen) == bodies
        (other.here / "loras/a.pt").unlink()
        plan = await other.plan(download=True)
        assert [step.sha256 for step in plan.steps] == [hashlib.sha256(content).hexdigest()]
    finally:
        other.close()


async def test_hashes_are_known_from_then_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    content = rig.write("a.pt", 1000)
    assert await rig.sync.hash_of(rig.here / "a.pt") == hashlib.sha256(content).hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: pytest.fail("It is read again."))
        assert await rig.sync.hash_of(rig.here / "a.pt") == hashlib.sha256(content).hexdigest()
    content = rig.write("a.pt", 1001)
    assert await rig.sync.hash_of(rig.here / "a.pt") == hashlib.sha256(content).hexdigest()


async def test_one_sync_at_a_time(rig: Rig) -> None:
    other = ModelSync(rig.here, rig.access, rig.records, rig.folder / "data")
    with rig.sync.lock():
        with pytest.raises(Busy, match="Another sync is running"), other.lock():
            pytest.fail("Two at once.")
        with pytest.raises(Busy), rig.sync.lock():
            pytest.fail("Two at once.")
    with other.lock():
        pass
    await other.close()


async def test_the_results_folder_is_synced_as_any_other(rig: Rig) -> None:
    rig.leave("job-1/x.png", 40, folder=".comfy-runpod/results")
    results = rig.again(prefix=PurePosixPath(".comfy-runpod/results"))
    picture = await results.look(count_all=False)
    assert [str(each.path) for each in picture.entries] == ["job-1/x.png"]
