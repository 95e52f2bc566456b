"""The result of a repair: its figures by hand, its warnings, what it refuses, and its file."""

import dataclasses

import numpy as np
import pytest
import torch

import explain_scenes
from intaglio.errors import BadInput
from intaglio.explain.repairs.family import NETWORK, chance_of_gap, moved_most
from intaglio.explain.repairs.methods.last_layer import LastLayer
from intaglio.explain.repairs.methods.random_edges import RandomEdges
from intaglio.explain.repairs.result import RepairedClassifier, ShortcutGap
from intaglio.explain.repairs.shortcut_pictures import ShortcutPictures
from intaglio.models.classifiers import load_classifier

ABOUT = {
    "method": "m", "reading": "r", "head": "h", "classes": ("a", "b"), "column": "mark", "values": ("no", "yes"),
    "target": "a", "grouped": False, "chosen_by": 9, "gap": ShortcutGap(-2.0, 0.5, 0.01), "share": 0.01,
    "offset": -0.5, "others": (("kind", 0.25), ("size", 0.0)),
    "cut": (("x 1", "y 2", 0.5),),
}  # fmt: skip


def judged(before, after, cells, groups=None):
    count = len(cells)
    names = tuple(f"p{k}" for k in range(count))
    groups = tuple(range(count)) if groups is None else groups
    return RepairedClassifier(
        **ABOUT, names=names, cells=tuple(cells), groups=groups, before=tuple(before), after=tuple(after)
    )


def test_figures_by_hand():
    cells = [0] * 6 + [1] * 8 + [3] * 5 + [2] * 2  # the last is too small to count
    before = [0] * 3 + [1] * 3 + [0] * 8 + [0, 0, 0, 0, 1] + [0] * 2
    after = [0] * 5 + [1] + [0] * 6 + [1] * 2 + [1, 1, 1, 0, 0] + [0] * 2
    found = judged(before, after, cells)
    assert [(one["cell"], one["pictures"]) for one in found.rows()] == [("a, no", 6), ("a, yes", 8), ("b, yes", 5)]
    assert [one["before"] for one in found.rows()] == pytest.approx([0.5, 1.0, 0.2])
    assert [one["after"] for one in found.rows()] == pytest.approx([5 / 6, 0.75, 0.6])
    assert found.worst == pytest.approx((0.2, 0.6))
    assert found.mean == pytest.approx((1.7 / 3, (5 / 6 + 1.35) / 3))
    assert "With 1 edge cut, 1.0% of all, the worst of 3 cells, a class with a value of mark" in found.statement
    assert "is named right in 0.60 of its pictures (b, yes), before in 0.20 (b, yes)" in found.statement
    assert "Of 2.00 by which mark moves the score of a, 0.50 is left." in found.statement
    assert any("fewer than 5 judging pictures: b, no" in one for one in found.warnings)
    assert any("call some pictures otherwise: kind (25%)" in one for one in found.warnings)
    none = judged(before[:-2], after[:-2], cells[:-2])  # a cell without any picture is named too
    assert any("fewer than 5 judging pictures: b, no" in one for one in none.warnings)
    assert any("has 5 judging pictures" in one for one in found.warnings)


def test_the_interval_of_the_rise_resamples_groups():
    cells = [0] * 40 + [3] * 40
    before, after = [0] * 80, [0] * 40 + [1, 0] * 20
    alone = judged(before, after, cells).gain_interval
    twins = judged(before, after, cells, tuple(k // 8 for k in range(80))).gain_interval
    assert alone[0] == pytest.approx(0.5 - 1.96 * (0.25 / 40) ** 0.5, abs=0.06)
    assert twins == pytest.approx((0.5, 0.5))  # every group of the second cell has as many of both


def test_warnings_of_a_repair_that_does_not_help():
    cells = [0] * 30 + [3] * 30
    found = judged([0] * 60, [0] * 20 + [1] * 10 + [0] * 30, cells)
    found = dataclasses.replace(found, gap=ShortcutGap(-2.0, -1.5, 0.4))
    assert "mark does not surely move the score (p 0.40 by shuffles within classes)" in " ".join(found.warnings)
    texts = " ".join(found.warnings)
    assert "more than half of the shortcut's effect on the score is left" in texts
    assert "the interval of its rise has 0 in it" in texts
    assert "the mean accuracy over cells has fallen" in texts


def test_a_worst_cell_that_is_named_worse_is_told():
    cells = [0] * 40 + [3] * 40
    found = judged([0] * 40 + [1, 0] * 20, [0] * 80, cells)
    assert "the worst cell is named worse than before" in found.warnings


def test_shuffles_tell_a_shortcut_from_a_coin_and_stay_within_classes():
    source = torch.Generator().manual_seed(0)
    truth, values = np.repeat([0, 1], 40), np.tile([0, 1], 40)
    values[:40] = np.arange(40) < 32  # the value goes with the class
    pictures = ShortcutPictures(torch.zeros(80, 3, 1, 1), truth, values, 2)
    noise = torch.randn(80, generator=source)
    assert chance_of_gap(noise + 2.0 * torch.from_numpy(values), pictures, 0) < 0.01
    assert chance_of_gap(noise + 9.0 * torch.from_numpy(truth), pictures, 0) > 0.05


def test_the_class_is_that_whose_score_moves_most_and_weights_are_means_over_classes():
    truth, values = np.repeat([0, 1], 20), np.tile([0, 0, 0, 1], 10)
    pictures = ShortcutPictures(torch.zeros(40, 3, 1, 1), truth, values, 3)
    scores = torch.zeros(40, 3)
    scores[:, 2] = -torch.from_numpy(values).float()
    scores[:, 0] = 0.5 * torch.from_numpy(values).float() + 5 * torch.from_numpy(truth).float()
    assert moved_most(scores, pictures) == 2
    assert float((pictures.contrast()[:, None] * scores).sum(0)[0]) == pytest.approx(0.5)


def test_the_file_has_what_was_measured_and_a_damaged_one_is_told(tmp_path):
    images, truth, green = explain_scenes.marked_reds()
    found = LastLayer(strength=3.0)(explain_scenes.marked_chain(), images, truth, green)
    found.save(tmp_path)
    assert RepairedClassifier.load(tmp_path) == found.result
    stored = load_classifier(tmp_path / NETWORK)
    places = [images.names.index(name) for name in found.result.names]
    assert tuple(stored.logits(images.pixels[places], "kind").argmax(1).tolist()) == found.result.after
    for name, one in found.network.state_dict().items():
        assert torch.equal(one, stored.state_dict()[name]) or "num_batches" in name
    path = tmp_path / RepairedClassifier.file
    path.write_text(path.read_text().replace('"cells": [', '"cells": [99,'))
    with pytest.raises(BadInput, match="is damaged"):
        RepairedClassifier.load(tmp_path)


def test_bad_input_is_told():
    scored, (images, truth, green) = explain_scenes.marked_chain(), explain_scenes.marked_reds()
    method = RandomEdges()
    with pytest.raises(BadInput, match="red is no class of the head kind; it has: yes, no"):
        method(scored, images, ["red", *truth[1:]], green)
    with pytest.raises(BadInput, match="a shortcut has two values, and the column green has 3: maybe, no, yes"):
        method(scored, images, truth, ["maybe", *green[1:]], column="green")
    with pytest.raises(BadInput, match="no class of the head kind has 10 pictures each of no and yes"):
        method(scored, images, truth, truth)
    with pytest.raises(BadInput, match="are of one class; give pictures of others too"):
        method(scored, images, ["yes" if one == "yes" else "" for one in truth], green)


def test_pictures_of_a_group_are_in_one_half_and_those_without_a_label_in_none():
    images, truth, green = explain_scenes.marked_reds()
    truth = ["", *truth[1:]]
    groups = [f"g{k // 4}" for k in range(len(images))]
    found = RandomEdges()(explain_scenes.marked_chain(), images, truth, green, groups).result
    judging = {images.names.index(name) for name in found.names}
    assert 0 not in judging
    assert found.chosen_by + len(judging) == len(images) - 1
    for k in range(1, len(images)):
        assert (k in judging) == (max(k // 4 * 4, 1) in judging)
