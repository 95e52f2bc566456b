import numpy as np
import pytest
import torch

import tiny
from intaglio.bench.shrink import merged_models
from intaglio.bench.shrink.merged_models import MergeBench, merge_figures
from intaglio.denoising.losses import losses
from intaglio.denoising.samples import fixed_samples
from intaglio.models import testbed
from intaglio.models.diffusion.loading import load_model
from intaglio.models.testbed import FewShot
from intaglio.shrink.merging.methods.dare import Dare
from intaglio.shrink.merging.methods.soup import Soup
from merge_scenes import flat, with_vector


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def few(name):
    """Two tiny members and holdouts of a set, of which the rest is not asked for."""
    one, two = (tiny.some_pictures(seed + len(name), 2) for seed in (0, 100))
    return FewShot(one, two, two, two, two)


def holdout_losses(model, name):
    with torch.no_grad():
        latents = model.encode(few(name).holdouts.pixels)
        noise, t = fixed_samples(1, tuple(latents.shape[1:]), (0, model.schedule.count - 1), 0)
        noise, t = noise.expand(2, -1, -1, -1, -1), t.expand(2, -1)
        return losses(model, model.embed(["sks style"]), latents, noise, t, 16).mean(1).double().numpy()


def test_the_gain_is_of_the_mean_of_fine_tunes_that_are_trained_once(base, tmp_path, monkeypatch):
    merges = {"SAME_SET": {"soup": Soup()}, "TWO_SETS": {"dare": Dare(drop=0.5)}}
    for name, value in {"QUICK_STEPS": 1, "DRAWS": 1, **merges}.items():
        monkeypatch.setattr(merged_models, name, value)
    monkeypatch.setattr(testbed, "few_shot", few)
    found = merge_figures(base, tmp_path, quick=True)
    assert (found["sets"], found["steps"], found["holdouts_pictures"]) == (["mammals", "roles"], 1, 4)
    bench = MergeBench(base, tmp_path, quick=True)
    assert len(list(tmp_path.glob("finetune-*"))) == 4
    monkeypatch.setattr("intaglio.adapt.methods.dreambooth.DreamBooth.__call__", None)  # nothing is trained again
    gains = []
    for name in found["sets"]:
        tuned = [bench.tuned(name, seed) for seed in (0, 1)]
        assert not np.array_equal(flat(tuned[0]), flat(tuned[1]))
        soup = with_vector(base, (flat(tuned[0]) + flat(tuned[1])) / 2)
        one, two = (holdout_losses(model, name) for model in tuned)
        gains.append((one + two) / 2 - holdout_losses(soup, name))
    assert found["soup_gain"] == pytest.approx(np.mean(gains), abs=1e-6)
    low, high = found["soup_gain_interval_95"]
    assert low <= found["soup_gain"] <= high
    assert set(found["same_set"]) == {"base", "tuned_0", "tuned_1", "soup"}
    assert set(found["two_sets"]["dare"]) > {"members", "holdouts", "members_gain", "holdouts_gain_interval_95"}


def test_a_set_counts_where_the_soup_is_below_both_fine_tunes():
    values = {"tuned_0": [2.0, 2.0, 1.0, 1.0], "tuned_1": [3.0, 3.0, 3.0, 3.0], "soup": [1.0, 2.5, 0.9, 1.2]}
    each = {name: np.array(value) for name, value in values.items()}
    assert merged_models._below_both(each, 2) == 1
    assert merged_models._below_both(each, 4) == 2


def test_what_leaks_is_told_by_the_fall_of_the_loss():
    losses_by_part = {
        "members": {"base": np.array([1.0, 1.0, 1.0]), "soup": np.array([0.5, 0.4, 0.95])},
        "holdouts": {"base": np.array([1.0, 1.0]), "soup": np.array([0.9, 1.1])},
    }
    found = merged_models._means(losses_by_part, leak=True)
    assert found["soup"]["leak_auc"] == pytest.approx(5 / 6)
    assert found["soup"]["members"] == pytest.approx(1.85 / 3)
