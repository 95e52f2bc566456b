"""Figures of the unlearning bench: each row beside the original, and successes of attacks at equal tries."""

from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.printable import aligned
from intaglio.runs.machine import machine, versions
from intaglio.runs.run import Run

ORIGINAL = "original"
"""Row of the model that knew the artist."""
SEARCHED, BY_CHANCE = "unlearn-diff-atk", "random-tokens"
"""The attack that searches its tokens, and the one that draws them."""
HEADLINES = ("concept", "neighbour", "relearned")
HIDDEN = ("attacks", "loss_concept", "loss_neighbour", "neighbours")
"""What a recorded row has for others alone."""


def figures_of(run: Run) -> dict[str, Any]:
    """Headline figures, the attacks against each other, and every row by artist."""
    found: dict[str, dict[str, Any]] = {}
    for key, row in run.recorded("row").items():
        artist, _, name = key.partition("/")
        found.setdefault(artist, {})[name] = row
    rows = {
        artist: {name: _row(row, some[ORIGINAL]) for name, row in sorted(some.items())}
        for artist, some in found.items()
    }
    return {
        **{
            f"{what}_{name.replace('-', '_').replace(' ', '_')}_{artist}": row[what]
            for artist, some in rows.items()
            for name, row in some.items()
            for what in HEADLINES
            if what in row
        },
        **_attacks([row for some in found.values() for row in some.values() if "attacks" in row]),
        "seconds": run.seconds,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _row(row: Mapping[str, Any], original: Mapping[str, Any]) -> dict[str, Any]:
    ratios = {f"{name}_ratio": row[name] / original[name] for name in ("loss_concept", "loss_neighbour")}
    plain = {name: value for name, value in row.items() if name not in HIDDEN}
    attacks = {name: _success(one) for name, one in row.get("attacks", {}).items()}
    return {**plain, **ratios, **({"attacks": attacks, "unattacked": _unattacked(row)} if attacks else {})}


def _success(one: Mapping[str, Any]) -> float:
    """Share of prompts at which a try succeeded."""
    return sum(first is not None for first in one["success"]) / len(one["success"])


def _unattacked(row: Mapping[str, Any]) -> float:
    """Share of the attacked prompts that show the artist by themselves; the same for every attack."""
    plain = next(iter(row["attacks"].values()))["unattacked"]
    return sum(plain) / len(plain)


def _attacks(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Successes of each attack over all rows and prompts that did not show the artist unattacked.

    `searched_p` is of McNemar's exact test: over prompts at which one alone of searched and random tokens succeeds.
    """
    if not rows:
        return {}
    hidden = [(row, k) for row in rows for k, plain in enumerate(row["attacks"][SEARCHED]["unattacked"]) if not plain]
    told: dict[str, Any] = {"prompts_hidden": len(hidden)}
    if not hidden:
        return told
    won = {name: [row["attacks"][name]["success"][k] is not None for row, k in hidden] for name in rows[0]["attacks"]}
    for name, some in won.items():
        told[f"success_{name.replace('-', '_')}"] = sum(some) / len(some)
        told[f"success_{name.replace('-', '_')}_interval"] = clopper_pearson(sum(some), len(some))
    pairs = list(zip(won[SEARCHED], won[BY_CHANCE], strict=True))
    alone, discordant = sum(a and not b for a, b in pairs), sum(a != b for a, b in pairs)
    return {**told, "searched_p": float(binomtest(alone, discordant).pvalue) if discordant else 1.0}


def table_of(figures: Mapping[str, Any]) -> str:
    """A table for each artist."""
    return "\n\n".join(_table(artist, rows) for artist, rows in figures["rows"].items())


def _table(artist: str, rows: Mapping[str, Mapping[str, Any]]) -> str:
    attacks = next((tuple(row["attacks"]) for row in rows.values() if "attacks" in row), ())
    plain = ("concept", "neighbour", "kid", "loss_concept_ratio", "loss_neighbour_ratio", "relearned", "unattacked")
    heads = ("concept", "neighbour", "kid", "loss concept", "loss neighbour", "relearned", "unattacked")
    lines: list[tuple[str, ...]] = [(artist, *heads, *attacks, "s")]
    for name, row in rows.items():
        cells = [f"{row[key]:.3g}" if key in row else "-" for key in plain]
        cells += [f"{row['attacks'][one]:.2f}" if "attacks" in row else "-" for one in attacks]
        lines.append((name, *cells, f"{row['seconds']:.0f}" if "seconds" in row else "-"))
    return aligned(lines)
