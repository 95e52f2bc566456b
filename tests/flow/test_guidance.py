"""Guidance: its formulas, when it acts, its settings."""

import pytest
import torch

from flow_scenes import Sequential, largest, latents, unit
from intaglio.flow.block.guidance import Guidance

LABELS = torch.tensor([0, 2, -1, 1])


def test_guidance_of_zero_and_guidance_without_a_contrast_change_nothing():
    model, plain = unit(), unit(num_classes=0)
    z = latents(model, 4)
    told = Sequential()(model, z, labels=LABELS, denoise=False).patches
    assert torch.equal(Sequential()(model, z, labels=LABELS, guidance=Guidance(scale=0.0), denoise=False).patches, told)
    free = Sequential()(plain, z, denoise=False).patches
    assert torch.equal(Sequential()(plain, z, guidance=Guidance(scale=3.0), denoise=False).patches, free)
    blurred = Sequential()(plain, z, guidance=Guidance(scale=0.5, temperature=1.5), denoise=False).patches
    assert largest(blurred, free) > 1e-3


def test_annealed_guidance_grows_from_a_share_to_all_of_it():
    scales = Guidance(scale=3.0).scales(16)
    assert scales[1] == pytest.approx(3.0 / 15)
    assert scales[15] == pytest.approx(3.0)
    assert Guidance(scale=3.0, annealed=False).scales(4) == [3.0] * 4


def test_the_gaussian_rule_never_widens():
    conditional, unconditional = ((torch.randn(9, 4, 5), torch.randn(9, 4, 5)) for _ in range(2))
    a, _ = Guidance(scale=2.0, rule="gaussian").apply(conditional, unconditional, torch.full((4, 1), 2.0))
    assert bool((a <= conditional[0] + 1e-6).all())


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("scale", {"scale": -1.0}),
        ("temperature", {"temperature": 0.0}),
        ("gaussian", {"rule": "gaussian", "what": "a"}),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(setting, values):
    with pytest.raises(ValueError, match=setting):
        Guidance(**values)
