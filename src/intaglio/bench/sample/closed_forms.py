"""Methods beside the closed form of their law, on exact mixtures of normal distributions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch

from intaglio.bench.sample.exact_mixture import ExactMixture
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.randomness import generator
from intaglio.sampling.family import SamplingMethod
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.loop import latent_batches
from intaglio.sampling.methods.fkc import FeynmanKac
from intaglio.sampling.methods.stsl import STSL
from intaglio.sampling.methods.svdd import SVDD
from intaglio.sampling.operators.mean_pool import MeanPool
from intaglio.sampling.verifier import Verifier

ABSENT = -30.0
"""Log weight of a component that a prompt does not have."""


def closed_forms(methods: Sequence[str], seed: int) -> dict[str, float | None]:
    """The check of each of these methods that has one, by the name of its figure."""
    return {figure: check(seed) for method, (figure, check) in CHECKS.items() if method in methods}


def fkc_error(seed: int, pictures: int = 256) -> float:
    """Distance of the particles' mean and variance from those of the density that guidance names.

    With p(x | prompt) = N(2, 1/4), p(x) = N(0, 1) and a scale of 2, that is N(16/7, 1/7).
    """
    model = ExactMixture(
        torch.tensor([[[[0.0]]], [[[2.0]]]]), torch.tensor([1.0, 0.25]), {"": [0.0, ABSENT], "tuned": [ABSENT, 0.0]}
    )
    found = _drawn(model, FeynmanKac(scale=2.0, clip=0.0, particles=64), seed, count=pictures, steps=100)
    return float(max((found.mean() - 16 / 7).abs(), (found.var() - 1 / 7).abs()))


def stsl_error(seed: int, count: int = 1000) -> float:
    """Error of the posterior's score that the second order leaves of the first order's, root mean squares, at ρ near 1.

    Data ½ N(1, 0.04) + ½ N(-1, 0.04), measured as 0.3 with noise of deviation 0.5.
    """
    model = ExactMixture(torch.tensor([[[[1.0]]], [[[-1.0]]]]), torch.tensor([0.04, 0.04]), {"": [0.0, 0.0]})
    ratios = model.schedule.noises / model.schedule.signals
    t = int((ratios - 1).abs().argmin())
    source = generator(seed, "stsl")
    side = torch.where(torch.rand(count, generator=source) < 0.5, 1.0, -1.0)
    z = side + 0.2 * torch.randn(count, generator=source) + ratios[t] * torch.randn(count, generator=source)
    exact = _posterior_score(z.double(), float(ratios[t]), 0.3, 0.5)
    errors = [_found_score(model, z, t, order, 0.3, 0.5) - exact for order in (1, 2)]
    return float((errors[1].square().mean() / errors[0].square().mean()).sqrt())


def _found_score(model: ExactMixture, z: torch.Tensor, t: int, order: Literal[1, 2], y: float, noise: float):
    """The likelihood's score by the method, in latents over signal z."""
    signal, blank = model.schedule.signals[t], model.embed([""] * len(z))
    method = STSL(order=order, noise=noise, gluing=0.0, weight=1.0, probe=0.01)
    sources = [generator(k, "probe") for k in range(len(z))]
    guide = method.guidance(MeanPool(1), torch.full((1, 1, 1, 1), y), sources)
    state = guide.init(GuideContext(model, ("",) * len(z), blank, blank, (t,), 1.0))
    found = guide.gradient(state, (signal * z).view(-1, 1, 1, 1), torch.full((len(z),), t), model.predict)
    return -(signal * found).flatten().double()


def _posterior_score(z: torch.Tensor, rho: float, y: float, noise: float) -> torch.Tensor:
    """The gradient of log p(y | z): in each component z and y are normal, with the covariance 0.04."""
    z, a, b, shared = z.requires_grad_(True), 0.04 + rho**2, 0.04 + noise**2, 0.04
    det = a * b - shared**2
    both = [-(b * (z - m) ** 2 - 2 * shared * (z - m) * (y - m) + a * (y - m) ** 2) / (2 * det) for m in (1, -1)]
    alone = [-((z - m) ** 2) / (2 * a) for m in (1, -1)]
    return torch.autograd.grad((torch.stack(both).logsumexp(0) - torch.stack(alone).logsumexp(0)).sum(), z)[0]


def svdd_error(seed: int) -> float:
    """Distance of the mean of pictures that are led by the score x from that of N(0, 1) times exp(x), which is N(1, 1).

    The value is exact here, so that what is left is due to the finite numbers of steps, proposals and pictures.
    """
    model = ExactMixture(torch.zeros(1, 1, 1, 1), torch.ones(1), {"": [0.0], "tuned": [0.0]})
    method = _LedByX(particles=32, temperature=1.0, choose_below=20.0)
    return abs(float(_drawn(model, method, seed, count=128, steps=80).mean()) - 1)


class _LedByX(SVDD):
    """SVDD by the score x of a picture that is one number x."""

    def judge(self, model: LatentDiffusion, prompts: Sequence[str] = ()) -> Verifier:
        return _X()


class _X:
    name, hash, differentiable, calls = "x", "0" * 64, True, 0

    def __call__(self, pixels: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        return pixels.flatten()


def _drawn(model: ExactMixture, method: SamplingMethod, seed: int, *, count: int, steps: int) -> torch.Tensor:
    """Numbers drawn from the prompt `tuned`."""
    batches = latent_batches(
        model,
        ["tuned"] * count,
        [seed + k for k in range(count)],
        sampler="ddim",
        steps=steps,
        guidance_scale=1.0,
        negative="",
        method=method,
        batch=count,
    )
    return torch.cat(list(batches)).flatten().double()


CHECKS: Mapping[str, tuple[str, Callable[[int], float]]] = {
    "fkc": ("fkc_error", fkc_error),
    "stsl": ("stsl_error", stsl_error),
    "svdd": ("svdd_error", svdd_error),
}
