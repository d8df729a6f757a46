"""Reading a ``download`` request: which model is wanted, from where, and where it belongs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .contract import safe_name
from .download import checked_url
from .errors import BadRequest

#: The kinds that every ComfyUI has.
KINDS = frozenset(
    (
        *("checkpoints", "loras", "vae", "text_encoders", "diffusion_models", "clip_vision", "style_models"),
        *("embeddings", "vae_approx", "controlnet", "gligen", "upscale_models", "hypernetworks"),
        *("photomaker", "classifiers", "model_patches", "audio_encoders"),
    )
)
_OLD_NAMES = {"unet": "diffusion_models", "clip": "text_encoders"}
#: Folders that ComfyUI lists with its models and that hold code or settings.
_NEVER = {"custom_nodes", "configs", "diffusers"}
_PLAIN = {".safetensors", ".sft", ".gguf"}
#: These can run code when they are loaded.
_PICKLES = {".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl"}
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f\x7f]{1,1024})", re.DOTALL)
_MOST_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class ModelWish:
    """A checked request. ``url`` is None for one from a bucket: ``bucket`` and ``key``. Hashes are small.

    Neither address is to be shown: it may hold a key.
    """

    kind: str
    name: PurePosixPath
    url: str | None = field(default=None, repr=False)
    bucket: str = ""
    key: str = field(default="", repr=False)
    sha256: str | None = None
    size: int | None = None
    overwrite: bool = False

    @property
    def source(self) -> str:
        """A short name of what is downloaded: a part of it that was kept belongs to this and nothing else."""
        told = self.sha256 or self.url or f"s3://{self.bucket}/{self.key}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def parse_wish(source: Mapping[str, Any], kinds: Iterable[str] = (), *, pickles: bool = False) -> ModelWish:
    """Check a request; ``kinds`` are those that this ComfyUI has beside the usual ones.

    Raises:
        BadRequest: with a sentence that names the field, and never an address.
    """
    address, s3 = source.get("url"), source.get("s3")
    if (address is None) == (s3 is None):
        raise BadRequest("A download needs one of 'url' and 's3'.")
    kind = _kind(source.get("kind"), kinds)
    name = _name(source.get("name"), pickles=pickles)
    digest, size, overwrite = source.get("sha256"), source.get("size"), source.get("overwrite", False)
    if digest is not None and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise BadRequest("'sha256' is no SHA-256 in 64 hexadecimal digits.")
    if size is not None and (
        isinstance(size, bool) or not isinstance(size, int) or not 0 < size < _MOST_BYTES
    ):
        raise BadRequest("'size' is no number of bytes.")
    if not isinstance(overwrite, bool):
        raise BadRequest("'overwrite' must be true or false.")
    hashed = digest.lower() if digest else None
    address = address if s3 is None else s3
    if s3 is not None or (isinstance(address, str) and address.startswith("s3://")):
        found = _S3.fullmatch(address) if isinstance(address, str) else None
        if found is None:
            raise BadRequest("'s3' is no address like s3://bucket/folder/model.safetensors.")
        return ModelWish(kind, name, None, found[1], found[2], hashed, size, overwrite)
    try:
        return ModelWish(kind, name, checked_url(address).geturl(), "", "", hashed, size, overwrite)
    except ValueError as error:
        raise BadRequest(f"The model's address cannot be used: {error}") from error


def _kind(raw: object, kinds: Iterable[str]) -> str:
    known = KINDS.union(kinds) - _NEVER
    kind = _OLD_NAMES.get(raw, raw) if isinstance(raw, str) else ""
    # One folder, whatever ComfyUI calls its kinds.
    if kind not in known or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,63}(?<![. ])", kind):
        shown = ", ".join(sorted(known)[:40])
        raise BadRequest("'kind' is no kind of models that this ComfyUI has.", hint=f"There are {shown}.")
    return kind


def _name(raw: object, *, pickles: bool) -> PurePosixPath:
    try:
        name = safe_name(raw)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if any(part.startswith(".") for part in name.parts):
        raise BadRequest(f"The model's name {str(name)!r} has a hidden part.")
    suffix = name.suffix.lower()
    if suffix in _PICKLES and not pickles:
        raise BadRequest(
            f"A model in the format {suffix} can run code when it is loaded, and is not fetched.",
            hint="Take the same model as .safetensors, or set ALLOW_PICKLE_MODELS on the worker.",
        )
    if suffix not in _PLAIN | _PICKLES:
        allowed = ", ".join(sorted(_PLAIN))
        raise BadRequest(f"{str(name)!r} is no name of a model.", hint=f"Models end with {allowed}.")
    return name
