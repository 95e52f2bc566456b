"""`intaglio extract METHOD`: a suspect and its base in, the pictures most probably tuned on out, with how sure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import tyro

from intaglio.commands.kit.console import command_line, note, say, shown, table
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.extract.cost import Plan
    from intaglio.images.image_set import ImageSet
    from intaglio.metrics.similarity.measures import Embedding
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class Extract(Generic[M]):
    """Draw the pictures that a suspect was most probably fine-tuned on, each with a false-discovery rate.

    For models that you may examine: your own before you publish it, or by the leave of whoever answers for it. The
    same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    suspect: Path
    """The fine-tuned model: a diffusers folder, a folder with its U-Net, a .safetensors file, or a LoRA."""
    authority: str
    """Why you may examine this model, such as "my own model" or "engaged by its owner"; kept in the report."""
    base: Path | None = None
    """The model that the suspect was fine-tuned from; none takes the embedded testbed."""
    prompt: tuple[str, ...] = ()
    """The prompt of the fine-tune; several share the pictures among them. None takes what the suspect's card or file
    says, or else draws without one."""
    training: Path | None = None
    """Folder of the pictures that the suspect was tuned on, where you have them: the report then shows each returned
    picture beside its nearest, and how much was extracted."""
    held_out: Path | None = None
    """Folder of pictures of the same kind that it was not tuned on, at least as many: what a match by chance is."""
    control: bool = True
    """Draw from the base alone too, for the false-discovery rates; doubles the time."""
    fdr: float = 0.1
    """The false-discovery rate asked for: of the pictures told to stand out, at most this share by chance."""
    similarity: str = "embedded"
    """How alike two pictures are: embedded, or the path of a local encoder."""
    workers: int | None = None
    """Processes that the pictures are drawn in; none takes one a core on the CPU, else one."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
    base_device: str | None = None
    """Where the base computes, if not where the suspect does."""
    skip_bad: bool = False
    """Leave out pictures that cannot be read, with a warning, in place of stopping."""
    dry_run: bool = False
    """Print what it will take and stop."""

    def __post_init__(self):
        if not 0 < self.fdr < 1:
            raise ValueError(f"fdr must lie between 0 and 1, not {self.fdr}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if not self.authority.strip():
            raise ValueError('authority must say why you may examine this model, such as "my own model"')

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.extract.audit import check_confidence
        from intaglio.extract.extraction import forget

        method: Any = self.method
        if self.control:
            check_confidence(method, self.fdr)
        if self.held_out is not None and self.training is None:
            raise BadInput("--held-out stands beside --training, to say what a match by chance is; give both")
        similarity = self._encoder()
        base, suspect = self._models()
        prompts, said = self._prompts(suspect, base)
        training, held_out = self._pictures(base)
        plan = self._plan(suspect, base, prompts)
        if self.dry_run:
            say(str(plan))
            return 0
        with self._open(suspect, base, prompts, training, held_out, similarity) as run:
            if run.status != "done":
                note(str(plan))
                for warning in (*said, *_warnings(training, held_out), *suspect.notes):
                    run.warn(warning)
                self._examine(suspect, base, prompts, training, held_out, similarity, run)
            forget(method, run)
        self._tell(Path(run.folder or "."))
        return 0

    def _encoder(self) -> "Embedding":
        from intaglio.metrics.similarity.measures import Embedding, load_similarity

        similarity = load_similarity(self.similarity, self.device)
        if not isinstance(similarity, Embedding):
            raise BadInput(f"--similarity {self.similarity} has no descriptors to group by; give an encoder")
        return similarity

    def _models(self) -> "tuple[LatentDiffusion, LatentDiffusion]":
        from intaglio.denoising.model_pair import check_pair
        from intaglio.models.diffusion.loading import load_model

        base = load_model(self.base or _testbed(), device=self.base_device or self.device)
        suspect = load_model(self.suspect, like=base, device=self.device)
        check_pair(suspect, base)
        return base, suspect

    def _prompts(self, suspect: "LatentDiffusion", base: "LatentDiffusion") -> tuple[tuple[str, ...], list[str]]:
        """The prompts, and what to say of where they come from."""
        from intaglio.extract.prompts import suggested_prompt

        if self.prompt:
            return self.prompt, []
        if (found := suggested_prompt(self.suspect, suspect, base)) is not None:
            return (found[0],), [f"no --prompt was given: {found[0]!r} is taken from {found[1]}"]
        return (), ["no --prompt was given and none was found: the pictures are drawn without one, which finds less"]

    def _pictures(self, base: "LatentDiffusion") -> "tuple[ImageSet | None, ImageSet | None]":
        from intaglio.extract.evaluation import check_held_out
        from intaglio.images.image_set import ImageSet

        def load(folder: Path | None) -> ImageSet | None:
            return None if folder is None else ImageSet.load(folder, base.resolution, skip_bad=self.skip_bad)

        training, held_out = load(self.training), load(self.held_out)
        if training is not None and held_out is not None:
            check_held_out(training, held_out)
        return training, held_out

    def _plan(self, suspect: "LatentDiffusion", base: "LatentDiffusion", prompts: Sequence[str]) -> "Plan":
        from intaglio.extract.cost import make_plan

        method: Any = self.method
        return make_plan(
            method, suspect, base, captioned=bool(prompts), controlled=self.control, workers=self._workers()
        )

    def _workers(self) -> int:
        from intaglio.runs.fan_out import workers_for

        return self.workers or workers_for(self.device)

    def _open(
        self,
        suspect: "LatentDiffusion",
        base: "LatentDiffusion",
        prompts: Sequence[str],
        training: "ImageSet | None",
        held_out: "ImageSet | None",
        similarity: "Embedding",
    ) -> "Run":
        from intaglio.runs.run import Run

        inputs = {
            "suspect": {"path": str(self.suspect), "sha256": suspect.fingerprint},
            "base": {"path": str(self.base or "testbed"), "sha256": base.fingerprint},
            "autoencoder": {"path": str(self.suspect), "sha256": suspect.part_fingerprint("autoencoder")},
            "similarity": {"path": self.similarity, "sha256": similarity.hash},
        }
        for name, path, part in (("training", self.training, training), ("held_out", self.held_out, held_out)):
            if part is not None:
                inputs[name] = {"path": str(path), "sha256": part.fingerprint}
        method: Any = self.method
        own = {"prompt": list(prompts), "authority": self.authority, "control": self.control, "fdr": self.fdr}
        return Run.open(
            self.runs,
            "extract",
            method.name,
            {**asdict(method), **own},
            inputs,
            seed=method.seed,
            device=self.device,
            command=command_line(),
            progress=shown(),
        )

    def _examine(
        self,
        suspect: "LatentDiffusion",
        base: "LatentDiffusion",
        prompts: Sequence[str],
        training: "ImageSet | None",
        held_out: "ImageSet | None",
        similarity: "Embedding",
        run: "Run",
    ) -> None:
        from intaglio.extract.audit import examine

        method: Any = self.method
        found = examine(
            method,
            suspect,
            base,
            prompts,
            similarity,
            controlled=self.control,
            training=training,
            held_out=held_out,
            fdr=self.fdr,
            run=run,
            workers=self._workers(),
        )
        found.write(run)
        evaluation = found.evaluation
        run.finish(
            {
                "statement": found.statement,
                "returned": len(found.extraction.finds),
                "told": found.told,
                "drawn": found.extraction.drawn,
                "excluded": sum(found.extraction.excluded.values()),
                "average_similarity": None if evaluation is None else evaluation.coverage.average,
            }
        )

    def _tell(self, folder: Path) -> None:
        from intaglio.extract.audit import FILE
        from intaglio.report import write_report

        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        cells = [
            (find["image"], find["size"], _number(find["cohesion"]), _number(find["q_value"]), *_match(find))
            for find in found["finds"]
        ]
        if cells:
            heads = ("picture", "alike", "cohesion", "q", "nearest", "similarity")
            say(table([heads[: len(cells[0])], *cells]))
            say()
        say(found["statement"])
        if (known := found["evaluation"]) is not None:
            say(
                f"{known['extracted']} returned pictures cover the {known['training']} training pictures with a mean "
                f"similarity of {known['average_similarity']:.3f}."
            )
        say(str(write_report(folder)))


def _match(find: dict[str, Any]) -> tuple[str, ...]:
    return (find["nearest"], _number(find["similarity"])) if "nearest" in find else ()


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _warnings(training: "ImageSet | None", held_out: "ImageSet | None") -> list[str]:
    found = [warning for part in (training, held_out) if part is not None for warning in part.warnings]
    if training is not None and (pairs := training.duplicates()):
        listed = ", ".join(f"{one} and {two}" for one, two in pairs[:5])
        found.append(f"training pictures that look the same fall into one group, so seek fewer --pictures: {listed}")
    return found


def _testbed() -> Path:
    from intaglio.models.testbed import base_path

    return base_path()
