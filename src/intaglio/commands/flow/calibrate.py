"""`intaglio flow calibrate`: measure the fastest plan to decode a flow by on this machine, for `flow sample`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from intaglio.commands.flow.inputs import FlowGuidance, FlowModel
from intaglio.commands.kit.console import note, say, shown


@dataclass(frozen=True, kw_only=True)
class FlowCalibrate(FlowGuidance, FlowModel):
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
        for batch in self.batch:
            for tier in self.tier:
                run = Run.none(progress=shown())
                plan = calibrate(flow.model, batch=batch, tier=tier, guidance=guidance, seed=self.seed, run=run)
                note(f"{flow.name}, batches of {batch}, {tier}:\n{plan}")
                say(str(plan.save(self.plans)))
        return 0
