"""SiCL's network as a skeleton posterior: calibrated for MAGs, equivariant, stored, and refused where it is not its."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from intaglio.causal.methods.sicl.networks.inference import logits_of
from intaglio.causal.methods.sicl.networks.weights import load_network
from intaglio.causal.methods.spot import network_calibration
from intaglio.causal.methods.spot.cascade_settings import CascadeTraining
from intaglio.causal.methods.spot.cascade_training import WITHOUT_HIDDEN, simulated_tables
from intaglio.causal.methods.spot.correlations import Correlations
from intaglio.causal.methods.spot.network_calibration import calibrate_network
from intaglio.causal.methods.spot.network_posterior import SHIPPED_CALIBRATION, NetworkPosterior, balanced
from intaglio.causal.methods.spot.posterior_choice import chosen_posterior, posterior_weights
from intaglio.causal.methods.spot.posterior_quality import posterior_quality
from intaglio.errors import BadInput
from intaglio.runs.run import Run

FRESH = CascadeTraining(models=20, variables=(6, 10), rows=(200, 1000), seed=99)
TINY = CascadeTraining(models=10, variables=(5, 60), rows=(100, 200))


def shipped(**changes) -> NetworkPosterior:
    return replace(NetworkPosterior.load(SHIPPED_CALIBRATION), **changes)


def asked(posterior, values, names=None):
    names = names or tuple(f"x{k}" for k in range(values.shape[1]))
    return posterior(Correlations.of_rows(values, names), 0, values)


def fresh_pairs(hidden: bool):
    found, posterior = [], shipped(hidden_causes=hidden)
    tables = simulated_tables(FRESH, "held-out") if hidden else simulated_tables(FRESH, "held-out", WITHOUT_HIDDEN)
    for table in tables:
        found.append((asked(posterior, table.values).posterior[np.triu_indices(len(table.correlation), 1)], table))
    return np.concatenate([p for p, _ in found]), np.concatenate([table.adjacent for _, table in found])


@pytest.mark.parametrize("hidden", [True, False])
def test_it_is_right_and_calibrated_on_fresh_simulations(hidden):
    quality = posterior_quality(*fresh_pairs(hidden))
    assert quality.auroc > 0.9
    assert quality.ece < 0.06


def test_it_is_the_networks_probability_with_the_calibrations_odds():
    table = next(simulated_tables(FRESH, "held-out"))
    d, n = len(table.correlation), table.rows
    network, posterior = load_network("light"), shipped()
    kinds = np.zeros((1, d), int)
    largest = np.abs(table.values).max(0)
    logits = logits_of(network.network, (table.values / 2.0 ** np.ceil(np.log2(largest)))[None], kinds, network.context)
    one = posterior.calibrations[True]
    shift = one.offset + one.by_variables * np.log10(d / 30) + one.by_rows * np.log10(n / 1000)
    off = ~np.eye(d, dtype=bool)
    expected = expit((logits[0].skeleton + shift) / one.temperature)[off]
    assert asked(posterior, table.values).posterior[off] == pytest.approx(expected, abs=1e-3)


def test_columns_may_be_permuted_and_scaled_and_rows_shuffled():
    table = next(simulated_tables(FRESH, "held-out"))
    d, random = len(table.correlation), np.random.default_rng(1)
    order, straight = random.permutation(d), asked(shipped(), table.values)
    moved = asked(shipped(), table.values[random.permutation(table.rows)][:, order] * 64.0)
    for name in ("posterior", "inclusion"):
        expected = getattr(straight, name)[np.ix_(order, order)]
        assert getattr(moved, name) == pytest.approx(expected, abs=1e-5)


def test_inclusion_has_the_odds_of_the_expected_rate_taken_off():
    s = np.array([[0.0, 0.5, 0.1], [0.5, 0.0, 0.03], [0.1, 0.03, 0.0]])
    rate = 0.63 / 3
    found = balanced(s)
    assert found[0, 1] == pytest.approx(1 - rate)  # odds of one over the rate's
    assert logit(found[1, 2]) == pytest.approx(logit(0.03) - logit(rate))
    assert not found.diagonal().any()
    assert np.isfinite(balanced(np.ones((3, 3)) - np.eye(3))).all()


def test_a_table_outside_of_its_ranges_is_flagged():
    values = np.random.default_rng(0).standard_normal((40, 3))
    assert [flag.split(" are ")[0] for flag in asked(shipped(), values).flags[:2]] == ["3 variables", "40 rows"]


def test_correlations_alone_are_refused_and_so_is_another_network():
    values = np.random.default_rng(0).standard_normal((100, 6))
    with pytest.raises(BadInput, match="needs the rows of a table"):
        shipped()(Correlations.of_rows(values, tuple("abcdef")))
    with pytest.raises(BadInput, match="another network"):
        asked(shipped(network="0" * 64), values)


def opened(folder) -> Run:
    return Run.open(folder, "causal", "train-skeleton", {}, {}, seed=0, device="cpu", command=(), progress="none")


def test_a_calibration_is_resumed_at_its_set_of_tables_stored_and_read(tmp_path, monkeypatch):
    scored, real = [], network_calibration._scored

    def counted(*given):
        scored.append(given[1])
        if alive and len(scored) == 3:
            raise KeyboardInterrupt
        return real(*given)

    alive = False
    monkeypatch.setattr(network_calibration, "_scored", counted)
    whole = calibrate_network(TINY)
    assert scored == ["calibration", "held-out"] * 2
    alive = True
    scored.clear()
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as run:
        calibrate_network(TINY, run=run)
    alive = False
    scored.clear()
    with opened(tmp_path) as run:
        again = calibrate_network(TINY, run=run)
    assert scored == ["calibration", "held-out"]
    assert again.calibrations == whole.calibrations
    assert again.facts["variables"] == (5,)  # the network was trained on no tables as wide as 60
    again.save(tmp_path / "made.json")
    read = NetworkPosterior.load(tmp_path / "made.json")
    assert (read.calibrations, read.ranges, read.network) == (whole.calibrations, whole.ranges, whole.network)
    assert set(read.facts["held out"]) >= {"log_loss", "brier", "auroc", "ece"}


def test_tables_that_are_all_too_wide_are_refused():
    with pytest.raises(BadInput, match="50 variables at most"):
        calibrate_network(replace(TINY, variables=(60,)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": "table"}, "holds no skeleton posterior of a network"),
        ({"version": 2}, "holds no skeleton posterior of a network"),
        ({"calibrations": {}}, "with hidden causes"),
        ({"ranges": {"variables": [9, 5], "rows": [1, 2], "density": [0, 1]}}, "variables is a range"),
        ({"ranges": {"variables": [5]}}, "variables"),
    ],
)
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, change, words):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({**json.loads(SHIPPED_CALIBRATION.read_text()), **change}))
    with pytest.raises(BadInput, match=words) as told:
        NetworkPosterior.load(path)
    assert "\n" not in str(told.value)


def test_a_temperature_of_nought_is_refused(tmp_path):
    path, stored = tmp_path / "odd.json", json.loads(SHIPPED_CALIBRATION.read_text())
    stored["calibrations"]["with hidden causes"]["temperature"] = 0
    path.write_text(json.dumps(stored))
    with pytest.raises(BadInput, match="temperature is a number above 0"):
        NetworkPosterior.load(path)


def test_a_posterior_is_chosen_by_name_or_file(tmp_path):
    made = chosen_posterior("network", hidden_causes=False, device="cpu")
    assert isinstance(made, NetworkPosterior)
    assert not made.hidden_causes
    shipped().save(tmp_path / "own.json")
    assert isinstance(chosen_posterior(tmp_path / "own.json", hidden_causes=True, device="cpu"), NetworkPosterior)
    assert set(posterior_weights("network")) == {"posterior", "network"}
    assert set(posterior_weights("cascade")) == {"posterior"}
    with pytest.raises(BadInput, match="netwrok is no skeleton posterior: give cascade, network, or a file"):
        chosen_posterior("netwrok", hidden_causes=True, device="cpu")
