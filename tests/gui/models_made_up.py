"""A made-up models folder and volume, as the design's picture has them."""

from __future__ import annotations

from typing import Any

from app.ui.models.page import ModelsPage
from app.ui.models.shown import (
    Choice,
    EarlierShown,
    KnownShown,
    LaneShown,
    LimitShown,
    ModelRow,
    PlanShown,
    RowState,
    RunShown,
    SendShown,
    VolumeChoice,
    VolumeShown,
)

GB, MB = 10**9, 10**6
S, C = RowState, Choice
_PLAIN = (C.VERIFY, C.REVEAL, C.COPY_PATH, C.COPY_SHA256)
_OF = {
    S.SAME: _PLAIN,
    S.LOCAL_ONLY: (C.UPLOAD, C.IGNORE, C.REVEAL, C.COPY_PATH),
    S.VOLUME_ONLY: (C.DOWNLOAD, C.IGNORE, C.DELETE),
    S.DIFFERS: (C.OVERWRITE, C.OVERWRITE_LOCAL, C.KEEP_BOTH, C.IGNORE, *_PLAIN),
    S.FAILED: (C.RETRY, C.IGNORE, C.REVEAL),
}
SHA = "8e91b68084b53a7fc44ed2a3756d821e355ac1a7b6fe29be760c1db532f3d88a"


def made(path: str, size: float, state: RowState, **values: Any) -> ModelRow:
    """A file of so many GB, where its state says it is."""
    count = round(size * GB)
    here = None if state is S.VOLUME_ONLY else count
    there = count if state in (S.SAME, S.UNVERIFIED, S.VOLUME_ONLY, S.DIFFERS, S.UPLOADED) else None
    base: dict[str, Any] = {"choices": _OF.get(state, ()), "local_size": here, "volume_size": there}
    if state is S.VOLUME_ONLY:
        base |= {"ticked": False, "usual_tick": False}
    elif state in (S.WAITING, S.LOCAL_ONLY):
        base |= {"ticked": True}
    return ModelRow(path=f"{path}.safetensors", state=state, **{**base, **values})


def _moving(path: str, size: float, part: float) -> ModelRow:
    total = round(size * GB)
    return made(path, size, S.UPLOADING, done=round(total * part), total=total, left_s=250, ticked=True)


ROWS = (
    made("checkpoints/flux1-dev-fp8", 17.2, S.SAME),
    made("checkpoints/juggernautXL_v9", 7.1, S.SAME),
    _moving("checkpoints/sd3.5_large_fp8_scaled", 8.1, 0.435),
    made("checkpoints/sd_xl_base_1.0", 6.9, S.SAME),
    made("checkpoints/sd3.5_large", 16.5, S.VOLUME_ONLY),
    made("diffusion_models/wan2.2_t2v_high_noise_14B_fp8", 14.3, S.WAITING),
    made("diffusion_models/wan2.2_t2v_low_noise_14B_fp8", 14.3, S.SAME),
    made("loras/film-portrait-v3", 0.343, S.DIFFERS, is_newer=True, ticked=False, usual_tick=False,
         hint="Changed here on 14 Oct.", versus="The volume's file is older (343 MB, 12 May)."),
    made("loras/watercolour-kontext", 0.328, S.UPLOADED),
    made("loras/wan2.2_lightning_4steps", 0.614, S.WAITING),
    made("loras/detail-tweaker-xl", 0.229, S.SAME),
    _moving("text_encoders/t5xxl_fp16", 9.8, 0.715),
    made("text_encoders/t5xxl_fp8_e4m3fn", 4.9, S.SAME),
    made("text_encoders/umt5_xxl_fp8_e4m3fn_scaled", 6.7, S.WAITING),
    made("upscale_models/4x-UltraSharp", 0.067, S.FAILED, note="The volume answered 403: access denied.",
         hint="The S3 key may be of another account."),
    made("upscale_models/RealESRGAN_x2", 0.065, S.BROKEN, note="12.1 of 65.0 MB are there. It is not sent."),
    made("vae/ae", 0.335, S.UNVERIFIED),
    made("vae/qwen_image_vae", 0.254, S.CHECKING, done=100 * MB, total=254 * MB),
    made("vae/Ae", 0.335, S.LEFT_OUT, note="vae/ae differs in upper and lower case only."),
)  # fmt: skip
VOLUME = VolumeShown(
    "w7k2q9", "comfy-models", "EU-RO-1", 100 * GB, 69 * GB, round(89.3 * GB), 22,
    (("checkpoints", round(47.7 * GB)), ("diffusion_models", round(14.3 * GB)),
     ("text_encoders", round(4.9 * GB)), ("loras", 1500 * MB), ("vae", 400 * MB), ("clip", 200 * MB)),
    1_420 * MB, 34,
)  # fmt: skip
VOLUMES = (VolumeChoice("w7k2q9", "comfy-models · EU-RO-1"), VolumeChoice("v", "flux-models · EU-RO-1"))
RUN = RunShown(
    "Syncing 12 files to the volume", round(14.2 * GB), round(34.5 * GB), 4, 12, 31.8 * MB, 640.0
)  # fmt: skip
PLAN = PlanShown(
    "12 files · 34.5 GB to upload · about 20 min", 12, round(34.5 * GB), can_sync=True,
    note="1 file differs and stays as it is unless you choose. 1 file is truncated and is not sent.",
)  # fmt: skip
LANES = (
    LaneShown("checkpoints/sd3.5_large_fp8_scaled.safetensors", round(3.5 * GB), round(8.1 * GB), 19.7 * MB),
    LaneShown("text_encoders/t5xxl_fp16.safetensors", 7 * GB, round(9.8 * GB), 12.1 * MB),
)
EARLIER = (
    EarlierShown("3 files · 12.1 GB", "today 09:40, 6 min"),
    EarlierShown("1 file · 343 MB", "yesterday, 14 s"),
    EarlierShown("2 files, stopped by you", "Friday", ok=False),
)
KNOWN = KnownShown(
    "loras/film-portrait-v3.safetensors", SHA, "LoRA", "FLUX.1-dev", ("flmprtrt", "warm film grain"),
    (("Rank", "32"),),
)  # fmt: skip
_CODE = "8338-galileo-collect-fidel"
SEND = SendShown(
    "Waiting for the pod to receive", _CODE, f"runpodctl receive {_CODE}",
    "python3 comfy-1f0c77ab-extract.py", 0, round(8.1 * GB),
    note="The code works once. The pod needs runpodctl, which RunPod's images have.", batch="1 of 3",
)  # fmt: skip


def syncing(page: ModelsPage) -> None:
    _usual(page)
    page.show_run(RUN)
    page.show_lanes(LANES, 2)


def plan(page: ModelsPage) -> None:
    """Before a sync, with a file selected."""
    _usual(page)
    calm = (S.UPLOADING, S.WAITING)
    page.show_rows(
        [
            made(row.path.removesuffix(".safetensors"), (row.local_size or 0) / GB, S.LOCAL_ONLY)
            if row.state in calm
            else row
            for row in ROWS
        ]
    )
    page.show_plan(PLAN)
    page.files.list.select(KNOWN.path)
    page.show_known(KNOWN)


def send(page: ModelsPage) -> None:
    _usual(page)
    page.show_transport("runpodctl", "Needs runpodctl on this computer and on the pod.")
    page.show_send(SEND)


def _usual(page: ModelsPage) -> None:
    page.show_rows(ROWS)
    page.show_volume(VOLUME)
    page.show_volumes(VOLUMES)
    page.show_earlier(EARLIER)
    page.show_limit(LimitShown())
    page.show_transport("s3")
