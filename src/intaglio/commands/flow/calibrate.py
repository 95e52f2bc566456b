"""`intaglio flow calibrate`: measure the fastest plan to decode a flow by on this machine, for `flow sample`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from intaglio.commands.flow.inputs import FlowGuidance, FlowModel
from intaglio.commands.kit.console import note, say, shown
from intaglio.commands.kit.dry_run import DryRun

if TYPE_CHECKING:
    from intaglio.models.flow.tarflow_files import LoadedFlow
    from intaglio.runs.time_plan import TimePlan


@dataclass(frozen=True, kw_only=True)
class FlowCalibrate(DryRun, FlowGuidance, FlowModel):
    """Time every way of decoding each block on this machine and choose the fastest within an error; `flow sample auto`
    then decodes by it. Best done on an idle machine: what is measured beside other work is chosen for it.
    """

    batch: tuple[int, ...] = (64,)
    """Pictures decoded at once; a plan for each."""
    tier: tuple[Literal["exact", "near"], ...] = ("near",)
    """How close to decoding patch by patch, in [-1, 1]: near, 2/127.5 at most and 0.002 in the mean; exact, 0.001 and
    0.0001. A plan for each."""
    seed: int = 0
    """Seed of the latents that are decoded."""
    plans: Path = Path("runs/flow-plans")
    """Folder that the plans go to, and that `flow sample` looks in."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.batch or min(self.batch) < 1:
            raise ValueError(f"batch must be at least 1, not {self.batch}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        from intaglio.flow.calibrate.calibration import calibrate
        from intaglio.runs.run import Run

        for warning in self.idle():
            note(warning)
        flow, guidance = self.loaded(), self.as_guidance()
        plan_of_all = self._time(flow)
        if self.ends_with(plan_of_all):
            return 0
        note(str(plan_of_all))
        for batch in self.batch:
            for tier in self.tier:
                run = Run.none(progress=shown())
                plan = calibrate(flow.model, batch=batch, tier=tier, guidance=guidance, seed=self.seed, run=run)
                note(f"{flow.name}, batches of {batch}, {tier}:\n{plan}")
                say(str(plan.save(self.plans)))
        return 0

    def _time(self, flow: "LoadedFlow") -> "TimePlan":
        """Seconds of all plans."""
        from intaglio.flow.calibrate.calibration_time import calibration_time
        from intaglio.runs.time_plan import TimePlan

        tiers, guidance = len(self.tier), self.as_guidance()
        plans = {batch: calibration_time(flow.model, batch, guidance) for batch in self.batch}
        head = f"plans      {tiers * len(plans)}; {flow.name} of {flow.model.config.num_blocks} blocks"
        parts = {f"batches of {batch}": tiers * plan.seconds for batch, plan in plans.items()}
        return TimePlan(parts, head, at_most=True)
