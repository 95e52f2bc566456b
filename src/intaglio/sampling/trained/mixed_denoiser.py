"""`MixedDenoiser`: the output of a fixed denoiser mixed with that of a learnt one beside it, and how that is stored."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.sampling.trained_part import TrainedPart

PREFIX = "delta/"
"""The beginning of the names of a learnt denoiser's weights in a part."""


class MixedDenoiser(nn.Module):
    """A denoiser whose output is `(1 - share)` times that of a fixed one, and `share` times that of a learnt one.

    Gradients go to the learnt one alone. It stands in the place of a model's denoiser, whose config it has.
    """

    def __init__(self, fixed: nn.Module, learnt: nn.Module, share: float):
        """`share` is in [0, 1]."""
        super().__init__()
        self.fixed, self.learnt, self.share = fixed, learnt, share

    @property
    def config(self) -> Any:
        """The config of the fixed denoiser."""
        return self.fixed.config

    def forward(self, *given: Any, **named: Any) -> tuple[Tensor]:
        """The mixed output; both denoisers are given the same inputs."""
        with torch.no_grad():
            still = self.fixed(*given, **named)[0]
        return ((1 - self.share) * still + self.share * self.learnt(*given, **named)[0],)


def stored_weights(denoiser: nn.Module) -> dict[str, Tensor]:
    """The weights of a learnt denoiser as tensors of a part."""
    return {f"{PREFIX}{name}": weight for name, weight in denoiser.state_dict().items()}


def learnt_model(model: LatentDiffusion, part: TrainedPart) -> LatentDiffusion:
    """The model with the learnt denoiser of a part in the place of its own; all other components are shared.

    Raises `BadInput` for a part without the weights of such a denoiser.
    """
    learnt = copy.deepcopy(model.denoiser)
    weights = {name.removeprefix(PREFIX): value for name, value in part.tensors.items() if name.startswith(PREFIX)}
    try:
        learnt.load_state_dict(weights)
    except RuntimeError as error:
        raise BadInput(f"the trained part of {part.trainer} is no denoiser of {model.name}; train it again") from error
    learnt.requires_grad_(False).eval()
    return model.made_for(model.sampling, learnt, f"{model.name}-{part.trainer}")
