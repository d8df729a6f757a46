"""What is different between an image's manifest and this computer, or between two manifests."""

from __future__ import annotations

from .local import LocalSetup
from .model import Compared, Kind, Manifest, NodePin, Parity


def compare(manifest: Manifest, setup: LocalSetup) -> tuple[Compared, ...]:
    """A line for ComfyUI, one for Python, CUDA and torch, and one for each custom node, the image's first."""
    lines = [_pinned(Kind.COMFYUI, "ComfyUI", manifest.comfyui, setup.comfyui), _runtime(manifest, setup)]
    here = {pin.name.casefold(): pin for pin in setup.packs}
    for pin in manifest.custom_nodes:
        lines.append(_pinned(Kind.CUSTOM_NODE, pin.name, pin, here.pop(pin.name.casefold(), None)))
    unknown = {name.casefold(): name for name in setup.left_out}
    lines = [_noted(line, setup, unknown) for line in lines]
    lines += [_pinned(Kind.CUSTOM_NODE, pin.name, None, pin) for pin in here.values()]
    lines += [
        Compared(Kind.CUSTOM_NODE, name, "", "local only", Parity.LOCAL_ONLY, setup.left_out[name])
        for name in unknown.values()
    ]
    return tuple(lines)


def changes(before: Manifest | None, after: Manifest) -> tuple[str, ...]:
    """What changes from one manifest to another, a sentence each, without the full stop."""
    if before is None:
        return (
            f"New: {after.comfyui.version or after.comfyui.pin[:7]} with {len(after.custom_nodes)} nodes",
        )
    told: list[str] = []
    for what, old, new in (
        ("ComfyUI", _version(before.comfyui), _version(after.comfyui)),
        ("Python", before.python, after.python),
        ("torch", before.torch.version or "any", after.torch.version or "any"),
        ("torch's index", before.torch.index or "the usual one", after.torch.index or "the usual one"),
        ("base image", before.base_image, after.base_image),
    ):
        if old != new:
            told.append(f"{what}: {old} becomes {new}")
    old_nodes = {pin.name.casefold(): pin for pin in before.custom_nodes}
    for pin in after.custom_nodes:
        old_pin = old_nodes.pop(pin.name.casefold(), None)
        if old_pin is None:
            told.append(f"{pin.name} {_version(pin)} is new")
        elif old_pin.pin != pin.pin or old_pin.repository != pin.repository:
            told.append(f"{pin.name}: {_version(old_pin)} becomes {_version(pin)}")
    told += [f"{pin.name} {_version(pin)} goes" for pin in old_nodes.values()]
    for what, olds, news in (
        ("system package", before.system_packages, after.system_packages),
        ("Python package", before.python_packages, after.python_packages),
        ("override", before.overrides, after.overrides),
    ):
        told += [f"{what} {each} is new" for each in news if each not in olds]
        told += [f"{what} {each} goes" for each in olds if each not in news]
    return tuple(told)


def _pinned(kind: Kind, name: str, image: NodePin | None, local: NodePin | None) -> Compared:
    if image is None or local is None:
        parity = Parity.LOCAL_ONLY if image is None else Parity.IMAGE_ONLY
        if kind is Kind.COMFYUI:
            parity = Parity.UNKNOWN
    elif image.commit and local.commit:
        parity = Parity.SAME if image.commit == local.commit else Parity.DIFFERS
    else:
        # One of git, the other of the registry: their versions are all that can be held together.
        parity = Parity.SAME if image.version and image.version == local.version else Parity.DIFFERS
    return Compared(kind, name, _version(image) if image else "", _version(local) if local else "", parity)


def _runtime(manifest: Manifest, setup: LocalSetup) -> Compared:
    torch = manifest.torch
    here = setup.packages.get("torch", "")
    image = " · ".join(filter(None, (manifest.python, torch.cuda, torch.version)))
    local = " · ".join(filter(None, (setup.python, here)))
    if not torch.version or not here:
        parity = Parity.SAME if manifest.python == setup.python and not here else Parity.UNKNOWN
    else:
        same = manifest.python == setup.python and torch.version == here.partition("+")[0]
        parity = Parity.SAME if same else Parity.DIFFERS
    return Compared(Kind.TORCH, "Python · CUDA · torch", image, local, parity)


def _noted(line: Compared, setup: LocalSetup, unknown: dict[str, str]) -> Compared:
    """A pack that is here too, but of which nobody can tell the version."""
    name = unknown.pop(line.name.casefold(), None) if line.kind is Kind.CUSTOM_NODE else None
    if name is None:
        return line
    return Compared(line.kind, line.name, line.image, "", Parity.UNKNOWN, setup.left_out[name])


def _version(pin: NodePin) -> str:
    return " · ".join(filter(None, (pin.version, pin.commit[:7]))) or pin.pin
