"""The time of an attribution, before it begins: updates of a network where one is trained, one of which is timed."""

from collections.abc import Mapping

import torch

from intaglio.audit.attribution.family import SourceAttributor
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def attribution_plan(method: SourceAttributor, counts: Mapping[str, int], asked: int, side: int) -> TimePlan:
    """Seconds of the training, measured by one pass of a network of the same size.

    Args:
        method: with its settings.
        counts: pictures by source; none for sources that are fitted already.
        asked: pictures to attribute.
        side: of all pictures, pixels.
    """
    whole = sum(counts.values())
    held = round(method.held_out * whole)
    head = f"pictures   {asked} to attribute"
    if counts:
        head += f", {whole} of {len(counts)} sources, of which about {held} are held out"
    step = method.update(len(counts), side) if counts else None
    if step is None:
        return TimePlan({}, head)
    with torch.enable_grad():
        return TimePlan({"training": method.updates(whole - held) * seconds_of(step, torch.device("cpu"))}, head)
