"""resize: keeps what is smooth, loses what is fine."""

import torch

from intaglio.protect.purify.methods.resize import Resizing

SMALL = {"share": 0.6}
BAD = {"share": 1.0}
PIECES = {}


def test_resizing_keeps_what_is_smooth_and_loses_what_is_fine():
    smooth = torch.linspace(0, 1, 32).expand(1, 3, 32, 32)
    assert float((Resizing().clean(smooth, None, 0) - smooth)[..., 4:-4].abs().max()) < 0.02
    fine = (torch.arange(32) % 2).float().expand(1, 3, 32, 32)
    assert float((Resizing().clean(fine, None, 0) - 0.5).abs().mean()) < 0.1
