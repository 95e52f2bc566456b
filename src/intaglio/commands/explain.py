"""`intaglio explain METHOD`: which places of a picture a classifier's score comes from."""

from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say, table
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.explain.family import Attributor
    from intaglio.explain.result import Attributions
    from intaglio.images.image_set import ImageSet
    from intaglio.models.scored_network import ScoredNetwork
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_NAMED = 10
"""Classes of an error's sentence."""
MOST_ROWS = 40
"""Pictures of the printed table."""


@dataclass(frozen=True, kw_only=True)
class Explain(DryRun, InRun, ReadsPictures, Generic[M]):
    """Show which places of each picture a classifier's score of a class comes from, as a heat map.

    Every map is tested: the picture is revealed in its order, and removed, and the class's probability on the way is
    set beside that of a random order. The same command again goes on where a killed one was.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)
    method: tyro.conf.OmitArgPrefixes[M]
    images: Path
    """The pictures: a folder or a file."""
    network: Path | None = None
    """The classifier: a .safetensors file that Intaglio wrote, a folder of transformers with an image classifier, or a
    TorchScript file; none takes the embedded one of kinds and artists of emoji."""
    head: str = ""
    """Head of the classifier that is explained, such as kind or artist; none takes its first."""
    target: str | None = None
    """Class whose score is explained in all pictures, by its name; none takes each picture's likeliest."""
    score: Literal["log-odds", "logit", "probability"] = "log-odds"
    """The explained number: log p / (1 - p) of the class, the network's own logit, or p, which is flat where the class
    is sure."""
    resolution: int = 64
    """Pixels of a side to which pictures are read, from 16; the classifier's own."""

    def __post_init__(self) -> None:
        if self.resolution < 16:
            raise ValueError(f"resolution must be 16 or more, not {self.resolution}")

    def check_early(self) -> None:
        """Raises `BadInput` for a network that is not there."""
        if self.network is not None and not self.network.exists():
            raise BadInput(f"{self.network} does not exist; check the path of --network")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.cost import explain_plan
        from intaglio.explain.result import Attributions
        from intaglio.models import testbed
        from intaglio.models.image_classification import load_scored, network_hash

        path = self.network or testbed.classifier_path()
        scored = load_scored(path, self.head, score=self.score, side=self.resolution, device=self.device)
        target = None if self.target is None else class_place(self.target, scored)
        self._method.check(scored)
        images = self.load_pictures(self.images, self.resolution)
        plan = explain_plan(self._method, scored, len(images))
        if self.dry_run and self.ends_with(plan):
            return 0
        known: dict[str, Any] = {"network": described(path, network_hash(path))}
        known["images"] = described(self.images, images.fingerprint)
        settings = {
            **asdict(cast(Any, self.method)),
            "head": scored.head,
            "target": self.target,
            "score": self.score,
            "resolution": self.resolution,
        }
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


def class_place(name: str, scored: "ScoredNetwork") -> int:
    """The place of a class. Raises `BadInput` for a name that there is not, and for one that several have."""
    if scored.classes.count(name) == 1:
        return scored.classes.index(name)
    if name in scored.classes:
        raise BadInput(f"--target {name} names {scored.classes.count(name)} classes of the head {scored.head}")
    near = get_close_matches(name, scored.classes, MOST_NAMED, 0.5) or scored.classes[:MOST_NAMED]
    raise BadInput(f"--target {name} is no class of the head {scored.head}; some of them: {', '.join(near)}")


def _report(found: "Attributions", folder: Path) -> None:
    """Print a line a picture, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["picture"], row["class"], *(f"{row[name]:.2f}" for name in ("score", "insertion", "deletion", "chance")))
        for row in found.rows()[:MOST_ROWS]
    ]
    say(table([("picture", "class", found.score, "insertion", "deletion", "insertion by chance"), *rows]))
    if (left := len(found.pictures) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'attributions.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
