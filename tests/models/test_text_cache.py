import json

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.text_cache import PROMPTS, cache_text, cached_projections
from intaglio.models.diffusion.token_stairs import Stairs

EXACT = Stairs((32,))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def model(folder):
    return load_model(folder)


def keeping(model, stairs=EXACT):
    cache_text(model.denoiser, stairs)
    return model


def predicted(model, texts=("red cat", "dog"), seed=0):
    source = torch.Generator().manual_seed(seed)
    latents = torch.randn(len(texts), tiny.CHANNELS, 8, 8, generator=source)
    with torch.no_grad():
        return model.predict(latents, torch.tensor([3, 700])[: len(texts)], model.embed(list(texts)))


def cache_of(model):
    return next(iter(cached_projections(model.denoiser).values())).cache


def calls_of(model):
    """Texts that linear maps of the projections are asked to compute, from now on."""
    asked, real = [], torch.nn.Linear.forward

    def forward(layer, given):
        asked.append(layer)
        return real(layer, given)

    return asked, forward


def test_the_cache_alone_changes_no_bit_and_computes_a_prompt_once(model, monkeypatch):
    plain = [predicted(model, seed=k) for k in range(3)]
    keeping(model)
    asked, forward = calls_of(model)
    monkeypatch.setattr(torch.nn.Linear, "forward", forward)
    assert all(torch.equal(predicted(model, seed=k), plain[k]) for k in range(3))
    layers = cached_projections(model.denoiser).values()
    assert len(layers) == 2 * sum(name.endswith("attn2") for name, _ in model.denoiser.named_modules())
    assert [sum(one is layer for one in asked) for layer in layers] == [1] * len(layers)


def test_a_prompt_is_known_by_its_numbers_and_no_other_is_taken_for_it(model):
    twin = keeping(model.copy())
    text = model.embed(["red cat", "dog"]).hidden.detach()
    layer = next(iter(cached_projections(twin.denoiser).values()))
    with torch.no_grad():
        first = layer(text)
        assert torch.equal(layer(text.clone()), first)
        assert len(layer.cache.prompts) == 1
        text[1, 3, 0] += 1e-3  # in place: the same tensor holds another prompt
        changed = layer(text)
        assert torch.equal(changed, torch.nn.functional.linear(text, layer.weight))
        assert not torch.equal(changed, first)
        assert torch.equal(layer(text[[1, 0]]), torch.nn.functional.linear(text[[1, 0]], layer.weight))


def test_a_change_of_what_was_given_leaves_what_is_kept(model):
    keeping(model, Stairs((8,)))
    text = model.embed(["dog"]).hidden.detach()
    layer = next(iter(cached_projections(model.denoiser).values()))
    with torch.no_grad():
        first = layer(text)
        before = first.clone()
        first.zero_()
        assert torch.equal(layer(text), before)
        other = model.embed(["cat"]).hidden
        layer(other)
        assert [len(one.unpacked) for one in layer.cache.prompts] == [0, 1]
        assert torch.equal(layer(text), before)


def test_prompts_that_were_used_last_are_kept(model):
    keeping(model)
    for text in "abcdef":
        predicted(model, [text])
    cache = cache_of(model)
    assert len(cache.prompts) == PROMPTS
    predicted(model, ["c"])
    predicted(model, ["x"])
    held = [next(k for k in "abcdefx" if one.holds(model.embed([k]).hidden)) for one in cache.prompts]
    assert held == ["e", "f", "c", "x"]


def test_other_weights_are_computed_with(model):
    keeping(model)
    predicted(model)
    layer = next(iter(cached_projections(model.denoiser).values()))
    text = model.embed(["red cat", "dog"]).hidden.detach()
    with torch.no_grad():
        layer.weight.mul_(2)
        assert torch.equal(layer(text), torch.nn.functional.linear(text, layer.weight))
        layer.weight = torch.nn.Parameter(torch.zeros_like(layer.weight))
        assert not bool(layer(text).any())


def test_gradients_of_prompts_and_weights_are_those_of_the_network_without_a_cache(model):
    twin = keeping(model.copy(), Stairs((4,)))
    predicted(twin)
    latents = torch.randn(2, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    found = []
    for one in (model, twin):
        one.denoiser.requires_grad_(False)
        given = one.embed(["red cat", "dog"])
        given.hidden.retain_grad()
        one.predict(latents, torch.tensor([3, 700]), given).square().sum().backward()
        found.append(given.hidden.grad)
    assert torch.equal(*found)
    layer = next(iter(cached_projections(twin.denoiser).values()))
    layer.weight.requires_grad_(True)
    twin.predict(latents, torch.tensor([3, 700]), twin.embed(["red cat", "dog"])).sum().backward()
    assert bool(layer.weight.grad.any())


def test_gradients_of_latents_are_those_of_the_kept_numbers(model):
    twin = keeping(model.copy(), Stairs((8,)))
    latents = torch.randn(2, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    with twin.frozen():
        with torch.no_grad():
            given = twin.embed(["red cat", "dog"])
        found = twin.predict(latents, torch.tensor([3, 700]), given)
        assert torch.allclose(found, predicted(twin), atol=1e-6)
        found.sum().backward()
    assert bool(latents.grad.any())


def test_a_copy_begins_without_prompts_also_after_a_prompt_with_gradients(model):
    keeping(model)
    latents = torch.zeros(1, tiny.CHANNELS, 8, 8)
    with torch.no_grad():
        hidden = model.embed(["dog"])
    with torch.enable_grad():
        given = model.embed(["dog"])
    with torch.no_grad():
        model.predict(latents, torch.tensor([3]), given)
    assert len(cache_of(model).prompts) == 1
    assert not cache_of(model.copy()).prompts
    assert hidden.hidden.shape == given.hidden.shape


def test_a_saved_model_keeps_its_stairs_and_is_another_model(model, folder, tmp_path):
    keeping(model, Stairs((16, 8, 4), (1, 3)))
    model.save(tmp_path / "m")
    read = load_model(tmp_path / "m")
    assert not read.notes
    assert torch.equal(predicted(read), predicted(model))
    plain = load_model(folder)
    assert not torch.equal(predicted(read), predicted(plain))
    assert read.same_weights(plain)
    assert read.fingerprint == model.fingerprint != plain.fingerprint
    assert not read.differences(plain)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([16], "a table"),
        ({"bits": 16, "lengths": []}, "bits 16, where a list"),
        ({"bits": [16], "lengths": [[1]]}, "lengths"),
        ({"bits": [16], "lengths": [1]}, "one fewer than bits"),
        ({"bits": [9], "lengths": []}, "2 to 8, 16 and 32, not 9"),
        ({"bits": ["a"], "lengths": []}, "whole numbers"),
    ],
)
def test_stairs_that_cannot_be_are_refused(model, tmp_path, said, told):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "text_cache": said}))
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "m")


def test_weights_put_in_the_place_of_others_without_a_version_are_computed_with(model):
    predicted(keeping(model))
    layer = next(iter(cached_projections(model.denoiser).values()))
    text, version = model.embed(["red cat", "dog"]).hidden.detach(), layer.weight._version
    layer.weight.data = torch.zeros_like(layer.weight)
    assert layer.weight._version == version
    with torch.no_grad():
        assert not bool(layer(text).any())
