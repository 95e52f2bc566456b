"""The inverse of one block as a fixed point: u = F(u), with F causal, for one batch under its labels and guidance."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.models.flow.tarflow import BlockCache, MetaBlock, Parameters, TarFlow

LARGEST_LOG_SCALE = 6.0
"""Bound on |a| of a patch that is not final yet."""
LARGEST_VALUE = 10.0
"""Bound on |u| of a patch that is not final yet, in root mean squares of the block's output, taken as 1 at least."""


@dataclass
class EvaluationCounts:
    """Counters of a block's evaluations."""

    passes: int = 0
    """Calls of the block."""
    token_passes: int = 0
    """Patches that went through it, over all pictures; one forward pass takes n T."""
    clamped: int = 0
    """Patches that were clamped while they were not final, counted once a pass."""


class BlockInverse:
    """u_l = v_l exp(a_l(u_<l)) + b_l(u_<l) for l = 1..T-1, and u_0 = v_0, in the block's own order of patches.

    Decoders call `parameters`, in any windows they like; the two predictions that guidance compares are one batch of
    2n. Source: arXiv 2412.06329, 2505.24791.
    """

    def __init__(
        self, block: MetaBlock, n: int, labels: Int64[Tensor, "n"] | None = None, guidance: Guidance = UNGUIDED
    ):
        self.block, self.n, self.tokens = block, n, block.config.tokens
        self.counts = EvaluationCounts()
        self._guidance = guidance if guidance.acts(block.config.num_classes) else None
        device = block.proj_in.weight.device
        self._scales = torch.tensor(guidance.scales(self.tokens), dtype=torch.float64, device=device)[:, None]
        offset = block.offset(labels).to(block.dtype)
        if self._guidance is not None:
            unconditional = block.offset(None).to(block.dtype)
            offset = torch.cat([offset.expand(n, -1, -1), unconditional.expand(n, -1, -1)])
        self._offset = offset
        self._mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool, device=device).tril()
        self._query_scale = self._query_scales(n)

    @property
    def branches(self) -> int:
        """Predictions a picture: 1, or 2 where guidance compares two."""
        return 1 if self._guidance is None else 2

    def cache(self) -> BlockCache:
        """Empty buffers for the keys and values of all patches."""
        return self.block.cache(self.branches * self.n)

    def rows(self, rows: Int64[Tensor, "m"]) -> "BlockInverse":
        """The same for some of the pictures; evaluations are counted together."""
        part = self._copy()
        part.n = len(rows)
        part._query_scale = part._query_scales(part.n)
        if len(self._offset) > 1:
            every_branch = torch.cat([rows + branch * self.n for branch in range(self.branches)])
            part._offset = self._offset[every_branch]
        return part

    def parameters(self, u: Float[Tensor, "n w c"], start: int = 0, cache: BlockCache | None = None) -> Parameters:
        """(a, b) of the patches start+1..start+w from those at start..start+w-1, guided where asked.

        The patches before `start` are attended to through `cache`, to which the keys and values of these w patches are
        added. Those of a patch that is not final are written over by a later call that begins at or before it.
        """
        n, w = u.shape[:2]
        self.counts.passes += 1
        self.counts.token_passes += n * w
        offset = self._offset[:, start : start + w]
        mask = self._mask[start : start + w, : start + w] if start and w > 1 else None
        if self._guidance is None:
            return self.block.parameters_after(u, offset, start, cache, None, mask)
        a, b = self.block.parameters_after(u.repeat(2, 1, 1), offset, start, cache, self._query_scale, mask)
        scales = self._scales[start + 1 : start + w + 1]
        if len(scales) < w:  # no patch follows the last one
            scales = torch.cat([scales, scales.new_zeros(1, 1)])
        return self._guidance.apply((a[:n], b[:n]), (a[n:], b[n:]), scales.to(a))

    def coarse(self, copies: dict[int, MetaBlock]) -> "BlockInverse":
        """The same in bfloat16: half the time of a sweep or less, and an answer to some two digits.

        Its sweeps may lead towards the answer, never decide that it is reached. `copies` keeps the blocks in bfloat16,
        by index, for the next call.
        """
        part = self._copy()
        if self.block.index not in copies:
            copies[self.block.index] = copy.deepcopy(self.block).to(torch.bfloat16)
        part.block = copies[self.block.index]
        part._offset = self._offset.to(torch.bfloat16)
        part._query_scale = part._query_scales(part.n)
        return part

    def residual(self, u: Float[Tensor, "n t c"], v: Float[Tensor, "n t c"]) -> Float[Tensor, "n"]:
        """The certificate: max |(u - b(u)) exp(-a(u)) - v| of each picture, by one pass without a cache."""
        a, b = self.parameters(u[:, :-1]) if self.tokens > 1 else (u[:, :0], u[:, :0])
        again = torch.cat([u[:, :1], (u[:, 1:] - b) * torch.exp(-a)], 1)
        return (again - v).abs().amax((1, 2))

    def _copy(self) -> "BlockInverse":
        part = BlockInverse.__new__(BlockInverse)
        part.__dict__ |= self.__dict__
        return part

    def _query_scales(self, n: int) -> Float[Tensor, "m 1 1 1"] | None:
        if self._guidance is None or self._guidance.temperature == 1:
            return None
        scales = self._offset.new_ones(2 * n, 1, 1, 1)
        scales[n:] /= self._guidance.temperature
        return scales


def step(
    v: Float[Tensor, "n w c"],
    parameters: Parameters,
    final: int,
    limit: Float[Tensor, "n 1 1"],
    counts: EvaluationCounts,
) -> tuple[Float[Tensor, "n w c"], Bool[Tensor, "n w"] | None]:
    """U = v exp(a) + b, and which patches were clamped; None for none.

    The first `final` patches follow from final ones and are left as they are. The others may follow from anything: a
    value that overflows would spoil the attention even of patches before it, as 0 times NaN, so they are clamped to
    |a| <= 6 and |u| <= limit. They are computed again, so the result is the same; until then they have not converged,
    whatever their change.
    """
    a, b = parameters
    u = torch.addcmul(b, v, torch.exp(a))
    if u.shape[1] <= final:
        return u, None
    tail = slice(final, None)
    overflowing = ~((u[:, tail].abs() <= limit) & (a[:, tail].abs() <= LARGEST_LOG_SCALE))
    if not bool(overflowing.any()):
        return u, None
    log_scale = torch.nan_to_num(a[:, tail], nan=0.0, posinf=0.0, neginf=0.0)
    log_scale = log_scale.clamp(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE)
    bounded = torch.nan_to_num(torch.addcmul(b[:, tail], v[:, tail], torch.exp(log_scale)), nan=0.0)
    u = torch.cat([u[:, :final], bounded.clamp(-limit, limit)], 1)
    clamped = torch.zeros(u.shape[:2], dtype=torch.bool, device=u.device)
    clamped[:, tail] = overflowing.any(-1)
    counts.clamped += int(clamped.sum())
    return u, clamped


def limits(v: Float[Tensor, "n t c"]) -> Float[Tensor, "n 1 1"]:
    """Bound on |u| of a patch that is not final, for each picture."""
    return LARGEST_VALUE * v.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1.0)


def block_inverses(model: TarFlow, n: int, labels: Int64[Tensor, "n"] | None, guidance: Guidance) -> list[BlockInverse]:
    """The inverses of all blocks for a batch of n pictures, in the order of decoding: the last block first."""
    order = reversed(range(model.config.num_blocks))
    return [
        BlockInverse(model.block(index), n, labels, guidance if first == 0 or guidance.blocks == "all" else UNGUIDED)
        for first, index in enumerate(order)
    ]
