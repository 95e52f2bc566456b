"""Figures of the protection bench: net protection paired by set, purifier and seed."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

MEASURES = ("unlikeness", "unlikeness_by_encoder", "roughness", "membership")
"""Measures of each fine-tune: two kinds of unlikeness, the roughness of what it draws, and an audit's AUC for the
originals.
"""
CLEAN = "clean"
Found = Mapping[str, Any]
"""A fine-tune's record: set, arm, purifier, seed and `MEASURES`."""


def of_arm(arm: str, fine_tunes: Sequence[Found], purifiers: Sequence[str]) -> dict[str, Any]:
    """Net protection of one arm by purifier, its spread, and what an audit finds."""
    clean = {_cell(one): one for one in fine_tunes if one["arm"] == CLEAN}
    mine = [one for one in fine_tunes if one["arm"] == arm]
    net = {name: _net(mine, clean, name, "unlikeness") for name in purifiers}
    least = min(net, key=lambda name: net[name])
    plain = [one for one in mine if one["purifier"] == ("none" if "none" in purifiers else least)]
    return {
        "net_protection_none": net.get("none"),
        "net_protection_worst": net[least],
        "worst_purifier": least,
        "spread_none": spread(plain, clean),
        "roughness_ratio": statistics.fmean(one["roughness"] / clean[_cell(one)]["roughness"] for one in plain),
        "membership_auc": statistics.fmean(one["membership"] for one in plain),
        "net_by_purifier": net,
        "net_by_purifier_by_encoder": {name: _net(mine, clean, name, "unlikeness_by_encoder") for name in purifiers},
    }


def spread(fine_tunes: Sequence[Found], clean: Mapping[tuple[str, str, int], Found]) -> float | None:
    """Standard deviation of the net protection over seeds, the mean over sets; None for one seed."""
    by_set: dict[str, list[float]] = {}
    for one in fine_tunes:
        by_set.setdefault(one["set"], []).append(one["unlikeness"] - clean[_cell(one)]["unlikeness"])
    groups = [group for group in by_set.values() if len(group) > 1]
    return statistics.fmean(statistics.stdev(group) for group in groups) if groups else None


def noise_of_clean(fine_tunes: Sequence[Found]) -> float | None:
    """Standard deviation of the unlikeness of clean fine-tunes over seeds, the mean over sets and purifiers; None for
    one seed.
    """
    groups: dict[tuple[str, str], list[float]] = {}
    for one in fine_tunes:
        if one["arm"] == CLEAN:
            groups.setdefault((one["set"], one["purifier"]), []).append(one["unlikeness"])
    many = [group for group in groups.values() if len(group) > 1]
    return statistics.fmean(statistics.stdev(group) for group in many) if many else None


def mean_of_clean(fine_tunes: Sequence[Found], measure: str) -> float:
    """Mean of a measure over fine-tunes on clean pictures without a purifier, or with all where none had none."""
    clean = [one for one in fine_tunes if one["arm"] == CLEAN]
    plain = [one for one in clean if one["purifier"] == "none"] or clean
    return statistics.fmean(one[measure] for one in plain)


def _net(
    fine_tunes: Sequence[Found], clean: Mapping[tuple[str, str, int], Found], purifier: str, measure: str
) -> float:
    return statistics.fmean(
        one[measure] - clean[_cell(one)][measure] for one in fine_tunes if one["purifier"] == purifier
    )


def _cell(one: Found) -> tuple[str, str, int]:
    return one["set"], one["purifier"], one["seed"]
