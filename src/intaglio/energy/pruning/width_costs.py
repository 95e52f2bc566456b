"""`WidthSteps`: the layers of each block of a U-Net at each of its hidden widths, and what they cost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from intaglio.energy.layers.layer import NO_WORK, Step
from intaglio.energy.workloads import denoiser_parts
from intaglio.models.diffusion.hidden_widths import hidden_widths, narrow
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.skeletons import skeleton
from intaglio.models.library_logging import quiet_libraries
from intaglio.runs.run import Run

LEVELS = 32
"""Widths of a block that are told apart, at most; the U-Net is parsed once for each."""


@dataclass(frozen=True, eq=False)
class WidthSteps:
    """A denoiser's work by its hidden widths: a block's at each level of its width, and the rest, which is the same."""

    units: Mapping[str, tuple[int, ...]]
    """Levels of each scope in units that are kept, from all of them downwards."""
    steps: Mapping[str, tuple[Step, ...]]
    """Work within each scope at each of its levels."""
    rest: Step
    """Work outside of all scopes."""

    def whole(self, levels: Mapping[str, int]) -> Step:
        """The work of a call with every scope at a level, an index into `units`; one that is not named is full."""
        chosen = (found[levels.get(scope, 0)] for scope, found in self.steps.items())
        layers, unparsed = dict(self.rest.layers), dict(self.rest.unparsed)
        for step in chosen:
            for layer, calls in step.layers.items():
                layers[layer] = layers.get(layer, 0) + calls
            for name, numbers in step.unparsed.items():
                unparsed[name] = unparsed.get(name, 0.0) + numbers
        return Step(layers, unparsed, self.rest.notes, self.rest.steps)

    def costs(self, cost: Callable[[Step], float]) -> dict[str, tuple[float, ...]]:
        """Costs of each scope at each of its levels, by an additive measure of steps such as an estimate or FLOPs."""
        known: dict[frozenset[object], float] = {}

        def of(step: Step) -> float:
            key = frozenset((*step.layers.items(), *step.unparsed.items()))
            if key not in known:
                known[key] = cost(step)
            return known[key]

        return {scope: tuple(map(of, steps)) for scope, steps in self.steps.items()}


def width_steps(
    model: LatentDiffusion,
    batch: int,
    *,
    least: float,
    size: tuple[int, int] | None = None,
    train: bool = False,
    run: Run = Run.none(),
) -> WidthSteps:
    """The work of a call of the denoiser at every level of its hidden widths, without memory for any weights.

    Args:
        model: left as found.
        batch: latents at once, 1 or more.
        least: share of each width that stays, in (0, 1].
        size: height and width of the pictures in pixels; None takes the model's own.
        train: whether a backward pass follows.
        run: shows the progress.
    """
    with quiet_libraries():
        network = skeleton("UNet2DConditionModel", model.denoiser.config).to(model.dtype)
    units = {scope: levels_of(one.units, least) for scope, one in hidden_widths(network).items()}
    steps: dict[str, list[Step]] = {scope: [] for scope in units}
    deepest, rest = max(map(len, units.values()), default=1), NO_WORK
    with run.progress(deepest, "widths") as progress:
        for level in range(deepest):
            present = [scope for scope, counts in units.items() if level < len(counts)]
            for scope in present:
                narrow(network, scope, range(units[scope][level]))
            parts = denoiser_parts(model, network, units, batch, size=size, train=train)
            rest = parts[""]
            for scope in present:
                steps[scope].append(parts[scope])
            progress.advance()
    return WidthSteps(units, {scope: tuple(found) for scope, found in steps.items()}, rest)


def narrowest_steps(model: LatentDiffusion, batches: Sequence[int], least: float, *, train: bool = True) -> list[Step]:
    """Calls of the denoiser with every hidden width at its least, and with `train` those of a training too.

    A profile that is to hold for pruned models has these layers within its bounds.
    """
    network = skeleton("UNet2DConditionModel", model.denoiser.config)
    for scope, one in hidden_widths(network).items():
        narrow(network, scope, range(levels_of(one.units, least)[-1]))
    asked = [(batch, trains) for batch in batches for trains in ((False, True) if train else (False,))]
    return [denoiser_parts(model, network, (), batch, train=trains)[""] for batch, trains in asked]


def levels_of(units: int, least: float) -> tuple[int, ...]:
    """Numbers of units that a width may keep, falling from all of them to the least share, at least 1.

    They are multiples of a power of two, the smallest that gives at most `LEVELS`: steps of kernels lie at such.
    """
    grid = 2 ** max(0, math.ceil(math.log2(units / (LEVELS - 1))))
    lowest = max(1, math.ceil(least * units - 1e-9))
    below = range((units - 1) // grid * grid, 0, -grid)
    return (units, *(count for count in below if count >= lowest))
