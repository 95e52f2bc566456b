"""Pictures under an edit and under its control, each in its own place."""

import torch

from bias_scenes import bias_judge
from intaglio.explain.bias.evening import evened_pictures
from intaglio.explain.bias.family import FoundEdit, tied
from intaglio.explain.bias.methods.steering import ValueSteering
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.sampling.site_edit import SiteEdit, ValueShifts


def test_the_edit_moves_what_is_after_and_a_control_of_nothing_leaves_pictures_as_they_were(model):
    method = ValueSteering(steps=2, batch=2, samples=4)
    shape = (3, 2, *_site_shape(model))
    shifts = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 5
    timesteps = tuple(method.walk.timesteps(model))
    edit, control = (
        SiteEdit("mid_block", bias_judge().values, model.fingerprint, ValueShifts(one, timesteps))
        for one in (shifts, torch.zeros(shape))
    )
    found = FoundEdit(edit, control, ("a", "b", "c"), (4, 4, 4), 0.5, 0.1, 1.0, 0.0)
    shown = evened_pictures(model, method, found, ["cat"], [1, 2, 3], bias_judge(), load_similarity("ssim", "cpu"))
    before, after, by_chance = shown.shares
    torch.testing.assert_close(by_chance, before)
    assert not torch.allclose(after, before, atol=1e-4)
    assert bool((shown.kept[1] > shown.kept[0]).all())


def _site_shape(model):
    seen = []
    handle = model.denoiser.mid_block.register_forward_hook(lambda module, given, output: seen.append(output.shape[1:]))
    try:
        with torch.no_grad():
            side = model.resolution // model.factor
            latents = torch.zeros(1, model.latent_channels, side, side)
            model.predict(latents, torch.tensor([5]), model.embed([""]))
    finally:
        handle.remove()
    return tuple(seen[0])


def test_values_that_go_with_their_prompts_are_seen():
    assert tied(torch.tensor([0, 1] * 20), 2)
    assert not tied(torch.tensor([0, 0, 1, 1] * 10), 2)
    assert not tied(torch.tensor([0, 1] * 20), 1)
