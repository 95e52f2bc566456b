import json

import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import narrow
from intaglio.models.diffusion.loading import load_model
from intaglio.models.diffusion.removed_branches import removable, remove_branches, without_branch
from intaglio.models.diffusion.unet_lockstep import refuse_other_blocks
from intaglio.sampling.attention_maps import cross_attentions, recorded_maps

LAST = {"attn1": "to_out.0", "attn2": "to_out.0", "ff": "net.2"}
"""Layers whose zeros make a branch give zeros; of a residual block it is conv2."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.sd_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def model(folder):
    return load_model(folder)


def predicted(model, seed=0):
    latents = torch.randn(2, tiny.CHANNELS, 8, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model.predict(latents, torch.tensor([3, 700]), model.embed(["red cat", "dog"]))


def one_of_each(model):
    """A residual block with a shortcut, one without, and a branch of each kind."""
    blocks = [name for name in removable(model.denoiser) if "resnets" in name]
    shortcuts = [model.denoiser.get_submodule(name).conv_shortcut is not None for name in blocks]
    picked = [blocks[shortcuts.index(True)], blocks[shortcuts.index(False)]]
    return picked + [next(name for name in removable(model.denoiser) if name.endswith(kind)) for kind in LAST]


def zeroed(model, name):
    """A copy in which the last layer of the branch gives zeros."""
    twin = model.copy()
    layer = twin.denoiser.get_submodule(f"{name}.{LAST.get(name.rpartition('.')[2], 'conv2')}")
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
    return twin


def test_without_a_branch_it_predicts_as_where_the_branch_gives_zeros_and_then_as_before(model):
    before = predicted(model)
    for name in one_of_each(model):
        modules = list(model.denoiser.modules())
        with without_branch(model.denoiser, name):
            found = predicted(model)
        assert torch.allclose(found, predicted(zeroed(model, name)), atol=1e-6)
        assert not torch.equal(found, before)
        assert torch.equal(predicted(model), before)
        assert [id(one) for one in model.denoiser.modules()] == [id(one) for one in modules]


def test_a_model_without_branches_is_saved_and_loaded_to_the_same_bits(model, tmp_path):
    names = one_of_each(model)
    numbers = sum(weight.numel() for weight in model.denoiser.parameters())
    before = set(removable(model.denoiser))
    remove_branches(model.denoiser, names)
    assert set(removable(model.denoiser)) == before - set(names)
    model.save(tmp_path / "small")
    read = load_model(tmp_path / "small")
    assert read.same_weights(model)
    assert torch.equal(predicted(read), predicted(model))
    assert read.denoiser.config["removed_branches"] == sorted(names)
    assert not read.notes
    assert sum(weight.numel() for weight in read.denoiser.parameters()) < numbers


def test_a_second_removal_adds_to_the_first_and_narrower_blocks_are_forgotten_with_theirs(model, tmp_path):
    first, second, *_ = one_of_each(model)
    narrow(model.denoiser, first, [0])
    narrow(model.denoiser, second, [0])
    remove_branches(model.denoiser, [first])
    assert set(model.denoiser.config["hidden_widths"]) == {second}
    last = removable(model.denoiser)[-1]
    remove_branches(model.denoiser, [last])
    model.save(tmp_path / "small")
    read = load_model(tmp_path / "small")
    assert torch.equal(predicted(read), predicted(model))
    assert set(read.denoiser.config["removed_branches"]) == {first, last}


def test_models_without_other_branches_are_told_apart(model, folder):
    names = one_of_each(model)
    remove_branches(model.denoiser, names[:1])
    (told,) = model.differences(load_model(folder))
    assert "removed branches" in told
    assert names[0] in told


@pytest.mark.parametrize(
    ("said", "told"),
    [("mid_block", "list of names"), ([3], "list of names"), (["nowhere"], "nowhere"), (["conv_in"], "conv_in")],
)
def test_names_that_are_no_branches_are_refused(model, tmp_path, said, told):
    model.save(tmp_path / "small")
    path = tmp_path / "small" / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "removed_branches": said}))
    with pytest.raises(BadInput, match=told):
        load_model(tmp_path / "small")


def test_a_denoiser_without_branches_has_fewer_cross_attentions_and_runs_in_no_lock_step(model):
    before = len(cross_attentions(model.denoiser))
    remove_branches(model.denoiser, [name for name in removable(model.denoiser) if name.endswith("attn2")][:1])
    assert len(cross_attentions(model.denoiser)) == before - 1
    with recorded_maps(model.denoiser) as maps:
        predicted(model)
    assert len(maps) == before - 1
    with pytest.raises(BadInput, match="lock-step; give the model that it was made from"):
        refuse_other_blocks(model.denoiser)
