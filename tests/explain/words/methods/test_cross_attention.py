import pytest
import torch
from torch.nn.functional import interpolate

import tiny
from intaglio.errors import BadInput
from intaglio.explain.words.methods.cross_attention import CrossAttention, enlarged
from intaglio.explain.words.prompt_words import asked_words
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.attention_maps import cross_attentions

SMALL = {"steps": 2, "tested": 1, "batch": 2}
BAD = {"steps": 0}
PIECES = {"batch": 1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


def test_a_word_has_the_mean_of_its_tokens_over_heads_and_layers(model):
    asked = asked_words(model, "dog, red")
    latents, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500, 500])
    given, hidden = [], asked.whole.hidden
    handles = [
        module.register_forward_pre_hook(lambda one, args, kwargs: given.append((one, args[0])), with_kwargs=True)
        for module in cross_attentions(model.denoiser)
    ]
    with torch.no_grad():
        model.predict(latents, t, asked.whole[[0, 0]])
        for one in handles:
            one.remove()
        layers = []
        for module, seen in given:
            heads = []
            for head in range(module.heads):
                width = module.to_q.out_features // module.heads
                own = slice(head * width, (head + 1) * width)
                query, key = module.to_q(seen)[..., own], module.to_k(hidden)[..., own]
                heads.append((query @ key.transpose(1, 2) / width**0.5).softmax(-1))
            shares = torch.stack(heads).mean(0)
            side = int(shares.shape[1] ** 0.5)
            square = shares.transpose(1, 2).reshape(2, -1, side, side)
            layers.append(interpolate(square, (8, 8), mode="bicubic").clamp(min=0))
        found = CrossAttention().step_maps(asked, latents, t)
    expected = torch.stack(layers).mean(0)
    torch.testing.assert_close(found[:, 1], expected[:, list(asked.tokens[1])].mean(1))
    assert found.shape == (2, 2, 8, 8)
    assert not any(module._forward_pre_hooks for module in model.denoiser.modules())


def test_shares_of_a_layer_keep_its_proportions_and_never_fall_below_0():
    shares = torch.zeros(1, 8, 2)
    shares[0, 1, 0], shares[0, :, 1] = 1, 0.5
    found = enlarged(shares, (4, 8))
    assert found.shape == (1, 2, 4, 8)
    assert float(found.min()) >= 0
    assert int(found[0, 0].flatten().argmax()) % 8 in (2, 3)  # the second of four columns
    torch.testing.assert_close(found[0, 1], torch.full((4, 8), 0.5))


def test_a_denoiser_without_cross_attention_is_told(model, monkeypatch):
    monkeypatch.setattr("intaglio.explain.words.methods.cross_attention.cross_attentions", lambda denoiser: [])
    with pytest.raises(BadInput, match="has no cross-attention; take removal or token-slope"):
        CrossAttention().check(model)
