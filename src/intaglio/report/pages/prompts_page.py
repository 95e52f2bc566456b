"""The report of an audit of prompts: all prompts ranked, words shaded by their share, pictures of the first."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from intaglio.audit.prompts.result import PromptScores
from intaglio.report.kit.charts import Dot, Strip, strip_plot
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Key, PageTable, PromptsPage, Row, Shown
from intaglio.runs.read import RunData

MOST_ROWS = 300
"""Prompts of the table."""
DARKEST = 70
"""Percent of the accent in the shade of a word with all of the score."""


def page_of(run: RunData, page_folder: Path) -> PromptsPage | None:
    """The page of an `audit prompts` run; None where nothing is finished yet."""
    found = PromptScores.load(run.folder)
    return None if found is None else prompts_page(run, found, page_folder)


def prompts_page(run: RunData, found: PromptScores, page_folder: Path) -> PromptsPage:
    """The page of a result; `page_folder` is where it will lie."""
    album = Album(page_folder, sum(len(p) for row in found.drawn.values() for p in row.values()), run=run.folder)
    shaded = any(found.shares)
    return PromptsPage(
        template="audit_prompts.html.j2",
        **title(run, _headline(found)),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        table=_table(found),
        table_text=_table_text(found, shaded),
        strip_wide=_strips(found, 1040, "plot big"),
        strip_narrow=_strips(found, 380, "plot small"),
        pictures=_pictures(run, found, album),
        pictures_text=(
            "Each model draws a prompt from the same seeds. Where the pictures of one model are all alike, the prompt "
            "stands for one picture."
        ),
        limits=LIMITS,
    )


def _headline(found: PromptScores) -> str:
    if not found.calibrated:
        return f"{count(len(found.prompts), 'prompt')} ranked, without controls"
    calls = sum(map(bool, found.called))
    return f"{calls or 'None'} of {count(len(found.prompts), 'prompt')} called memorised"


def _keys(found: PromptScores) -> list[Key]:
    place = found.ranking[0]
    keys = [Key("Highest score", decimal(float(found.scores[place]), 3), f"of “{found.prompts[place]}”")]
    if found.calibrated:
        highest = decimal(float(found.control_scores.max()), 3)
        keys.append(Key("Highest score of a control", highest, f"of {count(len(found.controls), 'control')}"))
        keys.append(Key("False-positive rate", rate_text(found.fpr), "at most, of prompts that were not trained on"))
    return keys


def _table(found: PromptScores) -> PageTable:
    further = [name for name in found.signals if len(found.signals) > 1]
    judged = ("p", "verdict") if found.calibrated else ()
    heads = ["prompt", "score", *(f"of the {name}" for name in further), *judged]
    rows = []
    for i in found.ranking[:MOST_ROWS]:
        numbers = [decimal(float(column[i]), 3) for column in (found.scores, *(found.signals[n] for n in further))]
        verdict = [decimal(found.p_values[i], 2), "memorised" if found.called[i] else "not told from controls"]
        rows.append([_shaded(found, i), *numbers, *(verdict if found.calibrated else ())])
    return PageTable("", heads, rows)


def _shaded(found: PromptScores, place: int) -> str:
    """A prompt, each word with a background as dark as its share."""
    words = found.words_of(place)
    if not words:
        return str(found.prompts[place])
    return Markup(" ").join(
        Markup('<span style="background:color-mix(in srgb,var(--in) {}%,transparent)" title="{}">{}</span>').format(
            round(DARKEST * share), rate_text(share), escape(word)
        )
        for word, share in words
    )


def _table_text(found: PromptScores, shaded: bool) -> str:
    said = "The score is how far a prompt’s words move what the model predicts; higher means memorised."
    if "base" in found.signals:
        said += " It is the model’s own less the base’s."
    if shaded:
        said += " The darker a word, the larger its share in the model’s own score."
    if (left := len(found.prompts) - MOST_ROWS) > 0:
        said += f" {left} more are in prompts.csv."
    return said


def _strips(found: PromptScores, width: int, classes: str) -> Markup | str:
    """The prompts' scores, and those of the controls, on one scale."""
    scored = zip(found.scores, found.prompts, found.called, strict=True)
    strips = [Strip("prompts", [Dot(float(s), prompt, "in" if call else "out") for s, prompt, call in scored])]
    if found.calibrated:
        controls = zip(found.control_scores, found.controls, strict=True)
        strips.append(Strip("controls", [Dot(float(s), prompt, "ctl") for s, prompt in controls]))
    return strip_plot(strips, (), "score", width, classes, things="prompts")


def _pictures(run: RunData, found: PromptScores, album: Album) -> list[tuple[str, list[Shown]]]:
    """The pictures of each prompt that was drawn, highest score first."""
    shown = {}
    for prompt in (found.prompts[place] for place in found.ranking):
        if drawn := found.drawn.get(prompt):
            named = [(role, path) for role, paths in drawn.items() for path in paths]
            shown[prompt] = [Shown(album.thumb(run.folder / path), f"{role}, {_seed(path)}") for role, path in named]
    return list(shown.items())


def _seed(path: str) -> str:
    return f"seed {Path(path).stem.rpartition('-')[2]}"


LIMITS: Sequence[Row] = (
    Row(
        "A high score is not yet a copy",
        "It says that the words decide much of the picture, as those of a memorised prompt do; only the training set "
        "can show whether the picture is in it.",
    ),
    Row(
        "A low score clears no prompt",
        "Few repetitions, a short fine-tune or a low rank leave less of a trace than this sees, and a picture may be "
        "memorised under other words.",
    ),
    Row(
        "Controls must be of the same kind",
        "The false-positive rate holds for prompts like the controls: as long, in the same style, of the same things.",
    ),
    Row(
        "A share is no cause",
        "The share of a word says how much the score answers to small changes of its embedding, not what the score is "
        "without it.",
    ),
)
