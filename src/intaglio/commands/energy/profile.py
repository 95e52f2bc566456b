"""`intaglio energy profile`: what layers cost on this machine, measured into a file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from intaglio.commands.kit.console import note, say, say_json
from intaglio.commands.kit.dry_run import DryRun
from intaglio.commands.kit.inputs import InRun, described, embedded_model, noted
from intaglio.errors import BadInput

if TYPE_CHECKING:
    from intaglio.energy.devices.torch_device import TorchDevice
    from intaglio.energy.layers.layer import Step
    from intaglio.energy.profile.profiling import WholeNetwork
    from intaglio.meters.meter import Meter
    from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

RANKS = (4, 64)
"""Smallest and largest rank of a LoRA whose training is covered."""
CALIBRATION, CALIBRATION_SEED = 12, 1
"""Small networks that are measured whole, and the seed of their widths."""

RANDOM_WIDTHS = 3
"""Models of random widths that are measured whole, where narrow ones are to be covered."""


@dataclass(frozen=True, kw_only=True)
class ProfileEnergy(DryRun, InRun):
    """Profile this machine: measure the layers of a model, from which any job's energy is then estimated.

    By the meter of energy that is there; without one in processor seconds, which are no energy. Leave the machine to
    it. The same command again goes on where a killed one was.
    """

    model: Path | None = None
    """A diffusers folder or a single .safetensors file whose layers are profiled; none takes the embedded testbed."""
    flow: str | None = None
    """A flow, by the name of one in the package or its folder, whose training is covered too."""
    batches: tuple[int, ...] = (1, 8)
    """Smallest and largest number of pictures at once, each 1 or more, that estimates are to cover."""
    precision: tuple[Literal["float32", "float16", "bfloat16"], ...] = ("float32",)
    """Precisions of weights in which drawing is covered, one or more; trainings are in float32, which is always."""
    least_width: float = 1.0
    """Least share of the U-Net's hidden widths that estimates are to cover, in (0, 1]; energy prune wants its own."""
    out: Path | None = None
    """File of the profile, .safetensors or .json; none takes this machine's own place, which estimates read."""
    window: float = 0.1
    """Least length of a measurement's window in s, above 0; longer where the meter is coarse."""
    points: int | None = None
    """Most points of a family; none takes 12, 24, 40 and 56 for one to four sizes, fewer where a family is cheap."""
    isolation: Literal["slope", "alone", "subtraction"] = "slope"
    """How a layer's cost is told from a step's: by the slope over its copies, by the layer alone, or as in THOR by
    subtracting known input and output layers; where none fit, by the slope, which the notes say."""
    busy: bool = False
    """Measure although other processes keep the device busy, which the profile's notes then say."""
    json: bool = False
    """End with one line of JSON."""

    def __post_init__(self) -> None:
        if not self.batches or any(batch < 1 for batch in self.batches):
            raise ValueError(f"batches must be numbers of 1 or more, not {' '.join(map(str, self.batches)) or 'none'}")
        if not 0 < self.window <= 600:
            raise ValueError(f"window must be above 0 and at most 600 s, not {self.window}")
        if not 0 < self.least_width <= 1:
            raise ValueError(f"least_width must be above 0 and at most 1, not {self.least_width}")
        if self.points is not None and self.points < 3:
            raise ValueError(f"points must be 3 or more, not {self.points}")

    def __call__(self) -> int:
        """Run the command; returns the exit code."""
        import time

        from intaglio.energy.machine_profile import own_profile_path
        from intaglio.energy.profile.active import ActiveRules
        from intaglio.energy.profile.fingerprint import fingerprint
        from intaglio.energy.profile.profile_file import save_profile
        from intaglio.energy.profile.profile_time import profile_time
        from intaglio.energy.profile.profiling import ProfilePlan, make_profile
        from intaglio.models.diffusion.loading import load_model
        from intaglio.runs.header import now

        out = self.out or own_profile_path(self.device)
        if out.suffix not in (".safetensors", ".json"):
            raise BadInput(f"--out {out} must end in .safetensors or .json")
        model = noted(load_model(self.model or embedded_model(), device=self.device))
        load = "" if self.dry_run else self._foreign_load()
        meter, unit = self._meter()
        device, rules = self._device(meter, unit), ProfilePlan(ActiveRules(points=self.points), self.isolation)
        steps, networks = self._steps(model), [*self._networks(device, model), *self._narrow_networks(device, model)]
        plan = profile_time(device, steps, networks, rules, self._operations_a_second(model))
        if self.ends_with(plan):
            return 0
        here = fingerprint(self.device)
        settings = {"batches": list(self.batches), "window": self.window, "points": self.points, "meter": meter.name}
        settings |= {} if self.flow is None else {"flow": self.flow}
        settings |= {"precision": self._coarse()} if self._coarse() else {}
        settings |= {} if self.least_width == 1 else {"least_width": self.least_width}
        settings |= {} if self.isolation == "slope" else {"isolation": self.isolation}
        settings |= {"machine": dict(here.device), "regime": dict(here.regime)}
        inputs = {"model": described(self.model, model.fingerprint)}
        with self.open_run("energy", "profile", settings, inputs, seed=None) as run:
            note(f"measuring by {meter.name}, in {unit}; leave the machine to it")
            self.begin(run, plan)
            began = time.monotonic()
            about = {
                "provenance": str(next(iter(meter.domains().values())).provenance),
                "device": dict(here.device),
                "regime": dict(here.regime),
                "meter": {"name": meter.name, "tick_s": meter.tick_s, "relative_sd": 0.05 if unit == "J" else 0.01},
                "made": now(),
            }
            profile = make_profile(device, steps, networks, about, rules, run)
            if load:
                profile = replace(profile, notes=(*profile.notes, f"measured although {load} when it began"))
            out.parent.mkdir(parents=True, exist_ok=True)
            saved = save_profile(profile, out)
            figures = {"profile": str(out), "families": len(saved.families), "points": saved.windows, "unit": unit}
            figures |= {"minutes": (time.monotonic() - began) / 60}
            run.finish(figures)
        for one in saved.notes:
            note(one)
        say_json(figures) if self.json else say(str(out))
        return 0

    def _steps(self, model: "LatentDiffusion") -> "list[Step]":
        """The work that is to be covered."""
        import torch

        from intaglio.commands.kit.energy_lines import flow_work, training_work
        from intaglio.energy.pruning.width_costs import narrowest_steps
        from intaglio.energy.workloads import diffusion_steps, drawing_steps

        steps = diffusion_steps(model, self.batches)
        for precision in self._coarse():
            steps += drawing_steps(model.copy().to(dtype=getattr(torch, precision)), self.batches)
        steps += [training_work(model, 1, batch, rank).whole for batch in self.batches for rank in RANKS]
        if self.least_width < 1:
            steps += narrowest_steps(model, [*self.batches, 2 * max(self.batches)], self.least_width)
        if self.flow is not None:
            steps += [flow_work(self.flow, 1, batch).whole for batch in self.batches]
        return steps

    def _operations_a_second(self, model: "LatentDiffusion") -> float:
        """Operations a second of a call of the denoiser, which is timed here."""
        from intaglio.energy.workloads import denoiser_step
        from intaglio.sampling.calls import Calls
        from intaglio.sampling.plan import planned_seconds

        rows = max(self.batches)
        return denoiser_step(model, rows).flops / planned_seconds(Calls(forward=rows), model, max(1, rows // 2))

    def _coarse(self) -> list[str]:
        """The precisions beside float32."""
        return sorted(set(self.precision) - {"float32"})

    def _foreign_load(self) -> str:
        """Load of others on the device, in words. Raises `BadInput` for one that `busy` does not allow."""
        from intaglio.meters.foreign_load import foreign_load

        if (load := foreign_load(self.device)) and not self.busy:
            raise BadInput(f"{load}, and would be measured too: wait until they have ended, or give --busy")
        return load

    def _meter(self) -> "tuple[Meter, str]":
        """The accelerator's or the processor's meter; where there is none, processor time, with a word on it."""
        from intaglio.meters.machine_meters import meters_for
        from intaglio.meters.process_time import ProcessTime

        found = meters_for(self.device)
        if found.measuring.meters:
            return found.measuring.meters[0], "J"
        if self.device != "cpu":
            raise BadInput(f"{self.device} has no meter of energy that can be read: {found.why_not}")
        note(f"no energy is measured, so costs are in processor seconds: {found.why_not}")
        return ProcessTime(), "CPU-s"

    def _device(self, meter: "Meter", unit: str) -> "TorchDevice":
        from intaglio.energy.devices.torch_device import TorchDevice
        from intaglio.meters.domain import Unit

        return TorchDevice(meter, self.device, window_s=self.window, unit_of=Unit(unit), beside_others=bool(self.busy))

    def _networks(self, device: "TorchDevice", model: "LatentDiffusion") -> "list[WholeNetwork]":
        """Small networks of many kinds, and the calls of the model itself."""
        from intaglio.energy.model_networks import model_networks
        from intaglio.energy.networks import networks_of
        from intaglio.energy.profile.profiling import WholeNetwork

        found = networks_of(CALIBRATION, CALIBRATION_SEED, device=self.device)
        small = [WholeNetwork(one.name, one.step(), lambda one=one: device.measure_step(one.run)) for one in found]
        return [*small, *(one for batch in self.batches for one in model_networks(device, model, batch))]

    def _narrow_networks(self, device: "TorchDevice", model: "LatentDiffusion") -> "list[WholeNetwork]":
        """Calls of the model with widths drawn at random, where narrow ones are to be covered."""
        from intaglio.energy.pruning.random_widths import random_networks

        if self.least_width == 1:
            return []
        return random_networks(device, model, max(self.batches), self.least_width, RANDOM_WIDTHS, CALIBRATION_SEED)
