"""The time of a surrogate, before it is made."""

import time

from intaglio.explain.surrogate.black_box_rows import BlackBoxRows
from intaglio.explain.surrogate.family import SurrogateChooser
from intaglio.explain.surrogate.fast_model import FastModel
from intaglio.runs.time_plan import TimePlan

TIMED = 2
"""Trees that are timed."""
FORESTS = 3
"""Forests as long as that of all features, with rankings and the curve, at most."""


def surrogate_plan(method: SurrogateChooser, rows: BlackBoxRows) -> TimePlan:
    """Seconds of all forests, by two trees that are timed."""
    began = time.perf_counter()
    fitted, _ = method.parts(len(rows))
    FastModel(rows.features[fitted], rows.probabilities[fitted], TIMED, 0, "timed")
    seconds = (time.perf_counter() - began) / TIMED * method.trees * FORESTS
    asked = "asked about changed rows" if rows.ask is not None else "modelled by a forest"
    head = f"rows       {len(rows):,} of {rows.features.shape[1]:,} features; the black box is {asked}"
    return TimePlan({"forests": seconds}, head, at_most=True)
