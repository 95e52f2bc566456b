"""`intaglio causal train-skeleton`: trains and calibrates skeleton posteriors for `discover spot`."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.causal.methods.spot.cascade_settings import FEWEST_MODELS, NETWORK_VARIABLES, CascadeTraining
from intaglio.commands.kit.console import command_line, note, say, say_json, shown
from intaglio.commands.kit.dry_run import DryRun

if TYPE_CHECKING:
    from intaglio.causal.methods.spot.cascade import SkeletonCascade
    from intaglio.causal.methods.spot.network_posterior import NetworkPosterior
    from intaglio.runs.run import Run

CASCADE, NETWORK = "cascade.safetensors", "network.json"
FIGURES = {"log_loss": "log-loss", "brier": "Brier", "auroc": "AUROC", "ece": "expected calibration error"}


@dataclass(frozen=True, kw_only=True)
class CausalTrainSkeleton(DryRun, CascadeTraining):
    """Train a skeleton posterior for `intaglio discover spot --posterior` on simulated tables, and calibrate it.

    It writes boosted trees on partial correlations (arXiv 2406.10537; `cascade.safetensors`), and with
    --network-models a calibration of the network of `discover sicl` for the same purpose (`network.json`). The same
    command again resumes a killed one.
    """

    network_models: int = 0
    """Simulated models of each of the network's two calibrations and of their figures, 10 or more; 0 for no network."""
    runs: Path = Path("runs")
    """Folder that the run's own folder is made in."""
    json: bool = False
    """End with one line of JSON."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.network_models and self.network_models < FEWEST_MODELS:
            raise ValueError(f"network_models must be 0, or {FEWEST_MODELS} or more, not {self.network_models}")
        if self.network_models and min(self.variables) > NETWORK_VARIABLES:
            raise ValueError(f"variables must hold a number up to {NETWORK_VARIABLES} for the network, or leave it out")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.causal.methods.spot.cascade_plan import plans_quickly, skeleton_plan

        if self.dry_run and self.ends_with(skeleton_plan(self.settings, self.network_models)):
            return 0
        with self._open() as run:
            folder = run.folder or Path()
            if run.status != "done":
                if plans_quickly(self.settings):
                    self.begin(run, skeleton_plan(self.settings, self.network_models))
                self._trained(run, folder)
            summary = dict(run.summary)
            files = [str(folder / name) for name in (CASCADE, NETWORK) if (folder / name).is_file()]
            if self.json:
                say_json({**summary, "files": files, "folder": str(folder)})
            else:
                for line in told(summary):
                    note(line)
                for file in files:
                    say(file)
        return 0

    @property
    def settings(self) -> CascadeTraining:
        """The settings that the trees depend on."""
        return CascadeTraining(**{field.name: getattr(self, field.name) for field in fields(CascadeTraining)})

    def _trained(self, run: "Run", folder: Path) -> None:
        """Makes what is not there yet, and finishes the run."""
        from intaglio.causal.methods.spot import cascade_training, network_calibration

        made: dict[str, SkeletonCascade | NetworkPosterior] = {CASCADE: self._cascade(run, folder / CASCADE)}
        if self.network_models:
            settings = replace(self.settings, models=self.network_models)
            made[NETWORK] = network_calibration.calibrate_network(settings, run=run)
            made[NETWORK].save(folder / NETWORK)
        figures = {name.partition(".")[0]: _held_out(one.facts) for name, one in made.items()}
        run.finish({"model": CASCADE, "held_out": figures}, tuple(made))
        for state in (cascade_training.STATE, network_calibration.STATE):
            run.drop_state(state)

    def _cascade(self, run: "Run", path: Path) -> "SkeletonCascade":
        """The cascade that an earlier call stored, or one that is trained now."""
        from intaglio.causal.methods.spot.cascade import SkeletonCascade
        from intaglio.causal.methods.spot.cascade_training import train_cascade

        if not path.is_file():
            train_cascade(self.settings, run=run).save(path)
        return SkeletonCascade.load(path)

    def _open(self) -> "Run":
        from intaglio.runs.run import Run

        return Run.open(
            self.runs,
            "causal",
            "train-skeleton",
            {**asdict(self.settings), "network_models": self.network_models},
            {},
            seed=self.seed,
            device="cpu",
            command=command_line(),
            progress=shown(),
        )


def _held_out(facts: Any) -> dict[str, Any]:
    """Figures on held-out simulations, with hidden common causes and without."""
    return {"with_hidden": facts["held out"], "without_hidden": facts["held out, without hidden causes"]}


def told(summary: dict[str, Any]) -> list[str]:
    """A line for each posterior and population, with its figures."""
    words = {"with_hidden": "hidden causes", "without_hidden": "no hidden causes"}
    return [
        f"{name}, {words[population]}: "
        + ", ".join(f"{label} {figures[key]:.4f}" for key, label in FIGURES.items())
        + f" over {figures['pairs']:,} held-out pairs"
        for name, populations in summary["held_out"].items()
        for population, figures in populations.items()
    ]
