"""`intaglio causal recalibrate`: learns on broken simulated tables how far a network of `discover` can be trusted."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from intaglio.commands.kit.console import command_line, note, say, shown
from intaglio.commands.kit.dry_run import DryRun
from intaglio.data_files import Fields
from intaglio.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from intaglio.runs.run import Run

MODEL = "model"
TITLE = "## Recalibration"
AGAIN = "delete the run's folder, and the same command learns again"


@dataclass(frozen=True, kw_only=True)
class CausalRecalibrate(DryRun):
    """Learn how far a network of `intaglio discover sicl` can be trusted, on simulated tables that break assumptions.

    Boosted trees learn from features of a table how probable it is that the network's graph is worse than the empty
    graph, and how probable each pair is there. The folder that is written holds the network with these trees. The same
    command again resumes a killed one.
    """

    model: str = "light"
    """The network, trained to find adjacencies: light, axial, or the folder of another."""
    tables: int = 4000
    """Simulated tables to learn from, 100 or more: a third sound, the others of eight families of broken ones."""
    test_tables: int = 400
    """Other tables that the answers are then measured on, 9 or more."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        require(self.tables >= 100, f"tables must be at least 100, not {self.tables}")
        require(self.test_tables >= 9, f"test_tables must be at least 9, not {self.test_tables}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.methods.sicl.networks.weights import CARD, load_network, network_path, save_network
        from intaglio.causal.methods.sicl.training.curriculum import Curriculum
        from intaglio.causal.methods.sicl.training.fit_recalibration import STATE, fit_recalibration
        from intaglio.causal.methods.sicl.training.network_plan import recalibration_plan
        from intaglio.errors import BadInput

        trained = load_network(self.model)
        if trained.kind == "node-edge":
            raise BadInput(f"{self.model} predicts arrows, and its graph is not recalibrated; take light or axial")
        plan = partial(recalibration_plan, trained, Curriculum(), self.tables, self.test_tables)
        if self.dry_run and self.ends_with(plan()):
            return 0
        with self._open(trained.fingerprint) as run:
            folder = run.folder or Path()
            if run.status != "done":
                self.begin(run, plan())
                found, figures = fit_recalibration(trained, Curriculum(), self.tables, self.test_tables, run)
                facts = {**trained.facts, "recalibration": {"learnt_from": self.tables, **figures}}
                text = (network_path(self.model) / CARD).read_text(encoding="utf-8").partition(TITLE)[0].rstrip()
                made = replace(trained, facts=facts, recalibration=found)
                save_network(made, folder / MODEL, f"{text}\n\n{section(facts['recalibration'])}")
                run.finish({"model": MODEL, **facts}, (MODEL,))
            run.drop_state(STATE)
            summary = Fields.of(run.summary, f"{folder / 'run.json'}, summary", AGAIN)
            every = summary.table("recalibration").table("all")
            note(f"expected calibration error {every.number('ece'):.4f}, before {every.number('ece_before'):.4f}")
            say(str(folder / MODEL))
        return 0

    def _open(self, network: str) -> "Run":
        from intaglio.runs.run import Run

        return Run.open(
            self.runs,
            "causal",
            "recalibrate",
            {"tables": self.tables, "test_tables": self.test_tables},
            {"network": {"path": self.model, "sha256": network}},
            seed=0,
            device="cpu",
            command=command_line(),
            progress=shown(),
        )


def section(figures: "Mapping[str, Any]") -> str:
    """The section of the model card, in Markdown."""
    what = (
        f"Boosted trees, learnt from {figures['learnt_from']:,} simulated tables and measured on {figures['tables']:,} "
        "others: a third sound, the others of families that break an assumption, from hardly to extremely (some not at "
        "all). SHD is the mean distance from the true CPDAG; ECE the expected calibration error of edges; worse the "
        "share of tables where either graph is worse than the empty graph, and AUC that of telling these."
    )
    rows = ["| tables | SHD unaided | SHD | SHD of no edge | ECE before | ECE | worse | AUC |", f"|{'---|' * 8}"]
    for name, one in figures.items():
        if isinstance(one, dict):
            numbers = (one["shd_unaided"], one["shd_answer"], one["shd_empty"])
            rates = (one["ece_before"], one["ece"], one["worse"], one["auc"])
            cells = [name, *(f"{x:.1f}" for x in numbers), *(f"{x:.3f}" for x in rates)]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n\n".join([TITLE, fill(what, 120), "\n".join(rows)]) + "\n"
