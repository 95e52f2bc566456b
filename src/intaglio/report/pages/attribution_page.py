"""The report of an attribution: pictures by the source they are attributed to, and the held-out pictures' rates."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.attribution.result import SourceScores
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.report.kit.format import count, decimal, interval_text, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import AttributionPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Pictures of the table."""


def page_of(run: RunData, page_folder: Path) -> AttributionPage | None:
    """The page of an `audit attribution` run; None where nothing is finished yet."""
    found = SourceScores.load(run.folder)
    return None if found is None else attribution_page(run, found, page_folder)


def attribution_page(run: RunData, found: SourceScores, page_folder: Path) -> AttributionPage:
    """The page of a result; `page_folder` is where it will lie."""
    left = len(found.names) - len(found.pictures)
    return AttributionPage(
        template="audit_attribution.html.j2",
        **title(run, f"The sources of {count(len(found.names), 'picture')}"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        groups=_groups(run, found, page_folder),
        text=(
            f"The method looks at {found.reading}. A source fits a picture where p is above {rate_text(found.rate)}: "
            "twice the share of its held-out pictures that are as improbable, or as unlike all sources, or more. A "
            "picture is attributed where only one fits. Below a picture stands the most probable source with its p."
        ),
        left_out=f"{left} more are in the table and in attribution.csv." if left else "",
        held=_held(found),
        held_text=(
            "Each was judged as if it were new, and left out of its own source’s p-values. Of a source’s pictures at "
            f"most {rate_text(found.rate)} are attributed to another source, in the long run."
        ),
        table=_table(found),
        limits=LIMITS,
    )


def _keys(found: SourceScores) -> list[Key]:
    verdicts = found.verdicts
    wrong, held = found.held_false
    named = sum(verdict >= 0 for verdict in verdicts)
    falsely = Key("Falsely, held out", rate_text(wrong / held), _interval(wrong, held))
    if found.without_verdict:
        falsely = Key("Falsely, held out", "-", "no picture can be attributed; the sources have too few pictures")
    return [
        Key("Attributed", f"{named} of {len(verdicts)}", f"{verdicts.count(-1)} to none of these"),
        falsely,
        Key("Most probable is right", rate_text(found.held_accuracy), "of held-out pictures, averaged over sources"),
    ]


def _interval(count_: int, total: int) -> str:
    found = clopper_pearson(count_, total)
    return "" if found is None else interval_text(found)


def _groups(run: RunData, found: SourceScores, page_folder: Path) -> list[tuple[str, list[Shown]]]:
    album = Album(page_folder, len(found.pictures), run=run.folder)
    groups: dict[str, list[Shown]] = {}
    for i, name in enumerate(found.names):
        if name in found.pictures:
            best = int(found.log_posterior[i].argmax())
            caption = f"{name}: {found.sources[best]}, p {decimal(float(found.p[i, best]), 2)}"
            verdict = "undecided" if found.verdicts[i] < -1 else found.verdict(i)
            groups.setdefault(verdict, []).append(Shown(album.thumb(run.folder / found.pictures[name]), caption))
    return sorted(groups.items())


def _held(found: SourceScores) -> PageTable:
    rows = [
        [name, *(str(row[key]) for key in ("pictures", "own", "other", "none", "several"))]
        for name, row in zip(found.sources, found.held, strict=True)
    ]
    return PageTable("", ["source", "held out", "attributed to it", "to another", "fits none", "fits several"], rows)


def _table(found: SourceScores) -> PageTable:
    heads = ["picture", "attributed to", "knownness", *(f"p {name}" for name in found.sources)]
    rows = [
        [
            name,
            found.verdict(i),
            decimal(float(found.knownness[i]), 3),
            *(decimal(float(value), 3) for value in found.p[i]),
        ]
        for i, name in enumerate(found.names[:MOST_ROWS])
    ]
    return PageTable("", heads, rows)


LIMITS: Sequence[Row] = (
    Row(
        "The rate is of the given sources",
        "It holds for new pictures of a source that are like its held-out ones. A source that was not given may fit "
        "one of these by chance, or because it is a near relative; no rate is promised for it.",
    ),
    Row(
        "Traces are faint",
        "Compression, resizing and filters take them away or leave their own. Pictures to attribute must have the same "
        "history as those of the sources.",
    ),
    Row(
        "Content may give a source away",
        "Where one source shows other things than another, they are told apart by what is shown, not by who made it. "
        "Give pictures of the same prompts.",
    ),
    Row(
        "Undecided is an answer",
        "Several sources fit where the method cannot tell them apart at this rate; more pictures of each help it.",
    ),
)
