import numpy as np
import pytest
import torch

from intaglio.causal.methods.sicl.networks.base import Network, NetworkOutput
from intaglio.causal.methods.sicl.networks.encoding import CONTINUOUS, NOMINAL
from intaglio.causal.methods.sicl.networks.logit_scaling import (
    Calibration,
    Reliability,
    Scaling,
    compelled_logit,
    fit_scaling,
    probability,
)
from intaglio.causal.methods.sicl.networks.out_of_distribution import FeatureRanges, features
from intaglio.causal.methods.sicl.training import fit_logit_scaling
from intaglio.causal.methods.sicl.training.fit_logit_scaling import calibrate, fit_feature_ranges, simulated_batches
from intaglio.causal.methods.sicl.training.settings import SiCLTraining

SIZES = SiCLTraining(columns=(3, 5, 8), rows=(50, 100), context=10)


def test_the_usual_scaling_changes_nothing():
    x = np.linspace(-5, 5, 11)
    assert np.allclose(Scaling()(x, 123, 45), x)


def test_a_fit_finds_the_map_that_logits_were_bent_by():
    rng = np.random.default_rng(0)
    rows, columns = rng.choice([50, 500, 5000], 60_000), rng.choice([3, 10, 40], 60_000)
    real = rng.normal(-1, 2, 60_000)
    true = rng.random(60_000) < probability(real)
    bent = (real - 0.5 - 0.3 * np.log10(rows / 500)) / (0.4 + 0.1 * np.log10(columns / 10))
    found = fit_scaling(bent, true, rows.astype(float), columns.astype(float))
    for n in (50, 5000):
        for d in (3, 40):
            mine = (rows == n) & (columns == d)
            assert np.allclose(found(bent[mine], n, d), real[mine], atol=0.35)


def test_a_fit_to_one_kind_of_answer_is_no_fit():
    assert fit_scaling(np.ones(3), np.ones(3, bool), np.full(3, 50.0), np.full(3, 5.0)) == Scaling()


def test_reliability_by_hand():
    p, true = np.array([0.05, 0.07, 0.62, 0.68, 1.0]), np.array([False, True, True, True, True])
    found = Reliability.of(p, true)
    assert found.count == (2, 2, 1)
    assert found.predicted == pytest.approx((0.06, 0.65, 1.0))
    assert found.observed == (0.5, 1.0, 1.0)
    assert found.ece == pytest.approx((2 * 0.44 + 2 * 0.35 + 0) / 5)


def test_a_calibration_is_the_same_after_a_file():
    made = Calibration(skeleton=Scaling((0.1, 0.2, 0.3), (1.0, -2.0, 1 / 3)))
    assert Calibration.from_json(made.to_json()) == made


def test_compelled_is_either_direction_against_reversible():
    marks = np.log(np.array([0.2, 0.3, 0.5]))
    assert probability(compelled_logit(marks)) == pytest.approx(0.5)


class Oracle(Network):
    """Knows each table's skeleton by its correlations, and is far too sure."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shape = None

    def forward(self, tables):
        logits = 8 * (tables.pairs[..., 0] - 2.2)
        return NetworkOutput(logits, lambda asked: torch.full((len(asked),), -3.0), None)

    def losses(self, tables, truth):
        return {}


def test_calibration_mends_a_network_that_is_too_sure():
    made, facts = calibrate(Oracle(), SIZES, 160, 160)
    edges = facts["skeleton"]
    assert edges["ece"] < 0.5 * edges["ece_raw"]
    assert sum(edges["curve"]["count"]) > 160 * 3
    assert made.forward == Scaling()
    assert "forward" not in facts
    again, _ = calibrate(Oracle(), SIZES, 160, 8)
    assert made.skeleton == again.skeleton


def test_proofs_are_other_tables_than_those_fitted_on():
    first = next(simulated_batches(SIZES, fit_logit_scaling.FIT_SEED, 8)).tables
    other = next(simulated_batches(SIZES, fit_logit_scaling.TEST_SEED, 8)).tables
    assert first.shape != other.shape or not np.array_equal(first, other, equal_nan=True)


def test_features_of_a_table_by_hand():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 3))
    x[:, 2] = x[:, 0] + 0.5 * rng.standard_normal(400)
    x = np.c_[x, rng.integers(4, size=400)]
    x[:40, 1] = np.nan
    found = features(x, np.array([CONTINUOUS] * 3 + [NOMINAL]))
    assert found["rows"] == pytest.approx(np.log10(400))
    assert found["columns"] == pytest.approx(np.log10(4))
    assert found["missing"] == pytest.approx(40 / 1600)
    assert found["levels"] == 4
    assert found["largest correlation"] == pytest.approx(np.corrcoef(x[:, 0], x[:, 2])[0, 1], abs=1e-6)
    assert 2.4 < found["kurtosis"] < 3.6
    assert "levels" not in features(x[:, :3], np.array([CONTINUOUS] * 3))


def test_a_table_outside_the_ranges_is_told_with_its_reasons():
    known = fit_feature_ranges(SIZES, 120)
    rng = np.random.default_rng(0)
    usual = features(rng.standard_normal((80, 5)), np.full(5, CONTINUOUS))
    compared, reasons = known.outside(usual)
    assert len(reasons) <= 0.2 * compared
    near = rng.standard_normal((2000, 1)) + 1e-3 * rng.standard_normal((2000, 90))
    compared, reasons = known.outside(features(near, np.full(90, CONTINUOUS)))
    assert len(reasons) >= 0.3 * compared
    assert "number of columns is above what the network was trained on" in reasons
    assert FeatureRanges({"rows": 1.0}, {"rows": 2.0}).outside({"rows": 1.5, "new": 9.0}) == (1, ())
