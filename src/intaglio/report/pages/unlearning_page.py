"""The report of an unlearning: what is left of the concept and of kept prompts, and pictures of equal seeds."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.audit.unlearning.result import UnlearningRecord
from intaglio.report.kit.format import count, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.report.pages.run_pages import state
from intaglio.runs.read import RunData

MOST_PROMPTS = 24
"""Prompts, at most, of which pictures are shown."""


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `audit unlearning` run; None where nothing is finished yet."""
    found = UnlearningRecord.load(run.folder)
    if found is None:
        return None
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, _headline(found)),
        lead=f"{found.statement} The model was edited {found.reading}. {state(run)}",
        keys=_keys(found),
        warnings=run.warnings,
        table_heading="What is left",
        table=_table(found),
        table_text=_table_text(found),
        pictures=_pictures(run, found, page_folder),
        pictures_text="Each row is of one prompt: by the given model, then by the new one from the same seeds.",
        limits=PICTURE_LIMITS if found.forgotten else LIMITS,
    )


def _headline(found: UnlearningRecord) -> str:
    if found.forgotten:
        return f"{count(found.forgotten, 'picture')} taken out by {found.method}"
    return f"{count(len(found.concept.prompts), 'prompt')} edited by {found.method}"


def _table_text(found: UnlearningRecord) -> str:
    if found.forgotten:
        return (
            "Each row is of one given picture: its denoising loss under its caption, and the evidence of that caption, "
            "which is how much lower the loss is under it than under no words. Both models are asked at the same "
            "timesteps and noises. A model that never had the pictures has a higher loss of them, near that of others "
            "like them; one far above has not forgotten but been spoilt."
        )
    return (
        "The evidence of a prompt is how much lower the denoising loss of its pictures is under it than under its "
        f"anchor, of a kept one than under no words. The given model drew {count(found.pictures, 'picture')} of "
        "each prompt; both models are asked about these at the same timesteps and noises."
    )


def _keys(found: UnlearningRecord) -> list[Key]:
    keys = []
    for part, name in (("forget", "Loss of what was forgotten"), ("retain", "Loss of what stays")):
        before, after = (found.mean_of(part, f"loss_{when}") for when in ("before", "after"))
        if before is not None and after is not None:
            keys.append(Key(name, decimal(after, 3), f"{decimal(before, 3)} before"))
    for part, name in (("concept", "Evidence of the concept"), ("keep", "Evidence of kept prompts")):
        before, after = (found.mean_of(part, f"evidence_{when}") for when in ("before", "after"))
        if before is not None and after is not None:
            share = found.share_left(part)
            left = "" if share is None else f", {share:.0%} of it" if share >= 0 else ", none of it"
            keys.append(Key(name, decimal(after, 3), f"{decimal(before, 3)} before{left}"))
    return keys


def _table(found: UnlearningRecord) -> PageTable:
    heads = ["prompt", "", "evidence before", "after", "loss before", "after"]
    rows = [
        [
            row["prompt"],
            "to unlearn" if row["part"] in ("concept", "forget") else "kept",
            *(decimal(row[name], 3) for name in ("evidence_before", "evidence_after", "loss_before", "loss_after")),
        ]
        for row in found.rows
    ]
    return PageTable("", heads, rows)


def _pictures(run: RunData, found: UnlearningRecord, page_folder: Path) -> list[tuple[str, Sequence[Shown]]]:
    prompts = [str(row["prompt"]) for row in found.rows if row["part"] != "retain"]
    if found.forgotten:  # several may have one caption
        prompts = list(dict.fromkeys(prompts))
    prompts = prompts[:MOST_PROMPTS]
    by_prompt = [
        [(when, path) for when in ("before", "after") for key, path in run.pictures.items() if _of(key, when, place)]
        for place in range(len(prompts))
    ]
    album = Album(page_folder, sum(map(len, by_prompt)), run=run.folder)
    return [
        (prompt, [Shown(album.thumb(path), when) for when, path in drawn])
        for prompt, drawn in zip(prompts, by_prompt, strict=True)
        if drawn
    ]


def _of(key: str, when: str, place: int) -> bool:
    return key.startswith(f"{when}/{place:03d}-")


PICTURE_LIMITS: Sequence[Row] = (
    Row(
        "No proof",
        "The estimate is of first order, and a model tuned again without the pictures may differ: where it can be "
        "made, compare with it.",
    ),
    Row(
        "Traces may be left",
        "Whether the pictures can still be told (intaglio authenticate) or extracted is a question of its own.",
    ),
    Row("What was not asked", "Other pictures and prompts may have changed too."),
)
LIMITS: Sequence[Row] = (
    Row(
        "Gone under these words",
        "Other words, seeds or starts may still draw the concept: look for them with intaglio audit unlearn-attack.",
    ),
    Row(
        "Evidence is no likeness",
        "It says how much the words help to denoise, not how a drawing looks; compare the pictures.",
    ),
    Row(
        "The training set stays",
        "The weights were learned with the concept’s pictures; whether these can still be told (intaglio authenticate) "
        "or extracted is a question of its own.",
    ),
    Row("What was not asked", "Prompts that are not in the table may have changed too."),
)
