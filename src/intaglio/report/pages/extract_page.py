"""The report of an extraction: what stands out, each returned picture, and the groups of the base alone."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from intaglio.extract.result import ExtractionResult, ReturnedPicture, TrainingMatch
from intaglio.report.kit.charts import Dot, Strip, strip_plot
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Card, ExtractPage, Key, Row, Shown
from intaglio.runs.read import RunData

MAX_CARDS = 60
"""Most finds shown with their pictures."""
NEAR_ZERO = 0.1
"""Thresholds below this are said to be near zero: unrelated pictures may reach them."""
FURTHER_MEMBERS = 2
"""Further members of a group that are shown beside its picture."""


def page_of(run: RunData, page_folder: Path) -> ExtractPage | None:
    """The page of an `extract` run; None where nothing was extracted yet."""
    result = ExtractionResult.load(run.folder)
    return None if result is None else extract_page(run, result, page_folder)


def extract_page(run: RunData, result: ExtractionResult, page_folder: Path) -> ExtractPage:
    """The page of an `extract` run; `page_folder` is where it will lie."""
    finds, null = result.finds[:MAX_CARDS], result.null
    pictures = (1 + FURTHER_MEMBERS) * len(finds) + (len(null.images) if null else 0)
    album = Album(page_folder, pictures, run=run.folder)
    groups = zip(null.images, null.sizes, strict=True) if null else ()
    return ExtractPage(
        template="extract.html.j2",
        **title(run, _headline(result)),
        lead=f"{result.statement} {_drawn_text(run, result)}",
        keys=_keys(result),
        warnings=run.warnings,
        finds=[_card(run, result, find, album) for find in finds],
        finds_text=_finds_text(result, len(finds)),
        strip_wide=_strips(result, 1040, "plot big"),
        strip_narrow=_strips(result, 380, "plot small"),
        groups_text=_groups_text(result),
        control=[Shown(album.thumb(run.folder / path), count(size, "alike picture")) for path, size in groups],
        control_text=f"Groups of the {null.drawn if null else 0} pictures that the base drew, the largest first.",
        evaluation=_coverage_rows(result),
        threat=_threat(run, result),
        limits=LIMITS,
    )


def _headline(result: ExtractionResult) -> str:
    reported, returned = result.reported, len(result.finds)
    if not returned:
        return "Nothing was drawn again and again"
    if reported is None:
        return f"{count(returned, 'picture')} returned, without a control"
    if not reported:
        return f"None of {count(returned, 'returned picture')} stands out from what the base draws"
    verb = "stands" if reported == 1 else "stand"
    return f"{reported} of {count(returned, 'returned picture')} {verb} out from the base"


def _drawn_text(run: RunData, result: ExtractionResult) -> str:
    prompts = (run.run.get("settings") or {}).get("prompt") or []
    words = " and ".join(f"“{prompt}”" for prompt in prompts)
    under = f"under {words}" if words else "without a prompt"
    return f"{count(result.drawn, 'picture')} {result.reading}, {under}."


def _keys(result: ExtractionResult) -> list[Key]:
    known = result.coverage
    largest = max((find.size for find in result.finds), default=0)
    beside = f"{max(result.null.sizes, default=0)} in the base’s largest group" if result.null else ""
    keys = [Key("Pictures in the largest group", str(largest), beside)]
    if result.reported is not None:
        asked = f"at a false-discovery rate of at most {rate_text(result.fdr)}"
        keys.insert(0, Key("Stand out from the base", f"{result.reported} of {len(result.finds)}", asked))
    if known is not None:
        near = f"of {count(known.training, 'training picture')} with the nearest returned one"
        keys.append(Key("Mean similarity", decimal(known.average_similarity, 3), near))
        if (rate := known.rates["strict"]) is not None:
            above = f"above {decimal(known.strict, 3)}, which 1 in 1,000 pairs of other pictures exceeds"
            keys.append(Key("Extracted", rate_text(rate), above))
    excluded = sum(result.excluded.values())
    keys.append(Key("Drawn", str(result.drawn), f"{excluded} left out" if excluded else "none left out"))
    return keys


def _card(run: RunData, result: ExtractionResult, find: ReturnedPicture, album: Album) -> Card:
    stands, match = result.stands_out(find), find.match
    pictures = [Shown(album.thumb(run.folder / find.image), "returned")]
    if match is not None:
        pictures.append(Shown(album.thumb(run.folder / match.nearest_image), "nearest training picture"))
    others = [seed for seed in find.members if seed != find.seed][: FURTHER_MEMBERS - (match is not None)]
    drawn = run.folder / "images" / "drawn"
    pictures += [Shown(album.thumb(drawn / f"{seed:07d}.png"), "of the same group") for seed in others]
    facts = [Row("alike pictures", str(find.size)), Row("similarity within", decimal(find.cohesion, 2))]
    if find.q_value is not None:
        facts.append(Row("q", decimal(find.q_value, 2)))
    unlike = "no control" if find.q_value is None else "not told from the base"
    return Card(
        name=f"seed {find.seed}",
        css="in" if stands else "out",
        badge="stands out from the base" if stands else unlike,
        pictures=pictures,
        facts=facts,
        score=decimal(find.score, 4),
        p_value="",
        truth="" if match is None else _match_text(match),
    )


def _match_text(match: TrainingMatch) -> str:
    text = f"Similarity {decimal(match.similarity, 2)} with {match.nearest}"
    if match.held_out is not None:
        text += f", {decimal(match.held_out, 2)} with the nearest picture that was not trained on"
    if match.match_q is not None:
        text += f"; such a match by chance: {rate_text(match.match_q)} (q)"
    return f"{text}."


def _finds_text(result: ExtractionResult, shown: int) -> str:
    left = len(result.finds) - shown
    more = f" {left} more are in extraction.json." if left else ""
    return (
        f"Each stands for a group of pictures of which every two have a similarity of at least "
        f"{decimal(result.threshold, 2)}; the larger a group, the surer the find.{_near_zero(result)}{more}"
    )


def _near_zero(result: ExtractionResult) -> str:
    """That the threshold is near zero and what this means; empty where it is not.

    The threshold is the lowest that gives the number of groups sought (`threshold_for`): it falls towards zero where
    the pictures fall into so many groups whatever is asked of them.
    """
    if result.threshold >= NEAR_ZERO:
        return ""
    return (
        " That threshold is near zero: these pictures fall into as many groups as were sought even where hardly any "
        "likeness is asked for, so a group may hold pictures with nothing in common. Look at the similarity within "
        "each, and at the pictures themselves."
    )


def _groups_text(result: ExtractionResult) -> str:
    if result.null is None:
        return "How many pictures fell into each group. No control was drawn, so chance cannot be told from knowledge."
    return (
        "How many pictures fell into each group of two and more, beside the same search in as many pictures of the "
        "base alone, with the same seeds. A find’s q is the false-discovery rate of reporting it and all larger ones."
    )


def _strips(result: ExtractionResult, width: int, classes: str) -> Markup | str:
    """The sizes of the suspect's groups and of the base's, on one scale."""
    standing = {find.score for find in result.finds if result.stands_out(find)}

    def kind(score: float) -> str:
        return "in" if any(abs(score - other) < 1e-9 for other in standing) else "out"

    strips = [Strip("groups of the suspect’s pictures", _dots(result.scores, kind))]
    if result.null is not None:
        strips.append(Strip("groups of the base’s pictures", _dots(result.null.scores, lambda score: "ctl")))
    if not any(strip.dots for strip in strips):
        return ""
    return strip_plot(strips, (), "pictures in the group", width, classes)


def _dots(scores: Sequence[float], kind: Callable[[float], str]) -> list[Dot]:
    """A mark for each group of two and more."""
    return [Dot(score, f"{math.floor(score)} pictures", kind(score)) for score in scores if score >= 2]


def _coverage_rows(result: ExtractionResult) -> list[Row]:
    known = result.coverage
    if known is None:
        return []
    rows = [
        Row("training pictures", str(known.training)),
        Row("returned pictures", str(known.extracted)),
        Row("average similarity (AS)", decimal(known.average_similarity, 3)),
    ]
    for name, at, share in (("loose", known.loose, "1 in 100"), ("strict", known.strict, "1 in 1,000")):
        rate, value = known.rates[name], "too few held-out pictures to fit a threshold"
        if rate is not None:
            pairs = f"{share} pairs of a training and a held-out picture exceed"
            value = f"{rate_text(rate)} above {decimal(at, 3)}, which {pairs}"
        rows.append(Row(f"extraction rate (A-ESR), {name}", value))
    return rows


def _threat(run: RunData, result: ExtractionResult) -> list[Row]:
    authority = (run.run.get("settings") or {}).get("authority")
    return [
        Row("By what right", str(authority or "not stated")),
        Row("Suspect", "its weights, of which predictions of noise were asked"),
        Row("Base", "the weights of the model that it was tuned from"),
        Row("Prompt", "known, or thought to be" if result.prompted else "not known"),
        Row("Training pictures", "used to measure, not to find" if result.coverage else "not used"),
    ]


LIMITS: Sequence[Row] = (
    Row(
        "Standing out is not yet a copy",
        "A find is something that the suspect draws again and again and its base does not. Whether it is a picture of "
        "the training set only that set can show.",
    ),
    Row(
        "Nothing found is no proof of safety",
        "More pictures, another prompt, another scale or another method may find what this run did not, and large "
        "training sets, low ranks and short fine-tunes hide theirs well.",
    ),
    Row(
        "What the base knows is not found",
        "A picture that the base itself draws again and again is in the control too, and no evidence of the fine-tune.",
    ),
    Row(
        "The right base is assumed",
        "With another base the guidance follows the difference of the two bases, and the control is another model’s.",
    ),
    Row(
        "The encoder decides what is alike",
        "Thresholds belong to one encoder and one kind of picture; those published for another mean nothing here.",
    ),
)
