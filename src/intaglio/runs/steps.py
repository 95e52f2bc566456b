"""Work in steps, resumed exactly after a kill: its state is stored between steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from torch import Tensor

from intaglio.runs.run import Run

SAVE_EVERY_S = 20.0
"""Seconds between two stored states; a killed run repeats at most that much, with the same result."""

State = TypeVar("State", bound="StepState")


@dataclass(frozen=True, eq=False)
class StepState:
    """The state of work in steps; a method's own class adds tensors as fields.

    A step is a pure function of the state before it, so that a stored state is a place to go on from exactly.
    """

    step: int
    """Steps done."""

    def tensors(self) -> dict[str, Tensor]:
        """All that is stored besides the step, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "step"}

    def restored(self: State, step: int, tensors: Mapping[str, Tensor]) -> State:
        """The state with this step and these `tensors`."""
        return replace(self, step=step, **tensors)


def in_steps(
    run: Run,
    name: str,
    match: Mapping[str, Any],
    start: State,
    step: Callable[[State], State],
    *,
    steps: int,
    noted: Callable[[State, State], None],
) -> State:
    """The state after all steps, from the stored one on, where there is one.

    Args:
        run: where states are stored, at most every `SAVE_EVERY_S` seconds and at the end, however it ends.
        name: of the stored state.
        match: plain values that identify the work; a state stored with others is not taken up.
        start: the state before the first step; stored tensors are restored to the devices of its own.
        step: from a state to the next one.
        steps: in all.
        noted: is given the states before and after each step.
    """
    done, tensors = stored_state(run, name, match)
    places = {key: tensor.device for key, tensor in start.tensors().items()}
    state = start.restored(done, {key: tensor.to(places[key]) for key, tensor in tensors.items()}) if done else start
    try:
        while state.step < steps:
            before, state = state, step(state)
            noted(before, state)
            store_steps(run, name, match, state.step, state.tensors(), SAVE_EVERY_S)
    finally:
        # Reached by Ctrl-C too; a state is only ever replaced whole, so it is sound at any moment.
        store_steps(run, name, match, state.step, state.tensors())
    return state


def stored_steps(run: Run, name: str, match: Mapping[str, Any]) -> int:
    """The steps of `in_steps` that are stored, 0 where none are."""
    return stored_state(run, name, match)[0]


def store_steps(
    run: Run, name: str, match: Mapping[str, Any], step: int, tensors: Mapping[str, Tensor], every_s: float = 0.0
) -> None:
    """Stores a state of so many steps as `in_steps` does, at most every `every_s` seconds."""
    run.save_state(name, tensors, {**match, "step": step}, every_s)


def stored_state(run: Run, name: str, match: Mapping[str, Any]) -> tuple[int, dict[str, Tensor]]:
    """The steps and tensors stored for this very work; 0 and none where there are none."""
    found = run.load_state(name)
    if found is None or any(found[1].get(key) != value for key, value in match.items()):
        return 0, {}
    return found[1].whole("step") if "step" in found[1] else 0, found[0]
