"""Mixtures of Gaussians whose best denoiser is known in closed form, and small networks that have learned it.

Several worlds stand side by side, each with centres m_k and a network of its own. Data of label k is N(m_k, v I) along
the first `SIGNAL` of `SIZE` coordinates, and N(0, u) in the others, with u far below v: as in pictures, noise is what
leaves the few directions that data has. With x_t = a x_0 + b noise the expected noise is, by Tweedie's formula,

    eps(x_t) = b sum_k r_k(x_t) (x_t - a m_k) / (a^2 v + b^2),    r_k = N(x_t; a m_k, a^2 v + b^2) / sum_j ...,

by coordinate, with u for v in the others. A label makes its r_k 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from intaglio.learning.rates import warmed_cosine
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.randomness import generator_32bit

SIZE, SIGNAL, LABELS = 8, 3, 6
"""Coordinates, those with signal, and labels."""
NO_LABEL = LABELS
"""The label of a whole mixture."""
WIDTH, NOISE_WIDTH = 0.3, 0.1
"""Standard deviations of a label's data along and across the signal."""
HIDDEN, FREQUENCIES = 48, 4
"""Width of a network, and frequencies that it sees a timestep by."""
BATCH, RATE, WARMUP = 256, 4e-3, 100
"""Points a step of each world, highest rate and warm-up of the base's training."""
SCHEDULE = NoiseSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})
"""The noise schedule of Stable Diffusion."""
_SIGNALS, _NOISES = SCHEDULE.signals.float(), SCHEDULE.noises.float()


def levels(t: Int[Tensor, "*n"]) -> tuple[Float[Tensor, "*n 1"], Float[Tensor, "*n 1"]]:
    """Signal a and noise b of timesteps, whose squares add up to 1."""
    return _SIGNALS[t, None], _NOISES[t, None]


@dataclass(frozen=True, eq=False)
class Mixtures:
    """The data of some worlds."""

    means: Float[Tensor, "w k d"]
    variances: Float[Tensor, " d"]

    @classmethod
    def drawn(cls, worlds: int) -> "Mixtures":
        """Centres from N(0, I) along the signal, and 0 across it; those of world w are a function of w."""
        means = torch.zeros(worlds, LABELS, SIZE)
        for world in range(worlds):
            means[world, :, :SIGNAL] = torch.randn(LABELS, SIGNAL, generator=generator_32bit(world, "centres"))
        variances = torch.full((SIZE,), NOISE_WIDTH**2)
        variances[:SIGNAL] = WIDTH**2
        return cls(means, variances)

    def noised(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """[w count d] noised points of each world's data, with timesteps and labels; every fifth label is hidden."""
        worlds = len(self.means)
        labels = torch.randint(LABELS, (worlds, count), generator=generator)
        t = torch.randint(SCHEDULE.count, (worlds, count), generator=generator)
        unit, noise = torch.randn(2, worlds, count, SIZE, generator=generator)
        a, b = levels(t)
        clean = self.means[torch.arange(worlds)[:, None], labels] + self.variances.sqrt() * unit
        labels[:, ::5] = NO_LABEL
        return a * clean + b * noise, t, labels

    def noise(
        self, x: Float[Tensor, "w n d"], t: Int[Tensor, "w n"], labels: Int[Tensor, "w n"]
    ) -> Float[Tensor, "w n d"]:
        """The expected noise in `x`."""
        a, b = levels(t)
        spread = a**2 * self.variances + b**2
        away = x[:, :, None] - a[..., None] * self.means[:, None]
        hidden = (labels[..., None] != torch.arange(LABELS)) & (labels != NO_LABEL)[..., None]
        fit = -(away.square() / (2 * spread[:, :, None])).sum(-1)
        shares = fit.masked_fill(hidden, -torch.inf).softmax(-1)
        return b * (shares[..., None] * away).sum(2) / spread


class SmallDenoisers(nn.Module):
    """A network of four layers a world, which predicts the noise from a point, a timestep and a label."""

    def __init__(self, worlds: int):
        """First weights are uniform in +-1 over the root of what goes in; those of world w are a function of w."""
        super().__init__()
        self.first = Layers(worlds, SIZE + 2 * FREQUENCIES + LABELS + 1, HIDDEN, "first")
        self.ff = nn.ModuleList(Layers(worlds, HIDDEN, HIDDEN, f"ff{index}") for index in range(2))
        self.last = Layers(worlds, HIDDEN, SIZE, "last")

    def forward(
        self, x: Float[Tensor, "w n d"], t: Int[Tensor, "w n"], labels: Int[Tensor, "w n"]
    ) -> Float[Tensor, "w n d"]:
        """The predicted noise."""
        a, b = levels(t)
        angles = torch.atan2(b, a) * 2.0 ** torch.arange(FREQUENCIES)
        hidden = silu(self.first(torch.cat([x, angles.sin(), angles.cos(), one_hot(labels, LABELS + 1).to(x)], -1)))
        for layer in self.ff:
            hidden = hidden + silu(layer(hidden))
        return self.last(hidden)


class Layers(nn.Module):
    """A linear layer a world."""

    def __init__(self, worlds: int, ins: int, outs: int, label: str):
        super().__init__()
        drawn = [torch.rand(ins + 1, outs, generator=generator_32bit(world, label)) for world in range(worlds)]
        weights = (2 * torch.stack(drawn) - 1) / ins**0.5
        self.weight, self.bias = nn.Parameter(weights[:, :ins].clone()), nn.Parameter(weights[:, ins:].clone())

    def forward(self, x: Float[Tensor, "w n ins"]) -> Float[Tensor, "w n outs"]:
        """Each world's points by its own layer."""
        return torch.baddbmm(self.bias, x, self.weight)


def trained_base(mixtures: Mixtures, steps: int) -> SmallDenoisers:
    """Networks trained on the closed form, which the denoising loss has its minimum at, by Adam."""
    networks = SmallDenoisers(len(mixtures.means))
    optimiser = torch.optim.Adam(networks.parameters(), fused=True)
    generator = generator_32bit(0, "base")
    for step in range(steps):
        x, t, labels = mixtures.noised(BATCH, generator)
        loss = (networks(x, t, labels) - mixtures.noise(x, t, labels)).square().mean((1, 2)).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.param_groups[0]["lr"] = warmed_cosine(step, steps, warmup=WARMUP, peak=RATE, final=0.0)
        optimiser.step()
    return networks


@torch.no_grad()
def base_error(networks: SmallDenoisers, mixtures: Mixtures) -> Float[Tensor, " w"]:
    """Each base's squared error against the closed form, as a share of the latter's power, over 4096 points."""
    x, t, labels = mixtures.noised(4096, generator_32bit(1, "base error"))
    exact = mixtures.noise(x, t, labels)
    return (networks(x, t, labels) - exact).square().mean((1, 2)) / exact.square().mean((1, 2))
