"""`intaglio explain METHOD`: which places of a picture a classifier's score comes from."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.commands.kit.network_inputs import ExplainsNetwork, class_place
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.family import Attributor
    from intaglio.explain.result import Attributions
    from intaglio.images.image_set import ImageSet
    from intaglio.models.scored_network import ScoredNetwork
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class Explain(ExplainsNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Show which places of each picture a classifier's score of a class comes from, as a heat map.

    Every map is tested: the picture is revealed in its order, and removed, and the class's probability on the way is
    set beside that of a random order. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder or a file."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.cost import explain_plan
        from intaglio.explain.result import Attributions

        scored, network = self.load_network(self.device)
        target = None if self.target is None else class_place(self.target, scored)
        self._method.check(scored)
        images = self.load_pictures(self.images, self.side)
        plan = explain_plan(self._method, scored, len(images))
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        settings = {**asdict(cast(Any, self.method)), **self.network_settings(scored, self.target)}
        with self.open_run("explain", self._method.name, settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                self._explain(scored, images, target, run)
        _report(cast("Attributions", Attributions.load(folder)), folder)
        return 0

    def _explain(self, scored: "ScoredNetwork", images: "ImageSet", target: int | None, run: "Run") -> None:
        from intaglio.explain.heat_maps import coloured, overlaid

        targets = scored.called(images.pixels).tolist() if target is None else [target] * len(images)
        found = self._method(scored, images, targets, run=run)
        for place, (pixels, one) in enumerate(zip(images.pixels, found.maps, strict=True)):
            shown = {"picture": pixels, "map": coloured(one), "overlay": overlaid(one, pixels)}
            for kind, picture in shown.items():
                run.save_image(f"{place:04d}-{kind}", picture)
        if empty := [one.name for one, map_ in zip(found.pictures, found.maps, strict=True) if not bool(map_.any())]:
            run.warn(f"no place of {', '.join(empty[:5])} moves the score, so that its map is empty")
        found.save(Path(run.folder or "."))
        run.finish(found.figures(), ("attributions.safetensors", "attributions.csv", "images"))
        self._method.forget(run, scored, images, targets)

    @property
    def _method(self) -> "Attributor":
        return cast("Attributor", self.method)


def _report(found: "Attributions", folder: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["picture"], row["class"], *(f"{row[name]:.2f}" for name in ("score", "insertion", "deletion", "chance")))
        for row in found.rows()[:MOST_ROWS]
    ]
    say(aligned([("picture", "class", found.score, "insertion", "deletion", "insertion by chance"), *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'attributions.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
