"""The report of a protection: each picture before and after, the change magnified, and what it does not do."""

from pathlib import Path

from intaglio.protect.result import SHOWN, ProtectedPicture, ProtectionResult
from intaglio.protect.robustness import Robustness
from intaglio.report.kit.format import count, decibels, decimal, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Card, EvaluatePage, Key, ProtectPage, Row, Shown
from intaglio.report.pages.evaluate_page import evaluate_page
from intaglio.runs.read import RunData

CAPTIONS = {"original": "original", "protected": "given back", "difference": "the change, magnified"}
VISIBLE_SSIM = 0.9
"""Structural similarity below which a change is plain to see in most pictures."""
PLAIN_LEVELS = 12
"""Largest change in grey levels from which it is plain to see on flat areas, whatever the similarity."""
LIMITS = (
    Row("Cleaning", "JPEG, resizing, blur and purifying with a diffusion model take much of the effect away."),
    Row("Other models", "It was made against the surrogate; models with another encoder may not be fooled."),
    Row("Other copies", "Copies that are already public without it stay as useful as they were."),
    Row("Editing by hand", "It does nothing against people who copy or paint over the picture."),
)


def page_of(run: RunData, page_folder: Path) -> ProtectPage | EvaluatePage | None:
    """The page of a `protect` run, or of an evaluation; None where nothing is finished yet."""
    if (robustness := Robustness.load(run.folder)) is not None:
        return evaluate_page(run, robustness, page_folder)
    result = ProtectionResult.load(run.folder)
    return None if result is None else protect_page(run, result, page_folder)


def protect_page(run: RunData, result: ProtectionResult, page_folder: Path) -> ProtectPage:
    """The page of a `protect` run; `page_folder` is where it will lie."""
    shown = [one for one in result.pictures if one.images]
    album = Album(page_folder, len(SHOWN) * len(shown), run=run.folder)
    figures = result.figures()
    left = len(result.pictures) - len(shown)
    return ProtectPage(
        template="protect.html.j2",
        **title(
            run, f"{count(len(result.pictures), 'picture')} given back, changed by {result.budget:g} levels at most"
        ),
        lead=(
            f"By {result.method} against {result.surrogate}. No number of a saved file differs from its original by "
            f"more than {figures['largest_difference']} of 255 grey levels."
        ),
        loud=_loud(result),
        keys=_keys(result),
        warnings=run.warnings,
        pictures=[_card(run, result, one, album) for one in shown],
        unshown=f"{count(left, 'further picture')} in pictures.csv." if left else "",
        limits=LIMITS,
    )


def _loud(result: ProtectionResult) -> list[str]:
    plain = [one.name for one in result.pictures if _badge(one) == "plain to see"]
    messages = ["It raises the cost of imitation and does not prevent it; see what it does not do."]
    if plain:
        messages.append(
            f"The change is plain to see in {count(len(plain), 'picture')} (structural similarity below "
            f"{VISIBLE_SSIM:g}, or a change of {PLAIN_LEVELS} levels and more); a smaller budget, --flat or "
            "--least-ssim show less."
        )
    idle = [one.name for one in result.pictures if not one.objective_after > one.objective_before]
    if idle and result.budget:
        messages.append(f"{result.objective} did not rise in {', '.join(idle)}: nothing is protected there.")
    return messages


def _keys(result: ProtectionResult) -> list[Key]:
    figures = result.figures()
    before = sum(one.objective_before for one in result.pictures) / len(result.pictures)
    return [
        Key("Largest change", f"{figures['largest_difference']} of 255", f"budget {result.budget:g}"),
        Key("PSNR", decibels(figures["psnr"]), "mean over the pictures"),
        Key("SSIM", decimal(figures["ssim"], 3), "1 is no change"),
        Key(result.objective.capitalize(), decimal(before + figures["gain"], 3), f"{decimal(before, 3)} before"),
    ]


def _badge(one: ProtectedPicture) -> str:
    if not one.largest_difference:
        return "unchanged"
    return "plain to see" if one.ssim < VISIBLE_SSIM or one.largest_difference >= PLAIN_LEVELS else "faint"


def _card(run: RunData, result: ProtectionResult, one: ProtectedPicture, album: Album) -> Card:
    pictures = [
        Shown(album.thumb(run.folder / one.images[kind]), CAPTIONS[kind]) for kind in SHOWN if kind in one.images
    ]
    facts = [
        Row("largest change", f"{one.largest_difference} of 255"),
        Row("PSNR", decibels(one.psnr)),
        Row("SSIM", decimal(one.ssim, 3)),
        Row(f"{result.objective} before", decimal(one.objective_before, 3)),
        Row("after", decimal(one.objective_after, 3)),
    ]
    notes = "; ".join(one.notes)
    return Card(
        name=one.name,
        css="out",
        badge=_badge(one),
        pictures=pictures,
        facts=facts,
        score=decimal(one.ssim, 3),
        p_value="",
        truth=f"It {notes}." if notes else "",
    )
