"""Figures of the watermark bench: rates under attacks, rates of false calls, forgeries, quality and cost, by row."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from intaglio.bench.watermark.mark_row import USERS
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

RATES = {"1pct": 1e-2, "1e-3": 1e-3, "1e-6": 1e-6}
"""False-positive rates that calls are made at."""
HEADLINES = ("none", "jpeg-50")
"""Attacks whose figures stand by name beside the rows."""
FORGED_AT = 1e-3
"""Rate at which a forged picture would be accepted."""


def figures_of(run: Run) -> dict[str, Any]:
    """Headline figures, then every row."""
    rows = {name: _row(found) for name, found in run.recorded("row").items()}
    flat = {
        f"{figure}_{attack}_{name.replace(' ', '_')}": row["attacks"][attack][figure]
        for name, row in rows.items()
        for attack in HEADLINES
        for figure in ("tpr_1pct", "tpr_1e-6", "bits")
        if row["attacks"][attack][figure] is not None
    }
    return {
        "marks": len(rows),
        **flat,
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "attacks": {one["attack"]: _attack(one) for one in found["attacks"]},
        "false_calls": {group: _false_calls(np.array(p)) for group, p in found["nulls"].items()},
        "forgeries": {way: float((np.array(p) <= FORGED_AT).mean()) for way, p in found["forgeries"].items()},
        **found["quality"],
    }


def _attack(one: Mapping[str, Any]) -> dict[str, Any]:
    p, bits = np.array(one["p"]), [share for share in one["bits"] if share is not None]
    called = np.minimum(1.0, USERS * np.array(one["least"])) <= RATES["1pct"]
    wrong = called & ~np.array(one["likeliest"])
    return {
        **{f"tpr_{name}": float((p <= rate).mean()) for name, rate in RATES.items()},
        "bits": float(np.mean(bits)) if bits else None,
        "top1": float(np.mean(one["likeliest"])),
        "called_of_all_users": float(called.mean()),
        "false_attribution": float(wrong.mean()),
        "seconds": one["seconds"],
    }


def _false_calls(p: np.ndarray) -> dict[str, Any]:
    """Shares of all pictures and keys that are called, with 95% Clopper-Pearson intervals."""
    found: dict[str, Any] = {"tests": p.size, "pictures": len(p)}
    for name in ("1pct", "1e-3"):
        calls = int((p <= RATES[name]).sum())
        found[name], found[f"{name}_interval"] = calls / p.size, clopper_pearson(calls, p.size)
    return found


def table_of(figures: Mapping[str, Any]) -> str:
    """The rows under each attack, then what holds for a row as a whole."""
    head = ("mark", "attack", "TPR 1%", "TPR 1e-3", "TPR 1e-6", "bits", "top 1", "wrong user", "s")
    lines = [
        (
            name,
            attack,
            *(f"{one[f'tpr_{rate}']:.2f}" for rate in RATES),
            _share(one["bits"]),
            f"{one['top1']:.2f}",
            f"{one['false_attribution']:.2f}",
            f"{one['seconds']:.2f}",
        )
        for name, row in figures["rows"].items()
        for attack, one in row["attacks"].items()
    ]
    second = (
        "mark",
        "false calls at 1%: real",
        "drawn",
        "other key",
        "forged: copied",
        "redrawn",
        "PSNR",
        "KID",
        "floor",
        "s once",
        "s a user",
    )
    whole = [
        (
            name,
            *(_interval(row["false_calls"][group]) for group in ("real", "drawn", "other key")),
            *(_share(row["forgeries"].get(way)) for way in ("copied", "redrawn")),
            _share(row.get("psnr"), 1),
            _share(row.get("kid"), 3),
            _share(row.get("kid_floor"), 3),
            _share(row.get("once_s"), 1),
            _share(row.get("user_s"), 1),
        )
        for name, row in figures["rows"].items()
    ]
    return f"{aligned([head, *lines])}\n\n{aligned([second, *whole])}"


def _interval(one: Mapping[str, Any]) -> str:
    low, high = one["1pct_interval"]
    return f"{one['1pct']:.3f} ({low:.3f} to {high:.3f})"


def _share(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
