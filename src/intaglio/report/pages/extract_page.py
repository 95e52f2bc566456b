"""Report page of `extract`: the finds that stand out, each returned picture, the base's pictures as the null."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from intaglio.errors import BadInput
from intaglio.report.kit.charts import Dot, Strip, strip_plot
from intaglio.report.kit.format import count, decimal, rate_text, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import Card, ExtractPage, Key, Row, Shown
from intaglio.runs.read import RunData, read_json

FILE = "extraction.json"
MAX_CARDS = 60
"""Most finds that are shown."""
FURTHER_MEMBERS = 2
"""Further members of a group that are shown beside its picture."""


def page_of(run: RunData, page_folder: Path) -> ExtractPage | None:
    """The page of an `extract` run; None where nothing was extracted yet."""
    found = read_extraction(run)
    return None if found is None else extract_page(run, found, page_folder)


def read_extraction(run: RunData) -> dict[str, Any] | None:
    """The result that `intaglio.extract.audit` stored in the run; None before it has."""
    path = run.folder / FILE
    if not path.is_file():
        return None
    found = read_json(path)
    if missing := [key for key in ("finds", "statement", "drawn", "scores", "threshold") if key not in found]:
        raise BadInput(f"{path} lacks {missing[0]}; run the extraction again with this version.")
    return found


def extract_page(run: RunData, found: Mapping[str, Any], page_folder: Path) -> ExtractPage:
    """The page of an `extract` run; `page_folder` is the folder of the HTML file."""
    finds = found["finds"][:MAX_CARDS]
    control = found.get("control") or {}
    album = Album(page_folder, (1 + FURTHER_MEMBERS) * len(finds) + len(control.get("images", ())))
    return ExtractPage(
        template="extract.html.j2",
        **title(run, _headline(found)),
        lead=f"{found['statement']} {_how(run, found)}",
        keys=_keys(found),
        warnings=run.warnings,
        finds=[_card(run, found, find, album) for find in finds],
        finds_text=_finds_text(found, len(finds)),
        strip_wide=_strips(found, 1040, "plot big"),
        strip_narrow=_strips(found, 380, "plot small"),
        groups_text=_groups_text(found),
        control=[
            Shown(album.thumb(run.folder / path), count(size, "alike picture"))
            for path, size in zip(control.get("images", ()), control.get("sizes", ()), strict=True)
        ],
        control_text=f"Groups of the {control.get('drawn')} pictures that the base drew, the largest first.",
        evaluation=_evaluation(found),
        threat=_threat(run, found),
        limits=LIMITS,
    )


def _headline(found: Mapping[str, Any]) -> str:
    told, returned = found.get("told"), len(found["finds"])
    if not returned:
        return "Nothing was drawn again and again"
    if told is None:
        return f"{count(returned, 'picture')} returned, without a control"
    if not told:
        return f"None of {count(returned, 'returned picture')} stands out from what the base draws"
    return f"{told} of {count(returned, 'returned picture')} {'stands' if told == 1 else 'stand'} out from the base"


def _how(run: RunData, found: Mapping[str, Any]) -> str:
    prompts = (run.run.get("settings") or {}).get("prompt") or []
    words = " and ".join(f"“{prompt}”" for prompt in prompts)
    said = f"under {words}" if words else "without a prompt"
    return f"{count(found['drawn'], 'picture')} {found.get('reading') or 'drawn'}, {said}."


def _keys(found: Mapping[str, Any]) -> list[Key]:
    control, known = found.get("control"), found.get("evaluation")
    largest = max((find["size"] for find in found["finds"]), default=0)
    beside = "" if control is None else f"{max(control['sizes'], default=0)} in the base’s largest group"
    keys = [Key("Pictures in the largest group", str(largest), beside)]
    if found.get("told") is not None:
        asked = f"at a false-discovery rate of at most {rate_text(found['fdr'])}"
        keys.insert(0, Key("Stand out from the base", f"{found['told']} of {len(found['finds'])}", asked))
    if known is not None:
        near = f"of {count(known['training'], 'training picture')} with the nearest returned one"
        keys.append(Key("Mean similarity", decimal(known["average_similarity"], 3), near))
        if known["rates"]["strict"] is not None:
            above = f"above {decimal(known['strict'], 3)}, which 1 in 1,000 pairs of other pictures exceeds"
            keys.append(Key("Extracted", rate_text(known["rates"]["strict"]), above))
    excluded = sum(found["excluded"].values())
    keys.append(Key("Drawn", str(found["drawn"]), f"{excluded} left out" if excluded else "none left out"))
    return keys


def _card(run: RunData, found: Mapping[str, Any], find: Mapping[str, Any], album: Album) -> Card:
    q, known = find.get("q_value"), "nearest_image" in find
    stands = q is not None and q <= found["fdr"]
    pictures = [Shown(album.thumb(run.folder / find["image"]), "returned")]
    if known:
        pictures.append(Shown(album.thumb(run.folder / find["nearest_image"]), "nearest training picture"))
    others = [seed for seed in find["members"] if seed != find["seed"]][: FURTHER_MEMBERS - known]
    drawn = run.folder / "images" / "drawn"
    pictures += [Shown(album.thumb(drawn / f"{seed:07d}.png"), "of the same group") for seed in others]
    facts = [Row("alike pictures", str(find["size"])), Row("similarity within", decimal(find["cohesion"], 2))]
    if q is not None:
        facts.append(Row("q", decimal(q, 2)))
    return Card(
        name=f"seed {find['seed']}",
        css="in" if stands else "out",
        badge="stands out from the base" if stands else "not told from the base" if q is not None else "no control",
        pictures=pictures,
        facts=facts,
        score=decimal(find["score"], 4),
        p_value="",
        truth=_match(find),
    )


def _match(find: Mapping[str, Any]) -> str:
    if "nearest" not in find:
        return ""
    said = f"Similarity {decimal(find['similarity'], 2)} with {find['nearest']}"
    if find.get("held_out") is not None:
        said += f", {decimal(find['held_out'], 2)} with the nearest picture that was not trained on"
    if find.get("match_q") is not None:
        said += f"; such a match by chance: {rate_text(find['match_q'])} (q)"
    return f"{said}."


def _finds_text(found: Mapping[str, Any], shown: int) -> str:
    left = len(found["finds"]) - shown
    more = f" {left} more are in extraction.json." if left else ""
    return (
        f"Each stands for a group of pictures of which every two have a similarity of at least "
        f"{decimal(found['threshold'], 2)}; the larger a group, the surer the find.{more}"
    )


def _groups_text(found: Mapping[str, Any]) -> str:
    if found.get("control") is None:
        return "How many pictures fell into each group. No control was drawn, so chance cannot be told from knowledge."
    return (
        "How many pictures fell into each group of two and more, beside the same search in as many pictures of the "
        "base alone, with the same seeds. A find’s q is the false-discovery rate of reporting it and all larger ones."
    )


def _strips(found: Mapping[str, Any], width: int, classes: str) -> Any:
    told = {find["score"] for find in found["finds"] if (find.get("q_value") or 1.0) <= found["fdr"]}
    strips = [Strip("groups of the suspect’s pictures", _dots(found["scores"], lambda s: _among(s, told)))]
    if (control := found.get("control")) is not None:
        strips.append(Strip("groups of the base’s pictures", _dots(control["scores"], None)))
    if not any(strip.dots for strip in strips):
        return ""
    return strip_plot(strips, None, "pictures in the group", width, classes)


def _dots(scores: Sequence[float], stands: Callable[[float], bool] | None) -> list[Dot]:
    """A dot for each group of two and more pictures; `stands` is None for the base's groups."""
    kinds = {True: "in", False: "out", None: "ctl"}
    return [Dot(s, f"{math.floor(s)} pictures", kinds[stands(s) if stands else None]) for s in scores if s >= 2]


def _among(score: float, told: set[float]) -> bool:
    return any(abs(score - other) < 1e-9 for other in told)


def _evaluation(found: Mapping[str, Any]) -> list[Row]:
    known = found.get("evaluation")
    if known is None:
        return []
    rows = [
        Row("training pictures", str(known["training"])),
        Row("returned pictures", str(known["extracted"])),
        Row("average similarity (AS)", decimal(known["average_similarity"], 3)),
    ]
    for name, share in (("loose", "1 in 100"), ("strict", "1 in 1,000")):
        rate, at = known["rates"][name], known[name]
        value = (
            "too few held-out pictures to fit a threshold"
            if rate is None
            else (
                f"{rate_text(rate)} above {decimal(at, 3)}, which {share} pairs of a training and a held-out picture "
                "exceed"
            )
        )
        rows.append(Row(f"extraction rate (A-ESR), {name}", value))
    return rows


def _threat(run: RunData, found: Mapping[str, Any]) -> list[Row]:
    authority = (run.run.get("settings") or {}).get("authority")
    return [
        Row("By what right", str(authority or "not stated")),
        Row("Suspect", "its weights, of which predictions of noise were asked"),
        Row("Base", "the weights of the model that it was tuned from"),
        Row("Prompt", "known, or thought to be" if found["captioned"] else "not known"),
        Row("Training pictures", "used to measure, not to find" if found.get("evaluation") else "not used"),
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
