"""Search over paths: partly denoised latents are raised to more noise and denoised again, and the best go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion, unit_noise
from intaglio.randomness import generator
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.grid import NoiseLevel
from intaglio.sampling.guide import GuideContext
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.particles import of_slots
from intaglio.sampling.sampling_batch import SamplingBatch, refuse_non_finite
from intaglio.sampling.search.noise_search import noise_source
from intaglio.sampling.start import latent_shape
from intaglio.sampling.step import clean_estimate, ddim_step
from intaglio.sampling.verifier import Verifier
from intaglio.sampling.verifier_names import verifier_of

States = Float[Tensor, "n k c h w"]


@dataclass(frozen=True, kw_only=True)
class SearchOverPaths(SamplingMethod):
    """Search over paths: of latents that are raised to more noise and denoised again, the best go on.

    N latents of a picture are denoised by DDIM to the first node below noise over signal `begin_below`. From there on,
    round by round, each is copied M times, the copies are raised `up` nodes of the grid by fresh noise and denoised
    `down` nodes, and of all N·M the N go on whose decoded clean estimates a verifier scores highest. Of those that come
    to the end the best is the picture. Raised latents follow the law of that noise level, so that without a choice the
    pictures are the model's own; what is chosen wins score at the cost of diversity, and where the verifier can be
    deceived, of realism.

    A round costs `down` calls a copy, two under guidance, and a decoding and a judgement of each. A copy without a
    finite score comes after all others.

    Source: arXiv 2501.09732; that noise is raised by nodes of the grid is this version's.
    """

    paths: int = 3
    """Latents N that go on from each round, 1 to 256."""
    branches: int = 3
    """Copies M of each, 1 to 256."""
    up: int = 1
    """Nodes of the grid that a copy is raised, 1 or more."""
    down: int = 4
    """Nodes that it is denoised after that, more than `up`."""
    begin_below: float = 3.0
    """Noise over signal, above 0, below which the search begins; at more noise clean estimates are blurs."""
    verifier: str = "jpeg"
    """What scores pictures: jpeg, colour:NAME, ink, like:FOLDER, denoiser, attributes, attributes:0, attributes:1 or
    scene."""

    own_sampler = True
    draws_noise = True
    bench: ClassVar[Sequence[Mapping[str, Any]]] = ({"paths": 1, "branches": 2}, {"paths": 2, "branches": 2})

    def __post_init__(self) -> None:
        for name in ("paths", "branches"):
            if not 1 <= getattr(self, name) <= 256:
                raise ValueError(f"{name} must be 1 to 256, not {getattr(self, name)}")
        if not 1 <= self.up < self.down:
            raise ValueError(f"up must be 1 or more, and below down, not {self.up} and {self.down}")
        if not 0 < self.begin_below < float("inf"):
            raise ValueError(f"begin_below must be above 0, and finite, not {self.begin_below}")

    def judge(self, model: LatentDiffusion, prompts: Sequence[str] = ()) -> Verifier:
        """The verifier. Raises `BadInput` for one that there is not, and for prompts that it cannot judge."""
        return verifier_of(self.verifier, model, prompts)

    def check(self, request: SamplingRequest) -> None:
        """Raises `BadInput` for a verifier that there is not, and where the search would never begin."""
        super().check(request)
        self.judge(request.model, request.prompts)
        if self._begin(request.grid) is None:
            raise BadInput(
                f"path-search would search nothing: of {request.steps} steps none begins below noise over signal "
                f"{self.begin_below:g} and after {self.up} others; take more --steps, or a higher --begin-below"
            )

    def planned(self, request: SamplingRequest) -> Calls:
        """N walks to where the search begins, and N·M walks of each round, with their judgements."""
        begin, rounds = self._begin(request.grid) or 0, self._rounds(request.grid)
        copies, judge = self.paths * self.branches, self.judge(request.model)
        nodes = self.paths * begin + copies * sum(last - first for first, last in rounds)
        judged = copies * len(rounds)
        forward = nodes * (1 if request.scale == 1 else 2) + judge.calls * judged
        return Calls(forward=forward, decodes=judged, verifications=judged)

    def latents(self, batch: SamplingBatch) -> Float[Tensor, "n c h w"]:
        """By rounds; the source of noise of a round's copy k is that of (seed, "path", round, k)."""
        walk, judge, n = _Walk(batch), self.judge(batch.context.model), len(batch.seeds)
        begin, copies = self._begin(batch.grid) or 0, self.paths * self.branches
        sources = [noise_source(seed, k) for seed in batch.seeds for k in range(self.paths)]
        rows = [row for row in batch.rows for _ in range(self.paths)]
        x = batch.start(batch.context, batch.grid[0], rows, sources).double().unflatten(0, (n, self.paths))
        x, _ = walk.denoised(x, 0, begin)
        scores = torch.zeros(n, self.paths, dtype=torch.float64)
        unscored = torch.zeros(n, dtype=torch.long)
        for number, (first, last) in enumerate(self._rounds(batch.grid)):
            parents = x.repeat_interleave(self.branches, 1)
            noise = _fresh(batch, number, copies).unflatten(0, (n, copies))
            raised = renoised(parents, noise, batch.grid[first + self.up], batch.grid[first])
            found, clean = walk.denoised(raised, first, last)
            judged, lost = walk.scored(judge, clean)
            unscored += lost.sum(1)
            best = judged.argsort(dim=1, descending=True, stable=True)[:, : self.paths]
            x, scores = of_slots(found, best), judged.gather(1, best)
        batch.told(_Trace(scores[:, 0], unscored))
        return x[:, 0].masked_fill(walk.failed.view(-1, 1, 1, 1), torch.nan).float().to(batch.context.model.device)

    def reading_of(self, traces: Sequence["_Trace"]) -> str:
        """The verifier's scores of the pictures, and copies without one."""
        scores = torch.cat([trace.scores for trace in traces])
        lost = int(sum(trace.unscored.sum() for trace in traces))
        words = f"{self.verifier} scores the pictures {float(scores.mean()):.4g} on average"
        return f"{words}; {lost:,} copies had no score, and came last" if lost else words

    def _begin(self, grid: Sequence[NoiseLevel]) -> int | None:
        """The node at which the search begins; None where there is none."""
        return next((k for k in range(self.up, len(grid) - 1) if grid[k].ratio < self.begin_below), None)

    def _rounds(self, grid: Sequence[NoiseLevel]) -> list[tuple[int, int]]:
        """Nodes at which the copies of each round begin and end."""
        found, at = list[tuple[int, int]](), self._begin(grid)
        while at is not None and at < len(grid) - 1:
            found.append((at - self.up, min(at - self.up + self.down, len(grid) - 1)))
            at = found[-1][1]
        return found


def renoised(x: States, noise: States, now: NoiseLevel, then: NoiseLevel) -> States:
    """Latents of the level `then`, of more noise, from those of the level `now`, by fresh unit noise."""
    return then.signal * (x / now.signal + (then.ratio**2 - now.ratio**2) ** 0.5 * noise)


@dataclass(frozen=True, eq=False)
class _Trace:
    """Record of a batch."""

    scores: Float[Tensor, "n"]
    """Of the pictures; -inf for one without."""
    unscored: Int[Tensor, "n"]
    """Copies of each picture that had no finite score, over all rounds."""


class _Walk:
    """Walks of DDIM of several latents a picture, along the grid of a batch."""

    def __init__(self, batch: SamplingBatch):
        self._batch, self._guide = batch, ClassifierFree(batch.context.scale)
        self._wide, self._given = dict[int, GuideContext](), dict[int, Any]()
        self._shown = 0
        self.failed = torch.zeros(len(batch.seeds), dtype=torch.bool)
        """For each picture whether it turned into NaN or infinity."""

    def denoised(self, x: States, first: int, last: int) -> tuple[States, States]:
        """The latents at node `last` from those at node `first`, and their clean estimates before the last step."""
        grid, clean = self._batch.grid, x
        for now, then in zip(grid[first:last], grid[first + 1 : last + 1], strict=True):
            noise = self._predicted(x, now)
            clean, x = clean_estimate(x, noise, now), ddim_step(x, noise, now, then)
            self._refuse_failed(x, now)
        ahead = max(0, last - self._shown)
        self._shown += ahead
        for _ in range(ahead):
            self._batch.progress.advance(len(x))
        return x, clean

    def scored(self, judge: Verifier, clean: States) -> tuple[Float[Tensor, "n k"], Bool[Tensor, "n k"]]:
        """Scores of clean estimates, -inf for those without one, and which these are."""
        n, count = clean.shape[:2]
        wide = self._context(count)
        pixels = wide.decode(clean.flatten(0, 1).float().to(wide.model.device), spare_failed=True)
        wide.calls.verifications += n * count
        wide.calls.forward += judge.calls * n * count
        scores = judge(pixels, wide.prompts).double().view(n, count).cpu()
        lost = ~scores.isfinite()
        return scores.masked_fill(lost, -torch.inf), lost

    def _predicted(self, x: States, level: NoiseLevel) -> States:
        n, count = x.shape[:2]
        wide = self._context(count)
        if count not in self._given:
            self._given[count] = self._guide.init(wide)
        rows = x.flatten(0, 1).float().to(wide.model.device)
        t = level.batch(len(rows), rows.device)
        noise = self._guide.step(self._given[count], rows, t, self._batch.predict)[1]
        return noise.cpu().double().unflatten(0, (n, count))

    def _context(self, count: int) -> GuideContext:
        """The batch with a row for each latents."""
        if count not in self._wide:
            context = self._batch.context
            index = [row for row in range(len(context.prompts)) for _ in range(count)]
            prompts = tuple(context.prompts[row] for row in index)
            given = {"positive": context.positive[index], "negative": context.negative[index]}
            self._wide[count] = replace(context, prompts=prompts, **given)
        return self._wide[count]

    def _refuse_failed(self, x: States, level: NoiseLevel) -> None:
        bad = ~x.isfinite().flatten(1).all(1)
        if bad.any() and not self._batch.spare_failed:
            refuse_non_finite(int(bad.nonzero()[0]), self._batch, level)
        self.failed |= bad
        x.masked_fill_(self.failed.view(-1, 1, 1, 1, 1), 0.0)


def _fresh(batch: SamplingBatch, number: int, copies: int) -> Float[Tensor, "rows c h w"]:
    """Fresh unit noise of a round, float64, the copies of a picture side by side."""
    sources = [generator(seed, "path", number, k) for seed in batch.seeds for k in range(copies)]
    return unit_noise(latent_shape(batch.context), sources).double()
