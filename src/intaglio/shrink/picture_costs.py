"""Multiplications and seconds of a prediction of one picture by a denoiser that computes predicted units only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.predicted_units import PredictedResidual, kept_units, predicted_blocks
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.call_seconds import median_seconds

CALLS = 9
"""Timed predictions of each model."""


def picture_costs(
    full: LatentDiffusion, small: LatentDiffusion, rows: CalibrationStates, batch: int
) -> dict[str, dict[str, Any]]:
    """Plain figures of single pictures, means over the rows.

    `predicted` is the share of the units of each block that is kept; `multiplications` those of linear layers and
    convolutions in all, the predictors' own among them, before and after, and the share that is left; `call_ms`
    the median time of a prediction, before and after, taken in turns.
    """
    before, after = layer_multiplications(full, rows), layer_multiplications(small, rows)
    kept = {name: float(found.mean()) for name, found in kept_shares(small, rows, batch).items()}
    left = float(sum(after.values()))
    for name, block in predicted_blocks(small.denoiser).items():
        layers = ("conv2",) if isinstance(block, PredictedResidual) else ("net.0.proj", "net.2")
        left -= (1 - kept[name]) * sum(after[f"{name}.{layer}"] for layer in layers)
    whole = sum(before.values())
    return {
        "predicted": kept,
        "multiplications": {"before": whole, "after": left, "share": left / whole},
        "call_ms": milliseconds(full, small, rows.first(CALLS + 1)),
    }


@torch.no_grad()
def kept_shares(model: LatentDiffusion, rows: CalibrationStates, batch: int) -> dict[str, Float[Tensor, "m"]]:
    """Share of the units of each block with a predictor that each row keeps."""
    found: dict[str, list[Tensor]] = {name: [] for name in predicted_blocks(model.denoiser)}

    def keep(name: str, module: nn.Module, given: Any, logits: Tensor) -> None:
        found[name].append(kept_units(logits).float().mean(1).cpu())

    places = {name: block.predictor for name, block in predicted_blocks(model.denoiser).items()}
    with _outputs(places, keep), model.frozen():
        for one in rows.batches(model, batch):
            model.predict(*one)
    return {name: torch.cat(parts) for name, parts in found.items()}


def layer_multiplications(model: LatentDiffusion, rows: CalibrationStates) -> dict[str, int]:
    """Multiplications of each linear layer and convolution of a denoiser for one picture, all units computed."""
    kinds = (nn.Linear, nn.Conv2d)
    layers = {name: module for name, module in model.denoiser.named_modules() if isinstance(module, kinds)}
    found = dict[str, int]()

    def count(name: str, module: Any, given: Any, output: Tensor) -> None:
        found[name] = output[0].numel() * module.weight[0].numel()

    with torch.no_grad(), _outputs(layers, count), model.frozen():
        (one,) = rows.first(1).batches(model, 1)
        model.predict(*one)
    return found


def milliseconds(full: LatentDiffusion, small: LatentDiffusion, rows: CalibrationStates) -> dict[str, float]:
    """Median milliseconds of a prediction of each row alone, before and after, in turns; the first is not counted."""
    calls = {"before": _in_turn(full, rows), "after": _in_turn(small, rows)}
    return {name: 1000 * seconds for name, seconds in median_seconds(calls, max(1, len(rows) - 1)).items()}


@torch.no_grad()
def _in_turn(model: LatentDiffusion, rows: CalibrationStates) -> Callable[[], None]:
    """A prediction of the next row, the first after the last."""
    given = cycle(list(rows.batches(model, 1)))

    @torch.no_grad()
    def call() -> None:
        model.predict(*next(given))
        if model.device.type == "cuda":
            torch.cuda.synchronize(model.device)

    return call


@contextmanager
def _outputs(modules: Mapping[str, nn.Module], keep: Any) -> Iterator[None]:
    """While the block runs, `keep` is called with name, module, inputs and output of each call of these modules."""
    hooks = []
    for name, module in modules.items():

        def hook(module: nn.Module, given: Any, output: Any, name: str = name) -> None:
            keep(name, module, given, output)

        hooks.append(module.register_forward_hook(hook))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
