"""`intaglio explain concepts METHOD`: what pictures of a class share, and how much the class's score owes to it."""

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
    from intaglio.explain.concepts.family import ConceptFinder
    from intaglio.explain.concepts.result import Concepts
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class ExplainConcepts(ExplainsNetwork, DryRun, InRun, ReadsPictures, Generic[M]):
    """Find the concepts that pictures of a class share, ranked by how much a classifier's score of the class owes them.

    Concepts are shown by the crops that have most of them, and by where they lie in pictures. Give pictures of one
    class, some hundred. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.concepts.cost import concepts_plan
        from intaglio.explain.concepts.result import Concepts

        scored, network = self.load_network(self.device)
        images = self.load_pictures(self.images, self.side)
        called = scored.called(images.pixels).bincount()
        target = int(called.argmax()) if self.target is None else class_place(self.target, scored)
        plan = concepts_plan(self._method, scored, len(images))
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"network": network, "images": described(self.images, images.fingerprint)}
        settings = {**asdict(cast(Any, self.method)), **self.network_settings(scored, scored.classes[target])}
        with self.open_run("explain", f"concepts-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                for warning in images.warnings:
                    run.warn(warning)
                others = len(images) - int(called[target]) if target < len(called) else len(images)
                if others:
                    run.warn(
                        f"the classifier calls {others} of {len(images)} pictures something other than "
                        f"{scored.classes[target]}; concepts are of all pictures that are given"
                    )
                found = self._method(scored, images, target, run=run)
                for warning in found.warnings:
                    run.warn(warning)
                _save_pictures(found, images, run)
                found.save(folder)
                run.finish(found.figures(), ("concepts.safetensors", "concepts.csv", "images"))
        _report(cast("Concepts", Concepts.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "ConceptFinder":
        return cast("ConceptFinder", self.method)


def _save_pictures(found: "Concepts", images: "ImageSet", run: "Run") -> None:
    """Store the crops of each concept and part, and its maps over pictures."""
    from intaglio.explain.heat_maps import overlaid

    place = {name: k for k, name in enumerate(images.names)}
    for label, one in found.shown():
        for k, (name, top, left, side, _) in enumerate(one.examples):
            run.save_image(f"{label}-crop-{k}", images.pixels[place[name]][:, top : top + side, left : left + side])
        for k, (name, map_) in enumerate(zip(one.shown, one.maps, strict=True)):
            run.save_image(f"{label}-map-{k}", overlaid(map_, images.pixels[place[name]]))


def _report(found: "Concepts", folder: Path) -> None:
    """Print a line a concept and part, and write the report."""
    from intaglio.report import write_report

    say(aligned([("concept", "total effect", "95%", "most of it in"), *found.told(3)]))
    say()
    say(found.statement)
    say(str(write_report(folder)))
