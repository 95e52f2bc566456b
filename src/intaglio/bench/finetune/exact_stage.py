"""Fine-tunes of exact bases on few points, plain, Bayesian and averaged, judged by what is left of the noise.

The worlds are tuned side by side, each by its own gradient alone: nothing couples them, as the gradient is not clipped.
Random weights are those of the `finetune` option (`adapt.bayesian`), on the layers between the first and the last, and
a stage is what its rule calls one (`adapt.corruption`).
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.adapt.bayesian import Posterior, chosen
from intaglio.adapt.corruption import Judgement
from intaglio.adapt.settings import BayesianTraining
from intaglio.bench.finetune.exact_ground import NO_LABEL, NOISE_WIDTH, SCHEDULE, SIGNAL, SIZE, SmallDenoisers, levels
from intaglio.bench.finetune.widths import Denoiser, ddim, slopes, width
from intaglio.learning.trainer import Trainer
from intaglio.randomness import generator_32bit

GUIDANCES = (1, 5)
"""Guidance scales of the samples; 1 is without guidance."""
STARTS = 64
"""Samples a judgement, from fixed starts."""
JUDGEMENTS, FIRST_JUDGEMENT = 32, 5
"""Judgements after the base's own, at steps that grow by one factor from the first to the last."""
MOMENTUM = 0.9
LABEL = 0
"""The label that the points are learned under, which the base has data of its own for."""
RANDOM = "ff"
"""The random layers."""


@dataclass(frozen=True)
class ExactRegime:
    """One way to fine-tune."""

    optimiser: Literal["adamw", "sgd"] = "adamw"
    """AdamW as the `finetune` option has it, or gradient descent with momentum 0.9."""
    rate: float = 1e-3
    """Learning rate, above 0."""
    points: int = 1
    """Training points of each world."""
    batch: int = 1
    """Draws of point, noise and timestep a step."""
    dropout: float = 0.0
    """Probability that a draw's label is hidden, in [0, 1]."""
    sigma: float = 0.0
    """Standard deviation of the random weights at the start; 0 for none."""
    ema: float | None = None
    """Decay of an exponential mean of the weights, which is then judged."""
    steps: int = 2000
    """Updates of the weights."""


@dataclass(frozen=True, eq=False)
class Course:
    """Measures of a fine-tune by name, each [j w]: a row a judgement, a column a world.

    `along` and `across` are the learned widths, as means over noise levels. With a guidance scale behind them there are
    `likeness`, the mean cosine of a sample and its nearest training point; `distance`, their mean distance; `noise`,
    the power of the samples across the signal as a share of that of the noise that they began with; `quality`, as the
    option has it: what the base or the data has of that power over the sample's own, at most 1; and `diversity`, 1 less
    the mean cosine between samples. `_error` is a standard error over the samples.
    """

    steps: Sequence[int]
    measures: Mapping[str, Float[Tensor, "j w"]]

    def judgements(self, guidance: int, world: int) -> list[Judgement]:
        """One world's samples as the option judges them."""
        names = ("likeness", "likeness_error", "quality", "quality_error", "diversity")
        rows = zip(*(self.measures[f"{name} {guidance}"][:, world].tolist() for name in names), strict=True)
        return [Judgement(step, *row) for step, row in zip(self.steps, rows, strict=True)]


def training_points(worlds: int, count: int) -> Float[Tensor, "w p d"]:
    """New points of each world, from N(0, I) along the signal and 0 across it: clean, as the centres are."""
    points = torch.zeros(worlds, count, SIZE)
    for world in range(worlds):
        points[world, :, :SIGNAL] = torch.randn(count, SIGNAL, generator=generator_32bit(world, "points"))
    return points


def judged_steps(steps: int) -> list[int]:
    """The steps that are judged, the first one 0."""
    spaced = np.geomspace(min(FIRST_JUDGEMENT, steps), steps, JUDGEMENTS)
    return sorted({0, *(round(step) for step in spaced)})


class _Descent(Trainer):
    """The trainer with gradient descent in the place of AdamW."""

    def __init__(self, weights: Mapping[str, Tensor], settings: BayesianTraining, beside: Mapping[str, Tensor]):
        super().__init__(weights, settings, beside)
        group = {"params": list(self._weights.values()), "share": 1.0}
        self._optimiser = torch.optim.SGD([group], lr=settings.highest_rate, momentum=MOMENTUM)


def exact_course(base: SmallDenoisers, regime: ExactRegime, seed: int = 0) -> Course:
    """A fine-tune of a copy of the base on new points, judged on the way."""
    networks = deepcopy(base)
    weights = dict(networks.named_parameters())
    worlds = len(base.first.weight)
    points = training_points(worlds, regime.points)
    random: dict[str, Any] = {"bayesian": True, "sigma": regime.sigma, "random_targets": (RANDOM,)}
    settings = BayesianTraining(
        steps=regime.steps,
        learning_rate=regime.rate,
        clip=None,
        ema=regime.ema,
        seed=seed,
        **(random if regime.sigma else {}),
    )
    scales = dict.fromkeys(chosen(list(weights), (RANDOM,)), 1.0) if regime.sigma else {}
    posterior = Posterior(weights, scales, settings)
    trainer = (_Descent if regime.optimiser == "sgd" else Trainer)(weights, settings, posterior.sigmas)
    generator = generator_32bit(seed, "fine-tune")
    due, rows = judged_steps(regime.steps), [judgement(networks, points)]
    for step in range(regime.steps):
        with posterior.sampled(step, 0):
            loss = _loss(networks, points, regime, generator)
            loss.backward()
        trainer.update(float(loss.detach()), trainer.gradient_norm())
        posterior.keep_positive()
        if trainer.step in due:
            with trainer.exported():
                rows.append(judgement(networks, points))
    return course_of(due, rows)


def _loss(
    networks: SmallDenoisers, points: Float[Tensor, "w p d"], regime: ExactRegime, generator: torch.Generator
) -> Float[Tensor, ""]:
    """The denoising loss of a draw, summed over worlds."""
    worlds, count, _ = points.shape
    shape = (worlds, regime.batch)
    drawn = torch.randint(count, shape, generator=generator)
    t = torch.randint(SCHEDULE.count, shape, generator=generator)
    noise = torch.randn(*shape, SIZE, generator=generator)
    labels = torch.full_like(t, LABEL)
    if regime.dropout:
        labels[torch.rand(shape, generator=generator) < regime.dropout] = NO_LABEL
    a, b = levels(t)
    noised = a * points[torch.arange(worlds)[:, None], drawn] + b * noise
    return (networks(noised, t, labels) - noise).square().mean((1, 2)).sum()


def judgement(network: Denoiser, points: Float[Tensor, "w p d"]) -> dict[str, Tensor]:
    """The measures of `Course`, each [w]."""
    along, across = (width(part).mean(-1) for part in slopes(network, points, LABEL))
    found = {"along": along.detach(), "across": across.detach()}
    starts = torch.randn(STARTS, SIZE, generator=generator_32bit(0, "starts"))
    for guidance in GUIDANCES:
        samples = ddim(network, starts.expand(len(points), -1, -1), LABEL, float(guidance))
        found |= {f"{name} {guidance}": value for name, value in _sampled(samples, starts, points).items()}
    return found


def _sampled(
    samples: Float[Tensor, "w n d"], starts: Float[Tensor, "n d"], points: Float[Tensor, "w p d"]
) -> dict[str, Float[Tensor, " w"]]:
    distance, nearest = torch.cdist(samples, points).min(-1)
    near = points.gather(1, nearest[..., None].expand(-1, -1, SIZE))
    likeness = torch.cosine_similarity(samples, near, dim=-1)
    noise = samples[..., SIGNAL:].square().mean(-1)
    directions = torch.nn.functional.normalize(samples, dim=-1)
    among = (directions.sum(1).square().sum(-1) - STARTS) / (STARTS * (STARTS - 1))
    return {
        "likeness": likeness.mean(-1),
        "likeness_error": likeness.std(-1) / STARTS**0.5,
        "distance": distance.mean(-1),
        "noise": noise.mean(-1) / starts[:, SIGNAL:].square().mean(),
        "each noise": noise,
        "diversity": 1 - among,
    }


def course_of(steps: Sequence[int], rows: Sequence[Mapping[str, Tensor]]) -> Course:
    """The course of judgements after some steps, the first of them the base's own."""
    measures = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    for guidance in GUIDANCES:
        noise = measures.pop(f"each noise {guidance}")
        usual = noise[0].mean(-1, keepdim=True).clamp_min(NOISE_WIDTH**2)
        quality = (usual / noise).clamp_max(1)
        measures[f"quality {guidance}"] = quality.mean(-1)
        measures[f"quality_error {guidance}"] = quality.std(-1) / STARTS**0.5
    return Course(tuple(steps), measures)
