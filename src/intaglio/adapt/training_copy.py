"""The copy of a model that a fine-tune trains: only what it changes is copied, all else is the base's."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from torch import nn

from intaglio.models.diffusion.aside import Aside
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.shared_networks import with_frozen_weights


@dataclass(frozen=True, eq=False)
class TrainingCopy:
    """A model to train, beside its base."""

    model: LatentDiffusion
    """Full tuning has a denoiser of its own in it, an adapter one whose frozen weights are the base's own tensors; so
    have text encoders that are trained along. Those that are not are the base's."""
    base: LatentDiffusion
    aside: Aside
    """The networks that the training does not call: autoencoder, untrained text encoders, and the base's denoiser where
    another one is trained."""
    stored: nn.Module | None = None
    """The denoiser that the base's was packed from, while it is in memory."""

    @property
    def lent(self) -> list[nn.Module]:
        """Denoiser and text encoders, those of them whose weights are the base's own."""
        theirs = [_place(network) for network in (self.base.denoiser, *self.base.text_encoders)]
        return [one for one in (self.model.denoiser, *self.model.text_encoders) if _place(one) in theirs]

    def own(self) -> LatentDiffusion:
        """The trained model by itself, in which nothing but the autoencoder is the base's any more."""
        lent = self.lent
        denoiser, *encoders = (
            copy.deepcopy(one) if one in lent else one for one in (self.model.denoiser, *self.model.text_encoders)
        )
        found = self.base.made_for(self.base.sampling, denoiser, self.base.name)
        found.text_encoders, found.source = tuple(encoders), self.base.source
        return found


@contextmanager
def copied_for_training(
    base: LatentDiffusion, gives: Literal["model", "adapter"], *, text_encoder: bool, stored: nn.Module | None = None
) -> Iterator[TrainingCopy]:
    """The copy, for the length of the block; the base is as it was found after it.

    Args:
        base: the model to tune.
        gives: what is trained, all weights or an adapter beside them.
        text_encoder: whether the text encoders are trained along.
        stored: the denoiser that the base's was packed from, which waits too.
    """
    copied = copy.deepcopy if gives == "model" else with_frozen_weights
    model = base.made_for(base.sampling, copied(base.denoiser), base.name)
    waiting = [base.autoencoder, *([base.denoiser] if gives == "model" else [])]
    waiting += [] if stored is None else [stored]
    if text_encoder:
        model.text_encoders = tuple(copied(encoder).to(base.device) for encoder in base.text_encoders)
    else:
        waiting += base.text_encoders
    aside = Aside(waiting, base.device, found=base.aside.gone)
    model.aside = aside
    flags = [(weight, weight.requires_grad) for part in base.parts.values() for weight in part.parameters()]
    try:
        yield TrainingCopy(model, base, aside, stored)
    finally:
        for weight, learns in flags:
            weight.requires_grad_(learns)


def _place(network: nn.Module) -> int:
    """The place in memory of the first of a network's weights."""
    return next(network.parameters()).data_ptr()
