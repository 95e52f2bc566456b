"""`intaglio audit attribution METHOD`: the known source that made a picture, or none of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described, short_number
from intaglio.commands.kit.named_paths import named_paths
from intaglio.commands.kit.picture_sides import check_resolution
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.attribution.family import SourceAttributor
    from intaglio.audit.attribution.fitted_sources import FittedSources
    from intaglio.audit.attribution.result import SourceScores
    from intaglio.audit.attribution.source_models import Models
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.runs.run import Run

M = TypeVar("M")
MOST_ROWS = 40
"""Pictures of the printed table."""
MOST_SOURCES = 50
"""Sources of one command, at most."""
FITTED = "attributor"
"""Folder, in that of the run, of what was fitted."""
LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif"})
"""Suffixes of formats that may leave traces of their own."""


@dataclass(frozen=True, kw_only=True)
class AuditAttribution(DryRun, InRun, ReadsPictures, Generic[M]):
    """Tell which of several known sources made a picture, or that none of them did.

    A source is a folder of its pictures: of a model, a way to sample it, an artist. A part of each is held out, and
    gives the rate at which a source's pictures are attributed to another. The same command again resumes one that was
    killed; what was fitted is kept in the run's folder, and --fitted takes it from there.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    source: tuple[str, ...] = ()
    """Sources, two or more, as NAME=FOLDER; each of some hundred pictures, in one format and size for all."""
    images: Path
    """The pictures to attribute: a folder or a file."""
    fitted: Path | None = None
    """Folder attributor of an earlier run, in place of --source; its settings are taken."""
    model: tuple[str, ...] = ()
    """Models of sources, as NAME=MODEL with a source's name, for a method that asks them: each a diffusers folder, a
    .safetensors file, a LoRA's too, or an embedded model. A source may have none."""
    like: Path | None = None
    """A diffusers folder that gives what a model lacks; the base of a LoRA."""
    fpr: float = 0.05
    """Share of a source's pictures that may be attributed to another, at most; above 0 and below 1."""
    resolution: int | None = None
    """Pixels of a side to which all pictures are read, 16 or more; none takes the smallest picture's shorter side. A
    picture of that side is only cropped, any other resized, which takes traces away."""

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")
        check_resolution(self.resolution)

    picture_folders: ClassVar[tuple[str, ...]] = ("images",)

    def check_early(self) -> None:
        """Raises `BadInput` for sources that are no two folders of pictures, or that are given beside a fit, and for
        words that name no model of a source.
        """
        named = self._models
        if self.fitted is not None:
            if self.source:
                raise BadInput("the sources are those of --fitted, so --source would have no effect; leave it out")
            if self.resolution is not None:
                raise BadInput("pictures are read as those of --fitted were; leave --resolution out")
            return
        if unknown := [name for name in named if name not in self._folders]:
            raise BadInput(
                f"there is no source called {unknown[0]}, whose model is given; call it as one of: "
                f"{', '.join(self._folders)}"
            )
        self._listed_sources  # noqa: B018 - lists the folders

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.attribution.cost import attribution_plan
        from intaglio.audit.attribution.result import SourceScores
        from intaglio.audit.attribution.source_models import check_models, check_same

        models = self._loaded_models()
        if self.fitted is not None:
            method, fitted = self._stored(self.fitted)
            images = self.load_pictures(self.images, fitted.size[0])
            inputs = {"fitted": described(self.fitted, fitted.hash)}
            sources: Mapping[str, ImageSet] = {}
        else:
            method, fitted = self._method, None
            side = self._side
            images = self.load_pictures(self.images, side)
            sources = {name: self.load_pictures(folder, side) for name, folder in self._folders.items()}
            inputs = {
                f"source {name}": described(self._folders[name], one.fingerprint) for name, one in sources.items()
            }
        check_models(method, fitted.sources if fitted is not None else sorted(sources), models)
        if fitted is not None:
            check_same(fitted, models)
        inputs |= {f"model {name}": described(self._models[name], one.fingerprint) for name, one in models.items()}
        counts = {name: len(one) for name, one in sources.items()}
        plan = attribution_plan(method, counts, len(images), images.pixels.shape[-1], models)
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(method, inputs, images) as run:
            if run.status != "done":
                self.begin(run, plan)
                for warning in dict.fromkeys((*self._warnings(sources), *images.warnings)):
                    run.warn(warning)
                self._attribute(method, fitted, sources, images, models, run)
        folder = Path(run.folder or ".")
        _report(cast(SourceScores, SourceScores.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "SourceAttributor":
        return cast("SourceAttributor", self.method)

    @cached_property
    def _folders(self) -> dict[str, Path]:
        """The folder of each source. Raises `BadInput` for words that name none."""
        found = named_paths("--source", self.source, "NAME=FOLDER", "sources")
        if not 2 <= len(found) <= MOST_SOURCES:
            raise BadInput(
                f"sources are told from each other: give 2 to {MOST_SOURCES} with --source NAME=FOLDER, or what was "
                "fitted with --fitted"
            )
        return found

    @cached_property
    def _models(self) -> dict[str, Path]:
        """The model of each source that has one. Raises `BadInput` for words that name none."""
        return named_paths("--model", self.model, "NAME=MODEL", "models")

    def _loaded_models(self) -> "Models":
        """The models of sources, read. Raises `BadInput` where the method asks none, or lacks some."""
        from intaglio.commands.kit.inputs import noted
        from intaglio.models.diffusion.loading import load_model

        if self.model and not self._method.needs_models:
            raise BadInput(
                f"{self._method.name} looks at pictures alone, so a model would have no effect; leave --model out"
            )
        if self._method.needs_models and not self.model:
            raise BadInput(f"{self._method.name} asks the sources' models; give one or more with --model NAME=MODEL")
        return {
            name: noted(load_model(path, like=self.like, device=self.device)) for name, path in self._models.items()
        }

    @cached_property
    def _listed_sources(self) -> "dict[str, Listing]":
        from intaglio.images.folder import list_pictures

        return {name: list_pictures(folder) for name, folder in self._folders.items()}

    @cached_property
    def _sides(self) -> dict[str, set[int]]:
        """Shorter sides of the pictures of each source, pixels, as far as they can be opened."""
        from intaglio.images.picture_file import shorter_side

        return {
            name: {side for entry in listing.entries if (side := shorter_side(entry.path)) is not None}
            for name, listing in self._listed_sources.items()
        }

    @property
    def _side(self) -> int:
        if self.resolution is not None:
            return self.resolution
        smallest = min((side for sides in self._sides.values() for side in sides), default=16)
        return max(16, smallest)

    def _stored(self, folder: Path) -> "tuple[SourceAttributor, FittedSources]":
        """The fit in a folder, and the method with the settings of then."""
        from intaglio.audit.attribution.fitted_sources import FittedSources

        fitted = FittedSources.load(folder, self._method.name)
        try:
            return replace(self._method, **fitted.own_settings), fitted
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"{folder} has settings that {self._method.name} does not take ({error}); fit again"
            ) from None

    def _open(self, method: "SourceAttributor", inputs: Mapping[str, Any], images: "ImageSet") -> "Run":
        settings = {**asdict(method), "fpr": self.fpr, "side": images.pixels.shape[-1]}
        whole = {**inputs, "images": described(self.images, images.fingerprint)}
        return self.open_run("audit", f"attribution-{method.name}", settings, whole, seed=method.seed)

    def _warnings(self, sources: "Mapping[str, ImageSet]") -> list[str]:
        """Warnings of the sources' files: their own, of formats, of sizes."""
        found = [f"{name}: {warning}" for name, images in sources.items() for warning in images.warnings]
        if not sources:
            return found
        listed = self._listed_sources
        lossy = {name: {Path(one.name).suffix.lower() in LOSSY for one in listed[name].entries} for name in sources}
        if len({frozenset(kinds) for kinds in lossy.values()}) > 1:
            named = ", ".join(name for name, kinds in lossy.items() if True in kinds)
            found.append(
                f"pictures of {named} are stored with losses and others are not, which tells them apart by itself; "
                "save all in one format from the first"
            )
        resized = [name for name, sides in self._sides.items() if sides - {self._side}]
        if resized:
            found.append(
                f"pictures of {', '.join(resized)} were resized to {self._side} pixels, which takes traces of a source "
                "away and leaves others; give pictures of one size"
            )
        return found

    def _attribute(
        self,
        method: "SourceAttributor",
        fitted: "FittedSources | None",
        sources: "Mapping[str, ImageSet]",
        images: "ImageSet",
        models: "Models",
        run: "Run",
    ) -> None:
        from intaglio.audit.attribution.audit import attribute_pictures

        folder = Path(run.folder or ".")
        found = fitted or method.fit(sources, models=models, run=run)
        scores = attribute_pictures(method, found, images, models=models, rate=self.fpr, run=run)
        if scores.too_few:
            run.warn(
                f"too few pictures of {', '.join(scores.too_few)} are held out to rule it out at a rate of "
                f"{self.fpr:g}, so that it fits every picture; give more pictures, or a larger --held-out or --fpr"
            )
        if seen := sum(scores.seen):
            run.warn(
                f"{seen} of the pictures {'is' if seen == 1 else 'are'} among those of the sources; their p-values "
                "mean nothing"
            )
        found.save(folder / FITTED)
        scores.save(folder)
        pictures = ("images",) if scores.pictures else ()
        run.finish(scores.figures(), ("attribution.json", "attribution.csv", FITTED, *pictures))
        method.forget(run)


def _report(found: "SourceScores", folder: Path) -> None:
    """Print the verdict of each picture, and write the report."""
    from intaglio.report import write_report

    rows = []
    for i, name in enumerate(found.names[:MOST_ROWS]):
        best = int(found.log_posterior[i].argmax())
        likely = f"{found.sources[best]} ({short_number(float(found.log_posterior[i, best].exp()))})"
        rows.append((name, found.verdict(i), likely, short_number(float(found.p[i, best]))))
    say(aligned([("picture", "attributed to", "most probable", "its p"), *rows]))
    if (left := len(found.names) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'attribution.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
