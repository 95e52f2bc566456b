"""salun: random labels for the concept, learned by the weights that the concept's loss is most sensitive to."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.family import PictureSet
from intaglio.audit.unlearning.tuning import TunedUnlearner, UnlearningLesson, mean_squares
from intaglio.errors import require
from intaglio.learning.loop import Objective, StepLoss
from intaglio.learning.loss_parts import in_parts
from intaglio.learning.step_randomness import batch_at, noise_at, timesteps_at
from intaglio.runs.steps import StepState, in_steps, stored_steps
from intaglio.sampling.calls import Calls

STATE = "saliency"


@dataclass(frozen=True, eq=False)
class _Summed(StepState):
    """The sum of the gradients so far, all trained weights in a row."""

    total: Float[Tensor, "p"]


@dataclass(frozen=True, kw_only=True)
class SaliencyUnlearning(TunedUnlearner):
    """SalUn: the concept is taught to mean its anchor, by the most salient weights alone.

    With e the network's prediction of noise and x_t noised pictures of the concept, a weight is trained where

        | sum over batches of d/dw | eps - ((1 + w) e(x_t, c) - w e(x_t, "")) |^2 |

    at the given model is among the largest `share` of all. These are trained, all others stay to the bit, to lower

        | e(x_t, c) - sg e(x_t, c') |^2 + alpha L(retain),

    with c' the anchor, sg no gradient, L the denoising loss of pictures of what is to stay. Gradients are masked before
    the optimiser sees them; summed before their size is taken, as signs of single batches cancel.

    Source: arXiv 2310.12508.
    """

    reading: ClassVar[str] = "by training the weights most sensitive to the concept to predict its anchor instead"
    states: ClassVar[tuple[str, ...]] = (*TunedUnlearner.states, STATE)
    learns_from: ClassVar[tuple[PictureSet, ...]] = ("concept", "keep")
    asked: ClassVar[tuple[int, int]] = (1, 2)

    batch: int = 8
    """Rows an update, at least 1."""
    modules: Literal["x", "x-strict", "u", "all"] = "all"
    """Weights that may be trained: x, the cross-attention; x-strict, its keys and values; u, linear layers and
    convolutions outside it; all."""
    share: float = 0.5
    """Share of these weights that is trained, above 0 to 1."""
    mask_batches: int = 16
    """Batches that the gradients are summed over, at least 1."""
    mask_guidance: float = 7.5
    """w: guidance of the loss that is summed, 0 or more."""
    retain_weight: float = 0.1
    """alpha: weight of the loss of what is to stay, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.share <= 1, f"share must be above 0 and at most 1, not {self.share}")
        require(self.mask_batches >= 1, f"mask_batches must be at least 1, not {self.mask_batches}")
        for name in ("mask_guidance", "retain_weight"):
            value = getattr(self, name)
            require(0 <= value < math.inf, f"{name} must be 0 or more, and finite, not {value}")
        require(
            self.weight_decay == 0,
            f"weight_decay must be 0, not {self.weight_decay}: it would change weights that are masked",
        )

    def planned(self, concept: Concept, *, forget: int, retain: int) -> Calls:
        """Those of the mask beside the family's."""
        rows = 2 * self.mask_batches * self.batch
        return super().planned(concept, forget=forget, retain=retain) + Calls(forward=rows, backward=rows)

    def objective(self, lesson: UnlearningLesson) -> Objective:
        """The anchor's prediction under the concept's prompt, and the kept loss, through the mask."""
        student, weights = lesson.student, lesson.weights
        mask = largest(self._saliency(lesson), self.share)
        masks = dict(zip(weights, mask.split([one.numel() for one in weights.values()]), strict=True))
        anchor_of = dict(lesson.concept.pairs)
        first = lesson.concept.anchors[0]

        def at(step: int) -> StepLoss:
            gone, kept = (lesson.noised(part, step, self.batch, self.seed) for part in ("concept", "keep"))

            def errors_of(part: slice) -> Float[Tensor, "n"]:
                rows, stay = gone.part(part, student.device), kept.part(part, student.device)
                x = student.noised(rows.latents, rows.noise, rows.t)
                with torch.no_grad():
                    other = lesson.text([anchor_of.get(one, first) for one in rows.captions])
                    target = student.predict(x, rows.t, other)
                errors = mean_squares(student.predict(x, rows.t, lesson.text(rows.captions)), target)
                return errors + self.retain_weight * student.error(
                    stay.latents, stay.noise, stay.t, lesson.text(stay.captions)
                )

            loss = in_parts(self.batch, self.micro_batch, errors_of)
            for name, weight in weights.items():
                if weight.grad is not None:
                    weight.grad.mul_(masks[name].view(weight.shape).to(weight.grad))
            return loss

        return at

    def _saliency(self, lesson: UnlearningLesson) -> Float[Tensor, "p"]:
        """Size of the summed gradient of each weight that may be trained, at the given model; on the CPU."""
        run, device = lesson.run, lesson.student.device
        match = {"batches": self.mask_batches}
        leaves = list(lesson.weights.values())
        data, w = lesson.sets["concept"], self.mask_guidance

        def add(state: _Summed) -> _Summed:
            rows = batch_at(range(len(data.latents)), state.step, self.batch, self.seed, "saliency")
            stream = self.seed + 1  # other draws than those of the training
            t = timesteps_at(self.batch, lesson.model.schedule.count, state.step, stream).to(device)
            noise = noise_at((self.batch, *data.latents.shape[1:]), state.step, stream).to(device)
            x = lesson.student.noised(data.latents[rows].to(device), noise, t)
            words = lesson.text([data.captions[row] for row in rows])
            total = torch.zeros_like(state.total)
            size = self.micro_batch or self.batch
            for first in range(0, self.batch, size):
                part = slice(first, first + size)
                guided = (1 + w) * lesson.student.predict(x[part], t[part], words[part])
                guided = guided - w * lesson.student.predict(x[part], t[part], lesson.texts[""])
                error = mean_squares(guided, noise[part]).sum() / self.batch
                found = torch.autograd.grad(error, leaves, materialize_grads=True)
                total += torch.cat([one.flatten().cpu() for one in found])
            return replace(state, step=state.step + 1, total=state.total + total)

        for leaf in leaves:
            leaf.requires_grad_(True)
        begun = _Summed(0, torch.zeros(sum(one.numel() for one in leaves)))
        with run.progress(self.mask_batches, "saliency", stored_steps(run, STATE, match)) as progress:
            done = in_steps(
                run, STATE, match, begun, add, steps=self.mask_batches, noted=lambda before, after: progress.advance()
            )
        return done.total.abs()


def largest(numbers: Float[Tensor, "p"], share: float) -> Bool[Tensor, "p"]:
    """A mask of the largest `share` in (0, 1] of some numbers, rounded to whole ones; of equal ones the first."""
    chosen = torch.zeros(len(numbers), dtype=torch.bool)
    chosen[torch.argsort(numbers, descending=True, stable=True)[: max(1, round(share * len(numbers)))]] = True
    return chosen
