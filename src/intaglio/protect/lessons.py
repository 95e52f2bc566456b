"""Lessons of a surrogate: short fine-tunes by low-rank updates, each stored, so that a killed call goes on exactly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from intaglio.adapt.data import TrainingSet
from intaglio.adapt.family import FineTuner
from intaglio.adapt.low_rank_tuning import FURTHER_TARGETS
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.lora.lora import DENOISER_TARGETS
from intaglio.runs.run import Run


def lesson_tuner(steps: int, rate: float, batch: int, rank: int, seed: int) -> FineTuner:
    """A fine-tune of low-rank updates beside all layers of the denoiser, which stands for one of all weights."""
    targets = (*DENOISER_TARGETS, *FURTHER_TARGETS)
    return LoRATuning(steps=steps, learning_rate=rate, batch=batch, rank=rank, targets=targets, seed=seed)


@dataclass(frozen=True)
class Lessons:
    """Fine-tunes that follow one another, by their number from 0."""

    tuner: FineTuner
    match: Mapping[str, Any]
    """Plain values that identify the first model, the clean pictures and the settings."""
    run: Run

    def after(self, number: int, model: LatentDiffusion, data: TrainingSet) -> LatentDiffusion:
        """A copy of the model that has learned the pictures; by the stored update, where there is one."""
        tuner = replace(self.tuner, seed=self.tuner.seed + number)
        stored = self.run.load_state(_state(number))
        if stored is not None and all(stored[1].get(key) == value for key, value in self.match.items()):
            return _updated(model, tuner, stored[0])
        tuned = tuner(model, data)
        update = {} if tuned.adapter is None else _tensors(tuned.adapter.items())
        self.run.save_state(_state(number), update, self.match)
        return tuned.model


def forget_lessons(run: Run, count: int) -> None:
    """Drops the stored updates of so many lessons."""
    for number in range(count):
        run.drop_state(_state(number))


def _updated(model: LatentDiffusion, tuner: FineTuner, update: Mapping[str, torch.Tensor]) -> LatentDiffusion:
    """A copy of the model with a stored update merged in."""
    copy = model.copy()
    trainable = tuner.trainable(copy)
    with torch.no_grad():
        for name, weight in trainable.weights.items():
            weight.copy_(update[name])
    if trainable.adapter is not None:
        trainable.adapter.merged_into(copy)
    return copy


def _tensors(layers) -> dict[str, torch.Tensor]:
    """Down and up of each layer, by the names of `LoRATuning.trainable`."""
    found = {}
    for part, path, layer in layers:
        found |= {f"{part}.{path}.down": layer.down.detach(), f"{part}.{path}.up": layer.up.detach()}
    return found


def _state(number: int) -> str:
    return f"lesson-{number}"
