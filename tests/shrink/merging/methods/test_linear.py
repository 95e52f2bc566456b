import numpy as np
import pytest

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.methods.linear import LinearMerge
from intaglio.shrink.merging.methods.soup import Soup
from merge_scenes import fine_tunes, flat

SMALL = {"weights": (0.7, -0.2), "scale": 1.5}
BAD = {"scale": 0.0}
PIECES = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sdxl_folder(tmp_path_factory.mktemp("tiny") / "xl"))


def test_updates_are_weighed_and_added_to_the_base(base):
    models = fine_tunes(base, 2)
    start = flat(base)
    wanted = start + 1.5 * (0.7 * (flat(models[0]) - start) - 0.2 * (flat(models[1]) - start))
    found = LinearMerge(weights=(0.7, -0.2), scale=1.5)(models, base)
    assert np.abs(flat(found.model) - wanted).max() < 1e-7
    assert [row["share"] for row in found.rows] == pytest.approx([1.05, -0.3])


def test_equal_weights_are_the_soup_and_half_of_one_model_is_halfway(base):
    models = fine_tunes(base, 2)
    soup = flat(Soup()(models).model)
    assert np.abs(flat(LinearMerge()(models, base).model) - soup).max() < 1e-7
    halfway = flat(LinearMerge(scale=0.5)(models[:1], base).model)
    assert np.abs(halfway - (flat(base) + flat(models[0])) / 2).max() < 1e-7


def test_the_distances_are_of_the_matrices(base):
    models = fine_tunes(base, 1)
    found = LinearMerge(scale=0.5)(models, base)
    matrices = [
        np.concatenate([w.detach().numpy().ravel() for w in one.denoiser.parameters() if w.ndim > 1])
        for one in (base, models[0], found.model)
    ]
    start, tuned, merged = matrices

    def distance(a, b):
        return np.linalg.norm(a - b) / np.sqrt(np.linalg.norm(a) * np.linalg.norm(b))

    (row,) = found.rows
    assert row["distance_to_base"] == pytest.approx(distance(tuned, start), rel=1e-4)
    assert row["distance_to_merged"] == pytest.approx(distance(tuned, merged), rel=1e-4)
    assert found.base["distance_to_merged"] == pytest.approx(distance(start, merged), rel=1e-4)


def test_what_it_cannot_do_is_refused(base):
    models = fine_tunes(base, 2)
    with pytest.raises(BadInput, match="give the base"):
        LinearMerge()(models)
    with pytest.raises(BadInput, match="3 weights are given for 2 models"):
        LinearMerge(weights=(1.0, 1.0, 1.0))(models, base)
    with pytest.raises(BadInput, match="the same weights as the base"):
        LinearMerge()([models[0], base.copy()], base)
    with pytest.raises(ValueError, match="weights must be finite"):
        LinearMerge(weights=(float("nan"), 1.0))
    with pytest.raises(ValueError, match="weights must be finite"):
        LinearMerge(weights=(0.0, 0.0))
