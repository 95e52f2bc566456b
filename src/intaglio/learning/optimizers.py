"""The optimisers of a training, and what is saved of each: AdamW, and AdamW whose moments are codes of 8 bits."""

import importlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from intaglio.errors import BadInput, IntaglioError
from intaglio.learning.settings import AdamWSettings, Optimizer

BLOCK, LEAST = 256, 4096
"""Numbers that share a scale in 8 bits, and the least numbers of a weight whose moments are kept so."""
MOMENTS = ("exp_avg", "exp_avg_sq", "state1", "state2", "absmax1", "absmax2")
"""Tensors of a weight that an optimiser keeps from one update to the next."""


def optimiser_of(settings: AdamWSettings, groups: Sequence[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser of groups of weights. Raises `BadInput` where 8 bits are asked for and do not work here."""
    about: dict[str, Any] = {"lr": settings.rate(0), "betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adamw":
        # The fused kernel took 0.6 of the time of the two others on two CPU cores, with 400 tensors of 17,000.
        return torch.optim.AdamW(groups, fused=True, **about)
    device = next(weight for group in groups for weight in group["params"]).device
    _try(device)
    return _eight_bit()(groups, **about)


def moments_bytes(optimizer: Optimizer, numbers: int) -> int:
    """Bytes of both moments of a weight of so many float32 numbers."""
    if optimizer == "adamw" or numbers < LEAST:
        return 8 * numbers
    return 2 * (numbers + 4 * -(-numbers // BLOCK))


def moments_of(optimiser: torch.optim.Optimizer, weight: Tensor) -> tuple[dict[str, Tensor], int | None]:
    """A weight's moments, to be saved, and its updates; None before the first one."""
    held = optimiser.state.get(weight, {})
    updates = int(held["step"]) if "step" in held else None
    return {key: held[key] for key in MOMENTS if key in held}, updates


def put_moments(optimiser: torch.optim.Optimizer, weight: Tensor, saved: Mapping[str, Tensor], updates: int) -> None:
    """Go on after so many updates of a weight. Raises `IntaglioError` for moments of another optimiser."""
    held: dict[str, Any]
    if isinstance(optimiser, torch.optim.AdamW):
        held = {key: torch.empty_like(weight) for key in ("exp_avg", "exp_avg_sq")}
        held["step"] = torch.tensor(float(updates), device=weight.device)
        optimiser.state[weight] = held
    else:
        any_optimiser: Any = optimiser
        (place,) = [
            (group, k, number)
            for k, group in enumerate(optimiser.param_groups)
            for number, one in enumerate(group["params"])
            if one is weight
        ]
        any_optimiser.init_state(place[0], weight, place[1], place[2])
        held = optimiser.state[weight]
        held["step"] = updates
    if {key for key in MOMENTS if key in held} != saved.keys():
        raise IntaglioError("The saved state is that of another optimiser; delete the run's folder and start again.")
    for key, value in saved.items():
        held[key].copy_(value)


def _eight_bit() -> Any:
    with _quiet_offline_import():
        return importlib.import_module("bitsandbytes.optim").AdamW8bit


@contextmanager
def _quiet_offline_import() -> Iterator[None]:
    """Without the package that would fetch kernels for the CPU, and without the line that misses it."""
    missing, before = "kernels" not in sys.modules, logging.root.manager.disable
    if missing:
        sys.modules["kernels"] = None  # pyright: ignore[reportArgumentType]
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        if missing:
            del sys.modules["kernels"]


def _try(device: torch.device) -> None:
    """Raises `BadInput` where 8 bits cannot be updated on a device."""
    probe = torch.zeros(LEAST, device=device, requires_grad=True)
    probe.grad = torch.ones_like(probe)
    kind = _eight_bit()
    try:
        kind([probe], lr=1e-3, weight_decay=0.0).step()
        moved = float(probe.detach().mean())
    except Exception as error:  # each backend fails in its own way where it is missing
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise BadInput(f"adamw-8bit does not work on {device} here ({reason}); take adamw") from error
    if not -1.1e-3 < moved < -0.9e-3:
        raise BadInput(f"adamw-8bit does not work on {device} here (an update by {moved:g}, not -0.001); take adamw")
