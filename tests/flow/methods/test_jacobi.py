"""Uniform Jacobi: coarse weights, settings that leave an end."""

import pytest
import torch

from flow_scenes import Jacobi, Sequential, largest, latents, unit

SMALL = {"batch": 2}
BAD = {"tau": -1.0}
PIECES = {"batch": 1}


def test_coarse_weights_stop_where_they_can_do_no_better():
    model = unit(double=False, spread=0.2).to(torch.bfloat16)
    z = latents(model, 2)
    found = Jacobi(tau=1e-7)(model, z, denoise=False)
    exact = Sequential()(model, z, denoise=False)
    assert found.patches.dtype == torch.float32
    assert largest(found.patches, exact.patches) < 0.3


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("tau", {"tau": 0.0}),
        ("tau", {"tau": float("inf")}),
        ("max_sweeps", {"max_sweeps": 0}),
        ("coarse_sweeps", {"coarse_sweeps": -1}),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(setting, values):
    with pytest.raises(ValueError, match=setting):
        Jacobi(**values)
