"""The time of a transfer, before it begins."""

from intaglio.causal.transfer.environment_rows import HeldOutTask
from intaglio.causal.transfer.family import EnvironmentTransfer
from intaglio.randomness import generator
from intaglio.runs.time_plan import TimePlan
from intaglio.runs.timed import seconds_of


def transfer_plan(method: EnvironmentTransfer, task: HeldOutTask) -> TimePlan:
    """Seconds of the stages and of the checks, by steps that are timed."""
    network = method.network(task.rows.features.shape[1], len(task.classes), len(task.environments))
    batch = method.known(task, 0, "plan")
    refits, environments = bool(network.refit_weights()), len(task.environments)
    again = len(network.latents(task.rows.features[:1])) > 0

    def step() -> None:
        network.loss(batch, generator(method.seed, "plan")).backward()

    one = seconds_of(step, "cpu")
    parts = {"training": one * method.updates, "target": one * method.refit_updates * (refits + (method.labelled > 0))}
    if method.checks:
        parts["checks"] = one * method.updates * (again + (environments if environments > 2 else 0))
    judged = int((task.truth >= 0).sum()) - method.labelled
    outcomes = f"outcomes   {method.labelled:,} of the target are learnt, and {judged:,} judge the predictions"
    known = f"{len(task.rows.labels):,} of {environments} other environments"
    rows = f"rows       {len(task.names):,} of the target, {known}, {task.target.shape[1]} features"
    return TimePlan(parts, f"{rows}\n{outcomes}")
