"""The report of a readable head: its accuracy beside a linear head's, and what it is made of."""

from collections.abc import Sequence
from pathlib import Path

from intaglio.explain.heads.result import HeadReadings, network_lines
from intaglio.report.kit.format import count, title
from intaglio.report.kit.thumbnails import Album
from intaglio.report.kit.views import ConceptPage, Key, PageTable, Row, Shown
from intaglio.runs.read import RunData

LIMITS: Sequence[Row] = (
    Row(
        "The features stay unread",
        "A head is read, what its features are is not: the network below it is as closed as before. A person names "
        "them by the pictures that have most of one, and another may name them otherwise.",
    ),
    Row(
        "Sizes are no measure of insight",
        "Sixteen gates tell where a network looks, sixteen values of curves what speaks for a label. They are as many "
        "numbers and not the same explanation.",
    ),
    Row(
        "Judged in folds, shown whole",
        "The accuracy is of heads that were fitted without the pictures asked about; the head on this page is fitted "
        "to all of them.",
    ),
)


TRAINED: Sequence[Row] = (
    Row(
        "A network of these labels",
        "The trained network has one head, of these labels. It may have lost what it knew of others, and its score "
        "says nothing of whether a person would know its concepts.",
    ),
)


def page_of(run: RunData, page_folder: Path) -> ConceptPage | None:
    """The page of an `explain heads` run; None where nothing is finished yet."""
    found = HeadReadings.load(run.folder)
    if found is None:
        return None
    head = found.head
    album = Album(page_folder, sum(len(names) for _, names in head.pictures) + len(head.gates), run=run.folder)
    labels = PageTable(
        "Labels",
        [found.column, "pictures", "named right", "by the linear head"],
        [
            [row["label"], str(row["pictures"]), f"{row['right']:.2f}", f"{row['linear_right']:.2f}"]
            for row in found.rows()
        ],
    )
    made = PageTable("The head", list(head.heads), [list(row) for row in head.rows])
    text_of_labels = "The share of each label’s pictures that is named right by heads that were fitted without them."
    networks = PageTable(
        "The network before and after",
        ["network", "linear head", "few concepts", "interpretability"],
        [list(row) for row in network_lines(found)],
    )
    text = (
        f"Features are {found.features_of}: {count(found.places, 'place')} of {count(found.numbers, 'number')}. It is "
        f"of the {found.kind} family. {head.text}{_levels(found)}"
    )
    return ConceptPage(
        template="audit_concept.html.j2",
        **title(run, f"{found.column} by {found.method}"),
        lead=found.statement,
        keys=_keys(found),
        warnings=run.warnings,
        table=made,
        table_heading="The head",
        table_text=text,
        further=(_trained(found), networks) if found.tuned else (text_of_labels, labels),
        pictures=_pictures(found, run, album),
        pictures_text=_pictures_text(found),
        limits=[*LIMITS, *(TRAINED if found.tuned else ())],
    )


def _keys(found: HeadReadings) -> list[Key]:
    low, high = found.interval
    below, above = found.difference_interval
    keys = [
        Key("Accuracy", f"{found.accuracy:.2f}", f"95% {low:.2f} to {high:.2f}; a guess {found.chance:.2f}"),
        Key("Beside the linear head", f"{found.difference:+.2f}", f"95% {below:+.2f} to {above:+.2f}"),
        Key("To read for a picture", f"{found.size:.1f}".removesuffix(".0"), "numbers"),
    ]
    if found.iis is not None:
        keys.append(Key("Interpretability", f"{found.iis:.2f}", f"of {found.levels[-1]:.2f} where nothing is lost"))
    return keys


def _trained(found: HeadReadings) -> str:
    tuned = found.tuned
    learnt = 0 if tuned is None else tuned.learnt
    return (
        f"Answers on {count(len(found.truth), 'picture')} that were held out, by heads that were fitted to the other "
        f"{learnt}: on features of the network as it was, after it had learnt these labels from the other pictures, "
        "and after it had learnt them through few of its concepts too. Concepts were found anew for each. Few concepts "
        "are those that are left at the sparsity that was asked for."
    )


def _levels(found: HeadReadings) -> str:
    if not found.levels:
        return ""
    pairs = zip(found.levels, found.level_accuracies, strict=True)
    told = ", ".join(f"{level:g}: {accuracy:.2f}" for level, accuracy in pairs)
    return f" Accuracy by the share of concepts left out: {told}; of the linear head {found.linear_accuracy:.2f}."


def _pictures(found: HeadReadings, run: RunData, album: Album) -> list[tuple[str, list[Shown]]]:
    images = run.folder / "images"
    shown = [
        (heading, [Shown(album.thumb(images / f"{number:02d}-{k}.png"), name) for k, name in enumerate(names)])
        for number, (heading, names) in enumerate(found.head.pictures)
    ]
    gates = [
        Shown(album.thumb(images / f"gate-{number:02d}.png"), name) for number, (name, _) in enumerate(found.head.gates)
    ]
    return [*shown, *([("Gates", gates)] if gates else [])]


def _pictures_text(found: HeadReadings) -> str:
    if found.head.gates:
        return "A picture of each label beside its gates: red is let through, white is not."
    return "Pictures by which the head can be read, among those that it was fitted to."
