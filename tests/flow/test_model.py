"""The flow itself: formulas written out again, likelihood, files."""

import json
import logging
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from flow_scenes import inverted_by_hand, latents, unit
from intaglio.errors import BadInput
from intaglio.flow.methods.sequential import SequentialDecoder as Sequential
from intaglio.models.flow.config import TarFlowConfig
from intaglio.models.flow.tarflow import TarFlow, denoised
from intaglio.models.flow.tarflow_files import fingerprint, from_published, load_flow, save_flow


def attention_by_hand(layer, e):
    """One layer for one picture [t, d], position by position and head by head."""

    def norm(row, module):
        centred = row - row.mean()
        return centred / (centred.square().mean() + module.eps).sqrt() * module.weight + module.bias

    rows = torch.stack([norm(row, layer.attention_norm) for row in e]) @ layer.qkv.weight.T + layer.qkv.bias
    d, dh = e.shape[1], layer.head_dim
    out = torch.zeros_like(e)
    for at in range(len(e)):
        for head in range(layer.heads):
            part = slice(head * dh, (head + 1) * dh)
            query = rows[at, :d][part]
            keys, values = rows[: at + 1, d : 2 * d][:, part], rows[: at + 1, 2 * d :][:, part]
            weights = torch.softmax(keys @ query / math.sqrt(dh), 0)
            out[at, part] = weights @ values
    e = e + out @ layer.proj.weight.T + layer.proj.bias
    hidden = torch.stack([norm(row, layer.mlp_norm) for row in e]) @ layer.widen.weight.T + layer.widen.bias
    active = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return e + active @ layer.narrow.weight.T + layer.narrow.bias


@pytest.mark.parametrize("index", [0, 1])
def test_a_block_is_the_formula_written_out(index):
    model = unit(layers_per_block=(2, 2, 2))
    block, h = model.block(index), latents(model, 1)[0]
    order = list(range(16)) if index == 0 else list(reversed(range(16)))
    u, positions = h[order], block.positions[order]
    e = u @ block.proj_in.weight.T + block.proj_in.bias + positions + block.classes[2]
    for layer in block.layers:
        e = attention_by_hand(layer, e)
    o = e @ block.proj_out.weight.T + block.proj_out.bias
    v, total = torch.zeros_like(u), 0.0
    for at in range(16):
        a, b = (o[at - 1, :12], o[at - 1, 12:]) if at else (torch.zeros(12), torch.zeros(12))
        v[at], total = (u[at] - b) / torch.exp(a), total - a.sum()
    found, log_determinant = block(h[None], torch.tensor([2]))
    torch.testing.assert_close(found[0][order], v)
    torch.testing.assert_close(log_determinant[0], total / (16 * 12))


def test_patches_are_raster_and_channel_row_column():
    model = unit(size=(4, 6), patch=2)
    x = torch.arange(2 * 3 * 4 * 6, dtype=torch.float64).reshape(2, 3, 4, 6)
    patches = model.patches(x)
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            for channel in range(3):
                cut = x[1, channel, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].flatten()
                assert torch.equal(patches[1, 3 * row + column, 4 * channel : 4 * channel + 4], cut)
    assert torch.equal(model.pictures(patches), x)


@pytest.mark.parametrize("further", [{}, {"scale_param": "softplus"}, {"soft_clip": 0.3}, {"nvp": False}])
def test_the_log_determinant_is_that_of_the_jacobian(further):
    model = unit(size=(2, 2), patch=1, spread=0.3, **further)
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(lambda y: model(y).latents.flatten(), x).reshape(12, 12)
    assert model(x).log_determinant.item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item() / 12)
    if not further.get("nvp", True):
        assert model(x).log_determinant.item() == pytest.approx(0)


def test_soft_clip_and_softplus_keep_their_promises():
    wild = unit(spread=50.0, soft_clip=0.3)
    a, _ = wild.block(0).parameters_after(latents(wild, 2), wild.block(0).offset(None))
    assert a.abs().max() <= 0.3
    softplus = unit(spread=0.0, scale_param="softplus")
    a, _ = softplus.block(0).parameters_after(latents(softplus, 2), softplus.block(0).offset(None))
    torch.testing.assert_close(a, torch.zeros_like(a))


def test_parameters_do_not_depend_on_the_patch_itself_or_later_ones():
    model = unit()
    block, u = model.block(1), latents(model, 1)
    before = block.parameters_after(u, block.offset(None))
    for index in range(16):
        moved = u.clone()
        moved[:, index] += 1
        after = block.parameters_after(moved, block.offset(None))
        for one, two in zip(before, after, strict=True):  # row l holds the parameters of patch l + 1
            assert torch.equal(one[:, :index], two[:, :index])
            assert not torch.equal(one[:, index], two[:, index])


def test_a_missing_label_is_the_mean_of_all_classes():
    model = unit()
    x = torch.rand(3, 3, 8, 8, dtype=torch.float64)
    labelled, unlabelled = model(x, torch.tensor([0, -1, 2])).latents, model(x).latents
    assert torch.equal(labelled[1], unlabelled[1])
    assert not torch.allclose(labelled[0], unlabelled[0])
    model.block(0).classes.data[:] = model.block(0).classes.mean(0)
    model.block(1).classes.data[:] = model.block(1).classes.mean(0)
    model.block(2).classes.data[:] = model.block(2).classes.mean(0)
    torch.testing.assert_close(model(x, torch.tensor([0, 1, 2])).latents, model(x).latents)


def test_bits_of_the_identity_at_zero_are_the_constant():
    model = TarFlow(
        TarFlowConfig(
            image_size=(4, 4), patch_size=2, hidden_size=16, head_dim=16, num_blocks=2, layers_per_block=(1, 1)
        )
    )
    assert model.bits_per_dimension(torch.zeros(1, 3, 4, 4)).item() == pytest.approx(8.32575, abs=1e-5)


def test_likelihood_and_loss_agree_with_the_change_of_variables():
    model, x = unit(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    encoding = model(x)
    density = torch.distributions.Normal(0, 1).log_prob(encoding.latents).mean((1, 2)) + encoding.log_determinant
    torch.testing.assert_close(model.nats(encoding), -density)
    torch.testing.assert_close(model.loss(encoding), -density - 0.5 * math.log(2 * math.pi))
    model.variance.fill_(4.0)
    wide = torch.distributions.Normal(0, 2).log_prob(encoding.latents).mean((1, 2)) + encoding.log_determinant
    torch.testing.assert_close(model.nats(encoding), -wide)


def test_denoising_is_the_posterior_mean_of_a_gaussian():
    model = unit(spread=0.0, noise_std=0.3)
    for index in range(3):
        model.block(index).proj_out.bias.zero_()
    x = torch.randn(5, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(denoised(model, x, batch=2), (1 - 0.09) * x)
    assert denoised(unit(), x) is x


def test_the_score_is_the_gradient_of_the_summed_log_likelihood():
    model = unit(size=(4, 4))
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    gradient = model.score(x)
    for where in [(0, 0, 1, 1), (1, 2, 3, 0)]:
        step = torch.zeros_like(x)
        step[where] = 1e-6
        up, down = (-48 * model.nats(model(x + sign * step)).sum() for sign in (1, -1))
        assert gradient[where].item() == pytest.approx((up - down).item() / 2e-6, rel=1e-5)


def test_without_scales_the_noise_takes_the_priors_variance():
    model = unit(nvp=False)
    model.variance.uniform_(0.5, 2.0, generator=torch.Generator().manual_seed(3))
    z = latents(model, 2)
    found = Sequential()(model, z, denoise=False).patches
    torch.testing.assert_close(found, inverted_by_hand(model, z))
    again = model(model.pictures(found)).latents
    torch.testing.assert_close(again, z * model.variance.sqrt())


def test_a_model_comes_back_from_its_folder_to_the_last_bit(tmp_path):
    model = unit(double=False, noise_std=0.1)
    save_flow(model, tmp_path / "m", labels=("a", "b", "c"), card="hello")
    found = load_flow(tmp_path / "m")
    assert found.labels == ("a", "b", "c")
    assert found.model.config == model.config
    assert all(
        torch.equal(one, two)
        for one, two in zip(found.model.state_dict().values(), model.state_dict().values(), strict=True)
    )
    assert found.fingerprint == fingerprint(model) != fingerprint(unit(double=False, noise_std=0.1, seed=1))
    assert load_flow(tmp_path / "m", dtype=torch.bfloat16).model.variance.dtype == torch.float32
    save_flow(model, tmp_path / "m")  # over an older one
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("x")
    with pytest.raises(BadInput, match="holds no model"):
        save_flow(model, tmp_path / "other")


def test_published_names_are_understood(tmp_path):
    model = unit(double=False, noise_std=0.05, size=(8, 8))
    theirs = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("variance", "var").replace(".positions", ".pos_embed").replace(".layers.", ".attn_blocks.")
        name = name.replace(".attention_norm.", ".attention.norm.").replace(".mlp_norm.", ".mlp.norm.")
        name = name.replace(".qkv.", ".attention.qkv.").replace(".proj.", ".attention.proj.")
        name = name.replace(".widen.", ".mlp.main.0.").replace(".narrow.", ".mlp.main.2.")
        theirs[name.replace(".classes", ".class_embed")] = tensor[:, None] if "classes" in name else tensor
    theirs["blocks.0.attn_mask"] = torch.ones(16, 16)
    save_file({key: value.contiguous().clone() for key, value in theirs.items()}, tmp_path / "a.safetensors")
    found = from_published(tmp_path / "a.safetensors", noise_std=0.05, image_size=(8, 8), head_dim=16)
    assert found.config == model.config
    x = torch.rand(1, 3, 8, 8)
    assert torch.equal(found(x).latents, model(x).latents)
    with pytest.raises(BadInput, match="no TarFlow checkpoint"):
        from_published(tmp_path / "a.safetensors", noise_std=0.05, image_size=(9, 9), head_dim=16)
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadInput, match="never read"):
        from_published(tmp_path / "a.pth", noise_std=0.0, image_size=(8, 8))


def test_what_cannot_be_a_model_is_refused_by_name(tmp_path, caplog):
    model = unit(double=False)
    save_flow(model, tmp_path / "m")
    with pytest.raises(BadInput, match="float16"):
        load_flow(tmp_path / "m", dtype=torch.float16)
    with pytest.raises(BadInput, match="is no folder"):
        load_flow(tmp_path / "nowhere")
    config = json.loads((tmp_path / "m" / "config.json").read_text())

    def refused(match, **changes):
        text = {key: value for key, value in {**config, **changes}.items() if value is not None}
        (tmp_path / "m" / "config.json").write_text(json.dumps(text))
        with pytest.raises(BadInput, match=match):
            load_flow(tmp_path / "m")

    refused("lacks patch_size", patch_size=None)
    refused("must divide both edges", patch_size=3)
    refused("head_dim 5 must divide", head_dim=5)
    refused("newer than this Intaglio", format_version=99)
    refused("of type 'unet'", model_type="unet")
    refused("2 numbers in layers_per_block, where 3 are due", layers_per_block=[1, 1])
    refused("does not fit its configuration", num_classes=0)
    refused("where", hidden_size=48)
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "colour": "red"}))
    with caplog.at_level(logging.WARNING):
        load_flow(tmp_path / "m")
    assert "colour" in caplog.text
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(BadInput, match="no readable JSON"):
        load_flow(tmp_path / "m")


def test_pictures_of_another_size_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\[n, 3, 8, 8\], not \[1, 3, 9, 8\]"):
        unit().patches(torch.zeros(1, 3, 9, 8))


def test_stored_weights_are_plain_tensors(tmp_path):
    save_flow(unit(double=False), tmp_path / "m")
    stored = load_file(tmp_path / "m" / "model.safetensors")
    assert not [name for name in stored if "mask" in name]
