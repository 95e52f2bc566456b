"""Edits of the outputs of a network's modules while it is called."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from intaglio.errors import BadInput

MOST_NAMED = 8
"""Modules of an error's sentence."""
ALL = slice(None)


@dataclass(frozen=True, eq=False)
class ModuleEdit:
    """A change of what one module gives."""

    site: str
    """The module, by its name in the network, such as `mid_block`; of an output of several parts the first is meant."""
    change: Callable[[Tensor, int | float], Tensor]
    """Of an output [n, ...] at a timestep: the output in its place, of the same shape. One that gives back the tensor
    it is given changes no bit."""
    timesteps: Collection[int | float] | None = None
    """Timesteps at which it acts; None: all."""


def module_at(network: nn.Module, site: str) -> nn.Module:
    """The module of this name. Raises `BadInput` for a name that there is not, with those nearest to it."""
    named = dict(network.named_modules())
    if not site or site not in named:
        near = get_close_matches(site, named, MOST_NAMED, 0.5) or [name for name, _ in network.named_children()]
        raise BadInput(f"the denoiser has no module {site!r}; some that it has: {', '.join(near[:MOST_NAMED])}")
    return named[site]


@contextmanager
def edited(network: nn.Module, edits: Sequence[ModuleEdit], t: int | float, rows: slice = ALL) -> Iterator[None]:
    """While the block runs, modules give what edits make of their outputs; no hook is left, also after an error.

    Args:
        network: whose modules are meant.
        edits: the later ones of a module see what the earlier ones gave.
        t: timestep that the network is called at.
        rows: of a call's batch that are edited, for callers that join several batches into one; others are left alone.

    Raises:
        BadInput: for a module that there is not.
        ValueError: within the block, for an edit that changes an output's shape.
    """
    live = [one for one in edits if one.timesteps is None or t in one.timesteps]
    with ExitStack() as hooks:
        for one in live:
            handle = module_at(network, one.site).register_forward_hook(_hook(one, t, rows))
            hooks.callback(handle.remove)
        yield


def _hook(edit: ModuleEdit, t: int | float, rows: slice) -> Callable[[nn.Module, Any, Any], Any]:
    def changed(module: nn.Module, given: Any, output: Any) -> Any:
        whole = output[0] if isinstance(output, tuple) else output
        if not isinstance(whole, Tensor):
            raise BadInput(f"{edit.site} gives no tensor that could be edited; name a module that does")
        part = whole if rows == ALL else whole[rows]
        found = edit.change(part, t)
        if found is part:
            return None
        if found.shape != part.shape:
            raise ValueError(f"the edit of {edit.site} makes {tuple(found.shape)} of {tuple(part.shape)}")
        found = found.to(whole.dtype)
        if rows != ALL:
            first, last, _ = rows.indices(len(whole))
            found = torch.cat([whole[:first], found, whole[last:]])
        return (found, *output[1:]) if isinstance(output, tuple) else found

    return changed
