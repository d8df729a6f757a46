"""Single files to a volume and back, over a way that fails in every manner, at two real servers."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.errors import BadInput
from app.s3.access import VolumeAccess
from app.s3.body import Limit
from app.s3.bucket import Bucket, Stat, TwiceTheSamePage
from app.s3.download import Fetched, Fetcher
from app.s3.errors import (
    AccessRefused,
    Busy,
    Damaged,
    FileChanged,
    NotThere,
    Offline,
    PartTooLarge,
    UploadGone,
    VolumeFull,
)
from app.s3.flow import Crew, Flow, Slots
from app.s3.layout import slices
from app.s3.patience import Patience, Waiting
from app.s3.records import RECORDS, Records
from app.s3.survey import survey
from app.s3.upload import Sender, Sent
from app.settings import Secret
from app.threads import Stopped
from tests.s3 import ACCESS, SECRET, SERVERS, s3_server
from tests.s3_proxy import S3Proxy

VOLUME = "vol0123"
KIB = 1 << 10
PART = 256 * KIB
SIZE = 5 * PART + 1234
KEY = "comfyui/models/checkpoints/a b#+&ü.safetensors"
QUICK = Patience(tries=4, base_s=0.01, most_s=0.05)


@pytest.fixture(
    scope="module", params=[SERVERS[0], *(pytest.param(each, marks=pytest.mark.long) for each in SERVERS[1:])]
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / VOLUME).mkdir()
    with s3_server(folder, kind=request.param) as url:
        yield url, folder / VOLUME


@dataclass
class Rig:
    """A volume behind a proxy, and what a program has of it; :meth:`again` is the program after its end."""

    proxy: S3Proxy
    volume: Path
    folder: Path
    moved: int = 0
    had: int = 0
    waits: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.access = VolumeAccess(VOLUME, self.proxy.url, "EU-RO-1", Secret(ACCESS), Secret(SECRET))
        self.file = self.folder / "here.bin"
        self.file.write_bytes(os.urandom(SIZE))
        self.again()

    def again(self) -> None:
        self.bucket = Bucket(self.access)
        self.records = Records(self.folder / RECORDS)
        self.slots = Slots(4)
        self.sender = Sender(
            self.bucket,
            self.records,
            Crew("test", 4),
            self.slots,
            patience=QUICK,
            part=PART,
            least_part=64 * KIB,
        )
        self.fetcher = Fetcher(self.bucket, self.records, Slots(2), patience=QUICK, span=PART)
        self.flow = Flow(count=self._count, had=self._had, tell=self._tell)
        self.moved = self.had = 0

    def _count(self, size: int) -> None:
        self.moved += size

    def _had(self, size: int) -> None:
        self.had += size

    def _tell(self, waiting: Waiting | None) -> None:
        if waiting is not None:
            self.waits.append(waiting.why)

    def send(self, key: str = KEY, *, confirm: bool = True) -> Sent:
        return self.sender.send(key, self.file, self.flow, self.bucket.head(key), confirm=confirm)

    def fetch(self, target: Path, **more: object) -> Fetched:
        return self.fetcher.fetch(KEY, target, self.flow, **more)  # type: ignore[arg-type]

    @property
    def stored(self) -> Path:
        return self.volume / KEY

    def is_whole(self) -> bool:
        return self.stored.read_bytes() == self.file.read_bytes()

    @property
    def open_uploads(self) -> int:
        return len(self.records.uploads(self.access.url, VOLUME))


@pytest.fixture
def rig(server: tuple[str, Path], tmp_path: Path) -> Iterator[Rig]:
    with S3Proxy(server[0]) as proxy:
        made = Rig(proxy, server[1], tmp_path)
        yield made
        made.flow.stop.set()
        proxy.let_go()
        made.records.close()
        made.bucket.close()
    for each in sorted(server[1].rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()


def cut_in_parts(size: int) -> int:
    return -(-size // PART)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART, SIZE])
def test_a_file_arrives_whole_and_is_proved(rig: Rig, size: int) -> None:
    rig.file.write_bytes(os.urandom(size))
    sent = rig.send()
    assert rig.is_whole()
    assert sent.sha256 == hashlib.sha256(rig.file.read_bytes()).hexdigest()
    assert sent.proof == "etag"
    assert rig.moved == rig.proxy.bodies() == size
    assert len(rig.proxy.puts()) == max(1, cut_in_parts(size) if size > PART else 1)
    assert rig.open_uploads == 0
    back = rig.folder / "back" / "x.bin"
    fetched = rig.fetch(back)
    assert back.read_bytes() == rig.file.read_bytes()
    assert (fetched.sha256, [each.name for each in back.parent.iterdir()]) == (sent.sha256, ["x.bin"])


@pytest.mark.parametrize("how", ["500", "502", "503", "524", "reset", "done 502", "done reset"])
def test_a_part_that_fails_goes_again_and_no_other(rig: Rig, how: str) -> None:
    rig.proxy.befall(how, "PUT", part=2)
    rig.send()
    assert rig.is_whole()
    # What was under way when it failed is all that goes twice.
    assert rig.proxy.bodies() == SIZE + PART
    assert rig.moved == SIZE
    assert rig.waits


def test_a_small_file_that_fails_goes_again(rig: Rig) -> None:
    rig.file.write_bytes(b"small")
    rig.proxy.befall("503", "PUT")
    rig.proxy.befall("reset", "PUT")
    rig.send()
    assert rig.is_whole()


def test_a_server_that_stays_busy_fails_the_file_and_what_went_stays(rig: Rig) -> None:
    broken = rig.proxy.befall("503", "PUT", part=3, times=1000)
    with pytest.raises(Busy, match="SlowDown"):
        rig.send()
    assert broken.seen == QUICK.tries
    assert rig.open_uploads == 1
    sent_before = rig.proxy.bodies()
    broken.times = 0
    rig.again()
    rig.send()
    assert rig.is_whole()
    missing = SIZE - rig.had
    assert rig.had >= 2 * PART
    assert rig.proxy.bodies() - sent_before == missing


def test_without_a_connection_it_waits_as_long_as_it_takes(rig: Rig) -> None:
    rig.proxy.is_gone = True

    def come_back() -> None:
        _until(lambda: len(rig.waits) > 2 * QUICK.tries)
        rig.proxy.is_gone = False

    clock = threading.Thread(target=come_back)
    clock.start()
    rig.sender.send(KEY, rig.file, rig.flow, None)
    clock.join()
    assert rig.is_whole()
    assert "cannot be reached" in rig.waits[0]


@pytest.mark.parametrize("how", ["524", "500", "reset"])
def test_joining_that_went_on_after_its_answer_was_lost_is_seen(rig: Rig, how: str) -> None:
    rig.proxy.befall(f"done {how}", "POST", "uploadId")
    sent = rig.send()
    assert rig.is_whole()
    assert sent.proof == "etag"
    assert rig.proxy.bodies() == SIZE


@pytest.mark.parametrize("how", ["524", "500", "reset"])
def test_joining_that_never_began_is_asked_for_again(rig: Rig, how: str) -> None:
    rig.proxy.befall(how, "POST", "uploadId")
    rig.send()
    assert rig.is_whole()
    assert rig.proxy.bodies() == SIZE


def test_an_upload_that_is_gone_after_joining_means_success(rig: Rig) -> None:
    rig.proxy.befall("done reset", "POST", "uploadId")
    rig.proxy.befall("404", "HEAD", times=20)
    rig.proxy.rules[-1].seen = 1
    rig.send()
    assert rig.is_whole()


def test_success_without_a_file_is_not_believed(rig: Rig) -> None:
    rig.proxy.befall("pretend", "POST", "uploadId", times=1)
    rig.send()
    assert rig.is_whole()
    rig.stored.unlink()
    rig.proxy.befall("pretend", "POST", "uploadId", times=2)
    with pytest.raises(Damaged, match="sent twice, and the volume has it not"):
        rig.send()
    rig.file.write_bytes(b"small")
    rig.proxy.befall("pretend", "PUT")
    with pytest.raises(Damaged, match="does not have all of it"):
        rig.send()


def test_a_part_that_arrived_as_something_else_goes_again(rig: Rig) -> None:
    rig.proxy.befall("other etag", "PUT", part=2)
    rig.send()
    assert rig.is_whole()
    assert rig.proxy.bodies() == SIZE + PART
    assert "something else than what was sent" in rig.waits[0]
    rig.proxy.befall("other etag", "PUT", part=2, times=1000)
    rig.file.write_bytes(os.urandom(SIZE))
    with pytest.raises(Damaged, match="something else than what was sent"):
        rig.send()


def test_a_clock_that_is_off_is_said(rig: Rig) -> None:
    rig.proxy.befall("skewed", times=1000)
    with pytest.raises(AccessRefused, match="the clock is off"):
        rig.send()


def test_a_full_volume_ends_it_at_once(rig: Rig) -> None:
    full = rig.proxy.befall("507", "PUT", part=2, times=1000)
    with pytest.raises(VolumeFull, match=f"The volume {VOLUME} is full"):
        rig.send()
    assert full.seen == 1


def test_parts_too_large_are_made_smaller_and_what_went_stays(rig: Rig) -> None:
    rig.slots = Slots(1)
    rig.sender = Sender(
        rig.bucket, rig.records, Crew("one", 1), rig.slots, patience=QUICK, part=PART, least_part=64 * KIB
    )
    rig.proxy.befall("413", "PUT", part=3)
    rig.send()
    assert rig.is_whole()
    sizes = {each.part: each.size for each in rig.proxy.puts() if each.status == 200}
    assert (sizes[1], sizes[2], sizes[3], sizes[4]) == (PART, PART, PART // 2, PART // 2)
    assert rig.proxy.bodies() == SIZE + PART


def test_parts_that_may_not_be_smaller_fail_the_file(rig: Rig) -> None:
    rig.proxy.befall("413", "PUT", times=1000)
    with pytest.raises(PartTooLarge, match="smaller ones are not made"):
        rig.send()


def test_a_part_that_the_proxy_gives_up_on_twice_is_made_smaller(rig: Rig) -> None:
    rig.proxy.befall("524", "PUT", part=1, times=2)
    rig.send()
    assert rig.is_whole()
    assert max(each.size for each in rig.proxy.puts() if each.status == 200 and each.part == 1) == PART // 2
    assert rig.slots.most == 2


def test_after_its_end_the_program_asks_the_server_which_parts_it_has(rig: Rig) -> None:
    rig.proxy.befall("507", "PUT", part=4, times=1)
    with pytest.raises(VolumeFull):
        rig.send()
    (upload,) = rig.records.uploads(rig.access.url, VOLUME)
    kept = sum(each.size for each in slices(SIZE, upload.layout) if each.number in upload.parts)
    # One arrived, and its answer did not: the record does not know it, and the file does.
    rig.records.lay_out(upload, upload.layout, 2)
    before = rig.proxy.bodies()
    rig.again()
    rig.send()
    assert rig.is_whole()
    assert rig.proxy.bodies() - before == SIZE - kept


def test_parts_that_the_server_lost_go_again(rig: Rig) -> None:
    rig.proxy.befall("507", "PUT", part=4, times=1)
    with pytest.raises(VolumeFull):
        rig.send()
    (upload,) = rig.records.uploads(rig.access.url, VOLUME)
    rig.bucket.abort(KEY, upload.upload_id)
    rig.again()
    rig.send()
    assert rig.is_whole()
    assert rig.open_uploads == 0


def test_a_file_that_became_another_one_starts_anew_and_drops_its_parts(rig: Rig) -> None:
    rig.proxy.befall("507", "PUT", part=4, times=1)
    with pytest.raises(VolumeFull):
        rig.send()
    (upload,) = rig.records.uploads(rig.access.url, VOLUME)
    rig.file.write_bytes(os.urandom(SIZE))
    rig.again()
    rig.send()
    assert rig.is_whole()
    with pytest.raises(UploadGone):
        rig.bucket.parts(KEY, upload.upload_id)


def _written_into(path: Path, content: bytes, at: int = 0) -> None:
    """In place: a file that is written anew is empty for an instant, which is another way to change."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda path: _written_into(path, os.urandom(SIZE)), "changed while it was sent"),
        (lambda path: _written_into(path, b"more", at=SIZE), "changed while it was sent"),
        (lambda path: path.write_bytes(b"short"), "changed while it was sent|became shorter"),
        (lambda path: path.unlink(), "went away|cannot be read"),
    ],
    ids=["another", "grows", "shrinks", "gone"],
)
def test_a_file_that_changes_while_it_is_sent_is_not_taken_for_whole(
    rig: Rig, change: Callable[[Path], object], says: str
) -> None:
    rig.proxy.befall("hold", "PUT", part=2)
    failures: list[BaseException] = []

    def send() -> None:
        try:
            rig.send()
        except BaseException as error:  # noqa: BLE001 (looked at below)
            failures.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    while not any(rule.seen for rule in rig.proxy.rules):
        thread.join(0.01)
    change(rig.file)
    rig.proxy.let_go()
    thread.join(20)
    (failure,) = failures
    assert isinstance(failure, FileChanged)
    assert re.search(says, str(failure))
    assert not rig.stored.exists()


def test_a_foreign_upload_of_the_same_key_survives(rig: Rig) -> None:
    foreign = rig.bucket.begin(KEY)
    rig.send()
    assert rig.is_whole()
    assert rig.bucket.parts(KEY, foreign) == []
    rig.bucket.abort(KEY, foreign)


def test_stopped_it_ends_soon_and_goes_on_later(rig: Rig) -> None:
    rig.proxy.befall("hold", "PUT", part=5)
    clock = threading.Thread(target=lambda: (_until(lambda: rig.proxy.rules[0].seen), rig.flow.stop.set()))
    clock.start()
    with pytest.raises(Stopped):
        rig.send()
    clock.join()
    rig.proxy.let_go()
    _until(lambda: any(each.part == 5 for each in rig.proxy.puts()))
    rig.again()
    rig.send()
    assert rig.is_whole()
    # What was under way arrived after all, and is not sent again.
    assert rig.proxy.bodies() == SIZE


def test_what_is_discarded_leaves_no_parts(rig: Rig) -> None:
    rig.proxy.befall("507", "PUT", part=4)
    with pytest.raises(VolumeFull):
        rig.send()
    (upload,) = rig.records.uploads(rig.access.url, VOLUME)
    rig.sender.discard(KEY)
    assert rig.open_uploads == 0
    with pytest.raises(UploadGone):
        rig.bucket.parts(KEY, upload.upload_id)


def test_a_wrong_key_is_told_in_one_sentence_without_it(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    wrong = Secret("another-secret-0123456789")
    bucket = Bucket(VolumeAccess(VOLUME, rig.proxy.url, "EU-RO-1", Secret(ACCESS), wrong))
    with pytest.raises(AccessRefused) as caught:
        bucket.begin(KEY)
    bucket.close()
    said = str(caught.value.problem) + caplog.text
    assert "Key, secret or volume id is wrong, or the clock is off" in said
    assert wrong.reveal() not in said
    with pytest.raises(AccessRefused, match="There is no volume absent"):
        Bucket(VolumeAccess("absent", rig.proxy.url, "EU-RO-1", Secret(ACCESS), Secret(SECRET))).begin(KEY)


def test_a_refusal_that_passes_is_waited_for_once_the_key_was_good(rig: Rig) -> None:
    rig.bucket.head(KEY)
    rig.proxy.befall("403", "PUT", part=1, times=2)
    rig.send()
    assert rig.is_whole()
    rig.proxy.befall("403", "PUT", times=100)
    rig.file.write_bytes(os.urandom(SIZE))
    with pytest.raises(AccessRefused):
        rig.send()


def test_a_limit_is_held(rig: Rig) -> None:
    rig.file.write_bytes(os.urandom(8 * PART))
    rig.flow.limit = Limit(2e6)
    begun = time.monotonic()
    rig.send()
    # No faster: how much slower it was says more of the machine.
    assert 8 * PART / (time.monotonic() - begun) < 2e6 * 1.3


# Back.


def test_a_download_goes_on_after_every_kind_of_break(rig: Rig) -> None:
    rig.send()
    for how in ("500", "reset", "503"):
        rig.proxy.befall(how, "GET", "a%20b")
    rig.fetch(rig.folder / "back.bin")
    assert (rig.folder / "back.bin").read_bytes() == rig.file.read_bytes()
    assert rig.moved == SIZE * 2


def test_a_download_of_an_earlier_run_goes_on(rig: Rig) -> None:
    rig.send()
    aside = rig.folder / "back.bin.part"
    rig.proxy.befall("507", "GET", "a%20b", times=100)
    with pytest.raises(VolumeFull):
        rig.fetch(rig.folder / "back.bin")
    rig.proxy.rules.clear()
    aside.write_bytes(rig.file.read_bytes()[: 2 * PART + 7])
    rig.again()
    rig.fetch(rig.folder / "back.bin")
    assert (rig.had, rig.moved) == (2 * PART + 7, SIZE - 2 * PART - 7)
    assert (rig.folder / "back.bin").read_bytes() == rig.file.read_bytes()
    assert not aside.exists()


def test_a_strangers_half_file_is_not_gone_on_with(rig: Rig) -> None:
    rig.send()
    (rig.folder / "back.bin.part").write_bytes(b"not ours")
    rig.fetch(rig.folder / "back.bin")
    assert (rig.folder / "back.bin").read_bytes() == rig.file.read_bytes()


def test_a_file_that_is_not_what_it_should_be_is_not_put_in_place(rig: Rig) -> None:
    rig.send()
    with pytest.raises(Damaged, match="another content"):
        rig.fetch(rig.folder / "back.bin", sha256="0" * 64)
    assert {each.name for each in rig.folder.iterdir()} & {"back.bin", "back.bin.part"} == set()
    with pytest.raises(NotThere):
        rig.fetcher.fetch("comfyui/models/none", rig.folder / "none", rig.flow)


def test_nothing_here_is_overwritten_unasked(rig: Rig) -> None:
    rig.send()
    there = rig.folder / "back.bin"
    there.write_bytes(b"mine")
    with pytest.raises(BadInput, match="is here already"):
        rig.fetch(there)
    assert there.read_bytes() == b"mine"
    rig.fetch(there, overwrite=True)
    assert there.read_bytes() == rig.file.read_bytes()


# Lists.


def test_folders_are_listed_one_by_one(rig: Rig) -> None:
    names = [f"comfyui/models/{folder}/{n}.bin" for folder in ("a", "b/c", "b") for n in range(3)]
    for name in names:
        rig.bucket.put(name, b"x", hashlib.md5(b"x").digest())
    found = survey(rig.bucket, "comfyui/models/", Crew("list", 4), QUICK, Flow())
    assert sorted(each.key for each in found.files) == sorted(names)
    assert "comfyui/models/b/c/" in found.folders
    assert all(isinstance(each, Stat) and each.size == 1 for each in found.files)


def test_a_list_that_does_not_get_on_is_asked_for_again_and_then_given_up(rig: Rig) -> None:
    rig.bucket.put("comfyui/models/a/x.bin", b"x", hashlib.md5(b"x").digest())
    prefix = "comfyui/models/a/"
    # Each try meets the same page twice.
    stuck = rig.proxy.befall("same page", "GET", "list-type", times=6)
    found = survey(rig.bucket, prefix, Crew("list", 1), QUICK, Flow())
    assert ([each.key for each in found.files], stuck.seen) == ([f"{prefix}x.bin"], 6)
    stuck.times = 1000
    with pytest.raises(TwiceTheSamePage, match="the same page of its list twice"):
        survey(rig.bucket, prefix, Crew("list", 1), QUICK, Flow())
    assert stuck.seen == 6 + 10


def test_the_layout_of_parts_covers_a_file_once() -> None:
    layout = ((2, 100), (3, 50), (0, 7))
    parts = list(slices(371, layout))
    assert [each.number for each in parts] == list(range(1, len(parts) + 1))
    assert [each.size for each in parts][:5] == [100, 100, 50, 50, 50]
    assert sum(each.size for each in parts) == 371
    assert all(a.offset + a.size == b.offset for a, b in itertools.pairwise(parts))
    assert list(slices(0, ((0, 5),))) == []


def test_offline_is_told_apart_from_a_server_that_answers(tmp_path: Path) -> None:
    bucket = Bucket(VolumeAccess(VOLUME, "http://127.0.0.1:9", "X", Secret(ACCESS), Secret(SECRET)))
    with pytest.raises(Offline, match="cannot be reached"):
        bucket.head(KEY)
    bucket.close()


def _until(true: Callable[[], object]) -> None:
    for _ in range(2000):
        if true():
            return
        threading.Event().wait(0.01)
    raise TimeoutError
