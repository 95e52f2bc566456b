"""top-class: 1 where the most probable classes differ, and no call below the student's own disagreement."""

import torch

from intaglio.audit.inference.methods.top_class import TopClass
from intaglio.metrics.statistics.conformal import p_values

SMALL = {"views": 2, "block_steps": 1, "steps": 2, "rows": 4, "agreement": 0.3}
BAD = {"agreement": 0.0}
PIECES = {"batch": 1}


def test_the_score_is_whether_the_classes_differ():
    p = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).double()
    q = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).double()
    scores = TopClass().score({}, p, q)
    assert scores.tolist() == [0, 1]
    held = [1] * 3 + [0] * 96  # a student that differs on 3 of 99
    assert p_values(scores.numpy(), held).tolist() == [1, 0.04]
