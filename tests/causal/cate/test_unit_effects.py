"""Scores and their judgement on planted trials, tables of units, and the stored result."""

from dataclasses import dataclass

import numpy as np
import pytest

from cate_scenes import planted
from intaglio.causal.cate.family import EffectLearner, slope_of
from intaglio.causal.cate.methods.constant import ConstantEffect
from intaglio.causal.cate.methods.r_learner import RLearner
from intaglio.causal.cate.result import UnitEffects
from intaglio.causal.cate.robust_scores import crossed_scores, folds_of, robust_scores
from intaglio.causal.cate.trial_units import TrialColumns, TrialUnits, read_units
from intaglio.errors import BadInput
from intaglio.runs.tensors import write_state

COLUMNS = TrialColumns("unit", "y", "w", "", ("a", "b"))


def test_scores_have_the_effect_for_their_mean_whatever_the_outcomes_are_predicted_to_be():
    units, effects = planted(40_000, 0)
    wrong = np.full(len(units), 7.0), units.features[:, 0] * 3
    for predicted in (wrong, (units.features @ [1, 0, 0], units.features @ [0, 1, 1])):
        scores = robust_scores(units, *predicted)
        assert scores.mean() == pytest.approx(effects.mean(), abs=4 * scores.std() / 200)
        some = units.features[:, 0] > 0
        assert scores[some].mean() == pytest.approx(effects[some].mean(), abs=4 * scores.std() / 141)


def test_of_outcomes_without_noise_and_known_means_each_score_is_the_units_own_effect():
    source = np.random.default_rng(8)
    base, effects, treated = source.standard_normal(200), source.standard_normal(200), source.random(200) < 0.3
    names = tuple(map(str, range(200)))
    units = TrialUnits(names, base + treated * effects, treated, np.full(200, 0.3), np.zeros((200, 1)))
    np.testing.assert_allclose(robust_scores(units, base + effects, base), effects)


def test_propensities_that_the_treated_speak_against_are_warned_of(tmp_path):
    units, _ = planted(400, 9)
    assert units.warnings == []
    other = TrialUnits(units.names, units.outcome, units.treated, 1 - units.propensity, units.features)
    assert "standard errors away; check --propensity" in other.warnings[0]


def test_scores_use_each_units_own_propensity():
    units, effects = planted(40_000, 1, propensity=lambda x: np.where(x[:, 0] > 0, 0.8, 0.2))
    scores = robust_scores(units, np.zeros(len(units)), np.zeros(len(units)))
    assert scores.mean() == pytest.approx(effects.mean(), abs=4 * scores.std() / 200)


def test_a_units_prediction_and_scores_come_from_other_folds(monkeypatch):
    units, _ = planted(60, 2)
    places = folds_of(units, 5, 0)
    assert np.bincount(places[units.treated]).max() - np.bincount(places[units.treated]).min() <= 1
    taught = []

    @dataclass(frozen=True, kw_only=True)
    class Noting(EffectLearner):
        name = "noting"
        reading = "noted"

        def fit(self, units):
            taught.append(set(units.names))
            return lambda features: np.zeros(len(features))

    Noting(resamples=50)(units)
    for number, names in enumerate(taught):
        assert names == {units.names[k] for k in np.flatnonzero(places != number)}
    changed = TrialUnits(units.names, units.outcome.copy(), units.treated, units.propensity, units.features)
    inside = np.flatnonzero((places == 2) & units.treated)
    changed.outcome[inside] += 100
    moved = crossed_scores(changed, 5, 0) - crossed_scores(units, 5, 0)
    np.testing.assert_allclose(moved[inside], 100 / units.propensity[inside], rtol=1e-9)  # not through the model


def test_a_planted_ranking_is_found_and_of_equal_effects_none():
    units, effects = planted(1500, 3)
    found = RLearner(resamples=100)(units)
    assert np.corrcoef(found.effects, effects)[0, 1] > 0.9
    assert found.autoc.p < 0.01
    assert found.slope.value == pytest.approx(1, abs=0.3)
    assert "gain more" in found.statement
    same, _ = planted(1500, 4, gain=0.0)
    none = RLearner(resamples=100)(same)
    assert none.autoc.p > 0.01
    constant = ConstantEffect(resamples=50)(units)
    assert constant.mean.value == pytest.approx(effects.mean(), abs=0.2)


def test_the_slope_and_its_error_are_those_of_least_squares():
    source = np.random.default_rng(5)
    x = source.standard_normal(5000)
    y = 3 + 0.5 * x + np.abs(x) * source.standard_normal(5000)
    places = np.zeros(5000, int)
    found = slope_of(x, y, places)
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.error == pytest.approx((3 / 5000) ** 0.5, rel=0.1)  # E x^2 (x e)^2 = 3, by hand
    assert slope_of(np.ones(9), np.arange(9.0), np.zeros(9, int)).value == 0
    shifted = np.arange(5000) % 2
    assert slope_of(x + 9 * shifted, y - 7 * shifted, shifted).value == pytest.approx(0.5, abs=0.1)


def test_one_effect_for_all_ranks_nobody_though_folds_learn_different_ones():
    found = ConstantEffect(resamples=50)(planted(80, 6, gain=0.0)[0])
    assert len(set(found.effects)) == 5
    assert (found.autoc.value, found.qini.value, found.slope.value) == (0, 0, 0)
    assert "all units have the same predicted effect" in found.warnings[0]


def test_a_table_of_units_is_read(tmp_path):
    path = tmp_path / "units.csv"
    path.write_text("unit,y,w,e,a,b\nu1,1.5,1,0.3,1,2\nu2,2,0,0.4,3,4\n")
    units = read_units(path, COLUMNS)
    assert (units.names, units.treated.tolist(), units.propensity.tolist()) == (("u1", "u2"), [True, False], [0.5, 0.5])
    np.testing.assert_array_equal(units.features, [[1, 2], [3, 4]])
    assert read_units(path, TrialColumns("unit", "y", "w", "e", ())).propensity.tolist() == [0.3, 0.4]
    assert read_units(path, TrialColumns("unit", "y", "w", "0.25", ())).propensity.tolist() == [0.25, 0.25]


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ("u,1,2,0,0\nv,1,0,0,0", COLUMNS, "column w of .* has other numbers than 0 and 1"),
        ("u,1,1,0,0\nu,1,0,0,0", COLUMNS, "has the unit 'u' twice"),
        ("u,1,1,x,0\nv,1,0,0,0", COLUMNS, "column a of .* has no number in its row 1"),
        ("u,1,1,0,0", TrialColumns("unit", "y", "z", "", ()), "has no column 'z'; it has: unit, y, w, a, b"),
        ("u,1,1,0,0", TrialColumns("unit", "y", "w", "1.5", ()), "a propensity of 1.5 is no probability"),
    ],
)
def test_tables_that_cannot_be_used_are_told(tmp_path, rows, columns, words):
    path = tmp_path / "units.csv"
    path.write_text(f"unit,y,w,a,b\n{rows}\n")
    with pytest.raises(BadInput, match=words):
        read_units(path, columns)


def test_units_that_cannot_be_used_are_told():
    units, _ = planted(60, 0)
    with pytest.raises(BadInput, match="30 units with"):
        RLearner()(units[np.arange(30)])
    with pytest.raises(BadInput, match="no features"):
        RLearner()(TrialUnits(units.names, units.outcome, units.treated, units.propensity, np.empty((60, 0))))
    with pytest.raises(BadInput, match="30 folds of .* units in the smaller arm are too many"):
        RLearner(folds=30)(units)
    edge = np.where(np.arange(60) == 7, 0.001, 0.5)
    with pytest.raises(BadInput, match="a unit has a propensity below 0.01"):
        RLearner()(TrialUnits(units.names, units.outcome, units.treated, edge, units.features))
    with pytest.raises(BadInput, match="outcomes of all units are the same"):
        RLearner()(TrialUnits(units.names, np.ones(60), units.treated, units.propensity, units.features))


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    units, _ = planted(60, 0)
    found = RLearner(resamples=50)(units)
    found.save(tmp_path)
    again = UnitEffects.load(tmp_path)
    assert (again.rows(), again.figures(), again.statement) == (found.rows(), found.figures(), found.statement)
    assert [row["rank"] for row in found.rows()] == list(range(1, 61))
    write_state(tmp_path / "effects.safetensors", *_short(found))
    with pytest.raises(BadInput, match="is damaged .the effects do not fit the units.; delete it"):
        UnitEffects.load(tmp_path)


def _short(found):
    tensors, about = found._parts()
    return tensors, {**about, "names": about["names"][:-1]}
