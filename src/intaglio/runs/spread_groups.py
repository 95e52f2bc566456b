"""A group of pictures worked on from its first step to its last by whatever process, as a piece of spread work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from intaglio.images.image_set import ImageSet


@dataclass(frozen=True, eq=False)
class GroupPiece:
    """One group, as a worker must know it beside the work."""

    place: int
    """Among the groups."""
    part: Sequence[int]
    """The places of its pictures."""
    step: int
    """Steps that are stored already; 0 for none."""
    tensors: Mapping[str, Tensor]
    """The stored state; empty for none."""


@dataclass(frozen=True, eq=False)
class WorkedGroup:
    """A group as a worker gives it back."""

    step: int
    tensors: Mapping[str, Tensor]
    """The state after the last step, on the CPU."""
    shown: Sequence[tuple[int, int, Mapping[str, float]]]
    """The steps before and after each step made, and its numbers."""
    results: Sequence[Any] | None
    """One a picture, where they were asked for."""


@dataclass(frozen=True, eq=False)
class GroupWorker:
    """All steps of a group; sent to every worker once, with the models that the work refers to."""

    images: ImageSet
    work: Any
    """`picture_groups.GroupWork`."""
    steps: int
    finish: bool
    """Whether results are asked for, or the state alone."""

    def __call__(self, piece: GroupPiece) -> WorkedGroup:
        work, shown = self.work, []
        group = work.prepare(self.images[piece.part])
        state = restored(work.start(group), piece.step, piece.tensors)
        while state.step < self.steps:
            before, state = state.step, work.step(group, state)
            shown.append((before, state.step, dict(work.shown(state))))
        tensors = {name: tensor.cpu() for name, tensor in state.tensors().items()}
        return WorkedGroup(state.step, tensors, shown, work.finish(group, state) if self.finish else None)


def restored(start: Any, step: int, tensors: Mapping[str, Tensor]) -> Any:
    """A `StepState` with stored tensors on the devices of its own; the start itself where nothing is stored."""
    if not tensors or step <= start.step:
        return start
    places = {name: tensor.device for name, tensor in start.tensors().items()}
    return start.restored(step, {name: tensor.to(places[name]) for name, tensor in tensors.items()})
