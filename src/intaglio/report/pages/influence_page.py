"""The report of an influence audit: each picture asked about beside its strongest proponents and opponents."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.influence.result import InfluenceScores
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import InfluencePage, Key, QueryView, Row, Shown
from intaglio.runs.read import RunData

MOST_QUERIES = 60
"""Pictures asked about, at most, that are shown."""


def page_of(run: RunData, page_folder: Path) -> InfluencePage | None:
    """The page of an `audit influence` run; None where nothing is finished yet."""
    found = InfluenceScores.load(run.folder)
    return None if found is None else influence_page(run, found, page_folder)


def influence_page(run: RunData, found: InfluenceScores, page_folder: Path) -> InfluencePage:
    """The page of a result; `page_folder` is where it will lie."""
    queries = range(len(found.queries))[:MOST_QUERIES]
    sides = {query: _sides(found, query) for query in queries}
    album = Album(page_folder, sum(1 + len(a) + len(b) for a, b in sides.values()), run=run.folder)

    def shown(kind: str, name: str, caption: str) -> Shown:
        path = found.pictures.get(kind, {}).get(name)
        return Shown(album.thumb(None if path is None else run.folder / path), caption)

    def beside(query: int, places: Sequence[int]) -> list[Shown]:
        return [shown("train", found.train[i], _caption(found, query, i)) for i in places]

    views = [
        QueryView(
            found.queries[query],
            shown("queries", found.queries[query], f"asked about under “{found.query_prompts[query]}”"),
            beside(query, sides[query][0]),
            beside(query, sides[query][1]),
        )
        for query in queries
    ]
    left = len(found.queries) - len(views)
    return InfluencePage(
        template="audit_influence.html.j2",
        **title(run, f"Training pictures behind {count(len(found.queries), 'picture')} asked about"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        queries=views,
        text=(
            f"The number below a training picture is {found.reading} (unit: {found.unit}). Proponents, with positive "
            "numbers, are predicted to have made the model better at the picture asked about, opponents worse."
        ),
        left_out=f"{left} more, and all other pairs, are in influence.csv." if left else "",
        limits=LIMITS,
    )


def _sides(found: InfluenceScores, query: int) -> tuple[list[int], list[int]]:
    """Proponents and opponents that are shown of a query."""
    return found.proponents(query, found.shown), found.opponents(query, found.shown)


def _caption(found: InfluenceScores, query: int, place: int) -> str:
    itself = "; the picture itself" if found.is_itself(query, place) else ""
    return f"{found.train[place]}: {decimal(float(found.tau[query, place]), 3)}{itself}"


def _keys(found: InfluenceScores) -> list[Key]:
    place = found.ranking(0)[0]
    strongest = f"{found.train[place]} for {found.queries[0]}"
    keys = [Key("First training picture", decimal(float(found.tau[0, place]), 3), strongest)]
    if own := found.own_ranks:
        first = sum(rank == 1 for rank in own.values())
        keys.append(Key("First for themselves", f"{first} of {len(own)}", "that are training pictures themselves"))
    return keys


LIMITS: Sequence[Row] = (
    Row(
        "A prediction, not a removal",
        "No model was trained again. Only retrainings without a picture show what it did, and their own spread is "
        "large where the set is small.",
    ),
    Row(
        "The ranking says more than the number",
        "Numbers of one picture asked about compare with each other; those of two methods do not.",
    ),
    Row(
        "Influence is no copying",
        "A strong proponent taught the model much of what the picture needs; it need not look like it, and a "
        "look-alike need not be one.",
    ),
    Row(
        "Copies share",
        "Of several equal or nearly equal training pictures each has a part of the influence, as without one the "
        "others are left.",
    ),
    Row(
        "The set must be the one trained on",
        "Pictures that the model never saw are ranked all the same; whether it saw them is another question "
        "(intaglio authenticate).",
    ),
)
