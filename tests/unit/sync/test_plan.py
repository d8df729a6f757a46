"""What a sync would do: its numbers, what stands in its way, and that nothing is lost unless it was named."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.s3.bucket import Stat
from app.s3.records import FileMark
from app.sync.model import Act, Entry, LocalFile, Picture, Plan, Standing, Wish
from app.sync.plan import make_plan

FOLDER = Path("models").absolute()
GB = 10**9
NOTHING = Wish(upload=False)


def entry(
    name: str, standing: Standing, here: int | None = None, there: int | None = None, **more: Any
) -> Entry:
    path = PurePosixPath(name)
    local = None if here is None else LocalFile(path, FOLDER / name, FileMark(here, 1))
    stat = None if there is None else Stat(f"comfyui/models/{name}", there, f"etag of {name}", 1.0)
    return Entry(path, local, stat, standing, **more)


ENTRIES = (
    entry("here.pt", Standing.HERE, 5),
    entry("there.pt", Standing.THERE, None, 7),
    entry("same.pt", Standing.SAME, 11, 11),
    entry("unverified.pt", Standing.UNVERIFIED, 13, 13),
    entry("differs.pt", Standing.DIFFERS, 17, 20, why="17 bytes here."),
    entry("broken.pt", Standing.BROKEN, 3),
    entry("left.pt", Standing.LEFT_OUT, 3),
    entry("loras/left.pt", Standing.LEFT_OUT, None, 3),
)
NAMES = [str(each.path) for each in ENTRIES]
EVERYTHING = frozenset(NAMES)


def plan(wish: Wish, *entries: Entry, used: int = 0, **more: Any) -> Plan:
    return make_plan(Picture(entries or ENTRIES, used), wish, FOLDER, **more)


def acts(made: Plan) -> dict[str, Act]:
    found = {str(step.path): step.act for step in made.steps}
    assert len(found) == len(made.steps)
    return found


@pytest.mark.parametrize(
    ("wish", "found"),
    [
        (Wish(), {"here.pt": Act.UPLOAD}),
        (NOTHING, {}),
        (Wish(download=True), {"here.pt": Act.UPLOAD, "there.pt": Act.DOWNLOAD}),
        (Wish(upload=False, download=True), {"there.pt": Act.DOWNLOAD}),
        (Wish(download=True, skip=frozenset({"here.pt"})), {"there.pt": Act.DOWNLOAD}),
        (Wish(download=True, only=frozenset({"here.pt", "same.pt"})), {"here.pt": Act.UPLOAD}),
        (Wish(only=frozenset()), {}),
        (Wish(upload=False, overwrite=frozenset({"differs.pt"})), {"differs.pt": Act.UPLOAD}),
        (Wish(upload=False, overwrite_here=frozenset({"differs.pt"})), {"differs.pt": Act.DOWNLOAD}),
        (Wish(upload=False, delete=frozenset({"there.pt"})), {"there.pt": Act.DELETE}),
        (
            Wish(download=True, delete=frozenset({"there.pt"}), only=frozenset({"here.pt"})),
            {"here.pt": Act.UPLOAD},
        ),
        (Wish(upload=False, delete=frozenset({"there.pt"}), skip=frozenset({"there.pt"})), {}),
    ],
)
def test_only_what_is_wanted_is_done(wish: Wish, found: dict[str, Act]) -> None:
    assert acts(plan(wish)) == found


def test_naming_everything_touches_only_what_may_be_touched() -> None:
    all_named = Wish(upload=False, overwrite=EVERYTHING, overwrite_here=EVERYTHING, delete=EVERYTHING)
    assert acts(plan(all_named)) == {
        "there.pt": Act.DELETE,
        "unverified.pt": Act.UPLOAD,
        "differs.pt": Act.UPLOAD,
    }


def test_steps_say_what_they_cost_and_what_they_replace() -> None:
    made = plan(
        Wish(download=True, overwrite=frozenset({"differs.pt"}), overwrite_here=frozenset({"unverified.pt"})),
        sha256_of={"there.pt": "a" * 64},
    )
    up, down, here, over = (
        next(step for step in made.steps if str(step.path) == name)
        for name in ("here.pt", "there.pt", "unverified.pt", "differs.pt")
    )
    assert (up.size, up.replaces, up.there, up.place) == (5, "", None, FOLDER / "here.pt")
    assert (down.size, down.sha256, down.overwrites_here) == (7, "a" * 64, False)
    assert (here.act, here.size, here.overwrites_here, here.replaces) == (Act.DOWNLOAD, 13, True, "")
    assert (over.act, over.size, over.replaces) == (Act.UPLOAD, 17, "etag of differs.pt")
    assert "17 bytes here." in over.why
    assert all(step.why for step in made.steps)
    # The volume is larger by what comes and smaller by what goes.
    assert (made.files, made.size, made.grows) == (4, 5 + 7 + 13 + 17, 5 + 17 - 20)


def test_deleting_moves_nothing_and_makes_room() -> None:
    made = plan(Wish(upload=False, delete=frozenset({"there.pt"})))
    (step,) = made.steps
    assert (step.size, step.replaces) == (0, "etag of there.pt")
    assert (made.files, made.size, made.grows) == (0, 0, -7)


def test_how_long_it_takes_goes_by_what_is_still_to_be_moved() -> None:
    assert plan(Wish()).seconds is None
    assert plan(Wish(), rate=2.0).seconds == 2.5
    assert plan(NOTHING, rate=2.0).seconds is None
    assert plan(Wish(), entry("a.pt", Standing.HERE, 10, begun=6), rate=2.0).seconds == 2.0


def test_room_is_counted() -> None:
    a, b = entry("a.pt", Standing.HERE, 40 * GB), entry("b.pt", Standing.HERE, 20 * GB)
    assert plan(Wish(), a, b).free is None
    roomy = plan(Wish(), a, b, used=100 * GB, volume_size=200 * GB)
    assert (roomy.free, roomy.obstacle, roomy.warnings) == (100 * GB, "", ())
    # Room for all, and not for all with the largest twice, as while its parts are joined.
    full = plan(Wish(), a, b, used=101 * GB, volume_size=200 * GB)
    assert full.obstacle == ""
    assert full.warnings == ("The volume will be nearly full: 99.0 GB are free.",)
    just = plan(Wish(), a, b, used=140 * GB, volume_size=200 * GB)
    assert just.obstacle == ""
    over = plan(Wish(), a, b, used=141 * GB, volume_size=200 * GB)
    assert over.obstacle == "60.0 GB to upload, 59.0 GB free."
    assert plan(Wish(), a, b, used=300 * GB, volume_size=200 * GB).free == 0


def test_what_comes_here_needs_no_room_there() -> None:
    down = entry("a.pt", Standing.THERE, None, 40 * GB)
    made = plan(Wish(download=True), down, used=100 * GB, volume_size=100 * GB)
    assert (made.obstacle, made.warnings, made.files) == ("", (), 1)


def test_a_file_that_is_replaced_stays_until_the_new_one_is_whole() -> None:
    over = entry("a.pt", Standing.DIFFERS, 30 * GB, 31 * GB)
    wish = Wish(overwrite=frozenset({"a.pt"}))
    assert plan(wish, over, used=31 * GB, volume_size=60 * GB).obstacle
    made = plan(wish, over, used=31 * GB, volume_size=61 * GB)
    assert made.obstacle == ""
    assert made.grows == -1 * GB


def test_what_is_deleted_makes_room_first() -> None:
    up, gone = entry("a.pt", Standing.HERE, 30 * GB), entry("b.pt", Standing.THERE, None, 25 * GB)
    wish = Wish(delete=frozenset({"b.pt"}))
    assert plan(Wish(), up, gone, used=90 * GB, volume_size=100 * GB).obstacle
    made = plan(wish, up, gone, used=90 * GB, volume_size=100 * GB)
    assert (made.obstacle, made.grows) == ("", 5 * GB)
    assert "nearly full" in made.warnings[0]
    assert plan(wish, up, gone, used=96 * GB, volume_size=100 * GB).obstacle


def test_parts_that_are_there_take_room_and_need_none_again() -> None:
    begun = entry("a.pt", Standing.HERE, 60 * GB, begun=20 * GB)
    made = plan(Wish(), begun, used=40 * GB, volume_size=100 * GB)
    assert (made.free, made.obstacle) == (40 * GB, "")
    assert plan(Wish(), begun, used=41 * GB, volume_size=100 * GB).obstacle
    # They take it from other files, too.
    other = entry("b.pt", Standing.HERE, 50 * GB)
    only_b = Wish(only=frozenset({"b.pt"}))
    assert plan(only_b, begun, other, used=31 * GB, volume_size=100 * GB).obstacle
    assert not plan(only_b, begun, other, used=30 * GB, volume_size=100 * GB).obstacle


def test_what_is_truncated_or_not_known_is_said_before() -> None:
    broken = [entry(f"{n}.pt", Standing.BROKEN, 1) for n in range(4)]
    picture = Picture(tuple(broken), notes=("There is more on the volume than could be counted.",))
    made = make_plan(picture, Wish(), FOLDER)
    assert made.warnings == (
        "There is more on the volume than could be counted.",
        "Truncated, and not sent: 0.pt, 1.pt, 2.pt ….",
    )
    assert made.steps == ()


SETS = st.frozensets(st.sampled_from(NAMES))
WISHES = st.builds(
    Wish,
    st.booleans(),
    st.booleans(),
    st.none() | SETS,
    SETS,
    overwrite=SETS,
    overwrite_here=SETS,
    delete=SETS,
)


@given(WISHES)
def test_no_wish_loses_a_file_that_it_does_not_name(wish: Wish) -> None:
    made = plan(wish, volume_size=100, used=0)
    for step in made.steps:
        name = str(step.path)
        assert name not in wish.skip
        assert wish.only is None or name in wish.only
        if step.act is Act.DELETE:
            assert name in wish.delete
            assert name == "there.pt"
        if step.act is Act.UPLOAD and step.there is not None:
            assert name in wish.overwrite
            assert step.replaces == step.there.etag
        if step.act is Act.DOWNLOAD and name != "there.pt":
            assert name in wish.overwrite_here
            assert step.overwrites_here
    assert made.files == sum(step.act is not Act.DELETE for step in made.steps)
    assert made.size == sum(step.size for step in made.steps)
