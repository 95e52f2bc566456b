"""Branches of a denoiser: modules whose outputs are added to what goes past them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from intaglio.errors import BadInput

Kind = Literal["resnet", "attention", "feed-forward"]
Asked = Literal["all", "resnet", "attention", "feed-forward"]


@dataclass(frozen=True)
class DenoiserBranch:
    """A branch."""

    site: str
    """Its last module, by its name in the denoiser; of an output of several parts the first is meant."""
    kind: Kind


def denoiser_branches(denoiser: nn.Module, asked: Asked = "all") -> tuple[DenoiserBranch, ...]:
    """Branches of a kind, in the order of the network's modules.

    A ResNet's branch ends with its second convolution, before the sum; attention and feed-forward layers are branches
    as they are. Raises `BadInput` for a denoiser that has none.
    """
    found = tuple(one for one in _branches(denoiser) if asked in ("all", one.kind))
    if not found:
        what = "ResNet, attention or feed-forward" if asked == "all" else asked
        raise BadInput(
            f"the denoiser ({type(denoiser).__name__}) has no {what} branches that could be patched; "
            "choose another model, or --branches all"
        )
    return found


def _branches(denoiser: nn.Module) -> Iterator[DenoiserBranch]:
    inside = ""
    for site, module in denoiser.named_modules():
        if inside and site.startswith(inside):
            continue
        names = [kind.__name__ for kind in type(module).__mro__]
        if "ResnetBlock2D" in names:
            yield DenoiserBranch(f"{site}.conv2", "resnet")
        elif any(name.endswith("Attention") for name in names):
            inside = f"{site}."
            yield DenoiserBranch(site, "attention")
        elif any(name.endswith(("FeedForward", "GLUMBConv")) for name in names):
            inside = f"{site}."
            yield DenoiserBranch(site, "feed-forward")


def channel_axis(output: Tensor) -> int:
    """The axis of an output's channels: the second of maps [n, c, h, w], the last of tokens [n, l, c]."""
    return 1 if output.ndim == 4 else output.ndim - 1


def channel_sums(values: Float[Tensor, "n *shape"]) -> Float[Tensor, "n c"]:
    """Sums over places, by channel."""
    return values.movedim(channel_axis(values), 1).flatten(2).sum(2) if values.ndim > 2 else values


def mixed(
    value: Float[Tensor, "r *shape"], other: Float[Tensor, "1 *shape"], chosen: Bool[Tensor, "r c"]
) -> Float[Tensor, "r *shape"]:
    """An output whose chosen channels, row by row, are those of another run."""
    axis = channel_axis(value)
    shape = [len(chosen), *(chosen.shape[1] if place == axis else 1 for place in range(1, value.ndim))]
    return other.to(value).where(chosen.to(value.device).view(shape), value)


def tensor_of(output: Tensor | Sequence[Tensor]) -> Tensor:
    """An output, or its first part."""
    return output if isinstance(output, Tensor) else output[0]
