"""few-shot: the clipped and noised mean by hand, what a promise asks for, and planted classes learned under it."""

from dataclasses import replace
from math import sqrt

import pytest
import torch

from intaglio.errors import BadInput, IntaglioError
from intaglio.learning import private_budget
from intaglio.learning.private import known_key
from intaglio.metrics import privacy
from intaglio.metrics.privacy import gaussian_delta
from intaglio.protect.private.classifier_learner import ClassifierLearner
from intaglio.protect.private.labelled_pictures import LabelledPictures
from intaglio.protect.private.methods.few_shot import PrivateFewShot
from private_scenes import classes, small_classifier

SMALL = {"steps": 6, "noise_seed": 1}
BAD = {"bound": 0.0}
PIECES = {}
VARIANTS = {
    "film": {"SMALL": {"trained": "film", "steps": 3}, "BAD": {"delta": 1.5}, "PIECES": {}},
    "all": {"SMALL": {"trained": "all", "steps": 2}, "BAD": {"epsilon": 0.0}, "PIECES": {}},
}


def learner():
    return ClassifierLearner.of(small_classifier(), "x", LabelledPictures.of(classes(3)), "head")


def test_a_step_follows_the_clipped_mean_with_its_noise():
    method, one = PrivateFewShot(steps=9, bound=0.2, noise_seed=4), learner()
    weights = {name: weight + 0.1 for name, weight in one.begun().items()}
    chosen = [0, 2, 5]
    (rows,) = one.rows(weights, chosen)
    flat = torch.cat([rows["weight"].flatten(1), rows["bias"]], 1)
    clipped = flat * (0.2 / flat.norm(dim=1)).clamp(max=1)[:, None]
    assert (flat.norm(dim=1) > 0.2).any()
    found = [method.gradient(one, weights, some, 7, known_key(4)) for some in (chosen, [])]
    signal = torch.cat([(found[0][name] - found[1][name]).flatten() for name in ("weight", "bias")])
    torch.testing.assert_close(signal, clipped.sum(0) / 6, atol=1e-6, rtol=1e-4)
    # Nobody in the step leaves the noise alone, of sigma times the bound over all six pictures.
    many = [method.gradient(one, weights, [], step, known_key(4)) for step in range(400)]
    noise = torch.cat([torch.cat([part.flatten() for part in each.values()]) for each in many])
    wanted = method.report(6).sigma * 0.2 / 6
    assert noise.std() == pytest.approx(wanted, rel=0.05)
    assert abs(float(noise.mean())) < 4 * wanted / sqrt(len(noise))


def test_the_noise_is_the_least_that_keeps_the_promise_of_all_tries():
    for tries in (1, 3):
        report = PrivateFewShot(steps=25, epsilon=2.0, tries=tries).report(40)
        assert (report.rate, report.records, report.accountant) == (1.0, 40, "closed-form")
        assert report.delta == pytest.approx(1 / 400)
        spent, less = (gaussian_delta(2.0 / tries, 5.0 / (part * report.sigma)) for part in (1, 0.99))
        assert spent <= report.delta / tries < less
    with pytest.raises(BadInput, match="tenth of one picture in 40"):
        PrivateFewShot(delta=0.01).report(40)


def test_planted_classes_are_learned_at_a_loose_promise_and_not_at_a_tight_one():
    taught, further, classifier = classes(40), classes(60, seed=1), small_classifier()
    right = {}
    for epsilon in (50.0, 0.05):
        method = PrivateFewShot(epsilon=epsilon, noise_seed=2, steps=60, learning_rate=0.05)
        found = method(classifier, "colour", taught).judged(further)
        right[epsilon] = sum(one.right for one in found.record.judged) / 120
        assert found.classifier.classes == {"colour": ("red", "blue")}
    assert right[50.0] > 0.95
    assert right[0.05] < 0.8


def test_a_secret_is_drawn_afresh_and_a_seed_voids_the_promise():
    taught, classifier = classes(3), small_classifier()
    secret = PrivateFewShot(steps=2)
    one, other = (secret(classifier, "x", taught) for _ in range(2))
    apart = [found.classifier.heads["x"].weight for found in (one, other)]
    assert not torch.equal(*apart)
    assert one.record.holds
    assert one.record.promise.startswith("(8, 0.017)-differentially private for each of 6 pictures")
    seeded = replace(secret, noise_seed=3)
    same = [seeded(classifier, "x", taught) for _ in range(2)]
    assert torch.equal(*[found.classifier.heads["x"].weight for found in same])
    assert not same[0].record.holds
    assert same[0].record.promise.startswith("void")
    assert "void" in same[0].record.card()


def test_batches_are_drawn_at_their_rate(monkeypatch):
    monkeypatch.setattr(private_budget, "_noise", lambda *given: 1.5)
    monkeypatch.setattr(privacy, "epsilon_spent", lambda *given: 1.0)
    chosen = []

    class Noting(PrivateFewShot):
        def gradient(self, learner, weights, chosen_now, step, key):
            chosen.append(list(chosen_now))
            return super().gradient(learner, weights, chosen_now, step, key)

    Noting(batch=3, steps=60, noise_seed=0, trained="head")(small_classifier(), "x", classes(6))
    sizes = torch.tensor([len(one) for one in chosen]).double()
    assert sizes.mean() == pytest.approx(3, abs=3 * sqrt(12 * 0.25 * 0.75 / 60))
    assert sizes.std() > 1, "by chance, not by shuffling"


def test_a_head_without_a_name_and_weights_that_blow_up_are_told():
    with pytest.raises(BadInput, match="no name of a head"):
        PrivateFewShot()(small_classifier(), "my head", classes(3))
    with pytest.raises(IntaglioError, match="not finite"):
        PrivateFewShot(steps=3, learning_rate=1e38, noise_seed=0)(small_classifier(), "x", classes(3))
