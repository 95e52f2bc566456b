"""`intaglio causal train`: trains and calibrates a network for `discover` on simulated tables."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from intaglio.causal.methods.sicl.training.settings import SiCLTraining
from intaglio.commands.kit.console import command_line, note, say, shown
from intaglio.commands.kit.dry_run import DryRun
from intaglio.data_files import Fields

if TYPE_CHECKING:
    from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
    from intaglio.causal.methods.sicl.training.training import TrainingResult
    from intaglio.runs.run import Run

MODEL = "model"
AGAIN = "delete the run's folder, and the same command trains again"


@dataclass(frozen=True, kw_only=True)
class CausalTrain(DryRun, SiCLTraining):
    """Train a network for `intaglio discover` (SiCL, arXiv 2502.10883) on simulated tables, and calibrate it.

    The same command again resumes a killed one.
    """

    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.methods.sicl.networks.weights import save_network
        from intaglio.causal.methods.sicl.training.network_plan import training_plan
        from intaglio.causal.methods.sicl.training.training import train_network
        from intaglio.learning.checkpoints import STATE

        if self.dry_run and self.ends_with(training_plan(self.settings)):
            return 0
        with self._open() as run:
            folder = run.folder or Path()
            if run.status != "done":
                self.begin(run, training_plan(self.settings))
                result = train_network(self.settings, run=run)
                note("calibrating")
                trained = calibrated(result)
                save_network(trained, folder / MODEL, card(trained, result))
                run.finish({"model": MODEL, **trained.facts}, (MODEL,))
            run.drop_state(STATE)
            summary = Fields.of(run.summary, f"{folder / 'run.json'}, summary", AGAIN)
            edges = summary.table("calibration").table("skeleton")
            note(f"expected calibration error of edges {edges.number('ece'):.4f}, Brier {edges.number('brier'):.4f}")
            say(str(folder / MODEL))
        return 0

    @property
    def settings(self) -> SiCLTraining:
        """The settings that the weights depend on."""
        return SiCLTraining(**{field.name: getattr(self, field.name) for field in fields(SiCLTraining)})

    def _open(self) -> "Run":
        from intaglio.runs.run import Run

        return Run.open(
            self.runs,
            "causal",
            "train",
            asdict(self.settings),
            {},
            seed=self.seed,
            device="cpu",
            command=command_line(),
            progress=shown(),
        )


def calibrated(result: "TrainingResult") -> "TrainedNetwork":
    """The network with its calibration, the ranges of its training tables, and the facts of its training."""
    from intaglio.causal.methods.sicl.networks.base import parameter_count
    from intaglio.causal.methods.sicl.networks.weights import TrainedNetwork
    from intaglio.causal.methods.sicl.training.fit_logit_scaling import calibrate, fit_feature_ranges
    from intaglio.causal.methods.sicl.training.fit_score_weight import fit_score_weights

    settings = result.settings
    calibration, measured = calibrate(result.network, settings, settings.calibrated_on, settings.proved_on)
    facts: dict[str, Any] = {
        "parameters": parameter_count(result.network),
        "steps": settings.steps,
        "tables": result.tables,
        "cpu_s": round(result.cpu_s),
        "seed": settings.seed,
        "columns": list(settings.columns),
        "rows": list(settings.rows),
        "held_back": list(settings.held_back),
        "calibration": measured,
    }
    typical = fit_feature_ranges(settings, min(1500, settings.calibrated_on))
    made = TrainedNetwork(settings.network, result.network, settings.context, calibration, typical, {}, facts)
    if made.kind == "node-edge":
        return made  # its graph is decoded from arrows, as published, and not refined
    return replace(made, score_weights=fit_score_weights(made, settings, settings.weighed_on))


KIND_DESCRIPTIONS = {
    "light": "all heads in one pass, with statistics of all rows",
    "axial": "SiCL's two networks as published (arXiv 2502.10883), small",
    "node-edge": "each arrow by itself, as in AVICI (arXiv 2205.12934); a baseline",
}


def _article(kind: str) -> str:
    return f"An {kind}" if kind[0] in "aeiou" else f"A {kind}"


def card(trained: "TrainedNetwork", result: "TrainingResult") -> str:
    """The model card in Markdown: architecture, training data, calibration, limits."""
    settings, facts = result.settings, trained.facts
    shape = ", ".join(f"{name} {value}" for name, value in settings.shape.items())
    what = f"{facts['parameters']:,} parameters ({shape}): {KIND_DESCRIPTIONS[trained.kind]}."
    story = (
        f"Trained on {facts['tables']:,} simulated tables in {facts['steps']:,} steps, {facts['cpu_s'] / 60:.0f} "
        f"minutes of one CPU core, seed {facts['seed']}: {min(settings.columns)} to {max(settings.columns)} columns, "
        f"{min(settings.rows)} to {max(settings.rows)} rows, numbers, levels and mixtures, linear and other "
        "mechanisms, eight noises, half of the tables at unit variances, some with gaps. Families of graphs that it "
        f"never saw: {', '.join(settings.held_back) or 'none'}."
    )
    proof = (
        f"Calibrated on {settings.calibrated_on:,} tables and measured on {settings.proved_on:,} others of the same "
        "kind:"
    )
    limits = (
        "Assumes no cycles, no hidden common causes, no selection, independent rows. Outside the sizes above, on dense "
        "graphs and on laws unlike the simulator's, the probabilities may not hold; `ood_score` says how probably the "
        "graph is worse than the empty graph."
    )
    rows = ["| head | expected calibration error | before | Brier score |", "|---|---|---|---|"]
    for name in ("skeleton", "colliders", "forward", "arrows"):
        if isinstance(one := facts["calibration"].get(name), dict):
            rows.append(f"| {name} | {one['ece']:.4f} | {one['ece_raw']:.4f} | {one['brier']:.4f} |")
    curve = facts["calibration"]["skeleton"]["curve"]
    bins = ["| edge said | was | pairs |", "|---|---|---|"]
    bins += [
        f"| {a:.3f} | {b:.3f} | {n:,} |" for a, b, n in zip(*(curve[k] for k in ("said", "was", "count")), strict=True)
    ]
    title = f"# {_article(trained.kind)} network for causal discovery"
    parts = [title, *(fill(text, 120) for text in (what, story, proof))]
    return "\n\n".join([*parts, "\n".join(rows), "\n".join(bins), fill(limits, 120)]) + "\n"
