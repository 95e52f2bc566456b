"""The report of probes of features: a table of accuracies a label, by site and noise level."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.features.label_probes import LabelProbes
from intaglio.explain.features.result import FeatureProbes
from intaglio.report.kit.format import count, title
from intaglio.report.kit.views import HeatPage, HeatRow, HeatTable, Key, PageTable, Row
from intaglio.runs.read import RunData

MOST_LABELS = 40
"""Labels whose share of right answers is on the page."""
LIMITS: Sequence[Row] = (
    Row(
        "Read, not used",
        "A label that a probe reads is in the features. Whether the network uses it for anything is another question.",
    ),
    Row(
        "By a linear probe",
        "Other probes may read more. More features are easier to read from, so that sites of many channels have an "
        "advantage that is not theirs alone.",
    ),
    Row(
        "The best cell is one of many",
        "The best of a table is better than it will be on new pictures. The number above the table is of cells that "
        "were chosen without the pictures they are asked about.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> HeatPage | None:
    """The page of an `explain features` run; None where nothing is finished yet."""
    found = FeatureProbes.load(run.folder)
    if found is None:
        return None
    return HeatPage(
        template="explain_features.html.j2",
        **title(run, f"{_listed([one.column for one in found.labels])} read from features of {found.method}"),
        lead=found.statement,
        keys=[_key(one) for one in found.labels],
        warnings=run.warnings,
        heats=[_heat(found, one) for one in found.labels],
        heats_text=f"Features are {found.reading}. A cell is coloured by how far it is above shuffled labels; the best "
        "is framed.",
        limits=LIMITS,
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _key(one: LabelProbes) -> Key:
    low, high = one.interval
    chance = f"; shuffled labels {one.chance:.2f}" if one.shuffles else ""
    return Key(one.column, f"{one.accuracy:.2f}", f"95% {low:.2f} to {high:.2f}{chance}")


def _heat(found: FeatureProbes, one: LabelProbes) -> HeatTable:
    sites = list(dict.fromkeys(cell.site for cell in one.cells))
    levels = list(dict.fromkeys(cell.timestep for cell in one.cells))
    place = {(cell.site, cell.timestep): k for k, cell in enumerate(one.cells)}
    kept = sorted(range(len(one.classes)), key=lambda k: (-one.recalls[k], one.classes[k]))
    rows = [[one.classes[k], str(one.counts[k]), f"{one.recalls[k]:.2f}"] for k in kept[:MOST_LABELS]]
    left = len(kept) - len(rows)
    chosen = _listed([one.cells[k].name for k in sorted(set(one.picks))])
    p = "" if one.p is None else f" (p {one.p:.3f} by {count(len(one.shuffles), 'shuffle')})"
    best = f"The best cell has {one.accuracies[one.best]:.2f}{p}"
    luck = "" if one.best_by_chance is None else f"; with shuffled labels the best has {one.best_by_chance:.2f}"
    return HeatTable(
        one.column,
        f"Balanced accuracy over {count(len(one.classes), 'label')} of {count(len(one.truth), 'picture')}: the share "
        f"named right, a mean over labels. {best}{luck}. Cells that were chosen without the pictures asked about: "
        f"{chosen}.",
        "site",
        ["accuracy" if level is None else f"t = {level}" for level in levels],
        [HeatRow(site, [_cell(one, place[site, level]) for level in levels]) for site in sites],
        PageTable("Labels", [one.column, "pictures", "named right"], rows, f"{left} more labels." if left else ""),
    )


def _cell(one: LabelProbes, place: int) -> tuple[str, int, str]:
    low, high = one.intervals[place]
    above = max(0.0, one.accuracies[place] - one.chance)
    most = one.accuracies[one.best] - one.chance
    share = round(100 * above / most) if most > 0 else 0
    if place == one.best:
        share = 100
    elif share == 100:
        share = 99
    note = f"95% {low:.2f} to {high:.2f}; {count(one.numbers[place], 'feature')}"
    return f"{one.accuracies[place]:.2f}", share, note
