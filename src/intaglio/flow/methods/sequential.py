"""Sequential decoding: one patch after the other, with the keys and values of those before kept in place."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.flow.block.inverse import BlockInverse
from intaglio.flow.cost import BlockPasses, patch_by_patch
from intaglio.flow.family import Decoder
from intaglio.flow.iterate.one_by_one import sequential
from intaglio.flow.results import BlockCallback, BlockReport
from intaglio.models.flow.tarflow import TarFlow


@dataclass(frozen=True, kw_only=True)
class SequentialDecoder(Decoder):
    """Sequential decoding: one patch after the other, exactly.

    T - 1 small passes a block, u_l = v_l exp(a_l) + b_l with (a_l, b_l) from u_0..u_{l-1}. Keys and values [n, heads,
    T, head width] of all layers are written into buffers made once, so that no step copies those of earlier steps. The
    arithmetic of one forward pass, T - 1 times the latency: the honest baseline.

    Source: arXiv 2412.06329.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"

    def passes(self, model: TarFlow, block: int) -> tuple[BlockPasses, ...]:
        """See `Decoder.passes`: one for every patch that another follows."""
        return patch_by_patch(model.config.tokens)

    def decode_block(
        self, inverse: BlockInverse, v: Float[Tensor, "n t c"], report: BlockReport, watch: BlockCallback
    ) -> Float[Tensor, "n t c"]:
        """See `Decoder.decode_block`."""
        return sequential(inverse, v, watch)
