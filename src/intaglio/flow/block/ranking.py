"""GS-Jacobi's metrics of how hard blocks are to sweep, from encoded pictures, without decoding."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from intaglio.models.flow.tarflow import MetaBlock, TarFlow


@dataclass(frozen=True)
class BlockRank:
    """Metrics of one block."""

    block: int
    """Index of the block, 0..K-1."""
    convergence: float
    """CRM, convergence ranking metric: how fast errors may grow in a sweep; large is hard."""
    from_output: float
    """IGM, initial guessing metric, of sweeps from the block's output: error of the first iterate."""
    from_zeros: float
    """IGM of sweeps from zeros."""


@torch.no_grad()
def ranked(
    model: TarFlow, pictures: Float[Tensor, "n ch h w"], labels: Int64[Tensor, "n"] | None = None
) -> list[BlockRank]:
    """The blocks, hardest first, from pictures in [-1, 1] as the model was trained on them.

    CRM is ||mean_n(exp(-a) u)||_2 ||W_a||_2 + ||W_b||_2 with the spectral norms of the mean over pictures [T, C] and of
    the output projection's halves [C, d]; IGM the same norm of the mean over pictures of F(g; v) - u for a guess g.
    Source: arXiv 2505.12849.
    """
    hidden = model(pictures, labels).hidden
    found = [_rank(model.block(index), hidden[index], hidden[index + 1], labels) for index in range(len(hidden) - 1)]
    return sorted(found, key=lambda rank: -rank.convergence)


def _rank(block: MetaBlock, h: Tensor, following: Tensor, labels: Tensor | None) -> BlockRank:
    u, v = block.permuted(h), block.permuted(following)
    a, _ = _shifted(block, u, labels)
    weight = block.proj_out.weight.to(u)
    shift = weight[-u.shape[2] :]
    growth = _norm((torch.exp(-a) * u).mean(0)) * _norm(weight[: u.shape[2]]) if block.config.nvp else 0.0
    zeros = torch.zeros_like(v)
    zeros[:, 0] = v[:, 0]
    misses = []
    for guess in (v, zeros):
        a, b = _shifted(block, guess, labels)
        misses.append(_norm((v * torch.exp(a) + b - u).mean(0)))
    return BlockRank(block.index, growth + _norm(shift), *misses)


def _shifted(block: MetaBlock, u: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    a, b = block.parameters_after(u, block.offset(labels))
    first, second = (functional.pad(part[:, :-1], (0, 0, 1, 0)) for part in (a, b))
    return first, second


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix.double(), 2)) if bool(matrix.isfinite().all()) else float("inf")
