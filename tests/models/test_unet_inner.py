from contextlib import contextmanager

import pytest
import torch
from torch import nn

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.shapes_alone import without_memory
from intaglio.models.diffusion.unet_inner import InnerUNet

THREE = {
    "block_out_channels": (4, 8, 12),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
}
LAYOUTS = {
    "two": {},
    "three": THREE,
    "guidance as input": {**THREE, "time_cond_proj_dim": 6},
    "without a middle": {"mid_block_type": None},
    "activated embedding": {"time_embedding_act_fn": "silu"},
}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scene(changes, size=(8, 8), text=16):
    """A U-Net, latents of two pictures, their timesteps, and all else that it takes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = tiny.unet(text, **changes).eval().requires_grad_(False)
    condition = random(2, 6, seed=3) if changes.get("time_cond_proj_dim") else None
    given = {"timestep_cond": condition, "encoder_hidden_states": random(2, 5, text, seed=2), "added_cond_kwargs": None}
    return unet, random(2, 4, *size, seed=1), torch.tensor([700, 40]), given


def output(unet, x, t, given):
    return unet(x, t, **given, return_dict=False)[0]


def hooks(unet):
    return [len(m._forward_pre_hooks) + len(m._forward_hooks) for m in unet.modules()]


def check_same_bits(unet, x, t, given, lowest):
    """A call that is watched, then the inner part on its features: both the call's own bits."""
    known, inner = output(unet, x, t, given), InnerUNet.of(unet, lowest, "m")
    with inner.keeping() as kept:
        assert torch.equal(output(unet, x, t, given), known)
    assert not any(hooks(unet))
    about = (inner.embedded(x, t, given), given["encoder_hidden_states"], tuple(x.shape[2:]))
    for run in (inner.run, inner.above):
        found, features = run(kept.features, *about)
        assert torch.equal(found, known)
        assert torch.equal(features.last, kept.features.last)
        assert not any(hooks(unet))
    return inner


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lowest", [1, 2])
def test_on_features_of_the_same_call_the_inner_part_gives_the_networks_own_bits(layout, lowest):
    check_same_bits(*scene(LAYOUTS[layout]), lowest)


@pytest.mark.parametrize("size", [(10, 6), (7, 9)])
def test_latents_whose_halves_do_not_double_to_them_have_the_same_bits_too(size):
    check_same_bits(*scene(THREE, size), 2)


def test_a_size_and_a_pooled_prompt_are_part_of_the_embedding():
    changes = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8}
    unet, x, t, given = scene({**changes, "projection_class_embeddings_input_dim": 48 + 10})
    given["added_cond_kwargs"] = {"text_embeds": random(2, 10), "time_ids": torch.full((2, 6), 16.0)}
    inner = check_same_bits(unet, x, t, given, 2)
    known = inner.embedded(x, t, given)
    given["added_cond_kwargs"]["text_embeds"] = random(2, 10, seed=9)
    assert not torch.allclose(inner.embedded(x, t, given), known)


@contextmanager
def forced(unet, level, *, first=None, last=None, outer=None):
    """The network's own forward, whose features are replaced on the way: what the inner part must come to."""
    cut, handles = len(unet.up_blocks) - level, []
    if first is not None:  # as hidden state and as residual
        handles.append(unet.down_blocks[level - 1].downsamplers[0].register_forward_hook(lambda m, a, out: first))
    if last is not None:
        handles.append(unet.up_blocks[cut - 1].upsamplers[0].register_forward_pre_hook(lambda m, a: (last, *a[1:])))
    for block, residuals in zip(unet.up_blocks[cut:], outer, strict=True):

        def put(module, args, given, residuals=residuals):
            return args, {**given, "res_hidden_states_tuple": residuals}

        handles.append(block.register_forward_pre_hook(put, with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("lowest", [1, 2])
def test_other_features_at_another_time_are_what_the_network_makes_of_them(lowest):
    unet, x, t, given = scene(THREE)
    inner = InnerUNet.of(unet, lowest, "m")
    with inner.keeping() as kept:
        output(unet, x, t, given)
    features, then = kept.features, t - 30
    about = (inner.embedded(x, then, given), given["encoder_hidden_states"], (8, 8))
    other = random(*features.first.shape, seed=7)
    found, after = inner.run(type(features)(other, features.last, features.outer), *about)
    with forced(unet, inner.level, first=other, outer=features.outer), inner.keeping() as again:
        assert torch.equal(output(unet, random(2, 4, 8, 8, seed=8), then, given), found)
    assert torch.equal(after.last, again.features.last)
    assert torch.equal(after.first, other)
    last = random(*features.last.shape, seed=6)
    found, _ = inner.above(type(features)(features.first, last, features.outer), *about)
    with forced(unet, inner.level, last=last, outer=features.outer):
        assert torch.equal(output(unet, random(2, 4, 8, 8, seed=8), then, given), found)


def test_the_cut_is_at_the_lowest_resolutions_but_never_the_highest():
    unet = scene(THREE)[0]
    assert [InnerUNet.of(unet, lowest, "m").level for lowest in (1, 2, 3, 9)] == [2, 1, 1, 1]
    assert InnerUNet.of(unet, 2, "m").channels == (4, 8)
    assert InnerUNet.of(scene({})[0], 2, "m").level == 1


def test_a_denoiser_without_such_a_part_is_refused():
    one = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    for denoiser in (None, nn.Linear(1, 1), scene(one)[0]):
        with pytest.raises(BadInput, match="the denoiser of m is no U-Net of two resolutions"):
            InnerUNet.of(denoiser, 2, "m")


def test_no_hook_is_left_by_an_error():
    unet, x, t, given = scene({})
    inner = InnerUNet.of(unet, 2, "m")
    with pytest.raises(RuntimeError), inner.keeping() as kept:
        output(unet, x[:, :3], t, given)
    assert not any(hooks(unet))
    with inner.keeping() as kept:
        output(unet, x, t, given)
    with pytest.raises(RuntimeError):
        inner.run(kept.features, inner.embedded(x, t, given)[:, :3], given["encoder_hidden_states"], (8, 8))
    assert not any(hooks(unet))


def test_a_copy_without_memory_has_the_shapes_and_leaves_the_module_alone():
    unet, x, t, given = scene({})
    seen = []
    known, hook = output(unet, x, t, given), unet.register_forward_hook(lambda m, a, out: seen.append(m))
    twin = without_memory(unet)
    hook.remove()
    on_meta = {"timestep_cond": None, "encoder_hidden_states": given["encoder_hidden_states"].to("meta")}
    assert output(twin, x.to("meta"), t.to("meta"), on_meta).shape == known.shape
    assert not seen, "hooks of others are not asked of the copy"
    assert {w.device.type for w in twin.parameters()} == {"meta"}
    assert {n: w.shape for n, w in twin.state_dict().items()} == {n: w.shape for n, w in unet.state_dict().items()}
    assert torch.equal(output(unet, x, t, given), known)
