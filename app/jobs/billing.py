"""The book of runs against RunPod's bill, by day and endpoint. RunPod's days are those of UTC."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from ..endpoint.prices import Charge
from .runs import Run
from .targets import is_remote

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Checked:
    """One day of one endpoint, in USD: as reckoned here, and as billed."""

    day: str
    endpoint: str
    ours: float
    billed: float

    @property
    def difference(self) -> float:
        """What was billed beyond our figure; below 0 when less."""
        return self.billed - self.ours


def checked(charges: Iterable[Charge], runs: Iterable[Run]) -> list[Checked]:
    """Every day and endpoint that either side knows, the newest first.

    Charges that name no day or no endpoint are left out: nothing here could be set against them.
    """
    ours: defaultdict[tuple[str, str], float] = defaultdict(float)
    billed: defaultdict[tuple[str, str], float] = defaultdict(float)
    for run in runs:
        if is_remote(run.target):
            ours[datetime.fromtimestamp(run.at, UTC).date().isoformat(), run.target] += run.usd
    for charge in charges:
        day = _DAY.match(charge.begin or "")
        if day is not None and charge.endpoint_id:
            billed[day[0], charge.endpoint_id] += charge.total
    return [Checked(*key, ours[key], billed[key]) for key in sorted({*ours, *billed}, reverse=True)]
