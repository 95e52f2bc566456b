"""The time of a network's training and of a recalibration, before they begin: some steps and tables are timed."""

import time
from functools import partial

import numpy as np

from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
from intaglio.causal.methods.sicl.training.batches import TrainingBatches
from intaglio.causal.methods.sicl.training.curriculum import Curriculum
from intaglio.causal.methods.sicl.training.fit_logit_scaling import FIT_SEED, collect_logits
from intaglio.causal.methods.sicl.training.fit_recalibration import FAMILIES, judged, simulated_table
from intaglio.causal.methods.sicl.training.held_out import held_out_scores
from intaglio.causal.methods.sicl.training.settings import SiCLTraining
from intaglio.causal.methods.sicl.training.training import fresh_network, step_objective
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of

TIMED_STEPS = 6
"""Steps that are timed, spread over the training, since the sizes of tables differ from step to step."""
TIMED_TABLES = 24
"""Tables of the calibration that are timed."""


def training_plan(settings: SiCLTraining) -> TimePlan:
    """Seconds of the steps, the judgements on held-out tables and the calibration, without the weights of BIC."""
    network = fresh_network(settings)
    objective = partial(step_objective, network, TrainingBatches(settings, settings.seed, settings.steps))
    timed = np.unique(np.linspace(0, settings.steps - 1, TIMED_STEPS).astype(int)).tolist()
    objective(timed[0])
    began = time.perf_counter()
    for step in timed:
        objective(step)
    one = (time.perf_counter() - began) / len(timed)
    network.eval()
    judgement = seconds_of(lambda: held_out_scores(network, settings), "cpu")
    began = time.perf_counter()
    collect_logits(network, settings, FIT_SEED, TIMED_TABLES)
    table = (time.perf_counter() - began) / TIMED_TABLES
    parts = {
        "steps": settings.steps * one,
        "held-out tables": -(-settings.steps // settings.judge_every) * judgement,
        "calibration": (settings.calibrated_on + settings.proved_on) * table,
    }
    head = f"steps      {settings.steps:,} of {settings.network}; the search for weights of BIC is not counted"
    return TimePlan(parts, head)


def recalibration_plan(trained: TrainedNetwork, curriculum: Curriculum, tables: int, test_tables: int) -> TimePlan:
    """Seconds of the tables that trees are learnt from and measured on, one of each family being timed."""
    timed = len(FAMILIES)
    judged(trained, *simulated_table(curriculum, FIT_SEED, 0))
    began = time.perf_counter()
    for index in range(timed):
        judged(trained, *simulated_table(curriculum, FIT_SEED, index))
    one = (time.perf_counter() - began) / timed
    head = f"tables     {tables:,} and {test_tables:,} to measure on; the trees are not counted"
    # A test table is answered twice, as it is and by the trees.
    return TimePlan({"tables": tables * one, "test tables": 2 * test_tables * one}, head)
