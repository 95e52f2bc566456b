import dataclasses

import numpy as np
import pytest
import torch

import tiny
from intaglio.denoising.picture_samples import PictureSamples
from intaglio.errors import BadInput
from intaglio.models.diffusion.loading import load_model
from intaglio.shrink.merging.mean_weights import mean_rule
from intaglio.shrink.merging.methods.soup import Soup
from intaglio.shrink.merging.weight_places import Place
from merge_scenes import fine_tunes, flat

SMALL = {}
BAD = {"micro_batch": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {"greedy": {"SMALL": {"greedy": True}, "BAD": {"micro_batch": -1}, "PIECES": {"micro_batch": 1}}}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("tiny") / "sd"))


def test_every_weight_is_the_mean_and_the_autoencoder_is_the_first_ones(base):
    models = fine_tunes(base, 3)
    merged = Soup()(models).model
    mean = np.mean([flat(model) for model in models], 0)
    assert np.array_equal(flat(merged), mean.astype(np.float32).astype(np.float64))
    assert merged.part_fingerprint("autoencoder") == base.part_fingerprint("autoencoder")


@pytest.mark.parametrize("copies", [2, 3, 7])
def test_a_soup_of_copies_is_the_copy_bit_for_bit(base, copies):
    (model,) = fine_tunes(base, 1)
    found = Soup()([model] * copies)
    assert found.model.fingerprint == model.fingerprint
    assert len(found.notes) == copies - 1
    assert "the same weights" in found.notes[0]


def test_the_order_of_the_models_does_not_matter(base):
    models = fine_tunes(base, 3)
    one, other = (flat(Soup()(each).model) for each in (models, models[::-1]))
    assert np.abs(one - other).max() <= 1e-6


def test_of_linear_models_the_soup_is_the_ensemble_and_its_gain_is_their_spread():
    """mean_k (f_k - y)^2 - (f_soup - y)^2 = mean_k (f_k - f_soup)^2 for functions that are linear in their weights."""
    source = torch.Generator().manual_seed(0)
    weights = [torch.randn(4, 6, generator=source, dtype=torch.float64) for _ in range(3)]
    x, y = (torch.randn(n, 5, generator=source, dtype=torch.float64) for n in (6, 4))
    soup = mean_rule(range(3))(Place("denoiser", "w"), weights) @ x
    each = torch.stack([weight @ x for weight in weights])
    assert torch.allclose(soup, each.mean(0), atol=1e-12)
    gained = (each - y).square().mean() - (soup - y).square().mean()
    assert torch.allclose(gained, (each - soup).square().mean(), atol=1e-12)


@dataclasses.dataclass(frozen=True, eq=False)
class Quadratic(PictureSamples):
    """A loss (b - 5)^2 of one number of a model, of which the minimum of any mean is known."""

    def errors(self, model, micro_batch):
        return (model.denoiser.conv_in.bias.detach()[:1] - 5.0).square()


def planted(base, offsets):
    models = []
    for k, offset in enumerate(offsets):
        model = base.copy()
        model.name = f"at {offset}"
        with torch.no_grad():
            model.denoiser.conv_in.bias[0] = 5.0 + offset
            model.denoiser.conv_in.bias[1] = k
        models.append(model)
    return models


QUADRATIC = Quadratic(torch.zeros(1, 4, 8, 8), ("",), torch.zeros(1, 1, 4, 8, 8), torch.zeros(1, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("offsets", "taken"),
    [
        ((3.0, -1.0, 1.2), (1, 2)),  # alone 9, 1, 1.44; with 1.2 the mean is at 0.1, with 3 too at 1.07
        ((2.0, 1.0, -1.5), (1, 2)),  # -1.5 comes second: at -0.25; 2 then at 0.5
        ((1.0, 1.0), None),  # the mean of equals is no lower, so that one is taken, whichever
        ((-0.5, 0.6, 0.7, -0.85), (0, 1)),  # at 0.05; then 0.267, and -0.25
        ((0.4, 0.8, -1.1), (0, 2, 1)),  # 0.8 is refused at 0.6, then -1.1 at -0.35 is taken: order of their own losses
    ],
)
def test_a_greedy_soup_adds_by_own_loss_what_lowers_the_mean_strictly(base, offsets, taken):
    order = sorted(range(len(offsets)), key=lambda k: abs(offsets[k]))
    kept = [order[0]]
    for k in order[1:]:
        if np.mean([offsets[j] for j in (*kept, k)]) ** 2 < np.mean([offsets[j] for j in kept]) ** 2:
            kept.append(k)
    models = planted(base, offsets)
    found = Soup(greedy=True)(models, judged=QUADRATIC)
    shares = [row["share"] for row in found.rows]
    assert sum(shares) == pytest.approx(1)
    if taken is None:
        assert sorted(shares) == [0, 1]
        return
    assert [share > 0 for share in shares] == [k in kept for k in range(len(offsets))]
    middle = float(found.model.denoiser.conv_in.bias.detach()[0])
    assert middle == pytest.approx(5 + np.mean([offsets[k] for k in kept]), abs=1e-5)
    assert [row["choosing_loss"] for row in found.rows] == pytest.approx([x**2 for x in offsets], rel=1e-4)


def test_a_greedy_soup_needs_pictures_and_a_soup_two_models(base):
    models = fine_tunes(base, 2)
    with pytest.raises(BadInput, match="pictures that are held out"):
        Soup(greedy=True)(models)
    with pytest.raises(BadInput, match="2 models or more, not 1"):
        Soup()(models[:1])


def test_of_equal_losses_the_same_model_is_taken_in_any_order(base):
    models = planted(base, (1.0, 1.0))
    one, other = (flat(Soup(greedy=True)(each, judged=QUADRATIC).model) for each in (models, models[::-1]))
    assert np.array_equal(one, other)
