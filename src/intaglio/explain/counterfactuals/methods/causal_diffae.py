"""causal-diffae: a diffusion autoencoder whose code is tied together by the graph between attributes."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from intaglio.errors import require
from intaglio.explain.counterfactuals.attribute_graph import AttributeGraph
from intaglio.explain.counterfactuals.causal_layer import CausalLayer
from intaglio.explain.counterfactuals.conditioned_denoiser import AttributeEncoder
from intaglio.explain.counterfactuals.diffusion_family import DiffusionMaker, WalkedPictures
from intaglio.explain.counterfactuals.family import Changes, Values
from intaglio.explain.counterfactuals.picture_walks import Pixels


@dataclass(frozen=True, kw_only=True)
class CausalDiffAE(DiffusionMaker):
    """A diffusion autoencoder with a causal layer: what an attribute causes follows it when it is set.

    An encoder reads noises u [n, d] of a picture; values z_i = f_i(z of the causes of i) + u_i, in the order of the
    graph, are told to a denoiser. Minimised are the denoising error and, with a weight that rises from 0 to 1, prior *
    KL(N(u, s^2) || N(0, 1)) + sum_i (z_i - label_i)^2 / 2 + sum_i (label_i - f_i(labels of the causes))^2 / 2. To set
    z_i = v, u and the noise of the picture are read off first; effects of i are worked out again with their own u. The
    last two terms are means over the pictures that have labels; the others are learnt by the denoising error, told the
    values that are read off them, and by the prior.

    Source: arXiv 2404.17735. Four things differ. Its prior has weight 1, at which the best u of an attribute is half
    of what labels ask for (1 / (1 + prior) of it): here the weight is small, and the last term, which is ours, finds
    f_i in its place. Causes act by their values; in the published program by their noises, so that in a chain a -> b ->
    c setting a never reaches c. The denoiser gives a velocity in place of the noise (`picture_walks`).
    And pictures without labels, which are in the program a half drawn anew in each update, have no prior when published
    and are told zeros in place of values; what is drawn then mixes answers to values and to zeros.
    """

    reading: ClassVar[str] = "follow by the graph, each with its own noise"
    learns_unlabelled: ClassVar[bool] = True

    prior: float = 0.01
    """Weight of the noises' prior, 0 or more."""
    spread: float = 0.001
    """Share of the encoder's variance s^2 that is drawn and added to the values which the denoiser is told while it
    learns, 0 or more. Where attributes go together closely, less keeps them better apart."""
    rise: float = 0.1
    """Share of all updates over which the weight of the labels rises to 1, 0 to 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.prior < inf, f"prior must be 0 or more, and finite, not {self.prior}")
        require(0 <= self.spread < inf, f"spread must be 0 or more, and finite, not {self.spread}")
        require(0 <= self.rise <= 1, f"rise must be 0 to 1, not {self.rise}")

    def fresh(self, graph: AttributeGraph, side: int) -> "CausalCode":
        """See the contract."""
        return CausalCode(self, graph, side)


class CausalCode(WalkedPictures):
    """The networks: encoder, causal layer and denoiser."""

    def __init__(self, method: CausalDiffAE, graph: AttributeGraph, side: int):
        super().__init__(side, len(graph.names), method.channels, method.steps)
        self.encoder = AttributeEncoder(side, 2 * len(graph.names), method.channels)
        self.layer = CausalLayer(graph)
        self._method = method

    def losses(self, pixels: Pixels, labels: Values, done: float, source: torch.Generator) -> dict[str, Tensor]:
        """See the contract."""
        noises, logs = self.encoder(pixels).chunk(2, 1)
        values = self.layer.values(noises)
        drawn = torch.randn(values.shape, generator=source).to(values.device)
        told = values + (self._method.spread * logs.exp()).sqrt() * drawn
        method, weight = self._method, 1.0 if done >= self._method.rise else done / self._method.rise
        prior = 0.5 * (noises.square() + logs.exp() - 1 - logs).sum(1).mean()
        known = labels.isfinite().all(1)
        given = labels[known]
        return {
            "denoising": self.denoising(pixels, told, source),
            "prior": weight * method.prior * prior,
            "labels": weight * label_error(values[known], given),
            "mechanisms": weight * label_error(self.layer.caused(given), given),
        }

    def read(self, pixels: Pixels, labels: Values) -> Values:
        """Values by the encoder; labels are not asked."""
        return self.layer.values(self.encoder(pixels).chunk(2, 1)[0])

    def changed(self, values: Values, changes: Changes) -> Values:
        """See the contract: by the causal layer, each attribute with its own noise."""
        return self.layer.changed(values, changes)


def label_error(values: Values, labels: Values) -> Tensor:
    """Sum over attributes of KL(N(value, 1) || N(label, 1)), as a mean over pictures; 0 where there are none."""
    errors = 0.5 * (values - labels).square().sum(1)
    return errors.mean() if len(errors) else errors.sum()
