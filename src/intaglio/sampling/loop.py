"""Draw pictures from prompts: the loop around samplers and guides.

Nothing here depends on the kind of network: a model is asked for the noise in latents at a timestep.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.fitted_sampling import FittedSampling, MethodFit
from intaglio.sampling.fixed_sampling import Settled, refuse_contradiction, sampling_grid
from intaglio.sampling.grid import CLEAN_AT, NoiseLevel
from intaglio.sampling.guide import Guide, GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.samplers import SAMPLERS
from intaglio.sampling.sampling_batch import SamplingBatch
from intaglio.sampling.start import Start, UnitNoise

DECODED_PIXELS = 512 * 512
"""Pixels of the pictures that are decoded together, where one has no more."""


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
    method: SamplingMethod | None = None,
    fit: MethodFit | None = None,
    start: Start | None = None,
    batch: int = 8,
    calls: Calls | None = None,
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
        steps: timesteps taken, 1 to the schedule's count (see `sampling_grid`); Heun's method predicts twice at each
            but the last.
        guidance_scale: of `ClassifierFree`, 0 or more, 1 for none; `GuideContext.scale` where a guide is given.
        negative: the negative prompt of all pictures.
        guide: takes the place of `ClassifierFree`.
        method: the way to draw, in place of a guide.
        fit: the fitted part of the method, as `fit_of` gives it; None has it made where it is needed.
        start: where the walk begins; None takes unit noise at the schedule's last timestep.
        batch: pictures drawn at once, 1 or more; guidance doubles it inside the network.
        calls: counts what networks are asked.
        run: shows the progress.

    Raises:
        BadInput: for a sampler or a number of steps that does not exist, and for what the method cannot draw.
        ValueError: for no prompts, another number of seeds, or a batch below 1.
        IntaglioError: if a picture turned into NaN or infinity; it is named.
    """
    options: dict[str, Any] = {"sampler": sampler, "steps": steps, "guidance_scale": guidance_scale}
    options |= {"negative": negative, "guide": guide, "method": method, "fit": fit, "start": start, "calls": calls}
    drawn = list(sample_batches(model, prompts, seeds, **options, batch=batch, run=run))
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
    method: SamplingMethod | None = None,
    fit: MethodFit | None = None,
    start: Start | None = None,
    batch: int = 8,
    run: Run = Run.none(),
    spare_failed: bool = False,
    calls: Calls | None = None,
    told: Callable[[Any], object] = lambda trace: None,
) -> Iterator[Float[Tensor, "n 3 h w"]]:
    """The pixels of `sample` in [0, 1], batch by batch, each as soon as it is drawn.

    Args and errors are those of `sample`. With `spare_failed`, a picture that turned into NaN or infinity is given as
    NaN and the others go on, in place of the error. `told` is called with what a method has to say of each batch.
    """
    drawn = latent_batches(
        model,
        prompts,
        seeds,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance_scale,
        negative=negative,
        guide=guide,
        method=method,
        fit=fit,
        start=start,
        batch=batch,
        run=run,
        spare_failed=spare_failed,
        calls=calls,
        told=told,
    )
    for latents in drawn:
        with _asking(model):
            parts = latents.split(decoded_at_once(model, latents))
            pixels = torch.cat([model.decode(part, spare_failed=spare_failed).cpu() for part in parts])
        yield pixels


def decoded_at_once(model: LatentDiffusion, latents: Float[Tensor, "n c h w"]) -> int:
    """Latents that are decoded together: all of a batch of small pictures, and one at a time of 512 pixels a side.

    A decoder needs some 5 kB for each pixel, where a call of the denoiser needs little.
    """
    return max(1, DECODED_PIXELS // (model.factor**2 * latents.shape[-2] * latents.shape[-1]))


def latent_batches(
    model: LatentDiffusion,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    sampler: str,
    steps: int,
    guidance_scale: float,
    negative: str,
    guide: Guide | None = None,
    method: SamplingMethod | None = None,
    fit: MethodFit | None = None,
    start: Start | None = None,
    batch: int = 8,
    run: Run = Run.none(),
    spare_failed: bool = False,
    calls: Calls | None = None,
    told: Callable[[Any], object] = lambda trace: None,
    until: int = CLEAN_AT,
) -> Iterator[Float[Tensor, "n c h w"]]:
    """The clean latents of `sample_batches`, before they are decoded; args and errors are those of it.

    With `until`, a timestep, the walk ends there, and its latents are given as they are at that noise level.
    """
    if sampler not in SAMPLERS:
        raise BadInput(f"there is no sampler {sampler!r}; use one of {', '.join(SAMPLERS)}")
    if len(prompts) != len(seeds) or not prompts or batch < 1:
        raise ValueError(f"give a seed for each prompt, one at least, and a batch of 1 or more, not {batch}")
    if guide is not None and method is not None:
        raise ValueError("give a guide or a method, not both")
    way = _Way(
        model,
        sampler,
        steps,
        guidance_scale,
        negative,
        start or UnitNoise(),
        Calls() if calls is None else calls,
        until,
    )
    by = "" if method is None else method.name
    way.check(plain=guide is None and (method is None or method.takes_distilled), by=by)
    if method is not None:
        request = way.request(prompts)
        method.check(request)
        fit = fit or _fitted(method, way, request, run)
    guide = guide or ClassifierFree(guidance_scale)
    with run.progress(steps * len(prompts), "sampling") as progress:
        for first in range(0, len(prompts), batch):
            rows = range(first, min(first + batch, len(prompts)))
            with _asking(model):
                drawing = way.batch([prompts[k] for k in rows], [seeds[k] for k in rows], rows, progress)
                drawing = replace(drawing, spare_failed=spare_failed, told=told, fit=fit)
                latents = drawing.walk(guide) if method is None else method.latents(drawing)
            yield latents


def fit_of(
    model: LatentDiffusion,
    method: SamplingMethod,
    *,
    sampler: str = "ddim",
    steps: int = 30,
    guidance_scale: float = 5.0,
    negative: str = "",
    start: Start | None = None,
    calls: Calls | None = None,
    run: Run = Run.none(),
) -> MethodFit | None:
    """The fitted part of a method for such pictures, whatever their prompts; None where it needs none.

    Args and errors are those of `sample`.
    """
    way = _Way(
        model, sampler, steps, guidance_scale, negative, start or UnitNoise(), Calls() if calls is None else calls
    )
    way.check(plain=method.takes_distilled, by=method.name)
    request = way.request([])
    if isinstance(method, FittedSampling):
        method.check(request)
    return _fitted(method, way, request, run)


@dataclass(frozen=True)
class _Way:
    """All that pictures are drawn with but their prompts, seeds and method."""

    model: LatentDiffusion
    sampler: str
    steps: int
    scale: float
    negative: str
    start: Start
    calls: Calls
    until: int = CLEAN_AT
    """Timestep at which walks end."""

    @cached_property
    def grid(self) -> list[NoiseLevel]:
        return sampling_grid(self.model, self.steps, self.start.first, self.until)

    def check(self, plain: bool, by: str) -> None:
        """Raises `BadInput` where the model was distilled for another way; see `refuse_contradiction`."""
        asked = Settled(self.steps, self.sampler, self.scale)
        first, negative = self.start.first, self.negative
        refuse_contradiction(self.model, asked, first=first, negative=negative, plain=plain, by=by)

    def request(self, prompts: Sequence[str]) -> SamplingRequest:
        """The pictures of these prompts."""
        nodes, start = nodes_of(self.sampler, self.steps), self.start
        about = {"first": start.first, "sampler": self.sampler, "start": start.hash}
        return SamplingRequest(self.model, prompts, self.negative, self.scale, self.steps, nodes, **about)

    def batch(
        self, prompts: Sequence[str], seeds: Sequence[int], rows: Sequence[int], progress: Progress
    ) -> SamplingBatch:
        """A batch of n pictures at these places among all."""
        model, blank = self.model, self.model.embed([self.negative], negative=True)[[0] * len(prompts)]
        timesteps = tuple(level.t for level in self.grid[:-1])
        about = (model.embed(prompts), blank, timesteps, self.scale, self.negative, self.calls)
        context = GuideContext(model, tuple(prompts), *about, seeds=tuple(seeds))
        return SamplingBatch(context, seeds, rows, self.grid, SAMPLERS[self.sampler], self.start, progress)


def _fitted(method: SamplingMethod, way: _Way, request: SamplingRequest, run: Run) -> MethodFit | None:
    if not isinstance(method, FittedSampling) or method.fit_hash(request) is None:
        return None
    with run.progress(method.planned_fit(request).forward, "fitting") as shown, _asking(way.model):
        progress = _InCalls(shown, way.calls)
        return method.fit(request, lambda prompts, seeds: way.batch(prompts, seeds, range(len(prompts)), progress))


class _InCalls:
    """A progress that is told in calls of the denoiser."""

    def __init__(self, progress: Progress, calls: Calls):
        self._progress, self._calls, self._before = progress, calls, calls.forward

    def advance(self, n: int = 1, **numbers: float | int) -> None:
        self._progress.advance(self._calls.forward - self._before, **numbers)
        self._before = self._calls.forward


def nodes_of(sampler: str, steps: int) -> int:
    """Predictions of a walk: one a step, and by Heun's method two at each but the last."""
    return 2 * steps - 1 if sampler == "heun" else steps


@contextmanager
def _asking(model: LatentDiffusion) -> Iterator[None]:
    """Gradients off and the model frozen; neither may stay in force while a caller holds the batch."""
    with torch.no_grad(), model.frozen():
        yield
