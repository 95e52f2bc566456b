"""The time of a search from many starts, before it begins."""

from collections.abc import Mapping

from intaglio.runs.time_plan import TimePlan

ROUGH = "the rows decide how soon it ends, so this is rough"


def within_limit(parts: Mapping[str, float], limit: float, head: str) -> TimePlan:
    """The plan of a search whose parts take so many seconds, and which a time limit of `limit` seconds ends."""
    whole = sum(parts.values())
    share = min(1.0, limit / whole) if whole else 1.0
    return TimePlan({name: share * spent for name, spent in parts.items()}, f"{head}; {ROUGH}", at_most=True)
