"""gcrl: causes that stay and causes that move, of which a row and its outcome are made."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import one_hot

from intaglio.causal.transfer.family import EnvironmentTransfer
from intaglio.causal.transfer.skip_encoder import SkipEncoder
from intaglio.causal.transfer.transfer_network import RowBatch, Rows, TransferNetwork
from intaglio.errors import require
from intaglio.randomness import generator

Gaussian = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]
"""Means, and logarithms of standard deviations."""
NARROWEST, WIDEST = -6.0, 4.0
"""Logarithms of standard deviations, at least and at most."""
ASKED = 64
"""Samples that a prediction is averaged over."""
MOVING = ("encode_s.", "prior_")
"""First words of the names of the weights that a new environment changes."""


@dataclass(frozen=True, kw_only=True)
class GCRL(EnvironmentTransfer):
    """Latent causes that stay, Z, and latent causes that move, S, of which rows and outcomes are made.

    Z has the same prior everywhere; the prior of S is what differs between environments.

    With q(s|x) and q(z|x, s) Gaussian, p(z) standard normal, p(x|z, s) Gaussian and p(y|z, s) categorical, the
    objective of a row is log q(y|x) + sum_k w_k (log p(x|z_k, s_k) + log p(s_k) - log q(s_k|x) + log p(z_k) -
    log q(z_k|x, s_k)) over K samples, with q(y|x) the mean of p(y|z_k, s_k), and w_k its share of their sum: a bound of
    log p(x, y). All of it is in logarithms (the published code takes exponentials, and 0 for what underflows). A new
    environment refits p(s) and q(s|x) alone, by the bound of log p(x); rows with outcomes add the objective, each part
    half of the loss. Predictions are q(y|x).

    The published encoders read the row alone, and its prior is a mixture to none of whose parts a row is assigned:
    --no-chained --components 5. Here Z's encoder reads S, since p(z|x, s) stays where S moves and p(z|x) does not; and
    known rows have the prior of their environment and an encoder q(s|x, e) that is told it, since one that is not
    would make environments look wider than they are, and S take what is of Z. Then q(s|x), for rows of unknown
    environments, learns along: the same objective under the mixture of all, in which nothing else moves.

    Source: Shirahmad Gale Bagi, Gharaee, Schulte and Crowley, arXiv 2302.08635.
    """

    reading: ClassVar[str] = "the class by causes that stay and causes that move, found in the row"
    refits: ClassVar[str] = "the prior of S and its encoder"

    invariant: int = 8
    """Numbers of Z, 1 to 64."""
    variant: int = 8
    """Numbers of S, 1 to 64."""
    components: int = 0
    """Gaussians of the mixture p(s), 2 to 50, to none of which a row is assigned; 0 takes one for each environment, the
    prior of its own rows."""
    draws: int = 10
    """Samples K of Z and S for a row of a step, 1 to 1000."""
    chained: bool = True
    """Whether the encoder of Z reads S beside the row."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(1 <= self.invariant <= 64, f"invariant must be 1 to 64, not {self.invariant}")
        require(1 <= self.variant <= 64, f"variant must be 1 to 64, not {self.variant}")
        fit = self.components == 0 or 2 <= self.components <= 50
        require(fit, f"components must be 0, or 2 to 50, not {self.components}")
        require(1 <= self.draws <= 1000, f"draws must be 1 to 1000, not {self.draws}")

    def network(self, inputs: int, classes: int, environments: int) -> TransferNetwork:
        """See the base."""
        return LatentCauses(self, inputs, classes, self.components or environments)


def outcome_bound(log_y: Float[Tensor, "k n"], log_rest: Float[Tensor, "k n"]) -> Float[Tensor, "n"]:
    """Log mean_k p_k + sum_k p_k r_k / sum_k p_k of each row, for log p_k and r_k."""
    whole = log_y.logsumexp(0)
    return whole - math.log(len(log_y)) + ((log_y - whole).exp() * log_rest).sum(0)


def log_normal(values: Float[Tensor, "..."], means: Tensor, logs: Tensor) -> Float[Tensor, "..."]:
    """Log densities of values, summed over the last axis; the three are broadcast."""
    return (-0.5 * ((values - means) * (-logs).exp()) ** 2 - logs - 0.5 * math.log(2 * math.pi)).sum(-1)


def log_mixture(
    values: Float[Tensor, "*batch k"],
    means: Float[Tensor, "e k"],
    logs: Float[Tensor, "e k"],
    shares: Float[Tensor, "e"],
) -> Float[Tensor, "*batch"]:
    """Log density of a mixture of Gaussians, whose shares are a softmax."""
    return (log_normal(values.unsqueeze(-2), means, logs) + shares.log_softmax(0)).logsumexp(-1)


class LatentCauses(TransferNetwork):
    """Encoders of Z and S, decoders of row and outcome, and the prior of S.

    `encode_s` is for rows whose environment is not known, `encode_placed` for others, where each has a prior.

    Args:
        settings: sizes, samples, and which encoder reads what.
        inputs: numbers of a row.
        classes: outcomes.
        priors: Gaussians of p(s).
    """

    def __init__(self, settings: GCRL, inputs: int, classes: int, priors: int):
        super().__init__()
        z, s, hidden, seed = settings.invariant, settings.variant, settings.hidden, settings.seed
        self._draws, self._chained, self._placed = settings.draws, settings.chained, settings.components == 0
        self._sizes = z, s
        self.encode_s = SkipEncoder(inputs, 2 * s, hidden, seed, "s")
        self.encode_placed = SkipEncoder(inputs + priors, 2 * s, hidden, seed, "placed") if self._placed else None
        self.encode_z = SkipEncoder(inputs + (s if settings.chained else 0), 2 * z, hidden, seed, "z")
        self.decode_row = SkipEncoder(z + s, inputs, hidden, seed, "row")
        self.decode_outcome = SkipEncoder(z + s, classes, hidden, seed, "outcome")
        self.row_logs = nn.Parameter(torch.zeros(inputs))
        self.prior_means = nn.Parameter(0.1 * torch.randn(priors, s, generator=generator(seed, "prior")))
        self.prior_logs = nn.Parameter(torch.zeros(priors, s))
        self.prior_shares = nn.Parameter(torch.zeros(priors))

    @torch.no_grad()
    def probabilities(self, features: Rows) -> Float[Tensor, "m c"]:
        """By the same noise for every row."""
        noise = generator(0, "asked")
        z, s, *_ = self._drawn(features, None, *(torch.randn(ASKED, 1, size, generator=noise) for size in self._sizes))
        return self.decode_outcome(torch.cat([z, s], -1)).softmax(-1).mean(0)

    def loss(self, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """The negative objective, of a row, and that of `encode_s` alone without the environments."""
        loss = -self(rows, noise).mean()
        if self.encode_placed is None:
            return loss
        weights = {name: one if name.startswith("encode_s.") else one.detach() for name, one in self.named_parameters()}
        return loss - functional_call(self, weights, (replace(rows, environments=None), noise)).mean()

    def refit_loss(self, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """The negative bound of log p(x), of a row."""
        return -self._terms(target, noise, None)[1].mean()

    def labelled_loss(self, labelled: RowBatch, target: Rows, rows: RowBatch, noise: Generator) -> Float[Tensor, ""]:
        """See the class."""
        return self.refit_loss(target, rows, noise) - self(labelled, noise).mean()

    def refit_weights(self) -> Sequence[str]:
        """Those of the prior of S and of its encoder."""
        return [name for name, _ in self.named_parameters() if name.startswith(MOVING)]

    def labelled_weights(self) -> Sequence[str]:
        """The same."""
        return self.refit_weights()

    @torch.no_grad()
    def latents(self, features: Rows) -> dict[str, Float[Tensor, "m _"]]:
        """Means of Z and S."""
        s = self._s_of(features, None)[0]
        return {"Z": self._z_of(features, s)[0], "S": s}

    def forward(self, rows: RowBatch, noise: Generator) -> Float[Tensor, "n"]:
        """The objective of each row."""
        both, rest = self._terms(rows.features, noise, rows.environments)
        logits = self.decode_outcome(both).log_softmax(-1)
        log_y = logits.gather(-1, rows.labels.expand(len(logits), -1).unsqueeze(-1)).squeeze(-1)
        return outcome_bound(log_y, rest)

    def _terms(
        self, features: Rows, noise: Generator, environments: Tensor | None
    ) -> tuple[Float[Tensor, "k m _"], Float[Tensor, "k m"]]:
        """Samples of Z and S side by side, and log p(x, z, s) - log q(z, s|x) of each."""
        shapes = ((self._draws, len(features), size) for size in self._sizes)
        z, s, of_z, of_s = self._drawn(
            features, environments, *(torch.randn(shape, generator=noise) for shape in shapes)
        )
        both = torch.cat([z, s], -1)
        seen = log_normal(features, self.decode_row(both), self.row_logs.clamp(NARROWEST, WIDEST))
        prior = log_normal(z, torch.zeros(()), torch.zeros(())) + self._log_prior(s, environments)
        return both, seen + prior - log_normal(z, *of_z) - log_normal(s, *of_s)

    def _log_prior(self, s: Float[Tensor, "k m s"], environments: Tensor | None) -> Float[Tensor, "k m"]:
        logs = self.prior_logs.clamp(NARROWEST, WIDEST)
        if self._placed and environments is not None:
            return log_normal(s, self.prior_means[environments], logs[environments])
        return log_mixture(s, self.prior_means, logs, self.prior_shares)

    def _drawn(
        self, features: Rows, environments: Tensor | None, z_noise: Tensor, s_noise: Tensor
    ) -> tuple[Tensor, Tensor, Gaussian, Gaussian]:
        """Z and S, and the Gaussians that they are of."""
        of_s = self._s_of(features, environments)
        s = of_s[0] + of_s[1].exp() * s_noise
        of_z = self._z_of(features, s)
        return of_z[0] + of_z[1].exp() * z_noise, s, of_z, of_s

    def _s_of(self, features: Rows, environments: Tensor | None) -> Gaussian:
        if self.encode_placed is None or environments is None:
            means, logs = self.encode_s(features).chunk(2, -1)
        else:
            told = one_hot(environments, len(self.prior_means)).to(features)
            means, logs = self.encode_placed(torch.cat([features, told], -1)).chunk(2, -1)
        return means, logs.clamp(NARROWEST, WIDEST)

    def _z_of(self, features: Rows, s: Float[Tensor, "*batch s"]) -> Gaussian:
        given = torch.cat([features.expand(*s.shape[:-1], -1), s], -1) if self._chained else features
        means, logs = self.encode_z(given).chunk(2, -1)
        return means, logs.clamp(NARROWEST, WIDEST)
