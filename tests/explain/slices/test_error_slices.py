"""Slices from pictures to their test, masks, and the stored result."""

import numpy as np
import pytest
import torch
from scipy.stats import fisher_exact

from explain_scenes import pictures, untrained
from intaglio.errors import BadInput
from intaglio.explain.class_heat import class_heat, masked_pictures
from intaglio.explain.layer_maps import layer_maps
from intaglio.explain.picture_features import TabledFeatures
from intaglio.explain.slices.methods.domino import Domino
from intaglio.explain.slices.methods.look_clusters import LookClusters
from intaglio.explain.slices.recognised import recognised
from intaglio.explain.slices.result import ErrorSlices
from intaglio.models.module_outputs import with_output
from slice_scenes import by_colour, coloured, rows


def colours(images):
    """Mean red, green and blue of each picture."""
    return TabledFeatures(images.names, images.pixels.mean((2, 3)).double().numpy())


def test_the_pictures_of_the_other_colour_are_found_whatever_the_order():
    images, truth = coloured()
    found = Domino(masked=False, components=8)(by_colour(), colours(images), images, truth)
    wrong = {name for k, name in enumerate(images.names) if k % 10 >= 8}
    first = found.groups[0]
    assert found.wrong == len(wrong) == 24
    assert np.mean([name in wrong for name in first.pictures[:10]]) >= 0.9
    assert (first.truth[0], first.called[0]) in {("yes", "no"), ("no", "yes")}
    turned = list(range(119, -1, -1))
    again = Domino(masked=False, components=8)(by_colour(), colours(images), images[turned], truth[::-1])
    assert again == found


def test_members_are_recognised_by_their_look_and_true_class_without_the_answer():
    given, new = rows(), rows(seed=1)
    members = given.wrong  # all of one look and of class 0
    inside = recognised(given.plain, given.truth, members, new.plain, new.truth)
    assert (inside == new.wrong).mean() > 0.97
    assert not inside[new.truth == 1].any()
    none = recognised(given.plain, given.truth, np.zeros(400, bool), new.plain, new.truth)
    assert not none.any()


def test_where_looks_tell_nothing_no_slice_holds():
    images, truth = coloured()
    noise = TabledFeatures(images.names, np.random.default_rng(1).standard_normal((120, 4)))
    found = LookClusters(masked=False, clusters=6)(by_colour(), noise, images, truth)
    assert not any(one.passes for one in found.groups)
    assert "no slice holds" in found.warnings[-1]
    assert found.statement.startswith("No slice")


def test_the_test_of_a_slice_is_fishers_on_the_other_half():
    images, truth = coloured()
    found = LookClusters(masked=False, clusters=4)(by_colour(), colours(images), images, truth)
    assert found.tested == 60
    for one in found.groups:
        assert one.inside + one.outside == 60
        table = [
            [one.errors_inside, one.inside - one.errors_inside],
            [one.errors_outside, one.outside - one.errors_outside],
        ]
        assert one.p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)


def test_the_heat_is_that_of_mean_gradients_by_differences():
    scored, images = untrained(), pictures(2)
    layer, targets = scored.layers[-1], torch.tensor([2, 0])
    heat = class_heat(scored, layer, images.pixels, targets)
    for k, target in enumerate(targets.tolist()):
        one = images.pixels[k : k + 1]
        maps = layer_maps(scored, layer, one)
        slopes = torch.zeros(maps.shape[1])
        for c in range(maps.shape[1]):
            scores = []
            for change in (1e-2, -1e-2):
                moved = maps.clone()
                moved[0, c] += change
                with torch.no_grad(), with_output(scored.layer(layer), moved):
                    scores.append(float(scored.score(one, target)))
            slopes[c] = (scores[0] - scores[1]) / 2e-2  # of the sum over places, as far as their mean
        by_hand = torch.einsum("c,chw->hw", slopes, maps[0]).clamp_min(0)
        large = torch.nn.functional.interpolate(by_hand[None, None], (16, 16), mode="bilinear")[0, 0]
        spread = float(large.max() - large.min())
        expected = (large - large.min()) / spread if spread > 0 else torch.ones_like(large)
        torch.testing.assert_close(heat[k], expected, atol=2e-2, rtol=0)


def test_what_is_cold_is_blank_and_what_is_hot_stays():
    pixels, heat = torch.full((1, 3, 16, 16), 0.2), torch.zeros(1, 16, 16)
    heat[0, :8] = 1
    pixels[..., 0] = pixels[..., -1] = pixels[..., 0, :] = pixels[..., -1, :] = 1.0  # on white
    found = masked_pictures(pixels, heat, 0.7)
    torch.testing.assert_close(found[0, :, 3, 5], pixels[0, :, 3, 5], atol=1e-2, rtol=0)
    torch.testing.assert_close(found[0, :, 12, 5], torch.ones(3), atol=1e-2, rtol=0)


def test_input_that_cannot_be_used_is_told():
    images, truth = coloured()
    with pytest.raises(BadInput, match="a label is 'maybe', which is no class of the head kind: yes, no"):
        Domino()(by_colour(), colours(images), images, ["maybe", *truth[1:]])
    with pytest.raises(BadInput, match="10 pictures are too few"):
        Domino()(by_colour(), colours(images), images[:10], truth[:10])
    right = [k for k in range(120) if k % 10 < 8]
    with pytest.raises(BadInput, match="the classifier errs on 0 of 96 pictures"):
        Domino(masked=False)(by_colour(), colours(images), images[right], [truth[k] for k in right])


def test_stored_and_read_again_and_a_damaged_file_is_told(tmp_path):
    images, truth = coloured()
    found = LookClusters(masked=False, clusters=4)(by_colour(), colours(images), images, truth)
    found.save(tmp_path)
    assert ErrorSlices.load(tmp_path) == found
    path = tmp_path / "slices.json"
    path.write_text(path.read_text().replace('"truth": [', '"truth": ["more", ', 1))
    with pytest.raises(BadInput, match="is damaged .the pictures of a slice do not fit their classes."):
        ErrorSlices.load(tmp_path)
