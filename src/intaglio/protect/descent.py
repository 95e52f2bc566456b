"""Steps of projected gradient descent (PGD, max-norm): the work on a group of pictures of one size, step by step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from intaglio.errors import IntaglioError
from intaglio.images.image_set import ImageSet, to_uint8
from intaglio.metrics.quality import psnr, ssim
from intaglio.protect.budget import LEVELS, Allowance, largest_difference
from intaglio.protect.family import Protector
from intaglio.protect.model_views import VIEWS, ViewKind
from intaglio.protect.originals import Original
from intaglio.protect.surrogate import Surrogate
from intaglio.protect.transformations import transformed
from intaglio.protect.visibility import scaled_to_keep, share_by_contrast
from intaglio.randomness import generator
from intaglio.runs.picture_groups import PictureResult
from intaglio.runs.steps import StepState

CHECKED = 2
"""Draws of views, timesteps and noise that the objective is measured on before and after."""


@dataclass(frozen=True, eq=False)
class ChangeState(StepState):
    """Changes of a group of pictures between steps."""

    change: Float[Tensor, "n 3 h w"]
    """Of pixel values in [0, 1]."""
    objective: Float[Tensor, "n"]
    """The objective at the last step; NaN before the first."""


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures of one size, and the box that their changes are projected into."""

    images: ImageSet
    allowance: Allowance

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class ProtectionWork:
    """A method at work on groups of pictures, as `runs.picture_groups.group_states` calls it."""

    method: Protector
    surrogate: Surrogate
    target: Float[Tensor, "1 3 h w"] | None
    originals: Mapping[str, Original]
    """By name."""
    may_change: Mapping[str, Float[Tensor, "1 h w"]]
    """By name: the share of the budget that a mask and transparency leave each pixel."""
    keep: Callable[[str, UInt8[Tensor, "3 h w"]], None]
    """Takes each finished picture by name."""
    reached: Mapping[tuple[str, ...], "ChangeState"] = field(default_factory=dict)
    """The state of each group, by its pictures' names, at the end of the round before; empty in the first."""

    def __getstate__(self) -> dict[str, Any]:
        # A worker finishes no picture: what keeps one writes into the run of the process that holds it.
        return {**vars(self), "keep": None}

    def prepare(self, images: ImageSet) -> Group:
        """The pictures with the share of the budget that masks, transparency and flat areas leave."""
        shares = share_by_contrast(images.pixels, self.method.flat)
        masks = torch.stack([self.may_change[name] for name in images.names])
        grey = tuple(self.originals[name].grey for name in images.names)
        return Group(images, Allowance(images.pixels, shares * masks, self.method.budget, grey))

    def start(self, group: Group) -> ChangeState:
        """That of the round before; in the first no change, or a uniform one within the budget."""
        if group.images.names in self.reached:
            return self.reached[group.images.names]
        change = torch.zeros_like(group.images.pixels)
        if self.method.start == "random" and self.method.steps:
            limit = self.method.budget / LEVELS
            for row, content in enumerate(group.images.hashes):
                source = generator(self.method.seed, content, "start")
                change[row] = (2 * torch.rand(change[row].shape, generator=source) - 1) * limit
            change = group.allowance.projected(change)
        return ChangeState(0, change, torch.full((len(group),), float("nan")))

    def step(self, group: Group, state: ChangeState) -> ChangeState:
        """One signed step of each picture, projected."""
        sources = [generator(self.method.seed, content, state.step) for content in group.images.hashes]
        kind, names = self.method.kinds(state.step), self.method.transformations
        objective, gradient = self._gradient(group, state.change, kind, sources, names)
        moved = state.change + self.method.step_size(state.step) / LEVELS * gradient.sign()
        return replace(state, step=state.step + 1, change=group.allowance.projected(moved), objective=objective)

    def shown(self, state: ChangeState) -> Mapping[str, float]:
        """The objective, averaged over the pictures."""
        return {"objective": float(state.objective.mean())}

    def finish(self, group: Group, state: ChangeState) -> Sequence[PictureResult]:
        """The pictures in 8 bits, handed to `keep`, with how much they differ and the objective of both."""
        levels = torch.cat([self._levels(group, state.change, row) for row in range(len(group))])
        given_back = levels / LEVELS - group.images.pixels
        before, after = (self.checked(group, change) for change in (torch.zeros_like(given_back), given_back))
        found = []
        for row, (name, clean) in enumerate(zip(group.images.names, group.images.pixels, strict=True)):
            self.keep(name, levels[row])
            shown = levels[row : row + 1] / LEVELS
            signals = {
                "largest_difference": float(largest_difference(levels[row].numpy(), to_uint8(clean).numpy())),
                "psnr": float(psnr(shown, clean[None])),
                "ssim": float(ssim(shown, clean[None])),
                "objective_before": float(before[row]),
                "objective_after": float(after[row]),
            }
            found.append(PictureResult(signals, {}, {}, ""))
        return found

    def _levels(self, group: Group, change: Tensor, row: int) -> UInt8[Tensor, "1 3 h w"]:
        """One picture in 8 bits, its change scaled down to keep the floor of similarity."""
        clean, one = group.images.pixels[row : row + 1], group.allowance.of(row)
        levels = scaled_to_keep(lambda scale: one.rounded(scale * change[row : row + 1]), clean, self.method.least_ssim)
        largest = largest_difference(levels.numpy(), to_uint8(clean).numpy())
        if largest > self.method.budget:  # a fault of ours: nobody may be given more change than they allowed
            raise IntaglioError(f"{group.images.names[row]} would change by {largest} grey levels, above its budget")
        return levels

    def checked(self, group: Group, change: Tensor) -> Float[Tensor, "n"]:
        """The objective on fixed views, timesteps and noise, without transformations."""
        every = []
        for draw in range(CHECKED):
            sources = [generator(self.method.seed, content, "check", draw) for content in group.images.hashes]
            every.append(self._gradient(group, change, self.method.kinds(draw), sources)[0])
        return torch.stack(every).mean(0)

    def _gradient(
        self,
        group: Group,
        change: Tensor,
        kind: ViewKind,
        sources: Sequence[torch.Generator],
        transformations: Sequence[str] = (),
    ) -> tuple[Float[Tensor, "n"], Float[Tensor, "n 3 h w"]]:
        """The objective of each picture, averaged over its views, and its gradient by the change."""
        side = self.surrogate.model.resolution
        pictures = (group.images.pixels + change).detach().requires_grad_(True)
        with torch.enable_grad():
            views = [VIEWS[kind](picture, side, source) for picture, source in zip(pictures, sources, strict=True)]
            if transformations:
                pairs = zip(views, sources, strict=True)
                views = [_each_transformed(part, transformations, self.method.draws, source) for part, source in pairs]
        counts = [len(part) for part in views]
        drawn = [
            generator(self.method.seed, int(torch.randint(2**62, (), generator=source)), view)
            for source, count in zip(sources, counts, strict=True)
            for view in range(count)
        ]
        shown = torch.cat(views)
        values, slopes = self.method.gradient(self.surrogate, shown.detach(), self.target, drawn)
        if not bool(slopes.isfinite().all()):
            parts = zip(group.images.names, slopes.split(counts), strict=True)
            bad = [name for name, part in parts if not part.isfinite().all()]
            raise IntaglioError(
                f"the gradient of {bad[0]} is not finite in {self.method.precision}; use float32, or check the model"
            )
        (gradient,) = torch.autograd.grad(shown, pictures, slopes)
        return torch.stack([part.mean() for part in values.split(counts)]), gradient


def _each_transformed(
    views: Float[Tensor, "m 3 s s"], names: Sequence[str], draws: int, source: torch.Generator
) -> Float[Tensor, "k 3 s s"]:
    """`draws` copies of each view, each as it is or after one of the transformations."""
    return torch.cat([transformed(view[None], names, source) for view in views for _ in range(draws)])
