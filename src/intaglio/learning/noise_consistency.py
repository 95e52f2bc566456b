"""Losses that make a network say the same of a picture at every noise level, and the ladder of the levels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

UNKNOWN = -1
"""Label of a picture whose class is not known; it teaches nothing."""


def noise_ladder(rungs: int, lowest: float, highest: float, rho: float = 7.0) -> Float[Tensor, "rungs"]:
    """Noise levels from `lowest` to `highest`, evenly spaced in their 1/rho-th power, both ends included.

    Args:
        rungs: how many levels, from 2.
        lowest: above 0, in any unit.
        highest: above `lowest`, in the same unit.
        rho: from 1; larger crowds the levels at the low end.

    Raises `ValueError` for values beyond these. Source: Karras et al., arXiv 2206.00364.
    """
    if rungs < 2 or not 0 < lowest < highest < float("inf") or not 1 <= rho < float("inf"):
        raise ValueError(f"a ladder of {rungs} rungs from {lowest} to {highest} with rho {rho} does not rise")
    levels = torch.linspace(lowest ** (1 / rho), highest ** (1 / rho), rungs, dtype=torch.float64) ** rho
    return levels.clamp(lowest, highest).float()


def info_nce(asked: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], temperature: float) -> Float[Tensor, ""]:
    """InfoNCE: cross-entropy of each row's own key among all n keys, by cosines over the temperature; mean of the rows.

    Args:
        asked: rows, of any length that is not 0.
        keys: row i is the right one for row i of `asked`.
        temperature: above 0.

    Source: van den Oord, Li and Vinyals, arXiv 1807.03748.
    """
    likeness = normalize(asked, dim=1) @ normalize(keys, dim=1).T / temperature
    return cross_entropy(likeness, torch.arange(len(asked), device=asked.device))


def consistent_loss(
    logits: Float[Tensor, "m n k"], labels: Int[Tensor, "n"], consistency: float, entropy: float
) -> Float[Tensor, ""]:
    """Cross-entropy of m noisy copies of n pictures, their disagreement, and the entropy of their mean.

    With p_j the probabilities of copy j and pbar their mean over the copies: the mean over pictures of known label of
    `-log p_j[label]` averaged over j, plus `consistency` times the mean over j of KL(pbar || p_j), plus `entropy` times
    H(pbar). Pictures labelled `UNKNOWN` count in no term; where there are no others, the loss is 0.

    Source: Jeong and Shin, arXiv 2006.04062.
    """
    known = labels != UNKNOWN
    if not bool(known.any()):
        return logits.sum() * 0
    logs = logits[:, known].log_softmax(2)
    right = logs.gather(2, labels[known].expand(len(logs), -1)[:, :, None]).mean()
    mean = logs.exp().mean(0)
    uncertainty = -torch.special.xlogy(mean, mean).sum(1)  # H(pbar)
    disagreement = -(mean * logs.mean(0)).sum(1) - uncertainty  # mean over j of KL(pbar || p_j)
    return -right + (consistency * disagreement + entropy * uncertainty).mean()
