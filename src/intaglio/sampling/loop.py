"""Draw pictures from prompts: samplers in one formulation, and guides that act inside their loop.

A latent is `signal * clean + noise * unit noise`; a sampler walks a grid of timesteps from the noisiest to none and
asks, at each, for the noise in the latent. Nothing here knows a network or what it predicts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any, Literal, NoReturn, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run

SamplerName = Literal["ddim", "euler", "heun", "dpm++2m", "ddpm", "euler_a"]
Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(latents [n, ...], t [n], conditioning of n rows) to the noise [n, ...], float32; `LatentDiffusion.predict`."""


# Guides


@dataclass(frozen=True)
class GuideContext:
    """What a guide may know of the batch that is being drawn."""

    model: LatentDiffusion
    prompts: tuple[str, ...]
    positive: Conditioning
    """a row a picture"""
    negative: Conditioning
    """a row a picture"""
    timesteps: tuple[int, ...]
    """from the noisiest on"""
    scale: float
    """the guidance scale that was asked for"""


@runtime_checkable
class Guide(Protocol):
    """Combines predictions inside the loop; a pure function of an explicit state, and never the owner of the loop."""

    def init(self, context: GuideContext) -> Any:
        """The state before the first step."""
        ...

    def step(
        self, state: Any, latents: Float[Tensor, "n *shape"], t: Int[Tensor, "n"], predict: Predict
    ) -> tuple[Any, Float[Tensor, "n *shape"]]:
        """The next state, and the noise that the sampler shall take out."""
        ...


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance, arXiv 2207.12598: `negative + scale * (positive - negative)`.

    In this formulation a scale of 1 is the model's own prediction, without guidance; 3 to 10 is usual. Both branches
    go through the network in one batch and are combined in float32.
    """

    scale: float = 5.0

    def __post_init__(self):
        if not 0 <= self.scale < float("inf"):
            raise ValueError(f"the guidance scale must be 0 or more, and finite, not {self.scale}")

    def init(self, context: GuideContext) -> Conditioning:
        """The state is the conditioning of one pass: the negative rows before the positive, or these alone."""
        return context.positive if self.scale == 1 else Conditioning.cat([context.negative, context.positive])

    def step(
        self, state: Conditioning, latents: Float[Tensor, "n *shape"], t: Int[Tensor, "n"], predict: Predict
    ) -> tuple[Conditioning, Float[Tensor, "n *shape"]]:
        """The combined noise; the state never changes."""
        if self.scale == 1:
            return state, predict(latents, t, state)
        negative, positive = predict(torch.cat([latents, latents]), torch.cat([t, t]), state).float().chunk(2)
        return state, negative + self.scale * (positive - negative)


# The grid of timesteps


@dataclass(frozen=True)
class Node:
    """A place on the way: its timestep, and the levels there."""

    t: int
    signal: float
    noise: float

    @property
    def ratio(self) -> float:
        """Noise over signal: sigma in the papers' samplers."""
        return self.noise / self.signal


CLEAN = Node(-1, 1.0, 0.0)


def timestep_grid(schedule: NoiseSchedule, steps: int) -> list[Node]:
    """`steps` timesteps spaced evenly from the last one on ("trailing", arXiv 2305.08891), then the clean end.

    With 1000 timesteps and 10 steps: 999, 899, ..., 99, clean. Raises `BadInput` for fewer than 1 or more steps than
    there are timesteps.
    """
    if not 1 <= steps <= schedule.count:
        raise BadInput(f"{steps} steps cannot be taken; use 1 to {schedule.count}")
    ts = [round(schedule.count - place * schedule.count / steps) - 1 for place in range(steps)]
    levels = zip(ts, schedule.signals[ts].tolist(), schedule.noises[ts].tolist(), strict=True)
    return [*(Node(*level) for level in levels), CLEAN]


# Samplers: (noise_at, latents, grid, draw) -> clean latents. `draw()` gives fresh unit noise, a row a picture.

NoiseAt = Callable[[Tensor, Node], Tensor]
Draw = Callable[[], Tensor]
Sampler = Callable[[NoiseAt, Tensor, Sequence[Node], Draw], Tensor]


def _clean(x: Tensor, eps: Tensor, now: Node) -> Tensor:
    return (x - now.noise * eps) / now.signal


def _deterministic(noise_at: NoiseAt, x: Tensor, grid: Sequence[Node], draw: Draw) -> Tensor:
    """DDIM (arXiv 2010.02502, eta 0), which is Euler's method in noise over signal (arXiv 2206.00364)."""
    for now, then in pairwise(grid):
        eps = noise_at(x, now)
        x = then.signal * _clean(x, eps, now) + then.noise * eps
    return x


def _heun(noise_at: NoiseAt, x: Tensor, grid: Sequence[Node], draw: Draw) -> Tensor:
    """Heun's second-order method in noise over signal (arXiv 2206.00364, algorithm 1); two predictions a step."""
    for now, then in pairwise(grid):
        eps = noise_at(x, now)
        if then is not CLEAN:
            trial = then.signal * _clean(x, eps, now) + then.noise * eps
            eps = (eps + noise_at(trial, then)) / 2
        x = then.signal * (x / now.signal + (then.ratio - now.ratio) * eps)
    return x


def _ancestral(noise_at: NoiseAt, x: Tensor, grid: Sequence[Node], draw: Draw) -> Tensor:
    """DDPM with the posterior's variance (arXiv 2006.11239), on any grid; DDIM with eta 1, Euler ancestral."""
    for now, then in pairwise(grid):
        eps = noise_at(x, now)
        x_clean = _clean(x, eps, now)
        if then is CLEAN:
            return x_clean
        fresh = then.noise * (1 - (then.ratio / now.ratio) ** 2) ** 0.5
        x = then.signal * x_clean + (then.noise**2 - fresh**2) ** 0.5 * eps + fresh * draw()
    return x


def _multistep(noise_at: NoiseAt, x: Tensor, grid: Sequence[Node], draw: Draw) -> Tensor:
    """DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2), first order at the start and at the clean end."""
    before, last_step = None, 0.0
    for now, then in pairwise(grid):
        x_clean = _clean(x, noise_at(x, now), now)
        if then is CLEAN:
            return x_clean
        step = log(now.ratio) - log(then.ratio)
        mixed = x_clean if before is None else x_clean + step / (2 * last_step) * (x_clean - before)
        x = then.noise / now.noise * x + then.signal * (1 - then.ratio / now.ratio) * mixed
        before, last_step = x_clean, step
    return x


SAMPLERS: dict[str, Sampler] = {
    "ddim": _deterministic,
    "euler": _deterministic,
    "heun": _heun,
    "dpm++2m": _multistep,
    "ddpm": _ancestral,
    "euler_a": _ancestral,
}
"""By their usual names. On one grid "euler" is the same formula as "ddim", and "euler_a" the same as "ddpm"."""


# The loop


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
        steps: timesteps taken (see `timestep_grid`); Heun asks the model twice at each but the last.
        guidance_scale: of `ClassifierFree`, 1 for none; handed to `guide` where one is given.
        negative: what guidance leads away from, for all pictures.
        guide: takes the place of `ClassifierFree`.
        batch: pictures drawn at once; guidance doubles it inside the network.
        run: shows the progress.

    Raises:
        BadInput: for a sampler or a number of steps that does not exist.
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
    """The pixels of `sample`, batch by batch, each as soon as it is drawn.

    With `spare_failed`, a picture that turned into NaN or infinity is given as NaN and the others go on.
    """
    if sampler not in SAMPLERS:
        raise BadInput(f"there is no sampler {sampler!r}; use one of {', '.join(SAMPLERS)}")
    if len(prompts) != len(seeds) or not prompts or batch < 1:
        raise ValueError(f"give a seed for each prompt, one at least, and a batch of 1 or more, not {batch}")
    guide = ClassifierFree(guidance_scale) if guide is None else guide
    grid = timestep_grid(model.schedule, steps)
    with run.progress(steps * len(prompts), "sampling") as progress:
        for first in range(0, len(prompts), batch):
            rows = slice(first, first + batch)
            # Nothing of this may stay in force while the caller holds the batch.
            with torch.no_grad(), model.frozen():
                context = _context(model, tuple(prompts[rows]), negative, grid, guidance_scale)
                latents = _draw(context, seeds[rows], SAMPLERS[sampler], grid, guide, progress, spare_failed)
                pixels = model.decode(latents).cpu()
            yield pixels


def _context(
    model: LatentDiffusion, prompts: tuple[str, ...], negative: str, grid: list[Node], scale: float
) -> GuideContext:
    blank = model.embed([negative])[[0] * len(prompts)]
    return GuideContext(model, prompts, model.embed(prompts), blank, tuple(node.t for node in grid[:-1]), scale)


def _draw(
    context: GuideContext,
    seeds: Sequence[int],
    walk: Sampler,
    grid: list[Node],
    guide: Guide,
    progress: Progress,
    spare_failed: bool,
) -> Tensor:
    """The clean latents of one batch; NaN for a picture that failed and is spared.

    The sampler's own state is float64 and on the CPU: it is small, its differences cancel, and not every device has
    float64.
    """
    model, state, visited = context.model, guide.init(context), set()
    side = model.resolution // model.factor
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    failed = torch.zeros(len(seeds), 1, 1, 1, dtype=torch.bool)

    def draw() -> Tensor:
        return unit_noise((model.latent_channels, side, side), generators).double()

    def noise_at(x: Tensor, node: Node) -> Tensor:
        nonlocal state
        t = torch.full((len(seeds),), node.t, device=model.device)
        state, eps = guide.step(state, x.float().to(model.device), t, model.predict)
        eps = eps.cpu().double()
        bad = ~eps.isfinite().flatten(1).all(1)
        if bad.any() and not spare_failed:
            _refuse_non_finite(int(bad.nonzero()[0]), context.prompts, seeds, node)
        failed.logical_or_(bad.view(-1, 1, 1, 1))
        if node not in visited:
            visited.add(node)
            progress.advance(len(seeds))
        return eps.masked_fill(failed, 0.0)

    return walk(noise_at, draw(), grid, draw).masked_fill(failed, torch.nan).float().to(model.device)


def _refuse_non_finite(place: int, prompts: Sequence[str], seeds: Sequence[int], node: Node) -> NoReturn:
    raise IntaglioError(
        f"the picture of seed {seeds[place]} ({prompts[place]!r}) turned into NaN or infinity at timestep {node.t}; "
        "load the model in float32, or lower the guidance scale"
    )
