"""Sampling of a flow from seeds: a picture depends on its seed alone, whatever is drawn beside it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.decoding import checked_labels
from intaglio.flow.family import Decoder
from intaglio.flow.results import DecodedPictures, PassCallback
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run


def noise_of(model: TarFlow, seeds: Sequence[int], attempt: int = 0) -> Float[Tensor, "n t c"]:
    """Standard normal latents, one a seed; `attempt` above 0 gives fresh ones for a picture that overflowed."""
    shape = (model.config.tokens, model.config.token_width)
    drawn = [torch.randn(shape, generator=generator_32bit(seed, "flow", attempt)) for seed in seeds]
    return torch.stack(drawn) if drawn else torch.zeros(0, *shape)


def sample_flow(
    model: TarFlow,
    seeds: Sequence[int],
    decoder: Decoder,
    *,
    labels: Int64[Tensor, "n"] | None = None,
    guidance: Guidance = UNGUIDED,
    denoise: bool | None = None,
    resample: bool = False,
    keep_hidden: bool = False,
    watch: PassCallback | None = None,
    run: Run = Run.none(),
) -> DecodedPictures:
    """Pictures of the seeds, decoded by `decoder`; see `Decoder.__call__`, which takes latents in place of seeds.

    With `resample`, a picture whose noise overflows is drawn from its seed's next noise, and counted in the report, in
    place of an error.
    """
    checked_labels(model, labels, len(seeds))

    def redraw(index: int, attempt: int) -> Tensor:
        return noise_of(model, [seeds[index]], attempt)[0]

    return decoder(
        model,
        noise_of(model, seeds),
        labels=labels,
        guidance=guidance,
        denoise=denoise,
        names=names_of(seeds),
        redraw=redraw if resample else None,
        keep_hidden=keep_hidden,
        watch=watch,
        run=run,
    )


def names_of(seeds: Sequence[int]) -> list[str]:
    """File names of pictures by seed; a seed that is repeated gets a count."""
    counts: dict[int, int] = {}
    names = []
    for seed in seeds:
        counts[seed] = counts.get(seed, 0) + 1
        names.append(f"{seed:05d}.png" if counts[seed] == 1 else f"{seed:05d}-{counts[seed]}.png")
    return names
