"""The greedy soup's choice: models that lower the held-out loss of the mean, the best one first."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from intaglio.denoising.picture_samples import PictureSamples
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.progress import Progress
from intaglio.runs.run import Run
from intaglio.shrink.merging.mean_weights import mean_rule
from intaglio.shrink.merging.weight_places import weights_of

RECORDS = "soup-losses"
"""Kind of the run's records that has the losses."""


@dataclass(frozen=True)
class GreedyChoice:
    """The models that were taken, and the mean losses by which."""

    taken: tuple[int, ...]
    """Places of the models, in the order in which they were added."""
    alone: tuple[float, ...]
    """Loss of each model."""
    together: tuple[float | None, ...]
    """Loss of the mean of those before it and it, by its place; None for the first one."""


def greedy_choice(models: Sequence[LatentDiffusion], judged: PictureSamples, batch: int, run: Run) -> GreedyChoice:
    """Adds models in the order of their own losses, each where it lowers the loss of the mean strictly.

    Every loss is a record of the run, so that a resumed one computes none again. Equal losses are ordered by
    fingerprint.
    """
    found = {key: float(row["loss"]) for key, row in run.recorded(RECORDS).items()}
    with run.progress(2 * len(models) - 1, "soups judged", len(found)) as progress:
        losses = _Losses(models, judged, batch, run, found, progress)
        alone = [losses.of((k,)) for k in range(len(models))]
        order = sorted(range(len(models)), key=lambda k: (alone[k], models[k].fingerprint))
        taken, best, together = [order[0]], alone[order[0]], dict[int, float]()
        for k in order[1:]:
            together[k] = losses.of((*taken, k))
            if together[k] < best:
                taken, best = [*taken, k], together[k]
    return GreedyChoice(tuple(taken), tuple(alone), tuple(together.get(k) for k in range(len(models))))


@dataclass(frozen=True, eq=False)
class _Losses:
    """Losses of means of models by their places, each computed once."""

    models: Sequence[LatentDiffusion]
    judged: PictureSamples
    batch: int
    run: Run
    found: dict[str, float]
    """Losses by the models' places in the list, in rising order."""
    progress: Progress

    def of(self, chosen: tuple[int, ...]) -> float:
        key = " ".join(map(str, sorted(chosen)))
        if key not in self.found:
            model = self.models[chosen[0]] if len(chosen) == 1 else self._mean(chosen)
            self.found[key] = float(self.judged.errors(model, self.batch).double().mean())
            self.run.record(RECORDS, key, {"loss": self.found[key]})
            self.progress.advance(loss=self.found[key])
        return self.found[key]

    @torch.no_grad()
    def _mean(self, chosen: tuple[int, ...]) -> LatentDiffusion:
        mean, rule = self.models[0].copy(), mean_rule(sorted(chosen))
        given = [weights_of(model) for model in self.models]
        for place, weight in weights_of(mean).items():
            weight.copy_(rule(place, [weights[place].to(weight.device).double() for weights in given]))
        return mean
