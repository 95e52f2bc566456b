"""Bayesian few-shot fine-tuning: some weights are Gaussian in training, and their means are exported.

A random weight is N(mean, sigma^2), independent of all others; mean and sigma are both learned, by the same optimiser
(Bayes by Backprop, arXiv 1505.05424). Every micro-batch has one draw, theta = mean + sigma * e with e ~ N(0, 1). With
g = dL/dtheta as backpropagation leaves it in the weight, dL/dmean = g and dL/dsigma = g * e: no graph is needed for
either. Between two steps the weights are the means, so that samples, saved states and results never hold a draw.

Source: arXiv 2405.19931; in the paper sigma starts at 0.01 and the divergence from the prior has no weight. Its third
base method, OFT, is left out: peft's OFT cuts the Cayley map to five terms by default, so that a draw is no rotation,
and replaces modules, where Intaglio's adapters are hooks.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from intaglio.adapt.settings import BayesianTraining
from intaglio.errors import BadInput
from intaglio.randomness import seed_32bit

FLOOR = 1e-7
"""The least sigma; sigma itself is learned, not its logarithm."""
NOISY_SHARE = 0.5
"""A sigma above this share of the deviation of a layer's weights is warned of."""
FEW_PICTURES = 50
"""Training pictures from which on the Bayesian form is warned of."""
QUANTILE_SAMPLES = 1 << 16
"""Sigmas that quantiles are taken over, about; evenly spread over all."""

Direction = Literal["prior-to-posterior", "posterior-to-prior"]


ALSO_CALLED = {"attn1": ("attn", "attention"), "ff": ("img_mlp", "feed_forward")}
"""Names of a U-Net's layers, and those of the same layers in transformer denoisers."""


def chosen(names: Sequence[str], targets: Sequence[str]) -> list[str]:
    """The names that hold one of `targets` between dots; one of a U-Net stands for that of a transformer too.

    Raises `BadInput` for a target that none holds.
    """
    absent = {target for target in targets if not any(_holds(name, target) for name in names)}
    targets = [
        next((other for other in ALSO_CALLED.get(target, ()) if any(_holds(name, other) for name in names)), target)
        if target in absent
        else target
        for target in targets
    ]
    for target in targets:
        if not any(_holds(name, target) for name in names):
            raise BadInput(f"no trained weight has {target!r} in its path, so none of them can be random; name others")
    return [name for name in names if any(_holds(name, target) for target in targets)]


def _holds(name: str, target: str) -> bool:
    return f".{target}." in f".{name}."


class Posterior:
    """Independent Gaussians over some of the trained weights, whose means are the weights themselves."""

    def __init__(self, weights: Mapping[str, Tensor], scales: Mapping[str, float], settings: BayesianTraining):
        """Centred, as is the prior, at the weights as they now are.

        Args:
            weights: all trained weights, float32 leaf tensors by name.
            scales: the random ones by name, each with the factor of its sigma and prior_sigma.
            settings: of the training.
        """
        for name in scales:
            if weights[name].dtype != torch.float32:
                raise BadInput(
                    f"{name} is {weights[name].dtype}, in which small changes of a mean are lost; load the model in "
                    "float32 to make its weights random"
                )
        self._settings, self._scales = settings, dict(scales)
        self._means = {name: weights[name] for name in scales}
        self.sigmas = {
            f"sigma/{name}": torch.full_like(mean.detach(), settings.sigma * scales[name])
            for name, mean in self._means.items()
        }
        self.trained = (*weights.values(), *self.sigmas.values())
        """All that gradients are collected of."""
        self._trained = sum(weight.numel() for weight in weights.values())
        self.draws: list[Tensor] = [torch.empty_like(mean.detach()) for mean in self._means.values()]
        self._starts = [mean.detach().clone() for mean in self._means.values()] if settings.kl_weight else []
        device = next(iter(weights.values())).device
        self._flat = torch.empty(len(self), device=device)
        parts = self._flat.split([mean.numel() for mean in self._means.values()])
        self._noise = [part.view_as(mean) for part, mean in zip(parts, self._means.values(), strict=True)]

    def __len__(self) -> int:
        """The number of random weights, counted by elements."""
        return sum(mean.numel() for mean in self._means.values())

    @property
    def share(self) -> float:
        """The random share of all trained elements, in [0, 1]."""
        return len(self) / self._trained

    @property
    def buffers_bytes(self) -> int:
        """Memory beside the sigmas: the noise, the draw, and with kl_weight the prior's means."""
        return sum(t.numel() * t.element_size() for t in (self._flat, *self.draws, *self._starts))

    @contextmanager
    def sampled(self, step: int, part: int) -> Iterator[None]:
        """While the block runs the weights are the draw of micro-batch `part` of `step`; then they are means again.

        A backward pass inside leaves its gradients added to those of the means and of the sigmas. The draw stays the
        same for the whole block, so that gradient checkpointing recomputes with the same weights.
        """
        means, sigmas = list(self._means.values()), list(self.sigmas.values())
        if not means:
            yield
            return
        self._sample(step, part)
        kept, earlier = [mean.data for mean in means], [mean.grad for mean in means]
        for mean, sampled in zip(means, self.draws, strict=True):
            mean.data, mean.grad = sampled, None
        try:
            yield
        finally:
            for mean, own in zip(means, kept, strict=True):
                mean.data = own
        for mean, sigma, noise, before in zip(means, sigmas, self._noise, earlier, strict=True):
            _add_gradients(mean, sigma, noise, before)

    @torch.no_grad()
    def _sample(self, step: int, part: int) -> None:
        # On the weights' own device: drawn elsewhere, two hundred million numbers a step would have to be moved.
        seed = seed_32bit(self._settings.seed, "weights", step, part)
        generator = torch.Generator(self._flat.device).manual_seed(seed)
        self._flat.normal_(generator=generator)
        for mean, sigma, noise, out in zip(
            self._means.values(), self.sigmas.values(), self._noise, self.draws, strict=True
        ):
            torch.addcmul(mean, sigma, noise, out=out)

    @torch.no_grad()
    def add_divergence(self) -> float | None:
        """Adds the gradients of kl_weight times the divergence; returns that product, None where kl_weight is 0."""
        settings = self._settings
        if not self._starts:
            return None
        factor = settings.kl_weight / (len(self) if settings.kl_reduction == "mean" else 1)
        total = torch.zeros((), dtype=torch.float64, device=self._flat.device)
        for name, start in zip(self._means, self._starts, strict=True):
            mean, sigma = self._means[name], self.sigmas[f"sigma/{name}"]
            prior = settings.prior_sigma * self._scales[name]
            value, by_mean, by_sigma = divergence(mean - start, sigma, prior, settings.kl_direction)
            total += value
            _added(mean, by_mean * factor)
            _added(sigma, by_sigma * factor)
        return factor * float(total)

    @torch.no_grad()
    def keep_positive(self) -> None:
        """Clamps every sigma to the floor from below."""
        if self.sigmas:
            torch._foreach_clamp_min_(list(self.sigmas.values()), FLOOR)  # pyright: ignore[reportPrivateImportUsage]

    @torch.no_grad()
    def quantiles(self) -> dict[str, float]:
        """The 5th, 50th and 95th percentile of sigma over its scale, of about 65,000 of them."""
        stride = max(1, len(self) // QUANTILE_SAMPLES)
        pairs = zip(self.sigmas.values(), self._scales.values(), strict=True)
        some = torch.cat([sigma.detach().flatten()[::stride] / scale for sigma, scale in pairs])
        low, middle, high = some.quantile(torch.tensor([0.05, 0.5, 0.95], device=some.device)).tolist()
        return {"sigma_5pct": low, "sigma_median": middle, "sigma_95pct": high}

    @torch.no_grad()
    def noisy_layers(self) -> list[str]:
        """Layers whose mean sigma is above half the standard deviation of their weights."""
        pairs = zip(self._means.items(), self.sigmas.values(), strict=True)
        # A weight that starts at zero, as an adapter's up does, holds nothing yet that noise could cover.
        return [
            name
            for (name, mean), sigma in pairs
            if mean.ndim > 1 and mean.any() and float(sigma.mean()) > NOISY_SHARE * float(mean.std())
        ]


def divergence(
    drift: Float[Tensor, "*shape"], sigma: Float[Tensor, "*shape"], prior: float, direction: Direction
) -> tuple[Float64[Tensor, ""], Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """The KL divergence of N(drift, sigma^2) and N(0, prior^2), summed, and its gradients by drift and sigma.

    With d the drift, s sigma and p the prior's deviation,

        KL(posterior || prior) = ln(p / s) + (s^2 + d^2) / (2 p^2) - 1/2      equation 3 of the paper
        KL(prior || posterior) = ln(s / p) + (p^2 + d^2) / (2 s^2) - 1/2      its algorithm 1

    Both are 0 at the start. The second keeps sigma wide where the mean moved; the first penalises a wide sigma alone.
    """
    if direction == "posterior-to-prior":
        value = (prior / sigma).log() + (sigma.square() + drift.square()) / (2 * prior**2) - 0.5
        return value.sum(dtype=torch.float64), drift / prior**2, sigma / prior**2 - 1 / sigma
    value = (sigma / prior).log() + (prior**2 + drift.square()) / (2 * sigma.square()) - 0.5
    by_sigma = 1 / sigma - (prior**2 + drift.square()) / sigma**3
    return value.sum(dtype=torch.float64), drift / sigma.square(), by_sigma


def warnings_of(settings: BayesianTraining, posterior: Posterior, pictures: int, *, adapter: bool) -> list[str]:
    """Warnings before the first step of a Bayesian fine-tune on `pictures` distinct ones: too many, too few steps,
    sigmas too large. An `adapter` needs twice the steps.
    """
    found = []
    if pictures > FEW_PICTURES:
        found.append(f"{pictures} pictures: the Bayesian fine-tune is meant for few, and was studied on up to 10")
    least = 100 * pictures * (2 if adapter else 1)
    if settings.steps * settings.batch <= least:
        found.append(
            f"random weights learn more slowly: with {settings.steps} steps of {settings.batch} for {pictures} "
            f"pictures likeness may stay below the plain method's; take more than {-(-least // settings.batch)} steps"
        )
    if layers := posterior.noisy_layers():
        more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
        found.append(
            f"sigma {settings.sigma:g} is above half the deviation of the weights in {', '.join(layers[:3])}{more}; "
            "a smaller one would keep more of the base"
        )
    return found


@torch.no_grad()
def _add_gradients(mean: Tensor, sigma: Tensor, noise: Tensor, before: Tensor | None) -> None:
    """Adds the gradient g that a draw left in `mean` to the mean's earlier one, and g * noise to sigma's."""
    own = mean.grad
    mean.grad = before
    if own is not None:
        _added(sigma, own * noise)
        _added(mean, own)


def _added(weight: Tensor, gradient: Tensor) -> None:
    weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
