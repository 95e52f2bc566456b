"""`intaglio sample train NAME`: a small trained part of the sampling of one model, as one file."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tyro

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan
    from intaglio.sampling.trained.captioned_latents import CaptionedLatents
    from intaglio.sampling.trained.family import PictureTrainer, SamplingTrainer

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class SampleTrain(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Train a small part of the sampling of one model, such as a start.

    Most parts are learnt from the model's own pictures of prompts, some from a folder of pictures with captions. The
    same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts of the model's own pictures, taken in turn; none takes the empty prompt."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    images: Path | None = None
    """Folder of pictures, each with a .txt file of its caption beside it, for the methods that learn from pictures."""

    def __post_init__(self):
        if self.prompt and self.prompts:
            raise ValueError("give --prompt or --prompts, not both")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        trainer: Any = self.method
        self._refuse_other_inputs(trainer)
        model = self.noted_model(self.device)
        learnt = self._learnt_from(model)
        trainer.check(model, learnt)
        settings = asdict(trainer) | {f"{name} sha256": found for name, found in trainer.hashes(model).items()}
        inputs = {"model": described(self.model, model.fingerprint), **self._named(learnt)}
        if self.dry_run and self.ends_with(self._plan(trainer, model, learnt)):
            return 0
        with self.open_run("sample", f"train-{trainer.name}", settings, inputs, seed=trainer.seed) as run:
            file = f"{trainer.name}.safetensors"
            if run.status != "done":
                self._train(trainer, model, learnt, run, file)
            for name, value in run.summary["facts"].items():
                note(f"{name.replace('_', ' '):<12} {_short(value)}")
            say(str((run.folder or Path()) / file))
        return 0

    def _train(self, trainer: Any, model: "LatentDiffusion", learnt: Any, run: "Run", file: str) -> None:
        """Trains, and stores the part in the run's folder."""
        planned = trainer.planned(model, learnt)
        self.begin(run, self._plan(trainer, model, learnt))
        part = trainer(model, learnt, run=run)
        part.save((run.folder or Path()) / file)
        run.finish({"part": file, "hash": part.hash, "calls": asdict(planned), "facts": dict(part.facts)}, (file,))
        for state in trainer.states_kept:
            run.drop_state(state)

    def _plan(self, trainer: Any, model: "LatentDiffusion", learnt: Any) -> "TimePlan":
        from intaglio.runs.time_plan import TimePlan
        from intaglio.sampling.plan import planned_seconds

        planned = trainer.planned(model, learnt)
        parts = {"calls": planned_seconds(planned, model, trainer.batch), **trainer.seconds_beside(model)}
        return TimePlan(parts, f"work       {planned}", at_most=len(parts) > 1)

    def _refuse_other_inputs(self, trainer: "SamplingTrainer | PictureTrainer") -> None:
        """Raises `BadInput` for prompts where pictures are learnt from, and the other way round."""
        from intaglio.sampling.trained.family import PictureTrainer

        name = trainer.name
        if isinstance(trainer, PictureTrainer):
            if self.images is None:
                raise BadInput(f"{name} learns from pictures; give --images, a folder of pictures with captions")
            if self.prompt or self.prompts:
                raise BadInput(f"{name} learns from pictures and their captions; leave --prompt and --prompts out")
        elif self.images is not None or self.skip_bad:
            raise BadInput(f"{name} learns from pictures that the model draws; leave --images and --skip-bad out")

    def _learnt_from(self, model: "LatentDiffusion") -> "list[str] | CaptionedLatents":
        """The prompts, or the latents of the pictures."""
        if self.images is None:
            return (list(self.prompt) if self.prompts is None else read_prompts(self.prompts)) or [""]
        from intaglio.sampling.trained.captioned_latents import CaptionedLatents

        return CaptionedLatents.of_pictures(model, self.load_pictures(self.images, model.resolution))

    def _named(self, learnt: "list[str] | CaptionedLatents") -> dict[str, dict[str, str]]:
        """That which the part is learnt from, as an input of the run."""
        from intaglio.runs.plain_json import digest

        if isinstance(learnt, list):
            return {"prompts": {"path": str(self.prompts or "prompts"), "sha256": digest(learnt)}}
        return {"images": described(self.images, learnt.hash)}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
