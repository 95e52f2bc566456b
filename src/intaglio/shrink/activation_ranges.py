"""Scales of the inputs of layers, each fixed from all that the layer is given for calibration rows."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.runs.steps import SAVE_EVERY_S
from intaglio.shrink.calibration_states import CalibrationStates
from intaglio.shrink.code_grid import POWER
from intaglio.shrink.quantiser import Clip

BINS = 4096
"""Of a layer's histogram, from minus its largest absolute input to that."""
SHARES = tuple(share / 100 for share in range(1, 101))
"""Shares of the scale that holds every input, from which the best is taken."""
STATE = "activations"
"""A run's state of what was seen."""
PASSES = 2
"""Passes over the rows: for the largest inputs, and for the histograms."""


@dataclass(frozen=True, eq=False)
class InputRanges:
    """The inputs of layers, over all rows."""

    largest: Float[Tensor, "k"]
    """Absolute values."""
    counts: Float[Tensor, "k bins"]
    """Inputs in each bin of -largest..largest, float64."""

    def scales(self, bits: Sequence[int], clip: Clip) -> list[float]:
        """The scale of each layer for codes of so many bits: the best, or the one that holds every input."""
        shares = SHARES if clip == "mse" else (1.0,)
        rows = zip(self.largest.tolist(), self.counts, bits, strict=True)
        return [best_scale(top, counts, one, shares) for top, counts, one in rows]


def best_scale(largest: float, counts: Float[Tensor, "bins"], bits: int, shares: tuple[float, ...] = SHARES) -> float:
    """The scale s of symmetric codes at which Σ|x - s·clip(⌊x/s⌉)|^2.4 is least, among shares of the whole one.

    The whole one is largest / (2^(b-1) - 1), at which every input is held; inputs stand in the middle of their bins.
    """
    if largest == 0:
        return 1.0
    half, width = 2 ** (bits - 1), 2 * largest / len(counts)
    filled = counts.nonzero()[:, 0]
    x = (filled + 0.5) * width - largest
    tried = torch.tensor(shares) * (largest / (half - 1))
    codes = (x / tried[:, None]).round().clamp(-half, half - 1)
    losses = (codes * tried[:, None] - x).abs().pow(POWER) @ counts[filled].float()
    return float(tried[losses.argmin()])


def range_steps(rows: int, batch: int) -> int:
    """Batches of both passes over so many rows."""
    return PASSES * -(-rows // batch)


@torch.no_grad()
def input_ranges(
    model: LatentDiffusion, paths: Sequence[str], rows: CalibrationStates, *, batch: int, run: Run, label: str
) -> InputRanges:
    """The inputs of the layers at these paths of the denoiser, by two passes over the rows.

    The run keeps it at most every 20 seconds, and shows the progress under this label. The model is left as it was.
    """
    seen = {"largest": torch.zeros(len(paths)), "counts": torch.zeros(len(paths), BINS, dtype=torch.float64)}
    done = 0
    if (known := run.load_state(STATE)) is not None:
        seen, done = {name: known[0][name] for name in seen}, known[1].whole("batches")
    layers = [model.denoiser.get_submodule(path) for path in paths]
    steps = range_steps(len(rows), batch)
    with model.frozen(), run.progress(steps, label, done) as progress:
        passes = (one for _ in range(PASSES) for one in rows.batches(model, batch))
        for place, one in islice(enumerate(passes), done, None):
            with _watched(layers, seen, counting=place >= steps // PASSES):
                model.predict(*one)
            run.save_state(STATE, seen, {"batches": place + 1}, every_s=0 if place + 1 == steps else SAVE_EVERY_S)
            progress.advance()
    return InputRanges(seen["largest"], seen["counts"])


@contextmanager
def _watched(layers: Sequence[nn.Module], seen: dict[str, Tensor], counting: bool) -> Iterator[None]:
    """Adds every input that the layers take within to what was seen."""

    def note(place: int, x: Tensor) -> None:
        if not counting:
            seen["largest"][place] = max(float(seen["largest"][place]), float(x.abs().max()))
            return
        top = float(seen["largest"][place])
        seen["counts"][place] += torch.histc(x.float(), BINS, -top, top).cpu() if top else 0

    def hook_of(place: int) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda _, given: note(place, given[0])

    hooks = [layer.register_forward_pre_hook(hook_of(place)) for place, layer in enumerate(layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
