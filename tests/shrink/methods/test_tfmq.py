import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.run import Run
from intaglio.shrink.code_grid import grid_of
from intaglio.shrink.layers import weight_layers
from intaglio.shrink.methods.tfmq import TFMQ
from intaglio.shrink.reconstruct import Reconstruction, reconstruct
from intaglio.shrink.rounding import SoftRounding
from intaglio.shrink.time_path import TimePath, grid_times, time_rows, time_unit
from shrink_scenes import planted_rows

SMALL = {"iterations": 3, "batch": 4, "keep": ("down_blocks", "up_blocks", "mid_block.attentions", "conv_in")}
BAD = {"grid": 1}
PIECES = {}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


def features(model, t, latents):
    """What every residual block is given of the time in a call, side by side."""
    seen = []
    blocks = [one for one in model.denoiser.modules() if hasattr(one, "time_emb_proj")]
    hooks = [one.time_emb_proj.register_forward_hook(lambda _, given, found: seen.append(found)) for one in blocks]
    order = {id(one.time_emb_proj): place for place, one in enumerate(blocks)}
    called = []
    hooks += [
        one.time_emb_proj.register_forward_pre_hook(lambda module, _: called.append(order[id(module)]))
        for one in blocks
    ]
    with torch.no_grad(), model.frozen():
        model.predict(latents, t, model.embed(["red cat"]))
    for hook in hooks:
        hook.remove()
    return torch.cat([found for _, found in sorted(zip(called, seen, strict=True), key=lambda pair: pair[0])], 1)


def test_what_blocks_are_given_of_the_time_is_the_path_and_no_matter_of_the_latents(model):
    t = torch.tensor([0, 321, 999])
    one, two = (torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(k)) for k in range(2))
    assert torch.equal(features(model, t, one), features(model, t, two))
    with torch.no_grad():
        assert torch.allclose(TimePath(model.denoiser)(t), features(model, t, one), atol=1e-5)


def learned_path(model, bits, iterations):
    unit = time_unit(model)
    grids = {name: grid_of(layer.matrix, bits, 0, False) for name, layer in unit.layers.items()}
    soft = {name: SoftRounding.of(layer.matrix, grids[name]) for name, layer in unit.layers.items()}
    rows, judging = (time_rows(model, t) for t in grid_times(50, 1000))
    about = Reconstruction(iterations, 50, 0.04, 0.01, 0)
    with model.frozen(), Run.none().progress(iterations, "test") as progress:
        found = reconstruct(unit, soft, {}, rows, judging, about, progress=progress)
    return unit, grids, found


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_learned_path_halves_the_error_of_the_features(model, bits):
    """Derived again: the layers applied by hand, at times midway between those that were learned from."""
    unit, grids, found = learned_path(model, bits, 200)
    t = grid_times(50, 1000)[1]
    wanted, errors = by_hand(model, {}, t), []
    for terms in (found.terms, {name: grids[name].nearest(layer.matrix) for name, layer in unit.layers.items()}):
        weights = {unit.layers[name].path: term.unpack() for name, term in terms.items()}
        errors.append(float((by_hand(model, weights, t) - wanted).square().sum(1).mean()))
    assert errors == pytest.approx([found.loss, found.nearest], rel=1e-3)
    assert errors[0] < 0.5 * errors[1]


def by_hand(model, weights, t):
    """E_i·silu(W2·silu(W1·φ(t) + b1) + b2) + b of each residual block, with weights in place of the model's own."""
    half = 4
    angles = t[:, None].float() * torch.exp(-torch.arange(half) / half * torch.log(torch.tensor(10000.0)))
    x = torch.cat([angles.cos(), angles.sin()], 1)

    def applied(path, x):
        layer = model.denoiser.get_submodule(path)
        return x @ weights.get(path, layer.weight.detach()).T + layer.bias.detach()

    silu = torch.nn.functional.silu
    embedded = silu(applied("time_embedding.linear_2", silu(applied("time_embedding.linear_1", x))))
    paths = [path for path, _ in model.denoiser.named_modules() if path.endswith("time_emb_proj")]
    return torch.cat([applied(path, embedded) for path in paths], 1)


def test_eight_bits_keep_the_direction_of_the_features(model):
    unit, _, found = learned_path(model, 8, 20)
    weights = {unit.layers[name].path: term.unpack() for name, term in found.terms.items()}
    t = torch.arange(0, 1000, 37)
    cosines = torch.cosine_similarity(by_hand(model, weights, t), by_hand(model, {}, t))
    assert float(cosines.min()) > 0.9999


def test_the_path_is_first_and_residual_blocks_are_left_without_theirs(model):
    units = TFMQ().units(model)
    assert units[0].path == "time_path"
    names = [layer.name for unit in units for layer in unit.layers.values()]
    assert sorted(names) == sorted(layer.name for layer in weight_layers(model))
    for unit in units[1:]:
        assert not any("time_emb" in name for name in unit.layers)


def test_blocks_are_reconstructed_around_the_projections_that_they_will_have(model, monkeypatch):
    """When a residual block is learned its module has the packed projection already, not the full one."""
    from intaglio.shrink import unit_by_unit

    seen = {}
    plain = unit_by_unit.reconstruct

    def watched(unit, *args, **named):
        seen[unit.path] = {name: weight.detach().clone() for name, weight in unit.module.named_parameters()}
        return plain(unit, *args, **named)

    monkeypatch.setattr(unit_by_unit, "reconstruct", watched)
    keep = ("down_blocks", "up_blocks", "mid_block.attentions", "mid_block.resnets.1", "conv_in", "conv_out")
    found = TFMQ(iterations=1, batch=2, bits=3, keep=keep)(model, planted_rows())
    packed = found.packed["denoiser"]["mid_block.resnets.0.time_emb_proj.weight"]
    assert torch.equal(seen["mid_block.resnets.0"]["time_emb_proj.weight"], packed.unpack())
    assert packed.terms[0].bits == 3


def test_a_time_embedding_that_reads_the_prompt_is_refused(tmp_path):
    model = load_model(tiny.sdxl_folder(tmp_path / "xl"))
    with pytest.raises(BadInput, match=r"addition_embed_type.*use qdiffusion"):
        TFMQ().check(model)


def test_times_are_evenly_spread_and_judged_in_between():
    learned, judging = grid_times(5, 1000)
    assert learned.tolist() == [0, 250, 500, 749, 999]
    assert judging.tolist() == [0, 125, 375, 624, 874]
