"""js-divergence: by hand, and its bounds."""

import math

import pytest
import torch

from intaglio.audit.inference.class_answers import bounded
from intaglio.audit.inference.methods.js_divergence import JSDivergence

SMALL = {"views": 2, "block_steps": 1, "steps": 2, "rows": 4, "agreement": 0.3}
BAD = {"rows": 1}
PIECES = {"batch": 1}


def test_the_divergence_is_none_of_equal_answers_and_log_2_of_opposite_ones():
    p = bounded(torch.tensor([[0.7, 0.3], [1.0, 0.0]]))
    q = bounded(torch.tensor([[0.7, 0.3], [0.0, 1.0]]))
    equal, opposite = JSDivergence().score({}, p, q).tolist()
    assert equal == pytest.approx(0, abs=1e-12)
    assert math.log(2) * 0.99 < opposite < math.log(2)
