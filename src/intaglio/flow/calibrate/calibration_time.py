"""The time of a calibration, before it begins, in units of decoding a batch patch by patch, which is timed."""

from math import ceil

from intaglio.flow.block.guidance import Guidance
from intaglio.flow.calibrate.block_timings import BATCHES, BEST, COARSE, LEVELS, REPEATS, WIDE, WINDOWS
from intaglio.flow.calibrate.calibration import AT_ONCE, DIRECTIONS, FITTED, JUDGED, PERTURBED, PROVED, SHARES, TURNS
from intaglio.flow.decoding_plan import decoding_plan
from intaglio.flow.methods.sequential import SequentialDecoder
from intaglio.models.flow.tarflow import TarFlow
from intaglio.runs.time_plan import TimePlan

STARTS = 2
"""Answers that curves of sweeps begin at: the output, and the fitted guess."""
MEASURED = 1 / 3
"""Share of the tried choices that are measured on all samples, about; the others are clearly slower than one before."""


def calibration_time(model: TarFlow, batch: int, guidance: Guidance) -> TimePlan:
    """Seconds of one plan, at most, where every choice may be promising and takes as long as going patch by patch.

    Where sweeps and windows are clearly slower than that, hardly any choice is tried, and it ends much earlier.

    Args:
        model: the flow.
        batch: pictures decoded at once, 1 or more.
        guidance: of the decoding.
    """
    blocks, together = model.config.num_blocks, max(AT_ONCE, batch)
    one, few = (_sequential_seconds(model, count, guidance) for count in (batch, PERTURBED))
    a_picture = _sequential_seconds(model, together, guidance) / together
    fitted, judged, proved = (ceil(least / batch) for least in (FITTED, JUDGED, PROVED))
    whole = judged * batch * a_picture
    turns = min(BATCHES, judged) * ceil(REPEATS / min(BATCHES, judged))
    choices = choices_tried(model.config.tokens)
    parts = {
        "sequential decoding": (fitted + proved) * batch * a_picture + 3 * whole + turns * one,
        "growth of errors": (1 + DIRECTIONS) * few * (blocks - 1) / 2,
        "curves of sweeps": STARTS * len(COARSE) * judged * one,
        "choices": choices * (one + MEASURED * (whole + 2 * turns * one)),
        "proof": len(SHARES) * (judged + proved) * one + 2 * TURNS * one,
    }
    return TimePlan(parts, f"blocks     {blocks}, {choices} choices of each", at_most=True)


def choices_tried(tokens: int) -> int:
    """Choices of a block of so many patches, beside going patch by patch, where all are promising."""
    windows = [window for window in WINDOWS if window < tokens - 1]
    return len(LEVELS) * BEST + sum(2 * (2 if window >= WIDE else 1) for window in windows)


def _sequential_seconds(model: TarFlow, pictures: int, guidance: Guidance) -> float:
    """Seconds of decoding so many pictures as one batch, patch by patch."""
    return decoding_plan(model, SequentialDecoder(batch=pictures), pictures, guidance, denoise=False).seconds
