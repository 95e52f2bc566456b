"""Hidden widths of a U-Net: what a removed unit changes, and that a narrowed model is a model as any other."""

import json
import shutil

import pytest
import torch

import tiny
from intaglio.adapt.data import TrainingSet
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import SETTING, hidden_widths, narrow
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.loop import sample

WIDE = {"attention_head_dim": 4}
RESIDUAL = "down_blocks.0.resnets.0"
FEED_FORWARD = "mid_block.attentions.0.transformer_blocks.0.ff"
HEADS = "up_blocks.1.attentions.1.transformer_blocks.0.attn2"
KEPT = {RESIDUAL: [0, 2, 3], FEED_FORWARD: [0, *range(3, 64)], HEADS: [1, 3]}


def unet(**changes):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tiny.unet(**WIDE, **changes).eval()


def output(network):
    draw = torch.Generator().manual_seed(1)
    latents, text = torch.randn(2, 4, 8, 8, generator=draw), torch.randn(2, 12, 16, generator=draw)
    with torch.no_grad():
        return network(latents, torch.tensor([30, 900]), encoder_hidden_states=text, return_dict=False)[0]


def removed(scope, units):
    return [unit for unit in range(units) if unit not in KEPT[scope]]


def test_every_block_is_listed_with_its_width_and_unit():
    found = hidden_widths(unet())
    assert found[RESIDUAL].width == 8
    assert found[RESIDUAL].unit == 2
    assert found[RESIDUAL].units == 4
    assert (found[FEED_FORWARD].kind, found[FEED_FORWARD].width, found[FEED_FORWARD].unit) == ("feed-forward", 64, 1)
    assert (found[HEADS].kind, found[HEADS].width, found[HEADS].units) == ("attention", 8, 4)
    # One layer a block: 2 down, 2 mid and 4 up residual blocks; transformers in one of either and the middle.
    assert [one.kind for one in found.values()].count("residual") == 8
    assert [one.kind for one in found.values()].count("attention") == 2 * 4


@pytest.mark.parametrize("shift", ["default", "scale_shift"])
@pytest.mark.parametrize("scope", KEPT)
def test_a_narrowed_network_is_the_full_one_with_its_units_masked(scope, shift):
    full, slim = unet(resnet_time_scale_shift=shift), unet(resnet_time_scale_shift=shift)
    one = hidden_widths(full)[scope]
    narrow(slim, scope, KEPT[scope])
    gate = torch.ones(one.units).index_fill(0, torch.tensor(removed(scope, one.units)), 0.0).repeat_interleave(one.unit)
    gate = gate.view(-1, 1, 1) if one.kind == "residual" else gate
    consumer = full.get_submodule(f"{scope}.{one.consumer}")
    before = output(full)
    consumer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * gate, *inputs[1:]))
    masked = output(full)
    assert (masked - before).abs().max() > 1e-4  # the units say something
    torch.testing.assert_close(output(slim), masked, atol=1e-5, rtol=0)
    assert hidden_widths(slim)[scope].units == len(KEPT[scope]) == hidden_widths(slim)[scope].width // one.unit


def test_an_attention_knows_its_fewer_heads():
    network = unet()
    narrow(network, HEADS, KEPT[HEADS])
    block = network.get_submodule(HEADS)
    kept = len(KEPT[HEADS])
    assert (block.heads, block.sliceable_head_dim) == (kept, kept)
    assert block.inner_dim == block.inner_kv_dim == block.to_k.out_features == block.to_out[0].in_features


@pytest.mark.parametrize("scope", KEPT)
def test_units_that_nothing_takes_leave_the_output_as_it_was(scope):
    network = unet()
    one = hidden_widths(network)[scope]
    with torch.no_grad():
        for unit in removed(scope, one.units):
            network.get_submodule(f"{scope}.{one.consumer}").weight[:, unit * one.unit : (unit + 1) * one.unit] = 0
    before = output(network)
    narrow(network, scope, KEPT[scope])
    torch.testing.assert_close(output(network), before, atol=1e-6, rtol=0)


def test_narrowing_twice_is_narrowing_to_what_is_left():
    once, twice = unet(), unet()
    narrow(once, RESIDUAL, [3])
    narrow(twice, RESIDUAL, [1, 3])
    narrow(twice, RESIDUAL, [1])
    assert torch.equal(output(once), output(twice))
    assert twice.config[SETTING] == {RESIDUAL: 2} == once.config[SETTING]


def test_keeping_all_units_is_no_change():
    network = unet()
    narrow(network, HEADS, range(4))
    assert SETTING not in network.config
    assert torch.equal(output(network), output(unet()))


@pytest.mark.parametrize(
    ("scope", "kept"), [("conv_in", [0]), (HEADS, []), (HEADS, [4]), (HEADS, [1, 0]), (HEADS, [0, 0])]
)
def test_what_is_no_unit_is_refused(scope, kept):
    network = unet()
    with pytest.raises(ValueError, match=scope):
        narrow(network, scope, kept)


@pytest.fixture(scope="module")
def slim(tmp_path_factory):
    """A narrowed model, and the folder that it was saved in."""
    folder = tiny.sd_folder(tmp_path_factory.mktemp("slim") / "full", unet_changes=WIDE)
    model = load_model(folder)
    for scope, kept in KEPT.items():
        narrow(model.denoiser, scope, kept)
    model.save(folder.parent / "slim")
    return model, folder.parent / "slim", folder


def test_a_narrowed_model_is_read_as_it_was_saved(slim):
    model, folder, full = slim
    found = load_model(folder)
    assert found.fingerprint == model.fingerprint != load_model(full).fingerprint
    assert not found.notes
    assert {scope: one.units for scope, one in hidden_widths(found.denoiser).items() if scope in KEPT} == {
        RESIDUAL: 3,
        FEED_FORWARD: 62,
        HEADS: 2,
    }
    assert torch.equal(output(found.denoiser), output(model.denoiser))
    found.save(folder.parent / "again")
    assert load_model(folder.parent / "again").fingerprint == model.fingerprint


def test_a_copy_of_a_narrowed_model_is_its_own(slim):
    model = slim[0].copy()
    narrow(model.denoiser, HEADS, [0])
    assert model.denoiser.config[SETTING][HEADS] == 2
    assert slim[0].denoiser.config[SETTING][HEADS] == 4
    assert model.fingerprint != slim[0].fingerprint


def test_a_narrowed_model_draws_and_learns(slim):
    model = slim[0]
    drawn = sample(model, ["a red cat"], [0], steps=1).pixels
    assert drawn.shape == (1, 3, tiny.RESOLUTION, tiny.RESOLUTION)
    data = TrainingSet(tiny.some_pictures(0, 2), "a cat")
    tuned = LoRATuning(steps=1, learning_rate=1e-2, rank=2)(model, data)
    assert tuned.adapter is not None
    assert not model.same_weights(tuned.model)
    assert not model.differences(tuned.model)  # so that it can be audited against its base


def test_two_widths_are_no_pair(slim):
    model, _, full = slim
    (said,) = model.differences(load_model(full))
    assert "hidden widths" in said
    assert "and 2 more" in said


@pytest.mark.parametrize(
    ("widths", "said"),
    [
        ({"down_blocks.9": 2}, "down_blocks.9"),
        ({HEADS: 10}, "multiple of 2 up to 8"),
        ({HEADS: 3}, "multiple of 2 up to 8"),
        ({HEADS: 0}, HEADS),
        ({HEADS: "4"}, HEADS),
        ([HEADS], "table"),
    ],
)
def test_a_config_with_impossible_widths_is_refused(slim, tmp_path, widths, said):
    folder = shutil.copytree(slim[1], tmp_path / "slim")
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), SETTING: widths}))
    with pytest.raises(BadInput, match=said):
        load_model(folder)
