"""`intaglio explain heads METHOD`: classifiers on a network's frozen features that a person can follow."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.feature_inputs import ReadsFeatures
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.label_inputs import ReadsLabels
from intaglio.errors import BadInput
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.heads.family import ReadableHead
    from intaglio.explain.heads.result import HeadReadings
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainHeads(ReadsFeatures, ReadsLabels, DryRun, InRun, ReadsPictures, Generic[M]):
    """Fit a classifier on frozen features that a person can follow, and measure what that costs beside a linear one.

    Each picture is named by a head that was fitted without it, in folds; the linear head is asked on the same folds.
    The report has the accuracy of both, how many numbers a person reads for one picture, and the head itself: as
    pictures, rules, curves or heat maps. A method may train the network first, which must then be a .safetensors file;
    it names the pictures of one fold alone, and network.safetensors is the trained network, which --network of other
    commands reads. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""

    def check_early(self) -> None:
        """Raises `BadInput` for inputs that exclude or want each other."""
        self.check_source()
        if self.network is not None and not self.network.exists():
            raise BadInput(f"{self.network} does not exist; check the path of --network")

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for tables that do not fit the pictures' names, and for labels of too few pictures."""
        from intaglio.explain.kept_labels import LEAST, kept_labels
        from intaglio.explain.picture_columns import read_features

        if not self.skip_bad:
            names = [entry.name for entry in listed["images"].entries]
            column, texts, groups = self.label_texts(names)
            kept_labels({column: texts}, groups, LEAST)
            if self.features is not None:
                read_features(self.features, names)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.heads.cost import heads_plan
        from intaglio.explain.heads.result import FILE, TABLE, HeadReadings
        from intaglio.explain.heads.tuned_network import NETWORK_FILE
        from intaglio.files import file_hash

        images = self.load_pictures(self.images, self.side)
        source, known = self.feature_source(images, self.device)
        column, texts, groups = self.label_texts(list(images.names))
        plan = heads_plan(self._method, source, images, self._method.kept(column, texts, groups))
        if self.dry_run and self.ends_with(plan):
            return 0
        known |= {"images": described(self.images, images.fingerprint)}
        known |= {"labels": described(self.labels, file_hash(self.labels))}
        own = {name: getattr(self, name) for name in ("group", "layer", "resolution")}
        settings = {**asdict(cast(Any, self.method)), **own, "column": column}
        with self.open_run("explain", f"heads-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(source, images, column, texts, groups, run=run)
                _save_pictures(found, images, run)
                found.save(folder)
                further = () if found.tuned is None else (NETWORK_FILE,)
                run.finish(found.figures(), (FILE, TABLE, "images", *further))
                self._method.forget(run, len(images))
        _report(cast("HeadReadings", HeadReadings.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "ReadableHead":
        return cast("ReadableHead", self.method)


def _save_pictures(found: "HeadReadings", images: "ImageSet", run: "Run") -> None:
    """Store the pictures that the head is shown by, and heat maps of gates."""
    import torch

    from intaglio.explain.heads.head_pictures import gate_map

    place = {name: k for k, name in enumerate(images.names)}
    for number, (_, names) in enumerate(found.head.pictures):
        for k, name in enumerate(names):
            run.save_image(f"{number:02d}-{k}", images.pixels[place[name]])
    for number, (name, gates) in enumerate(found.head.gates):
        pixels = images.pixels[place[name]]
        run.save_image(f"gate-{number:02d}", torch.cat([pixels, gate_map(gates, pixels)], 2))


def _report(found: "HeadReadings", folder: Path) -> None:
    """Print a line a label and a network, and write the report."""
    from intaglio.explain.heads.result import network_lines
    from intaglio.explain.heads.tuned_network import NETWORK_FILE
    from intaglio.report import write_report

    rows = [
        (one_line(row["label"]), str(row["pictures"]), f"{row['right']:.2f}", f"{row['linear_right']:.2f}")
        for row in found.rows()
    ]
    say(aligned([(one_line(found.column), "pictures", "named right", "by the linear head"), *rows]))
    say()
    if found.networks:
        heads = ("network", "linear head", "few concepts", "interpretability")
        say(aligned([heads, *network_lines(found)]))
        say()
    say(found.statement)
    if found.tuned is not None:
        say(f"--network {folder / NETWORK_FILE}")
    say(str(write_report(folder)))
