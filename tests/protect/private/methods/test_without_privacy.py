"""without-privacy: plain gradients, against torch's own Adam."""

import torch
from torch.nn.functional import cross_entropy

from intaglio.protect.private.classifier_learner import features_of
from intaglio.protect.private.methods.without_privacy import WithoutPrivacy
from private_scenes import classes, small_classifier

SMALL = {"steps": 6}
BAD = {"learning_rate": 0.0}
PIECES = {}


def test_steps_are_those_of_adam_on_the_mean_loss():
    classifier, taught = small_classifier(), classes(4)
    found = WithoutPrivacy(steps=20, learning_rate=0.03)(classifier, "x", taught)
    features = features_of(classifier, torch.cat([one.pixels for one in taught.values()]))
    labels = torch.tensor([0] * 4 + [1] * 4)
    head = torch.nn.Linear(6, 2)
    for weight in head.parameters():
        torch.nn.init.zeros_(weight)
    adam = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(20):
        adam.zero_grad()
        cross_entropy(head(features), labels).backward()
        adam.step()
    torch.testing.assert_close(found.classifier.heads["x"].weight, head.weight.detach(), atol=1e-5, rtol=1e-4)
    assert found.record.report is None
    assert not found.record.holds
    assert "no privacy is promised" in found.record.card().lower()
    assert "Outside" not in found.record.card()
