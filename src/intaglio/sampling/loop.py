"""Draw pictures from prompts: the loop around samplers and guides.

Nothing here depends on the kind of network: a model is asked for the noise in latents at a timestep.
"""

from collections.abc import Iterator, Sequence
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.sampling.grid import NoiseLevel, timestep_grid
from intaglio.sampling.guide import Guide, GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.samplers import SAMPLERS, Sampler


def sample(
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: str = "ddim",
    steps: int = 30,
    guidance_scale: float = 5.0,
    negative: str = "",
    guide: Guide | None = None,
    batch: int = 8,
    run: Run = Run.none(),
) -> ImageSet:
    """Pictures of the model's resolution, one for each prompt.

    All noise of a picture comes from a CPU generator of its own seed, so that picture k is the same in whatever batch
    it is drawn, on whatever device, up to the rounding of the networks.

    Args:
        model: left as it was found.
        prompts: n texts; they become the captions.
        seeds: n integers.
        sampler: a key of `SAMPLERS`.
        steps: timesteps taken, 1 to the schedule's count (see `timestep_grid`); Heun's method predicts twice at each
            but the last.
        guidance_scale: of `ClassifierFree`, 0 or more, 1 for none; `GuideContext.scale` where a guide is given.
        negative: the negative prompt of all pictures.
        guide: takes the place of `ClassifierFree`.
        batch: pictures drawn at once, 1 or more; guidance doubles it inside the network.
        run: shows the progress.

    Raises:
        BadInput: for a sampler or a number of steps that does not exist.
        ValueError: for no prompts, another number of seeds, or a batch below 1.
        IntaglioError: if a picture turned into NaN or infinity; it is named.
    """
    options = {"sampler": sampler, "steps": steps, "guidance_scale": guidance_scale, "negative": negative}
    drawn = list(sample_batches(model, prompts, seeds, **options, guide=guide, batch=batch, run=run))
    return ImageSet.from_pixels(torch.cat(drawn), captions=list(prompts))


def sample_batches(
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: str,
    steps: int,
    guidance_scale: float,
    negative: str,
    guide: Guide | None = None,
    batch: int = 8,
    run: Run = Run.none(),
    spare_failed: bool = False,
) -> Iterator[Float[Tensor, "n 3 h w"]]:
    """The pixels of `sample` in [0, 1], batch by batch, each as soon as it is drawn.

    Args and errors are those of `sample`. With `spare_failed`, a picture that turned into NaN or infinity is given as
    NaN and the others go on, in place of the error.
    """
    if sampler not in SAMPLERS:
        raise BadInput(f"there is no sampler {sampler!r}; use one of {', '.join(SAMPLERS)}")
    if len(prompts) != len(seeds) or not prompts or batch < 1:
        raise ValueError(f"give a seed for each prompt, one at least, and a batch of 1 or more, not {batch}")
    guide = ClassifierFree(guidance_scale) if guide is None else guide
    grid, walk = timestep_grid(model.schedule, steps), SAMPLERS[sampler]
    with run.progress(steps * len(prompts), "sampling") as progress:
        for first in range(0, len(prompts), batch):
            rows = slice(first, first + batch)
            # Neither may stay in force while the caller holds the batch.
            with torch.no_grad(), model.frozen():
                context = _context(model, tuple(prompts[rows]), negative, grid, guidance_scale)
                latents = _draw(context, seeds[rows], walk, grid, guide, progress, spare_failed)
                pixels = model.decode(latents, spare_failed=spare_failed).cpu()
            yield pixels


def _context(
    model: LatentDiffusion, prompts: tuple[str, ...], negative: str, grid: list[NoiseLevel], scale: float
) -> GuideContext:
    blank = model.embed([negative])[[0] * len(prompts)]
    return GuideContext(model, prompts, model.embed(prompts), blank, tuple(level.t for level in grid[:-1]), scale)


def _draw(
    context: GuideContext,
    seeds: Sequence[int],
    walk: Sampler,
    grid: list[NoiseLevel],
    guide: Guide,
    progress: Progress,
    spare_failed: bool,
) -> Tensor:
    """The clean latents [n, c, h, w] of one batch; NaN for a picture that failed and is spared.

    The sampler's own state is float64 and on the CPU: it is small, its differences cancel, and not every device has
    float64.
    """
    model, state, visited = context.model, guide.init(context), set()
    side = model.resolution // model.factor
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    failed = torch.zeros(len(seeds), 1, 1, 1, dtype=torch.bool)

    def draw() -> Tensor:
        return unit_noise((model.latent_channels, side, side), generators).double()

    def noise_at(x: Tensor, level: NoiseLevel) -> Tensor:
        nonlocal state
        t = torch.full((len(seeds),), level.t, device=model.device)
        state, eps = guide.step(state, x.float().to(model.device), t, model.predict)
        eps = eps.cpu().double()
        bad = ~eps.isfinite().flatten(1).all(1)
        if bad.any() and not spare_failed:
            _refuse_non_finite(int(bad.nonzero()[0]), context.prompts, seeds, level)
        failed.logical_or_(bad.view(-1, 1, 1, 1))
        if level not in visited:
            visited.add(level)
            progress.advance(len(seeds))
        return eps.masked_fill(failed, 0.0)

    return walk(noise_at, draw(), grid, draw).masked_fill(failed, torch.nan).float().to(model.device)


def _refuse_non_finite(index: int, prompts: Sequence[str], seeds: Sequence[int], level: NoiseLevel) -> NoReturn:
    raise IntaglioError(
        f"the picture of seed {seeds[index]} ({prompts[index]!r}) turned into NaN or infinity at timestep {level.t}; "
        "load the model in float32, or lower the guidance scale"
    )
