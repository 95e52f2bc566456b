"""Figures of the bench of features, from rows that were planted."""

import numpy as np
import pytest

from intaglio.bench.features.bench import FeaturesBench, figures_of, measured, subjects_of
from intaglio.explain.features.feature_cells import ProbedNetworks
from intaglio.explain.features.methods.pixels import PixelProbe
from intaglio.models import testbed


def row(right: int) -> dict:
    """Twelve pictures, four of each of three classes, the first `right` of each class named right."""
    names = [f"{k:02d}" for k in range(12)]
    truth = np.arange(12) % 3
    chosen = np.where(np.arange(12) // 3 < right, truth, (truth + 1) % 3)
    one = {
        "accuracy": right / 4, "interval": [0.0, 1.0], "chance": 0.33, "best": "x", "cells": {"x": right / 4},
        "truth": dict(zip(names, truth.tolist(), strict=True)),
        "groups": dict(zip(names, range(12), strict=True)),
        "chosen": dict(zip(names, chosen.tolist(), strict=True)),
    }  # fmt: skip
    return {"artist": one, "kind": one}


def test_rows_are_told_the_furthest_first_and_differences_are_paired():
    figures = figures_of({"denoiser": row(3), "pixels": row(1), "encoder": row(3)}, 1.0)
    assert (figures["probe_accuracy_denoiser"], figures["artist_pixels"]) == (0.75, 0.25)
    assert figures["ahead"]["encoder"]["kind"] == {"difference": 0.0, "interval": [0.0, 0.0]}
    low, high = figures["ahead"]["pixels"]["kind"]["interval"]
    assert low < figures["ahead"]["pixels"]["kind"]["difference"] == 0.5 < high
    lines = FeaturesBench().summary(figures).splitlines()
    assert [one.split()[0] for one in lines] == ["row", "denoiser", "encoder", "pixels"]
    assert "truth" not in figures["rows"]["pixels"]["kind"]


def test_a_row_is_measured_by_subjects():
    images, told = testbed.held_out_pictures()
    places = list(range(0, len(images), 4))
    labels = {label: [told[k].get(label, "") for k in places] for label in ("artist", "kind")}
    some = images[places]
    assert subjects_of(some)[0] == "axe"
    found = measured(PixelProbe(side=2, shuffles=1, strengths=(0.01,)), ProbedNetworks(), some, labels)
    assert found["kind"]["accuracy"] == pytest.approx(
        np.mean([np.mean([found["kind"]["chosen"][name] == code for name, code in found["kind"]["truth"].items()
                          if code == one]) for one in set(found["kind"]["truth"].values())])
    )  # fmt: skip
