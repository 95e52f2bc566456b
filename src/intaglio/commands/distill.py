"""`intaglio distill NAME`: a student of a model, which draws in fewer calls of the network."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.distill.distillation_set import DistillationSet
    from intaglio.distill.family import Distiller
    from intaglio.distill.student_run import OwnPictures
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Distill(DryRun, ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
    """Train a student of a model, which draws in fewer calls of the network.

    It is trained on pictures with captions, or on pictures that the model draws for prompts. The same command again
    goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    images: Path | None = None
    """Folder of pictures to train on, each with a .txt file of its caption beside it; none takes the model's own."""
    prompt: tuple[str, ...] = ()
    """Prompts of the model's own pictures, taken in turn; the embedded model has captions for where none is given."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    own: int = 512
    """The model's own pictures that are drawn to train on, at least 1."""
    own_guidance: float = 3.0
    """Guidance scale of these pictures, 0 or more, 1 for none."""

    def __post_init__(self):
        if (sources := bool(self.images) + bool(self.prompt) + bool(self.prompts)) > 1:
            raise ValueError(f"give one of --images, --prompt and --prompts, not {sources} of them")
        if self.own < 1:
            raise ValueError(f"--own must be at least 1, not {self.own}")
        if not 0 <= self.own_guidance < float("inf"):
            raise ValueError(f"--own-guidance must be 0 or more, and finite, not {self.own_guidance}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.distill.student_run import distil, run_hashes, run_settings

        distiller, prompts = self._distiller, self._texts()
        teacher = self.noted_model(self.device)
        distiller.check(teacher)
        source = self._source(teacher, prompts)
        paths = {"model": self.model, "images": self.images, "prompts": self.prompts or "prompts"}
        inputs = {name: described(paths[name], sha256) for name, sha256 in run_hashes(teacher, source).items()}
        settings = run_settings(distiller, source)
        if self.dry_run and self.ends_with(self._plan(teacher, source)):
            return 0
        with self.open_run("distill", distiller.name, settings, inputs, seed=distiller.seed) as run:
            if run.status != "done":
                self.begin(run, self._plan(teacher, source))
                distil(distiller, teacher, source, run)
            for name, value in run.summary["facts"].items():
                note(f"{name.replace('_', ' '):<18} {value:.4g}")
            folder = (run.folder or Path()) / run.summary["model"]
            say(str(folder))
            method = f" {name}" if (name := run.summary.get("method")) else ""
            place = shlex.quote(str(folder))
            note(f"it draws in {run.summary['sampling']}: intaglio sample{method} --model {place} --prompt ...")
        return 0

    def _plan(self, teacher: "LatentDiffusion", source: "OwnPictures | DistillationSet") -> "TimePlan":
        from intaglio.distill.student_run import drawing_calls
        from intaglio.runs.time_plan import TimePlan
        from intaglio.sampling.plan import planned_seconds

        planned, rows = self._distiller.planned(teacher), self._distiller.batch
        parts = {"training": planned_seconds(planned, teacher, rows)}
        if (drawn := drawing_calls(teacher, source)).forward:
            parts = {"pictures to train on": planned_seconds(drawn, teacher, rows), **parts}
        return TimePlan(parts, f"work       {planned}")

    @property
    def _distiller(self) -> "Distiller":
        return cast("Distiller", self.method)

    def _texts(self) -> list[str]:
        """The prompts of the model's own pictures; those of the embedded model's captions where none are given."""
        if self.images is not None:
            return []
        if given := list(self.prompt) if self.prompts is None else read_prompts(self.prompts):
            return given
        if self.model is not None or self.lora is not None:
            raise BadInput("give --images, a folder of pictures with captions, or --prompts for the model to draw")
        from intaglio.models.testbed import real_pictures

        return [str(caption) for caption in real_pictures().captions]

    def _source(self, teacher: "LatentDiffusion", prompts: list[str]) -> "OwnPictures | DistillationSet":
        from intaglio.distill.distillation_set import DistillationSet
        from intaglio.distill.student_run import OwnPictures

        if self.images is None:
            return OwnPictures(tuple(prompts), self.own, self.own_guidance)
        return DistillationSet.of_pictures(teacher, self.load_pictures(self.images, teacher.resolution))
