"""`intaglio audit unlearning METHOD`: a model without a concept, and what is left of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

import tyro

from intaglio.adapt.picture_prompts import picture_prompts
from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, short_number
from intaglio.commands.kit.source_settings import class_variable
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.unlearning.concept import Concept
    from intaglio.audit.unlearning.family import Unlearner
    from intaglio.audit.unlearning.result import UnlearningRecord
    from intaglio.images.folder import Listing
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan
    from intaglio.sampling.trained.captioned_latents import CaptionedLatents

M = TypeVar("M")
MOST_ROWS = 40
"""Prompts of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditUnlearning(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Make a model without a concept or without given pictures, and measure what is left.

    The result is a model's folder that every other command takes. Both models are compared on pictures that the given
    one draws, of the concept's prompts and of kept ones, or on those that are forgotten and that stay. The same command
    again resumes one that was killed.
    """

    picture_folders: ClassVar[tuple[str, ...]] = ("forget", "retain")
    method: tyro.conf.OmitArgPrefixes[M]
    concept: tuple[str, ...] = ()
    """Prompts of the concept that is unlearned, such as an artist's style; one at least. Where pictures are forgotten
    none, or the prompt of those without a caption."""
    anchor: tuple[str, ...] = ("",)
    """Prompts that take its place, one for all or one for each; the empty one is the model's picture of no prompt."""
    keep: tuple[str, ...] = ()
    """Prompts whose pictures shall stay as they are. Where pictures are forgotten none, or the prompt of those that
    stay and have no caption."""
    forget: Path | None = None
    """Folder of pictures of the concept, for a method that learns from them; none takes the model's own. For a method
    that forgets pictures the folder of these."""
    retain: Path | None = None
    """Folder of pictures of what is to stay, for a method that learns from them; none takes the model's own of --keep.
    For a method that forgets pictures all others that the model was tuned on."""
    pictures: int = 8
    """Pictures of each prompt that both models are compared on, at least 1; given ones are all compared."""
    shown: int = 2
    """Pictures of each prompt, by each model, that the report shows, 0 to --pictures."""
    picture_seed: int = 0
    """Seed of these pictures, and of the noise that they are judged at, 0 or more."""

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise ValueError(f"pictures must be at least 1, not {self.pictures}")
        if not 0 <= self.shown <= self.pictures:
            raise ValueError(f"shown must be 0 to {self.pictures}, which is --pictures, not {self.shown}")
        if not 0 <= self.picture_seed < 2**62:
            raise ValueError(f"picture_seed must be 0 to 2**62 - 1, not {self.picture_seed}")

    def check_early(self) -> None:
        """Raises `BadInput` for prompts that say nothing to unlearn, or contradict each other, or for no pictures."""
        kind = type(self.method)
        target = f"{kind.__module__}:{kind.__name__}"
        if class_variable(target, "forgets") == "pictures":
            name = target.partition(":")[0].rpartition(".")[2].replace("_", "-")
            self._concept.check_beside_pictures(name, forget=self.forget is not None, retain=self.retain is not None)
        else:
            self._concept.check()

    def check_listed(self, listed: "Mapping[str, Listing]") -> None:
        """Raises `BadInput` for a picture without a prompt."""
        for flag, listing in listed.items():
            entries = listing.entries
            self._prompts(flag, [one.name for one in entries], [one.caption for one in entries])

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.unlearning.audit import forget_states
        from intaglio.audit.unlearning.result import UnlearningRecord

        given = {"forget": self.forget is not None, "retain": self.retain is not None}
        self._method.check_concept(self._concept, **given)
        model = self.noted_model(self.device)
        self._method.check(model)
        images = {flag: self._images(flag, model) for flag in self.picture_folders}
        plan = self._plan(model, {flag: len(one or ()) for flag, one in images.items()})
        if self.dry_run and self.ends_with(plan):
            return 0
        with self._open(model, images) as run:
            if run.status != "done":
                warnings = [line for one in images.values() if one is not None for line in one.warnings]
                for warning in dict.fromkeys((*model.notes, *warnings)):
                    run.warn(warning)
                self.begin(run, plan)
                self._unlearn(model, images, run)
            forget_states(self._method, run)
        folder = Path(run.folder or ".")
        _report(cast(UnlearningRecord, UnlearningRecord.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "Unlearner":
        return cast("Unlearner", self.method)

    @property
    def _concept(self) -> "Concept":
        from intaglio.audit.unlearning.concept import Concept

        return Concept(self.concept, self.anchor, self.keep)

    def _prompts(self, flag: str, names: list[str], captions: list[str | None]) -> tuple[str, ...]:
        """Prompts of pictures: their captions, else the first of --concept or of --keep."""
        prompts, spelt = (self.concept, "concept") if flag == "forget" else (self.keep, "keep")
        return picture_prompts(names, captions, prompts[0] if prompts else None, spelt)

    def _images(self, flag: str, model: "LatentDiffusion") -> "ImageSet | None":
        path = getattr(self, flag)
        return None if path is None else self.load_pictures(path, model.resolution)

    def _plan(self, model: "LatentDiffusion", given: dict[str, int]) -> "TimePlan":
        from intaglio.audit.unlearning.cost import unlearning_plan

        return unlearning_plan(self._method, model, self._concept, **given, pictures=self.pictures, shown=self.shown)

    def _open(self, model: "LatentDiffusion", images: "dict[str, ImageSet | None]") -> "Run":
        from intaglio.runs.plain_json import digest

        known: dict[str, Any] = {"model": described(self.model, model.fingerprint)}
        for flag, one in images.items():
            if one is not None:
                prompts = self._prompts(flag, list(one.names), list(one.captions))
                known[flag] = described(getattr(self, flag), digest([one.hashes, prompts]))
        own = {name: getattr(self, name) for name in ("concept", "anchor", "keep", "pictures", "shown", "picture_seed")}
        settings = {**asdict(cast(Any, self.method)), **own}
        return self.open_run("audit", f"unlearning-{self._method.name}", settings, known, seed=settings.get("seed"))

    def _unlearn(self, model: "LatentDiffusion", images: "dict[str, ImageSet | None]", run: "Run") -> None:
        from intaglio.audit.unlearning.audit import audit_unlearning
        from intaglio.audit.unlearning.result import CARD, FILE, MODEL

        sets = {flag: self._latents(flag, model, one) for flag, one in images.items()}
        options: dict[str, Any] = {"pictures": self.pictures, "shown": self.shown, "seed": self.picture_seed}
        found = audit_unlearning(self._method, model, self._concept, **sets, **options, run=run)
        found.save(Path(run.folder or "."))
        drawn = ("images",) if self.shown else ()
        run.finish({**found.record.figures(), "weights": MODEL}, (MODEL, CARD, FILE, *drawn))

    def _latents(self, flag: str, model: "LatentDiffusion", images: "ImageSet | None") -> "CaptionedLatents | None":
        from intaglio.denoising.examples import Examples
        from intaglio.sampling.trained.captioned_latents import CaptionedLatents

        if images is None:
            return None
        prompts = self._prompts(flag, list(images.names), list(images.captions))
        return CaptionedLatents(Examples.of(model, images, prompts).latents, prompts)


def _report(found: "UnlearningRecord", folder: Path) -> None:
    """Print the evidence of each prompt before and after, and write the report."""
    from intaglio.report import write_report

    rows = [
        (row["part"], *(short_number(row[name]) for name in ("evidence_before", "evidence_after")), row["prompt"])
        for row in found.rows[:MOST_ROWS]
    ]
    say(aligned([("part", "evidence", "after", "prompt"), *rows]))
    if (left := len(found.rows) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'unlearned.json'}")
    say()
    say(found.statement)
    say(str(folder / "model"))
    say(str(write_report(folder)))
