"""`FactorFit`: the Kronecker factors of a denoiser's curvature, fitted to the pictures of its training set."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from intaglio.audit.influence.example_method import Asked
from intaglio.audit.influence.kronecker_factors import LayerFactors, Pairs, inputs_and_gradients, moments, sides
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.runs.run import Run

Summand = Callable[[Pairs], Mapping[str, Float[Tensor, "_ _"]]]
"""Matrices by name of some inputs and output gradients, to be summed over all."""
Noises = Sequence[tuple[Float[Tensor, "m c h w"], Tensor]]
"""Noise and timesteps [m] of every picture, some rows after the other."""

SAVE_EVERY_S = 60
"""Seconds between two stores of the factors' sums."""
STAGES = ("moments", "values")
"""The two passes over the pictures: for the eigenvectors, and for the values along them."""


@dataclass(frozen=True, eq=False)
class FactorFit:
    """The fit of EK-FAC's factors to the Gauss-Newton matrix of the training loss; see `ekfac` for the maths."""

    weights: Sequence[str]
    """Names of weights of the denoiser, each of a layer that `sides` knows."""
    noises: Noises
    """That all pictures share."""
    draws: int
    """Random signs of each noised picture, from 1."""
    seed: int
    """Seed of the signs."""
    name: str
    """Of the method, for the progress."""

    def __call__(
        self,
        model: LatentDiffusion,
        asked: Sequence[Asked],
        latents: Float[Tensor, "n c h w"],
        states: Mapping[str, str],
        run: Run,
    ) -> dict[str, LayerFactors]:
        """The factors of each weight by its name; a run that was killed goes on.

        Args:
            model: trained on the pictures; left as it was found.
            asked: hash and prompt of each picture, from which its signs follow.
            latents: clean, of the same pictures.
            states: names of the two stored states, by stage.
            run: progress and sums go there.

        Raises:
            IntaglioError: where no output depends on a weight, or a number is not finite.
        """
        summed = self._summed(model, asked, latents, states["moments"], "moments", moments, run)
        factors = {name: LayerFactors.of(summed[f"{name}.inputs"], summed[f"{name}.outputs"]) for name in self.weights}

        def squares(pairs: Pairs) -> dict[str, Tensor]:
            return {name: factors[name].squares(*pair) for name, pair in pairs.items()}

        values = self._summed(model, asked, latents, states["values"], "values", squares, run)
        count = len(latents) * self.draws * sum(len(t) for _, t in self.noises)
        found = {name: replace(factors[name], values=values[name] / count) for name in self.weights}
        total = sum(float(one.values.sum()) for one in found.values())
        if not 0 < total < float("inf"):
            raise IntaglioError(f"the curvature of {model.name} is {total}; take other --weights, or float32")
        return found

    def _summed(
        self,
        model: LatentDiffusion,
        asked: Sequence[Asked],
        latents: Float[Tensor, "n c h w"],
        state: str,
        stage: str,
        of: Summand,
        run: Run,
    ) -> dict[str, Float[Tensor, "_ _"]]:
        """Sums over all training pictures, stored now and then with the number of pictures that they hold."""
        stored = run.load_state(state)
        sums, begun = (dict(stored[0]), int(stored[1]["pictures"])) if stored else ({}, 0)
        order = sorted(range(len(asked)), key=lambda i: asked[i])
        modules = dict(model.denoiser.named_modules())
        layers = {name: modules[name.removesuffix(".weight")] for name in self.weights}
        with run.progress(len(asked), f"{self.name} {stage}", begun) as progress, model.frozen():
            for done, i in enumerate(order[begun:], begun + 1):
                for pairs in self._pairs(model, layers, latents[i], asked[i]):
                    for name, part in of(pairs).items():
                        sums[name] = sums[name] + part if name in sums else part
                every = 0 if done == len(asked) else SAVE_EVERY_S
                run.save_state(state, sums, {"pictures": done}, every_s=every)
                progress.advance()
        return sums

    def _pairs(
        self, model: LatentDiffusion, layers: Mapping[str, nn.Module], latent: Float[Tensor, "c h w"], asked: Asked
    ) -> Iterator[Pairs]:
        """Inputs and output gradients of one picture, a few of its noised latents at a time."""
        with torch.no_grad():
            text = model.embed([asked[1]])
        for draw in range(self.draws):
            source = generator(self.seed, "ekfac", *asked, draw)
            for noise, t in self.noises:
                signs = (torch.randint(2, noise.shape, generator=source) * 2.0 - 1).to(model.device)
                clean = latent.to(model.device).expand_as(noise)

                def number(noise: Tensor = noise, t: Tensor = t, signs: Tensor = signs, z: Tensor = clean) -> Tensor:
                    return sqrt(2 / z[0].numel()) * (signs * model.output(model.noised(z, noise, t), t, text)).sum()

                yield inputs_and_gradients(layers, number)


def factored(model: LatentDiffusion, chosen: Mapping[str, int], side: int, said: str) -> dict[str, int]:
    """Of some weights with their sizes those that have factors with sides of at most `side`.

    `said` is the value of --weights that chose them. Raises `BadInput` where there is none.
    """
    modules = dict(model.denoiser.named_modules())
    found = {
        name: size
        for name, size in chosen.items()
        if name.endswith(".weight")
        and (both := sides(modules[name.removesuffix(".weight")])) is not None
        and max(both) <= side
    }
    if not found:
        raise BadInput(
            f"none of the {len(chosen)} weights of --weights {said} belongs to a layer with sides of at most {side}; "
            "give a larger --side, or other --weights"
        )
    return found
