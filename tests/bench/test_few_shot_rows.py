"""Rows of private classifiers: the attack against planted gaps, and each row made once."""

import json
from math import sqrt
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from intaglio.bench.guarantees import few_shot_rows as room
from intaglio.metrics.statistics.roc import row_aucs
from intaglio.models import testbed
from intaglio.protect.private.methods.without_privacy import WithoutPrivacy
from intaglio.runs.run import Run
from private_scenes import classes, small_classifier


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_the_attack_reaches_the_best_power_where_members_are_shifted(shift):
    """Confidence is N(place, 1) without a picture, N(place + shift, 1) with it: the best AUC is Phi(shift / sqrt 2)."""
    random = np.random.default_rng(0)
    kept = random.random((200, 40)) < 0.5
    confidence = 5 * random.standard_normal(40) + shift * kept + random.standard_normal((200, 40))
    scores = room.likelihood_ratios(confidence, kept)
    found = row_aucs(scores[kept][None], scores[~kept][None])[0]
    assert found == pytest.approx(norm.cdf(shift / sqrt(2)), abs=0.02)


def test_a_model_is_no_shadow_of_itself():
    random = np.random.default_rng(1)
    kept, confidence = random.random((6, 30)) < 0.5, random.standard_normal((6, 30))
    kept[:2], kept[2:4] = True, False  # each picture is in two models and out of two, whatever the others
    first = room.likelihood_ratios(confidence, kept)
    confidence[5] += 3
    changed = room.likelihood_ratios(confidence, kept)
    means = [np.where(side, confidence, np.nan)[:5] for side in (kept, ~kept)]
    wanted = [
        norm.logpdf(confidence[5], np.nanmean(one, 0), np.sqrt(np.nanmean((one - np.nanmean(one, 0)) ** 2)))
        for one in means
    ]
    assert changed[5] == pytest.approx(wanted[0] - wanted[1])
    assert not np.allclose(first[5], changed[5])


def test_a_model_that_is_surer_of_what_it_learned_is_found_out(monkeypatch):
    pool = {"noto": classes(8)["red"], "fluent": classes(8)["blue"]}
    hashes = [one for images in pool.values() for one in images.hashes]
    random = np.random.default_rng(3)

    def teacher(method, seed):
        def taught(classifier, head, chosen):
            learned = {one for images in chosen.values() for one in images.hashes}
            return SimpleNamespace(classifier=[9.0 * (one in learned) for one in hashes])

        return taught

    monkeypatch.setattr(room, "classes_of", lambda split: pool)
    monkeypatch.setattr(room, "POOL", 16)
    monkeypatch.setattr(room, "_with_seed", teacher)
    monkeypatch.setattr(room, "_log_odds", lambda sure, pool: np.array(sure) + random.standard_normal(16))
    assert room._attacked(WithoutPrivacy(), 12, 0)["attack_auc"] > 0.95


def test_rows_are_made_once_of_pictures_that_are_not_judged(tmp_path, monkeypatch):
    every = {"noto": classes(9)["red"], "fluent": classes(9)["blue"]}
    monkeypatch.setattr(testbed, "controls_wide", lambda: every["noto"])
    monkeypatch.setattr(testbed, "real_pictures", lambda: every["fluent"])
    monkeypatch.setattr(testbed, "classifier", small_classifier)
    for name, value in {"JUDGED": 4, "QUICK_SHOTS": (2, 3), "QUICK_REPEATS": 2, "QUICK_MODELS": 6, "POOL": 10}.items():
        monkeypatch.setattr(room, name, value)
    assert not {*room.classes_of("learned")["noto"].hashes} & {*room.classes_of("judged")["noto"].hashes}
    with Run.open(tmp_path, "bench", "x", {}, {}, seed=0, device="cpu", command=(), progress="none") as run:
        rows = room.few_shot_rows(run, 0, quick=True)
        assert list(rows) == ["without privacy", "stopped early", "epsilon 8", "epsilon 1"]
        monkeypatch.setattr(room, "_right", None)
        assert json.dumps(room.few_shot_rows(run, 0, quick=True)) == json.dumps(rows)
    assert all(len(one) == 2 for row in rows.values() for one in row["right"].values())
    assert rows["epsilon 1"]["bound"] < rows["epsilon 8"]["bound"] < rows["without privacy"]["bound"] == 1
    assert room.few_shot_table(rows).count("\n") == 4
    assert set(room.few_shot_headlines(rows)) >= {"right_epsilon_8", "attack_without_privacy"}
