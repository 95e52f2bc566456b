"""LoRA: the weights stay, and low-rank updates beside them learn a subject; the result is a file of megabytes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from intaglio.adapt.bayesian import chosen
from intaglio.adapt.cost import Plan, make_plan
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.grids import draw_samples
from intaglio.adapt.memory_advice import memory_advice
from intaglio.adapt.settings import UNWATCHED, BayesianTraining, Watch
from intaglio.adapt.training import fine_tune
from intaglio.adapt.tuned import FineTuned
from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import DENOISER_TARGETS, TEXT_TARGETS, LoRA
from intaglio.randomness import generator_32bit
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class LoRATuning(BayesianTraining):
    """LoRA: train low-rank updates of the attention projections on a few pictures; the base's weights stay.

    Each target's weight W [out, in] acts as W + alpha / rank * up @ down, where down [rank, in] starts random and up
    [out, rank] at zero, so that training begins at the base itself. Loss and class pictures are DreamBooth's.
    Ranks of 4 to 32 and rates of 1e-4 to 5e-4 are usual for Stable Diffusion.

    With `bayesian` every up is random while it learns, those of convolutions too, which are linear maps of the rank's
    features as any other; down is not, so that the product stays Gaussian given it. The published sigma is meant for a
    down of deviation 1 / rank, and Kaiming's is smaller: sigma is scaled up by what it lacks, a layer at a time, so
    that the noise in up @ down is the published, sigma / sqrt(rank).

    Source: arXiv 2106.09685; of the random weights arXiv 2405.19931.
    """

    gives: ClassVar[Literal["model", "adapter"]] = "adapter"

    learning_rate: float = 1e-4
    """Of AdamW, at its highest."""
    rank: int = 4
    """Columns of each update; its parameters grow with it."""
    alpha: float | None = None
    """The update is multiplied by alpha / rank; None takes the rank, which multiplies by 1."""
    down: Literal["kaiming", "gaussian"] = "kaiming"
    """How down starts: uniform in +-1 / sqrt(in), as adapters mostly do, or N(0, 1 / rank^2), as in the Bayesian paper;
    the second is larger, and makes a step of the same rate longer."""
    targets: tuple[str, ...] = DENOISER_TARGETS
    """Endings of the paths of the linear layers and convolutions that learn."""
    random_targets: tuple[str, ...] = ("up",)
    """Which ups are random: those whose path holds one of these, between dots; `up` takes all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, not {self.rank}")
        if self.alpha is not None and not self.alpha > 0:
            raise ValueError(f"alpha must be above 0, or None for the rank: {self.alpha}")
        if not self.targets:
            raise ValueError("targets must name at least one ending, such as to_q")

    def __call__(
        self, model: LatentDiffusion, data: TrainingSet, *, run: Run = Run.none(), watch: Watch = UNWATCHED
    ) -> FineTuned:
        """Tune an adapter on a copy of `model`, which itself is left as found."""
        with memory_advice(self, self.step_size(data.class_images is not None)):
            tuned = model.copy()
            adapter = self._adapter(tuned)
            attached = adapter.attach(tuned)
            trained = fine_tune(tuned, _weights(adapter), data, self, run, watch, self._random(adapter))
            samples = draw_samples(tuned, data, self.seed, watch)
        attached.detach()
        # Merged, since hooks are no weights: the fingerprint would be the base's, and an audit find nothing.
        adapter.merged_into(tuned)
        return FineTuned(tuned, adapter, trained, self, data, model.name, model.fingerprint, samples)

    def plan(self, model: LatentDiffusion, data: TrainingSet) -> Plan:
        """What the call will take, measured on a throw-away copy."""
        with memory_advice(self, self.step_size(data.class_images is not None)):
            probe = model.copy()
            adapter = self._adapter(probe)
            adapter.attach(probe)
            return make_plan(probe, _weights(adapter), data, self, self._random(adapter))

    def _adapter(self, model: LatentDiffusion) -> LoRA:
        targets = (*self.targets, *TEXT_TARGETS) if self.text_encoder else self.targets
        alpha = float(self.rank if self.alpha is None else self.alpha)
        try:
            adapter = LoRA.new(model, self.rank, alpha, targets, generator_32bit(self.seed, "adapter"))
        except ValueError as error:
            raise BadInput(f"{model.name} does not have the targets {', '.join(targets)}: {error}.") from error
        if self.down == "gaussian":
            _redraw(adapter, self.rank, self.seed)
        if not self.text_encoder and (inside := [part for part, *_ in adapter.items() if part != "denoiser"]):
            raise BadInput(f"Some targets lie in the {inside[0]}; add --text-encoder, or name others.")
        return adapter

    def _random(self, adapter: LoRA) -> dict[str, float]:
        """The random ups, each with what its down's deviation lacks of 1 / rank."""
        if not self.bayesian:
            return {}
        scales = {
            f"{part}.{path}.up": 1 / (self.rank * float(layer.down.detach().square().mean().sqrt()))
            for part, path, layer in adapter.items()
        }
        return {name: scales[name] for name in chosen(list(scales), self.random_targets)}


def _redraw(adapter: LoRA, rank: int, seed: int) -> None:
    random = generator_32bit(seed, "adapter", "gaussian")
    with torch.no_grad():
        for _, _, layer in adapter.items():
            layer.down.copy_(torch.randn(layer.down.shape, generator=random) / rank)


def _weights(adapter: LoRA) -> dict[str, Tensor]:
    return {
        f"{part}.{path}.{name}": weight
        for part, path, layer in adapter.items()
        for name, weight in (("down", layer.down), ("up", layer.up))
    }
