"""The parts of a skeleton posterior: checked correlations, checked probabilities, flags, inclusion and calibration."""

import numpy as np
import pytest
from scipy.special import expit, logit

from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.odds_calibration import OddsCalibration, fit_odds_calibration
from intaglio.causal.methods.spot.posterior import SkeletonProbabilities, TrainingRanges, inclusion_of
from intaglio.causal.methods.spot.skeleton_features import marginal_neighbours, skeleton_features
from intaglio.causal.simulate.latent_models import LatentRecipe, draw_latent_model
from intaglio.errors import BadInput

ABC = ("a", "b", "c")


def matrix(*cells: tuple[int, int, float]) -> np.ndarray:
    """A symmetric matrix of a half off its diagonal, with some cells changed on one side."""
    found = np.full((3, 3), 0.5) + np.eye(3) / 2
    for i, j, value in cells:
        found[i, j] = value
    return found


def both(value: float) -> np.ndarray:
    return matrix((0, 1, value), (1, 0, value))


@pytest.mark.parametrize(
    ("given", "rows", "names", "words"),
    [
        (np.ones((2, 3)), 10, ABC, "2 × 3"),
        (np.eye(1), 10, ("a",), "2 variables or more"),
        (matrix(), 2, ABC, "3 rows or more"),
        (matrix(), 10, ("a", "b", "b"), "different names"),
        (matrix(), 10, ("a", "b"), "3 different names"),
        (both(np.nan), 10, ABC, "a and b .* finite"),
        (both(np.inf), 10, ABC, "a and b .* finite"),
        (matrix((1, 1, 2.0)), 10, ABC, "b and b .* standard deviations"),
        (matrix((0, 2, 0.4)), 10, ABC, "a and c .* other way round"),
        (both(1.5), 10, ABC, "a and b .* outside"),
        (both(-1.0), 10, ABC, "the two are one"),
        (both(-0.9), 10, ABC, "eigenvalue"),
        (both(-0.9), 2 + 1, ABC, "eigenvalue"),
    ],
)
def test_bad_correlations_are_refused_by_name(given, rows, names, words):
    with pytest.raises(BadInput, match=words):
        Correlations(given, rows, names)


def test_correlations_come_from_normal_scores_so_that_units_do_not_matter():
    random = np.random.default_rng(0)
    rows = random.standard_normal((300, 3)) @ random.standard_normal((3, 3))
    first = Correlations.of_rows(rows, ABC)
    curved = np.column_stack([np.exp(rows[:, 0]), rows[:, 1] ** 3, 1e6 * rows[:, 2] - 7])
    assert Correlations.of_rows(curved, ABC).matrix == pytest.approx(first.matrix, abs=1e-12)
    assert first.matrix == pytest.approx(np.corrcoef(rows.T), abs=0.05)
    assert (first.rows, first.names, first.warnings) == (300, ABC, ())
    assert not first.matrix.flags.writeable


def test_bad_columns_are_refused_by_name():
    rows = np.random.default_rng(1).standard_normal((20, 3))
    for column, words in (([1.0] * 20, "b is constant"), ([np.nan] + [1.0] * 19, "b has missing")):
        with pytest.raises(BadInput, match=words):
            Correlations.of_rows(np.column_stack([rows[:, 0], column, rows[:, 2]]), ABC)
    with pytest.raises(BadInput, match="the two are one"):
        Correlations.of_rows(rows[:, [0, 1, 1]], ABC)
    with pytest.raises(BadInput, match="names for"):
        Correlations.of_rows(rows, ("a", "b"))
    with pytest.raises(BadInput, match="0 rows"):
        Correlations.of_rows(rows[:0], ABC)


def test_few_rows_get_a_ridge_and_dependent_columns_a_warning():
    random = np.random.default_rng(2)
    few = Correlations.of_rows(random.standard_normal((8, 12)), [f"x{k}" for k in range(12)])
    assert np.linalg.eigvalsh(few.matrix)[0] > 5e-4
    assert few.matrix.diagonal() == pytest.approx(1)
    assert "8 rows" in few.warnings[0]
    rows = random.standard_normal((50, 3))
    rows[:, 2] = rows[:, 0] + rows[:, 1]
    exact = Correlations(np.corrcoef(rows.T), 50, ABC)
    assert "almost linear" in exact.warnings[0]
    everyone = np.ones((3, 3), bool)
    assert np.isfinite(skeleton_features(exact.matrix, 50, 1, everyone).values).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((2, 2)), r"\[3, 3\]"),
        (both(1.1), "a and b .* no probability"),
        (both(-0.1), "no probability"),
        (both(np.nan), "no probability"),
        (matrix((2, 0, 0.4)), "a and c .* other way round"),
    ],
)
@pytest.mark.parametrize("which", ["posterior", "inclusion"])
def test_what_is_no_probability_is_refused_by_name(given, words, which):
    with pytest.raises(BadInput, match=f"{which} .*{words}"):
        SkeletonProbabilities(ABC, **{"posterior": matrix(), "inclusion": matrix(), which: given})


def test_probabilities_are_symmetric_without_a_diagonal():
    found = SkeletonProbabilities(ABC, matrix((0, 1, 0.5 + 1e-9)), np.ones((3, 3)))
    for part in (found.posterior, found.inclusion):
        assert np.array_equal(part, part.T)
        assert not part.diagonal().any()
        assert not part.flags.writeable


def test_what_lies_outside_of_the_simulations_is_flagged():
    ranges = TrainingRanges((4, 60), (200, 3000), (0.5, 2.0))
    small = Correlations(matrix(), 100, ABC)
    found = ranges.flags(small, np.full((3, 3), 0.2))
    assert [flag.partition(" are outside")[0] for flag in found] == [
        "3 variables",
        "100 rows",
        "0.2 expected adjacent pairs per variable",
    ]
    inside = TrainingRanges((3, 3), (100, 100), (0.5, 0.5)).flags(small, np.full((3, 3), 0.5))
    assert inside == ()
    with pytest.raises(ValueError, match="rows"):
        TrainingRanges((4, 60), (3000, 200), (0.5, 2.0))


def test_inclusion_has_a_floor_and_a_power():
    scores = np.array([[0.9, 0.5, 0.001], [0.5, 0.9, 1.0], [0.001, 1.0, 0.9]])
    assert inclusion_of(scores, 2.0) == pytest.approx(np.array([[0, 0.25, 0.02], [0.25, 0, 1], [0.02, 1, 0]]))
    assert inclusion_of(scores, 1.0, 0.1)[0] == pytest.approx([0, 0.5, 0.1])
    for power, least in ((0.0, 0.1), (1.0, 0.0), (1.0, 1.1)):
        with pytest.raises(ValueError, match="power is above 0"):
            inclusion_of(scores, power, least)


def test_the_calibration_undoes_a_shift_of_odds_that_depends_on_size():
    """Planted: p is the truth, and the score of balanced classes is logit s_bal = T logit p - o(d, n)."""
    random = np.random.default_rng(3)
    truth = expit(random.normal(-2.5, 1.5, 60_000))
    variables, rows = random.choice([10, 30, 100], truth.shape), random.choice([200, 1000, 3000], truth.shape)
    shift = -2.0 - 0.8 * np.log10(variables / 30) + 0.3 * np.log10(rows / 1000)
    scores, labels = expit(1.6 * logit(truth) - shift), random.random(truth.shape) < truth
    found = fit_odds_calibration(scores, labels, variables.astype(float), rows.astype(float))
    assert found.temperature == pytest.approx(1.6, abs=0.06)
    assert (found.offset, found.by_variables) == pytest.approx((-2.0, -0.8), abs=0.12)
    assert found.by_rows == pytest.approx(0.3, abs=0.12)
    here = (variables == 100) & (rows == 200)
    assert found(scores[here], 100, 200) == pytest.approx(truth[here], abs=0.03)
    assert np.isfinite(found(np.array([0.0, 1.0]), 10, 200)).all()


def test_one_size_and_one_label():
    scores, labels = np.array([0.2, 0.4, 0.6, 0.9, 0.7]), np.array([False, False, True, True, False])
    size = np.full(5, 50.0)
    found = fit_odds_calibration(scores, labels, size, 10 * size)
    assert found(scores, 50, 500).mean() == pytest.approx(labels.mean(), abs=1e-4)
    with pytest.raises(BadInput, match="one label"):
        fit_odds_calibration(scores, np.ones(5, bool), size, size)
    for wrong in ({"temperature": 0.0}, {"offset": np.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OddsCalibration(**wrong)


def simulated(seeds, d: int = 15, n: int = 500):
    """(smallest severity at order 1, label) of all pairs of fresh models."""
    strengths, labels = [], []
    for seed in seeds:
        model = draw_latent_model(LatentRecipe(), np.random.default_rng(seed), d)
        given = Correlations.of_rows(model.rows(np.random.default_rng([seed, 1]), n), model.graph.names)
        found = skeleton_features(given.matrix, n, 1, marginal_neighbours(given.matrix, n))
        strengths.append(np.minimum(found.column("smallest of the severities"), found.values[:, 0]))
        labels.append(model.graph.mag().skeleton[np.triu_indices(d, 1)])
    return np.nan_to_num(np.concatenate(strengths)), np.concatenate(labels)


def calibration_error(p: np.ndarray, true: np.ndarray) -> float:
    cell = np.minimum((10 * p).astype(int), 9)
    return sum(abs((p - true)[cell == k].sum()) for k in range(10)) / len(p)


def test_a_score_of_balanced_classes_is_calibrated_on_fresh_simulations():
    """The score is the class densities' ratio over bins of one feature, as a classifier of balanced classes has it."""
    strength, adjacent = simulated(range(30))
    cuts = np.quantile(strength[adjacent], np.linspace(0.1, 0.9, 9))
    counts = np.array([np.bincount(np.digitize(strength[adjacent == k], cuts), minlength=10) + 1 for k in (0, 1)])
    share = counts / counts.sum(1, keepdims=True)
    balanced = share[1] / share.sum(0)
    held, truth = simulated(range(30, 60))
    sizes = np.full(len(held), 15.0), np.full(len(held), 500.0)
    calibration = fit_odds_calibration(balanced[np.digitize(held, cuts)], truth, *sizes)
    fresh, true = simulated(range(60, 90))
    scores = balanced[np.digitize(fresh, cuts)]
    assert calibration_error(scores, true) > 0.1
    assert calibration_error(calibration(scores, 15, 500), true) < 0.02
