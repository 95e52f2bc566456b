"""The report of explained series: a line chart of each with its importances, and the checks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intaglio.explain.series.landmarks import Landmarks
from intaglio.explain.series.point_checks import SHARES
from intaglio.explain.series.result import ExplainedPoints
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.tables_view import TablesPage
from intaglio.report.kit.views import Key, PageTable, Row
from intaglio.runs.read import RunData

SHOWN, TIMES = 12, 60
"""Series that are drawn, and times of each, at most."""
BARS = "▁▂▃▄▅▆▇█"
LIMITS: Sequence[Row] = (
    Row(
        "Of this classifier",
        "Importances tell what a classifier goes by that was taught here, and not what makes the classes.",
    ),
    Row(
        "Replaced points are strange",
        "A series with replaced or swapped times need not be one that could have come about, so that the classifier "
        "may answer as it never does on real ones.",
    ),
    Row(
        "Drawings",
        "Where series are drawings, time 0 is the noisiest step, and channels are principal directions over all of "
        "them, held-out ones too.",
    ),
    Row("Times, not causes", "That a time matters to the answer does not say that what came before it does not."),
)


def page_of(run: RunData, page_folder: Path) -> TablesPage | None:
    """The page of an `explain series` run; None where nothing is finished yet."""
    found = ExplainedPoints.load(run.folder)
    if found is None:
        return None
    figures = found.figures()
    (low, high), (below, above) = figures["gained_interval"], figures["swap_rank_interval"]
    auc = "-" if found.swap_auc is None else decimal(found.swap_auc, 2)
    return TablesPage(
        template="tables.html.j2",
        **title(run, f"{count(len(found.names), 'held-out series', 'held-out series')} by {found.method}"),
        lead=found.statement,
        keys=[
            Key("Sooner than by chance", decimal(figures["gained"], 3), f"95% {decimal(low, 3)} to {decimal(high, 3)}"),
            Key("Goes with swaps", decimal(figures["swap_rank"], 2), f"95% {decimal(below, 2)} to {decimal(above, 2)}"),
            Key("Swaps that change the call", auc, "area under the ROC curve"),
            Key("Called right", rate_text(found.accuracy), "a mean over classes"),
        ],
        warnings=run.warnings,
        tables=[
            *([] if found.landmarks is None else [_landmarks(found, found.landmarks)]),
            (
                f"An importance is {found.reading}. Bars are of {count(len(found.times), 'time')}, {found.times[0]:g} "
                f"to {found.times[-1]:g}, of the channel of the most important point: the series above, its importance "
                "below, each from its least to its largest.",
                PageTable("Series", ["series", "called", "bars"], _drawn(found)),
            ),
            (
                "Mean probability of the called class while points are replaced by draws.",
                PageTable("Replaced", ["share", "the most important first", "by chance"], _curves(found)),
            ),
            (
                f"The points of the largest mean importance; swaps are of {count(found.window, 'time')}.",
                PageTable("Points", ["time", "channel", "mean importance"], _points(found)),
            ),
        ],
        limits=LIMITS,
    )


def bars(values: np.ndarray) -> str:
    """A bar a value, from the least to the largest; no more than fit, each then a mean of neighbours."""
    few = np.array([part.mean() for part in np.array_split(values, min(len(values), TIMES))])
    span = float(np.ptp(few))
    heights = np.zeros(len(few)) if span == 0 else (few - few.min()) / span
    return "".join(BARS[round(float(one) * (len(BARS) - 1))] for one in heights)


def _drawn(found: ExplainedPoints) -> list[list[str]]:
    lines = []
    for k, (row, (_, channel)) in enumerate(list(zip(found.rows(), found.first_points(), strict=True))[:SHOWN]):
        both = [one[k, :, channel].double().numpy() for one in (found.values, found.importances)]
        lines.append([row["series"], row["called"], bars(both[0])])
        lines.append(["", f"importance, {row['first_channel']}", bars(both[1])])
    return lines


def _landmarks(found: ExplainedPoints, landmarks: Landmarks) -> tuple[str, PageTable]:
    """A few typical explanations: groups of series with their mean importance, and the series nearest to each."""
    lines = []
    for k, members in enumerate(landmarks.counts.tolist()[:SHOWN]):
        own = landmarks.places == k
        codes = np.bincount(found.truth[own], minlength=len(found.classes))
        mix = ", ".join(f"{found.classes[c]} {codes[c]}" for c in np.argsort(-codes, kind="stable") if codes[c])
        mean = found.importances.double().numpy()[own].mean(0)
        channel, nearest = int(mean.max(0).argmax()), landmarks.nearest(k)
        one = [given[nearest, :, channel].double().numpy() for given in (found.values, found.importances)]
        lines.append([str(k + 1), count(members, "series", "series"), mix, bars(mean[:, channel])])
        lines.append(["", f"nearest: {found.names[nearest]}", found.channels[channel], bars(one[0])])
        lines.append(["", "", "importance", bars(one[1])])
    figures = found.landmark_figures()
    return (
        "Landmarks, about which held-out series gather by what is left of them: classes, the mean importance of the "
        f"series, and the nearest one. {rate_text(figures['purity'])} of series are of the most frequent class of "
        f"their landmark, by chance {rate_text(figures['purity_by_chance'])}. The run’s series.csv has the landmark of "
        "each.",
        PageTable("Landmarks", ["landmark", "series", "classes", "bars"], lines),
    )


def _curves(found: ExplainedPoints) -> list[list[str]]:
    both = zip(SHARES, found.removed.mean(0), found.by_chance.mean(0), strict=True)
    return [[rate_text(share), decimal(float(one), 3), decimal(float(other), 3)] for share, one, other in both]


def _points(found: ExplainedPoints) -> list[list[str]]:
    means = found.importances.double().mean(0).flatten().numpy()
    places = [divmod(int(k), len(found.channels)) for k in np.argsort(-means, kind="stable")[:SHOWN]]
    return [
        [f"{found.times[t]:g}", found.channels[channel], f"{means[t * len(found.channels) + channel]:.3g}"]
        for t, channel in places
    ]
