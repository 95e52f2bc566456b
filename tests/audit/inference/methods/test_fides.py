"""fides: its detector beside the likelihood ratio, its re-classifier, and divergences by hand."""

import math

import pytest
import torch

from inference_scenes import noisy_answers
from intaglio.audit.inference.answer_divergences import divergences
from intaglio.audit.inference.attack_detector import DetectorSettings, detected, trained_detector
from intaglio.audit.inference.attacked_answers import moved_to, swapped
from intaglio.audit.inference.class_answers import bounded
from intaglio.audit.inference.methods.fides import Fides
from intaglio.runs.run import Run

SMALL = {
    "views": 2,
    "block_steps": 1,
    "steps": 2,
    "rows": 4,
    "rounds": 4,
    "round_rows": 8,
    "width": 8,
    "agreement": 0.3,
}
BAD = {"rounds": 0}
PIECES = {"batch": 1}


def power(clean, attacked, level):
    return float((attacked > torch.quantile(clean, 1 - level)).double().mean())


def test_the_detector_has_the_power_of_the_likelihood_ratio_for_a_known_attack():
    """With p = softmax(z), q = softmax(z + N(0, s^2)) and the two first classes a, b of p swapped, the log likelihood
    ratio is -(log p_a - log p_b)(log q_a - log q_b) / s^2.
    """
    p, q = noisy_answers(2000, 3, 1.0, seed=0)
    settings = DetectorSettings(rounds=100, rows=128, width=64, learning_rate=5e-3, kappa=3.0, seed=0)
    learnt = trained_detector(p, q, settings, Run.none(), attack=lambda given, source: swapped(given))
    p, q = noisy_answers(20_000, 3, 1.0, seed=1)

    def ratio(p, q):
        two = p.topk(2, dim=1).indices
        return -torch.stack([one.log().gather(1, two).diff(dim=1)[:, 0] for one in (p, q)]).prod(0)

    for level in (0.01, 0.05):
        best = power(ratio(p, q), ratio(swapped(p), q), level)
        assert 0.4 < best < 0.7
        assert power(detected(learnt, p, q), detected(learnt, swapped(p), q), level) > best - 0.03


def test_without_an_attack_the_classes_are_the_services_and_attacked_ones_are_mended():
    p, q = noisy_answers(1000, 4, 0.1, seed=0)
    method = Fides(rounds=200, round_rows=64, width=32, round_rate=5e-3)
    learnt = method.learn(p, q, Run.none())
    p, q = noisy_answers(1000, 4, 0.1, seed=1)
    for given in (p, swapped(p)):
        found = method.repaired(learnt, given, q)
        torch.testing.assert_close(found.sum(1), torch.ones(1000).double())
        assert float((found.argmax(1) == p.argmax(1)).double().mean()) > 0.9
    assert power(method.score(learnt, p, q), method.score(learnt, swapped(p), q), 0.05) > 0.8


def test_divergences_of_two_answers():
    p, q = torch.tensor([[0.5, 0.3, 0.2]]).double(), torch.tensor([[0.1, 0.6, 0.3]]).double()
    found = divergences(p, q)
    forward = 0.5 * math.log(5) + 0.3 * math.log(0.5) + 0.2 * math.log(2 / 3)
    middle = [0.3, 0.45, 0.25]
    halves = [sum(a * math.log(a / m) for a, m in zip(one[0].tolist(), middle, strict=True)) for one in (p, q)]
    expected = {
        "forward": forward,
        "jensen_shannon": sum(halves) / 2,
        "total_variation": 0.4,
        "entropy_p": -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)),
        "margin_p": math.log(5 / 3),
        "margin_p_in_q": math.log(1 / 6),
        "margin_q": math.log(2),
        "margin_q_in_p": math.log(1.5),
        "rank_p_in_q": 2,
        "rank_q_in_p": 1,
    }
    assert {name: float(getattr(found, name)) for name in expected} == pytest.approx(expected)
    assert [float(one) for one in divergences(p, p)[:4]] == pytest.approx([0] * 4, abs=1e-12)


def test_a_moved_answer_has_the_target_on_top_and_its_other_classes_as_they_were():
    p = bounded(torch.tensor([[0.5, 0.45, 0.04, 0.01], [0.98, 0.01, 0.005, 0.005]]))
    target = torch.eye(4).double()[[2, 3]]
    for share in (0.02, 1.0):
        found = moved_to(p, target, torch.full((2,), share).double())
        torch.testing.assert_close(found.sum(1), torch.ones(2).double())
        assert found.argmax(1).tolist() == [2, 3]
        torch.testing.assert_close(found[:, 1], p[:, 1])


def test_the_attacker_pays_for_divergence_beyond_kappa_alone(tmp_path):
    """In the first round the same weights are asked; a lower kappa adds the mean of what lies between the two."""
    p, q = noisy_answers(200, 3, 1.0, seed=0)
    losses = {}
    for kappa in (0.0, 0.05, 100.0):
        settings = DetectorSettings(rounds=1, rows=64, width=8, learning_rate=1e-3, kappa=kappa, seed=0)
        about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
        with Run.open(tmp_path, "test", "detector", {"kappa": kappa}, {}, **about) as run:
            trained_detector(p, q, settings, run)
            losses[kappa] = run.logged("detector")[0]["attacker"]
    assert losses[100.0] < losses[0.05] < losses[0.0]
    assert losses[0.0] - losses[0.05] <= 0.05 + 1e-9
