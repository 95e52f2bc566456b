"""The report of an audit of components: shares with intervals, and pictures with none, with each alone, with all."""

from pathlib import Path

from intaglio.audit.components.result import ComponentShares
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PictureTablePage, Row, Shown
from intaglio.runs.read import RunData

LIMITS = (
    Row(
        "Likeness is not copying",
        "The figures say what makes the drawings look like the target pictures as a set, to an encoder. Whether one of "
        "them was copied is another question; intaglio extract and the membership audits ask it.",
    ),
    Row(
        "They hold for these prompts",
        "Other prompts switch other things on: a style that is not asked for has no effect, and so no share.",
    ),
    Row(
        "The rest has no share",
        "Whatever the model without any of these components knows of the target pictures is in no one’s share.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> PictureTablePage | None:
    """The page of an `audit components` run; None where nothing is finished yet."""
    found = ComponentShares.load(run.folder)
    return None if found is None else components_page(run, found, page_folder)


def components_page(run: RunData, found: ComponentShares, page_folder: Path) -> PictureTablePage:
    """The page of a result; `page_folder` is where it will lie."""
    shown = [(found.words(one), path) for one, paths in _in_order(found) for path in paths]
    album = Album(page_folder, len(shown), run=run.folder)
    sampled = any(one.error for one in found.components)
    return PictureTablePage(
        template="picture_table.html.j2",
        **title(run, f"{count(len(found.components), 'component')} and a likeness"),
        lead=found.statement,
        keys=[
            Key("All add", decimal(found.total.value, 3), _range(found.total.low, found.total.high, 3)),
            Key("Sets drawn", str(len(found.values)), f"{found.drawn} pictures each"),
            Key("Target pictures", str(found.targets), ""),
        ],
        warnings=run.warnings,
        table=PageTable(
            "Components, the largest effect first", _heads(sampled), [_cells(row, sampled) for row in found.rows()]
        ),
        table_text=(
            f"The effect of a component is {found.reading}, in units of the {found.distance} distance between the "
            "drawn pictures and the target pictures; its share is of what all components add. Intervals of 95% are of "
            "other seeds of the drawn pictures."
        ),
        pictures=[Shown(album.thumb(run.folder / path), words) for words, path in shown],
        limits=LIMITS,
    )


def _in_order(found: ComponentShares) -> list[tuple[int, tuple[str, ...]]]:
    """Stored pictures by set: none, each alone, all."""
    return sorted(found.pictures.items())


def _heads(sampled: bool) -> list[str]:
    return ["component", "effect", "95%", "share", "95%", *(["error of orders"] if sampled else [])]


def _cells(row: dict, sampled: bool) -> list[str]:
    effect = [decimal(row["effect"], 3), _range(row["effect_low"], row["effect_high"], 3)]
    share = (
        ["", ""]
        if row["share"] is None
        else [_percent(row["share"]), f"{_percent(row['share_low'])} to {_percent(row['share_high'])}"]
    )
    return [row["component"], *effect, *share, *([decimal(row["sampling_error"], 3)] if sampled else [])]


def _range(low: float, high: float, digits: int) -> str:
    return f"{decimal(low, digits)} to {decimal(high, digits)}"


def _percent(share: float) -> str:
    return f"{share:.0%}"
