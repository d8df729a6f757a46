"""What an endpoint's workers cost as they are set, in sentences."""

from __future__ import annotations

from .prices import Rate

_HOUR_S, _DAY_S = 3600, 86_400


def terms(rate: Rate | None, *, workers_min: int, workers_max: int, idle_s: int) -> list[str]:
    """One sentence for each thing that costs; without a price what is charged all the same."""
    if workers_max == 0:
        return ["No worker may start: no job runs, and nothing is charged."]
    said = []
    per_s = None if rate is None else rate.usd_per_s
    if workers_min:
        many = "1 worker is" if workers_min == 1 else f"{workers_min} workers are"
        price = ""
        if per_s is not None:
            hour, day = (workers_min * per_s * seconds for seconds in (_HOUR_S, _DAY_S))
            price = f", at most ${hour:,.2f} an hour and ${day:,.2f} a day"
        said.append(f"{many} always on and charged also when nothing runs{price}.")
    else:
        said.append("No worker is always on: the first job after a pause waits for a cold start.")
    at_once = "1 worker" if workers_max == 1 else f"{workers_max} workers"
    price = f": ${workers_max * per_s:.5f} / s" if per_s is not None else ""
    said.append(f"At most {at_once} at once{price}.")
    price = f", ${idle_s * per_s:.3f} each time" if per_s is not None else ""
    said.append(f"A worker waits {idle_s} s for the next job{price}.")
    return said
