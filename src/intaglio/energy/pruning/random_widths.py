"""Models with hidden widths drawn at random, whose measured calls correct the estimates of pruned ones."""

from functools import partial

from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.energy.profile.profiling import WholeNetwork
from intaglio.energy.pruning.chosen_widths import pruned
from intaglio.energy.pruning.measured_calls import call_of
from intaglio.energy.pruning.width_costs import levels_of
from intaglio.energy.workloads import denoiser_step
from intaglio.models.diffusion.hidden_widths import hidden_widths
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import numpy_generator, seed_32bit


def randomly_narrowed(model: LatentDiffusion, least: float, seed: int) -> LatentDiffusion:
    """A copy of a model with every hidden width at one of its levels, each as probable; a function of the seed.

    Args:
        model: left as found.
        least: share of each width that stays, in (0, 1].
        seed: of the widths, 0 or more.
    """
    draw, kept = numpy_generator(seed), {}
    for scope, one in hidden_widths(model.denoiser).items():
        kept[scope] = range(int(draw.choice(levels_of(one.units, least))))
    return pruned(model, kept)


def random_networks(
    device: TorchDevice, model: LatentDiffusion, batch: int, least: float, count: int, seed: int
) -> list[WholeNetwork]:
    """Calls of so many models of random widths, to be measured whole.

    Args:
        device: measures them.
        model: on that device; left as found.
        batch: latents of a call, 1 or more.
        least: share of each width that stays, in (0, 1].
        count: models, 0 or more.
        seed: of the widths, 0 or more.
    """
    models = [randomly_narrowed(model, least, seed_32bit(seed, "random widths", place)) for place in range(count)]
    return [
        WholeNetwork(
            f"random widths {place}", denoiser_step(one, batch), partial(device.measure_step, call_of(one, batch))
        )
        for place, one in enumerate(models)
    ]
