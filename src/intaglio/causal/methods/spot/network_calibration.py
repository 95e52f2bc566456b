"""Calibration of SiCL's network for the skeleton of MAGs, on simulated tables with hidden common causes."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from intaglio.causal.methods.spot.cascade_settings import NETWORK_VARIABLES, CascadeTraining
from intaglio.causal.methods.spot.cascade_training import RECIPES, WITHOUT_HIDDEN, simulated_tables
from intaglio.causal.methods.spot.network_posterior import (
    NETWORK,
    NetworkPosterior,
    network_scores,
    own_hash,
    own_network,
)
from intaglio.causal.methods.spot.odds_calibration import OddsCalibration, fit_odds_calibration
from intaglio.causal.methods.spot.posterior import TrainingRanges
from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.causal.simulate.latent_models import LatentRecipe
from intaglio.errors import BadInput
from intaglio.runs.run import Run

STAGES = ("calibration", "held-out")
STATE = "network scores"


def calibrate_network(settings: CascadeTraining, *, run: Run = Run.none()) -> NetworkPosterior:
    """The posterior of the package's network with calibrations; a killed run goes on at the stage that it was at.

    Args:
        settings: variables (those up to `NETWORK_VARIABLES` are taken), rows and seed of the tables, and their number:
            `models` for each of two calibrations, and as many for the figures of each.
        run: takes progress and a checkpoint after each set of tables.

    Raises:
        BadInput: settings whose tables are all too wide for the network.
    """
    narrow = tuple(d for d in settings.variables if d <= NETWORK_VARIABLES)
    if not narrow:
        raise BadInput(f"the network takes {NETWORK_VARIABLES} variables at most; add such a number (--variables)")
    settings = replace(settings, variables=narrow)
    network, scored = own_network(), _stored(run)
    asked = [(hidden, stage) for hidden in (True, False) for stage in STAGES]
    with run.progress(len(asked), "network", len(scored)) as progress:
        for hidden, stage in asked[len(scored) :]:
            scored.append(_scored(settings, stage, RECIPES if hidden else WITHOUT_HIDDEN, network))
            run.save_state(STATE, _tensors(scored), {"done": len(scored)})
            progress.advance()
    calibrations, figures = {}, {}
    for hidden, (fitted_on, held_out) in zip((True, False), (scored[:2], scored[2:]), strict=True):
        calibrations[hidden] = fit_odds_calibration(fitted_on[0], fitted_on[1] > 0, *fitted_on[2:])
        figures[hidden] = posterior_quality(_calibrated(calibrations[hidden], held_out), held_out[1] > 0).to_json()
    facts = {
        "network": NETWORK,
        **{name: asdict(settings)[name] for name in ("models", "variables", "rows", "seed")},
        "held out": figures[True],
        "held out, without hidden causes": figures[False],
    }
    return NetworkPosterior(own_hash(), calibrations, _ranges(settings), facts)


def _scored(
    settings: CascadeTraining, stage: str, recipes: Sequence[LatentRecipe], network: Any
) -> Float64[ndarray, "4 k"]:
    """Scores, adjacency, numbers of variables and of rows, for all pairs of the tables of a stage."""
    parts = []
    for table in simulated_tables(settings, stage, recipes):
        d = len(table.correlation)
        scores = network_scores(network, table.values)[np.triu_indices(d, 1)]
        size = np.ones_like(scores)
        parts.append(np.stack([scores, table.adjacent, d * size, table.rows * size]))
    return np.hstack(parts)


def _calibrated(calibration: OddsCalibration, scored: Float64[ndarray, "4 k"]) -> Float64[ndarray, "k"]:
    scores, _, variables, rows = scored
    found = np.empty_like(scores)
    for d, n in np.unique(scored[2:], axis=1).T:
        here = (variables == d) & (rows == n)
        found[here] = calibration(scores[here], int(d), int(n))
    return found


def _ranges(settings: CascadeTraining) -> TrainingRanges:
    densities = [
        float(table.adjacent.sum()) / len(table.correlation) for table in simulated_tables(settings, "calibration")
    ]
    return TrainingRanges(
        variables=(min(settings.variables), max(settings.variables)),
        rows=settings.rows,
        density=(round(min(densities), 2), round(max(densities), 2)),
    )


def _tensors(scored: list[ndarray]) -> dict[str, torch.Tensor]:
    return {str(number): torch.from_numpy(np.ascontiguousarray(one)) for number, one in enumerate(scored)}


def _stored(run: Run) -> list[ndarray]:
    saved = run.load_state(STATE)
    if saved is None:
        return []
    return [saved[0][str(number)].numpy() for number in range(int(saved[1]["done"]))]
