"""Merging by an elected sign: of trimmed updates, the mean of those whose sign has the greater mass (TIES)."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.merged_weights import merged_weights
from intaglio.shrink.merging.trimming import Cut, cut_of
from intaglio.shrink.merging.weight_places import Place, weights_of

Thin = Callable[[int, Place, Tensor], Tensor]
"""From a model's place in the list, a weight's place and an update, float32, to the update with numbers dropped."""
RECORDS = "signs"
"""Kind of the run's records that has the thresholds and the majority."""


def merged_by_sign(
    models: Sequence[LatentDiffusion],
    base: LatentDiffusion,
    density: float,
    scale: float,
    run: Run,
    thin: Thin = lambda k, place, update: update,
) -> LatentDiffusion:
    """theta_b + scale times the mean, at each weight, of the trimmed updates that have the elected sign.

    Args:
        models: fine-tunes of the base.
        base: their base.
        density: share of each model's updates that is kept, those of greatest magnitude of the whole model, in (0, 1].
        scale: of the mean.
        run: keeps thresholds, the majority and what is merged.
        thin: drops numbers of an update before the trimming.
    """
    cuts, majority = _elections(models, base, density, run, thin)

    def rule(place: Place, each: list[Tensor]) -> Tensor:
        *weights, start = each
        updates = [thin(k, place, _update(weight, start)) for k, weight in enumerate(weights)]
        kept = [u * cut.kept(place, u) for u, cut in zip(updates, cuts, strict=True)]
        return start + scale * agreeing_mean(torch.stack(kept).double(), majority)

    return merged_weights([*models, base], rule, run)


def agreeing_mean(updates: Float[Tensor, "k *shape"], majority: int) -> Float[Tensor, "*shape"]:
    """The mean over the models, at each weight, of the updates with the sign of their sum; 0 where none has it.

    A sum of 0 takes the sign of the majority, -1 or 1; where there is none, 0, the base's weight stays.
    """
    total = updates.sum(0)
    elected = torch.where(total == 0, float(majority), total.sign())
    agree = (updates.sign() == elected) & (updates != 0)
    return (updates * agree).sum(0) / agree.sum(0).clamp(min=1)


def _elections(
    models: Sequence[LatentDiffusion], base: LatentDiffusion, density: float, run: Run, thin: Thin
) -> tuple[list[Cut], int]:
    """The cut of each model, and the sign that most sums of trimmed updates have over all weights."""
    known, cuts = run.recorded(RECORDS), list[Cut]()
    with run.progress(len(models) + 1, "signs elected", len(known)) as progress:
        for k, model in enumerate(models):
            if (found := known.get(f"cut {k}")) is None:
                found = cut_of(lambda k=k, model=model: _updates(k, model, base, thin), density).facts
                run.record(RECORDS, f"cut {k}", found)
                progress.advance()
            cuts.append(Cut(int(found["bits"]), dict(found["equal"])))
        if (sign := known.get("majority")) is None:
            sign = {"sign": _majority(models, base, cuts, thin)}
            run.record(RECORDS, "majority", sign)
            progress.advance()
    return cuts, int(sign["sign"])


def _majority(models: Sequence[LatentDiffusion], base: LatentDiffusion, cuts: Sequence[Cut], thin: Thin) -> int:
    signs = 0
    for every in zip(*(_updates(k, model, base, thin) for k, model in enumerate(models)), strict=True):
        kept = [update.double() * cut.kept(place, update) for (place, update), cut in zip(every, cuts, strict=True)]
        signs += int(torch.stack(kept).sum(0).sign().sum())
    return (signs > 0) - (signs < 0)


@torch.no_grad()
def _updates(k: int, model: LatentDiffusion, base: LatentDiffusion, thin: Thin) -> Iterator[tuple[Place, Tensor]]:
    start = weights_of(base)
    for place, weight in weights_of(model).items():
        yield place, thin(k, place, _update(weight.double(), start[place].to(weight.device).double()))


def _update(weight: Tensor, base: Tensor) -> Tensor:
    """The update since the base, float32, by whose bits magnitudes are ordered."""
    return (weight - base).float()
