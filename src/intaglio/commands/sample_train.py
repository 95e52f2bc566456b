"""`intaglio sample train NAME`: a small trained part of the sampling of one model, as one file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import note, say
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.commands.kit.prompt_lines import read_prompts

if TYPE_CHECKING:
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.sampling.trained.family import SamplingTrainer

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class SampleTrain(ModelAndLoRA, InRun, Generic[M]):
    """Train a small part of the sampling of one model, such as a start, from the model's own pictures.

    The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts of the model's own pictures, taken in turn; none takes the empty prompt."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""

    def __post_init__(self):
        if self.prompt and self.prompts:
            raise ValueError("give --prompt or --prompts, not both")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.runs.plain_json import digest

        trainer, prompts = self._trainer, self._texts()
        model = self.noted_model(self.device)
        trainer.check(model, prompts)
        settings = {**asdict(trainer), **trainer.hashes(model)}
        inputs = {
            "model": described(self.model, model.fingerprint),
            "prompts": {"path": str(self.prompts or "prompts"), "sha256": digest(prompts)},
        }
        with self.open_run("sample", f"train-{trainer.name}", settings, inputs, seed=trainer.seed) as run:
            file = f"{trainer.name}.safetensors"
            if run.status != "done":
                self._train(trainer, model, prompts, run, file)
            for name, value in run.summary["facts"].items():
                note(f"{name.replace('_', ' '):<12} {_short(value)}")
            say(str((run.folder or Path()) / file))
        return 0

    def _train(
        self, trainer: "SamplingTrainer", model: "LatentDiffusion", prompts: Sequence[str], run: "Run", file: str
    ) -> None:
        """Trains, and stores the part in the run's folder."""
        from intaglio.amounts import duration_words
        from intaglio.sampling.plan import planned_seconds

        planned = trainer.planned(model, prompts)
        note(f"{planned}; about {duration_words(planned_seconds(planned, model, trainer.batch))} beside the training")
        part = trainer(model, prompts, run=run)
        part.save((run.folder or Path()) / file)
        run.finish({"part": file, "hash": part.hash, "calls": asdict(planned), "facts": dict(part.facts)}, (file,))
        for state in trainer.states_kept:
            run.drop_state(state)

    @property
    def _trainer(self) -> "SamplingTrainer":
        return cast("SamplingTrainer", self.method)

    def _texts(self) -> list[str]:
        return (list(self.prompt) if self.prompts is None else read_prompts(self.prompts)) or [""]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
