"""Walks of several candidates a picture, side by side by one sampler; those that are dropped are predicted no more."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import unit_noise
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.sampling_batch import SamplingBatch, refuse_non_finite
from intaglio.sampling.start import latent_shape
from intaglio.sampling.step import clean_estimate
from intaglio.sampling.verifier import Verifier

AT_ONCE = 8
"""Latents that are decoded at once."""

Scores = Float[Tensor, "n k"]
"""Of each picture's candidates, float64; NaN for those that were not judged, or that the verifier has no answer to."""
Alive = Bool[Tensor, "n k"]
Drop = Callable[[NoiseLevel, Scores, Alive], Alive]
"""(level, scores, candidates that are alive) to those that go on."""


class CandidateWalks:
    """The k candidates of each of n pictures of a batch, under classifier-free guidance.

    Args:
        batch: the pictures.
        sources: the noise of each candidate, n times k.
        verifier: scores clean estimates.
    """

    def __init__(self, batch: SamplingBatch, sources: Sequence[Sequence[torch.Generator]], verifier: Verifier):
        self._batch, self._verifier = batch, verifier
        self._sources = [source for own in sources for source in own]
        self._count = len(sources[0])
        self._guide = ClassifierFree(batch.context.scale)
        self.alive: Alive = torch.ones(len(sources), self._count, dtype=torch.bool)
        self.predictions = 0
        """Of a candidate that is never dropped."""

    def clean(self, judged: Collection[NoiseLevel], drop: Drop) -> Float[Tensor, "n k c h w"]:
        """Clean latents by the batch's sampler; meaningless where a candidate is not alive at the end.

        At each level of `judged` the clean estimates are scored, of pictures with more than one candidate, and `drop`
        says which go on.
        """
        batch, at_node = self._batch, False

        def visit(x: Tensor, level: NoiseLevel) -> Tensor:
            nonlocal at_node
            at_node = True  # a second prediction at a level is a trial point's, and is not judged
            return x

        def noise_at(x: Tensor, level: NoiseLevel) -> Tensor:
            nonlocal at_node
            noise = self._predicted(x, level)
            if at_node:
                batch.progress.advance(len(batch.seeds))
                if level in judged:
                    scores = self.scores(clean_estimate(x, noise, level))
                    self.alive &= drop(level, scores, self.alive)
            at_node = False
            return noise

        def draw() -> Tensor:
            return unit_noise(latent_shape(batch.context), self._sources).double()

        rows = [row for row in batch.rows for _ in range(self._count)]
        first = batch.start(batch.context, batch.grid[0], rows, self._sources)
        return batch.sampler(noise_at, first, batch.grid, draw, visit).unflatten(0, self.alive.shape)

    def scores(self, latents: Float[Tensor, "r c h w"]) -> Scores:
        """Scores of decoded latents of all candidates; those of pictures with one candidate alive are left out."""
        context = self._batch.context
        asked = self.alive & (self.alive.sum(1, keepdim=True) > 1)
        rows = asked.flatten().nonzero()[:, 0]
        found = torch.full(self.alive.shape, torch.nan, dtype=torch.float64)
        if not len(rows):
            return found
        parts = latents[rows].float().to(context.model.device).split(AT_ONCE)
        pixels = torch.cat([context.decode(part, spare_failed=True) for part in parts])
        context.calls.verifications += len(rows)
        context.calls.forward += self._verifier.calls * len(rows)
        found[asked] = self._verifier(pixels, self._prompts(rows)).double()
        return found.masked_fill(~found.isfinite(), torch.nan)

    def _predicted(self, x: Tensor, level: NoiseLevel) -> Tensor:
        """The guided noise, 0 for candidates that are not alive; one without a finite prediction is so from then on."""
        batch, rows = self._batch, self.alive.flatten().nonzero()[:, 0]
        noise, device = torch.zeros_like(x), batch.context.model.device
        self.predictions += 1
        if not len(rows):
            return noise
        t = level.batch(len(rows), device)
        given = self._guide.init(self._context(rows))
        noise[rows] = self._guide.step(given, x[rows].float().to(device), t, batch.predict)[1].cpu().double()
        bad = ~noise.flatten(1).isfinite().all(1)
        self.alive &= ~bad.view(self.alive.shape)
        lost = ~self.alive.any(1)
        if bool(lost.any()) and not batch.spare_failed:
            refuse_non_finite(int(lost.nonzero()[0]), batch, level)
        return noise.masked_fill(bad.view(-1, 1, 1, 1), 0.0)

    def _context(self, rows: Tensor) -> Any:
        """The batch's context with a row for each of these candidates."""
        context, pictures = self._batch.context, rows // self._count
        positive, negative = context.positive[pictures], context.negative[pictures]
        return replace(context, prompts=self._prompts(rows), positive=positive, negative=negative)

    def _prompts(self, rows: Tensor) -> tuple[str, ...]:
        return tuple(self._batch.context.prompts[int(row)] for row in rows // self._count)
