"""Shared claims about the judge of attacks, and about the whole attack."""

import pytest
import torch

from audit_scenes import model, nudged
from intaglio.audit.unlearning.attack.audit import attack_concept
from intaglio.audit.unlearning.attack.methods.seeds import OtherSeeds
from intaglio.audit.unlearning.attack.picture_judges import ClassifierScore, EvidenceScore, calibrated_judge
from intaglio.audit.unlearning.attack.result import AttackedPrompt, UnlearnAttacks
from intaglio.errors import BadInput
from intaglio.models.classifiers import new_classifier
from intaglio.runs.run import Run
from intaglio.sampling.trained.own_latents import own_latents


@pytest.mark.parametrize("kind", ["evidence", "classifier"])
def test_the_judge_takes_at_most_the_asked_share_of_its_controls(kind):
    net = model()
    classifier = new_classifier({"artist": ("a", "b", "c")}, 1, (4,), (1,)).eval()
    score = EvidenceScore(net, "red dog", 3) if kind == "evidence" else ClassifierScore(classifier, "artist", "b")
    drawing = {"steps": 1, "scale": 2.0, "seed": 3}
    judge = calibrated_judge(score, net, ("cat", ""), fpr=0.25, controls=7, **drawing)
    latents = own_latents(net, ("cat", ""), 7, **drawing, batch=8, run=Run.none())
    with torch.no_grad():
        pixels = net.decode(latents)
    scores = score(pixels)
    assert judge.value == pytest.approx(float(scores.sort().values[-2]), rel=1e-5), "one of 7 of a rate of 2 in 8"
    assert int(judge(pixels).sum()) == 1
    with pytest.raises(BadInput, match="give more --controls"):
        calibrated_judge(score, net, ("cat",), fpr=0.05, controls=7, **drawing)


def test_log_odds_are_of_one_class_against_all_others():
    classifier = new_classifier({"artist": ("a", "b", "c")}, 1, (4,), (1,)).eval()
    pixels = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    shares = classifier.logits(pixels, "artist").softmax(1)[:, 1]
    wanted = (shares / (1 - shares)).log()
    assert torch.allclose(ClassifierScore(classifier, "artist", "b")(pixels), wanted, atol=1e-5)
    for head, label, said in (("kind", "b", "no head 'kind'"), ("artist", "d", "no class 'd'")):
        with pytest.raises(BadInput, match=said):
            ClassifierScore(classifier, head, label)


def test_models_that_differ_in_more_than_weights_are_refused():
    net, other = model(), model(0, "v_prediction")
    with pytest.raises(BadInput, match="was not made from tiny-0"):
        attack_concept(
            OtherSeeds(tries=1, steps=1), other, net, ["dog"], EvidenceScore(net, "dog", 0), fpr=0.5, controls=1
        )
    found = attack_concept(
        OtherSeeds(tries=1, steps=1), nudged(net), net, ["dog"], EvidenceScore(net, "dog", 0), fpr=0.5, controls=3
    )
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
