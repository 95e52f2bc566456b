"""`StopRule`: the contract of a rule that ends a training before all of its steps are made."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class StopRule(Protocol):
    """A rule with a memory of its own; it changes no step, only how many are made."""

    def stops(self) -> bool:
        """Whether no further step is to be made; asked before every step."""
        ...

    def after_step(self, step: int) -> None:
        """Told that the training's `step`-th update was made, counted from 1, before anything else follows it."""
        ...


class AllSteps:
    """The rule that lets all steps be made."""

    def stops(self) -> bool:
        """Never."""
        return False

    def after_step(self, step: int) -> None:
        """Keeps nothing."""


ALL_STEPS = AllSteps()
