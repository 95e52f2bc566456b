"""Pictures of a flow from seeds: each picture belongs to its seed, whatever is drawn beside it."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from intaglio.flow.block.guidance import UNGUIDED, Guidance
from intaglio.flow.decoding import checked_labels
from intaglio.flow.family import Decoded, Decoder, Watching
from intaglio.models.flow.tarflow import TarFlow
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run


def noise_of(model: TarFlow, seeds: Sequence[int], attempt: int = 0) -> Float[Tensor, "n t c"]:
    """Standard normal latents, one a seed; `attempt` above 0 is what a picture that overflowed is drawn from next."""
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
    watch: Watching | None = None,
    run: Run = Run.none(),
) -> Decoded:
    """Pictures of the seeds, decoded by `decoder`; see `Decoder.__call__`, which takes latents in place of seeds.

    With `resample`, a picture whose noise overflows is drawn from its seed's next noise, and counted, in place of an
    error.
    """
    checked_labels(model, labels, len(seeds))

    def redraw(place: int, attempt: int) -> Tensor:
        return noise_of(model, [seeds[place]], attempt)[0]

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
    """File names by seed; a seed that comes again gets a count."""
    seen: dict[int, int] = {}
    names = []
    for seed in seeds:
        seen[seed] = seen.get(seed, 0) + 1
        names.append(f"{seed:05d}.png" if seen[seed] == 1 else f"{seed:05d}-{seen[seed]}.png")
    return names
