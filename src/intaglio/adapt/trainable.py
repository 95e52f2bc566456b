"""The weights that a method trains in a copy of a model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from intaglio.adapt.bayesian import chosen
from intaglio.adapt.settings import BayesianTraining
from intaglio.learning.trainer import Weights
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import LoRA


@dataclass(frozen=True, eq=False)
class Trainable:
    """The leaf tensors that a method trains, and the adapter that holds them, if any."""

    weights: Weights
    """Float32 leaf tensors by name."""
    scales: Mapping[str, float]
    """Those weights that the Bayesian form may make random, each with the factor of its sigma and prior_sigma."""
    adapter: LoRA | None = None
    """Acts beside the model's own weights; None where these are trained."""
    warnings: tuple[str, ...] = ()
    """Sentences for the user on the weights."""

    def random_scales(self, settings: BayesianTraining) -> dict[str, float]:
        """The weights that `settings` make random, each with its scale; empty for the plain form.

        Raises `BadInput` for a name among `random_targets` that no such weight has in its path.
        """
        if not settings.bayesian:
            return {}
        return {name: self.scales[name] for name in chosen(list(self.scales), settings.random_targets)}

    @contextmanager
    def attached(self, model: LatentDiffusion) -> Iterator[None]:
        """While the block runs, `model` computes with the trained weights, an adapter's too."""
        if self.adapter is None:
            yield
            return
        with self.adapter.attached(model):
            yield
