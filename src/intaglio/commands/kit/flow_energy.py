"""The work of drawing from a flow, for an estimate of its energy before it begins."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.energy.jobs import JobWork
    from intaglio.energy.layers.layer import Step
    from intaglio.flow.block.guidance import Guidance
    from intaglio.flow.block.inverse import BlockInverse
    from intaglio.flow.cost import BlockPasses
    from intaglio.flow.family import Decoder
    from intaglio.models.flow.tarflow import TarFlow

SCORED = 16
"""Pictures that are denoised at once."""


def is_told(decoder: "Decoder", model: "TarFlow") -> bool:
    """Whether a decoder says the passes of every block of a flow before it begins."""
    return all(decoder.passes(model, block) for block in range(model.config.num_blocks))


def is_exact(decoder: "Decoder", model: "TarFlow") -> bool:
    """Whether it always makes exactly those passes."""
    blocks = range(model.config.num_blocks)
    return all(passes.exact for block in blocks for passes in decoder.passes(model, block))


def drawing_work(model: "TarFlow", decoder: "Decoder", pictures: int, guidance: "Guidance", denoise: bool) -> "JobWork":
    """The work of so many pictures by a decoder, batch by batch, from the passes that it says of each block.

    Args:
        model: the flow; a pass of each block is made, once for each size of batch, to see its layers.
        decoder: one that is prepared, and says its passes.
        pictures: 1 or more.
        guidance: doubles the rows of the blocks in which it acts.
        denoise: whether pictures are denoised by the gradient of their log-likelihood.
    """
    from intaglio.energy.jobs import JobWork, joined

    whole = JobWork({}, {})
    for size, batches in _batches(pictures, decoder.batch).items():
        decoded, passes = _decoded(model, decoder, size, guidance)
        whole = joined(whole, JobWork({"blocks": decoded.times(batches)}, {"blocks": passes * batches}))
    if denoise:
        for size, batches in _batches(pictures, SCORED).items():
            scored = JobWork({"denoising": _scored(model, size).times(batches)}, {"denoising": batches})
            whole = joined(whole, scored)
    return whole


def planned_work(name: str, pictures: int, batch: int, device: str) -> "JobWork":
    """The work of drawing so many pictures by a flow's measured plan, or without one patch by patch.

    Args:
        name: of a flow in the package, or its folder; empty takes the first of the package.
        pictures: 1 or more.
        batch: pictures decoded at once, 1 or more.
        device: where the flow computes, and its plan was measured.

    Raises:
        BadInput: no such flow, or a plan with windows, whose number is known only afterwards.
    """
    from intaglio.commands.kit.console import note
    from intaglio.errors import BadInput
    from intaglio.flow.block.guidance import UNGUIDED
    from intaglio.flow.methods.auto import AutoDecoder
    from intaglio.models.flow.flow_folders import flow_names
    from intaglio.models.flow.shipped import open_flow

    model = open_flow(name or flow_names()[0], device=device).model
    decoder = AutoDecoder(batch=batch).prepared(model, pictures, UNGUIDED, note)
    if not is_told(decoder, model):
        raise BadInput("the passes of this flow's plan are known only afterwards; there is no estimate of it")
    if not is_exact(decoder, model):
        note("the plan knows the most sweeps of a block, so the estimate is an upper bound")
    return drawing_work(model, decoder, pictures, UNGUIDED, bool(model.config.noise_std))


def _batches(pictures: int, batch: int) -> dict[int, int]:
    """Batches of each size, by the size."""
    whole, rest = divmod(pictures, batch)
    return {size: count for size, count in ((batch, whole), (rest, 1)) if size and count}


def _decoded(model: "TarFlow", decoder: "Decoder", size: int, guidance: "Guidance") -> "tuple[Step, int]":
    """The work of one batch, and its passes."""
    from intaglio.energy.layers.layer import NO_WORK
    from intaglio.flow.block.inverse import block_inverses
    from intaglio.flow.cost import BlockPasses

    work, count = NO_WORK, 0
    for inverse in block_inverses(model, size, None, guidance):
        told = decoder.passes(model, inverse.block.index)
        if decoder.certify and inverse.tokens > 1:
            told = (*told, BlockPasses(inverse.tokens - 1, 0, 1))
        for passes in told:
            work += _pass(inverse, passes).times(passes.count)
            count += passes.count
    return work, count


def _pass(inverse: "BlockInverse", passes: "BlockPasses") -> "Step":
    """One pass over a window, seen while it is made."""
    import torch

    from intaglio.energy.layers.parse import seen

    block = inverse.block
    u = torch.zeros(inverse.n, passes.window, block.config.token_width, device=block.proj_in.weight.device)
    cache = inverse.cache() if passes.window < inverse.tokens - 1 else None
    return seen(lambda: inverse.parameters(u, passes.start, cache))


def _scored(model: "TarFlow", size: int) -> "Step":
    """The gradient of the log-likelihood of a batch of pictures, by the frozen flow."""
    import torch

    from intaglio.energy.layers.parse import seen

    config = model.config
    pictures = torch.zeros(size, config.in_channels, *config.image_size, device=model.device)
    return seen(lambda: model.score(pictures, None), train=True)
