"""The views of the panel at the right as groups of entries. No widgets: values in, values out."""

from __future__ import annotations

from collections.abc import Sequence

from ...jobs.figures import size
from .entries import Entry, Group
from .shown import (
    Compared,
    FindingsShown,
    LayersShown,
    ManifestShown,
    Parity,
    ParityShown,
    PastRun,
    Severity,
)
from .words import PARITY, SEVERITIES, Look, nodes

_LIVE = Look("Live", "green", "check")
_FAILED = Look("Failed", "red", "x")
_REFUSED = Look("Refused", "red", "key-round")


def manifest_groups(manifest: ManifestShown) -> list[Group]:
    count = len(manifest.nodes)
    groups = [
        Group("", _compared(manifest.base)),
        Group("Custom nodes", _compared(manifest.nodes), manifest.nodes_note or f"{count} pinned"),
        Group("System packages", _compared(manifest.system), _others(manifest.system), folds=True),
        Group("Python packages", _compared(manifest.python), _others(manifest.python), folds=True),
    ]
    return [group for group in groups if group.entries]


def parity_groups(parity: ParityShown) -> list[Group]:
    """What is not the same stands first."""
    groups = [
        Group("Custom nodes", _compared(_worst_first(parity.nodes)), _others(parity.nodes)),
        Group("Packages", _compared(_worst_first(parity.packages)), _others(parity.packages)),
    ]
    return [group for group in groups if group.entries]


def findings_groups(shown: FindingsShown) -> list[Group]:
    refused = tuple(
        Entry(each.path, each.reason, _REFUSED, hint="Nothing is built with it.") for each in shown.refused
    )
    groups = [Group("Secrets in the build's files", refused, str(len(refused)))]
    for severity in Severity:
        of_it = [each for each in shown.findings if each.severity is severity]
        entries = tuple(
            Entry(
                f"{each.package} {each.version}",
                " · ".join(part for part in (each.id, _fixed(each.fixed_in), each.where) if part),
                SEVERITIES[severity],
                hint=each.title,
                key=each.address,
            )
            for each in of_it
        )
        groups.append(Group(SEVERITIES[severity].text, entries, str(len(entries))))
    return [group for group in groups if group.entries]


def layers_groups(shown: LayersShown) -> list[Group]:
    """Each layer folds, with the largest of its contents below it."""
    largest_first = sorted(shown.layers, key=lambda each: -each.size)
    return [
        Group(
            layer.title,
            tuple(Entry(name, right=size(count)) for name, count in layer.contents),
            size(layer.size),
            folds=bool(layer.contents),
        )
        for layer in largest_first
    ]


def history_groups(runs: Sequence[PastRun]) -> list[Group]:
    entries = tuple(
        Entry(
            f"{run.what} {run.tag}".strip(),
            " · ".join(part for part in (run.when, run.endpoint, run.version, run.digest) if part),
            None if run.ok and not run.is_live else _LIVE if run.ok else _FAILED,
            hint=run.note,
        )
        for run in runs
    )
    return [Group("", entries)] if entries else []


def layers_total(shown: LayersShown) -> str:
    """``7.1 GB in 9 layers``."""
    if not shown.layers:
        return ""
    count = len(shown.layers)
    total = shown.total or sum(layer.size for layer in shown.layers)
    return f"{size(total)} in {'1 layer' if count == 1 else f'{count} layers'}"


def findings_total(shown: FindingsShown) -> str:
    count = len(shown.findings) + len(shown.refused)
    return f"{count} found" if count else ""


def parity_total(parity: ParityShown) -> str:
    others = sum(each.parity is not Parity.SAME for each in parity.nodes)
    if not parity.nodes:
        return ""
    return f"{nodes(others)} not the same" if others else "all the same"


def _compared(rows: Sequence[Compared]) -> tuple[Entry, ...]:
    def badge(row: Compared) -> Look:
        look = PARITY[row.parity]
        return Look(row.badge, look.tone, look.icon) if row.badge else look

    return tuple(Entry(row.name, row.detail, badge(row), hint=row.hint) for row in rows)


def _worst_first(rows: Sequence[Compared]) -> list[Compared]:
    return sorted(rows, key=lambda row: row.parity is Parity.SAME)


def _others(rows: Sequence[Compared]) -> str:
    """``12, 1 differs``."""
    others = sum(row.parity is Parity.DIFFERS for row in rows)
    return f"{len(rows)}, {others} {'differs' if others == 1 else 'differ'}" if others else str(len(rows))


def _fixed(version: str) -> str:
    return f"fixed in {version}" if version else "no fix yet"
