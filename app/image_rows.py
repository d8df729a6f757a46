"""The image, its manifest and what was found in it, as the Image page shows them. Knows no Qt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .docker.errors import DaemonNotRunning
from .docker.model import SignIn, SignInState
from .docker.names import HUB, registry_of
from .errors import ComfyRunPodError, NeedsSetup
from .image.history import Event
from .image.layers import LayerReport
from .image.model import Compared, Kind, Manifest, NodePin, Parity
from .image.scan import Finding, Scan
from .image.scan import Severity as Rated
from .image_past import moment, tag_of
from .imaging import Match, built_tags
from .jobs.figures import ago
from .ui.image import shown
from .ui.image.shown import Severity

_PARITY: Final[Mapping[str, shown.Parity]] = {
    Parity.SAME: shown.Parity.SAME,
    Parity.DIFFERS: shown.Parity.DIFFERS,
    Parity.LOCAL_ONLY: shown.Parity.NOT_IN_IMAGE,
    Parity.IMAGE_ONLY: shown.Parity.IMAGE_ONLY,
    Parity.UNKNOWN: shown.Parity.UNKNOWN,
}
_SEVERITIES: Final[Mapping[Rated, Severity]] = {
    Rated.CRITICAL: Severity.CRITICAL,
    Rated.HIGH: Severity.HIGH,
    Rated.MEDIUM: Severity.MEDIUM,
    Rated.LOW: Severity.LOW,
    Rated.UNKNOWN: Severity.UNKNOWN,
}
_NO_ENGINE: Final = {
    "docker_missing": "Docker is not installed",
    "docker_not_running": "Docker is not running",
    "docker_not_allowed": "No permission for Docker",
    "buildx_missing": "Docker cannot build images",
}
_ADVISORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{2,60}")
_MOST_BUILT = 12
NOT_COMPARED: Final = "Not compared"
_STALE_LOCK: Final = "The lock is not of this manifest: a build locks it first."


# The head.


def image_of(
    base: str, tag: str, proposal: str, usual: str, events: Sequence[Event], now: float
) -> shown.ImageShown:
    """The image in hand.

    Args:
        base: registry and image.
        usual: the tag of the settings.
    """
    reason = "Cannot be deployed" if usual == "latest" else "From Settings"
    proposals = [shown.TagShown(proposal, "Date and manifest")] if proposal else []
    proposals += [shown.TagShown(usual, reason)] if usual != proposal else []
    built = [shown.TagShown(tag_of(each.image), ago(each.at, now)) for each in built_tags(events, base)]
    return shown.ImageShown(base, tag, "", tuple(proposals), tuple(built[:_MOST_BUILT]))


def registry_of_image(sign_in: SignIn, name: str) -> shown.RegistryShown:
    """Who is signed in, or the command that does it; nothing where Docker's store cannot be asked."""
    if sign_in.state is SignInState.SIGNED_IN:
        return shown.RegistryShown(sign_in.user or "")
    host = registry_of(name)
    login = "docker login" if host == HUB else f"docker login {host}"
    return shown.RegistryShown("", login if sign_in.state is SignInState.SIGNED_OUT else "")


def no_engine(problem: NeedsSetup) -> tuple[str, str]:
    """Title and text for a page without a Docker that can build."""
    title = _NO_ENGINE.get(problem.code)
    if title is None:
        return "Docker cannot be used", problem.sentence
    if isinstance(problem, DaemonNotRunning):
        return title, "Start Docker, then this page checks again by itself."
    return title, problem.hint or problem.summary


# The manifest.


def manifest_of(
    manifest: Manifest, compared: Sequence[Compared] | None, *, fresh: bool, why: str = "", busy: bool = False
) -> shown.ManifestShown:
    """The manifest, held against this computer.

    Args:
        compared: None: it was not compared.
        fresh: the lock is of this manifest.
        why: why it was not compared; empty while it is under way.
        busy: it is under way.
    """
    lines = list(compared) if compared is not None else _alone(manifest)
    known = compared is not None
    base = [_row(each, known=known) for each in lines if each.kind is not Kind.CUSTOM_NODE]
    nodes = [each for each in lines if each.kind is Kind.CUSTOM_NODE]
    plain = ((each, "") for each in manifest.python_packages)
    overrides = ((each, "in place of what nodes ask for") for each in manifest.overrides)
    count = len(manifest.custom_nodes)
    return shown.ManifestShown(
        tuple(base),
        tuple(_row(each, known=known) for each in nodes),
        tuple(_unheld(each) for each in manifest.system_packages),
        tuple(_unheld(name, detail) for name, detail in (*plain, *overrides)),
        "1 pinned" if count == 1 else f"{count} pinned",
        "compared with local" if known else "being compared" if busy else "not compared",
        sum(_can_be_matched(each) for each in nodes) if known else 0,
        " ".join(filter(None, ("" if fresh else _STALE_LOCK, why))),
        can_match=known,
        why_not="" if known else why,
    )


def broken_manifest(error: ComfyRunPodError) -> shown.ManifestShown:
    """A manifest that cannot be used."""
    return shown.ManifestShown(compared="", note=error.sentence, can_match=True)


def _alone(manifest: Manifest) -> list[Compared]:
    """As if compared with nothing."""
    torch = manifest.torch
    lines = [(Kind.COMFYUI, "ComfyUI", version_of(manifest.comfyui))]
    parts = (manifest.python, torch.cuda, torch.version)
    lines.append((Kind.TORCH, "Python · CUDA · torch", " · ".join(filter(None, parts))))
    lines += [(Kind.CUSTOM_NODE, pin.name, version_of(pin)) for pin in manifest.custom_nodes]
    return [Compared(kind, name, version, "", Parity.UNKNOWN) for kind, name, version in lines]


def version_of(pin: NodePin) -> str:
    return " · ".join(filter(None, (pin.version, pin.commit[:7]))) or pin.pin


def _row(line: Compared, *, known: bool = True) -> shown.Compared:
    detail = line.image or line.local
    if line.parity is Parity.DIFFERS and line.local:
        detail = f"{line.image} · local {line.local}"
    elif line.parity is Parity.LOCAL_ONLY and line.local != "local only":
        detail = f"{line.local} · local only"
    badge = "" if known else NOT_COMPARED
    return shown.Compared(line.name, detail, _PARITY[line.parity], line.note, badge)


def _unheld(name: str, detail: str = "") -> shown.Compared:
    return shown.Compared(name, detail, shown.Parity.UNKNOWN, badge=NOT_COMPARED)


def _can_be_matched(line: Compared) -> bool:
    """Whether matching this computer makes it the same: a pack that no image can be given stays as it is."""
    if line.parity is Parity.LOCAL_ONLY:
        return not line.note
    return line.parity in (Parity.DIFFERS, Parity.IMAGE_ONLY)


def match_question(match: Match, *, rebuild: bool) -> shown.MatchQuestion:
    left = sorted(match.left_out)
    note = f"Not taken over: {', '.join(left)}." if left else ""
    return shown.MatchQuestion(tuple(_changes(match.before, match.manifest)), rebuild, note)


def _changes(before: Manifest | None, after: Manifest) -> list[shown.ManifestChange]:
    old, new = _entries(before), _entries(after)
    names = [*new, *(name for name in old if name not in new)]
    pairs = ((name, old.get(name, ""), new.get(name, "")) for name in names)
    return [shown.ManifestChange(*each) for each in pairs if each[1] != each[2]]


def _entries(manifest: Manifest | None) -> dict[str, str]:
    """What stands in a manifest, by name; versions as a person reads them."""
    if manifest is None:
        return {}
    torch = manifest.torch
    found = {"ComfyUI": version_of(manifest.comfyui), "Python": manifest.python, "torch": torch.version}
    found |= {"torch's index": torch.index, "Base image": manifest.base_image}
    found |= {pin.name: version_of(pin) for pin in manifest.custom_nodes}
    return {name: text for name, text in found.items() if text}


# What was found.


def parity_of(report: Mapping[str, Any], at: float, now: float) -> shown.ParityShown:
    """What a test's report says; one that was kept may lack anything."""
    parity = report.get("parity")
    told = parity if isinstance(parity, Mapping) else {}
    return shown.ParityShown(
        _kept(told.get("nodes")), _kept(told.get("packages")), f"Tested {moment(at, now)}."
    )


def _kept(lines: Any) -> tuple[shown.Compared, ...]:
    rows: list[shown.Compared] = []
    for each in lines if isinstance(lines, list) else ():
        if not isinstance(each, Mapping):
            continue
        name, image, local, word, note = (
            str(each.get(key) or "") for key in ("name", "image", "local", "parity", "note")
        )
        parity = _PARITY.get(word, shown.Parity.UNKNOWN)
        detail = image or local
        if parity is shown.Parity.DIFFERS and local and local != image:
            detail = f"{image} · local {local}"
        rows.append(shown.Compared(name, " · ".join(filter(None, (detail, note))), parity, note))
    return tuple(rows)


def findings_of(scan: Scan, refused: Sequence[shown.RefusedFile] = ()) -> shown.FindingsShown:
    looked = (f"Looked at {', '.join(scan.looked_at)}.",) if scan.looked_at else ()
    return shown.FindingsShown(tuple(map(_finding, scan.findings)), tuple(refused), (*looked, *scan.notes))


def _finding(found: Finding) -> shown.FindingShown:
    known = _ADVISORY.fullmatch(found.id)
    address = f"https://osv.dev/vulnerability/{found.id}" if known else ""
    return shown.FindingShown(
        found.id, found.package, found.version, _SEVERITIES[found.severity], found.title, found.where,
        found.fixed_in, address,
    )  # fmt: skip


def refused_of(error: ComfyRunPodError) -> tuple[shown.RefusedFile, ...]:
    """The files for which a build was refused, each told as ``path, line 3: a private key``."""
    files = error.details.get("files")
    told = (str(each).rpartition(": ") for each in files) if isinstance(files, list) else ()
    return tuple(shown.RefusedFile(path or reason, reason) for path, _, reason in told)


def layers_of(layers: Sequence[LayerReport]) -> shown.LayersShown:
    made = (shown.ImageLayer(each.title, each.size, each.contents) for each in layers)
    return shown.LayersShown(tuple(made))
