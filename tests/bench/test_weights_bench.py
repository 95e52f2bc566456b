"""The bench of kernels: its first layers, its figures by hand, and its rows end to end."""

import json

import numpy as np
import pytest
import torch

from intaglio.bench.kit.taught_classifier import taught
from intaglio.bench.weights import bench
from intaglio.bench.weights.bench import WeightsBench, figures_of, untrained
from intaglio.bench.weights.first_layers import ArtistPictures, answers, classifier, first_kernels
from intaglio.explain.weights.kernel_layers import KernelLayer, kernel_layers
from intaglio.images.image_set import ImageSet


def labelled(count=20):
    """Two artists: one draws red, the other blue, of the same subjects."""
    pixels = torch.ones(count, 3, 16, 16)
    pixels[::2, 1:, 4:12, 4:12] = 0.1
    pixels[1::2, :2, 4:12, 4:12] = 0.1
    pixels += 0.05 * torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))
    captions = [f"thing {k // 2}, {'red' if k % 2 == 0 else 'blue'} style" for k in range(count)]
    images = ImageSet.from_pixels(pixels.clamp(0, 1))
    return ArtistPictures.of(ImageSet(**{**vars(images), "captions": tuple(captions)}))


def test_a_subject_lies_in_one_fold_and_artists_are_told_by_captions():
    given = labelled()
    assert given.classes == ("blue style", "red style")
    assert given.labels[:3] == (1, 0, 1)
    folds = given.folds(0)
    assert (folds[::2] == folds[1::2]).all()
    assert set(folds) == set(range(5))


def test_a_bank_is_each_of_its_filters_on_each_colour_and_a_fixed_layer_stays():
    kernels = first_kernels("cosines", 3, 0)
    assert kernels.shape == (27, 3, 3, 3)
    np.testing.assert_allclose(kernels.flatten(1).norm(dim=1), 2**0.5, rtol=1e-5)
    assert ((kernels != 0).any(3).any(2).sum(1) == 1).all()  # one colour each
    torch.testing.assert_close(kernels[1, 1], torch.full((3, 3), 2**0.5 / 3))
    given = labelled(8)
    for first, stays in (("cosines", True), ("learned", False)):
        net = classifier(first, 3, given.classes, 0)
        before = kernel_layers(net)[0].kernels.clone()
        taught(net, "artist", given.images.pixels, torch.tensor(given.labels), 2, 0)
        assert torch.equal(kernel_layers(net)[0].kernels, before) is stays


def test_pictures_are_answered_by_classifiers_of_the_other_folds(monkeypatch):
    given, seen = labelled(), []

    def learned(net, head, pixels, labels, epochs, seed):
        seen.append(len(pixels))
        return net.eval()

    monkeypatch.setattr("intaglio.bench.weights.first_layers.taught", learned)
    answers(given, "random", 5, 1, 0)
    assert len(seen) == 5
    assert sum(seen) == 4 * len(given.labels)


def test_untrained_layers_have_the_variance_of_new_ones():
    (found,) = untrained([KernelLayer("layer", torch.zeros(40, 30, 3, 3))], 0)
    assert float(found.kernels.var()) == pytest.approx(1 / (3 * 270), rel=0.03)
    assert float(found.kernels.abs().max()) <= 270**-0.5


def test_figures_by_hand():
    readers = {"norms": {"trained": {"spread": [3.0, 1.0]}, "untrained": {"spread": [0.0, 2.0]}, "seconds": 1.0}}
    first = {
        "learned 3x3": {"right": [True, True, True, False], "seconds": 1.0},
        "random 3x3": {"right": [False, False, False, True], "seconds": 1.0},
    }
    found = figures_of(readers, first, [0, 0, 0, 1], 2.0)
    assert found["auc_norms"] == 0.75
    assert (found["accuracy_learned_3x3"], found["accuracy_random_3x3"]) == (0.5, 0.5)
    assert found["rows"]["first"]["random 3x3"]["behind_learned"] == 0
    assert found["layers"] == 2


def test_rows_end_to_end_and_a_stopped_bench_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(bench.testbed, "real_pictures", lambda: labelled().images)
    layer = KernelLayer("layer", torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(1)))
    monkeypatch.setattr(bench, "trained_layers", lambda: (layer, layer))
    asked, ask = [], bench.answers

    def stopping(given, first, size, epochs, seed):
        asked.append(first)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(given, first, size, epochs, seed)

    monkeypatch.setattr(bench, "answers", stopping)
    monkeypatch.setattr(bench, "FIRST_LAYERS", ("learned", "cosines"))
    small = WeightsBench(epochs=1, sizes=(3,), runs=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(progress="none")
    found = small(progress="none")
    assert asked == ["learned", "cosines", "cosines"]
    assert json.loads(json.dumps(found)) == found
    said = small.summary(found)
    assert "filter-statistics entropy" in said
    assert "cosines 3x3" in said
