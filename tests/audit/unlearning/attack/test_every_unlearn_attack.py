"""Shared claims about the judge of attacks, and about the whole attack."""

import pytest
import torch

from audit_scenes import model, nudged
from intaglio.audit.unlearning.attack.audit import attack_concept
from intaglio.audit.unlearning.attack.evidence_judge import calibrated_judge, evidence_of
from intaglio.audit.unlearning.attack.methods.seeds import OtherSeeds
from intaglio.audit.unlearning.attack.result import AttackedPrompt, UnlearnAttacks
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from intaglio.sampling.trained.own_latents import own_latents


def test_the_judge_takes_at_most_the_asked_share_of_its_controls():
    net = model()
    drawing = {"steps": 1, "scale": 2.0, "seed": 3}
    judge = calibrated_judge(net, "red dog", ("cat", ""), fpr=0.25, controls=7, **drawing)
    latents = own_latents(net, ("cat", ""), 7, **drawing, batch=8, run=Run.none())
    scores = evidence_of(net, latents, "red dog", 3)
    assert judge.value == pytest.approx(float(scores.sort().values[-2]), rel=1e-6), "one of 7 of a rate of 2 in 8"
    with torch.no_grad():
        pixels = net.decode(latents)
        again = evidence_of(net, net.encode(pixels).float(), "red dog", 3)
    assert judge(pixels).tolist() == (again > judge.value).tolist()
    with pytest.raises(BadInput, match="give more --controls"):
        calibrated_judge(net, "red dog", ("cat",), fpr=0.05, controls=7, **drawing)


def test_models_that_differ_in_more_than_weights_are_refused():
    net, other = model(), model(0, "v_prediction")
    with pytest.raises(BadInput, match="was not made from tiny-0"):
        attack_concept(OtherSeeds(tries=1, steps=1), other, net, ["dog"], "dog", fpr=0.5, controls=1)
    found = attack_concept(OtherSeeds(tries=1, steps=1), nudged(net), net, ["dog"], "dog", fpr=0.5, controls=3)
    assert "the original model's evidence of “dog”" in found.judge


def test_successes_are_counted_at_equal_tries_beside_those_unattacked():
    rows = [("a", True, 1), ("b", False, 4), ("c", False, None)]
    prompts = tuple(AttackedPrompt(name, plain, first, (), "", 0) for name, plain, first in rows)
    found = UnlearnAttacks("seeds", "from other noise each time", 5, prompts)
    assert [found.successes(tries) for tries in (1, 3, 4)] == [1, 1, 2]
    assert found.successes() == 2
    assert found.statement == (
        "2 of 3 prompts showed the concept within 5 tries from other noise each time (95% interval 9% to 99%); 1 did "
        "so unattacked."
    )
