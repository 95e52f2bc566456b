"""The time of an attribution, before it begins: one update of a network, or one look at a picture, is timed."""

from collections.abc import Mapping

import torch

from intaglio.audit.attribution.family import NO_MODELS, SourceAttributor
from intaglio.audit.attribution.source_models import Models
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def attribution_plan(
    method: SourceAttributor, counts: Mapping[str, int], asked: int, side: int, models: Models = NO_MODELS
) -> TimePlan:
    """Seconds of the training, measured by one pass of a network of the same size, or of looks at all pictures.

    Args:
        method: with its settings.
        counts: pictures by source; none for sources that are fitted already.
        asked: pictures to attribute.
        side: of all pictures, pixels.
        models: of sources, for a method that asks them.
    """
    whole = sum(counts.values())
    held = round(method.held_out * whole)
    head = f"pictures   {asked} to attribute"
    if counts:
        head += f", {whole} of {len(counts)} sources, of which about {held} are held out"
    if (look := method.look(models, side)) is not None:
        device = next((model.device for model in models.values()), torch.device("cpu"))
        return TimePlan({"pictures": (whole + asked) * seconds_of(look, device)}, head)
    step = method.update(len(counts), side) if counts else None
    if step is None:
        return TimePlan({}, head)
    with torch.enable_grad():
        return TimePlan({"training": method.updates(whole - held) * seconds_of(step, torch.device("cpu"))}, head)
