"""The trained weights with their optimiser and their mean: all that a resumed run needs, beside the step."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from intaglio.errors import IntaglioError
from intaglio.learning.loss_scale import LossScale
from intaglio.learning.optimizers import MOMENTS, moments_of, optimiser_of, put_moments
from intaglio.learning.precision import Precision
from intaglio.learning.settings import AdamWSettings

Weights = Mapping[str, Tensor]
"""Trainable leaf tensors by a name that stays the same from run to run."""

NOTHING: Weights = MappingProxyType({})


class Trainer:
    """AdamW over named weights, with an optional exponential mean of them.

    Args:
        weights: leaf tensors by name, changed in place; they are what is exported.
        settings: of the optimiser; `settings.rate(step)` is the learning rate.
        beside: trained along, but no part of the mean and never exported.
        shares: of the learning rate, by the names of weights that take another one than all of it.
        kept: tensors that the objective changes itself, in place: saved and restored along, and never updated.
        precision: of the networks; float16 scales the losses, and the scale is saved along.
    """

    def __init__(
        self,
        weights: Weights,
        settings: AdamWSettings,
        beside: Weights = NOTHING,
        shares: Mapping[str, float] = MappingProxyType({}),
        kept: Weights = NOTHING,
        precision: Precision = "float32",
    ):
        self.settings = settings
        self.step = 0
        """Steps made so far."""
        self.losses = torch.zeros(settings.steps, dtype=torch.float64)
        """[steps], NaN for a step that was left out."""
        self.halved = False
        """Whether a step was left out, from which on the learning rate is half of what was asked for."""
        self.scale = LossScale() if precision == "float16" else None
        """The scale of the losses; None where they are not scaled."""
        self._exported, self._kept = dict(weights), dict(kept)
        self._weights = {name: weight.requires_grad_(True) for name, weight in {**weights, **beside}.items()}
        self._mean = {name: weight.detach().clone() for name, weight in weights.items()} if settings.ema else {}
        groups = dict[float, list[Tensor]]()
        for name, weight in self._weights.items():
            groups.setdefault(shares.get(name, 1.0), []).append(weight)
        parts = [{"params": group, "share": share} for share, group in groups.items()]
        self._optimiser = optimiser_of(settings, parts)

    @property
    def leaves(self) -> list[Tensor]:
        """All trained tensors."""
        return list(self._weights.values())

    def drop_gradients(self) -> None:
        """Forget the gradients now held."""
        self._optimiser.zero_grad(set_to_none=True)

    def gradient_norm(self) -> Float[Tensor, ""]:
        """The norm over all gradients now held."""
        return get_total_norm([weight.grad for weight in self._weights.values() if weight.grad is not None])

    def update(self, loss: float, norm: Float[Tensor, ""]) -> None:
        """One step of AdamW along the gradients now held, whose norm is `norm`; they are dropped after it."""
        if self.settings.clip is not None:
            clip_grads_with_norm_(self._weights.values(), self.settings.clip, norm)
        for group in self._optimiser.param_groups:
            group["lr"] = self.rate() * group["share"]
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._follow()
        self.losses[self.step] = loss
        self.step += 1

    @torch.no_grad()
    def replace(self, weights: Weights) -> None:
        """Put new values in the place of some weights, which begin anew: their moments and updates are forgotten."""
        for name, value in weights.items():
            self._weights[name].copy_(value)
            self._optimiser.state.pop(self._weights[name], None)
            if name in self._mean:
                self._mean[name].copy_(value)

    def rate(self) -> float:
        """The learning rate of the update to come."""
        return self.settings.rate(self.step) * (0.5 if self.halved else 1.0)

    def skip(self) -> None:
        """Leave this step out, its gradients dropped, and go on at half the rate; its loss is NaN."""
        self._optimiser.zero_grad(set_to_none=True)
        self.losses[self.step] = float("nan")
        self.halved = True
        self.step += 1

    @property
    def skipped(self) -> bool:
        """Whether the last step made was left out."""
        return self.step > 0 and bool(self.losses[self.step - 1].isnan())

    def state(self) -> dict[str, Tensor]:
        """Weights, moments, mean and losses by name; the tensors are shared, not copied."""
        state = {f"weight/{name}": weight.detach() for name, weight in self._weights.items()}
        state |= {f"mean/{name}": mean for name, mean in self._mean.items()}
        state |= {f"kept/{name}": tensor for name, tensor in self._kept.items()}
        for name, weight in self._weights.items():
            moments, updates = moments_of(self._optimiser, weight)
            state |= {f"{key}/{name}": value for key, value in moments.items()}
            if updates is not None and updates != self.step - self.halved:  # those that began anew
                state[f"updates/{name}"] = torch.tensor(float(updates))
        state |= {} if self.scale is None else {"scale": self.scale.state()}
        return state | {"losses": self.losses, "halved": torch.tensor(self.halved)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor], step: int) -> None:
        """Go on after `step` updates from what `state` gave then. Raises `IntaglioError` where it does not fit."""
        expected = {f"weight/{name}" for name in self._weights} | {f"mean/{name}" for name in self._mean}
        expected |= {f"kept/{name}" for name in self._kept}
        if missing := sorted(expected - state.keys()):
            raise IntaglioError(f"The saved state lacks {missing[0]}; delete the run's folder and start again.")
        self.halved = bool(state["halved"])
        updates = step - self.halved  # a step that was left out made none
        for name, weight in self._weights.items():
            weight.copy_(state[f"weight/{name}"])
            if self._mean:
                self._mean[name].copy_(state[f"mean/{name}"])
            if saved := {key: state[f"{key}/{name}"] for key in MOMENTS if f"{key}/{name}" in state}:
                made = int(state.get(f"updates/{name}", updates))
                put_moments(self._optimiser, weight, saved, made)
        for name, tensor in self._kept.items():
            tensor.copy_(state[f"kept/{name}"])
        if self.scale is not None:
            self.scale.restore(state["scale"])
        self.losses.copy_(state["losses"])
        self.step = step

    @contextmanager
    @torch.no_grad()
    def exported(self) -> Iterator[None]:
        """While the block runs the weights are those that will be exported: their mean, where one is kept."""
        last = {name: self._weights[name].detach().clone() for name in self._mean}
        try:
            self._put(self._mean)
            yield
        finally:
            self._put(last)

    def snapshot(self) -> dict[str, Tensor]:
        """The weights that would be exported now; shared, not copied."""
        return dict(self._mean) or {name: weight.detach() for name, weight in self._exported.items()}

    def export(self, snapshot: Weights | None = None) -> None:
        """Make the weights those to be exported, or an earlier snapshot, and let them collect no more gradients."""
        self._put(self._mean if snapshot is None else snapshot)
        for weight in self._weights.values():
            weight.requires_grad_(False)
            weight.grad = None

    @torch.no_grad()
    def _put(self, values: Weights) -> None:
        for name, value in values.items():
            self._weights[name].copy_(value)

    @torch.no_grad()
    def _follow(self) -> None:
        if self.settings.ema is not None:
            decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
            means, weights = list(self._mean.values()), list(self._exported.values())
            torch._foreach_lerp_(means, weights, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
