"""`intaglio distill NAME`: a student of a model, which draws in fewer calls of the network."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, ReadsPictures, described, embedded_model
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.distill.distillation_set import DistillationSet
    from intaglio.distill.family import Distiller
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Distill(ModelAndLoRA, InRun, ReadsPictures, Generic[M]):
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
        distiller, prompts = self._distiller, self._texts()
        teacher = self._teacher()
        distiller.check(teacher)
        images = self._pictures(teacher)
        settings, inputs = self._settings(images is None), self._inputs(teacher, prompts, images)
        with self.open_run("distill", distiller.name, settings, inputs, seed=distiller.seed) as run:
            if run.status != "done":
                self._distil(distiller, teacher, images, prompts, run)
            for name, value in run.summary["facts"].items():
                note(f"{name.replace('_', ' '):<18} {value:.4g}")
            folder = (run.folder or Path()) / run.summary["model"]
            say(str(folder))
            note(f"it draws in {run.summary['sampling']}: intaglio sample --model {folder} --prompt ...")
        return 0

    def _distil(
        self,
        distiller: "Distiller",
        teacher: "LatentDiffusion",
        images: "DistillationSet | None",
        prompts: list[str],
        run: "Run",
    ) -> None:
        """Distils, and stores the student in the run's folder."""
        from intaglio.amounts import duration_words
        from intaglio.distill.distillation_set import OWN_STATE, DistillationSet
        from intaglio.sampling.plan import planned_seconds

        planned = distiller.planned(teacher)
        note(f"{planned}; about {duration_words(planned_seconds(planned, teacher, distiller.batch))} of training")
        data = images or DistillationSet.of_teacher(
            teacher, prompts, self.own, scale=self.own_guidance, seed=distiller.seed, run=run
        )
        found = distiller(teacher, data, run=run)
        folder = run.folder or Path()
        weights = found.save(folder)
        about = {"model": weights.relative_to(folder).as_posix(), "sampling": found.model.sampling.words}
        about |= {"calls": asdict(planned), "trained_on": data.source, "facts": dict(found.facts)}
        run.finish(about, ("model", "README.md"))
        for state in (OWN_STATE, *distiller.states):
            run.drop_state(state)

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
            raise BadInput(
                "give --images, a folder of pictures with captions, or --prompts of the model's own pictures"
            )
        from intaglio.models.testbed import real_pictures

        return [str(caption) for caption in real_pictures().captions]

    def _settings(self, own: bool) -> dict[str, Any]:
        of_own = {"own": self.own, "own_guidance": self.own_guidance} if own else {}
        return {**asdict(self._distiller), **of_own}

    def _inputs(
        self, teacher: "LatentDiffusion", prompts: list[str], images: "DistillationSet | None"
    ) -> dict[str, dict[str, str]]:
        from intaglio.runs.plain_json import digest

        found = {"model": described(self.model, teacher.fingerprint)}
        if images is not None:
            return {**found, "images": described(self.images, images.hash)}
        return {**found, "prompts": {"path": str(self.prompts or "prompts"), "sha256": digest(prompts)}}

    def _pictures(self, teacher: "LatentDiffusion") -> "DistillationSet | None":
        from intaglio.distill.distillation_set import DistillationSet

        if self.images is None:
            return None
        return DistillationSet.of_pictures(teacher, self.load_pictures(self.images, teacher.resolution))

    def _teacher(self) -> "LatentDiffusion":
        from intaglio.models.diffusion.loading import load_model

        model = load_model(
            self.model or embedded_model(),
            lora=self.lora,
            like=self.like,
            allow_unmatched=self.skip_unmatched,
            device=self.device,
        )
        for line in model.notes:
            note(line)
        return model
