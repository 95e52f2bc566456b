import pytest
import torch

import tiny
from intaglio.distill.guidance_input import with_guidance_input
from intaglio.errors import BadInput
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.unet_halves import SharedEncoder, encoder_blocks, refuse_no_halves


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    found = {
        "sd": load_model(tiny.sd_folder(root / "sd")),
        "sdxl": load_model(tiny.sdxl_folder(root / "sdxl")),
        "no middle": load_model(tiny.sd_folder(root / "flat", unet_changes={"mid_block_type": None})),
    }
    found["guidance input"] = with_guidance_input(found["sd"], (1.0, 8.0), "student")
    layer = found["guidance input"].denoiser.time_embedding.cond_proj.weight
    torch.nn.init.normal_(layer, generator=torch.Generator().manual_seed(0))
    return found


every_layout = pytest.mark.parametrize("kind", ["sd", "sdxl", "no middle", "guidance input"])


def given_to(model, seed=0, side=8):
    x = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(seed))
    given = model.embed(["red cat", "dog"])
    return x, given.under(torch.tensor([2.0, 6.0])) if model.sampling.guidance == "input" else given


def by_hand(model, x, given, first, then):
    """The prediction at `then` with what the encoder gave at `first`, put in the place of its own outputs."""
    blocks, kept = encoder_blocks(model.denoiser), {}
    handles = [
        block.register_forward_hook(lambda module, args, output, name=name: kept.__setitem__(name, output))
        for name, block in blocks.items()
    ]
    model.predict(x, first, given)
    for handle in handles:
        handle.remove()
    handles = [
        block.register_forward_hook(lambda module, args, output, name=name: kept[name])
        for name, block in blocks.items()
    ]
    found = model.predict(x, then, given)
    for handle in handles:
        handle.remove()
    return found


@every_layout
@pytest.mark.parametrize("side", [8, 7])
def test_with_one_timestep_it_is_the_networks_own_pass(models, kind, side):
    """Bit for bit; at a side of 7 the up blocks are told the sizes of the features."""
    model = models[kind]
    (x, given), t = given_to(model, side=side), torch.tensor([900, 900])
    with torch.no_grad(), SharedEncoder(model.denoiser, 2).shared():
        shared = model.predict(x, t, given)
    with torch.no_grad():
        assert torch.equal(shared, model.predict(x, t, given))


@every_layout
def test_each_block_of_rows_is_decoded_at_its_own_timesteps(models, kind):
    """Against outputs of the encoder that are put in by hand, timestep by timestep: serial is parallel."""
    model = models[kind]
    x, given = given_to(model)
    with torch.no_grad():
        encoder = SharedEncoder(model.denoiser, 2)
        with encoder.shared():
            t = torch.tensor([900, 900, 500, 500, 10, 10])
            together = model.predict(x.repeat(3, 1, 1, 1), t, Conditioning.cat([given] * 3)).split(2)
        rows = [torch.tensor([k, k]) for k in (900, 500, 10)]
        with encoder.shared():
            alone = [model.predict(x, t, given) for t in rows]
        known = [by_hand(model, x, given, rows[0], t) for t in rows]
    assert (known[2] - model.predict(x, rows[2], given)).abs().max() > 1e-3
    for one, two, three in zip(together, alone, known, strict=True):
        assert torch.allclose(one, three, atol=1e-5)
        assert torch.allclose(two, three, atol=1e-5)


def test_the_encoder_runs_once_on_the_first_rows(models):
    model, sizes = models["sd"], []
    x, given = given_to(model)
    inner = model.denoiser.down_blocks[0].resnets[0]
    handle = inner.register_forward_hook(lambda module, args, output: sizes.append(len(args[0])))
    try:
        encoder, t = SharedEncoder(model.denoiser, 2), torch.tensor([900, 900, 10, 10])
        with torch.no_grad(), encoder.shared():
            first = model.predict(x.repeat(2, 1, 1, 1), t, Conditioning.cat([given, given]))
            again = model.predict(torch.zeros(4, 4, 8, 8), t, Conditioning.cat([given, given]))
    finally:
        handle.remove()
    assert sizes == [2]
    assert torch.equal(first, again), "later calls look at no latents"


def test_gradients_of_all_decoders_come_to_the_encoder(models):
    """The gradient of the sum is the sum of those of the timesteps, each with an encoder of its own."""
    model = models["sd"].copy()
    (x, given), t = given_to(model), torch.tensor([900, 900, 500, 500])
    weight = model.denoiser.conv_in.weight

    def gradient(rows, *times):
        encoder = SharedEncoder(model.denoiser, 2)
        with encoder.shared():
            found = model.predict(x.repeat(len(times), 1, 1, 1), t[rows], Conditioning.cat([given] * len(times)))
        return torch.autograd.grad(found[-2:].square().sum() if len(times) > 1 else found.square().sum(), weight)[0]

    with_both, first = gradient(slice(0, 4), 900, 500), gradient(slice(0, 2), 900)
    assert with_both.abs().max() > 0
    encoder = SharedEncoder(model.denoiser, 2)
    with encoder.shared():
        found = model.predict(x.repeat(2, 1, 1, 1), t, Conditioning.cat([given, given]))
    whole = torch.autograd.grad(found.square().sum(), weight)[0]
    assert torch.allclose(whole, with_both + first, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


def test_what_a_decoder_does_to_its_features_does_not_reach_the_next(models, monkeypatch):
    model = models["sd"]
    (x, given), t = given_to(model), torch.tensor([500, 500])
    block = model.denoiser.up_blocks[0]
    forward = block.forward

    def spoiling(*args, **named):
        found = forward(*args, **named)
        for skip in named["res_hidden_states_tuple"]:
            skip.zero_()
        return found

    monkeypatch.setattr(block, "forward", spoiling)
    with torch.no_grad():
        encoder = SharedEncoder(model.denoiser, 2)
        with encoder.shared():
            assert torch.equal(model.predict(x, t, given), model.predict(x, t, given))


def test_the_network_is_left_as_it_was_found_by_an_error_too(models):
    model = models["sd"]
    blocks = encoder_blocks(model.denoiser).values()
    own = model.denoiser.conv_in.forward
    model.denoiser.conv_in.forward = own
    try:
        with SharedEncoder(model.denoiser, 1).shared():
            assert all("forward" in vars(block) for block in blocks)
        with pytest.raises(ZeroDivisionError), SharedEncoder(model.denoiser, 1).shared():
            raise ZeroDivisionError
        assert vars(model.denoiser.conv_in)["forward"] is own, "a forward that was put in by another stays"
    finally:
        del model.denoiser.conv_in.forward
    assert not any("forward" in vars(block) for block in blocks)


def test_rows_that_do_not_fit_and_networks_without_halves_are_refused(models):
    model = models["sd"]
    (x, given), t = given_to(model), torch.tensor([500, 500])
    with torch.no_grad(), SharedEncoder(model.denoiser, 2).shared(), pytest.raises(ValueError, match="no multiple"):
        model.predict(x[[0, 1, 1]], t[[0, 1, 1]], given[[0, 1, 1]])
    with pytest.raises(ValueError, match="1 or more"):
        SharedEncoder(model.denoiser, 0)
    twin = model.copy()
    twin.denoiser = torch.nn.Linear(2, 2)
    with pytest.raises(BadInput, match="encoder of a U-Net"):
        refuse_no_halves(twin, "loopfree")
