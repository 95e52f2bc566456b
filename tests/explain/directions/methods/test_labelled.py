import numpy as np
import pytest
import torch

import tiny
from direction_scenes import planted_walks
from intaglio.errors import BadInput
from intaglio.explain.directions.methods.labelled import LabelledDirection, upper_half, without
from intaglio.models.diffusion.loading import load_model

SMALL = {"samples": 6, "batch": 2, "steps": 2}
BAD = {"words": ("one",)}
PIECES = {"batch": 1}
VARIANTS = {"words": {"SMALL": {"words": (" red", " dog")}, "BAD": {"samples": 3}, "PIECES": {"batch": 1}}}


def test_the_direction_is_the_difference_of_means_without_what_is_held_apart():
    """Scores planted as labels: groups of known means, and a second attribute that half goes along with the first."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.eye(12)[:2]
    labels = torch.tensor([[1, 1], [1, 1], [1, 0], [0, 1], [0, 0], [0, 0]] * 20).double()
    values = (labels.float() @ (torch.tensor([[2.0], [5.0]]) * axes))[:, None].repeat(1, 2, 1)
    values += 0.01 * torch.randn(values.shape, generator=generator)
    scores = {"a": labels[:, 0].numpy(), "b": labels[:, 1].numpy()}
    walks = planted_walks(values.unflatten(2, (3, 2, 2)))
    (plain,), _ = LabelledDirection().shifts(walks, scores, "a")
    expected = 2 * axes[0] + 5 * (2 / 3 - 1 / 3) * axes[1]
    torch.testing.assert_close(plain.flatten(1), expected.expand(2, 12), atol=0.01, rtol=0)
    (apart,), _ = LabelledDirection(apart=("b",)).shifts(walks, scores, "a")
    other = 5 * axes[1] + 2 * (1 / 3) * axes[0]
    left = expected - (expected @ other) / (other @ other) * other
    torch.testing.assert_close(apart.flatten(1), left.expand(2, 12), atol=0.02, rtol=0)
    assert float((apart.flatten(1) @ other).abs().max()) < 0.05


def test_with_words_neighbours_are_pairs_of_one_noise_and_one_prompt():
    method = LabelledDirection(words=(", a", ", b"), samples=6)
    assert method.texts(["x", "y"]) == ["x, a", "x, b", "y, a", "y, b", "x, a", "x, b"]
    seeds = method.sample_seeds()
    assert seeds[::2] == seeds[1::2]
    assert len(set(seeds)) == 3
    values = torch.arange(6.0).view(6, 1, 1, 1, 1) ** 2
    (found,), _ = method.shifts(planted_walks(values), {}, None)
    assert found.item() == pytest.approx((0 + 4 + 16) / 3 - (1 + 9 + 25) / 3)


def test_halves_and_projection_of_dependent_classes():
    assert upper_half(np.array([3.0, 1.0, 3.0, 3.0])).tolist() == [True, False, True, False]
    rows = torch.randn(1, 5, generator=torch.Generator().manual_seed(1))
    twice = torch.tensor([[[1.0, 0, 0, 0, 0]], [[2.0, 0, 0, 0, 0]]])
    torch.testing.assert_close(without(rows, twice), rows * torch.tensor([0.0, 1, 1, 1, 1]))


def test_without_words_a_class_must_be_named(tmp_path):
    model = load_model(tiny.sd_folder(tmp_path / "base"))
    with pytest.raises(BadInput, match="name one by --target, or give --words"):
        LabelledDirection()(model, ["cat"])
