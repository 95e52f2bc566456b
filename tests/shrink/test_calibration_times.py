import math

import pytest
import torch

import tiny
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.calibration_states import drawn_states, picture_states
from intaglio.shrink.time_spread import NormalTimes


def phi(z):
    """The standard normal distribution's probability below z."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("base")))


@pytest.mark.parametrize(("mean", "deviation"), [(0.4, 0.4), (0.5, 0.35)])
def test_clipped_times_are_normally_distributed_with_the_rest_on_the_ends(mean, deviation):
    count, steps = 50_000, 1000
    t = NormalTimes(mean, deviation).drawn(count, steps, seed=0)
    edges = torch.tensor([0.5, 199.5, 399.5, 599.5, 799.5, 998.5])
    below = [float((t < edge).float().mean()) for edge in edges]
    wanted = [phi((float(edge) / steps - mean) / deviation) for edge in edges]
    assert below == pytest.approx(wanted, abs=4 / math.sqrt(count))
    assert int(t.min()) == 0
    assert int(t.max()) == 999


def test_redrawn_times_have_no_more_on_the_ends_than_beside_them():
    """A normal distribution cut off at both ends: its probabilities are divided by what lies between."""
    t = NormalTimes(0.4, 0.4, redrawn=True).drawn(50_000, 1000, seed=0)
    low, high = phi(-1.0), phi((0.9995 - 0.4) / 0.4)
    wanted = [(phi((edge / 1000 - 0.4) / 0.4) - low) / (high - low) for edge in (250, 500, 750)]
    assert [float((t < edge).float().mean()) for edge in (250, 500, 750)] == pytest.approx(wanted, abs=0.01)
    assert int((t == 0).sum()) < 100


def test_states_that_are_learned_from_are_of_the_nearest_time_and_carry_it(model):
    even = drawn_states(model, ["cat", "dog"], 320, seed=1)
    found = drawn_states(model, ["cat", "dog"], 320, seed=1, times=NormalTimes(0.2, 0.05))
    assert set(found.t.tolist()) <= set(even.t.tolist())
    assert set(found.learned.t.tolist()) <= {t for t in even.t.tolist() if 0 < t < 450}
    assert torch.equal(found.held.t, even.held.t)
    assert torch.equal(found.held.latents, even.held.latents)
    known = {(int(t), int(walk)): latents for t, walk, latents in zip(even.t, even.origins, even.latents, strict=True)}
    shared = [k for k in range(len(found)) if (int(found.t[k]), int(found.origins[k])) in known]
    assert len(shared) > 40
    for k in shared:
        assert torch.equal(found.latents[k], known[int(found.t[k]), int(found.origins[k])])


def test_pictures_are_noised_to_those_times_and_judging_ones_evenly(model):
    images = ImageSet.from_pixels(tiny.pixels(8))
    even = picture_states(model, images, 160)
    found = picture_states(model, images, 160, times=NormalTimes(0.1, 0.02))
    assert int(found.learned.t.max()) < 200
    assert torch.equal(found.held.t, even.held.t)


def test_settings_of_times_are_checked():
    with pytest.raises(ValueError, match="mean"):
        NormalTimes(1.5, 0.4)
    with pytest.raises(ValueError, match="deviation"):
        NormalTimes(0.4, 0.0)
