"""The weights of a merged model, computed group by group, each kept by the run as soon as it is there."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.run import Run
from intaglio.shrink.merging.weight_places import Place, groups_of, weights_of

Rule = Callable[[Place, list[Tensor]], Tensor]
"""From a place and the weights there of every model that was given, float64, to the merged weight."""


@torch.no_grad()
def merged_weights(given: Sequence[LatentDiffusion], rule: Rule, run: Run) -> LatentDiffusion:
    """A copy of the first model with merged weights in denoiser and text encoders, in the first one's precision.

    One tensor at a time is held in float64. Raises `IntaglioError` for a merged weight that is not finite.
    """
    merged = given[0].copy()
    into, groups = weights_of(merged), groups_of(merged)
    every = [weights_of(model) for model in given]
    left = []
    for name in groups:
        if (saved := run.load_state(_state(name))) is None:
            left.append(name)
            continue
        for place in groups[name]:
            into[place].copy_(saved[0][str(place)])
    with run.progress(len(groups), "blocks merged", len(groups) - len(left)) as progress:
        for name in left:
            for place in groups[name]:
                each = [weights[place].to(into[place].device).double() for weights in every]
                into[place].copy_(rule(place, each))
                _check_finite(place, into[place])
            run.save_state(_state(name), {str(place): into[place].cpu() for place in groups[name]}, {})
            progress.advance()
    return merged


def drop_states(model: LatentDiffusion, run: Run) -> None:
    """Deletes what a run kept of the groups, which is of no use once the model is stored."""
    for name in groups_of(model):
        run.drop_state(_state(name))


def _state(group: str) -> str:
    return f"merged-{group}"


def _check_finite(place: Place, weight: Tensor) -> None:
    if not bool(torch.isfinite(weight).all()):
        precision = str(weight.dtype).removeprefix("torch.")
        raise IntaglioError(f"the merged weight {place} is beyond {precision}; give a smaller scale")
