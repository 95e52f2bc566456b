"""The inverse of one block as a fixed point: u = F(u), with F causal, for one batch under its labels and guidance."""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED, Guidance, Parameters
from intaglio.models.flow.tarflow import MetaBlock, Past, TarFlow

WIDEST_LOG_SCALE = 6.0
"""Of a patch that is not final yet."""
FARTHEST = 10.0
"""Of a patch that is not final yet, in root mean squares of the block's output, or in units if those are less."""


@dataclass
class Effort:
    """What was computed."""

    passes: int = 0
    """Calls of the block."""
    token_passes: int = 0
    """Patches that went through it, over all pictures; one forward pass takes n T."""
    clamped: int = 0
    """Patches that had to be held back while they were not final."""


class Inverse:
    """u_l = v_l exp(a_l(u_<l)) + b_l(u_<l) for l = 1..T-1, and u_0 = v_0, in the block's own order of patches.

    A decoder calls `parameters`, in any windows it likes; two branches, where guidance asks for them, are one batch of
    2n. Source: arXiv 2412.06329, 2505.24791.
    """

    def __init__(
        self, block: MetaBlock, n: int, labels: Int64[Tensor, "n"] | None = None, guidance: Guidance = UNGUIDED
    ):
        self.block, self.n, self.tokens = block, n, block.config.tokens
        self.effort = Effort()
        self._guidance = guidance if guidance.acts(block.config.num_classes) else None
        weight = block.proj_in.weight
        self._gains = guidance.gains(self.tokens)[:, None].to(weight.device)
        offset = block.offset(labels).to(block.dtype)
        if self._guidance is not None:
            away = block.offset(None).to(block.dtype)
            offset = torch.cat([offset.expand(n, -1, -1), away.expand(n, -1, -1)])
        self._offset = offset
        self._mask = torch.ones(self.tokens, self.tokens, dtype=torch.bool, device=weight.device).tril()
        self._query_scale = self._query_scales(n)

    @property
    def branches(self) -> int:
        """1, or 2 where guidance compares two predictions."""
        return 1 if self._guidance is None else 2

    def cache(self) -> Past:
        """Empty buffers for the keys and values of all patches."""
        return self.block.cache(self.branches * self.n)

    def rows(self, index: Int64[Tensor, "m"]) -> "Inverse":
        """The same for some of the pictures; the effort is counted together."""
        part = Inverse.__new__(Inverse)
        part.__dict__ |= self.__dict__
        part.n = len(index)
        part._query_scale = part._query_scales(part.n)
        if len(self._offset) > 1:
            both = torch.cat([index + branch * self.n for branch in range(self.branches)])
            part._offset = self._offset[both]
        return part

    def parameters(self, u: Float[Tensor, "n w c"], start: int = 0, cache: Past | None = None) -> Parameters:
        """(a, b) of the patches start+1..start+w from those at start..start+w-1, guided where asked.

        What stood before `start` is seen through `cache`, which gets the keys and values of these patches too; they
        count as known only up to where the caller goes on from.
        """
        n, w = u.shape[:2]
        self.effort.passes += 1
        self.effort.token_passes += n * w
        offset = self._offset[:, start : start + w]
        mask = self._mask[start : start + w, : start + w] if start and w > 1 else None
        if self._guidance is None:
            return self.block.parameters_after(u, offset, start, cache, None, mask)
        a, b = self.block.parameters_after(u.repeat(2, 1, 1), offset, start, cache, self._query_scale, mask)
        gains = self._gains[start + 1 : start + w + 1]
        if len(gains) < w:  # what the last patch says is said of none
            gains = torch.cat([gains, gains.new_zeros(1, 1)])
        return self._guidance.led((a[:n], b[:n]), (a[n:], b[n:]), gains.to(a))

    def coarse(self, copies: dict[int, MetaBlock]) -> "Inverse":
        """The same in bfloat16: half the time of a sweep or less, and an answer to some two digits. Its sweeps may
        lead towards the answer, never decide that it is reached. `copies` keeps the blocks' weights, by index, for
        the next call.
        """
        part = Inverse.__new__(Inverse)
        part.__dict__ |= self.__dict__
        if self.block.index not in copies:
            copies[self.block.index] = copy.deepcopy(self.block).to(torch.bfloat16)
        part.block = copies[self.block.index]
        part._offset = self._offset.to(torch.bfloat16)
        part._query_scale = part._query_scales(part.n)
        return part

    def residual(self, u: Float[Tensor, "n t c"], v: Float[Tensor, "n t c"]) -> Float[Tensor, "n"]:
        """The certificate: max |(u - b(u)) exp(-a(u)) - v| of each picture, by one pass that knows no history."""
        a, b = self.parameters(u[:, :-1]) if self.tokens > 1 else (u[:, :0], u[:, :0])
        again = torch.cat([u[:, :1], (u[:, 1:] - b) * torch.exp(-a)], 1)
        return (again - v).abs().amax((1, 2))

    def _query_scales(self, n: int) -> Float[Tensor, "m 1 1 1"] | None:
        if self._guidance is None or self._guidance.temperature == 1:
            return None
        scales = self._offset.new_ones(2 * n, 1, 1, 1)
        scales[n:] /= self._guidance.temperature
        return scales


def step(
    v: Float[Tensor, "n w c"], parameters: Parameters, proven: int, limit: Float[Tensor, "n 1 1"], effort: Effort
) -> tuple[Float[Tensor, "n w c"], Bool[Tensor, "n w"] | None]:
    """V exp(a) + b, and which patches were held back; None for none.

    The first `proven` patches follow from final ones and are left as they are. The others may come from garbage: a
    value that overflows would poison the attention even of patches before it, as 0 times NaN, so they are kept
    finite (|a| <= 6, |u| <= limit). They are computed again, so the result is the same; until then they have not
    settled, whatever their change says.
    """
    a, b = parameters
    u = torch.addcmul(b, v, torch.exp(a))
    if u.shape[1] <= proven:
        return u, None
    tail = slice(proven, None)
    wild = ~((u[:, tail].abs() <= limit) & (a[:, tail].abs() <= WIDEST_LOG_SCALE))
    if not bool(wild.any()):
        return u, None
    held = torch.nan_to_num(a[:, tail], nan=0.0, posinf=0.0, neginf=0.0).clamp(-WIDEST_LOG_SCALE, WIDEST_LOG_SCALE)
    tame = torch.nan_to_num(torch.addcmul(b[:, tail], v[:, tail], torch.exp(held)), nan=0.0)
    u = torch.cat([u[:, :proven], tame.clamp(-limit, limit)], 1)
    touched = torch.zeros(u.shape[:2], dtype=torch.bool, device=u.device)
    touched[:, tail] = wild.any(-1)
    effort.clamped += int(touched.sum())
    return u, touched


def limits(v: Float[Tensor, "n t c"]) -> Float[Tensor, "n 1 1"]:
    """How far a patch that is not final may go, for each picture."""
    return FARTHEST * v.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1.0)


def inverses(
    model: TarFlow, n: int, labels: Int64[Tensor, "n"] | None, guidance: Guidance
) -> list[tuple[MetaBlock, Inverse]]:
    """The blocks in the order of decoding, the last first."""
    found = []
    for place, index in enumerate(reversed(range(model.config.num_blocks))):
        block = model.block(index)
        led = guidance if place == 0 or guidance.blocks == "all" else UNGUIDED
        found.append((block, Inverse(block, n, labels, led)))
    return found
