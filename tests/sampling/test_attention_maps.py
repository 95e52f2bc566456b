import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

import tiny
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.attention_maps import cross_attentions, mean_map, probabilities, recorded_maps


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def test_they_are_the_probabilities_that_the_module_itself_uses(model):
    """Against the library's own, mean over the heads."""
    attention = cross_attentions(model.denoiser)[0]
    hidden, text = torch.randn(2, 9, attention.to_q.in_features), torch.randn(2, 5, attention.to_k.in_features)
    found = probabilities(attention, hidden, text)
    assert torch.allclose(found.sum(2), torch.ones(2, 9), atol=1e-5)
    query, key = attention.head_to_batch_dim(attention.to_q(hidden)), attention.head_to_batch_dim(attention.to_k(text))
    own = attention.get_attention_scores(query, key).unflatten(0, (2, attention.heads)).mean(1)
    assert torch.allclose(found, own, atol=1e-5)


def test_each_cross_attention_is_recorded_and_the_prediction_is_the_same(model):
    x, t, given = torch.randn(2, 4, 8, 8), torch.tensor([300, 700]), model.embed(["dog", "red cat"])
    model.denoiser.set_attn_processor(AttnProcessor())
    plain = model.predict(x, t, given)
    with recorded_maps(model.denoiser) as maps:
        assert torch.equal(model.predict(x, t, given), plain)
    assert len(maps) == len(cross_attentions(model.denoiser)) > 0
    assert all(one.shape[::2] == (2, given.hidden.shape[1]) for one in maps)
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())
    with pytest.raises(ZeroDivisionError), recorded_maps(model.denoiser):
        raise ZeroDivisionError
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())


def test_maps_of_several_sizes_are_averaged_at_one():
    fine = torch.zeros(1, 16, 2)
    fine[0, 3, 0] = 16.0  # the upper right of 4x4
    coarse = torch.ones(1, 4, 2)
    found = mean_map([fine, coarse], 4)
    assert found.shape == (1, 2, 4, 4)
    assert found[0, 0, 0, 3] == (16 + 1) / 2
    assert torch.equal(found[0, 1], torch.full((4, 4), 0.5))
