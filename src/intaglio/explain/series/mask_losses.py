"""Losses of a mask over series: what it keeps of the classifier's view, how much it keeps, and how connected it is."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, normalize, softplus


def embedding_gap(whole: Float[Tensor, "n h"], masked: Float[Tensor, "n h"]) -> Float[Tensor, ""]:
    """Mean over pairs of series of the squared difference of the cosines of their embeddings."""
    cosines = [normalize(one, dim=1) @ normalize(one, dim=1).T for one in (whole, masked)]
    return (cosines[0] - cosines[1]).square().mean()


def answer_gap(whole: Float[Tensor, "n c"], masked: Float[Tensor, "n c"]) -> Float[Tensor, ""]:
    """Mean over pairs of series of the squared difference of the divergences of their answers, of logits."""
    return (divergences(whole) - divergences(masked)).square().mean()


def divergences(logits: Float[Tensor, "n c"]) -> Float[Tensor, "n n"]:
    """Jensen-Shannon divergence in nats of the answers of each pair of rows."""
    logs = logits.log_softmax(1)
    first, second = logs[:, None], logs[None]
    middle = torch.logaddexp(first, second) - torch.log(torch.tensor(2.0))
    parts = [(one.exp() * (one - middle)).sum(2) for one in (first, second)]
    return (parts[0] + parts[1]) / 2


def size_loss(logits: Float[Tensor, "n t d"], share: float) -> Float[Tensor, ""]:
    """Mean over points of KL(p || r) in nats, of Bernoulli variables: p of the logits, r the share."""
    kept = logits.sigmoid()
    entropy = binary_cross_entropy_with_logits(logits, kept, reduction="none")
    prior = torch.logit(torch.tensor(share, dtype=logits.dtype))
    return (kept * softplus(-prior) + (1 - kept) * softplus(prior) - entropy).mean()


def breaks(logits: Float[Tensor, "n t d"]) -> Float[Tensor, ""]:
    """Mean size of the change of the kept share from one time to the next."""
    return logits.sigmoid().diff(dim=1).abs().mean()
