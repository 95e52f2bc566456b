"""The time of drawing from a flow, before it begins, from the passes that a decoder says it makes of each block."""

import torch

from intaglio.flow.block.guidance import Guidance
from intaglio.flow.block.inverse import BlockInverse, block_inverses
from intaglio.flow.cost import BlockPasses, patch_by_patch
from intaglio.flow.family import Decoder
from intaglio.models.flow.tarflow import TarFlow
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

DENOISED_AT_ONCE = 16
"""Pictures whose log-likelihood has its gradient timed together."""


def decoding_plan(model: TarFlow, decoder: Decoder, pictures: int, guidance: Guidance, *, denoise: bool) -> TimePlan:
    """Seconds of the blocks and of the denoising; a pass of each block is timed.

    A decoder that knows its passes only afterwards is planned as one that goes patch by patch, the most it may take.

    Args:
        model: the flow.
        decoder: one that is prepared.
        pictures: 1 or more.
        guidance: doubles the rows of the blocks in which it acts.
        denoise: whether pictures are denoised by the gradient of their log-likelihood.
    """
    size = min(decoder.batch, pictures)
    decoded, exact = 0.0, True
    with torch.inference_mode():
        for inverse in block_inverses(model, size, None, guidance):
            told = decoder.passes(model, inverse.block.index)
            exact = exact and bool(told) and all(passes.exact for passes in told)
            told = told or patch_by_patch(inverse.tokens)
            if decoder.certify and inverse.tokens > 1:
                told = (*told, BlockPasses(inverse.tokens - 1, 0, 1))
            decoded += sum(passes.count * _pass_seconds(model, inverse, passes) for passes in told)
    parts = {"blocks": decoded * pictures / size}
    if denoise:
        config, rows = model.config, min(pictures, DENOISED_AT_ONCE)
        blank = torch.zeros(rows, config.in_channels, *config.image_size, device=model.device)
        parts["denoising"] = seconds_of(lambda: model.score(blank, None), model.device) * pictures / rows
    return TimePlan(parts, f"pictures   {pictures} in batches of {size}, by {decoder.name}", at_most=not exact)


def _pass_seconds(model: TarFlow, inverse: BlockInverse, passes: BlockPasses) -> float:
    """Seconds of one pass over a window."""
    u = torch.zeros(inverse.n, passes.window, model.config.token_width, device=model.device)
    cache = inverse.cache() if passes.window < inverse.tokens - 1 else None
    return seconds_of(lambda: inverse.parameters(u, passes.start, cache), model.device)
