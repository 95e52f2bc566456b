import json

import pytest
import torch

import tiny
from intaglio.cli import main
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.long_convolutions import LongConvolution, self_attentions
from intaglio.shrink.attention_offsets import begin_as_attention, mean_maps_by_offset
from intaglio.shrink.methods.long_conv import LongConv
from intaglio.shrink.methods.rtn import RoundToNearest
from intaglio.shrink.squashed_kernel import squashed
from shrink_scenes import planted_rows

SMALL = {"steps": 2, "batch": 4, "probes": 2, "match_steps": 2, "learning_rate": 1e-3, "kernel_dropout": 0.2}
BAD = {"kernel_dropout": 1.0}
PIECES = {"micro_batch": 2, "gradient_checkpointing": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("model") / "m"))


@pytest.fixture(scope="module")
def found(model):
    return LongConv(steps=2, batch=4, probes=4, match_steps=20, learning_rate=1e-3)(model, planted_rows())


def numbers(network):
    return sum(weight.numel() for weight in network.state_dict().values())


def test_every_self_attention_is_replaced_on_the_grid_that_it_runs_on(model, found):
    seen = {}

    def keep(name):
        return lambda module, given, named, output: seen.update({name: round(output.shape[1] ** 0.5)})

    names = [name for name, _ in model.denoiser.named_modules() if name.endswith("attn1")]
    hooks = [model.denoiser.get_submodule(name).register_forward_hook(keep(name), with_kwargs=True) for name in names]
    with torch.no_grad():
        model.predict(torch.zeros(1, tiny.CHANNELS, 8, 8), torch.tensor([5]), model.embed(["dog"]))
    for hook in hooks:
        hook.remove()
    assert found.facts["long_convolutions"] == seen == self_attentions(model.denoiser)
    assert set(seen.values()) == {4, 8}
    assert not [name for name in names if not isinstance(found.model.denoiser.get_submodule(name), LongConvolution)]


def test_the_plan_tells_the_bytes_that_are_stored(model, found):
    plan = LongConv().planned(model, 32)
    assert plan.after == found.bytes == 2 * numbers(found.model.denoiser)
    assert plan.before == 2 * numbers(model.denoiser)


def test_it_begins_as_an_attention_whose_map_depends_on_the_offset_alone(model):
    """Queries and keys that say nothing give every place 1/s²; values of all heads together are then exact."""
    twin = model.copy()
    scope, side = next(iter(self_attentions(twin.denoiser).items()))
    attention = twin.denoiser.get_submodule(scope)
    with torch.no_grad():
        attention.to_q.weight.zero_()
    maps = mean_maps_by_offset(twin, planted_rows(2), {scope: side})[scope]
    torch.testing.assert_close(maps, torch.full_like(maps, 1 / side**2))
    made = LongConvolution(attention.to_q.in_features, side)
    begin_as_attention(made, attention, maps, 0.0)
    hidden = torch.randn(2, side * side, attention.to_q.in_features, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(made(hidden), attention(hidden), rtol=1e-4, atol=1e-6)


def test_mean_maps_are_those_of_the_pairs_of_an_offset(model):
    scope, side = next(iter(self_attentions(model.denoiser).items()))
    attention, rows, seen = model.denoiser.get_submodule(scope), planted_rows(1), []
    hook = attention.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    maps = mean_maps_by_offset(model, rows, {scope: side})[scope]
    hook.remove()
    with torch.no_grad():
        q, k = attention.to_q(seen[0])[0], attention.to_k(seen[0])[0]
    for head in range(attention.heads):
        part = slice(head * len(q[0]) // attention.heads, (head + 1) * len(q[0]) // attention.heads)
        share = (q[:, part] @ k[:, part].T / (part.stop - part.start) ** 0.5).softmax(1).view(side, side, side, side)
        pairs = [share[y, x, y - 2, x + 1] for y in range(2, side) for x in range(side - 1)]
        assert float(maps[head, 2 + side - 1, -1 + side - 1]) == pytest.approx(float(sum(pairs) / len(pairs)), rel=1e-4)


def test_squashing_is_the_nearest_kernel_under_a_price_of_its_absolute_taps():
    taps, price = torch.linspace(-2, 2, 81), 0.6
    tried = torch.linspace(-3, 3, 6001)
    costs = 0.5 * (tried[:, None] - taps).square() + price * tried[:, None].abs()
    torch.testing.assert_close(squashed(taps, price), tried[costs.argmin(0)], rtol=0, atol=1.1e-3)


def test_matching_brings_the_outputs_nearer(model):
    found = LongConv(steps=1, batch=4, probes=4, match_steps=60, match_rate=1e-2)(model, planted_rows())
    assert found.facts["matching"]["loss"] < 0.7 * found.facts["matching"]["first_loss"]


def test_small_taps_are_zero_in_what_is_stored(model):
    about = {"steps": 1, "batch": 1, "probes": 1, "match_steps": 1, "match_rate": 1e-9, "learning_rate": 1e-9}
    many = LongConv(squash=0.0, **about)(model, planted_rows())
    assert many.facts["zero_taps"] == 0
    dropped = LongConv(squash=0.0, kernel_dropout=0.5, **about)(model, planted_rows())
    assert dropped.facts["zero_taps"] == 0
    torch.testing.assert_close(
        dropped.model.denoiser.state_dict(), many.model.denoiser.state_dict(), rtol=1e-2, atol=1e-5
    )


def test_kept_self_attentions_stay_and_keeping_all_is_refused(model):
    method = LongConv(keep=("mid_block",), steps=1, batch=1, match_steps=1, probes=1)
    assert not [name for name in method(model, planted_rows()).facts["long_convolutions"] if "mid_block" in name]
    with pytest.raises(BadInput, match="no self-attention"):
        LongConv(keep=("mid_block", "down_blocks", "up_blocks")).check(model)


def test_the_result_is_read_again_and_rounded_as_any_other(found, tmp_path):
    read = load_model(found.save(tmp_path / "small"))
    assert read.same_weights(found.model)
    assert not read.notes
    rounded = RoundToNearest(bits=4)(read)
    again = load_model(rounded.save(tmp_path / "rounded"))
    assert again.same_weights(rounded.model)
    assert again.denoiser.config["long_convolutions"] == found.facts["long_convolutions"]


def test_the_command_stores_it_and_its_page_tells_the_places_a_side(model, tmp_path):
    words = ["--prompt", "dog", "--samples", "0", "--rows", "32", "--runs", str(tmp_path / "runs")]
    small = ["--steps", "1", "--batch", "1", "--probes", "1", "--match-steps", "1"]
    assert main(["shrink", "long-conv", "--model", str(model.source), *small, *words]) == 0
    (run,) = (tmp_path / "runs").glob("shrink-long-conv-*")
    summary = json.loads((run / "run.json").read_text())["summary"]
    page = (run / "report.html").read_text()
    assert all(scope in page for scope in summary["long_convolutions"])
    assert "became long convolutions" in page
    assert "ms in place of" in page
    assert summary["call_ms"].keys() == {"before", "after"}
    assert not list((run / "states").glob("*.safetensors"))
