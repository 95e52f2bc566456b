"""`UnitRows`: the arguments of a unit, and the outputs that are wanted of it, for calibration rows."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.shrink.calibration_states import CalibrationStates

LARGE = 2e9
"""Bytes from which on rows are kept in half precision, on the CPU; smaller ones stay on the model's device."""
CHUNK = 32
"""Rows that go through the network at once; the outputs do not depend on it but for rounding."""


class Taken(NamedTuple):
    """Some rows of a unit."""

    given: tuple[Any, ...]
    named: dict[str, Any]
    targets: Float[Tensor, "k *shape"]


@dataclass(frozen=True, eq=False)
class UnitRows:
    """m rows of a unit: its arguments, of which tensors of m rows are taken by row, and the outputs that are wanted."""

    given: tuple[Any, ...]
    named: Mapping[str, Any]
    targets: Float[Tensor, "m *shape"]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Int[Tensor, "k"], device: torch.device) -> Taken:
        """These rows, float32 on this device."""

        def of(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            one = value[rows.to(value.device)] if value.dim() and len(value) == len(self) else value
            return one.to(device, torch.float32 if one.is_floating_point() else None)

        named = {name: of(value) for name, value in self.named.items()}
        return Taken(tuple(of(value) for value in self.given), named, of(self.targets))


class _Arguments(NamedTuple):
    given: tuple[Any, ...]
    named: dict[str, Any]

    def mapped(self, change: Callable[[Any], Any]) -> "_Arguments":
        """The arguments, each changed."""
        return _Arguments(tuple(map(change, self.given)), {name: change(one) for name, one in self.named.items()})


class _Reached(Exception):
    """The end of a call of the network, once all that is wanted of it is known."""


@torch.no_grad()
def unit_rows(full: LatentDiffusion, partly: LatentDiffusion, path: str, rows: CalibrationStates) -> UnitRows:
    """The arguments of the unit at `path` in a partly shrunk model, and its outputs in the full one.

    Each model runs up to the unit, and no further.
    """
    asked, wanted = list[_Arguments](), list[Tensor]()
    with full.frozen(), partly.frozen():
        for one in rows.batches(full, CHUNK):
            with _stopping_at(full.denoiser.get_submodule(path)) as found:
                full.predict(*one)
            narrow = _bytes(found) * len(rows) / len(one.t) > LARGE
            wanted.append(_kept(found[1], narrow))
        for one in rows.batches(partly, CHUNK):
            with _stopping_at(partly.denoiser.get_submodule(path), before=True) as found:
                partly.predict(*one)
            narrow = _bytes(found) * len(rows) / len(one.t) > LARGE / 2
            asked.append(found[0].mapped(lambda value, narrow=narrow: _kept(value, narrow)))
    counts = [len(one) for one in wanted]
    given = tuple(_joined([one.given[k] for one in asked], counts) for k in range(len(asked[0].given)))
    named = {name: _joined([one.named[name] for one in asked], counts) for name in asked[0].named}
    return UnitRows(given, named, torch.cat(wanted))


@contextmanager
def _stopping_at(module: nn.Module, before: bool = False) -> Iterator[list[Any]]:
    """Ends a call of a network at a module; the list has the module's arguments, and its output unless `before`."""
    found: list[Any] = []

    def asked(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        found.append(_Arguments(given, named))
        if before:
            raise _Reached

    def answered(_: nn.Module, given: Any, output: Tensor) -> None:
        found.append(output)
        raise _Reached

    hooks = [module.register_forward_pre_hook(asked, with_kwargs=True), module.register_forward_hook(answered)]
    try:
        yield found
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()


def _joined(values: list[Any], counts: list[int]) -> Any:
    """Tensors of all batches as one where they have the batches' rows; else the first value."""
    by_rows = all(
        isinstance(one, Tensor) and one.dim() and len(one) == n for one, n in zip(values, counts, strict=True)
    )
    return torch.cat(values) if by_rows else values[0]


def _bytes(found: list[Any]) -> int:
    """Of the tensors of a call's arguments and output."""
    arguments, *outputs = found
    values = (*arguments.given, *arguments.named.values(), *outputs)
    return sum(one.nbytes for one in values if isinstance(one, Tensor))


def _kept(value: Any, narrow: bool) -> Any:
    """A value as it is kept in memory: of large rows in half precision on the CPU."""
    if not narrow or not isinstance(value, Tensor):
        return value
    if not value.is_floating_point():
        return value.cpu()
    most = torch.finfo(torch.float16).max
    return value.clamp(-most, most).to("cpu", torch.float16)
