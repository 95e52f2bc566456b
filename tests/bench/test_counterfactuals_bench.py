"""Planted pictures and their errors, and figures from rows that were planted."""

import numpy as np
import pytest
import torch

from intaglio.bench.counterfactuals import bench as room
from intaglio.bench.counterfactuals.bench import CHANGES, CounterfactualsBench, figures_of, measured_row, targets
from intaglio.bench.counterfactuals.planted_pictures import MEASURED, NAMES, drawn_faces, planted_pictures
from intaglio.explain.counterfactuals.attribute_table import AttributeTable
from intaglio.explain.counterfactuals.family import LearntPictures, set_alone
from intaglio.explain.counterfactuals.methods.causal_diffae import CausalCode
from intaglio.explain.counterfactuals.picture_measures import MEASURES, measured_attribute
from intaglio.runs.run import Run


@pytest.fixture(scope="module")
def planted():
    return planted_pictures(40, 0, 0, 32)


def test_values_follow_the_planted_cause_and_are_seen_in_the_pictures(planted):
    noises, values = planted.noises, planted.values
    np.testing.assert_allclose(values[:, 1], 0.4 + 0.4 * noises[:, 0] + 0.1 * noises[:, 1])
    for k, name in enumerate(MEASURED):
        assert measured_attribute(name, planted.pixels, values[:, k]).fit > 0.98
    sides = MEASURES["ink-side"](drawn_faces(np.array([[0.5, 0.4], [0.5, 0.8]]), 64)).tolist()
    assert sides[1] / sides[0] == pytest.approx(2, rel=0.03)


def test_a_change_keeps_each_pictures_own_noise(planted):
    to = np.full(40, 0.25)
    np.testing.assert_allclose(planted.after(0, to), np.stack([to, 0.5 + 0.1 * planted.noises[:, 1]], 1))
    np.testing.assert_allclose(planted.after(1, to), np.stack([planted.values[:, 0], to], 1))
    place, near = targets(planted, "size-nearby", 0)
    assert place == 1
    assert np.abs(near - planted.values[:, 1]).max() <= 0.05 + 1e-12
    assert np.ptp(targets(planted, "size", 0)[1]) > 0.4


class Alone(LearntPictures):
    """Draws the true picture of the scaled values that it is told, of which some are set alone."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def losses(self, pixels, labels, done, source):
        return {"nothing": torch.zeros(())}  # there is nothing to learn

    def changed(self, values, changes):
        return set_alone(values, changes)

    def read(self, pixels, labels):
        return labels

    def rest(self, pixels, values):
        return pixels

    def drawn(self, rest, values):
        return 2 * drawn_faces(self.table.unscaled(values), 32) - 1


def test_errors_are_of_what_would_be_and_not_of_what_is_told(planted):
    table = AttributeTable(NAMES, planted.values)
    measured = {k: measured_attribute(name, planted.pixels, planted.values[:, k]) for k, name in enumerate(MEASURED)}
    rows = {
        (name, change): measured_row(name, model, planted, change, table, measured, 0, "cpu", Run.none())
        for name, model in (("true-pictures", None), ("alone", Alone(table)))
        for change in ("brightness", "size")
    }
    true, alone = rows["true-pictures", "brightness"], rows["alone", "brightness"]
    assert true["told"]["size"]["mean"] == true["picture"]["mean"] == 0
    assert 0 < true["measured"]["size"]["mean"] < 0.03
    # What is set alone leaves the size, which should have moved by 0.4 of what brightness did, of a range of 0.5.
    _, to = targets(planted, "brightness", 0)
    wanted = 0.8 * np.abs(to - planted.values[:, 0]).mean()
    assert alone["told"]["size"]["mean"] == pytest.approx(wanted, abs=1e-5)
    assert alone["measured"]["size"]["mean"] == pytest.approx(wanted, abs=0.03)
    assert alone["told"]["brightness"]["mean"] < 1e-6
    assert rows["alone", "size"]["told"]["size"]["mean"] < 1e-6
    assert rows["alone", "size"]["picture"]["mean"] < 1e-5


def test_a_killed_bench_goes_on_and_has_a_row_for_each_method_and_change(tmp_path, monkeypatch):
    for name, value in (("QUICK_PICTURES", 80), ("QUICK_SHOWN", 2), ("QUICK_UPDATES", 2)):
        monkeypatch.setattr(room, name, value)
    methods = room.default_methods(room.VERB, seed=0, updates=2, channels=8, rows=2, steps=1)
    monkeypatch.setattr(room, "default_methods", lambda verb, **changes: methods)
    bench, learnt = CounterfactualsBench(quick=True, runs=tmp_path), []
    kept, losses, updates = room.measured_row, CausalCode.losses, []
    monkeypatch.setattr(CausalCode, "losses", lambda self, *given: updates.append(1) or losses(self, *given))

    def broken(name, *about):
        learnt.append(name)
        if name == "label-only":
            raise KeyboardInterrupt
        return kept(name, *about)

    monkeypatch.setattr(room, "measured_row", broken)
    with pytest.raises(KeyboardInterrupt):
        bench(progress="none")
    monkeypatch.setattr(room, "measured_row", lambda name, *about: learnt.append(name) or kept(name, *about))
    figures, names = bench(progress="none"), (room.TRUE, *methods, room.TENTH, room.ALONE)
    assert learnt.count("causal-diffae") == 3
    assert len(updates) == 3 * 2  # of all labels, of a tenth and of these alone, none from another's state
    assert set(figures["rows"]) == {f"{one} {change}" for one in names for change in CHANGES}
    assert figures["size_after_brightness"] == figures["rows"]["causal-diffae brightness"]["measured"]["size"]["mean"]
    lines = bench.summary(figures).splitlines()
    assert lines[1].split()[:2] == ["true-pictures", "brightness"]
    assert len(lines) == 19
    (run,) = tmp_path.iterdir()
    assert not list((run / "states").glob("*"))


def test_headline_figures_are_the_core_methods():
    cell = {"mean": 0.1, "low": 0.0, "high": 0.2}
    rows = {f"causal-diffae {change}": {"measured": dict.fromkeys(NAMES, cell)} for change in CHANGES}
    figures = figures_of(rows, 1.0)
    assert figures["brightness_after_size-nearby"] == 0.1
    assert figures["seconds"] == 1.0
    with pytest.raises(ValueError, match="seed must be 0"):
        CounterfactualsBench(seed=-1)
