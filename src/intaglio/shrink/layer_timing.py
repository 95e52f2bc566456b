"""Seconds of gathering statistics of inputs, and of packing layers one by one, from pieces that are timed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run
from intaglio.runs.timed import seconds_of
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.layer_statistics import BLOCK, MOST_INPUTS, WIDEST, Gathered, InputStatistics, input_statistics
from intaglio.shrink.layers import WeightLayer

PROBED = 5
"""Layers that are timed, at most: of widths from the narrowest to the widest."""

Pack = Callable[[Tensor, InputStatistics | None, str], object]
"""(weight [o, n], statistics of the inputs or None, name) to the packed terms."""


def packing_seconds(layers: Sequence[WeightLayer], gathered: Gathered, pack: Pack) -> float:
    """Seconds of packing every layer: that of the probed layer of the nearest width, by the number of weights."""
    by_width = sorted({layer.columns: layer for layer in layers}.items())
    places = {round(k * (len(by_width) - 1) / max(1, PROBED - 1)) for k in range(PROBED)} if by_width else set()
    rates = {}
    for width, layer in (by_width[place] for place in sorted(places)):
        weight, inputs = layer.matrix, _made_up(width, gathered)
        rates[width] = seconds_of(lambda w=weight, x=inputs: pack(w, x, "plan"), "cpu") / weight.numel()
    return sum(
        rates[min(rates, key=lambda width, own=layer.columns: abs(width - own))] * layer.rows * layer.columns
        for layer in layers
    )


def statistics_seconds(model: LatentDiffusion, layers: Sequence[WeightLayer], gathered: Gathered, batch: int) -> float:
    """Seconds of a row of one pass that gathers statistics of these layers' inputs, from a pass of one batch."""
    side = model.resolution // model.factor
    blank, zeros = torch.zeros(batch, model.latent_channels, side, side), torch.zeros(batch, dtype=torch.long)
    rows = CalibrationStates(blank, zeros, ("",), zeros, zeros, "plan")
    none = Run.none()

    def gather() -> None:
        with none.progress(1, "plan") as progress:
            input_statistics(model, layers, rows, gathered, batch=batch, name="plan", run=none, progress=progress)

    return seconds_of(gather, model.device) / batch


def _made_up(width: int, gathered: Gathered) -> InputStatistics | None:
    """Statistics of random inputs of full rank."""
    if gathered == "nothing":
        return None
    rows = torch.randn(2 * min(width, BLOCK), width, generator=generator(0, "plan", "inputs", width))
    cuts = [slice(0, width)] if width <= WIDEST else [slice(k, min(k + BLOCK, width)) for k in range(0, width, BLOCK)]
    products = tuple(rows[:, cut].T @ rows[:, cut] / len(rows) for cut in cuts) if gathered == "products" else ()
    largest = rows[:MOST_INPUTS] if gathered == "largest" else torch.zeros(0, width)
    return InputStatistics(rows.square().mean(0), products, largest)
