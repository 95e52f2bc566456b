"""denoiser: activations of a denoiser that is given noised pictures, at several places and noise levels."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from intaglio.errors import BadInput, require
from intaglio.explain.features.family import Asked, FeatureProbe
from intaglio.explain.features.feature_cells import FeatureCell, ProbedNetworks, pooled
from intaglio.images.image_set import ImageSet
from intaglio.models.capabilities import Encodes, HasUNet, PredictsNoise, ReadsPrompts
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.models.module_edits import module_at
from intaglio.models.module_outputs import outputs_of
from intaglio.randomness import generator


@dataclass(frozen=True, kw_only=True)
class DenoiserProbe(FeatureProbe):
    """Labels read from a denoiser's activations for noised pictures, at each site and noise level.

    A picture's latents z = encode(x) are noised to x_t = signal(t) z + noise(t) e, and the denoiser is called once with
    the empty prompt; what a site gives, [c, h, w], is averaged over `pool` x `pool` cells to d = c pool^2 features, and
    these over `noises` draws of e, which depend on the seed and the picture alone. A cell is a site at a timestep.
    The linear head of arXiv 2307.08702, which reads guided diffusion on ImageNet at one block and t = 90.
    """

    reading: ClassVar[str] = "means over a grid of what a site of the denoiser gives for noised pictures"
    asks: ClassVar[Asked] = "model"
    needs: ClassVar[tuple[type, ...]] = (Encodes, ReadsPrompts, PredictsNoise, HasUNet)

    sites: tuple[str, ...] = ()
    """Modules of the denoiser that give maps, by name, such as up_blocks.1; none takes all of its blocks."""
    timesteps: tuple[int, ...] = (20, 50, 90, 150, 300, 600)
    """Noise levels, one or more, from 0 (clean) to the end of the model's schedule."""
    pool: int = 2
    """Cells of a side of the grid that activations are averaged over, 1 to 16."""
    noises: int = 4
    """Draws of noise that features are averaged over, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fit = bool(self.timesteps) and all(one >= 0 for one in self.timesteps)
        require(fit, f"timesteps must be one number or more from 0, not {self.timesteps}")
        for name in ("sites", "timesteps"):
            given = getattr(self, name)
            require(len(set(given)) == len(given), f"{name} must differ from each other, not {given}")
        require(1 <= self.pool <= 16, f"pool must be 1 to 16, not {self.pool}")
        require(self.noises >= 1, f"noises must be at least 1, not {self.noises}")

    def cells(self, networks: ProbedNetworks) -> Sequence[FeatureCell]:
        """See the family."""
        model = _model(networks)
        if late := [one for one in self.timesteps if one >= model.schedule.count]:
            raise BadInput(f"{model.name} has timesteps 0 to {model.schedule.count - 1}, not {late[0]}")
        return tuple(FeatureCell(site, t) for site in self._sites(model) for t in self.timesteps)

    def features(self, networks: ProbedNetworks, images: ImageSet) -> Mapping[FeatureCell, Tensor]:
        """See the family. Raises `BadInput` for a site that gives no maps, or not once a call."""
        model = _model(networks)
        latents, sites = model.encode(images.pixels), self._sites(model)
        prompt = model.embed([""])
        sums = dict[FeatureCell, Tensor]()
        for number in range(self.noises):
            sources = [generator(self.seed, "noised features", content, number) for content in images.hashes]
            noise = unit_noise(latents.shape[1:], sources).to(latents)
            for t in self.timesteps:
                steps = torch.full((len(latents),), t, device=latents.device)
                given = _activations(model, sites, model.noised(latents, noise, steps), steps, prompt)
                for site, maps in given.items():
                    cell, found = FeatureCell(site, t), pooled(maps, self.pool)
                    sums[cell] = sums[cell] + found if cell in sums else found
        return {cell: sums[cell] / self.noises for cell in self.cells(networks)}

    def calls(self, networks: ProbedNetworks) -> int:
        """See the family."""
        return self.noises * len(self.timesteps)

    def _sites(self, model: LatentDiffusion) -> tuple[str, ...]:
        """Names of the sites. Raises `BadInput` for such as there are not."""
        for site in self.sites:
            module_at(model.denoiser, site)
        return self.sites or denoiser_blocks(model)


def denoiser_blocks(model: LatentDiffusion) -> tuple[str, ...]:
    """Names of a U-Net's blocks, in the order of their calls."""
    children = dict(model.denoiser.named_children())
    lists = {part: len(list(children[part].children())) for part in ("down_blocks", "up_blocks") if part in children}
    middle = ("mid_block",) if children.get("mid_block") is not None else ()
    down, up = (tuple(f"{part}.{k}" for k in range(lists.get(part, 0))) for part in ("down_blocks", "up_blocks"))
    return (*down, *middle, *up)


def _model(networks: ProbedNetworks) -> LatentDiffusion:
    if networks.model is None:
        raise BadInput("there is no model whose denoiser could be read; give --model")
    return networks.model


def _activations(
    model: LatentDiffusion, sites: Sequence[str], noised: Tensor, steps: Tensor, prompt: Conditioning
) -> dict[str, Tensor]:
    """Maps [n, c, h, w] that each site gives in one call of the denoiser."""
    with ExitStack() as watched:
        given = {site: watched.enter_context(outputs_of([module_at(model.denoiser, site)])) for site in sites}
        model.predict(noised, steps, prompt)
    for site, found in given.items():
        if len(found) != 1 or found[0].dim() != 4:
            raise BadInput(f"{site} does not give maps once a call of the denoiser; name a block, such as mid_block")
    return {site: found[0] for site, found in given.items()}
