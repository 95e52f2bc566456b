"""`intaglio explain components METHOD`: how much of the difference between two prompts goes through each component."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import tyro

from intaglio.commands.kit.console import say
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, ModelAndLoRA, described
from intaglio.errors import BadInput
from intaglio.printable import aligned

if TYPE_CHECKING:
    from intaglio.explain.components.family import ComponentPatcher
    from intaglio.explain.components.result import PatchedComponents

M = TypeVar("M")
LEAST_AGREEMENT = 0.8
"""Pearson's correlation with exact patching below which a warning is due."""
LEAST_DISTANCE = 0.01
"""Length of the difference of the predictions, as a share of their own, below which a warning is due."""
FEWEST_DRAWS = 4
MOST_ROWS = 20
"""Components of the printed table."""
SHOWN = ("effect", "low", "high", "exact")
"""Columns of the printed table."""


@dataclass(frozen=True, kw_only=True)
class ExplainComponents(DryRun, ModelAndLoRA, InRun, Generic[M]):
    """Tell how much of the difference between the predictions for two prompts goes through each part of the denoiser.

    Components are the outputs of every ResNet, attention and feed-forward branch, by channel or as a whole. An effect
    is how far the prediction for the corrupted prompt goes to that for the clean one when the component alone gives
    what it gives for the clean prompt: 0 is not at all, 1 all the way. Estimates are checked by patching some
    components exactly. The same command again goes on where a killed one was.
    """

    method: tyro.conf.OmitArgPrefixes[M]
    clean: str
    """The prompt whose outputs are put in."""
    corrupted: str
    """The prompt whose prediction they change, such as the same one with another word."""
    verify: int = 16
    """Components of the largest effects that are patched exactly as a check, with as many that are drawn from the
    others; 0 checks none."""

    def __post_init__(self) -> None:
        if self.verify < 0:
            raise ValueError(f"verify must be 0 or more, not {self.verify}")

    def check_early(self) -> None:
        """Raises `BadInput` for two equal prompts."""
        if self.clean == self.corrupted:
            raise BadInput("the clean and the corrupted prompt are the same; give two that differ")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.explain.components.cost import components_plan
        from intaglio.explain.components.result import FILE, TABLE, PatchedComponents

        model = self.noted_model(self.device)
        self._method.check(model)
        plan = components_plan(self._method, model, self.verify)
        if self.dry_run and self.ends_with(plan):
            return 0
        known = {"model": described(self.model, model.fingerprint)}
        own = {name: getattr(self, name) for name in ("clean", "corrupted", "verify")}
        settings = {**asdict(cast(Any, self.method)), **own}
        with self.open_run("explain", f"components-{self._method.name}", settings, known, seed=settings["seed"]) as run:
            folder = Path(run.folder or ".")
            if run.status != "done":
                self.begin(run, plan)
                found = self._method(model, self.clean, self.corrupted, verify=self.verify, run=run)
                for words in _warnings(found):
                    run.warn(words)
                found.save(folder)
                run.finish(found.figures(), (FILE, TABLE))
                self._method.forget(run)
        _report(cast("PatchedComponents", PatchedComponents.load(folder)), folder)
        return 0

    @property
    def _method(self) -> "ComponentPatcher":
        return cast("ComponentPatcher", self.method)


def _warnings(found: "PatchedComponents") -> list[str]:
    """Sentences on an answer that cannot be trusted."""
    told = []
    figures, agreement = found.figures(), found.agreement
    if figures["distance"] < LEAST_DISTANCE:
        told.append(
            f"the predictions for the two prompts differ by {figures['distance']:.1%} of their length: the model "
            "hardly tells them apart, and effects are of what little it does"
        )
    if figures["draws"] < FEWEST_DRAWS:
        told.append(f"{figures['draws']} draws are too few for an interval that says much; give --draws 4 or more")
    if not found.exact and agreement is None:
        told.append("the effects are estimates, and none was checked; give --verify 16, or take activation-patching")
    if agreement is not None and agreement.pearson < LEAST_AGREEMENT:
        told.append(
            f"the estimates agree with exact patching only with Pearson's correlation {agreement.pearson:.2f}: do not "
            "rank components by them; take activation-patching, or --unit branch"
        )
    return told


def _report(found: "PatchedComponents", folder: Path) -> None:
    """Print a line a component, and write the report."""
    from intaglio.explain.components.result import TABLE
    from intaglio.report import write_report

    every = found.rows()
    rows = [
        (row["component"], *("-" if row[name] is None else f"{row[name]:.4f}" for name in SHOWN))
        for row in every[:MOST_ROWS]
    ]
    say(aligned([("component", *SHOWN), *rows]))
    if (left := len(every) - len(rows)) > 0:
        say(f"{left:,} more are in {folder / TABLE}")
    say()
    say(found.statement)
    say(str(write_report(folder)))
