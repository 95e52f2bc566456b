"""`intaglio finetune METHOD`: pictures and a base in, tuned weights with their card out."""

import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import tyro

from intaglio.adapt.settings import Watch
from intaglio.commands.kit.console import command_line, note, quiet, say
from intaglio.errors import BadInput
from intaglio.verbs import VERBS

if TYPE_CHECKING:
    from intaglio.adapt.cost import Plan
    from intaglio.adapt.data import TrainingSet
    from intaglio.adapt.training import Trained
    from intaglio.images.image_set import ImageSet
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")
KEPT = 100
"""Pictures of the data that a run keeps as the model sees them, for its report."""
SHOWN = (
    "sample_prompt",
    "sample_count",
    "sample_steps",
    "sample_guidance",
    "watch_every",
    "watch_count",
    "watch_steps",
    "watch_similarity",
    "keep",
    "on_corruption",
)
"""What to watch that shows in the result, by its pictures or by the step that is kept; the rest never makes it another
run."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a fine-tune is made from, and where it goes."""

    images: Path
    """Folder of pictures; captions in .txt files of the same name, metadata.jsonl, or kohya folders such as 10_dog."""
    prompt: str | None = None
    """Prompt of every picture that has no caption of its own."""
    model: Path | None = None
    """A diffusers folder or a single .safetensors file; none takes the embedded testbed."""
    class_images: Path | None = None
    """Folder of class pictures, for prior preservation."""
    class_prompt: str | None = None
    """Prompt of the class pictures."""
    class_count: int = 0
    """Class pictures to draw from the base with the class prompt, in place of a folder of them."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    name: str | None = None
    """What the result is called on its card, and in kohya's layout in its file name; none takes the folder's name."""
    format: Literal["diffusers", "kohya"] = "diffusers"
    """Layout of a LoRA file."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, with a warning, in place of stopping."""
    dry_run: bool = False
    """Print the plan and stop."""


@dataclass(frozen=True, kw_only=True)
class FineTune(Watch, Inputs, Generic[M]):
    """Adapt a model from a few pictures. The same command again goes on where a killed one was."""

    method: tyro.conf.OmitArgPrefixes[M]
    watch_every: int | None = None
    """Judge pictures of fixed seeds every so many steps, for likeness to the training pictures and for noise; 0 never.
    None takes 100 steps or 40 for each picture, if that is more, and at most a tenth of all steps."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.adapt.watching import STATE as BEST
        from intaglio.learning.checkpoints import STATE
        from intaglio.models.diffusion.loading import load_model

        self._check()
        base = load_model(self.model or _testbed(), device=self.device)
        known = self._known_pictures(base.resolution)
        if self.dry_run:
            say(str(self._plan(base, known)))
            return 0
        with self._run(base, known) as run:
            if run.status != "done":
                for warning in _warnings(known):
                    run.warn(warning)
                plan = self._plan(base, known)
                note(str(plan))
                _keep(run, plan, known.images)
                self._tune(base, known, run)
            for state in (STATE, BEST):
                run.drop_state(state)
            say(str((run.folder or Path()) / run.summary["weights"]))
        return 0

    def _known_pictures(self, resolution: int) -> "TrainingSet":
        """All but the class pictures that are still to be drawn."""
        from intaglio.adapt.data import TrainingSet
        from intaglio.images.image_set import ImageSet

        images = ImageSet.load(self.images, resolution, skip_bad=self.skip_bad)
        if self.class_count:
            return TrainingSet(images, self.prompt)
        folder = self.class_images
        classes = None if folder is None else ImageSet.load(folder, resolution, skip_bad=self.skip_bad)
        return TrainingSet(images, self.prompt, classes, self.class_prompt)

    def _run(self, base: "LatentDiffusion", known: "TrainingSet") -> "Run":
        from intaglio.adapt.data import content_hash
        from intaglio.runs.run import Run

        inputs = {
            "model": {"path": str(self.model or "testbed"), "sha256": base.fingerprint},
            "images": {"path": str(self.images), "sha256": content_hash(known.images, known.prompts)},
        }
        if known.class_images is not None:
            sha256 = content_hash(known.class_images, known.class_prompts)
            inputs["class_images"] = {"path": str(self.class_images), "sha256": sha256}
        method: Any = self.method
        return Run.open(
            self.runs,
            "finetune",
            self._method_name,
            self._settings(),
            inputs,
            seed=method.seed,
            device=self.device,
            command=command_line(),
            progress="none" if quiet() else "auto",
        )

    def _tune(self, base: "LatentDiffusion", known: "TrainingSet", run: "Run") -> None:
        method: Any = self.method
        data = self._with_class_pictures(base, known, run)
        tuned = method(base, data, run=run, watch=self._watch)
        folder = run.folder or Path()
        weights = tuned.save(folder, layout=self.format, name=self._name)
        last = tuned.losses[-max(1, len(tuned.losses) // 10) :]
        run.finish(
            {
                "weights": str(weights.relative_to(folder)),
                "name": self._name,
                "prompt": data.trigger,
                "pictures": len(data.images),
                "steps": len(tuned.losses),
                "loss_last_tenth": float(last.nanmean()),
                **_seen(tuned.trained),
            }
        )

    def _with_class_pictures(self, base: "LatentDiffusion", known: "TrainingSet", run: "Run") -> "TrainingSet":
        from intaglio.adapt.data import generate_class_images

        if not self.class_count:
            return known
        method: Any = self.method
        drawn = generate_class_images(base, self.class_prompt or "", self.class_count, method.seed, run=run)
        return replace(known, class_images=drawn, class_prompt=self.class_prompt)

    def _plan(self, base: "LatentDiffusion", known: "TrainingSet") -> "Plan":
        # Class pictures still to be drawn take a step as long as any others do.
        method: Any = self.method
        if not self.class_count:
            return method.plan(base, known)
        stand_in = replace(known, class_images=known.images, class_prompt=self.class_prompt)
        return replace(method.plan(base, stand_in), class_pictures=self.class_count if method.prior_weight else 0)

    def _check(self) -> None:
        method: Any = self.method
        if self.class_count < 0:
            raise BadInput(f"--class-count must not be negative: {self.class_count}")
        if self.class_count and self.class_images is not None:
            raise BadInput("Give class pictures by --class-images, or have them drawn by --class-count, not both.")
        if self.class_count and self.class_prompt is None:
            raise BadInput("--class-count needs --class-prompt, the prompt that class pictures are drawn from.")
        if self.format == "kohya" and method.gives != "adapter":
            raise BadInput(f"--format kohya is a layout of LoRA files; {self._method_name} writes a diffusers folder.")
        if self.name is not None and not re.fullmatch(r"[\w. -]*\w", self.name):
            raise BadInput(f"--name {self.name!r} does not serve as a file name; use letters, digits, '-', '_'.")

    @property
    def _method_name(self) -> str:
        kind = type(self.method)
        target = f"{kind.__module__}:{kind.__qualname__}"
        return next(name for name, entry in VERBS["finetune"].methods.items() if entry.target == target)

    @property
    def _name(self) -> str:
        return self.name or re.sub(r"[^\w.-]+", "-", self.images.absolute().name).strip("-.") or "tuned"

    @property
    def _watch(self) -> Watch:
        return Watch(**{field.name: getattr(self, field.name) for field in fields(Watch)})

    def _settings(self) -> dict[str, Any]:
        own = ("prompt", "class_prompt", "class_count", "format", *SHOWN)
        method: Any = self.method
        return {**asdict(method), **{key: getattr(self, key) for key in own}, "name": self._name}


def _testbed() -> Path:
    from intaglio.models.testbed import base_path

    return base_path()


def _keep(run: "Run", plan: "Plan", images: "ImageSet") -> None:
    run.record("plan", "plan", asdict(plan))
    for name, picture in zip(images.names[:KEPT], images.pixels, strict=False):
        run.save_image(f"data/{name}", picture)


def _seen(trained: "Trained") -> dict[str, Any]:
    """What the judgements came to: the step that is exported, how it looked, and the corruption stages."""
    from intaglio.adapt.corruption import stages

    if not trained.curve:
        return {}
    kept = trained.kept or trained.curve[-1].step
    exported = next(judged for judged in trained.curve if judged.step == kept)
    return {
        "kept_step": kept,
        "fidelity": exported.fidelity,
        "quality": exported.quality,
        "corruption": [asdict(stage) for stage in stages(trained.curve)],
    }


def _warnings(known: "TrainingSet") -> list[str]:
    distinct = len(set(known.images.hashes))
    found = list(known.images.warnings) + list(known.class_images.warnings if known.class_images is not None else ())
    if distinct == 1:
        found.append(
            "one training picture: corruption comes early and copying soon after; look at the curve, keep best"
        )
    if pairs := known.images.duplicates():
        listed = ", ".join(f"{one} and {two}" for one, two in pairs)
        found.append(f"pictures that look the same weigh double in training: {listed}")
    return found
