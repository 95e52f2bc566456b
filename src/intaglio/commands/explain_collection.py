"""`intaglio explain collection METHOD`: a map of a collection of pictures, which is opened box by box."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.feature_inputs import ReadsFeatures
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.collection.family import CollectionMapper
    from intaglio.explain.collection.label_agreement import LabelColumn
    from intaglio.explain.collection.result import CollectionMap
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainCollection(ReadsFeatures, DryRun, InRun, ReadsPictures, Generic[M]):
    """Arrange a collection of pictures as a map of boxes, each of which opens into further ones.

    The report is a page with the map. Boxes are made from the pictures' features alone; captions name them, and labels,
    where they are given, say how pure they are. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder; captions beside them are used to name boxes."""
    labels: Path | None = None
    """Labels of pictures to measure boxes by: a CSV file with a column picture and others, such as kind."""
    predictions: Path | None = None
    """Answers of a classifier, in columns of the same names, for the share of wrong ones in a box."""

    def check_early(self) -> None:
        """Raises `BadInput` for inputs that exclude or want each other."""
        self.check_source()
        if self.predictions is not None and self.labels is None:
            raise BadInput("--predictions are wrong or right beside labels; give these with --labels")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for tables that do not fit the pictures' names."""
        from intaglio.explain.picture_columns import read_features

        names = [entry.name for entry in listed["images"].entries]
        self._label_texts(names)
        if self.features is not None and not self.skip_bad:
            read_features(self.features, names)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.collection.cost import collection_plan
        from intaglio.explain.collection.result import CollectionMap

        images = self.load_pictures(self.images, self.side)
        source, known = self.feature_source(images, self.device)
        columns = self._columns(images)
        plan = collection_plan(self._method, source, images, self.device)
        if self.dry_run and self.ends_with(plan):
            return 0
        settings = {**asdict(cast(Any, self.method)), "layer": self.layer, "resolution": self.side}
        known |= {"images": described(self.images, images.fingerprint), "captions": _captions(images), **self._tables()}
        with self.open_run("explain", f"collection-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(source, images, columns, run=run)
                _save_pictures(found, images, run)
                found.save(folder)
                kept = ("collection.safetensors", "boxes.csv", "pictures.csv", "tiles.webp", "images")
                run.finish(found.figures(), kept)
        _report(cast("CollectionMap", CollectionMap.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "CollectionMapper":
        return cast("CollectionMapper", self.method)

    def _label_texts(self, names: "list[str]") -> dict[str, tuple[list[str], list[str] | None]]:
        """Labels and answers by column. Raises `BadInput` for tables that do not fit the names or each other."""
        from intaglio.explain.picture_columns import read_labels

        if self.labels is None:
            return {}
        labels = read_labels(self.labels, names)
        answers = {} if self.predictions is None else read_labels(self.predictions, names)
        if self.predictions is not None and not answers.keys() & labels.keys():
            few = ", ".join(labels)
            raise BadInput(f"{self.predictions} has none of the columns of --labels ({few}); name them alike")
        return {name: (texts, answers.get(name)) for name, texts in labels.items()}

    def _columns(self, images: "ImageSet") -> "list[LabelColumn]":
        from intaglio.explain.collection.label_agreement import LabelColumn

        return [LabelColumn.of(name, *texts) for name, texts in self._label_texts(list(images.names)).items()]

    def _tables(self) -> dict[str, dict[str, str]]:
        from intaglio.files import file_hash

        given = {"labels": self.labels, "predictions": self.predictions}
        return {name: described(path, file_hash(path)) for name, path in given.items() if path is not None}


def _captions(images: "ImageSet") -> dict[str, str]:
    return described("beside the pictures", images.captions_hash)


def _save_pictures(found: "CollectionMap", images: "ImageSet", run: "Run") -> None:
    """Store the sheet of all tiles, and the picture of each box."""
    from intaglio.explain.collection.tile_sheet import SHEET, thumbnails, tile_sheet
    from intaglio.files import atomic_write

    place = {name: k for k, name in enumerate(images.names)}
    chosen = [place[found.names[one]] for one in found.tile_medoids]
    atomic_write(Path(run.folder or ".") / SHEET, tile_sheet(thumbnails(images.pixels[chosen]))[0])
    for number, one in enumerate(found.box_medoids):
        run.save_image(f"box-{number:02d}", images.pixels[place[found.names[one]]])


def _report(found: "CollectionMap", folder: Path) -> None:
    """Print a line a box, and write the report."""
    from intaglio.report import write_report

    names = [one.name for one in found.labels]
    rows = []
    for row in found.rows():
        told = [f"{row[name]} {row[f'{name} purity']:.2f}" if row[name] else "-" for name in names]
        rows.append((str(row["box"]), str(row["pictures"]), row["words"] or "-", *told, row["medoid"]))
    say(aligned([("box", "pictures", "commoner words", *names, "middle picture"), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
