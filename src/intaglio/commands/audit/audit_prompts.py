"""`intaglio audit prompts METHOD`: prompts ranked by how far a model has memorised what it draws for them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.counts import check_count
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.idle_flags import said_idle
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described, short_number
from intaglio.commands.kit.prompt_lines import read_prompts
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.audit.prompts.family import PromptAudit
    from intaglio.audit.prompts.result import PromptScores
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
    from intaglio.runs.run import Run
    from intaglio.runs.time_plan import TimePlan

M = TypeVar("M")
MOST_ROWS = 40
"""Prompts of the printed table."""


@dataclass(frozen=True, kw_only=True)
class AuditPrompts(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Rank prompts by how far a model has memorised what it was trained to draw for them.

    With --controls, prompts of the same kind that were certainly not trained on, each has a p-value, and those below
    the asked false-positive rate are called; without, they are ranked. The same command again resumes one that was
    killed.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    prompt: tuple[str, ...] = ()
    """Prompts to ask about, such as the captions of a training set."""
    prompts: Path | None = None
    """Text file with a prompt on each line, in place of --prompt."""
    base: Path | None = None
    """The model that --model was fine-tuned from, whose scores are subtracted: a diffusers folder, a single
    .safetensors file, or an embedded model. None takes the scores as they are."""
    controls: Path | None = None
    """Text file of prompts, one on each line, that were certainly not trained on; 19 are needed for a rate of 5%."""
    fpr: float = 0.05
    """False-positive rate asked for, in (0, 1): the largest share of untrained prompts that is called."""
    shown: int = 4
    """Prompts, from the first in rank, of which the report shows pictures, three by each model; 0 for none."""

    def __post_init__(self) -> None:
        if self.prompt and self.prompts is not None:
            raise ValueError("give one of --prompt and --prompts, not both")
        if not 0 < self.fpr < 1:
            raise ValueError(f"fpr must lie between 0 and 1, not {self.fpr}")
        if self.shown < 0:
            raise ValueError(f"shown must be at least 0, not {self.shown}")

    def check_early(self) -> None:
        """Raises `BadInput` for prompts and controls that cannot be asked about; neither needs a model."""
        from intaglio.metrics.statistics.enough_controls import check_controls

        asked, controls = self._asked(), self._controls()
        if not asked:
            raise BadInput("there are no prompts to ask about; give --prompt, or --prompts FILE with one on each line")
        if any(not one.strip() for one in asked):
            raise BadInput("a blank prompt has no words that a model could have memorised; leave it out")
        if self.controls is not None:
            check_controls(len(controls), self.fpr, "prompts")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.audit.prompts.audit import check_disjoint
        from intaglio.audit.prompts.family import check_models, check_prompts
        from intaglio.audit.prompts.result import PromptScores
        from intaglio.models.diffusion.loading import load_model

        check_count("--shown", self.shown)
        asked, controls = self._asked(), self._controls()
        check_prompts(asked)
        check_disjoint(asked, controls, self.fpr)
        model = self.noted_model(self.device)
        base = None if self.base is None else load_model(self.base, like=self.like, device=self.device)
        check_models(self._method, model, base)
        if self.dry_run and self.ends_with(self._plan(model, base, len({*asked, *controls}))):
            return 0
        with self._open(model, base, asked, controls) as run:
            if run.status != "done":
                self._warn(run, model, base, len(asked))
                self.begin(run, self._plan(model, base, len({*asked, *controls})))
                self._audit(model, base, asked, controls, run)
        folder = Path(run.folder or ".")
        _report(cast(PromptScores, PromptScores.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "PromptAudit":
        return cast("PromptAudit", self.method)

    def _given(self) -> list[str]:
        return list(self.prompt) if self.prompts is None else read_prompts(self.prompts)

    def _asked(self) -> list[str]:
        """The prompts, each once."""
        return list(dict.fromkeys(self._given()))

    def _controls(self) -> list[str]:
        """The controls, each once."""
        return [] if self.controls is None else list(dict.fromkeys(read_prompts(self.controls, "--controls")))

    def _plan(self, model: "LatentDiffusion", base: "LatentDiffusion | None", prompts: int) -> "TimePlan":
        from intaglio.audit.prompts.cost import prompts_plan

        return prompts_plan(self._method, model, base, prompts, min(self.shown, len(self._asked())))

    def _warn(self, run: "Run", model: "LatentDiffusion", base: "LatentDiffusion | None", asked: int) -> None:
        notes = dict.fromkeys((*model.notes, *(() if base is None else base.notes)))
        idle = said_idle(self, ("fpr",), "without --controls nothing is called") if self.controls is None else []
        repeated = len(self._given()) - asked
        again = [f"{repeated} of the prompts stand there twice or more, and are asked about once"] if repeated else []
        for warning in (*notes, *idle, *again):
            run.warn(warning)

    def _open(
        self, model: "LatentDiffusion", base: "LatentDiffusion | None", asked: list[str], controls: list[str]
    ) -> "Run":
        known: dict[str, Any] = {"model": described(self.model, model.fingerprint)}
        known["autoencoder"] = described(self.model, model.part_fingerprint("autoencoder"))
        if base is not None:
            known["base"] = described(self.base, base.fingerprint)
        own = {"prompts": asked, "controls": controls, "fpr": self.fpr, "shown": self.shown}
        settings = {**asdict(cast(Any, self.method)), **own}
        return self.open_run("audit", f"prompts-{self._method.name}", settings, known, seed=settings.get("seed"))

    def _audit(
        self,
        model: "LatentDiffusion",
        base: "LatentDiffusion | None",
        asked: list[str],
        controls: list[str],
        run: "Run",
    ) -> None:
        from intaglio.audit.prompts.audit import audit_prompts

        further = {"base": base, "controls": controls, "fpr": self.fpr, "shown": self.shown}
        found = audit_prompts(self._method, model, asked, **further, run=run)
        found.save(Path(run.folder or "."))
        pictures = ("images",) if found.drawn else ()
        run.finish(found.figures(), ("prompt_scores.json", "prompts.csv", *pictures))


def _report(found: "PromptScores", folder: Path) -> None:
    """Print the prompts, highest score first, and write the report."""
    from intaglio.report import write_report

    rows = [
        (
            short_number(row["score"]),
            short_number(row["p_value"]),
            "memorised" if row["called"] else "-",
            row["word"] or "-",
            row["prompt"],
        )
        for row in found.rows()[:MOST_ROWS]
    ]
    say(aligned([("score", "p", "verdict", "word", "prompt"), *rows]))
    if (left := len(found.prompts) - len(rows)) > 0:
        say(f"{left} more are in {folder / 'prompts.csv'}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
