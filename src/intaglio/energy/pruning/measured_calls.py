"""`MeasuredCalls`: what a call of the denoiser takes on this machine before and after, by its meter."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from intaglio.energy.devices.device import Measurement
from intaglio.energy.devices.torch_device import TorchDevice
from intaglio.errors import BadInput
from intaglio.meters.domain import Unit
from intaglio.meters.machine_meters import meters_for
from intaglio.meters.meter import Meter
from intaglio.meters.process_time import ProcessTime
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

WINDOW_S = 0.5
"""Least length of a measurement's window, in s."""


@dataclass(frozen=True)
class MeasuredCalls:
    """Cost of a call of two denoisers on the same inputs."""

    before: Measurement
    after: Measurement
    unit: str
    """`J`, or `CPU-s` where this machine has no meter of energy."""
    meter: str

    def figures(self) -> dict[str, Any]:
        """Amounts and their ratio, with the 95% interval that the spread over windows gives it, log-normal."""
        ratio = self.after.amount / self.before.amount
        spread = math.sqrt(sum(one.variance / one.amount**2 for one in (self.before, self.after)))
        factor = math.exp(1.96 * spread)
        return {
            "before": self.before.amount,
            "after": self.after.amount,
            "unit": self.unit,
            "meter": self.meter,
            "ratio": ratio,
            "ratio_interval_95": [ratio / factor, ratio * factor],
            "seconds_before": self.before.seconds,
            "seconds_after": self.after.seconds,
        }


def measured_calls(
    before: LatentDiffusion, after: LatentDiffusion, batch: int, *, train: bool = False
) -> MeasuredCalls:
    """Measures a call of either denoiser; the models are left as found.

    Args:
        before: on the device that is measured.
        after: on the same device.
        batch: latents at once, 1 or more.
        train: whether a backward pass to all weights follows.

    Raises:
        BadInput: an accelerator without a meter that can be read.
    """
    meter, unit = call_meter(str(before.device))
    device = TorchDevice(meter, str(before.device), window_s=WINDOW_S, unit_of=unit)
    first, second = (_measured(device, model, batch, train=train) for model in (before, after))
    return MeasuredCalls(first, second, str(unit), meter.name)


def call_meter(device: str) -> tuple[Meter, Unit]:
    """The meter of a device's energy, or on the processor that of its time, with its unit.

    Raises `BadInput` for an accelerator without a meter that can be read.
    """
    found = meters_for(device)
    if found.measuring.meters:
        return found.measuring.meters[0], Unit.JOULES
    if device != "cpu":
        raise BadInput(f"{device} has no meter of energy that can be read: {found.why_not}")
    return ProcessTime(), Unit.CPU_SECONDS


def _measured(device: TorchDevice, model: LatentDiffusion, batch: int, *, train: bool) -> Measurement:
    with model.frozen():
        model.denoiser.requires_grad_(train)
        return device.measure_step(call_of(model, batch, train=train))


def call_of(model: LatentDiffusion, batch: int, *, train: bool = False) -> Callable[[], None]:
    """A call of the denoiser on unit noise, with its backward pass where it trains."""
    side = model.resolution // model.factor
    latents = torch.randn(batch, model.latent_channels, side, side, generator=torch.Generator().manual_seed(0))
    latents, t = latents.to(model.device), torch.zeros(batch, dtype=torch.long, device=model.device)
    conditioning = model.embed([""]).detach()

    def call() -> None:
        with torch.set_grad_enabled(train):
            output = model.predict(latents, t, conditioning)
            if train:
                output.square().mean().backward()
                model.denoiser.zero_grad(set_to_none=True)

    return call
