import json

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import hidden_widths, narrow
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.predicted_units import (
    kept_units,
    predict_units,
    predictable,
    predicted_blocks,
    watched_units,
)
from intaglio.models.diffusion.removed_branches import remove_branches
from intaglio.models.packing.rounded_inputs import input_grid, round_inputs
from intaglio.shrink.methods.rtn import RoundToNearest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def model(folder):
    return load_model(folder)


def with_predictors(model, spread=1.0):
    """Predictors of random weights, which keep about half of the units and others for each picture."""
    predict_units(model.denoiser, predictable(model.denoiser))
    source = torch.Generator().manual_seed(5)
    for block in predicted_blocks(model.denoiser).values():
        for weight in block.predictor.parameters():
            weight.data = spread * torch.randn(weight.shape, generator=source)
    return model


def predicted(model, rows=(0, 1, 2)):
    latents = torch.randn(3, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 400, 700])
    given = model.embed(["red cat", "dog", ""])
    with torch.no_grad():
        return model.predict(latents[list(rows)], t[list(rows)], given[list(rows)])


def test_first_predictors_keep_all_units_to_the_last_bit(model):
    before = predicted(model), predicted(model, [1])
    predict_units(model.denoiser, predictable(model.denoiser))
    assert torch.equal(predicted(model), before[0])
    assert torch.equal(predicted(model, [1]), before[1])


def test_both_kinds_of_blocks_have_units(model):
    names = predictable(model.denoiser)
    assert {name.rpartition(".")[2] == "ff" for name in names} == {True, False}
    assert len(names) == sum(".resnets." in f".{name}" or name.endswith(".ff") for name in names)


def test_units_above_one_half_are_kept_and_the_largest_where_none_is():
    logits = torch.tensor([[-1.0, 0.0, 2.0, 1e-6], [-3.0, -1.0, -2.0, -9.0]])
    assert kept_units(logits).tolist() == [[False, False, True, True], [False, True, False, False]]


def by_hand(block, x, time):
    """The output of a block, unit by unit in plain words, in double precision."""
    weight, bias = block.predictor.weight, block.predictor.bias
    if hasattr(block, "conv2"):
        logits = torch.cat([x.mean((2, 3)), torch.nn.functional.silu(time)], 1) @ weight.T + bias
        hidden = block.conv1(torch.nn.functional.silu(block.norm1(x)))
        hidden = hidden + block.time_emb_proj(torch.nn.functional.silu(time))[:, :, None, None]
        hidden = torch.nn.functional.silu(block.norm2(hidden)) * (logits.sigmoid() > 0.5)[:, :, None, None]
        return (x if block.conv_shortcut is None else block.conv_shortcut(x)) + block.conv2(hidden)
    logits = x.mean(1) @ weight.T + bias
    value, gate = block.net[0].proj(x).chunk(2, -1)
    hidden = value * torch.nn.functional.gelu(gate) * (logits.sigmoid() > 0.5)[:, None]
    return hidden @ block.net[2].weight.T + block.net[2].bias


def given_to(block, rows):
    source = torch.Generator().manual_seed(1)
    if hasattr(block, "conv2"):
        x = torch.randn(rows, block.conv1.in_channels, 4, 4, generator=source).double()
        return x, torch.randn(rows, block.time_emb_proj.in_features, generator=source).double()
    return torch.randn(rows, 5, block.net[0].proj.in_features, generator=source).double(), None


def test_units_are_left_out_by_their_logits_and_slices_equal_masks(model):
    for block in predicted_blocks(with_predictors(model).denoiser).values():
        block.double()
        x, time = given_to(block, 3)
        assert not bool(kept_units(block.predictor(torch.zeros(1, block.predictor.in_features).double())).all())
        wanted = by_hand(block, x, time)
        masked = block(x) if time is None else block(x, time)
        assert torch.allclose(masked, wanted, atol=1e-9)
        with torch.no_grad():
            alone = [block(x[k : k + 1], *(() if time is None else (time[k : k + 1],))) for k in range(3)]
        assert torch.allclose(torch.cat(alone), wanted, atol=1e-6)


def test_one_picture_takes_fewer_channels_into_the_layer(model, monkeypatch):
    name = next(name for name in predictable(model.denoiser) if "resnets" in name)
    block = with_predictors(model).denoiser.get_submodule(name)
    seen, real = [], torch.nn.functional.conv2d

    def conv2d(x, weight, *given):
        seen.append(tuple(weight.shape))
        return real(x, weight, *given)

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    x, time = (part.float() for part in given_to(block, 1))
    with torch.no_grad():
        block(x, time)
        logits = block.predictor(torch.cat([x.mean((2, 3)), torch.nn.functional.silu(time)], 1))
    kept = int((logits > 0).sum())
    assert 0 < kept < block.conv2.in_channels
    assert (block.conv2.out_channels, kept, 3, 3) in seen


def test_a_picture_is_what_it_is_alone(model):
    with_predictors(model)
    together = predicted(model)
    for k in range(3):
        assert torch.allclose(predicted(model, [k])[0], together[k], atol=1e-5)
    assert torch.allclose(predicted(model, [2, 0])[1], together[0], atol=1e-5)


def test_gradients_are_those_of_the_masked_network_and_none_reaches_a_predictor(model):
    with_predictors(model)
    latents = torch.randn(1, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
    found = model.predict(latents, torch.tensor([3]), model.embed(["dog"]))
    found.square().sum().backward()
    grads = {name: weight.grad for name, weight in model.denoiser.named_parameters()}
    assert all(grads[name] is None for name in grads if ".predictor." in name)
    assert grads["conv_in.weight"] is not None


def test_hooks_of_a_layer_see_every_call_of_one_picture(model):
    """A layer that others listen to, or whose inputs are rounded, is called as a whole."""
    with_predictors(model)
    before = predicted(model, [1])
    calls = []
    blocks = predicted_blocks(model.denoiser).values()
    layers = [block.conv2 if hasattr(block, "conv2") else block.net[2] for block in blocks]
    for layer in layers:
        layer.register_forward_pre_hook(lambda *_: calls.append(1))
    assert torch.allclose(predicted(model, [1]), before, atol=1e-5)
    assert len(calls) == len(layers)


def test_units_and_logits_are_told_of_every_block(model):
    with_predictors(model)
    with watched_units(model.denoiser) as seen:
        predicted(model)
    blocks = predicted_blocks(model.denoiser)
    assert seen.keys() == blocks.keys()
    for name, (units, logits) in seen.items():
        assert units.shape[:2] == logits.shape == (3, blocks[name].predictor.out_features)
    assert not any(block.mask._forward_pre_hooks for block in blocks.values())


def test_a_model_with_predictors_is_saved_copied_and_loaded_to_the_same_bits(model, tmp_path):
    names = predictable(model.denoiser)
    with_predictors(model).save(tmp_path / "m")
    read = load_model(tmp_path / "m")
    assert read.same_weights(model)
    assert not read.notes
    assert read.denoiser.config["predicted_units"] == sorted(names)
    for twin in (read, model.copy()):
        assert torch.equal(predicted(twin), predicted(model))
        assert torch.allclose(predicted(twin, [1]), predicted(model, [1]), atol=1e-5)


def test_other_blocks_with_predictors_are_told_apart(model, folder):
    name = predictable(model.denoiser)[0]
    predict_units(model.denoiser, [name])
    (told,) = model.differences(load_model(folder))
    assert "predicted units" in told
    assert name in told


@pytest.mark.parametrize(("said", "told"), [("mid_block", "list of names"), (["conv_in"], "conv_in"), ([3], "names")])
def test_names_that_are_no_such_blocks_are_refused(model, tmp_path, said, told):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "predicted_units": said}))
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "m")


def test_narrower_blocks_can_have_predictors_and_removed_ones_lose_theirs(model, tmp_path):
    scope = next(name for name in predictable(model.denoiser) if name.endswith(".ff"))
    narrow(model.denoiser, scope, range(5))
    gone = next(name for name in predictable(model.denoiser) if "resnets" in name)
    with_predictors(model)
    assert scope not in hidden_widths(model.denoiser)
    remove_branches(model.denoiser, [gone])
    model.save(tmp_path / "m")
    read = load_model(tmp_path / "m")
    assert torch.equal(predicted(read), predicted(model))
    assert gone not in predicted_blocks(read.denoiser)
    assert read.denoiser.get_submodule(scope).predictor.out_features == 5


def test_it_is_rounded_as_any_other(model, tmp_path):
    rounded = RoundToNearest(bits=4)(with_predictors(model))
    read = load_model(rounded.save(tmp_path / "r"))
    assert torch.allclose(predicted(read, [0]), predicted(rounded.model, [0]), atol=1e-5)
    assert read.same_weights(rounded.model)
    assert predicted_blocks(read.denoiser)


def test_inputs_that_are_rounded_are_so_for_one_picture_too(model):
    for block in predicted_blocks(with_predictors(model).denoiser).values():
        layer = "conv2" if hasattr(block, "conv2") else "net.0.proj"
        round_inputs(block, {layer: input_grid(0.5, 3)})
        x, time = given_to(block.double(), 3)
        given = [(x[k : k + 1], *(() if time is None else (time[k : k + 1],))) for k in range(3)]
        with torch.no_grad():
            wanted = block(x) if time is None else block(x, time)
            torch.testing.assert_close(torch.cat([block(*one) for one in given]), wanted, rtol=0, atol=1e-9)
