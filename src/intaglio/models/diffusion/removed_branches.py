"""Residual branches of a U-Net that are removed whole: the output of their block is its input then, or its shortcut.

All shapes stay. A branch is that of a residual block, or one of the three of a transformer block: attention to itself,
attention to the prompt, feed-forward.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.hidden_widths import SETTING as HIDDEN_WIDTHS
from intaglio.models.diffusion.long_convolutions import SETTING as LONG_CONVOLUTIONS
from intaglio.models.diffusion.predicted_units import SETTING as PREDICTED_UNITS

SETTING = "removed_branches"
"""Entry of a U-Net's config with the names of the modules whose branch is removed."""
NORMS = {"attn1": "norm1", "attn2": "norm2", "ff": "norm3"}
"""Norms before the branches of a transformer block, which go with them."""


class RemovedResidual(nn.Module):
    """A residual block without its branch: its shortcut, over the block's scale."""

    def __init__(self, block: ResnetBlock2D):
        super().__init__()
        self.conv_shortcut, self.output_scale_factor = block.conv_shortcut, block.output_scale_factor

    def forward(self, input_tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The output of the block where its branch gives zeros."""
        kept = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor.contiguous())
        return kept / self.output_scale_factor


class RemovedBranch(nn.Module):
    """A branch of a transformer block that gives zeros."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Zeros."""
        return torch.zeros_like(hidden_states)


def removable(denoiser: nn.Module) -> list[str]:
    """Names of the modules whose branch can be removed, in the order of the modules."""
    found = []
    for scope, module in denoiser.named_modules():
        if isinstance(module, ResnetBlock2D) and module.upsample is None and module.downsample is None:
            found.append(scope)
        if isinstance(module, BasicTransformerBlock) and module.norm_type == "layer_norm":
            present = [name for name in NORMS if getattr(module, name, None) is not None]
            found += [f"{scope}.{name}" for name in present if not isinstance(getattr(module, name), RemovedBranch)]
    return found


def remove_branches(denoiser: Any, scopes: Sequence[str]) -> None:
    """Removes branches with their weights, in place; the U-Net's config notes them.

    Raises `ValueError` for a name that is not among `removable(denoiser)`.
    """
    for scope in scopes:
        for parent, name, module in _replacements(denoiser, scope):
            setattr(parent, name, module)
    if not scopes:
        return
    removed = sorted({*(denoiser.config.get(SETTING) or ()), *scopes})
    noted: dict[str, Any] = {SETTING: removed}
    for setting in (HIDDEN_WIDTHS, LONG_CONVOLUTIONS):
        if sizes := denoiser.config.get(setting):
            noted[setting] = {scope: size for scope, size in sizes.items() if scope not in scopes}
    if predicted := denoiser.config.get(PREDICTED_UNITS):
        noted[PREDICTED_UNITS] = [scope for scope in predicted if scope not in scopes]
    denoiser.register_to_config(**noted)


def refuse_removed(denoiser: Any, what: str) -> None:
    """Raises `BadInput` for a U-Net without some of its branches, which cannot do this."""
    if removed := denoiser.config.get(SETTING):
        raise BadInput(
            f"a denoiser without some of its branches ({removed[0]} among them) cannot {what}; give the model that it "
            "was made from"
        )


@contextmanager
def without_branch(denoiser: nn.Module, scope: str) -> Iterator[None]:
    """While the block runs the branch of this module gives zeros; then it is there again."""
    replaced = [(parent, name, getattr(parent, name), new) for parent, name, new in _replacements(denoiser, scope)]
    try:
        for parent, name, _, new in replaced:
            setattr(parent, name, new)
        yield
    finally:
        for parent, name, old, _ in replaced:
            setattr(parent, name, old)


def _replacements(denoiser: nn.Module, scope: str) -> list[tuple[nn.Module, str, nn.Module]]:
    """The modules around, the names in them, and the modules that stand there instead."""
    if scope not in removable(denoiser):
        raise ValueError(f"the U-Net has no branch {scope!r} that could be removed")
    above, _, name = scope.rpartition(".")
    parent, module = denoiser.get_submodule(above), denoiser.get_submodule(scope)
    if isinstance(module, ResnetBlock2D):
        return [(parent, name, RemovedResidual(module).train(module.training))]
    return [
        (parent, name, RemovedBranch().train(module.training)),
        (parent, NORMS[name], nn.Identity().train(module.training)),
    ]
