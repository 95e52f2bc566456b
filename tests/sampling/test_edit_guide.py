import pytest
import torch

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.models.module_edits import ModuleEdit
from intaglio.sampling.guides.edit_guide import EditGuide
from intaglio.sampling.loop import sample

SITE = "mid_block"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("edit")))


def drawn(model, guide=None, scale=3.0):
    options = {"steps": 3, "guidance_scale": scale, "guide": guide, "negative": "dog"}
    return sample(model, ["red cat", "cat"], [1, 2], **options).pixels


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_edit_that_does_nothing_changes_no_bit(model, scale):
    plain = drawn(model, scale=scale)
    same = ModuleEdit(SITE, lambda h, t: h)
    none = ModuleEdit(SITE, lambda h, t: h + 0 * h)
    for guide in (EditGuide(scale, [same]), EditGuide(scale, [none]), EditGuide(scale, change_clean=lambda x, t: x)):
        assert torch.equal(drawn(model, guide, scale), plain)
    assert not torch.equal(drawn(model, EditGuide(scale, [ModuleEdit(SITE, lambda h, t: h + 1)]), scale), plain)


def test_the_prompts_prediction_alone_is_edited(model):
    """Of 2n rows the first n are the negative ones: what they give is untouched, and the others are combined."""
    latents, t = torch.randn(2, 4, 8, 8), torch.tensor([500, 500])
    given = model.embed(["dog", "dog", "red cat", "cat"])
    edit, rows = ModuleEdit(SITE, lambda h, t: -h), list[int]()

    def predict(x, times, conditioning):
        rows.append(len(x))
        return model.predict(x, times, conditioning)

    with torch.no_grad():
        _, noise = EditGuide(3.0, [edit]).step((model, given), latents, t, predict)
        plain = model.predict(latents, t, given[[0, 1]])
        handle = model.denoiser.mid_block.register_forward_hook(lambda m, i, o: -o)
        moved = model.predict(latents, t, given[[2, 3]])
        handle.remove()
    torch.testing.assert_close(noise, plain + 3 * (moved - plain), atol=1e-5, rtol=1e-4)
    assert rows == [4]
    assert not model.denoiser.mid_block._forward_hooks


def test_a_shift_of_the_clean_latents_is_that_of_the_noise_that_speaks_for_them(model):
    """One step of DDIM from the last timestep ends at the clean latents themselves: they shift by scale * shift."""
    seen = []
    for shift in (0.0, 0.25):
        guide = EditGuide(2.0, change_clean=lambda x, t, shift=shift: x + shift)
        latents = guide_latents(model, guide)
        seen.append(latents)
    torch.testing.assert_close(seen[1] - seen[0], torch.full_like(seen[0], 0.5), atol=2e-3, rtol=0)


def guide_latents(model, guide):
    from intaglio.sampling.loop import latent_batches

    options = {"sampler": "ddim", "steps": 1, "guidance_scale": 2.0, "negative": "", "guide": guide}
    (found,) = latent_batches(model, ["cat"], [3], **options)
    return found
