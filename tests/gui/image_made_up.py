"""A made-up image, its stages and manifest, as the design's picture has them."""

from __future__ import annotations

import time
from pathlib import Path

from app.log_lines import Line
from app.ui.image.page import ImagePage
from app.ui.image.shown import (
    Compared,
    DeployShown,
    EndpointChoice,
    FailureShown,
    FindingShown,
    FindingsShown,
    ImageLayer,
    ImageShown,
    LayersShown,
    MadePicture,
    ManifestShown,
    Parity,
    ParityShown,
    PastRun,
    PushedLayer,
    PushState,
    RefusedFile,
    RegistryShown,
    ResultShown,
    Severity,
    Stage,
    StageShown,
    StageState,
    StepShown,
    StepState,
    TagShown,
    WorkShown,
)

GB, MB = 10**9, 10**6
P, S = Parity, StageState
AT = time.mktime((2026, 10, 14, 14, 20, 2, 0, 0, -1))
_PICTURE = Path(__file__).parents[2] / "resources" / "workflows" / "previews" / "photo.jpg"
IMAGE = ImageShown(
    "marta/comfy-worker", "2026-10-14-3f9c1a", "v7 · flux + wan",
    (TagShown("2026-10-14-3f9c1a", "Date and manifest"), TagShown("latest", "Cannot be deployed")),
    (TagShown("2026-10-12-71e4c0", "12 Oct"),),
)  # fmt: skip
MANIFEST = ManifestShown(
    (Compared("ComfyUI", "0.3.64", P.SAME), Compared("Python · CUDA · torch", "3.12 · 12.8 · 2.8.0", P.SAME)),
    (
        Compared("ComfyUI-Impact-Pack", "8.22.1 · 3c1d7e0", P.SAME),
        Compared("ComfyUI-WanVideoWrapper", "a91f20c · local d04be77", P.DIFFERS),
        Compared("comfyui_controlnet_aux", "1.1.2 · 83463c2", P.SAME),
        Compared("rgthree-comfy", "1.0.2510 · local only", P.NOT_IN_IMAGE),
        Compared("ComfyUI-KJNodes", "1.1.7 · 62a862d", P.SAME),
        Compared("ComfyUI-VideoHelperSuite", "1.7.5 · 08e8df1", P.SAME),
        Compared("comfy-runpod-worker", "1.0.0 · bundled", P.IMAGE_ONLY),
    ),
    (Compared("ffmpeg", "5.1", P.UNKNOWN),),
    (Compared("nunchaku", "1.0.1", P.SAME), Compared("xformers", "0.0.32", P.DIFFERS)),
    "23 pinned",
    differ=2,
)  # fmt: skip
ENDPOINTS = (EndpointChoice("e1", "comfy-flux-prod"), EndpointChoice("e2", "comfy-wan-test"))
TO_COME = tuple(StageShown(stage) for stage in Stage)
STAGES = (
    StageShown(Stage.BUILD, S.DONE, "9 of 9 layers", "9 layers, 5 from cache", 372.0),
    StageShown(Stage.TEST, S.DONE, "1 workflow passed", "1 workflow, 1 image, 9.1 s", 48.0),
    StageShown(Stage.PUSH, S.RUNNING, "4.4 of 7.1 GB", "6 of 9 layers", 185.0, 0.62),
    StageShown(Stage.DEPLOY, S.TO_COME, "To comfy-flux-prod", "waits for push"),
)
_L = PushState
LAYERS = (
    PushedLayer("3f1c8a0b9e21", _L.EXISTS, at=AT + 2),
    PushedLayer("a2c4e88d71b0", _L.EXISTS, at=AT + 2),
    PushedLayer("9d0be17c4a3f", _L.EXISTS, at=AT + 3),
    PushedLayer("71e4c0aa52d9", _L.PUSHED, 412 * MB, 412 * MB, at=AT + 29),
    PushedLayer("c80f2b6d93e1", _L.PUSHED, 1100 * MB, 1100 * MB, at=AT + 60),
    PushedLayer("5b9ea7710c4d", _L.RETRYING, 300 * MB, 1400 * MB, "in 5 s, connection reset", AT + 128),
    PushedLayer("e2d71c903ab8", _L.PUSHING, 1500 * MB, 2400 * MB, at=AT + 187),
    PushedLayer("0c5a9b4481f7", _L.WAITING, at=AT + 187),
    PushedLayer("8841d0fe2b6c", _L.WAITING, at=AT + 187),
)
PUSH_LINES = (
    Line("Signed in as marta", at=AT),
    Line("Tagging comfy-worker:7 (7.1 GB, 9 layers)", at=AT + 1),
    Line("The push refers to marta/comfy-worker:7", at=AT + 2),
)
STEPS = (
    StepShown("s1", "[base 1/3] FROM debian:bookworm-slim", StepState.CACHED, 0.0),
    StepShown("s2", "[base 2/3] RUN apt-get install ffmpeg git", StepState.CACHED, 0.0),
    StepShown("s3", "[comfy 1/4] RUN uv python install 3.12", StepState.DONE, 4.2),
    StepShown("s4", "[comfy 2/4] RUN uv sync --frozen", StepState.FAILED, 31.0),
    StepShown("s5", "[worker 1/2] COPY worker /opt/worker", StepState.CANCELLED),
)
FAILURE = FailureShown(
    Stage.BUILD, "A package cannot be built",
    "nunchaku 1.0.1 has no wheel for Python 3.13, and building it needs CUDA's compiler. Nothing was pushed.",
    "Step [comfy 2/4], line 44 of the Dockerfile",
)  # fmt: skip
HISTORY = (
    PastRun("Deployed", "2026-10-14-3f9c1a", "today 14:27", endpoint="comfy-flux-prod", version="version 7",
            is_live=True),
    PastRun("Pushed", "2026-10-14-3f9c1a", "today 14:24", digest="sha256:5b9ea771"),
    PastRun("Built", "2026-10-13-aa01f3", "yesterday 18:02", ok=False, note="A package cannot be built."),
    PastRun("Deployed", "2026-10-12-71e4c0", "12 Oct", endpoint="comfy-flux-prod", version="version 6"),
)  # fmt: skip
FINDINGS = FindingsShown(
    (
        FindingShown("CVE-2026-1001", "pillow", "11.0.0", Severity.HIGH, "Overflow in a decoder",
                     "ComfyUI's lock", "11.2.1", "https://osv.example/CVE-2026-1001"),
        FindingShown("CVE-2025-2002", "openssl", "3.0.15", Severity.LOW, where="image"),
    ),
    (RefusedFile("docker/id_ed25519", "a private key"),),
    ("Image not scanned: neither trivy nor grype is installed.",),
)  # fmt: skip
IMAGE_LAYERS = LayersShown(
    (
        ImageLayer("RUN uv sync --frozen", 4_900 * MB, (("torch", 1_600 * MB), ("nvidia-cublas", 900 * MB))),
        ImageLayer("RUN apt-get install ffmpeg git", 420 * MB, (("ffmpeg", 120 * MB),)),
        ImageLayer("COPY worker /opt/worker", 1 * MB),
    ),
    note="3.1 GB to download, compressed.",
)
PARITY = ParityShown(MANIFEST.nodes, MANIFEST.python, "Tested today 14:23.")


def result() -> ResultShown:
    return ResultShown(
        (MadePicture("/out/photo.png", _PICTURE.read_bytes(), "photo.png"),), "1 workflow, 1 image, 9.1 s",
        "Tested without GPU", "Docker has no GPU support here.", "5 of 7 nodes are the same, 2 are not",
        "amber",
    )  # fmt: skip


def pushing(page: ImagePage) -> None:
    """The picture of the design."""
    usual(page)
    page.show_work(WorkShown("running"))
    page.feed(Stage.BUILD, [Line("#1 resolve", at=AT)])
    page.show_result(result())
    page.feed(Stage.TEST, [Line("got prompt", at=AT)])
    page.show_stages(STAGES)
    page.feed(Stage.PUSH, PUSH_LINES)
    page.show_pushed(LAYERS)


def failed(page: ImagePage) -> None:
    """A step of the build has failed."""
    usual(page)
    page.show_registry(RegistryShown(login="docker login"))
    page.show_stages([StageShown(Stage.BUILD, S.RUNNING, "3 of 9 steps", took_s=30, part=0.4)])
    page.show_steps(STEPS)
    lines = ["Resolved 214 packages in 1.2 s", "Building nunchaku==1.0.1", "error: Failed to build nunchaku",
             "  nvcc: command not found"]  # fmt: skip
    page.feed(Stage.BUILD, [Line(t, "error" if "error" in t else "info", AT) for t in lines], "s4")
    page.show_stages([StageShown(Stage.BUILD, S.FAILED, "Step 4 of 9", took_s=36, part=0.4), *TO_COME[1:]])
    page.show_failure(FAILURE)


def done(page: ImagePage) -> None:
    """All has gone well; the user looks at the test and at the history."""
    usual(page)
    page.show_result(result())
    page.feed(Stage.TEST, [Line("got prompt", at=AT), Line("Prompt executed in 9.1 s", at=AT + 9)])
    page.show_stages([
        *STAGES[:2], StageShown(Stage.PUSH, S.DONE, "7.1 GB", "9 layers", 301.0),
        StageShown(Stage.DEPLOY, S.DONE, "Version 7 is live", "3 of 3 workers on version 7", 95.0),
    ])  # fmt: skip
    page.show_deploy(
        DeployShown(ENDPOINTS, "e1", live="Version 7 is live on comfy-flux-prod.", back="version 6")
    )
    page.pipeline.opened.emit(Stage.TEST)
    page.show_view("history")


def ready(page: ImagePage) -> None:
    """Before the first build."""
    usual(page)
    page.show_history(())
    page.show_layers(LayersShown())


def no_docker(page: ImagePage) -> None:
    usual(page)
    page.show_work(WorkShown(can_run=frozenset(), why_not="Docker is not running."))
    page.show_empty(
        "Docker is not running", "Start Docker, then this page checks again by itself.", "Check again"
    )


def usual(page: ImagePage) -> None:
    page.show_empty("")
    page.show_image(IMAGE)
    page.show_manifest(MANIFEST)
    page.show_registry(RegistryShown("marta"))
    page.show_stages(TO_COME)
    page.show_deploy(DeployShown(ENDPOINTS, "e1"))
    page.show_parity(PARITY)
    page.show_findings(FINDINGS)
    page.show_layers(IMAGE_LAYERS)
    page.show_history(HISTORY)
