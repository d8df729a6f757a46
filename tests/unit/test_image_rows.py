"""The Image page's values: manifest, parity, findings, stages, failures, history and deployment."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app import image_stages, imaging
from app.docker.errors import (
    BuildFailed,
    BuildxMissing,
    DaemonNotRunning,
    DockerMissing,
    DockerNotAllowed,
    DockerUnusable,
    NotSignedIn,
    PushFailed,
)
from app.docker.model import BuildProgress, Built, Layer, LayerState, PushProgress, SignIn, SignInState, Step
from app.docker.model import StepState as Built_
from app.endpoint.account_model import Endpoint
from app.errors import BadInput, ComfyRunPodError, NeedsSetup, ProcessFailed, Refused, Unreachable
from app.image.deploy import Progress, Stalled
from app.image.history import Event, What
from app.image.local import LocalSetup
from app.image.lock import Conflict
from app.image.model import Compared, Kind, Manifest, NodePin, Parity, Torch
from app.image.parity import ParityReport
from app.image.scan import Finding, Scan
from app.image.scan import Severity as Rated
from app.image.trial import Made, Trial
from app.image_past import back_to, deploy_of, history_of, is_given_once, live_on, moment, tag_of
from app.image_rows import (
    broken_manifest,
    findings_of,
    image_of,
    layers_of,
    manifest_of,
    match_question,
    no_engine,
    parity_of,
    refused_of,
    registry_of_image,
)
from app.image_stages import (
    building,
    built,
    deployed,
    deploying,
    failure_of,
    kept_pictures,
    pushed,
    pushed_layer,
    pushing,
    result_of,
    said_by,
    step_of,
)
from app.imaging import Match
from app.ui.image import shown
from app.ui.image.shown import PushState, Severity, Stage, StageState, StepState

NOON = time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1))
PIN = NodePin("comfyui", "https://example.org/comfyui", "6" * 40, version="0.3.64")
WAN = NodePin("wan", "https://example.org/wan", "a" * 40)
MANIFEST = Manifest(
    PIN, "3.12", Torch("2.8.0", cuda="12.8"), (WAN,), ("ffmpeg",), ("nunchaku==1.0",), ("numpy<2",)
)
TAG = "2026-11-28-3f9c1a"
IMAGE = f"marta/comfy:{TAG}"


def node(parity: Parity, image: str = "a91f20c", local: str = "d04be77", note: str = "") -> Compared:
    return Compared(Kind.CUSTOM_NODE, "wan", image, local, parity, note)


def event(what: What, image: str = IMAGE, **more: Any) -> Event:
    return Event(what, NOON, image, **more)


# Head.


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        (IMAGE, TAG),
        ("ghcr.io:5000/marta/comfy:1", "1"),
        ("ghcr.io:5000/marta/comfy", ""),
        (f"marta/comfy@sha256:{'5b' * 32}", "sha256:5b5b5b5b"),
    ],
)
def test_the_tag_of_a_name(name: str, tag: str) -> None:
    assert tag_of(name) == tag


def test_only_a_proposed_tag_is_given_once() -> None:
    assert all(map(is_given_once, (TAG, f"{TAG}-2")))
    assert not any(map(is_given_once, ("latest", "", "7", "2026-11-28", f"x{TAG}")))


def test_the_tags_to_choose() -> None:
    events = [event(What.PUSHED), event(What.BUILT), event(What.BUILT, "other/comfy:1")]
    made = image_of("marta/comfy", TAG, "new", "latest", events, NOON + 200)
    assert [(each.tag, each.reason) for each in made.proposals] == [
        ("new", "Date and manifest"),
        ("latest", "Cannot be deployed"),
    ]
    assert made.built == (shown.TagShown(TAG, "3 min ago"),)
    assert image_of("marta/comfy", "7", "7", "7", (), NOON).proposals == (
        shown.TagShown("7", "Date and manifest"),
    )
    assert image_of("marta/comfy", "7", "", "7", (), NOON).proposals[0].reason == "From Settings"


def test_the_sign_in() -> None:
    out = SignIn(SignInState.SIGNED_OUT)
    assert registry_of_image(out, IMAGE).login == "docker login"
    assert registry_of_image(out, "ghcr.io/marta/comfy:1").login == "docker login ghcr.io"
    assert registry_of_image(SignIn(SignInState.UNKNOWN), IMAGE) == shown.RegistryShown()
    assert registry_of_image(SignIn(SignInState.SIGNED_IN, "marta"), IMAGE).user == "marta"


@pytest.mark.parametrize(
    ("problem", "title"),
    [
        (DockerMissing(), "Docker is not installed"),
        (DaemonNotRunning(), "Docker is not running"),
        (DockerNotAllowed(), "No permission for Docker"),
        (BuildxMissing(), "Docker cannot build images"),
        (DockerUnusable("It answered nonsense."), "Docker cannot be used"),
    ],
)
def test_a_page_without_docker_says_what_to_do(problem: NeedsSetup, title: str) -> None:
    told, text = no_engine(problem)
    assert told == title
    # The page looks again by itself.
    hints = {"Start Docker, and try again.": "Start Docker, then this page checks again by itself."}
    assert text == (hints.get(problem.hint, problem.hint) or "It answered nonsense.")
    assert failure_of(Stage.BUILD, problem).title == title


# The manifest.


@pytest.mark.parametrize(
    ("line", "detail", "parity", "differ"),
    [
        (node(Parity.SAME, "1.0", "1.0"), "1.0", shown.Parity.SAME, 0),
        (node(Parity.DIFFERS), "a91f20c · local d04be77", shown.Parity.DIFFERS, 1),
        (node(Parity.LOCAL_ONLY, ""), "d04be77 · local only", shown.Parity.NOT_IN_IMAGE, 1),
        # One that no image can be given: matching would not bring it there.
        (node(Parity.LOCAL_ONLY, "", "local only", "why"), "local only", shown.Parity.NOT_IN_IMAGE, 0),
        (node(Parity.IMAGE_ONLY, "1.0", ""), "1.0", shown.Parity.IMAGE_ONLY, 1),
        (node(Parity.UNKNOWN, "1.0", "", "why"), "1.0", shown.Parity.UNKNOWN, 0),
    ],
)
def test_a_node_held_against_this_computer(
    line: Compared, detail: str, parity: shown.Parity, differ: int
) -> None:
    made = manifest_of(MANIFEST, [Compared(Kind.COMFYUI, "ComfyUI", "1", "1", Parity.SAME), line], fresh=True)
    (row,) = made.nodes
    assert (row.detail, row.parity, row.hint, row.badge) == (detail, parity, line.note, "")
    assert (made.differ, made.compared, made.note) == (differ, "compared with local", "")
    assert [each.name for each in made.base] == ["ComfyUI"]


def test_a_manifest_that_is_compared_with_nothing_is_shown_all_the_same() -> None:
    made = manifest_of(MANIFEST, None, fresh=False, why="There is no ComfyUI here.")
    assert [each.detail for each in made.base] == ["0.3.64 · 6666666", "3.12 · 12.8 · 2.8.0"]
    assert [each.name for each in made.nodes] == ["wan"]
    rows = (*made.base, *made.nodes, *made.system, *made.python)
    assert {each.badge for each in rows} == {"Not compared"}
    assert [each.name for each in made.python] == ["nunchaku==1.0", "numpy<2"]
    assert made.note == "The lock is not of this manifest: a build locks it first. There is no ComfyUI here."
    assert (made.compared, made.differ, made.can_match) == ("not compared", 0, False)
    assert manifest_of(MANIFEST, None, fresh=True, busy=True).compared == "being compared"
    assert broken_manifest(BadInput("Line 3.", hint="Mend it.")).note == "Line 3. Mend it."


def test_what_matching_changes() -> None:
    after = replace(
        MANIFEST,
        comfyui=replace(PIN, version="0.3.65"),
        custom_nodes=(NodePin("kj", registry_id="kj", version="1.1"),),
    )
    setup = LocalSetup(after.comfyui, "3.12", {}, after.custom_nodes, {"mine": "it is a single file"})
    asked = match_question(Match(after, MANIFEST, setup, ("…",)), rebuild=True)
    assert [(each.name, each.before, each.after) for each in asked.changes] == [
        ("ComfyUI", "0.3.64 · 6666666", "0.3.65 · 6666666"),
        ("kj", "", "1.1"),
        ("wan", "aaaaaaa", ""),
    ]
    assert (asked.rebuild, asked.note) == (True, "Not taken over: mine.")
    new = match_question(Match(after, None, setup, ("…",)), rebuild=False).changes
    assert {"ComfyUI", "Python", "kj"} <= {each.name for each in new}
    assert not any(each.before for each in new)


# What was found.


def a_trial(
    report: ParityReport | None, *, gpu: bool = False, packages: tuple[Compared, ...] = ()
) -> imaging.Tested:
    trial = Trial((Made("a.png", "image/png", b""),), 61.2, 9.14, gpu, {}, {}, {})
    return imaging.Tested(trial, report, packages)


def package(note: str = "") -> Compared:
    return Compared(Kind.PACKAGE, "tiny", "1.0", "2.0", Parity.DIFFERS, note)


def test_a_report_is_shown_as_it_is_kept() -> None:
    done = a_trial(ParityReport((node(Parity.DIFFERS, note="Wan has other outputs"),), (), 3, 2),
                  packages=(package("the lock says 1.1"),))  # fmt: skip
    made = parity_of(done.to_json(), NOON, NOON + 60)
    (row,), (other,) = made.nodes, made.packages
    assert (row.name, row.parity) == ("wan", shown.Parity.DIFFERS)
    assert row.detail == "a91f20c · local d04be77 · Wan has other outputs"
    assert other.detail == "1.0 · local 2.0 · the lock says 1.1"
    assert made.text == "Tested today 12:00."


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["parity", "nodes", "name", "x"]), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["parity", "at"]), _JSON))
def test_whatever_a_kept_report_holds_it_can_be_shown(report: dict[str, Any]) -> None:
    parity_of(report, NOON, NOON)


@pytest.mark.parametrize(
    ("done", "text", "role"),
    [
        (a_trial(None), "Nodes not compared: no ComfyUI runs here", "plain"),
        (
            a_trial(ParityReport((node(Parity.SAME),), (), 9, 9)),
            "9 of 9 node types are the same",
            "green",
        ),
        (
            a_trial(ParityReport((node(Parity.DIFFERS),), (), 9, 8)),
            "8 of 9 node types are the same, 1 pack differs",
            "amber",
        ),
        (
            a_trial(ParityReport((node(Parity.LOCAL_ONLY), node(Parity.DIFFERS)), (), 9, 1)),
            "1 of 9 node types are the same, 2 packs differ",
            "red",
        ),
        (
            a_trial(ParityReport((), (), 9, 9), packages=(package(), package("the lock says 1.1"))),
            "9 of 9 node types are the same, 1 package not as locked",
            "red",
        ),
    ],
)
def test_what_came_of_a_test(done: imaging.Tested, text: str, role: str) -> None:
    made = result_of(done, ())
    assert (made.parity, made.parity_role) == (text, role)
    assert made.text == "1 workflow, 1 file, 9.1 s, ready after 61.2 s"
    assert made.note == "Tested without GPU"
    assert result_of(replace(done, trial=replace(done.trial, gpu=True)), ()).note == ""
    assert image_stages.tested(done).detail == "1 workflow passed"


def _picture(size: tuple[int, int] = (600, 400)) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", size).save(made, "PNG")
    return made.getvalue()


def test_pictures_of_a_test_are_kept_under_names_of_our_own(tmp_path: Path) -> None:
    names = ("../../out.png", "CON.PNG", "what.exe", "broken.png", "a/b\\c.jpg")
    made = [Made(name, "image/png", b"no" if "broken" in name else _picture()) for name in names]
    kept = kept_pictures(made, tmp_path / "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["1.png", "2.png", "3.jpg"]
    assert [each.name for each in kept] == ["../../out.png", "CON.PNG", "a/b\\c.jpg"]
    for each in kept:
        with Image.open(io.BytesIO(each.thumbnail)) as thumbnail:
            assert thumbnail.size == (256, 171)
    assert len(kept_pictures(made[:1] * 9, tmp_path / "many")) == 4


def test_findings_say_what_was_looked_at() -> None:
    found = Finding("GHSA-1", "pillow", "11", Rated.HIGH, "Overflow", "comfyui.lock", "11.2")
    odd = replace(found, id="an id/with ../ strokes", severity=Rated.UNKNOWN)
    scan = Scan((found, odd), ("The image itself was not scanned.",), ("comfyui.lock",))
    made = findings_of(scan, [shown.RefusedFile("a", "a key")])
    assert [(each.severity, each.address) for each in made.findings] == [
        (Severity.HIGH, "https://osv.dev/vulnerability/GHSA-1"),
        (Severity.UNKNOWN, ""),
    ]
    assert made.notes == ("Looked at comfyui.lock.", "The image itself was not scanned.")
    assert made.refused[0].path == "a"
    assert layers_of(()).layers == ()


def test_a_refused_file_and_the_reason() -> None:
    files = ["nodes/a: b.txt, line 3: a private key", "odd"]
    error = NeedsSetup("Nothing is built.", files=files)
    assert refused_of(error) == (
        shown.RefusedFile("nodes/a: b.txt, line 3", "a private key"),
        shown.RefusedFile("odd", "odd"),
    )
    assert refused_of(BadInput("x")) == ()
    assert failure_of(Stage.BUILD, error).title == "A secret was found"


# Stages.


def test_every_step_of_a_build_has_its_state() -> None:
    for state in Built_:
        assert step_of(Step("1", "RUN", state)).state.value == state.value
    assert step_of(Step("1", "RUN", Built_.DONE, cached=True)).state is StepState.CACHED
    assert step_of(Step("1", "RUN", Built_.RUNNING, done=5, total=10)).note == "5 B of 10 B"
    assert step_of(Step("1", "RUN", Built_.RUNNING, done=5)).note == "5 B"
    assert step_of(Step("1", "RUN", Built_.DONE, done=5)).note == ""


def test_how_far_a_build_is() -> None:
    steps = (Step("1", "FROM", Built_.DONE, cached=True), Step("2", "RUN", Built_.RUNNING))
    made = building(BuildProgress(steps, 0.4))
    assert (made.detail, made.part, made.state) == ("1 of 2 steps", 0.4, StageState.RUNNING)
    assert building(BuildProgress()).detail == "Looking at the steps"
    assert built(Built("", 1.0, steps)).summary == "2 steps, 1 from cache"


def test_how_far_a_push_is() -> None:
    layers = (
        Layer("a", LayerState.EXISTS, 10, 10),
        Layer("b", LayerState.SENDING, 500, 1000),
        Layer("c", LayerState.RETRYING, 0, 90),
    )
    made = pushing(PushProgress(layers, 0.5))
    assert (made.detail, made.summary, made.part) == ("510 B of 1.1 kB", "1 of 3 layers", 0.5)
    assert pushing(PushProgress(layers, None, "Layer c waits.")).detail == "Layer c waits."
    assert pushing(PushProgress((Layer("a", LayerState.SENDING),))).detail == "0 of 1 layer"
    assert pushed(layers).summary == "3 layers, 1 were there"
    assert pushed(()).detail == "0 layers"
    for state in LayerState:
        assert pushed_layer(Layer("a", state), "", NOON).state in PushState
    assert pushed_layer(layers[2], "It waits.", NOON).note == "It waits."
    assert pushed_layer(layers[1], "It waits.", NOON).note == ""


def test_how_far_a_roll_out_is() -> None:
    assert deploying(Progress(7, 1, 3)).detail == "1 of 3 workers on version 7"
    asked = Progress(None, 0, 1, "RunPod is asked too often")
    assert deploying(asked).detail == "0 of 1 worker on the new image. RunPod is asked too often"
    assert deployed(Progress(7, 3, 3), 7).summary == "3 of 3 workers on version 7"
    assert deployed(Progress(7, 0, 0), 7).summary == "Version 7 is live"
    assert deployed(None, None).detail == "Live"


@pytest.mark.parametrize(
    ("stage", "error", "title"),
    [
        (Stage.BUILD, BuildFailed("RUN x", "", 2, ["l"]), "The build failed"),
        (Stage.BUILD, Conflict("No.", explanation=["a wants b"]), "Packages do not fit together"),
        (Stage.TEST, ProcessFailed("It ended."), "The test failed"),
        (Stage.PUSH, NotSignedIn(IMAGE, "push", []), "Registry refused the push"),
        (Stage.PUSH, PushFailed("It broke."), "The push broke off"),
        (Stage.DEPLOY, Stalled("No."), "The roll-out stands still"),
        (Stage.DEPLOY, Refused("No.", status=401), "API key not accepted"),
        (Stage.DEPLOY, Unreachable("No."), "The deployment failed"),
    ],
)
def test_a_failure_has_a_title_of_few_words(stage: Stage, error: ComfyRunPodError, title: str) -> None:
    made = failure_of(stage, error)
    assert (made.stage, made.title, made.text) == (stage, title, error.sentence)
    assert 2 <= len(title.split()) <= 5
    assert made.place == ("Step RUN x" if isinstance(error, BuildFailed) else "")


def test_what_an_error_has_to_tell() -> None:
    assert said_by(Conflict("No.", explanation=["a wants b"], log=["x"])) == ("a wants b",)
    assert said_by(ProcessFailed("No.", log=["x", "y"])) == ("x", "y")
    assert said_by(BadInput("No.")) == ()


# What was done.


def test_moments() -> None:
    assert moment(NOON, NOON + 60) == "today 12:00"
    assert moment(NOON, NOON + 86_400) == "yesterday 12:00"
    assert moment(NOON, NOON + 3 * 86_400) == "28 Nov"


def test_the_history_marks_what_is_live() -> None:
    live = event(What.DEPLOYED, endpoint_id="e1", version=7, before="marta/comfy:6")
    events = [live, event(What.PUSHED, digest=f"sha256:{'5b' * 32}"), event(What.BUILT, ok=False, note="No.")]
    runs = history_of(events, lambda key: f"name of {key}", {live}, NOON + 60)
    assert [(run.what, run.tag, run.when, run.is_live) for run in runs] == [
        ("Deployed", TAG, "today 12:00", True),
        ("Pushed", TAG, "today 12:00", False),
        ("Built", TAG, "today 12:00", False),
    ]
    assert (runs[0].endpoint, runs[0].version) == ("name of e1", "version 7")
    assert (runs[1].digest, runs[2].ok, runs[2].note) == ("sha256:5b5b5b5b", False, "No.")


def test_a_deployment_is_live_until_somebody_gives_the_endpoint_another_image() -> None:
    done = event(What.DEPLOYED, endpoint_id="e1")
    assert live_on([done], "e1", ()) is done
    assert live_on([done], "e1", [Endpoint("e1", image=IMAGE)]) is done
    assert live_on([done], "e1", [Endpoint("e1", image="other:1")]) is None
    assert live_on([done], "e2", ()) is None
    assert live_on([replace(done, ok=False)], "e1", ()) is None


def test_the_way_back_is_named_by_its_version_or_tag() -> None:
    done = event(What.DEPLOYED, endpoint_id="e1", version=7, before="marta/comfy:6a")
    assert back_to(done) == "version 6"
    assert back_to(replace(done, version=None)) == "6a"
    assert back_to(None) == ""


def test_where_is_deployed_to() -> None:
    endpoints = [Endpoint("e1", "flux"), Endpoint("e2")]
    done = event(What.DEPLOYED, endpoint_id="e1", version=7, before="marta/comfy:6")
    made = deploy_of(endpoints, "e1", IMAGE, "", done, done)
    assert [each.label for each in made.endpoints] == ["flux", "e2"]
    assert (made.refusal, made.live, made.back) == ("", "Version 7 is live on flux.", "version 6")
    assert "latest" in deploy_of(endpoints, "e1", "marta/comfy:latest", "no key", None, None).refusal
    assert deploy_of((), "", IMAGE, "no key", None, None).refusal == "no key"
    assert deploy_of((), "", IMAGE, "", replace(done, version=None), None).live == f"{TAG} is live on e1."
