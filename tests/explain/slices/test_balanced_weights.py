"""Weights of pictures to learn from: by hand, of planted slices, stored, and after a stop."""

import csv

import numpy as np
import pytest

from intaglio.errors import BadInput
from intaglio.explain.picture_features import FeatureSource, TabledFeatures
from intaglio.explain.slices.balanced_weights import TaughtPictures, balanced_weights, slice_cells
from intaglio.explain.slices.family import PictureSlice, _weighed
from intaglio.explain.slices.judged_rows import JudgedRows
from intaglio.explain.slices.methods.caption_keywords import CaptionKeywords
from intaglio.explain.slices.methods.domino import Domino
from intaglio.explain.slices.result import ErrorSlices, FoundGroup
from intaglio.runs.run import Run
from slice_scenes import by_colour, coloured


class Colours(FeatureSource):
    """Mean red, green and blue of each picture; the sixth call stops, where asked to."""

    def __init__(self, stop: int = 0):
        self.calls, self.stop = 0, stop

    @property
    def name(self) -> str:
        return "mean colours"

    @property
    def hash(self) -> str:
        return "0" * 64

    def of(self, images):
        self.calls += 1
        if self.calls == self.stop:
            raise KeyboardInterrupt
        return images.pixels.mean((2, 3))


def test_cells_of_a_class_have_equal_sums_and_classes_those_of_their_pictures():
    truth, cells = np.array([0, 0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2, 0, 0])
    weights = balanced_weights(truth, cells)
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1, 1, 2, 1, 1])
    assert weights[truth == 0].sum() == pytest.approx(6)


def test_a_picture_is_in_the_first_slice_that_has_it():
    inside = [np.array([False, True, True]), np.array([False, False, True])]
    assert slice_cells(inside, 3).tolist() == [0, 1, 1]
    assert slice_cells([], 2).tolist() == [0, 0]


def test_pictures_of_the_other_colour_weigh_more_and_the_classifier_is_not_asked_about_them():
    images, truth = coloured(200)
    taught, known = coloured(100, disagree=20)
    found = Domino(masked=False, components=8)(by_colour(), Colours(), images, truth, TaughtPictures(taught, known))
    odd = np.arange(100) % 20 >= 18
    weights = np.array([one.weight for one in found.weighed])
    assert [one.name for one in found.weighed] == list(taught.names)
    assert weights[odd].min() > 2 > weights[~odd].max()
    assert weights.mean() == pytest.approx(1)
    held = {number for number, one in enumerate(found.groups) if one.passes}
    assert {one.slice for one in found.weighed} - {None} <= held
    assert {one.slice is not None for one, strange in zip(found.weighed, odd, strict=True) if strange} == {True}


def test_where_no_slice_holds_all_weigh_alike_and_that_is_told():
    images, truth = coloured()
    noise = TabledFeatures(images.names, np.random.default_rng(1).standard_normal((120, 4)))
    found = Domino(masked=False, components=6)(by_colour(), noise, images, truth, TaughtPictures(images, truth))
    assert {one.weight for one in found.weighed} == {1.0}
    assert any("all weigh alike" in one for one in found.warnings)


def test_words_of_captions_choose_pictures_to_learn_from_too():
    images, truth = coloured()
    found = CaptionKeywords(masked=False)(by_colour(), Colours(), images, truth, TaughtPictures(images, truth))
    rare = {name for name, caption in zip(images.names, images.captions, strict=True) if "rare" in str(caption)}
    assert {one.name for one in found.weighed if one.slice is not None} == rare


def test_stored_beside_the_slices_and_read_again(tmp_path):
    images, truth = coloured()
    found = Domino(masked=False, components=8)(by_colour(), Colours(), images, truth, TaughtPictures(images, truth))
    found.save(tmp_path)
    assert ErrorSlices.load(tmp_path) == found
    with (tmp_path / "weights.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["picture"], float(line["weight"])) for line in lines] == [
        (one.name, one.weight) for one in found.weighed
    ]
    assert [line["slice"] for line in lines] == ["" if one.slice is None else str(one.slice) for one in found.weighed]


def test_a_strange_class_among_pictures_to_learn_from_is_refused():
    images, truth = coloured()
    with pytest.raises(BadInput, match="a label is 'perhaps', which is no class"):
        Domino(masked=False)(by_colour(), Colours(), images, truth, TaughtPictures(images, ["perhaps"] * 120))


def test_a_stopped_weighing_goes_on_with_the_batches_that_it_has(tmp_path):
    images, truth = coloured()
    taught, method = TaughtPictures(*coloured(80)), Domino(masked=False, components=8, batch=40)
    about = {"seed": 0, "device": "cpu", "command": (), "progress": "none"}
    stopping = Colours(stop=5)  # three batches are described, one of two is weighed
    with pytest.raises(KeyboardInterrupt), Run.open(tmp_path, "explain", "slices", {}, {}, **about) as run:
        method(by_colour(), stopping, images, truth, taught, run=run)
    with Run.open(tmp_path, "explain", "slices", {}, {}, **about) as run:
        found = method(by_colour(), stopping, images, truth, taught, run=run)
    assert found == method(by_colour(), Colours(), images, truth, taught)
    assert stopping.calls == 6


def test_a_weight_names_the_slice_by_its_number_among_all():
    rows = JudgedRows(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros(4, int), np.zeros(4, int), (None,) * 4, 2)
    counts = {"inside": 1, "errors_inside": 1, "errors_outside": 0, "outside": 1, "p": 0.5, "q": 0.5}
    found = [
        FoundGroup(told="x", **counts, passes=passes, pictures=(), truth=(), called=()) for passes in (False, True)
    ]
    slices = [
        PictureSlice("first", lambda given: np.ones(len(given)), lambda given: np.arange(len(given)) == 0),
        PictureSlice("second", lambda given: np.ones(len(given)), lambda given: np.arange(len(given)) == 3),
    ]
    weighed = _weighed(slices, found, rows, ("a", "b", "c", "d"), rows)
    assert [(one.name, one.slice) for one in weighed] == [("a", None), ("b", None), ("c", None), ("d", 1)]
    assert [one.weight for one in weighed] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
