"""The cascade of boosted trees: learnt in small, resumed, stored, refused where damaged, and the package's own."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from intaglio.causal.methods.spot import cascade_training
from intaglio.causal.methods.spot.cascade import SHIPPED, SkeletonCascade, pairs_matrix, shipped_cascade
from intaglio.causal.methods.spot.cascade_settings import CascadeTraining
from intaglio.causal.methods.spot.cascade_training import simulated_tables, train_cascade
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.errors import BadInput
from intaglio.runs.run import Run

TINY = CascadeTraining(models=10, variables=(5, 6, 8), rows=(200, 1000), trees=8, leaves=4)
FRESH = CascadeTraining(models=30, variables=(5, 6, 8), rows=(200, 1000), seed=77)
CALIBRATION_DAMAGE = ({"calibrations": {}}, {"ranges": {"variables": [9, 2]}}, {"facts": 3})


@pytest.fixture(scope="module")
def tiny():
    return train_cascade(TINY)


def opened(folder) -> Run:
    return Run.open(folder, "causal", "train-skeleton", {}, {}, seed=0, device="cpu", command=(), progress="none")


def correlations_of(table, order=None) -> Correlations:
    d = len(table.correlation)
    order = np.arange(d) if order is None else order
    names = tuple(f"x{k}" for k in order)
    return Correlations(np.array(table.correlation[np.ix_(order, order)]), table.rows, names)


def fresh_pairs(cascade, settings):
    """Probabilities and labels of all pairs of fresh tables."""
    found = []
    for table in simulated_tables(settings, "held-out"):
        upper = np.triu_indices(len(table.correlation), 1)
        found.append((cascade(correlations_of(table)).posterior[upper], table.adjacent))
    probabilities, adjacent = (np.concatenate(part) for part in zip(*found, strict=True))
    return probabilities, adjacent


def test_a_tiny_training_tells_adjacent_pairs_of_fresh_tables_from_others(tiny):
    quality = posterior_quality(*fresh_pairs(tiny, FRESH))
    assert quality.auroc > 0.85
    assert tiny.facts["held out"]["auroc"] > 0.85
    assert tiny.facts["models"] == 10
    assert (tiny.ranges.variables, tiny.ranges.rows) == ((5, 8), (200, 1000))


def test_labels_are_adjacency_in_the_mag_and_rows_lie_within_their_range():
    for table in simulated_tables(TINY, "first"):
        d = len(table.correlation)
        assert d in TINY.variables
        assert table.adjacent.shape == (d * (d - 1) // 2,)
        assert TINY.rows[0] <= table.rows <= TINY.rows[1]
    one, two = (next(simulated_tables(TINY, stage)) for stage in ("first", "second"))
    assert one.rows != two.rows  # stages have tables of their own


def same(one: SkeletonCascade, two: SkeletonCascade) -> bool:
    pairs = [(one.first, two.first), (one.second, two.second)]
    arrays = all(np.array_equal(a.arrays()[key], b.arrays()[key]) for a, b in pairs for key in a.arrays())
    return arrays and one.calibrations == two.calibrations and one.ranges == two.ranges


def test_a_training_is_a_function_of_its_seed(tiny):
    assert same(tiny, train_cascade(TINY))
    other = train_cascade(replace(TINY, seed=1))
    assert not same(tiny, other)


@pytest.mark.parametrize("killed_at", [1, 2, 3])
def test_a_killed_training_resumes_at_its_stage_and_ends_alike(tiny, tmp_path, monkeypatch, killed_at):
    """Killed in the first order, in the second, and while it calibrates."""
    fits = []

    def counted(name, real):
        def call(*given, **settings):
            fits.append(name)
            if alive and len(fits) == killed_at:
                raise KeyboardInterrupt
            return real(*given, **settings)

        return call

    for name in ("fit_boosted_trees", "fit_odds_calibration"):
        monkeypatch.setattr(cascade_training, name, counted(name, getattr(cascade_training, name)))
    alive = True
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as run:
        train_cascade(TINY, run=run)
    alive, taken = False, len(fits)
    with opened(tmp_path) as run:
        again = train_cascade(TINY, run=run)
    assert same(tiny, again)
    assert fits[taken:].count("fit_boosted_trees") == 3 - min(killed_at, 3)


def test_saved_and_loaded_it_gives_the_same_probabilities(tiny, tmp_path):
    tiny.save(tmp_path / "made.safetensors")
    loaded = SkeletonCascade.load(tmp_path / "made.safetensors")
    assert same(tiny, loaded)
    assert json.loads(json.dumps(tiny.facts)) == loaded.facts
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "made.safetensors").read_bytes()
    table = next(simulated_tables(FRESH, "held-out"))
    for hidden in (True, False):
        one, two = (replace(part, hidden_causes=hidden)(correlations_of(table)) for part in (tiny, loaded))
        assert np.array_equal(one.posterior, two.posterior)
        assert np.array_equal(one.inclusion, two.inclusion)
        assert one.flags == two.flags


def test_a_file_with_its_format_beside_the_rest_is_read(tiny, tmp_path):
    tiny.save(tmp_path / "made.safetensors")
    with safe_open(tmp_path / "made.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    form = about.pop("format")
    save_file(
        load_file(tmp_path / "made.safetensors"),
        tmp_path / "old.safetensors",
        {"format": form, "about": json.dumps(about)},
    )
    assert same(tiny, SkeletonCascade.load(tmp_path / "old.safetensors"))


def test_the_two_calibrations_differ_and_inclusion_is_the_balanced_score(tiny):
    table = next(simulated_tables(FRESH, "held-out"))
    given = correlations_of(table)
    one, two = (replace(tiny, hidden_causes=hidden)(given) for hidden in (True, False))
    assert not np.array_equal(one.posterior, two.posterior)
    assert np.array_equal(one.inclusion, two.inclusion)
    least = replace(tiny, least_inclusion=0.5)(given).inclusion
    assert least == pytest.approx(np.maximum(one.inclusion, 0.5 * (1 - np.eye(len(least)))))


@pytest.mark.parametrize("which", ["tiny", "shipped"])
def test_a_permutation_of_the_columns_permutes_the_probabilities(which, tiny):
    cascade = tiny if which == "tiny" else shipped_cascade()
    for table in list(simulated_tables(FRESH, "held-out"))[:5]:
        order = np.random.default_rng(len(table.adjacent)).permutation(len(table.correlation))
        straight, moved = cascade(correlations_of(table)), cascade(correlations_of(table, order))
        for name in ("posterior", "inclusion"):
            assert getattr(moved, name) == pytest.approx(getattr(straight, name)[np.ix_(order, order)], abs=1e-9)


def damaged(path, change):
    """The package's file with its arrays or metadata changed."""
    with safe_open(SHIPPED, framework="pt") as file:
        metadata = dict(file.metadata())
    tensors, metadata = change(load_file(SHIPPED), metadata)
    save_file(tensors, path, metadata)
    return path


def about_with(change):
    def changed(tensors, metadata):
        return tensors, {**metadata, "about": json.dumps({**json.loads(metadata["about"]), **change})}

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, m: (t, {"about": json.dumps({"format": "99"})}), "holds no skeleton posterior of format 1"),
        (lambda t, m: (t, {"about": "[]"}), "holds no skeleton posterior of format 1"),
        (lambda t, m: (t, {"about": "{"}), "metadata"),
        (lambda t, m: ({"weight": torch.zeros(3)}, {}), "holds no skeleton posterior of format 1"),
        (lambda t, m: ({k: v for k, v in t.items() if k != "second.left"}, m), "trees without 'left'"),
        (lambda t, m: ({**t, "first.left": torch.zeros_like(t["first.left"])}, m), "lead back or nowhere"),
        (lambda t, m: ({**t, "first.value": t["first.value"] * float("nan")}, m), "finite"),
        *[(about_with(change), "calibration or ranges are damaged") for change in CALIBRATION_DAMAGE],
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(tmp_path, change, words):
    path = damaged(tmp_path / "odd.safetensors", change)
    with pytest.raises(BadInput, match=words) as told:
        SkeletonCascade.load(path)
    assert "\n" not in str(told.value)


def test_a_pickle_half_a_file_and_no_file_are_refused_in_one_sentence(tmp_path):
    pickled, cut = tmp_path / "trees.pkl", tmp_path / "cut.safetensors"
    pickled.write_bytes(pickle.dumps({"first": [1, 2]}))
    cut.write_bytes(SHIPPED.read_bytes()[:5000])
    for path in (pickled, cut, tmp_path / "none.safetensors"):
        with pytest.raises(BadInput, match=path.name) as told:
            SkeletonCascade.load(path)
        assert "\n" not in str(told.value)


def test_the_packages_cascade_is_right_and_calibrated_on_fresh_simulations():
    settings = CascadeTraining(models=40, variables=(8, 12, 15), rows=(200, 2000), seed=4242)
    quality = posterior_quality(*fresh_pairs(shipped_cascade(), settings))
    assert quality.auroc > 0.9
    assert quality.ece < 0.05


def test_the_packages_cascade_has_no_leaf_that_decides_alone():
    """Leaves without a penalty grew by orders of magnitude, and gave pairs of noise probabilities of 1."""
    cascade = shipped_cascade()
    for trees in (cascade.first, cascade.second):
        assert np.abs(trees.value).max() < 2.0


@pytest.mark.parametrize("rows", [30, 100, 500])
def test_the_packages_cascade_is_sure_of_no_pair_of_noise(rows):
    cascade, upper = shipped_cascade(), np.triu_indices(20, 1)
    for seed in range(10):
        noise = np.random.default_rng(seed).standard_normal((rows, 20))
        found = cascade(Correlations.of_rows(noise, tuple(f"x{k}" for k in range(20)))).posterior[upper]
        assert found.max() < 0.9


def test_pairs_go_into_the_upper_triangle_row_by_row():
    assert pairs_matrix(np.array([1.0, 2.0, 3.0]), 3).tolist() == [[0, 1, 2], [1, 0, 3], [2, 3, 0]]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("models", 9),
        ("trees", 0),
        ("leaves", 1),
        ("seed", -1),
        ("variables", ()),
        ("variables", (5, 1)),
        ("rows", (5, 50)),
        ("rows", (50, 20)),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        CascadeTraining(**{setting: value})
