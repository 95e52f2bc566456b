"""`BestNoise`: a picture from the best noise that a search finds within a budget of calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingMethod, SamplingRequest
from intaglio.sampling.grid import level_at
from intaglio.sampling.loop import sample_batches
from intaglio.sampling.sampler_names import STOCHASTIC
from intaglio.sampling.sampling_batch import NOT_FINITE
from intaglio.sampling.search.noise_search import Candidates, FoundNoise, NoisePath, NoiseSearch
from intaglio.sampling.start import GivenLatents, NoiseStart, UnitNoise
from intaglio.sampling.verifier import Verifier


@dataclass(frozen=True, eq=False)
class BestNoise:
    """Pictures by a method, each from the best noise of a search within a budget."""

    search: NoiseSearch
    verifier: Verifier
    budget: int
    """Calls of the denoiser for a picture, those of the verifier included; a gradient counts as two."""

    def check(self, request: SamplingRequest, method: SamplingMethod, sampler: str) -> None:
        """Raises `BadInput` for what cannot be drawn, or not from noise alone, and for a budget of no picture."""
        method.check(request)
        if method.draws_noise:
            raise BadInput(
                f"{method.name} draws further noise, so that no noise to begin with has a score; search with "
                "plain, or another method without particles"
            )
        if sampler in STOCHASTIC and not method.own_sampler:
            raise BadInput(
                f"{sampler} draws noise at each step, so that no noise to begin with has a score; search with ddim, "
                "euler, heun or dpm++2m"
            )
        if self.candidates(request, method) < 1:
            raise BadInput(
                f"--budget {self.budget} is less than one picture and its score take, {self.cost(request, method)} "
                "calls; raise it, or take fewer --steps"
            )

    def cost(self, request: SamplingRequest, method: SamplingMethod) -> int:
        """Calls of one candidate: of its picture, and of its score."""
        return method.planned(request).cost + self.verifier.calls

    def candidates(self, request: SamplingRequest, method: SamplingMethod) -> int:
        """Candidates of a picture within the budget."""
        return self.budget // self.cost(request, method)

    def planned(self, request: SamplingRequest, method: SamplingMethod) -> Calls:
        """Calls of networks for one picture, beside the one decoding of it."""
        count = self.candidates(request, method)
        judging = Calls(forward=count * self.verifier.calls, decodes=count - 1, verifications=count)
        return method.planned(request).times(count) + judging

    def __call__(
        self,
        model: LatentDiffusion,
        prompt: str,
        seed: int,
        *,
        count: int,
        start: NoiseStart | None = None,
        batch: int = 8,
        calls: Calls | None = None,
        advance: Callable[[int], object] = lambda candidates: None,
        **options: Any,
    ) -> FoundNoise:
        """The best of `count` candidates of one picture.

        Args:
            model: left as it was found.
            prompt: of the picture.
            seed: of the picture; its own noise is the first candidate.
            count: as `candidates` gives it.
            start: turns unit noise into the first latents.
            batch: candidates drawn at once, 1 or more.
            calls: counts what networks are asked.
            advance: told of the candidates that are drawn.
            options: of `sample_batches`.

        Raises:
            IntaglioError: where every candidate turned into NaN or infinity.
        """
        counted, start = Calls() if calls is None else calls, start or UnitNoise()

        def drawn(paths: Sequence[NoisePath]) -> Tensor:
            rows = len(paths)
            chosen = chosen_start(self.search, model, [(seed, path) for path in paths], start)
            given: dict[str, Any] = {**options, "start": chosen, "batch": rows, "calls": counted, "spare_failed": True}
            (pixels,) = sample_batches(model, [prompt] * rows, [seed] * rows, **given)
            counted.forward += rows * self.verifier.calls
            counted.decodes += rows
            counted.verifications += rows
            advance(rows)
            return pixels

        candidates = Candidates(drawn, self.verifier, prompt, count, batch)
        with torch.no_grad(), model.frozen():
            self.search.seek(candidates)
        counted.decodes -= 1  # that of the finished picture is not counted
        if not (found := candidates.found).pixels.isfinite().all():
            raise IntaglioError(
                f"every candidate of the picture of seed {seed} ({prompt!r}) turned into NaN or infinity; {NOT_FINITE}"
            )
        return found


def chosen_start(
    search: NoiseSearch, model: LatentDiffusion, names: Sequence[tuple[int, NoisePath]], start: NoiseStart
) -> GivenLatents:
    """The start of pictures from the noises that seeds and paths name, by a search and a start of unit noise."""
    side = model.resolution // model.factor
    shape = (start.noises * model.latent_channels, side, side)
    noise = torch.stack([search.noise(seed, path, shape) for seed, path in names])
    last = model.schedule.count - 1 if start.first is None else start.first
    return GivenLatents(start.from_noise(noise, level_at(model.schedule, last)), start.first)
