"""A model that was called already, pickled for another process."""

import copy
import pickle

import pytest
import torch

import tiny
from intaglio.models.diffusion.loading import load_model


@pytest.mark.parametrize("folder", [tiny.sd_folder, tiny.sdxl_folder])
def test_a_called_model_is_pickled_and_computes_the_same(tmp_path, folder):
    model = load_model(folder(tmp_path / "model"))
    before = model.embed(["a cat"])  # transformers now has its hooks in the encoders
    twin = pickle.loads(pickle.dumps(model))
    assert twin.fingerprint == model.fingerprint
    assert torch.equal(twin.embed(["a cat"]).hidden, before.hidden)
    assert torch.equal(model.embed(["a cat"]).hidden, before.hidden)


def test_a_shallow_copy_shares_all_parts(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "model"))
    twin = copy.copy(model)
    assert vars(twin).keys() == vars(model).keys()
    assert all(twin.parts[name] is part for name, part in model.parts.items())
