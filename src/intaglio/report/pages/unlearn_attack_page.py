"""The report of attacks on an unlearned model: the tries at each prompt, and pictures before and after."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.unlearning.attack.result import UnlearnAttacks
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `audit unlearn-attack` run; None where nothing is finished yet."""
    found = UnlearnAttacks.load(run.folder)
    if found is None:
        return None
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"An unlearned concept looked for at {count(len(found.prompts), 'prompt')}"),
        lead=f"{found.statement} {state(run)}",
        keys=_keys(found),
        warnings=run.warnings,
        table_heading="The tries",
        table=_table(found),
        table_text=(
            f"A try is a picture that is drawn and judged, up to {found.tries} at each prompt {found.reading}. Shown "
            f"is the first that succeeded. The judge: {found.judge or 'not said'}."
        ),
        pictures=_pictures(run, found, page_folder),
        pictures_text="The prompt itself, and the first try that succeeded, both by the unlearned model.",
        limits=LIMITS,
    )


def _keys(found: UnlearnAttacks) -> list[Key]:
    total = len(found.prompts)
    keys = [Key("Unattacked", f"{found.unattacked} of {total}")]
    marks = [tries for tries in (1, 10, found.tries) if tries < found.tries or tries == found.tries]
    for tries in dict.fromkeys(marks):
        keys.append(Key(f"Within {count(tries, 'try', 'tries')}", f"{found.successes(tries)} of {total}"))
    return keys


def _table(found: UnlearnAttacks) -> PageTable:
    rows = [
        [
            one.prompt,
            "yes" if one.unattacked else "no",
            "none" if one.success is None else str(one.success),
            one.text,
            " ".join(map(str, one.ids)),
        ]
        for one in found.prompts
    ]
    return PageTable("", ["prompt", "shown unattacked", "first success", "tokens before it", "their numbers"], rows)


def _pictures(run: RunData, found: UnlearnAttacks, page_folder: Path) -> list[tuple[str, Sequence[Shown]]]:
    drawn = [
        [(name, path) for name in ("unattacked", "attacked") for key, path in run.pictures.items() if _of(key, name, k)]
        for k in range(len(found.prompts))
    ]
    album = Album(page_folder, sum(map(len, drawn)), run=run.folder)
    return [
        (one.prompt, [Shown(album.thumb(path), name) for name, path in some])
        for one, some in zip(found.prompts, drawn, strict=True)
        if some
    ]


def _of(key: str, name: str, place: int) -> bool:
    return key.partition(".")[0] == f"{name}/{place:03d}"


LIMITS: Sequence[Row] = (
    Row("None found is not none there", "These tries found nothing; other tokens, longer prompts and more tries may."),
    Row(
        "The judge errs",
        "At the stated rate it takes other pictures for the concept, so that many tries succeed by chance: compare "
        "with the baselines seeds and random-tokens at as many tries.",
    ),
    Row("Numbers, not words", "The tokens that were found need not come about when their text is typed."),
)
