import numpy as np
import pytest

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.methods.ties import Ties
from merge_scenes import fine_tunes, flat, with_vector

SMALL = {"density": 0.3}
BAD = {"density": 0.0}
PIECES = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def by_hand(updates, density):
    """The three steps over whole vectors: trim by sorting, elect, and average those that agree."""
    count = round(density * updates.shape[1])
    trimmed = np.zeros_like(updates)
    for row, update in zip(trimmed, updates, strict=True):
        top = np.argsort(-np.abs(update), kind="stable")[:count]
        row[top] = update[top]
    sign = np.sign(trimmed.sum(0))
    sign[sign == 0] = np.sign(sign.sum())
    agree = (np.sign(trimmed) == sign) & (trimmed != 0)
    return (trimmed * agree).sum(0) / np.maximum(agree.sum(0), 1)


@pytest.mark.parametrize(("density", "scale", "count"), [(0.2, 1.0, 3), (0.5, 0.7, 2), (1.0, 1.0, 2), (1e-5, 1.0, 2)])
def test_trimmed_updates_are_averaged_where_they_agree(base, density, scale, count):
    models = fine_tunes(base, count)
    start = flat(base)
    updates = np.stack([(flat(model) - start).astype(np.float32).astype(np.float64) for model in models])
    found = flat(Ties(density=density, scale=scale)(models, base).model)
    wanted = start + scale * by_hand(updates, density)
    assert np.abs(found - wanted).max() < 1e-6
    assert (found != start).sum() <= count * round(density * len(start))


UNIT = 2.0**-8


def planted_base(base):
    """Weights that are multiples of 2^-8, so that planted updates of such are exact."""
    return with_vector(base, np.round(flat(base) / UNIT) * UNIT)


def test_opposite_updates_of_equal_mass_leave_the_base(base):
    start = planted_base(base)
    update = np.random.default_rng(0).choice([-UNIT, UNIT], flat(start).shape)
    models = [with_vector(start, flat(start) + sign * update) for sign in (1, -1)]
    assert np.array_equal(flat(Ties(density=1.0)(models, start).model), flat(start))


def test_a_sum_of_zero_takes_the_sign_of_the_majority(base):
    """Both models move every weight; in the first three the sum is 0, elsewhere it is positive."""
    start = planted_base(base)
    one, two = np.full_like(flat(start), 4 * UNIT), np.full_like(flat(start), 2 * UNIT)
    two[:3] = -4 * UNIT
    models = [with_vector(start, flat(start) + update) for update in (one, two)]
    moved = flat(Ties(density=1.0)(models, start).model) - flat(start)
    assert np.array_equal(moved[:3], [4 * UNIT] * 3)
    assert np.allclose(moved[3:], 3 * UNIT)
    turned = [with_vector(start, flat(start) - update) for update in (one, two)]
    assert np.array_equal(flat(Ties(density=1.0)(turned, start).model) - flat(start), -moved)


def test_equal_magnitudes_do_not_keep_more_than_the_density(base):
    start = planted_base(base)
    models = [with_vector(start, flat(start) + UNIT)] * 2
    moved = flat(Ties(density=0.1)(models, start).model) - flat(start)
    assert (moved != 0).sum() == round(0.1 * len(moved))


def test_the_threshold_is_of_the_whole_model_and_not_of_a_layer(base):
    """One layer moves ten times as far as all others; with so few kept, nothing else is."""
    start = planted_base(base)
    update = np.full_like(flat(start), UNIT)
    update[500:600] = 10 * UNIT
    models = [with_vector(start, flat(start) + update)] * 2
    moved = flat(Ties(density=100 / len(update))(models, start).model) - flat(start)
    assert np.array_equal(np.flatnonzero(moved), np.arange(500, 600))


def test_the_order_of_the_models_does_not_matter(base):
    models = fine_tunes(base, 3)
    one, other = (flat(Ties()(each, base).model) for each in (models, models[::-1]))
    assert np.abs(one - other).max() <= 1e-6


def test_it_needs_a_base(base):
    with pytest.raises(BadInput, match="give the base"):
        Ties()(fine_tunes(base, 2))
