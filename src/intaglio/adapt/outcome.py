"""A sentence on what a fine-tune changed, with what to do where that is little or too much."""

from collections.abc import Sequence

from intaglio.adapt.corruption import Judgement, copies, stages
from intaglio.adapt.settings import Training

FASTER = 5.0
"""Factor of the learning rate that is advised where hardly anything changed."""
SURE = 2.0
"""Standard errors by which likeness must rise to be called a rise."""
LEAST_GAIN = 0.02
"""Rise of likeness that counts, on its own scale."""
LEAST_CHANGE = 0.02
"""Root mean square difference of sample pictures, in [0, 1], that counts."""


def finding(
    settings: Training,
    curve: Sequence[Judgement],
    change: float | None,
    kept: int | None = None,
    *,
    private: bool = False,
) -> str:
    """A sentence or two on the exported weights beside the base; empty where nothing was drawn or judged.

    Args:
        settings: of the training.
        curve: judgements of pictures, the base's first; empty where none were asked for.
        change: root mean square difference of sample pictures of equal seeds before and after, in [0, 1]; None where
            none were drawn.
        kept: the step whose weights are exported; None for the last.
        private: whether each picture is kept private, so that another training with other settings costs privacy.
    """
    if private:
        return _of_private(curve, change)
    faster = f"raise --learning-rate to {FASTER * settings.highest_rate:.1g}, or --steps"
    if len(curve) < 2:
        return "" if change is None else _of_samples(change, faster)
    last = next((one for one in curve if one.step == kept), curve[-1])
    if (found := stages(curve)) and last.step >= found[0].first:
        return (
            f"Corrupted from step {found[0].first} on: {_moved(curve[0], last)} while noise rose; use --keep best, or "
            f"a lower --learning-rate than {settings.highest_rate:g}."
        )
    return _of_likeness(curve[0], last, change, faster)


def _of_private(curve: Sequence[Judgement], change: float | None) -> str:
    """The outcome without advice to train again, which the guarantee would have to count."""
    if len(curve) < 2 and change is None:
        return ""
    said = _moved(curve[0], curve[-1]) if len(curve) > 1 else f"pictures differ from the base's by {change:.1%}"
    return (
        f"{said[0].upper()}{said[1:]}; another training on these pictures, with other settings, spends as much privacy "
        "again: give all of them --tries."
    )


def _of_samples(change: float, faster: str) -> str:
    if change < LEAST_CHANGE:
        return f"Barely moved: its pictures are those of the base, but for {change:.1%} of the range; {faster}."
    return f"Its pictures are not the base's any more: they differ by {change:.0%} of the range, root mean square."


def _of_likeness(first: Judgement, last: Judgement, change: float | None, faster: str) -> str:
    """The sentence on likeness to the training pictures, between two judgements."""
    gain, moved = last.fidelity - first.fidelity, _moved(first, last)
    counts = max(SURE * (first.fidelity_error**2 + last.fidelity_error**2) ** 0.5, LEAST_GAIN)
    if gain < -counts:
        return f"It went away from the training pictures: {moved}; lower --learning-rate, or take fewer --steps."
    if gain < counts and change is not None and change >= LEAST_CHANGE:
        return f"Its pictures changed by {change:.0%} of the range, but came no nearer: {moved}; take more --steps."
    if gain < counts:
        return f"Barely moved: {moved}; {faster}."
    if copies((first, last)):
        return f"It copies: {moved}, and its pictures are alike; fewer --steps, or more pictures, leave room."
    return f"It learned: {moved}, and freedom from noise is {last.quality:.2f}."


def _moved(first: Judgement, last: Judgement) -> str:
    return f"likeness to the training pictures went from {first.fidelity:.2f} to {last.fidelity:.2f}"
