"""Points at which components are patched: noised latents of one picture, with the predictions for two prompts there."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.explain.components.denoiser_branches import DenoiserBranch, channel_axis, channel_sums, mixed, tensor_of
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.module_edits import ModuleEdit, edited, module_at

LEAST_DISTANCE = 1e-6
"""Length of the difference of two predictions, as a share of their own, below which it is rounding."""


@dataclass(frozen=True, eq=False)
class PatchPoint:
    """One picture's noised latents x_t, at which the clean and the corrupted prompt are both predicted.

    The metric of a prediction e is <e - e_cor, e_cl - e_cor> / |e_cl - e_cor|^2: 1 of the clean prompt's, 0 of the
    corrupted one's.
    """

    model: LatentDiffusion
    """Frozen."""
    branches: tuple[DenoiserBranch, ...]
    latents: Float[Tensor, "1 c hl wl"]
    t: Real[Tensor, "1"]
    corrupted: Conditioning
    """Of the corrupted prompt, one row."""
    clean_values: Sequence[Tensor]
    """What each branch gives for the clean prompt, one row."""
    corrupted_values: Sequence[Tensor]
    """What it gives for the corrupted one."""
    base: Float[Tensor, "1 c hl wl"]
    """The noise predicted for the corrupted prompt."""
    way: Float[Tensor, "1 c hl wl"]
    """From it to that of the clean one."""
    whole: bool
    """Whether a component is a branch as a whole, and not a channel of it."""

    @property
    def distance(self) -> float:
        """Length of the way, as a share of that of the corrupted prompt's noise."""
        return float(self.way.norm() / self.base.norm())

    @cached_property
    def channels(self) -> tuple[int, ...]:
        """Channels of each branch."""
        return tuple(one.shape[channel_axis(one)] for one in self.corrupted_values)

    def metric(self, noise: Float[Tensor, "r c hl wl"]) -> Float[Tensor, "r"]:
        """The share of the way that predictions have gone."""
        return ((noise - self.base) * (self.way / self.way.square().sum())).flatten(1).sum(1)

    def noise(self, rows: int) -> Float[Tensor, "r c hl wl"]:
        """Predictions for the corrupted prompt, so many rows of the same."""
        places = [0] * rows
        return self.model.predict(self.latents[places], self.t[places], self.corrupted[places])

    def patched(self, chosen: Mapping[int, Bool[Tensor, "r _"]]) -> AbstractContextManager[None]:
        """While the block runs, chosen channels of some branches give what they give for the clean prompt."""
        edits = [
            ModuleEdit(self.branches[k].site, lambda value, t, k=k, mask=mask: mixed(value, self.clean_values[k], mask))
            for k, mask in chosen.items()
        ]
        return edited(self.model.denoiser, edits, self.t[0].item())

    def exact(self, chosen: Mapping[int, Bool[Tensor, "r _"]], batch: int) -> Float[Tensor, "r"]:
        """The metric when, row by row, chosen channels of some branches are patched; on the CPU. One pass a row."""
        found = []
        (rows,) = {len(mask) for mask in chosen.values()}
        with torch.no_grad():
            for first in range(0, rows, batch):
                part = {k: mask[first : first + batch] for k, mask in chosen.items()}
                with self.patched(part):
                    found.append(self.metric(self.noise(min(batch, rows - first))).float().cpu())
        return torch.cat(found)

    def slopes(self, rules: AbstractContextManager[Any] | None = None) -> list[Tensor]:
        """Derivatives of the metric by each branch's output in the corrupted run, of one row.

        `rules` is a context in which the run is made, such as one that changes what torch differentiates.
        """
        with torch.enable_grad(), watched(self.model.denoiser, self.branches, leaves=True) as values:
            with rules or nullcontext():
                noise = self.noise(1)
            return _derivatives(self.metric(noise).sum(), [one[0] for one in values])

    def slopes_between(self, branch: int, shares: Float[Tensor, "s"], batch: int) -> Tensor:
        """Mean derivative by one branch's output, at shares of its way to the clean prompt's; of one row."""
        start, end = self.corrupted_values[branch], self.clean_values[branch]
        total = torch.zeros_like(start)
        for rows in shares.split(batch):
            weights = rows.to(start).view(-1, *[1] * (start.ndim - 1))
            with torch.enable_grad():
                held = (start + weights * (end - start)).requires_grad_()
                edit = ModuleEdit(self.branches[branch].site, lambda *_, held=held: held)
                with edited(self.model.denoiser, [edit], self.t[0].item()):
                    noise = self.noise(len(rows))
                (found,) = _derivatives(self.metric(noise).sum(), [held])
            total += found.sum(0, keepdim=True)
        return total / len(shares)

    def shares(self, branch: int, slope: Tensor) -> Float[Tensor, "c"]:
        """First-order effects of a branch's components: change times slope, summed over places; on the CPU."""
        change = self.clean_values[branch] - self.corrupted_values[branch]
        found = channel_sums(change.float() * slope.float())[0].cpu()
        return found.sum(0, keepdim=True) if self.whole else found


def patch_point(
    model: LatentDiffusion,
    branches: Sequence[DenoiserBranch],
    latents: Float[Tensor, "1 c hl wl"],
    t: Real[Tensor, "1"],
    clean: Conditioning,
    corrupted: Conditioning,
    *,
    whole: bool = False,
) -> PatchPoint:
    """The point, by two passes; the model is frozen.

    Raises `BadInput` for branches that the denoiser does not call once or that have another size for each prompt, and
    for prompts that it predicts alike.
    """
    with torch.no_grad():
        with watched(model.denoiser, branches) as values:
            base = model.predict(latents, t, corrupted)
        with watched(model.denoiser, branches) as clean_values:
            way = model.predict(latents, t, clean) - base
    if float(way.norm()) <= LEAST_DISTANCE * float(base.norm()):
        raise BadInput("the model predicts the same for both prompts; give two that it tells apart")
    for one, found, clean_found in zip(branches, values, clean_values, strict=True):
        _check(one.site, found, clean_found)
    (ends, starts) = ([found[0] for found in several] for several in (clean_values, values))
    return PatchPoint(model, tuple(branches), latents, t, corrupted, ends, starts, base, way, whole)


@contextmanager
def watched(
    denoiser: nn.Module, branches: Sequence[DenoiserBranch], *, leaves: bool = False
) -> Iterator[list[list[Tensor]]]:
    """While the block runs, what each branch gives, call by call; with `leaves`, each can be differentiated by."""
    found: list[list[Tensor]] = [[] for _ in branches]

    def keep(k: int) -> Any:
        def kept(module: nn.Module, given: Any, output: Any) -> Any:
            value = tensor_of(output)
            if not leaves or value.requires_grad:
                found[k].append(value)
                return None
            found[k].append(value.detach().requires_grad_())
            return found[k][-1] if isinstance(output, Tensor) else (found[k][-1], *output[1:])

        return kept

    with ExitStack() as hooks:
        for k, one in enumerate(branches):
            hooks.callback(module_at(denoiser, one.site).register_forward_hook(keep(k)).remove)
        yield found


def _check(site: str, values: Sequence[Tensor], clean_values: Sequence[Tensor]) -> None:
    if len(values) != 1 or len(clean_values) != 1:
        raise BadInput(f"{site} is called {len(values)} times in a pass, and a branch must be called once")
    if values[0].shape != clean_values[0].shape:
        raise BadInput(
            f"{site} gives {tuple(clean_values[0].shape)} for the clean prompt and {tuple(values[0].shape)} for the "
            "corrupted one; give prompts of as many tokens"
        )


def _derivatives(value: Tensor, by: Sequence[Tensor]) -> list[Tensor]:
    """Gradients, zeros for what the value does not depend on."""
    found = torch.autograd.grad(value, list(by), allow_unused=True)
    return [torch.zeros_like(one) if g is None else g for one, g in zip(by, found, strict=True)]
