"""What ``docker push`` prints: lines to a pipe, and lines drawn over, with bytes, to a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from .model import Layer, LayerState, Pushed, PushProgress
from .sizes import SIZE, bytes_of

_MOST_LAYERS = 500
_SHORT_ID = 12

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[@-Z\\-_]")
_LAYER = re.compile(r"(?P<id>[0-9a-f]{12}): (?P<status>[A-Z].*)")
_AMOUNT = re.compile(rf"Pushing\s+(?:\[[^\]]*\]\s*)?(?P<done>{SIZE})(?:/(?P<total>{SIZE}))?\s*")
_DIGEST = re.compile(r"(?:\S+: )?digest: (?P<digest>sha256:[0-9a-f]{64})(?: size: (?P<size>\d{1,15}))?")
_STATES = {
    "Preparing": LayerState.WAITING,
    "Waiting": LayerState.WAITING,
    "Pushing": LayerState.SENDING,
    "Pushed": LayerState.SENT,
    "Layer already exists": LayerState.EXISTS,
    "Already exists": LayerState.EXISTS,
    "Mounted from": LayerState.EXISTS,
    "Retrying in": LayerState.RETRYING,
}
_THERE = (LayerState.SENT, LayerState.EXISTS)


class PushOutput:
    """The layers of a push from its output, of either kind.

    Args:
        sizes: of the image's layers, in bytes, by their digest; a pipe is told no bytes.
    """

    def __init__(self, sizes: Mapping[str, int] | None = None) -> None:
        self._sizes = {
            digest.removeprefix("sha256:")[:_SHORT_ID]: size for digest, size in (sizes or {}).items()
        }
        self._layers: dict[str, Layer] = {}
        self.pushed: Pushed | None = None
        #: Something that holds the push up; shown until the next layer goes on.
        self.note = ""

    def feed(self, text: str) -> str | None:
        """Take a line, or what is drawn over; a line worth keeping comes back, a layer's state does not."""
        text = _ESCAPES.sub("", text).strip()
        if not text:
            return None
        if layer := _LAYER.fullmatch(text):
            self._layer(layer["id"], layer["status"])
            return None
        if match := _DIGEST.fullmatch(text):
            self.pushed = Pushed(match["digest"], int(match["size"] or 0))
        return text

    def progress(self) -> PushProgress:
        layers = tuple(self._layers.values())
        return PushProgress(layers, _part(layers), self.note)

    def fail(self) -> None:
        """The push has ended before its end."""
        for id_, layer in self._layers.items():
            if layer.state not in _THERE:
                self._layers[id_] = replace(layer, state=LayerState.FAILED)

    def _layer(self, id_: str, status: str) -> None:
        state = next((state for word, state in _STATES.items() if status.startswith(word)), None)
        if state is None or (id_ not in self._layers and len(self._layers) >= _MOST_LAYERS):
            return
        layer = self._layers.get(id_) or Layer(id_, total=self._sizes.get(id_))
        done, total = layer.done, layer.total
        if amount := _AMOUNT.fullmatch(status):
            # What it prints is rounded; the last of it is more than the layer has, with the archive's heads.
            total = total if id_ in self._sizes else bytes_of(amount["total"] or "") or total
            done = bytes_of(amount["done"])
            done = min(done, total) if done is not None and total is not None else done
        elif state in _THERE:
            done = total if total is not None else done
        elif state is not LayerState.SENDING:
            done = None
        self.note = f"Layer {id_}: {status[:100]}." if state is LayerState.RETRYING else ""
        self._layers[id_] = replace(layer, state=state, done=done, total=total)


def _part(layers: tuple[Layer, ...]) -> float | None:
    """By bytes when those of all layers are known, else by layers."""
    if not layers:
        return None
    known = [layer.total for layer in layers if layer.total is not None]
    whole = sum(known)
    if len(known) == len(layers) and whole:
        moved = [(layer.total if layer.state in _THERE else layer.done) or 0 for layer in layers]
        return min(1.0, sum(moved) / whole)
    return sum(_share(layer) for layer in layers) / len(layers)


def _share(layer: Layer) -> float:
    if layer.state in _THERE:
        return 1.0
    return min(1.0, layer.done / layer.total) if layer.done is not None and layer.total else 0.0
