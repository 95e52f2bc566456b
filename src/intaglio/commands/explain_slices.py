"""`intaglio explain slices METHOD`: groups of alike pictures on which a classifier errs more than on others."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ReadsNetwork
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.picture_features import FeatureSource
    from intaglio.explain.slices.balanced_weights import TaughtPictures
    from intaglio.explain.slices.family import SliceFinder
    from intaglio.explain.slices.result import ErrorSlices
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.models.scored_network import ScoredNetwork
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainSlices(ReadsNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Find groups of alike pictures on which a classifier errs more than on others, and test each.

    Half of the pictures find the groups, the other half tests them. Pictures are described by what the classifier
    looked at, or with --no-masked as they are. Give some hundred pictures with their true classes. The same command
    again goes on where a killed one was.

    With --taught, the pictures that the classifier learned from are weighed too: drawn by weights.csv in a further
    training, the slices that hold count as much as the rest of their class.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images", "taught")
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder; captions beside them serve caption-keywords."""
    labels: Path
    """True classes: a CSV file with a column picture and one named as --column says."""
    column: str = ""
    """Column of the true classes; empty takes that of the head's name."""
    taught: Path | None = None
    """Pictures that the classifier learned from, to be weighed for a further training: a folder."""
    taught_labels: Path | None = None
    """True classes of --taught; without it, --labels has these too."""
    head: str = ""
    """Head of the classifier that is asked, such as kind or artist; none takes its first."""
    similarity: str = ""
    """Encoder whose descriptors tell what is alike: embedded, or the path of a local one; empty takes what the
    classifier's head takes."""

    def check_early(self) -> None:
        """Raises `BadInput` for a network that is not there, and for an encoder without descriptors."""
        super().check_early()
        if self.taught_labels is not None and self.taught is None:
            raise BadInput("--taught-labels is of the pictures of --taught; give that folder too")
        if self.similarity == "ssim":
            raise BadInput("ssim has no descriptors to tell pictures apart by; give --similarity embedded, or leave it")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for labels that do not fit the pictures' names."""
        from intaglio.explain.picture_columns import read_labels

        if not self.skip_bad:
            read_labels(self.labels, [entry.name for entry in listed["images"].entries])
            if self.taught is not None:
                read_labels(self.taught_labels or self.labels, [entry.name for entry in listed["taught"].entries])

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.slices.cost import slices_plan
        from intaglio.explain.slices.family import truth_places
        from intaglio.explain.slices.result import WEIGHTS, ErrorSlices
        from intaglio.files import file_hash

        scored, network = self.read_network(self.device, self.head)
        if self._method.masked:
            scored.check_layers()
        images = self.load_pictures(self.images, self.side)
        truth = self._truth(self.labels, images, scored.head)
        truth_places(scored, truth)
        taught, learned = self._taught(scored)
        source, known = self._source(scored)
        plan = slices_plan(self._method, scored, source, images, 0 if taught is None else len(taught.images))
        if self.dry_run and self.ends_with(plan):
            return 0
        known |= {"network": network, "images": described(self.images, images.fingerprint)}
        known |= {"labels": described(self.labels, file_hash(self.labels)), **learned}
        own = {"head": scored.head, "column": self.column, "resolution": self.side}
        settings = {**asdict(cast(Any, self.method)), **own}
        with self.open_run("explain", f"slices-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(scored, source, images, truth, taught, run=run)
                _save_pictures(found, images, run)
                found.save(folder)
                run.finish(
                    found.figures(), (ErrorSlices.file, ErrorSlices.table, *([WEIGHTS] if taught else []), "images")
                )
        _report(cast("ErrorSlices", ErrorSlices.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "SliceFinder":
        return cast("SliceFinder", self.method)

    def _taught(self, scored: "ScoredNetwork") -> "tuple[TaughtPictures | None, dict[str, dict[str, str]]]":
        """The pictures to be weighed, and what they were read from."""
        from intaglio.explain.slices.balanced_weights import TaughtPictures
        from intaglio.explain.slices.family import truth_places
        from intaglio.files import file_hash

        if self.taught is None:
            return None, {}
        images, labels = self.load_pictures(self.taught, self.side), self.taught_labels or self.labels
        truth = self._truth(labels, images, scored.head)
        truth_places(scored, truth)
        known = {"taught": described(self.taught, images.fingerprint)}
        return TaughtPictures(images, truth), {**known, "taught_labels": described(labels, file_hash(labels))}

    def _truth(self, labels: Path, images: "ImageSet", head: str) -> list[str]:
        """True classes of the pictures. Raises `BadInput` for a column that there is not."""
        from intaglio.explain.picture_columns import read_labels

        columns = read_labels(labels, images.names)
        name = self.column or head
        if name not in columns:
            raise BadInput(f"{labels} has no column {name!r}; it has: {', '.join(columns)}; name one with --column")
        return columns[name]

    def _source(self, scored: "ScoredNetwork") -> "tuple[FeatureSource, dict[str, dict[str, str]]]":
        from intaglio.explain.picture_features import EncodedFeatures, LayerFeatures

        if not self.similarity:
            return LayerFeatures(scored), {}
        from intaglio.metrics.similarity.measures import Embedding, load_similarity

        encoder = cast(Embedding, load_similarity(self.similarity, self.device))
        return EncodedFeatures(encoder), {"similarity": described(self.similarity, encoder.hash)}


def _save_pictures(found: "ErrorSlices", images: "ImageSet", run: "Run") -> None:
    """Store the pictures that are most of each slice."""
    place = {name: k for k, name in enumerate(images.names)}
    for number, one in enumerate(found.groups):
        for k, name in enumerate(one.pictures):
            run.save_image(f"{number:02d}-{k:02d}", images.pixels[place[name]])


def _report(found: "ErrorSlices", folder: Path) -> None:
    """Print a line a slice, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            row["told"],
            str(row["inside"]),
            "-" if row["error_inside"] is None else f"{row['error_inside']:.0%}",
            "-" if row["error_outside"] is None else f"{row['error_outside']:.0%}",
            f"{row['q']:.2g}",
            f"{row['truth']} called {row['called']}",
        )
        for row in found.rows()
    ]
    say(aligned([("slice", "pictures", "wrong", "wrong outside", "q", "mostly"), *rows]))
    say()
    say(found.statement)
    if found.weighed:
        say(found.weighing)
    say(str(write_report(folder)))
