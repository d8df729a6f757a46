from __future__ import annotations

from datetime import date
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.image.history import BACK_S, Event, History, What, image_id_of, way_back
from app.image.model import Manifest, NodePin
from app.image.tags import proposed_tag

DEPLOYED = Event(What.DEPLOYED, 1_000.0, "a/b:2", endpoint_id="ep", before="a/b:1", version=7)


def test_events_are_read_again_the_newest_first(tmp_path: Path) -> None:
    history = History(tmp_path / "image" / "history.jsonl")
    assert history.events() == []
    built = Event(What.BUILT, 900.0, "a/b:2", image_id="sha256:1", manifest="f" * 64, size=7, seconds=1.5)
    history.add(built)
    history.add(DEPLOYED)
    assert History(tmp_path / "image" / "history.jsonl").events() == [DEPLOYED, built]


@given(st.binary(max_size=60))
def test_a_line_that_a_kill_left_half_spoils_no_other(tmp_path_factory: object, torn: bytes) -> None:
    path = tmp_path_factory.mktemp("h") / "history.jsonl"  # type: ignore[attr-defined]
    history = History(path)
    history.add(DEPLOYED)
    path.write_bytes(path.read_bytes() + torn)
    history.add(DEPLOYED)
    events = history.events()
    assert events[0] == events[-1] == DEPLOYED


def test_the_last_deployment_can_be_undone_for_a_day() -> None:
    former = Event(What.DEPLOYED, 500.0, "a/b:1", endpoint_id="ep", before="a/b:0", version=6)
    other = Event(What.DEPLOYED, 2_000.0, "a/b:9", endpoint_id="other", before="a/b:8")
    events = [other, DEPLOYED, former]
    assert way_back(events, "ep", 1_000.0 + BACK_S - 1) == DEPLOYED
    assert way_back(events, "ep", 1_000.0 + BACK_S) is None
    assert way_back([former], "none", 600.0) is None
    failed = Event(What.DEPLOYED, 1_100.0, "a/b:3", endpoint_id="ep", before="a/b:2", ok=False)
    assert way_back([failed, *events], "ep", 1_200.0) is None


def test_an_image_is_known_by_its_name_and_its_digest() -> None:
    pushed = Event(What.PUSHED, 2.0, "a/b:2", image_id="sha256:22", digest="sha256:dd")
    events = [DEPLOYED, pushed, Event(What.BUILT, 1.0, "a/b:1", image_id="sha256:11")]
    assert image_id_of(events, "a/b:2") == "sha256:22"
    assert image_id_of(events, "a/b:1") == "sha256:11"
    assert image_id_of(events, "a/b@sha256:dd") == "sha256:22"
    assert image_id_of(events, "a/b@sha256:ee") == image_id_of(events, "a/b:3") == ""


def test_a_tag_says_when_and_of_what() -> None:
    manifest = Manifest(NodePin("comfyui", "https://example.org/a", "a" * 40))
    day = date(2026, 11, 28)
    tag = proposed_tag(manifest, day)
    assert tag == f"2026-11-28-{manifest.digest[:6]}"
    assert proposed_tag(manifest, day, {tag, f"{tag}-2"}) == f"{tag}-3"
