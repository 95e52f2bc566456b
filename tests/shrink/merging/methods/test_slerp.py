import math

import numpy as np
import pytest
import torch

import tiny
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.methods.slerp import Slerp, arc_point
from merge_scenes import fine_tunes, flat

SMALL = {"t": 0.3}
BAD = {"t": 1.5}
PIECES = {}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def in_plane(angle, norm=1.0):
    return norm * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)


@pytest.mark.parametrize("t", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("apart", [0.1, 1.0, 2.5])
def test_points_on_the_arc_are_turned_by_t_times_the_angle_and_keep_the_norm(t, apart):
    found = arc_point(in_plane(0.3, 2.0), in_plane(0.3 + apart, 2.0), t)
    assert torch.allclose(found, in_plane(0.3 + t * apart, 2.0), atol=1e-12)


def test_near_tensors_and_zeros_go_along_the_line():
    near, far = in_plane(0.0), in_plane(0.03, 3.0)
    assert torch.allclose(arc_point(near, far, 0.25), 0.75 * near + 0.25 * far, atol=1e-15)
    just_apart = in_plane(0.04, 3.0)  # cos 0.04 = 0.9992, below the limit of 0.9995
    turned = (math.sin(0.75 * 0.04) * near + math.sin(0.25 * 0.04) * just_apart) / math.sin(0.04)
    assert torch.allclose(arc_point(near, just_apart, 0.25), turned, atol=1e-12)
    assert torch.equal(arc_point(torch.zeros(2, dtype=torch.float64), far, 0.25), 0.25 * far)
    assert torch.allclose(arc_point(near, -near, 0.25), 0.5 * near, atol=1e-12)


def test_each_tensor_of_a_model_has_its_own_angle_and_both_ends_are_exact(base):
    one, two = fine_tunes(base, 2, spread=0.04)
    merged = Slerp(t=0.4)([one, two]).model
    for path, weight in merged.denoiser.named_parameters():
        a, b = (dict(m.denoiser.named_parameters())[path].detach().double().numpy().ravel() for m in (one, two))
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        wanted = 0.6 * a + 0.4 * b
        if abs(cosine) <= 0.9995:
            omega = np.arccos(cosine)
            wanted = (np.sin(0.6 * omega) * a + np.sin(0.4 * omega) * b) / np.sin(omega)
        assert np.abs(weight.detach().numpy().ravel() - wanted).max() < 1e-6
    for t, end in ((0.0, one), (1.0, two)):
        assert np.array_equal(flat(Slerp(t=t)([one, two]).model), flat(end))


def test_it_takes_two_models_alone(base):
    with pytest.raises(BadInput, match="merges 2 models, not 3"):
        Slerp()(fine_tunes(base, 3))
