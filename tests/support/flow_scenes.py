"""Tiny flows of random weights, and the inverse of a block written out patch by patch, apart from the decoders."""

import torch

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.family import Decoder
from intaglio.flow.methods.frontier import FrontierDecoder as Frontier
from intaglio.flow.methods.gs_jacobi import GSJacobiDecoder as GSJacobi
from intaglio.flow.methods.jacobi import JacobiDecoder as Jacobi
from intaglio.flow.methods.reference_sequential import ReferenceSequentialDecoder as ReferenceSequential
from intaglio.flow.methods.sejd import SelectiveJacobiDecoder as SelectiveJacobi
from intaglio.flow.methods.sequential import SequentialDecoder as Sequential
from intaglio.flow.plan.decoder_plan import Choice, DecoderPlan
from intaglio.flow.plan.planned_decoder import PlannedDecoder as Planned
from intaglio.models.flow.tarflow import TarFlow
from tiny import flow

unit = flow


def latents(model: TarFlow, n: int, seed: int = 1) -> torch.Tensor:
    shape = (n, model.config.tokens, model.config.token_width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(model.working_dtype)


def largest(one, two) -> float:
    return float((one - two).abs().max())


def inverted_by_hand(model: TarFlow, z, labels=None) -> torch.Tensor:
    """h_0 from whole forward parameters of ever longer prefixes: slow, with no cache, mask or window."""
    h = z * model.variance.to(z).sqrt()
    for index in reversed(range(model.config.num_blocks)):
        block = model.block(index)
        v = block.permuted(h)
        u = v[:, :1]
        for at in range(1, v.shape[1]):
            a, b = block.parameters_after(u, block.offset(labels)[:, :at])
            u = torch.cat([u, v[:, at : at + 1] * a[:, -1:].exp() + b[:, -1:]], 1)
        h = block.permuted(u)
    return h


def exact_decoders(blocks: int = 3) -> dict[str, Decoder]:
    """Every decoder at settings that leave no error."""
    choices = (
        Choice("jacobi", 0.0, cap=4),
        Choice("frontier", 0.0, window=4, coarse_sweeps=1),
        Choice("sequential"),
        Choice("jacobi", 0.0, guess="zeros", coarse_sweeps=2, cap=99),
    )
    plan = DecoderPlan({"batch": 4}, tuple(choices[order % 4] for order in range(blocks)))
    return {
        "sequential": Sequential(),
        "reference": ReferenceSequential(),
        "jacobi": Jacobi(rule="exact"),
        "jacobi from zeros": Jacobi(rule="exact", guess="zeros", coarse_sweeps=1),
        "sejd": SelectiveJacobi(tau=1e-300),
        "gs-jacobi": GSJacobi(segments=(4,), sweeps=(99,), other_sweeps=99, epsilon=0.0),
        "gs-jacobi, all blocks, uneven": GSJacobi(
            hard_blocks=tuple(range(blocks)), segments=(7,), sweeps=(99,), guess_zeros=(0,), epsilon=0.0
        ),
        "frontier": Frontier(tolerance=0.0),
        "frontier of one": Frontier(tolerance=0.0, window=1),
        "frontier of five": Frontier(tolerance=0.0, window=5, warm_sweeps=1),
        "frontier of all": Frontier(tolerance=0.0, window=99, guess="zeros", coarse_sweeps=2),
        "planned": Planned(plan=plan),
    }


def one_block(model: TarFlow, n: int = 3, index: int = 2) -> tuple[BlockInverse, torch.Tensor, torch.Tensor]:
    """The inverse of a block, its output v, and its input u, found by whole passes of ever longer prefixes."""
    block = model.block(index)
    v = latents(model, n)
    inverse = BlockInverse(block, n)
    u = v.clone()
    for at in range(v.shape[1] - 1):
        a, b = inverse.parameters(u[:, : at + 1])
        u[:, at + 1] = v[:, at + 1] * a[:, -1].exp() + b[:, -1]
    return BlockInverse(block, n), v, u
