"""`intaglio explain selectors METHOD`: a classifier that sees the pixels alone that it has chosen."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.label_inputs import ReadsLabels
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.printable import aligned, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.explain.selectors.family import PixelSelector
    from intaglio.explain.selectors.result import SelectedPixels
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")
SHOWN = 24
"""Held-out pictures of which masks are stored as pictures, at most."""


@dataclass(frozen=True, kw_only=True)
class ExplainSelectors(ReadsLabels, DryRun, InRun, ReadsPictures, Generic[M]):
    """Train a classifier on your labelled pictures that explains itself: it sees the pixels alone that a mask shows.

    A fifth of the pictures is held out. The report has the masks of these, the accuracy from what they show beside that
    of a plain classifier that sees whole pictures, and how much of the label what is left out still tells. The run's
    folder has the networks: predictor.safetensors and plain.safetensors, which `--network` of other commands takes, and
    selector.safetensors. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16."""

    def __post_init__(self) -> None:
        check_resolution(self.resolution)

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a table that does not fit the pictures' names, and for labels of too few pictures."""
        from intaglio.explain.kept_labels import LEAST, kept_labels

        if not self.skip_bad:
            column, texts, groups = self.label_texts([entry.name for entry in listed["images"].entries])
            kept_labels({column: texts}, groups, LEAST)

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.selectors.cost import selectors_plan
        from intaglio.explain.selectors.result import SelectedPixels
        from intaglio.files import file_hash

        images = self.load_pictures(self.images, self.resolution)
        column, texts, groups = self.label_texts(list(images.names))
        plan = selectors_plan(self._method, images, self._method.kept(column, texts, groups), self.device)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"images": described(self.images, images.fingerprint)}
        known |= {"labels": described(self.labels, file_hash(self.labels))}
        own = {"group": self.group, "resolution": self.resolution, "column": column}
        settings = {**asdict(cast(Any, self.method)), **own}
        with self.open_run("explain", f"selectors-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                found = self._method(images, column, texts, groups, device=self.device, run=run)
                _save_pictures(found.result, images, run)
                run.finish(found.result.figures(), (*found.save(folder), "images"))
                self._method.forget(run)
        _report(cast("SelectedPixels", SelectedPixels.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "PixelSelector":
        return cast("PixelSelector", self.method)


def _save_pictures(found: "SelectedPixels", images: "ImageSet", run: "Run") -> None:
    """Store some held-out pictures, each beside its mask as a heat map."""
    import torch

    from intaglio.explain.heat_maps import overlaid

    place = {name: k for k, name in enumerate(images.names)}
    for number, k in enumerate(found.shown(SHOWN)):
        pixels = images.pixels[place[found.names[k]]]
        mask = torch.from_numpy(found.masks[k]).float() / 255
        run.save_image(f"{number:02d}", torch.cat([pixels, overlaid(mask, pixels, 1.0)], 2))


def _report(found: "SelectedPixels", folder: Path) -> None:
    """Print a line a label, and write the report."""
    from intaglio.report import write_report

    numbers = ("right", "plain_right", "left_out_right", "area")
    rows = [
        (one_line(row["label"]), str(row["pictures"]), *(f"{row[name]:.2f}" for name in numbers))
        for row in found.rows()
    ]
    heads = ("pictures", "named right", "by the plain one", "from pixels not shown", "area")
    say(aligned([(one_line(found.column), *heads), *rows]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
