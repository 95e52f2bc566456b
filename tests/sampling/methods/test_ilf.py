import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

import tiny
from exact_draws import drawn
from intaglio.errors import BadInput
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.calls import Calls
from intaglio.sampling.family import SamplingRequest
from intaglio.sampling.grid import level_at, timestep_grid
from intaglio.sampling.inner_feedback import InnerLoop
from intaglio.sampling.loop import nodes_of
from intaglio.sampling.methods.ilf import InnerLoopFeedback
from intaglio.sampling.methods.plain import Plain
from intaglio.sampling.step import ddim_step
from intaglio.sampling.trained.methods.ilf import InnerLoopTraining

SMALL = {"part": "ilf.safetensors"}
BAD = {"inner": -1}
PIECES = {}
VARIANTS = {"caching": {"SMALL": {"gamma": 0.0, "inner": 2}, "BAD": {"inner": -2}, "PIECES": {}}}

GAMMA, SHARE = 0.7, 321
REENTER = ("down", "up")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ilf")


@pytest.fixture(scope="module")
def model(folder):
    return load_model(tiny.sd_folder(folder / "model"))


@pytest.fixture(scope="module")
def parts(model, folder):
    """Parts with other weights than those they began with, and a factor that is plain to see, by where they enter."""
    found = {}
    for reenter in REENTER:
        loop = InnerLoop.of(model, 2, reenter)
        source = torch.Generator().manual_seed(1)
        tensors = {n: w + 0.1 * torch.randn(w.shape, generator=source) for n, w in loop.weights.items()}
        settings, facts = InnerLoopTraining(reenter=reenter), {"lowest": 2, "reenter": reenter, "thousandths": SHARE}
        part = settings.part(model, [""], {**tensors, "gamma": torch.tensor(GAMMA)}, facts)
        found[reenter] = folder / f"{reenter}.safetensors"
        part.save(found[reenter])
    return found


def walk(model, part, reenter, *, steps, inner, gamma, scale):
    """Two pictures by DDIM, branch by branch, on a denoiser that is held to features by hand; no batch of branches."""
    unet, grid = copy.deepcopy(model.denoiser), timestep_grid(model.schedule, steps)
    twin, block, attention = model.copy(), *trained_layer(unet, part, reenter)
    twin.denoiser = unet
    x = torch.cat([torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in range(2)])
    branches = [model.embed(["", ""]), model.embed(["red dog"] * 2)]
    kept = [{}, {}]
    for place, (now, then) in enumerate(pairwise(grid)):
        t, noises = torch.full((2,), now.t), []
        for given, features in zip(branches, kept, strict=True):
            if place % (1 + inner) == 0:
                features.clear()
            else:
                embedding = unet.time_embedding(unet.time_proj(t))
                both = torch.cat([features["last"], features["first"]], 1)
                fed = block(both, embedding)
                if attention is not None:
                    fed = attention(fed, encoder_hidden_states=given.hidden, return_dict=False)[0]
                features["first" if reenter == "down" else "last"] += gamma * fed
            noises.append(held_prediction(twin, features, x, t, given, reenter))
        x = ddim_step(x, noises[0] + scale * (noises[1] - noises[0]), now, then)
    return x


def trained_layer(unet, part, reenter):
    ups = unet.up_blocks
    block = ups[1].resnets[0] if reenter == "down" else ups[0].resnets[-1]
    attention = ups[1].attentions[0] if reenter == "down" else None
    layer = nn.ModuleDict(
        {"layer": copy.deepcopy(block)} | ({"attention": copy.deepcopy(attention)} if attention else {})
    )
    layer.load_state_dict({n.removeprefix("block."): w for n, w in part.tensors.items() if n != "gamma"})
    return layer["layer"], layer["attention"] if attention else None


def held_prediction(twin, features, x, t, given, reenter):
    """The prediction by the features that are there already; those that are not are kept."""
    unet = twin.denoiser
    down = unet.down_blocks[0]
    places = {"conv": unet.conv_in, "side": down.attentions[0], "first": down.downsamplers[0]}

    def keep(name):
        return lambda module, args, out: features.setdefault(name, out)

    def keep_last(module, args):
        if reenter == "down":
            features["last"] = args[0]
            return args
        return (features.setdefault("last", args[0]), *args[1:])

    handles = [block.register_forward_hook(keep(name)) for name, block in places.items()]
    handles.append(unet.up_blocks[0].upsamplers[0].register_forward_pre_hook(keep_last))
    try:
        return twin.predict(x, t, given)
    finally:
        for handle in handles:
            handle.remove()


def pictures(model, method, **options):
    return drawn(model, method, prompt="red dog", count=2, **{"steps": 5, "scale": 3.0, **options})


@pytest.mark.parametrize(("reenter", "gamma"), [("down", None), ("down", 0.0), ("up", None), ("up", -0.4)])
def test_a_walk_is_that_of_the_formula_branch_by_branch(model, parts, reenter, gamma):
    """γ = 0 is caching: the features of the full step as they are, at the new time."""
    method = InnerLoopFeedback(part=parts[reenter], inner=2, gamma=gamma)
    with torch.no_grad():
        known = walk(
            model, method.trained(model), reenter, steps=5, inner=2, gamma=GAMMA if gamma is None else gamma, scale=3.0
        )
    found = pictures(model, method)
    assert torch.allclose(found, known, atol=2e-4)
    assert not torch.allclose(found, pictures(model, Plain()), atol=2e-3)


def test_the_factor_makes_a_difference(model, parts):
    found = [pictures(model, InnerLoopFeedback(part=parts["up"], gamma=gamma)) for gamma in (None, GAMMA, 0.0)]
    assert torch.equal(found[0], found[1]), "the trained one is the default"
    assert not torch.allclose(found[0], found[2], atol=1e-3)


@pytest.mark.parametrize(("sampler", "reenter"), [("ddim", "down"), ("heun", "up"), ("ddpm", "down")])
def test_without_inner_steps_it_is_the_models_own_drawing_bit_for_bit(model, parts, sampler, reenter):
    """Three steps: with no inner one between, none differs from another but in its noise level."""
    found = pictures(model, InnerLoopFeedback(part=parts[reenter], inner=0), sampler=sampler, steps=3)
    assert torch.equal(found, pictures(model, Plain(), sampler=sampler, steps=3))


def test_one_inner_step_a_full_one_is_every_other_step(model, parts):
    seen, known = [], [level.t for level in timestep_grid(model.schedule, 5)][:-1]
    hook = model.denoiser.register_forward_hook(lambda module, args, out: seen.append(int(args[1][0])))
    try:
        pictures(model, InnerLoopFeedback(part=parts["up"]))
    finally:
        hook.remove()
    assert seen == known[::2]


@pytest.mark.parametrize(("sampler", "inner"), [("ddim", 0), ("ddim", 1), ("heun", 1), ("heun", 3)])
def test_the_plan_has_full_calls_and_inner_steps_by_their_share(model, parts, sampler, inner):
    method, made = InnerLoopFeedback(part=parts["down"], inner=inner), Calls()
    pictures(model, method, sampler=sampler, calls=made)
    request = SamplingRequest(model, ["red dog"], "", 3.0, 5, nodes_of(sampler, 5), sampler=sampler)
    assert method.planned(request).times(2) == made
    full = 2 * sum((1 if place == 0 or sampler == "ddim" else 2) for place in range(0, 5, 1 + inner))
    assert made == Calls(forward=2 * full, thousandths=2 * (2 * request.nodes - full) * SHARE)
    assert ("worth" in str(made)) == (inner > 0)
    assert made.cost == 2 * full + math.ceil(made.thousandths / 1000)


@pytest.mark.parametrize("reenter", REENTER)
def test_the_share_is_that_of_multiplications_counted_by_hand(reenter):
    """On a U-Net of convolutions and linear layers, which know their own."""
    plain = {"down_block_types": ("DownBlock2D",) * 3, "up_block_types": ("UpBlock2D",) * 3}
    plain |= {"mid_block_type": "UNetMidBlock2D", "block_out_channels": (8, 12, 16)}
    pipeline = tiny.sd_pipeline(unet_changes=plain)
    model = load_pipeline(pipeline)
    loop, counted = InnerLoop.of(model, 2, reenter), [0]

    def count(module, args, out):
        each = module.weight[0].numel()
        counted[0] += each * out.numel()

    layers = [
        m for network in (model.denoiser, loop.block) for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    layers = [m for m in layers if m not in set(model.denoiser.mid_block.attentions.modules())]
    handles = [layer.register_forward_hook(count) for layer in layers]
    given, x, t = model.embed([""]), torch.zeros(1, 4, 8, 8), torch.tensor([5])
    with torch.no_grad():
        _, features = loop.full(x, t, given, model.predict)
        whole, counted[0] = counted[0], 0
        loop.step(features, x, t, given)
    for handle in handles:
        handle.remove()
    assert loop.thousandths() == pytest.approx(1000 * counted[0] / whole, abs=20)


def load_pipeline(pipeline):
    return LatentDiffusion(
        denoiser=pipeline.unet,
        autoencoder=pipeline.vae,
        text_encoders=[pipeline.text_encoder],
        tokenizers=[pipeline.tokenizer],
        scheduler=pipeline.scheduler.config,
        name="m",
    )


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_noise_of_an_inner_step_is_that_of_its_own_latents(folder, prediction):
    """The output knows nothing of the latents at t - r; the noise of a network that predicts anything else does."""
    model = load_model(tiny.sd_folder(folder / prediction, prediction=prediction))
    loop, given, t = InnerLoop.of(model, 2, "up"), model.embed([""]), torch.tensor([400])
    x, other = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known, features = loop.full(x, t, given, model.predict)
        assert torch.allclose(loop.step(features, x, t, given)[0], known, atol=1e-6)
        apart = loop.step(features, other, t, given)[0] - known
    level = level_at(model.schedule, 400)
    factor = {"epsilon": 0.0, "v_prediction": level.noise, "sample": 1 / level.noise}[prediction]
    assert torch.allclose(apart, factor * (other - x), atol=1e-4)


def test_in_half_precision_the_block_stays_in_float32(folder, parts):
    model = load_model(tiny.sd_folder(folder / "half")).to(dtype=torch.bfloat16)
    for reenter in REENTER:
        loop = InnerLoop.of(model, 2, reenter)
        assert {weight.dtype for weight in loop.block.parameters()} == {torch.float32}
        given, t, x = model.embed([""]), torch.tensor([400]), torch.zeros(1, 4, 8, 8)
        with torch.no_grad():
            known, features = loop.full(x, t, given, model.predict)
            assert torch.equal(loop.step(features, x, t, given)[0], known)
            assert loop.step(features, x, t, given)[0].dtype == torch.float32


def test_blocks_that_join_other_widths_are_refused(model):
    other = model.copy()
    other.denoiser.up_blocks[0].resnets[-1].in_channels = 5
    with pytest.raises(BadInput, match="take other features than a feedback block can give"):
        InnerLoop.of(other, 2, "up")


@pytest.mark.parametrize("gamma", [math.nan, math.inf])
def test_a_factor_that_is_not_finite_is_refused_by_its_name(gamma):
    with pytest.raises(ValueError, match="gamma"):
        InnerLoopFeedback(gamma=gamma)
