"""`intaglio merge NAME MODEL MODEL ...`: one model of several that come from one base."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import tyro
from tyro.conf import Positional

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ReadsPictures, described
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.denoising.picture_samples import PictureSamples
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan
    from intaglio.shrink.merging.family import Merger
    from intaglio.shrink.merging.merge_run import MergeJob

M = TypeVar("M")
DRAWS = 16
"""Timesteps and noises of each picture by which models are judged."""


@dataclass(frozen=True, kw_only=True)
class Merge(DryRun, InRun, ReadsPictures, Generic[M]):
    """Make one model of several that come from one base.

    A method that merges what models learned since their base takes it from --base, or else from the first word. The
    same command again goes on where a killed one was.
    """

    models: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="MODEL MODEL ...")]
    """Fine-tunes of one base: diffusers folders, single .safetensors files, or with a base also LoRAs. Where a method
    needs a base and --base is not given, the first word is the base."""
    method: tyro.conf.OmitArgPrefixes[M]
    base: Path | None = None
    """The model that all were tuned from. A LoRA among the words is taken on top of it."""
    like: Path | None = None
    """A diffusers folder that gives models what they lack, such as the tokenizer of a single file."""
    skip_unmatched: bool = False
    """Use the layers of a LoRA that fit, with a warning on the rest, in place of stopping."""
    images: Path | None = None
    """Folder of held-out pictures, on which no model was trained, to judge all models by their denoising loss. Where
    the method chooses models by pictures, one half of them chooses, and the other half judges."""
    prompt: str | None = None
    """Prompt of the pictures that are drawn, and of held-out ones without a caption of their own; none is no prompt."""
    samples: int = 4
    """Pictures of equal seeds that each model draws, 0 or more."""
    picture_seed: int = 0
    """Seed of these pictures, and of the draws that models are judged by, 0 or more."""
    batch: int = 8
    """Pictures drawn and samples judged at once, at least 1."""

    def __post_init__(self) -> None:
        if self.samples < 0:
            raise ValueError(f"samples must be at least 0, not {self.samples}")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")
        if not 0 <= self.picture_seed < 2**62:
            raise ValueError(f"picture_seed must be 0 to 2**62 - 1, not {self.picture_seed}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.report import write_report
        from intaglio.shrink.merging.merge_run import merge
        from intaglio.shrink.merging.merged_weights import drop_states

        check_count("--samples", self.samples)
        if self._merger.needs_pictures and self.images is None:
            raise BadInput(f"{self._merger.name} chooses by held-out pictures; give --images, a folder of them")
        models, base = self._models()
        self._merger.check(models, base)
        pictures = None if self.images is None else self.load_pictures(self.images, models[0].resolution)
        if self.dry_run and self.ends_with(_plan(self._job(models, base, pictures))):
            return 0
        with self._open(models, base, pictures) as run:
            if run.status != "done":
                for warning in (*_notes(models, base), *(() if pictures is None else pictures.warnings)):
                    run.warn(warning)
                job = self._job(models, base, pictures)
                self.begin(run, _plan(job))
                run.record("plan", "plan", job.plan())
                merge(job, run)
            drop_states(models[0], run)
            for line in _lines(run.summary):
                note(line)
            folder = run.folder or Path()
            say(str(folder / run.summary["weights"]))
            say(str(write_report(folder)))
        return 0

    @property
    def _merger(self) -> "Merger":
        return cast("Merger", self.method)

    @property
    def _paths(self) -> tuple[list[Path], Path | None]:
        """The models and the base: that of the flag, or where a method needs one the first word."""
        if self.base is None and self._merger.needs_base:
            if not self.models:
                raise BadInput(f"{self._merger.name} needs a base and models; give the base as the first word")
            return list(self.models[1:]), self.models[0]
        return list(self.models), self.base

    def _models(self) -> "tuple[list[LatentDiffusion], LatentDiffusion | None]":
        """The models, LoRAs on top of the base, and the base. Raises `BadInput` for as many as cannot be merged."""
        from intaglio.models.diffusion.loading import is_lora, load_model

        paths, base_path = self._paths
        self._merger.check_count(len(paths))
        if base_path is None and (loras := [path for path in paths if path.exists() and is_lora(path)]):
            raise BadInput(f"{loras[0]} is a LoRA and no model of its own; give the model it was made for as --base")
        base = None if base_path is None else load_model(base_path, like=self.like, device=self.device)
        like = self.like if base is None else base
        models = [
            load_model(path, like=like, allow_unmatched=self.skip_unmatched, device=self.device) for path in paths
        ]
        given = [*zip(paths, models, strict=True), *(() if base is None or base_path is None else ((base_path, base),))]
        _tell_apart(given)
        return models, base

    def _open(
        self, models: "list[LatentDiffusion]", base: "LatentDiffusion | None", pictures: "ImageSet | None"
    ) -> "Run":
        from intaglio.shrink.merging.merge_run import run_hashes

        paths, base_path = self._paths
        roles: dict[str, Path | None] = {f"model_{k}": path for k, path in enumerate(paths)}
        roles |= {"base": base_path, "images": self.images}
        seen = () if pictures is None else tuple(zip(pictures.hashes, self._prompts(pictures), strict=True))
        inputs = {role: described(roles[role], sha) for role, sha in run_hashes(models, base, seen).items()}
        own = {name: getattr(self, name) for name in ("prompt", "samples", "picture_seed", "batch")}
        settings = {**asdict(self._merger), **own}
        return self.open_run("merge", self._merger.name, settings, inputs, seed=settings.get("seed", 0))

    def _prompts(self, pictures: "ImageSet") -> list[str]:
        return [caption if caption is not None else self.prompt or "" for caption in pictures.captions]

    def _job(
        self, models: "list[LatentDiffusion]", base: "LatentDiffusion | None", pictures: "ImageSet | None"
    ) -> "MergeJob":
        from intaglio.shrink.merging.held_out_split import held_out_halves
        from intaglio.shrink.merging.merge_run import MergeJob

        choosing, judging = None, None
        if pictures is not None:
            halves = None, range(len(pictures))
            if self._merger.needs_pictures:
                halves = held_out_halves(pictures.hashes)
            choosing, judging = (None if half is None else self._samples(models[0], pictures[half]) for half in halves)
        drawing = (self.prompt or "", self.samples, self.picture_seed, self.batch)
        return MergeJob(self._merger, models, base, choosing, judging, *drawing)

    def _samples(self, model: "LatentDiffusion", pictures: "ImageSet") -> "PictureSamples":
        from intaglio.denoising.picture_samples import picture_samples

        return picture_samples(model, pictures.pixels, self._prompts(pictures), DRAWS, self.picture_seed)


def _tell_apart(given: "list[tuple[Path, LatentDiffusion]]") -> None:
    """Leads a name that several models have by its folder's, such as that of a run, and by its place if need be."""
    for by_folder in (True, False):
        names = [model.name for _, model in given]
        for k, (path, model) in enumerate(given):
            if names.count(names[k]) > 1:
                model.name = f"{path.absolute().parent.name}/{names[k]}" if by_folder else f"{names[k]} ({k + 1})"


def _notes(models: "list[LatentDiffusion]", base: "LatentDiffusion | None") -> list[str]:
    """Notes on the models as they were read, each once."""
    given = [*models, *(() if base is None else (base,))]
    return list(dict.fromkeys(line for model in given for line in model.notes))


def _plan(job: "MergeJob") -> "TimePlan":
    from intaglio.amounts import size_words
    from intaglio.runs.time_plan import TimePlan

    plan = job.plan()
    base = "" if job.base is None else f" and the base {job.base.name}"
    lines = [
        f"models     {', '.join(model.name for model in job.models)}{base}",
        f"weights    {size_words(plan['bytes_before'])} before, {size_words(plan['bytes_after'])} after",
        f"work       {job.planned}, beside the merging",
    ]
    if job.choosing is not None and job.judging is not None:
        chosen, judged = len(job.choosing.latents), len(job.judging.latents)
        lines.append(f"images     {chosen} choose the models, {judged} others judge the result")
    return TimePlan({"work": plan["seconds"]}, "\n".join(lines))


def _lines(summary: dict[str, Any]) -> list[str]:
    """The result in a few lines, for people."""
    if (judged := summary["losses"]) is None:
        return ["no held-out pictures were given, so nothing says what the merge costs; give --images for that"]
    names = {f"model-{k}": row["model"] for k, row in enumerate(summary["models"])}
    mean = _with_interval(judged["merged"], "loss")
    lines = [f"loss     {mean} of the merged model, on {judged['pictures']} held-out pictures"]
    for row in judged["others"]:
        lines.append(
            f"         {row['loss']:.4g} of {names.get(row['model'], 'the base')}; the merged one's less it "
            f"{_with_interval(row, 'merged_less_it', '+')}"
        )
    return lines


def _with_interval(row: dict[str, Any], name: str, sign: str = "") -> str:
    value, found = row[name], row[f"{name}_interval_95"]
    shown = f"{value:{sign}.4g}"
    return shown if found is None else f"{shown} ({found[0]:{sign}.4g} to {found[1]:{sign}.4g} with 95%)"
